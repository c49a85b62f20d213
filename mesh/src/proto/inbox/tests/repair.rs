//! Rules 3 and 4: gaps and tips.

use super::*;

// Rule 3: gaps.

/// A fixture in which number 2 of 3 is missing since now.
fn with_gap() -> Fixture {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 1));
    fixture.gossip(BOB, &envelope(AUTHOR, 3));
    assert_eq!(fixture.delivered(), [(1, 0)]);
    fixture.outputs.clear();
    fixture
}

#[test]
fn out_of_order_arrival_is_normal_for_a_while() {
    let mut fixture = with_gap();
    assert_eq!(fixture.inbox.poll_timeout(), Some(fixture.now + Duration::from_millis(50)));
    fixture.pass_ms(49);
    fixture.gossip(ALICE, &envelope(AUTHOR, 2));
    fixture.pass_ms(5000);
    assert_eq!((fixture.wants(), fixture.delivered()), (vec![], vec![(2, 0), (3, 0)]));
}

#[test]
fn the_missing_is_asked_of_who_brought_the_later_and_then_of_others() {
    let mut fixture = with_gap();
    fixture.pass_ms(50);
    assert_eq!(fixture.wants(), [(peer(BOB), vec![2])]);
    fixture.pass_ms(299);
    assert_eq!(fixture.wants(), []);
    fixture.pass_ms(4000);
    let asked = fixture.wants();
    assert_eq!(asked.len(), 14, "every 300 ms");
    assert!(asked.iter().all(|(_, numbers)| *numbers == [2]));
    for neighbour in [ALICE, BOB] {
        assert!(asked.iter().any(|(to, _)| *to == peer(neighbour)), "drawn at random");
    }
    assert_eq!(fixture.inbox.stats().asked, 15);
}

#[test]
fn who_is_no_longer_a_neighbour_is_not_asked() {
    let mut fixture = with_gap();
    fixture.handle(Input::Left { peer: peer(BOB) });
    fixture.pass_ms(50);
    assert_eq!(fixture.wants(), [(peer(ALICE), vec![2])]);
    fixture.handle(Input::NotNeighbour { topic: topic(), peer: peer(ALICE) });
    fixture.pass_ms(1000);
    assert_eq!(fixture.wants(), []);
}

#[test]
fn an_answer_fills_the_gap() {
    let mut fixture = with_gap();
    fixture.pass_ms(50);
    fixture.have(BOB, &[envelope(AUTHOR, 2)]);
    assert_eq!(fixture.delivered(), [(2, 0), (3, 0)]);
    assert_eq!((fixture.verdicts(), fixture.inbox.stats().repaired), (vec![], 1));
    fixture.wants();
    fixture.pass_ms(900);
    assert_eq!(fixture.wants(), [], "nobody is asked any more");
}

#[test]
fn a_gap_without_progress_is_given_up_and_told() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    let four = |number| sized(AUTHOR, number, 4);
    fixture.gossip(ALICE, &four(1));
    fixture.gossip(ALICE, &four(4));
    fixture.gossip(ALICE, &four(5));
    assert_eq!(fixture.delivered(), [(1, 0)]);
    fixture.pass_ms(4999);
    assert_eq!(fixture.delivered(), []);
    fixture.pass_ms(1);
    assert_eq!(fixture.delivered(), [(4, 8), (5, 0)], "two envelopes of four messages");
    assert_eq!(fixture.inbox.stats().missed, 8);
    // What comes after all comes too late.
    fixture.gossip(ALICE, &four(2));
    assert_eq!(fixture.delivered(), []);
}

#[test]
fn progress_renews_patience() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    for number in [1, 3, 5] {
        fixture.gossip(ALICE, &envelope(AUTHOR, number));
    }
    fixture.pass_ms(4000);
    fixture.gossip(ALICE, &envelope(AUTHOR, 2));
    assert_eq!(fixture.delivered(), [(1, 0), (2, 0), (3, 0)]);
    fixture.pass_ms(4999);
    assert_eq!(fixture.delivered(), []);
    fixture.pass_ms(1);
    assert_eq!(fixture.delivered(), [(5, 1)]);
}

#[test]
fn a_young_stream_is_read_from_its_beginning() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 32));
    assert_eq!(fixture.delivered(), []);
    fixture.pass_ms(50);
    assert_eq!(fixture.wants(), [(peer(ALICE), (1..32).collect())]);
    fixture.have(ALICE, &envelopes(AUTHOR, 1..32));
    assert_eq!(fixture.delivered().len(), 32);
}

#[test]
fn the_missing_beginning_of_a_young_stream_is_not_told() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 5));
    fixture.gossip(ALICE, &envelope(AUTHOR, 2));
    fixture.pass_ms(10_000);
    // 1, 3 and 4 may never have been meant for us; what is missing after 5 is.
    assert_eq!(fixture.delivered(), [(2, 0), (5, 0)]);
    fixture.gossip(ALICE, &envelope(AUTHOR, 8));
    fixture.pass_ms(5000);
    assert_eq!(fixture.delivered(), [(8, 2)]);
}

#[test]
fn an_old_stream_is_read_from_here() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 33));
    assert_eq!(fixture.delivered(), [(33, 0)]);
    fixture.pass_ms(10_000);
    assert_eq!(fixture.wants(), []);
}

#[test]
fn a_repair_from_before_the_subscription_moves_the_stream_undelivered() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.gossip(ALICE, &sealed_at(3, WALL + 5));
    fixture.have(ALICE, &[sealed_at(1, WALL - 5), sealed_at(2, WALL)]);
    assert_eq!(fixture.delivered(), [(2, 0), (3, 0)]);
    assert_eq!(fixture.next(), Some((LIFE, 4)));
    assert_eq!(fixture.inbox.topics[&topic()].held_bytes, 0);
}

#[test]
fn a_repair_by_an_author_whose_clock_is_behind_is_delivered() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    // All after the subscription, by a clock a minute behind ours.
    fixture.gossip(ALICE, &sealed_at(40, WALL - 60_000));
    fixture.gossip(ALICE, &sealed_at(42, WALL - 60_000));
    fixture.have(ALICE, &[sealed_at(41, WALL - 60_000)]);
    assert_eq!(fixture.delivered(), [(40, 0), (41, 0), (42, 0)]);
}

// Rule 4: tips.

#[test]
fn tips_say_what_was_held_an_interval_ago() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 1));
    fixture.handle(Input::Published { topic: topic(), envelope: envelope(ME, 1) });
    fixture.pass_ms(1000);
    assert_eq!(fixture.told(), [], "it may still be on its way to them");
    fixture.gossip(ALICE, &envelope(AUTHOR, 2));
    fixture.pass_ms(1000);
    let [(_, tips)] = fixture.told().try_into().unwrap();
    assert!(tips.contains(&tip(AUTHOR, LIFE, 2)) && tips.contains(&tip(ME, LIFE, 2)));
    fixture.pass_ms(1000);
    let [(_, tips)] = fixture.told().try_into().unwrap();
    assert!(tips.contains(&tip(AUTHOR, LIFE, 3)) && tips.contains(&tip(ME, LIFE, 2)));
}

#[test]
fn every_neighbour_is_told_sooner_or_later_and_idle_streams_no_more() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 1));
    fixture.pass_ms(30_000);
    let told = fixture.told();
    assert_eq!(told.len(), 28, "one a second, but for the first");
    for neighbour in [ALICE, BOB] {
        assert!(told.iter().any(|(to, _)| *to == peer(neighbour)));
    }
    fixture.pass_ms(10_000);
    assert_eq!(fixture.told(), []);
}

#[test]
fn a_new_neighbour_is_told_at_once() {
    let mut fixture = Fixture::new(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 1));
    fixture.neighbour(BOB);
    assert_eq!(fixture.told(), [(peer(BOB), vec![tip(AUTHOR, LIFE, 2)])]);
    fixture.neighbour(BOB);
    assert_eq!(fixture.told(), [], "it isn't new any more");
    fixture.neighbour(AUTHOR);
    assert_eq!(fixture.told(), [], "it knows its own stream");
}

#[test]
fn more_streams_than_fit_are_told_in_turn() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    let authors: Vec<u8> = (10..110).collect();
    for author in &authors {
        fixture.gossip(ALICE, &envelope(*author, 1));
    }
    fixture.pass_ms(20_000);
    let told = fixture.told();
    assert!(told.iter().all(|(_, tips)| tips.len() <= MAX_ENTRIES));
    for author in authors {
        let tip = tip(author, LIFE, 2);
        assert!(told.iter().any(|(_, tips)| tips.contains(&tip)), "author {author}");
    }
}

#[test]
fn a_tip_is_asked_about() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 1));
    fixture.gossip(ALICE, &envelope(AUTHOR, 3));
    fixture.tips(BOB, vec![tip(AUTHOR, LIFE, 6)]);
    assert_eq!(fixture.wants(), [(peer(BOB), vec![2, 4, 5])]);
    // Nothing is asked about what is held, or about earlier lives.
    fixture.tips(BOB, vec![tip(AUTHOR, LIFE, 2), tip(AUTHOR, LIFE - 1, 9)]);
    assert_eq!(fixture.wants(), []);
}

#[test]
fn of_an_unknown_stream_the_end_is_asked_for() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.tips(BOB, vec![tip(AUTHOR, LIFE, 3)]);
    assert_eq!(fixture.wants(), [(peer(BOB), vec![1, 2])]);
    fixture.tips(BOB, vec![tip(AUTHOR, LIFE, 101)]);
    assert_eq!(fixture.wants(), [(peer(BOB), (69..101).collect())]);
    fixture.have(BOB, &envelopes(AUTHOR, 69..101));
    assert_eq!(fixture.delivered().len(), 32);
}

#[test]
fn a_lying_tip_changes_nothing() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 1));
    let before = (fixture.next(), fixture.inbox.bytes(), fixture.inbox.poll_timeout());
    fixture.tips(BOB, vec![tip(AUTHOR, LIFE, u64::MAX), tip(AUTHOR, u64::MAX, u64::MAX)]);
    fixture.tips(BOB, vec![tip(9, 0, 0), tip(9, u64::MAX, u64::MAX)]);
    let after = (fixture.next(), fixture.inbox.bytes(), fixture.inbox.poll_timeout());
    assert_eq!((after, fixture.inbox.topics[&topic()].streams.len()), (before, 1));
    let wants = fixture.wants();
    assert!(wants.iter().all(|(to, numbers)| *to == peer(BOB) && numbers.len() <= MAX_ENTRIES));
    fixture.outputs.clear();
    fixture.gossip(ALICE, &envelope(AUTHOR, 2));
    assert_eq!(fixture.delivered(), [(2, 0)], "the stream goes on as before");
}

#[test]
fn wanted_envelopes_are_served_from_the_cache() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    for number in 1..=3 {
        fixture.gossip(ALICE, &envelope(AUTHOR, number));
    }
    fixture.handle(Input::Want { from: peer(BOB), want: want([2, 3, 4]) });
    let envelopes = [2, 3].map(|number| envelope(AUTHOR, number).bytes().to_vec()).to_vec();
    let frame = Frame::Have(Have { topic: topic(), envelopes });
    assert_eq!(fixture.served(), [(peer(BOB), frame)]);
    assert_eq!(fixture.inbox.stats().served, 2);
    fixture.handle(Input::Want { from: peer(BOB), want: want([4]) });
    let other_life = Want { incarnation: LIFE + 1, ..want([1]) };
    fixture.handle(Input::Want { from: peer(BOB), want: other_life });
    assert_eq!(fixture.served(), [], "no answer is the answer");
}

#[test]
fn our_own_envelopes_are_served_as_well() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.handle(Input::Published { topic: topic(), envelope: envelope(ME, 1) });
    let want = Want { author: peer(ME), ..want([1]) };
    fixture.handle(Input::Want { from: peer(BOB), want });
    assert_eq!(fixture.served().len(), 1);
    assert!(fixture.inbox.recent(&topic(), &peer(ME), 1).is_some());
}

#[test]
fn an_answer_fits_into_a_frame() {
    for len in [1, 1000, MAX_PAYLOAD] {
        let mut fixture = Fixture::with_neighbours(Config::default());
        let numbers = 1..=MAX_ENTRIES as u64;
        for number in numbers.clone() {
            fixture.gossip(ALICE, &sized(AUTHOR, number, len));
        }
        fixture.handle(Input::Want { from: peer(BOB), want: want(numbers) });
        // What a frame may not ask for isn't served either, however it came in.
        fixture.handle(Input::Want { from: peer(BOB), want: want([1; 1000]) });
        for (_, frame) in fixture.served() {
            assert!(frame.encode().len() <= MAX_FRAME);
            let Frame::Have(have) = frame else { unreachable!("only these are served") };
            let fit = (MAX_FRAME - 1024) / (len + OVERHEAD + 8);
            assert_eq!(have.envelopes.len(), fit.min(MAX_ENTRIES), "of {len} bytes");
        }
    }
}
