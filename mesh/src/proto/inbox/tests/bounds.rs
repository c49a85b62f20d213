//! Rule 8: bounds.

use super::*;

#[test]
fn the_idlest_stream_makes_room() {
    let mut fixture = Fixture::new(Config { max_streams: 3, ..Config::default() });
    for author in [10, 11, 12, 10, 13] {
        let next = fixture.inbox.next(&topic(), &peer(author)).map_or(1, |(_, next)| next);
        fixture.gossip(ALICE, &envelope(author, next));
        fixture.pass_ms(1);
    }
    fixture.handle(Input::Published { topic: topic(), envelope: envelope(ME, 1) });
    let known: Vec<u8> =
        (0..20).filter(|n| fixture.inbox.next(&topic(), &peer(*n)).is_some()).collect();
    assert_eq!(known, [ME, 10, 13], "11 and 12 were idle longest");
}

#[test]
fn nothing_of_a_forgotten_stream_is_delivered_or_asked_for_twice() {
    let mut fixture = Fixture::with_neighbours(Config { max_streams: 1, ..Config::default() });
    for envelope in envelopes(AUTHOR, 1..=3) {
        fixture.gossip(ALICE, &envelope);
    }
    fixture.gossip(ALICE, &envelope(10, 1));
    assert_eq!(fixture.delivered(), [(1, 0), (2, 0), (3, 0), (1, 0)]);
    assert_eq!(fixture.inbox.next(&topic(), &peer(AUTHOR)), None, "it is forgotten");

    fixture.tips(ALICE, vec![tip(AUTHOR, LIFE, 4), tip(AUTHOR, LIFE - 1, 9)]);
    assert_eq!(fixture.wants(), []);
    fixture.gossip(ALICE, &envelope(AUTHOR, 2));
    fixture.have(ALICE, &[envelope(AUTHOR, 3), of_life(LIFE - 1, 7)]);
    assert_eq!(fixture.delivered(), []);
    fixture.tips(ALICE, vec![tip(AUTHOR, LIFE, 6)]);
    assert_eq!(fixture.wants(), [(peer(ALICE), vec![4, 5])]);
    // Seen out of turn, it goes on where it was.
    fixture.gossip(ALICE, &envelope(AUTHOR, 5));
    fixture.gossip(ALICE, &envelope(AUTHOR, 4));
    assert_eq!(fixture.delivered(), [(4, 0), (5, 0)]);
}

#[test]
fn a_forgotten_stream_takes_along_what_it_held() {
    let mut fixture = Fixture::new(Config { max_streams: 1, max_recent: 0, ..Config::default() });
    fixture.gossip(ALICE, &envelope(10, 2));
    assert!(fixture.inbox.bytes() > 0);
    fixture.pass_ms(1);
    fixture.gossip(ALICE, &envelope(11, 1));
    assert_eq!(fixture.inbox.bytes(), 0);
    fixture.pass_ms(10_000);
    assert_eq!(fixture.delivered(), [(1, 0)]);
}

#[test]
fn over_the_bound_the_fullest_gap_is_given_up() {
    let size = envelope(AUTHOR, 1).bytes().len();
    let config = Config { max_held: 3 * size, max_recent: 0, ..Config::default() };
    let mut fixture = Fixture::new(config);
    fixture.gossip(ALICE, &envelope(10, 1));
    fixture.gossip(ALICE, &envelope(10, 3));
    fixture.gossip(ALICE, &envelope(AUTHOR, 1));
    for number in [3, 4] {
        fixture.gossip(ALICE, &envelope(AUTHOR, number));
    }
    assert_eq!(fixture.delivered(), [(1, 0), (1, 0)]);
    assert_eq!(fixture.inbox.bytes(), 3 * size);
    fixture.gossip(ALICE, &envelope(AUTHOR, 6));
    assert_eq!(fixture.delivered(), [(3, 1), (4, 0)]);
    assert_eq!(fixture.inbox.bytes(), 2 * size);
}

#[test]
fn the_cache_drops_the_oldest() {
    let size = envelope(AUTHOR, 1).bytes().len();
    let mut fixture = Fixture::new(Config { max_recent: 3 * size, ..Config::default() });
    for number in 1..=10 {
        fixture.gossip(ALICE, &envelope(AUTHOR, number));
    }
    let cached = (0..20).filter(|n| fixture.inbox.recent(&topic(), &peer(AUTHOR), *n).is_some());
    assert_eq!(cached.collect::<Vec<_>>(), [8, 9, 10]);
    assert_eq!(fixture.inbox.bytes(), 3 * size);
}

#[test]
fn an_author_that_signs_one_number_twice_confuses_no_count() {
    let config = Config { max_streams: 1, max_recent: 10_000, ..Config::default() };
    let mut fixture = Fixture::new(config);
    fixture.gossip(ALICE, &sized(AUTHOR, 1, 10));
    // So many others take its place that it isn't remembered, and the second version is news.
    for author in 10..20 {
        fixture.gossip(ALICE, &envelope(author, 1));
    }
    fixture.gossip(ALICE, &sized(AUTHOR, 1, 5000));
    let bytes = sized(AUTHOR, 1, 5000).bytes().len() + 10 * envelope(10, 1).bytes().len();
    assert_eq!(fixture.inbox.bytes(), bytes);
    fixture.gossip(ALICE, &sized(30, 1, 9000));
    assert!(fixture.inbox.bytes() <= 10_000);
}

#[test]
fn no_input_of_a_remote_is_answered_beyond_the_bounds() {
    let mut fixture = Fixture::new(Config::default());
    let many = vec![envelope(AUTHOR, 1); 1000];
    fixture.verifies = false;
    fixture.have(ALICE, &many);
    assert_eq!(fixture.verified(), MAX_ENTRIES);
}
