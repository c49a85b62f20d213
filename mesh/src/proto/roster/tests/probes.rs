//! Rules 2 and 5: probes and self-doubt.

use super::*;

// Rule 2: probes.

#[test]
fn a_round_covers_every_member_once_at_one_probe_an_interval() {
    let mut fixture = Fixture::with_members(Config::default(), 2..22);
    let start = fixture.now;
    fixture.pass_ms(99_999);
    assert_eq!(fixture.pings.len(), 100);
    for (n, (at, _, _)) in fixture.pings.iter().enumerate() {
        assert_eq!(*at, start + Duration::from_secs(n as u64));
    }
    let rounds: Vec<Vec<PublicKey>> = fixture
        .pings
        .chunks(20)
        .map(|round| round.iter().map(|(_, target, _)| *target).collect())
        .collect();
    for round in &rounds {
        assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 20);
    }
    assert_ne!(rounds[0], rounds[1], "each round is shuffled anew");
    assert_eq!(fixture.asked(), []);
}

#[test]
fn a_ping_is_answered_under_its_number() {
    let mut fixture = Fixture::with_members(Config::default(), [2]);
    fixture.says(2, Message::Ping { number: 77, updates: vec![] });
    let sent = fixture.sent();
    assert!(matches!(&sent[..], [(to, Message::Ack { number: 77, .. })] if *to == peer(2)));
}

#[test]
fn without_an_answer_others_are_asked_and_their_answer_counts() {
    let mut fixture = Fixture::with_members(Config::default(), 2..10);
    fixture.answering.remove(&peer(5));
    fixture.handle(Input::Disconnected { peer: peer(5) });
    fixture.pass_ms(499);
    assert_eq!(fixture.asked(), []);
    fixture.pass_ms(1);
    let asked = fixture.asked();
    let helpers: BTreeSet<PublicKey> = asked.iter().map(|(helper, _, _)| *helper).collect();
    assert_eq!(helpers.len(), 3);
    assert!(asked.iter().all(|(_, target, _)| *target == peer(5)));
    assert!(!helpers.contains(&peer(5)));
    let (helper, _, number) = asked[0];
    fixture.pass_ms(900);
    fixture
        .handle(Input::Message { from: helper, message: Message::Ack { number, updates: vec![] } });
    fixture.answering.insert(peer(5));
    fixture.pass_ms(60_000);
    assert_eq!((fixture.asked(), fixture.left()), (vec![], vec![]));
    assert!(!fixture.suspects(5));
}

#[test]
fn a_favour_is_done_and_its_answer_passed_on() {
    let mut fixture = Fixture::with_members(Config::default(), [2, 3]);
    fixture.answering.clear();
    let target = |n| (*peer(n).as_bytes()).into();
    let ask = |target| Message::PingFor { number: 77, target, updates: vec![] };
    fixture.says(2, ask(target(3)));
    let sent = fixture.sent();
    let [(to, Message::Ping { number, .. })] = &sent[..] else { panic!("a ping") };
    let (to, number) = (*to, *number);
    assert_eq!(to, peer(3));
    fixture.says(3, Message::Ack { number, updates: vec![] });
    let sent = fixture.sent();
    assert!(matches!(&sent[..], [(to, Message::Ack { number: 77, .. })] if *to == peer(2)));
    // It is done once, and not for strangers or ourselves.
    fixture.says(3, Message::Ack { number, updates: vec![] });
    fixture.says(2, ask(target(9)));
    fixture.says(2, ask(target(ME)));
    assert_eq!(fixture.sent(), []);
}

#[test]
fn a_favour_is_not_owed_for_ever() {
    let mut fixture = Fixture::with_members(Config::default(), [2, 3]);
    let target = (*peer(3).as_bytes()).into();
    fixture.answering.remove(&peer(3));
    fixture.says(2, Message::PingFor { number: 77, target, updates: vec![] });
    fixture.answering.insert(peer(3));
    fixture.pass_ms(11_000);
    assert!(fixture.roster.favours.is_empty());
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let mut fixture = Fixture::with_members(Config::default(), [2, 3]);
    fixture.answering.clear();
    fixture.handle(Input::Disconnected { peer: peer(3) });
    fixture.pass_ms(0);
    for number in 0..100 {
        fixture.says(2, Message::Ack { number, updates: vec![] });
    }
    fixture.pass_ms(1500);
    assert!(fixture.suspects(3));
}

#[test]
fn latency_is_smoothed() {
    let mut fixture = Fixture::with_members(Config::default(), [2]);
    fixture.answering.clear();
    assert_eq!(fixture.roster.members[&peer(2)].latency, None);
    let mut expected = None;
    for ms in [80, 160, 0] {
        fixture.pass_ms(1000);
        let sent = fixture.sent();
        let Some((_, Message::Ping { number, .. })) = sent.last() else { panic!("a ping") };
        fixture.pass_ms(ms);
        fixture.says(2, Message::Ack { number: *number, updates: vec![] });
        let (sent, ..) = fixture.pings.last().expect("the ping above");
        let sample = fixture.now.since(*sent);
        expected = Some(expected.map_or(sample, |old: Duration| (old * 7 + sample) / 8));
        assert_eq!(fixture.roster.members[&peer(2)].latency, expected);
    }
}

// Rule 5: self-doubt.

#[test]
fn late_timeouts_raise_doubt_and_answers_lower_it() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    for expected in [1, 2, 3, 4, 5, 6, 7, 8, 8, 8] {
        fixture.now = fixture.roster.poll_timeout().unwrap() + Duration::from_millis(126);
        fixture.answering.clear();
        fixture.handle(Input::Timeout);
        fixture.says(3, hello([]));
        assert_eq!(fixture.roster.doubt(), expected);
    }
    fixture.answering = (2..6).map(peer).collect();
    fixture.pass_ms(60_000);
    assert_eq!((fixture.roster.doubt(), fixture.left()), (0, vec![]));
}

#[test]
fn a_timeout_on_time_raises_no_doubt() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    for _ in 0..10 {
        fixture.now = fixture.roster.poll_timeout().unwrap() + Duration::from_millis(125);
        fixture.handle(Input::Timeout);
    }
    assert_eq!(fixture.roster.doubt(), 0);
}

#[test]
fn doubt_makes_probes_rarer_and_more_patient() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    fixture.roster.doubt = 8;
    fixture.answering.clear();
    fixture.pass_ms(0);
    assert_eq!(fixture.pings.len(), 1);
    fixture.pass_ms(4499);
    assert_eq!((fixture.pings.len(), fixture.asked()), (1, vec![]));
    fixture.pass_ms(1);
    assert_eq!(fixture.asked().len(), 3);
    fixture.pass_ms(4500);
    assert_eq!(fixture.pings.len(), 2, "nine intervals later");
}

#[test]
fn a_late_timeout_gives_probes_the_time_that_was_lost() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    fixture.answering.clear();
    fixture.pass_ms(0);
    fixture.now = fixture.roster.poll_timeout().unwrap() + Duration::from_secs(30);
    fixture.handle(Input::Timeout);
    assert_eq!(fixture.asked(), [], "the answer may wait unread");
    fixture.pass_ms(499);
    assert_eq!(fixture.asked(), []);
    fixture.pass_ms(1);
    assert_eq!(fixture.asked().len(), 3);
}

#[test]
fn a_node_that_is_always_late_still_finds_the_dead() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    fixture.answering.remove(&peer(5));
    for _ in 0..500 {
        fixture.now = fixture.roster.poll_timeout().unwrap() + Duration::from_millis(150);
        fixture.handle(Input::Timeout);
    }
    assert_eq!(fixture.left(), [(peer(5), false)]);
}

#[test]
fn a_node_that_hears_nobody_doubts_itself() {
    let mut cut_off = Fixture::with_members(Config::default(), 2..6);
    cut_off.pass_ms(500);
    cut_off.answering.clear();
    cut_off.pass_ms(6000);
    assert!(cut_off.roster.doubt() >= 2);
    let mut hearing = Fixture::with_members(Config::default(), 2..6);
    hearing.answering = [peer(2)].into();
    for _ in 0..12 {
        hearing.pass_ms(500);
        hearing.says(2, hello([]));
    }
    assert_eq!(hearing.roster.doubt(), 0);
    assert!((3..6).any(|n| hearing.suspects(n)));
}

#[test]
fn doubt_that_passes_takes_no_patience_with_the_others_along() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    fixture.answering.clear();
    let start = fixture.now;
    while fixture.now.since(start) < Duration::from_secs(12) {
        fixture.pass_ms(100);
    }
    let doubt = fixture.roster.doubt();
    let suspects: Vec<u8> = (2..6).filter(|n| fixture.suspects(*n)).collect();
    assert!(doubt >= 2 && suspects.len() >= 2, "{doubt} {suspects:?}");
    // One of them is heard again, and its answers take the doubt away.
    fixture.answering.insert(peer(suspects[0]));
    for _ in 0..10 {
        fixture.handle(Input::Disconnected { peer: peer(suspects[0]) });
        fixture.pass_ms(1);
    }
    assert_eq!(fixture.roster.doubt(), 0);
    fixture.handle(Input::Timeout);
    assert_eq!(fixture.left(), []);
}

#[test]
fn a_long_solitude_is_no_reason_for_doubt() {
    let mut fixture = Fixture::new(Config::default());
    assert_eq!(fixture.roster.poll_timeout(), None);
    fixture.now = Time::from_millis(3_600_000);
    fixture.says(2, hello([Update::Card(card(2, 1))]));
    assert_eq!(fixture.roster.poll_timeout(), Some(fixture.now));
    fixture.handle(Input::Timeout);
    assert_eq!(fixture.roster.doubt(), 0);
}
