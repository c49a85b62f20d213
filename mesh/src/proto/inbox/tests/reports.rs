//! Rule 5: progress.

use super::*;

/// An inbox with an author among its neighbours that is told after every third of its envelopes.
fn reporting() -> Fixture {
    let report_bytes = 3 * envelope(AUTHOR, 1).bytes().len();
    let mut fixture = Fixture::with_neighbours(Config { report_bytes, ..Config::default() });
    fixture.neighbour(AUTHOR);
    fixture
}

#[test]
fn an_author_is_told_at_once_when_much_is_settled() {
    let mut fixture = reporting();
    for number in 1..=3 {
        assert_eq!(fixture.told(), []);
        fixture.gossip(ALICE, &envelope(AUTHOR, number));
    }
    fixture.pass_ms(0);
    assert_eq!(fixture.told(), [(peer(AUTHOR), vec![tip(AUTHOR, LIFE, 4)])]);
}

#[test]
fn reports_keep_their_distance_and_the_last_state_is_told_in_the_end() {
    let mut fixture = reporting();
    for number in 1..=11 {
        fixture.gossip(ALICE, &envelope(AUTHOR, number));
        fixture.pass_ms(4);
    }
    fixture.pass_ms(200);
    let told = fixture.told();
    let nexts: Vec<u64> = told.iter().map(|(_, tips)| tips[0].next).collect();
    assert!(told.iter().all(|(to, tips)| *to == peer(AUTHOR) && tips.len() == 1));
    // The first after three, at 8 ms; the next 20 ms later, though six were settled before that.
    assert_eq!(nexts, [4, 8, 12]);
}

#[test]
fn little_is_told_after_a_while_and_not_brought_forward() {
    let mut fixture = reporting();
    for number in 1..=2 {
        fixture.gossip(ALICE, &envelope(AUTHOR, number));
        fixture.pass_ms(90);
        fixture.handle(Input::Timeout);
    }
    fixture.pass_ms(19);
    assert_eq!(fixture.told(), []);
    fixture.pass_ms(1);
    assert_eq!(fixture.told(), [(peer(AUTHOR), vec![tip(AUTHOR, LIFE, 3)])]);
}

#[test]
fn who_is_no_neighbour_gets_no_report() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 1));
    fixture.pass_ms(900);
    assert_eq!(fixture.told(), []);
}

#[test]
fn a_tip_about_our_own_stream_is_progress() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.tips(BOB, vec![tip(ME, LIFE - 1, 4), tip(ME, LIFE, 3)]);
    let progress = Output::Progress { topic: topic(), peer: peer(BOB), next: 3 };
    assert_eq!(fixture.outputs, [progress], "an earlier life's doesn't count");
}
