//! Rules 3 and 4: suspicion and death.

use super::*;

// Rule 3: suspicion.

#[test]
fn a_failed_probe_is_gossiped_and_the_suspect_told() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    fixture.answering.remove(&peer(5));
    fixture.handle(Input::Disconnected { peer: peer(5) });
    fixture.pass_ms(1500);
    assert!(fixture.suspects(5));
    assert!(fixture.news_for(2).contains(&suspect(5, 1)));
    fixture.pings.clear();
    fixture.pass_ms(2500);
    let told = fixture.pings.iter().find(|(_, to, _)| *to == peer(5));
    let (_, _, updates) = told.expect("a suspect is probed again, out of turn");
    assert!(updates.contains(&suspect(5, 1)));
}

#[test]
fn a_suspect_is_probed_soon_wherever_its_turn_was() {
    for n in 10..40 {
        let mut fixture = Fixture::with_members(Config::default(), 2..50);
        fixture.answering.remove(&peer(n));
        fixture.pass_ms(500);
        fixture.handle(Input::Disconnected { peer: peer(n) });
        fixture.pass_ms(1500);
        assert!(fixture.suspects(n));
        fixture.pings.clear();
        fixture.pass_ms(2000);
        assert!(fixture.pings.iter().any(|(_, to, _)| *to == peer(n)), "member {n}");
    }
}

#[test]
fn who_was_heard_since_the_probe_is_not_suspected_for_it() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    fixture.answering.remove(&peer(5));
    fixture.handle(Input::Disconnected { peer: peer(5) });
    fixture.pass_ms(1000);
    fixture.says(5, hello([]));
    fixture.pass_ms(500);
    assert!(!fixture.suspects(5));
}

#[test]
fn a_suspect_hears_of_it_however_often_it_was_told() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    fixture.answering.remove(&peer(5));
    fixture.handle(Input::Disconnected { peer: peer(5) });
    fixture.pass_ms(1500);
    while fixture.news_for(2).contains(&suspect(5, 1)) {}
    fixture.pings.clear();
    fixture.pass_ms(2000);
    let told = fixture.pings.iter().find(|(_, to, _)| *to == peer(5)).expect("a probe");
    assert!(told.2.contains(&suspect(5, 1)));
}

#[test]
fn a_suspect_is_asked_no_favour() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    fixture.answering = [peer(2), peer(3)].into();
    fixture.handle(Input::Disconnected { peer: peer(4) });
    fixture.pass_ms(1500);
    assert!(fixture.suspects(4));
    fixture.asked();
    fixture.handle(Input::Disconnected { peer: peer(5) });
    fixture.pass_ms(500);
    let asked = fixture.asked().into_iter().filter(|(_, target, _)| *target == peer(5));
    let helpers: BTreeSet<PublicKey> = asked.map(|(helper, ..)| helper).collect();
    assert_eq!(helpers, [peer(2), peer(3)].into());
}

#[test]
fn whoever_speaks_is_alive() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    fixture.answering.remove(&peer(5));
    fixture.handle(Input::Disconnected { peer: peer(5) });
    fixture.pass_ms(1500);
    assert!(fixture.suspects(5));
    fixture.says(5, hello([]));
    assert!(!fixture.suspects(5));
}

#[test]
fn an_answer_ends_a_suspicion() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    fixture.answering.remove(&peer(5));
    fixture.handle(Input::Disconnected { peer: peer(5) });
    fixture.pass_ms(1500);
    assert!(fixture.suspects(5));
    fixture.answering.insert(peer(5));
    fixture.pass_ms(3000);
    assert!(!fixture.suspects(5));
    fixture.pass_ms(60_000);
    assert_eq!(fixture.left(), []);
}

#[test]
fn hearsay_alone_suspects_and_removes_nobody() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    for _ in 0..600 {
        fixture.says(3, hello([suspect(5, 1)]));
        fixture.pass_ms(100);
        assert!(!fixture.suspects(5));
    }
    assert_eq!(fixture.left(), []);
    assert!(fixture.knows(5));
}

#[test]
fn whoever_hears_of_a_suspicion_probes_soon() {
    let mut fixture = Fixture::with_members(Config::default(), 2..50);
    fixture.pass_ms(500);
    fixture.pings.clear();
    fixture.says(3, hello([suspect(40, 1)]));
    fixture.says(3, hello([suspect(40, 1)]));
    fixture.pass_ms(1);
    let targets: Vec<PublicKey> = fixture.pings.iter().map(|(_, to, _)| *to).collect();
    assert_eq!(targets, [peer(40)]);
    // Of another version than the one known nothing follows, nor of strangers.
    fixture.says(3, hello([suspect(41, 2), suspect(41, 0), suspect(99, 1)]));
    fixture.pass_ms(1);
    assert_eq!(fixture.pings.len(), 1);
}

#[test]
fn a_suspicion_of_ours_is_refuted_by_a_higher_revision() {
    let mut fixture = Fixture::with_members(Config::default(), [2, 3]);
    fixture.says(2, hello([suspect(ME, 1)]));
    let own = fixture.roster.card().clone();
    assert_eq!((own.life, own.revision, own.verify(&mesh())), (LIFE, 2, Ok(())));
    assert!(fixture.news_for(3).contains(&Update::Card(own)));
}

#[test]
fn a_suspicion_of_an_earlier_card_of_ours_is_told_the_last() {
    let mut fixture = Fixture::with_members(Config::default(), [2, 3]);
    fixture.says(2, hello([suspect(ME, 1)]));
    for _ in 0..20 {
        fixture.news_for(3);
    }
    let own = Update::Card(fixture.roster.card().clone());
    assert!(!fixture.news_for(3).contains(&own), "it was told often enough");
    fixture.says(2, hello([suspect(ME, 1)]));
    assert_eq!(fixture.roster.card().revision, 2);
    assert!(fixture.news_for(3).contains(&own));
}

#[test]
fn a_lie_can_not_use_up_our_revisions() {
    let mut fixture = Fixture::with_members(Config::default(), [2, 3]);
    fixture.says(2, hello([suspect(ME, u64::MAX), suspect(ME, u64::MAX - 1), suspect(ME, 2)]));
    let peer = (*peer(ME).as_bytes()).into();
    fixture.says(2, hello([Update::Suspect { peer, life: u64::MAX, revision: 1 }]));
    assert_eq!(fixture.roster.card().revision, 1);
    fixture.handle(Input::Profile(Profile::default()));
    fixture.says(2, hello([suspect(ME, 2)]));
    assert_eq!(fixture.roster.card().revision, 3);
}

#[test]
fn a_refutation_clears_the_suspicion_whoever_brings_it() {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    fixture.answering.remove(&peer(5));
    fixture.handle(Input::Disconnected { peer: peer(5) });
    fixture.pass_ms(1500);
    assert!(fixture.suspects(5));
    fixture.says(2, hello([Update::Card(card(5, 2))]));
    assert!(!fixture.suspects(5));
}

// Rule 4: death.

/// How long after it fell silent a member of a roster of `n` was removed.
fn time_to_die(n: u8) -> Duration {
    let mut fixture = Fixture::with_members(Config::default(), 2..2 + n);
    fixture.answering.remove(&peer(2));
    fixture.handle(Input::Disconnected { peer: peer(2) });
    let start = fixture.now;
    while fixture.knows(2) {
        fixture.pass_ms(100);
        assert!(fixture.now.since(start) < Duration::from_secs(100));
    }
    assert_eq!(fixture.left(), [(peer(2), false)]);
    fixture.now.since(start)
}

#[test]
fn who_stays_suspected_is_removed_later_in_a_larger_roster() {
    let (small, large) = (time_to_die(4), time_to_die(60));
    // 1.5 s of probing and 4 s of suspicion, or 12 s; noticed at the next timeout.
    assert!(small >= Duration::from_millis(5500) && small <= Duration::from_millis(6600));
    assert!(large >= Duration::from_millis(13_500) && large <= Duration::from_millis(14_600));
}

#[test]
fn the_silent_are_noticed_without_a_hint_within_two_rounds() {
    let mut fixture = Fixture::with_members(Config::default(), 2..22);
    fixture.pass_ms(20_000);
    fixture.answering.remove(&peer(9));
    fixture.pass_ms(40_000 + 1500);
    assert!(!fixture.knows(9) || fixture.suspects(9));
}

fn with_dead() -> Fixture {
    let mut fixture = Fixture::with_members(Config::default(), 2..6);
    fixture.answering.remove(&peer(5));
    fixture.handle(Input::Disconnected { peer: peer(5) });
    fixture.pass_ms(20_000);
    assert_eq!(fixture.left(), [(peer(5), false)]);
    fixture.outputs.clear();
    fixture
}

#[test]
fn old_gossip_does_not_revive_the_dead() {
    let mut fixture = with_dead();
    fixture.says(2, hello([Update::Card(card(5, 1)), suspect(5, 1)]));
    assert!(!fixture.knows(5));
    fixture.says(2, hello([Update::Card(card(5, 2))]));
    assert_eq!(fixture.joined(), [(peer(5), 2)]);
    assert!(!fixture.roster.dead.contains_key(&peer(5)));
}

#[test]
fn the_dead_that_speak_up_are_told_so() {
    let mut fixture = with_dead();
    fixture.says(5, Message::Ping { number: 1, updates: vec![Update::Card(card(5, 1))] });
    let told = fixture.sent().into_iter().find_map(|(to, message)| match message {
        Message::Hello { updates } if to == peer(5) => Some(updates),
        _ => None,
    });
    let told = told.expect("a hello");
    assert_eq!(told[0], suspect(5, 1));
    assert_eq!(told[1], Update::Card(fixture.roster.card().clone()));
    assert!(told.len() <= MAX_UPDATES);
    assert!(!fixture.knows(5));
}

#[test]
fn a_stranger_that_speaks_up_is_asked_for_its_card() {
    let mut fixture = Fixture::with_members(Config::default(), [2]);
    fixture.says(7, Message::Ping { number: 1, updates: vec![] });
    let sent = fixture.sent();
    let Some((_, Message::Hello { updates })) = sent.first() else { panic!("a hello") };
    // The stranger is a roster like this one, and answers with its card.
    let mut stranger = Roster::new(Config::default(), mesh(), key(7), LIFE, profile(7), 8);
    stranger.handle(Time::ZERO, Input::Message { from: peer(ME), message: hello(updates.clone()) });
    stranger.handle(
        Time::ZERO,
        Input::Message { from: peer(ME), message: Message::Ping { number: 2, updates: vec![] } },
    );
    while let Some(output) = stranger.poll_output() {
        if let Output::Send { message, .. } = output {
            fixture.says(7, message);
        }
    }
    assert!(fixture.knows(7));
}
