use std::collections::BTreeSet;

use aether_core::{Domain, Genesis, wire};
use minicbor::{Encode, bytes::ByteArray};

use super::*;

const ME: u8 = 1;
const LIFE: u64 = 1_700_000_000_000;

fn mesh() -> MeshId {
    Genesis::open("aether").unwrap().mesh_id()
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

fn peer(n: u8) -> PublicKey {
    key(n).public()
}

fn profile(n: u8) -> Profile {
    Profile { addresses: vec![format!("/memory/{n}")], agent: "test".into(), roles: vec![] }
}

fn card(n: u8, revision: u64) -> Card {
    Card::sign(&key(n), &mesh(), LIFE, revision, false, profile(n))
}

fn farewell(n: u8, revision: u64) -> Card {
    Card::sign(&key(n), &mesh(), LIFE, revision, true, profile(n))
}

/// The same card under a signature that isn't good.
fn forged(card: &Card) -> Card {
    let mut bytes = wire::to_cbor(card);
    *bytes.last_mut().unwrap() ^= 1;
    wire::from_cbor(&bytes).unwrap()
}

fn suspect(n: u8, revision: u64) -> Update {
    Update::Suspect { peer: (*peer(n).as_bytes()).into(), life: LIFE, revision }
}

fn hello(updates: impl IntoIterator<Item = Update>) -> Message {
    Message::Hello { updates: updates.into_iter().collect() }
}

/// A roster, its clock, and what it put out and nobody took yet.
struct Fixture {
    roster: Roster,
    now: Time,
    outputs: Vec<Output>,
    /// Who answers pings at once.
    answering: BTreeSet<PublicKey>,
    /// Every ping sent: when, to whom, with which news.
    pings: Vec<(Time, PublicKey, Vec<Update>)>,
}

impl Fixture {
    fn new(config: Config) -> Self {
        let roster = Roster::new(config, mesh(), key(ME), LIFE, profile(ME), 7);
        Self {
            roster,
            now: Time::from_millis(9000),
            outputs: Vec::new(),
            answering: BTreeSet::new(),
            pings: Vec::new(),
        }
    }

    /// With members of these numbers, each in its first revision, all answering.
    fn with_members(config: Config, members: impl IntoIterator<Item = u8>) -> Self {
        let mut fixture = Self::new(config);
        for n in members {
            fixture.says(n, hello([Update::Card(card(n, 1))]));
            fixture.answering.insert(peer(n));
        }
        fixture.outputs.clear();
        fixture
    }

    fn handle(&mut self, input: Input) {
        self.roster.handle(self.now, input);
        let mut answers = Vec::new();
        while let Some(output) = self.roster.poll_output() {
            if let Output::Send { to, message: Message::Ping { number, updates } } = &output {
                self.pings.push((self.now, *to, updates.clone()));
                if self.answering.contains(to) {
                    answers.push((*to, Message::Ack { number: *number, updates: Vec::new() }));
                }
            }
            self.outputs.push(output);
        }
        for (from, message) in answers {
            self.handle(Input::Message { from, message });
        }
    }

    fn says(&mut self, n: u8, message: Message) {
        self.handle(Input::Message { from: peer(n), message });
    }

    /// Lets time pass, with a timeout whenever one is due.
    fn pass(&mut self, wait: Duration) {
        let end = self.now + wait;
        while let Some(due) = self.roster.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Input::Timeout);
        }
        self.now = end;
    }

    fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }

    fn knows(&self, n: u8) -> bool {
        self.roster.members.contains_key(&peer(n))
    }

    fn suspects(&self, n: u8) -> bool {
        self.roster.members[&peer(n)].suspect_since.is_some()
    }

    fn take<T>(&mut self, choose: impl Fn(&Output) -> Option<T>) -> Vec<T> {
        let (mut taken, mut rest) = (Vec::new(), Vec::new());
        for output in self.outputs.drain(..) {
            match choose(&output) {
                Some(found) => taken.push(found),
                None => rest.push(output),
            }
        }
        self.outputs = rest;
        taken
    }

    fn sent(&mut self) -> Vec<(PublicKey, Message)> {
        self.take(|output| match output {
            Output::Send { to, message } => Some((*to, message.clone())),
            _ => None,
        })
    }

    /// Whom others were asked to ping for us: (helper, target).
    fn asked(&mut self) -> Vec<(PublicKey, PublicKey, u64)> {
        self.take(|output| match output {
            Output::Send { to, message: Message::PingFor { number, target, .. } } => {
                Some((*to, PublicKey::from_bytes((*target).into()), *number))
            }
            _ => None,
        })
    }

    fn joined(&mut self) -> Vec<(PublicKey, u64)> {
        self.take(|output| match output {
            Output::Joined(card) => Some((card.peer(), card.revision)),
            _ => None,
        })
    }

    fn updated(&mut self) -> Vec<(PublicKey, u64)> {
        self.take(|output| match output {
            Output::Updated(card) => Some((card.peer(), card.revision)),
            _ => None,
        })
    }

    fn left(&mut self) -> Vec<(PublicKey, bool)> {
        self.take(|output| match output {
            Output::Left { peer, farewell } => Some((*peer, *farewell)),
            _ => None,
        })
    }

    fn forgers(&mut self) -> Vec<PublicKey> {
        self.take(|output| match output {
            Output::Forged { from } => Some(*from),
            _ => None,
        })
    }

    /// What rides on the answer to a ping of this member.
    fn news_for(&mut self, n: u8) -> Vec<Update> {
        self.outputs.clear();
        self.says(n, Message::Ping { number: 1, updates: vec![] });
        let sent = self.sent().into_iter();
        let mut acks = sent.filter_map(|(_, message)| match message {
            Message::Ack { number: 1, updates } => Some(updates),
            _ => None,
        });
        acks.next().expect("a ping is answered")
    }
}

// Rule 1: cards.

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
