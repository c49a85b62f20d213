//! Rule 1: cards.

use super::*;

#[test]
fn a_later_card_replaces_an_earlier_one() {
    let mut fixture = Fixture::new(Config::default());
    for revision in [2, 3, 1, 3] {
        fixture.says(2, hello([Update::Card(card(2, revision))]));
    }
    assert_eq!((fixture.joined(), fixture.updated()), (vec![(peer(2), 2)], vec![(peer(2), 3)]));
    let later_life = Card::sign(&key(2), &mesh(), LIFE + 1, 1, false, profile(2));
    fixture.says(3, hello([Update::Card(later_life)]));
    assert_eq!(fixture.updated(), [(peer(2), 1)]);
    assert_eq!(fixture.roster.members[&peer(2)].card.life, LIFE + 1);
}

#[test]
fn a_forged_card_changes_nothing_and_is_reported() {
    let mut fixture = Fixture::with_members(Config::default(), [2, 3]);
    let elsewhere = Genesis::open("elsewhere").unwrap().mesh_id();
    let foreign = Card::sign(&key(5), &elsewhere, LIFE, 1, false, profile(5));
    for bad in [forged(&card(4, 1)), forged(&card(2, 2)), forged(&farewell(2, 9)), foreign] {
        fixture.says(3, hello([Update::Card(bad)]));
        assert_eq!(fixture.forgers(), [peer(3)]);
    }
    assert_eq!((fixture.joined(), fixture.updated()), (vec![], vec![]));
    assert_eq!((fixture.left(), fixture.roster.members.len()), (vec![], 2));
    assert_eq!(fixture.roster.members[&peer(2)].card.revision, 1);
    assert!(fixture.roster.dead.is_empty());
}

#[test]
fn a_card_that_is_no_news_is_not_even_checked() {
    let mut fixture = Fixture::with_members(Config::default(), [2, 3]);
    fixture.says(3, hello([Update::Card(forged(&card(2, 1)))]));
    fixture.says(3, hello([Update::Card(forged(&card(ME, 9)))]));
    assert_eq!((fixture.forgers(), fixture.joined()), (vec![], vec![]));
    assert_eq!(fixture.roster.card().revision, 1, "nobody else speaks for us");
}

/// The card of a later release: keys that this one doesn't know, in the map and in the profile.
#[derive(Encode)]
#[cbor(map)]
struct LaterBody {
    #[n(0)]
    peer: ByteArray<32>,
    #[n(1)]
    life: u64,
    #[n(2)]
    revision: u64,
    #[n(3)]
    leaving: bool,
    #[n(4)]
    profile: LaterProfile,
    #[n(9)]
    news: String,
}

#[derive(Encode)]
#[cbor(map)]
struct LaterProfile {
    #[n(0)]
    addresses: Vec<String>,
    #[n(1)]
    agent: String,
    #[n(2)]
    roles: Vec<String>,
    #[n(7)]
    load: u32,
}

/// Written down by hand, as the documentation of [`Card`] has it.
fn later_card(n: u8, addresses: Vec<String>, news: &str) -> Vec<u8> {
    let profile = LaterProfile { addresses, agent: "later".into(), roles: vec![], load: 3 };
    let peer = (*peer(n).as_bytes()).into();
    let news = news.into();
    let body = LaterBody { peer, life: LIFE, revision: 1, leaving: false, profile, news };
    let body = wire::to_cbor(&body);
    let mut hasher = Domain::new("aether 2026-11 roster card v1").hasher();
    let digest = hasher.update(mesh().as_hash().as_ref()).update(&body).finish();
    let signature = key(n).sign(&digest);
    let body: minicbor::bytes::ByteVec = body.into();
    let signature: minicbor::bytes::ByteVec = signature.as_bytes().to_vec().into();
    wire::to_cbor(&(body, signature))
}

#[test]
fn a_later_releases_card_verifies_and_is_passed_on_byte_for_byte() {
    let mut fixture = Fixture::with_members(Config::default(), [2]);
    let bytes = later_card(3, vec!["/memory/3".into()], "new");
    fixture.says(3, hello([Update::Card(wire::from_cbor(&bytes).unwrap())]));
    assert_eq!((fixture.joined(), fixture.forgers()), (vec![(peer(3), 1)], vec![]));
    let news = fixture.news_for(2);
    let passed_on = news.iter().find_map(|update| match update {
        Update::Card(card) if card.peer() == peer(3) => Some(wire::to_cbor(card)),
        _ => None,
    });
    assert_eq!(passed_on, Some(bytes));
}

#[test]
fn what_is_over_the_limits_is_cut_when_signed_and_refused_when_received() {
    let large = Profile {
        addresses: (0..20).map(|n| format!("/memory/{n}")).chain(["x".repeat(129)]).collect(),
        agent: "ä".repeat(60),
        roles: vec!["relay".into(), "y".repeat(33)],
    };
    let signed = Card::sign(&key(2), &mesh(), LIFE, 1, false, large);
    assert_eq!(signed.profile.addresses.len(), 8);
    assert_eq!(signed.profile.agent, "ä".repeat(32));
    assert_eq!(signed.profile.roles, ["relay"]);
    assert_eq!(signed.verify(&mesh()), Ok(()));
    let long = "x".repeat(2048);
    for (addresses, news) in
        [(vec!["x".repeat(129)], ""), (vec![String::new(); 9], ""), (vec![], long.as_str())]
    {
        let card: Card = wire::from_cbor(&later_card(2, addresses, news)).unwrap();
        assert_eq!(card.verify(&mesh()), Err(CardError::TooLarge));
    }
}

#[test]
fn what_is_over_our_limits_is_left_out_and_nobody_is_blamed() {
    let mut fixture = Fixture::with_members(Config::default(), [2]);
    let bytes = later_card(3, vec!["x".repeat(129)], "");
    fixture.says(2, hello([Update::Card(wire::from_cbor(&bytes).unwrap())]));
    assert_eq!((fixture.joined(), fixture.forgers()), (vec![], vec![]));
}

#[test]
fn a_later_releases_news_is_skipped_and_the_rest_is_read() {
    let known = Update::Suspect { peer: (*peer(2).as_bytes()).into(), life: LIFE, revision: 1 };
    let ours = Message::Ping { number: 7, updates: vec![known.clone(), known] };
    let mut later = wire::to_cbor(&ours);
    let one = wire::to_cbor(&vec![Update::Card(card(3, 1))]);
    // The list of two becomes one of three: in the middle a kind of news that isn't known.
    let at = later.iter().position(|byte| *byte == 0x82).unwrap();
    later[at] = 0x83;
    let unknown = [0x83, 0x02, 0x61, b'x', 0x81, 0xf6];
    let middle = at + 1 + (later.len() - at - 1) / 2;
    later.splice(middle..middle, unknown);
    assert_eq!(wire::from_cbor::<Message>(&later).unwrap(), ours);
    assert!(wire::from_cbor::<Message>(&one).is_err(), "news alone is no message");

    let many = Message::Hello { updates: vec![Update::Card(card(3, 1)); 2 * MAX_UPDATES] };
    let Message::Hello { updates } = wire::from_cbor(&wire::to_cbor(&many)).unwrap() else {
        unreachable!("it was a hello")
    };
    assert_eq!(updates.len(), MAX_UPDATES);
}

#[test]
fn another_profile_is_signed_and_told() {
    let mut fixture = Fixture::with_members(Config::default(), [2]);
    fixture.handle(Input::Profile(profile(ME)));
    assert_eq!(fixture.roster.card().revision, 1, "it is the same");
    let other = Profile { roles: vec!["relay".into()], ..profile(ME) };
    fixture.handle(Input::Profile(other.clone()));
    let own = fixture.roster.card().clone();
    assert_eq!((own.revision, &own.profile, own.verify(&mesh())), (2, &other, Ok(())));
    assert!(fixture.news_for(2).contains(&Update::Card(own)));
}

#[test]
fn a_new_connection_is_told_who_we_are_and_whom_we_know() {
    let mut fixture = Fixture::with_members(Config::default(), 2..40);
    fixture.handle(Input::Connected { peer: peer(50) });
    let sent = fixture.sent();
    let [(to, Message::Hello { updates })] = &sent[..] else { panic!("a hello") };
    assert_eq!((*to, updates.len()), (peer(50), MAX_UPDATES));
    assert_eq!(updates[0], Update::Card(fixture.roster.card().clone()));
    let others: BTreeSet<PublicKey> = updates
        .iter()
        .filter_map(|update| match update {
            Update::Card(card) => Some(card.peer()),
            Update::Suspect { .. } => None,
        })
        .collect();
    assert_eq!(others.len(), MAX_UPDATES, "nobody twice");
}

#[test]
fn what_seems_to_come_from_ourselves_is_ignored() {
    let mut fixture = Fixture::with_members(Config::default(), [2]);
    fixture.says(ME, hello([Update::Card(card(3, 1)), suspect(ME, 1)]));
    assert!(!fixture.knows(3));
    assert_eq!(fixture.roster.card().revision, 1);
}
