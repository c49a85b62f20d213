//! Rules 6 to 8: piggyback, farewell, bounds.

use super::*;

// Rule 6: piggyback.

#[test]
fn an_update_is_told_a_bounded_number_of_times() {
    let mut fixture = Fixture::with_members(Config::default(), 2..8);
    for _ in 0..100 {
        fixture.news_for(2);
    }
    fixture.says(2, hello([Update::Card(card(3, 2))]));
    let update = Update::Card(card(3, 2));
    let told = (0..100).filter(|_| fixture.news_for(2).contains(&update)).count();
    assert_eq!(told, 9, "3 · log2(8)");
}

#[test]
fn pings_carry_every_card_in_the_end() {
    let mut fixture = Fixture::with_members(Config::default(), 2..8);
    while !fixture.news_for(2).is_empty() {}
    fixture.pings.clear();
    fixture.pass_ms(60_000);
    assert!(fixture.pings.iter().all(|(_, _, updates)| updates.len() == 1));
    let told = fixture.pings.iter().flat_map(|(_, _, updates)| updates);
    let told: BTreeSet<PublicKey> = told
        .filter_map(|update| match update {
            Update::Card(card) => Some(card.peer()),
            Update::Suspect { .. } => None,
        })
        .collect();
    assert_eq!(told, (1..8).map(peer).collect(), "our own among them");
}

#[test]
fn a_message_carries_a_bounded_number_of_updates_the_least_told_first() {
    let mut fixture = Fixture::with_members(Config::default(), 2..102);
    let mut told = BTreeSet::new();
    for _ in 0..7 {
        let news = fixture.news_for(2);
        assert_eq!(news.len(), MAX_UPDATES);
        told.extend(news.into_iter().filter_map(|update| match update {
            Update::Card(card) => Some(card.peer()),
            Update::Suspect { .. } => None,
        }));
    }
    assert_eq!(told.len(), 100);
}

#[test]
fn more_updates_than_a_message_may_carry_are_not_read() {
    let mut fixture = Fixture::new(Config::default());
    fixture.says(2, hello((2..100).map(|n| Update::Card(card(n, 1)))));
    assert_eq!(fixture.roster.members.len(), MAX_UPDATES);
}

// Rule 7: farewell.

#[test]
fn a_leaving_node_says_so_and_falls_silent() {
    let mut fixture = Fixture::with_members(Config::default(), 2..42);
    fixture.handle(Input::Leave);
    let own = fixture.roster.card().clone();
    assert!(own.is_leaving() && own.verify(&mesh()).is_ok());
    let sent = fixture.sent();
    let told: BTreeSet<PublicKey> = sent.iter().map(|(to, _)| *to).collect();
    assert_eq!((sent.len(), told.len()), (16, 16));
    assert!(sent.iter().all(|(_, message)| *message == hello([Update::Card(own.clone())])));
    assert_eq!(fixture.roster.poll_timeout(), None);
    fixture.says(2, hello([suspect(ME, own.revision)]));
    assert_eq!(fixture.roster.card(), &own, "it doesn't hold on to life");
}

#[test]
fn a_farewell_removes_at_once_and_is_passed_on() {
    let mut fixture = Fixture::with_members(Config::default(), [2, 3]);
    fixture.says(3, hello([Update::Card(farewell(3, 2))]));
    assert_eq!(fixture.left(), [(peer(3), true)]);
    assert!(fixture.news_for(2).contains(&Update::Card(farewell(3, 2))));
    fixture.says(2, hello([Update::Card(card(3, 1)), Update::Card(card(3, 2))]));
    assert!(!fixture.knows(3));
    // A stranger's farewell is remembered, so that its card, overtaken by it, isn't believed.
    fixture.says(2, hello([Update::Card(farewell(4, 2)), Update::Card(card(4, 1))]));
    assert!(!fixture.knows(4));
    assert_eq!(fixture.left(), []);
}

// Rule 8: bounds.

#[test]
fn over_the_bound_a_newcomer_is_left_out_and_still_answered() {
    let config = Config { max_members: 3, ..Config::default() };
    let mut fixture = Fixture::with_members(config, 2..5);
    fixture.says(9, hello([Update::Card(card(9, 1))]));
    assert_eq!((fixture.joined(), fixture.sent()), (vec![], vec![]));
    assert!(!fixture.knows(9));
    fixture.says(9, Message::Ping { number: 1, updates: vec![] });
    assert_eq!(fixture.sent().len(), 1);
    fixture.says(2, hello([Update::Card(card(2, 2))]));
    assert_eq!(fixture.updated(), [(peer(2), 2)], "those listed are kept up to date");
}

#[test]
fn the_remembered_dead_are_bounded_the_oldest_forgotten() {
    let config = Config { max_dead: 3, ..Config::default() };
    let mut fixture = Fixture::with_members(config, 2..10);
    for n in 2..8 {
        fixture.says(n, hello([Update::Card(farewell(n, 2))]));
        fixture.now = fixture.now + Duration::from_millis(1);
    }
    let dead: BTreeSet<PublicKey> = fixture.roster.dead.keys().copied().collect();
    assert_eq!(dead, (5..8).map(peer).collect());
}

#[test]
fn news_is_bounded_however_many_come_and_go() {
    let config = Config { max_members: 4, ..Config::default() };
    let mut fixture = Fixture::new(config);
    for n in 2..200 {
        fixture.says(2, hello([Update::Card(card(n, 1)), Update::Card(farewell(n, 2))]));
    }
    let most = fixture.roster.updates.take(usize::MAX, 1).len();
    assert!(most <= 4, "{most} updates wait");
}

#[test]
fn favours_are_bounded() {
    let config = Config { max_members: 4, ..Config::default() };
    let mut fixture = Fixture::with_members(config, 2..6);
    fixture.answering.clear();
    for number in 0..100 {
        let target = (*peer(3).as_bytes()).into();
        fixture.says(2, Message::PingFor { number, target, updates: vec![] });
    }
    assert_eq!(fixture.roster.favours.len(), 4);
}

#[test]
fn a_lost_connection_is_probed_next() {
    let mut fixture = Fixture::with_members(Config::default(), 2..50);
    fixture.pass_ms(500);
    fixture.pings.clear();
    fixture.handle(Input::Disconnected { peer: peer(33) });
    fixture.handle(Input::Disconnected { peer: peer(99) });
    fixture.pass_ms(0);
    let targets: Vec<PublicKey> = fixture.pings.iter().map(|(_, to, _)| *to).collect();
    assert_eq!(targets, [peer(33)]);
}
