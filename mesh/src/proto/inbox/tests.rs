use aether_core::{Genesis, MeshId, SecretKey};
use proptest::prelude::*;

use super::*;
use crate::proto::{
    envelope::{Header, MAX_PAYLOAD, OVERHEAD, gossip_id},
    link::{Frame, Have, MAX_FRAME, Tip, Tips, Want},
};

const WALL: u64 = 1_700_000_000_000;
const LIFE: u64 = WALL - 1000;
const ME: u8 = 1;
const AUTHOR: u8 = 2;
const ALICE: u8 = 3;
const BOB: u8 = 4;

fn mesh() -> MeshId {
    Genesis::open("aether").unwrap().mesh_id()
}

fn topic() -> TopicId {
    TopicId::new(&mesh(), "greetings")
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

fn peer(n: u8) -> PublicKey {
    key(n).public()
}

fn seal(author: u8, header: Header, payload: &[u8]) -> Envelope {
    Envelope::seal(&key(author), &mesh(), &topic(), header, payload)
}

/// One message of one byte, numbered like its envelope.
fn envelope(author: u8, number: u64) -> Envelope {
    let header = Header { incarnation: LIFE, number, first: number, time: WALL };
    seal(author, header, &[0])
}

fn envelopes(author: u8, numbers: impl IntoIterator<Item = u64>) -> Vec<Envelope> {
    numbers.into_iter().map(|number| envelope(author, number)).collect()
}

/// The same content under a signature that isn't good.
fn forged(envelope: &Envelope) -> Envelope {
    let mut bytes = envelope.bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    Envelope::decode(bytes.into()).unwrap()
}

/// An envelope with a payload of so many bytes: that many messages.
fn sized(author: u8, number: u64, len: usize) -> Envelope {
    let header =
        Header { incarnation: LIFE, number, first: 1 + (number - 1) * len as u64, time: WALL };
    seal(author, header, &vec![0; len])
}

fn want(numbers: impl IntoIterator<Item = u64>) -> Want {
    let numbers = numbers.into_iter().collect();
    Want { topic: topic(), author: peer(AUTHOR), incarnation: LIFE, numbers }
}

fn tip(author: u8, incarnation: u64, next: u64) -> Tip {
    Tip { author: peer(author), incarnation, next }
}

/// An inbox that reads one topic, its clock, and what it put out and nobody took yet.
struct Fixture {
    inbox: Inbox,
    now: Time,
    wall: u64,
    /// Whether `Verify` is answered at once, truthfully.
    verifies: bool,
    outputs: Vec<Output>,
}

impl Fixture {
    fn new(config: Config) -> Self {
        let inbox = Inbox::new(config, peer(ME), LIFE, 7);
        let now = Time::from_millis(5000);
        let mut fixture = Self { inbox, now, wall: WALL, verifies: true, outputs: Vec::new() };
        fixture.handle(Input::Subscribe { topic: topic(), wall: WALL });
        fixture
    }

    /// With neighbours Alice and Bob.
    fn with_neighbours(config: Config) -> Self {
        let mut fixture = Self::new(config);
        fixture.neighbour(ALICE);
        fixture.neighbour(BOB);
        fixture
    }

    fn handle(&mut self, input: Input) {
        self.inbox.handle(self.now, input);
        while let Some(output) = self.inbox.poll_output() {
            self.outputs.push(output.clone());
            if let Output::Verify { topic, envelope, origin } = output
                && self.verifies
            {
                let valid = envelope.verify(&mesh(), &topic).is_ok();
                self.handle(Input::Verified { topic, envelope, origin, valid });
            }
        }
    }

    fn neighbour(&mut self, n: u8) {
        self.handle(Input::Neighbour { topic: topic(), peer: peer(n) });
    }

    fn gossip_bytes(&mut self, from: u8, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        let id = gossip_id(&topic().gossip_name(), &bytes);
        self.handle(Input::Gossip { topic: topic(), id, from: peer(from), bytes, wall: self.wall });
    }

    fn gossip(&mut self, from: u8, envelope: &Envelope) {
        self.gossip_bytes(from, envelope.bytes().clone());
    }

    fn have(&mut self, from: u8, envelopes: &[Envelope]) {
        let envelopes = envelopes.iter().map(|envelope| envelope.bytes().to_vec()).collect();
        let have = Have { topic: topic(), envelopes };
        self.handle(Input::Have { from: peer(from), have, wall: self.wall });
    }

    fn tips(&mut self, from: u8, tips: Vec<Tip>) {
        self.handle(Input::Tips { from: peer(from), tips: Tips { topic: topic(), tips } });
    }

    /// Lets time pass, with a timeout whenever one is due.
    fn pass(&mut self, wait: Duration) {
        let end = self.now + wait;
        while let Some(due) = self.inbox.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Input::Timeout);
        }
        self.now = end;
    }

    fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
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

    /// (number, messages missed before it) of what was delivered.
    fn delivered(&mut self) -> Vec<(u64, u64)> {
        self.take(|output| match output {
            Output::Deliver { envelope, missed, .. } => Some((envelope.number, *missed)),
            _ => None,
        })
    }

    fn verified(&mut self) -> usize {
        self.take(|output| matches!(output, Output::Verify { .. }).then_some(())).len()
    }

    fn verdicts(&mut self) -> Vec<Verdict> {
        self.take(|output| match output {
            Output::Verdict { verdict, .. } => Some(*verdict),
            _ => None,
        })
    }

    fn faults(&mut self) -> Vec<(PublicKey, Fault)> {
        self.take(|output| match output {
            Output::Penalize { peer, fault } => Some((*peer, *fault)),
            _ => None,
        })
    }

    fn wants(&mut self) -> Vec<(PublicKey, Vec<u64>)> {
        self.take(|output| match output {
            Output::Send { to, frame: Frame::Want(want) } => Some((*to, want.numbers.clone())),
            _ => None,
        })
    }

    fn told(&mut self) -> Vec<(PublicKey, Vec<Tip>)> {
        self.take(|output| match output {
            Output::Send { to, frame: Frame::Tips(tips) } => Some((*to, tips.tips.clone())),
            _ => None,
        })
    }

    fn served(&mut self) -> Vec<(PublicKey, Frame)> {
        self.take(|output| match output {
            Output::Send { to, frame: frame @ Frame::Have(_) } => Some((*to, frame.clone())),
            _ => None,
        })
    }

    fn next(&self) -> Option<(u64, u64)> {
        self.inbox.next(&topic(), &peer(AUTHOR))
    }
}

// Rule 1: deduplicate, then verify.

#[test]
fn what_is_settled_is_ignored_unverified_and_blames_nobody() {
    let mut fixture = Fixture::new(Config::default());
    let original = envelope(AUTHOR, 1);
    fixture.gossip(ALICE, &original);
    assert_eq!((fixture.verified(), fixture.verdicts()), (1, vec![Verdict::Accept]));
    fixture.gossip(BOB, &original);
    fixture.gossip(BOB, &forged(&original));
    assert_eq!(fixture.verified(), 0);
    assert_eq!(fixture.verdicts(), [Verdict::Ignore; 2]);
    assert_eq!(fixture.faults(), []);
    assert_eq!(fixture.delivered(), [(1, 0)]);
    assert_eq!(fixture.inbox.stats().duplicate, 2);
}

#[test]
fn what_is_held_is_settled_too() {
    let mut fixture = Fixture::new(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 2));
    fixture.gossip(BOB, &envelope(AUTHOR, 2));
    assert_eq!(fixture.verified(), 1);
    assert_eq!(fixture.verdicts(), [Verdict::Accept, Verdict::Ignore]);
}

#[test]
fn a_forgery_that_comes_first_suppresses_nothing() {
    let mut fixture = Fixture::new(Config::default());
    let original = envelope(AUTHOR, 1);
    fixture.gossip(ALICE, &forged(&original));
    assert_eq!(fixture.verdicts(), [Verdict::Reject]);
    assert_eq!(fixture.faults(), [(peer(ALICE), Fault::Forged)]);
    assert_eq!((fixture.delivered(), fixture.next()), (vec![], None));
    fixture.gossip(BOB, &original);
    assert_eq!((fixture.delivered(), fixture.verdicts()), (vec![(1, 0)], vec![Verdict::Accept]));
    assert_eq!(fixture.inbox.stats().forged, 1);
}

#[test]
fn a_forgery_under_verification_suppresses_nothing_either() {
    let mut fixture = Fixture::new(Config::default());
    fixture.verifies = false;
    let original = envelope(AUTHOR, 1);
    fixture.gossip(ALICE, &forged(&original));
    fixture.gossip(BOB, &original);
    assert_eq!(fixture.verified(), 2);
}

#[test]
fn a_forger_on_the_link_is_penalized() {
    let mut fixture = Fixture::new(Config::default());
    fixture.have(ALICE, &[forged(&envelope(AUTHOR, 1))]);
    assert_eq!(fixture.faults(), [(peer(ALICE), Fault::Forged)]);
    assert_eq!((fixture.delivered(), fixture.verdicts()), (vec![], vec![]));
}

#[test]
fn what_comes_twice_while_it_is_verified_is_delivered_once() {
    let mut fixture = Fixture::new(Config::default());
    fixture.verifies = false;
    let original = envelope(AUTHOR, 1);
    fixture.gossip(ALICE, &original);
    fixture.have(BOB, std::slice::from_ref(&original));
    let pending = fixture.take(|output| match output {
        Output::Verify { envelope, origin, .. } => Some((envelope.clone(), *origin)),
        _ => None,
    });
    assert_eq!(pending.len(), 2);
    for (envelope, origin) in pending.into_iter().rev() {
        fixture.handle(Input::Verified { topic: topic(), envelope, origin, valid: true });
    }
    assert_eq!((fixture.delivered(), fixture.verdicts()), (vec![(1, 0)], vec![Verdict::Ignore]));
}

#[test]
fn the_malformed_is_rejected_and_the_newer_ignored() {
    let mut fixture = Fixture::new(Config::default());
    let bytes = envelope(AUTHOR, 1).bytes().to_vec();
    fixture.gossip_bytes(ALICE, bytes[..100].to_vec());
    assert_eq!(fixture.verdicts(), [Verdict::Reject]);
    assert_eq!(fixture.faults(), [(peer(ALICE), Fault::Malformed)]);
    fixture.gossip_bytes(ALICE, [&bytes[..65], &[0; MAX_PAYLOAD + 1], &bytes[..64]].concat());
    assert_eq!(fixture.verdicts(), [Verdict::Reject]);
    assert_eq!(fixture.faults(), [(peer(ALICE), Fault::Oversized)]);
    fixture.gossip_bytes(ALICE, [&[2], &bytes[1..]].concat());
    assert_eq!((fixture.verdicts(), fixture.faults()), (vec![Verdict::Ignore], vec![]));
    let stats = fixture.inbox.stats();
    assert_eq!((stats.malformed, stats.newer, fixture.verified()), (2, 1, 0));
}

#[test]
fn our_own_envelopes_come_back_unread() {
    let mut fixture = Fixture::new(Config::default());
    fixture.handle(Input::Published { topic: topic(), envelope: envelope(ME, 1) });
    fixture.gossip(ALICE, &envelope(ME, 1));
    // Nor is anything believed that we haven't said in this life.
    fixture.gossip(ALICE, &envelope(ME, 2));
    let header = Header { incarnation: LIFE + 1, number: 1, first: 1, time: WALL };
    fixture.gossip(ALICE, &seal(ME, header, &[0]));
    assert_eq!((fixture.verified(), fixture.delivered()), (0, vec![]));
    assert_eq!(fixture.verdicts(), [Verdict::Ignore; 3]);
}

#[test]
fn a_topic_that_is_not_read_is_ignored_and_forgotten() {
    let mut fixture = Fixture::new(Config::default());
    fixture.gossip(ALICE, &envelope(AUTHOR, 2));
    fixture.handle(Input::Unsubscribe { topic: topic() });
    assert_eq!((fixture.inbox.bytes(), fixture.next()), (0, None));
    fixture.outputs.clear();
    fixture.gossip(ALICE, &envelope(AUTHOR, 3));
    assert_eq!((fixture.verified(), fixture.verdicts()), (0, vec![Verdict::Ignore]));
    assert_eq!(fixture.inbox.poll_timeout(), None);
}

// Rule 2: once, in order.

#[test]
fn what_comes_early_waits_for_its_turn() {
    let mut fixture = Fixture::new(Config::default());
    for number in [3, 5, 1, 4] {
        fixture.gossip(ALICE, &envelope(AUTHOR, number));
    }
    assert_eq!(fixture.delivered(), [(1, 0)]);
    assert!(fixture.inbox.bytes() > 0);
    fixture.gossip(ALICE, &envelope(AUTHOR, 2));
    assert_eq!(fixture.delivered(), [(2, 0), (3, 0), (4, 0), (5, 0)]);
    assert_eq!(fixture.verdicts(), [Verdict::Accept; 5]);
    assert_eq!(fixture.inbox.topics[&topic()].held_bytes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_arrival_is_delivered_once_in_order(
        order in Just((1..=20).collect::<Vec<u64>>()).prop_shuffle(),
        again in proptest::collection::vec(1..=20u64, 0..20),
    ) {
        let mut fixture = Fixture::new(Config::default());
        for number in order.into_iter().chain(again) {
            fixture.gossip(ALICE, &envelope(AUTHOR, number));
        }
        let expected: Vec<_> = (1..=20).map(|number| (number, 0)).collect();
        prop_assert_eq!(fixture.delivered(), expected);
    }
}

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

fn sealed_at(number: u64, time: u64) -> Envelope {
    seal(AUTHOR, Header { incarnation: LIFE, number, first: number, time }, &[0])
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

// Rule 5: progress.

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

// Rule 6: lives.

fn of_life(incarnation: u64, number: u64) -> Envelope {
    seal(AUTHOR, Header { incarnation, number, first: number, time: WALL }, &[0])
}

#[test]
fn a_later_life_flushes_and_replaces_the_earlier() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    for number in [1, 3, 5] {
        fixture.gossip(ALICE, &of_life(LIFE, number));
    }
    assert_eq!(fixture.delivered(), [(1, 0)]);
    fixture.gossip(ALICE, &of_life(LIFE + 1, 1));
    assert_eq!(fixture.delivered(), [(3, 1), (5, 1), (1, 0)]);
    assert_eq!(fixture.next(), Some((LIFE + 1, 2)));
    fixture.outputs.clear();
    fixture.gossip(ALICE, &of_life(LIFE, 2));
    fixture.gossip(ALICE, &of_life(LIFE, 6));
    assert_eq!((fixture.verified(), fixture.delivered()), (0, vec![]));
    assert_eq!((fixture.verdicts(), fixture.faults()), (vec![Verdict::Ignore; 2], vec![]));
    assert_eq!(fixture.inbox.stats().stale, 2);
}

#[test]
fn a_forged_life_replaces_nothing() {
    let mut fixture = Fixture::with_neighbours(Config::default());
    fixture.gossip(ALICE, &of_life(LIFE, 1));
    fixture.gossip(ALICE, &forged(&of_life(u64::MAX, 1)));
    fixture.gossip(ALICE, &of_life(LIFE, 2));
    assert_eq!(fixture.delivered(), [(1, 0), (2, 0)]);
}

#[test]
fn what_is_sealed_too_long_ago_or_ahead_is_stale() {
    let age = Config::default().max_age;
    let mut fixture = Fixture::new(Config::default());
    fixture.gossip(ALICE, &sealed_at(1, WALL - age - 1));
    fixture.gossip(ALICE, &sealed_at(1, WALL + age + 1));
    assert_eq!((fixture.verified(), fixture.verdicts()), (0, vec![Verdict::Ignore; 2]));
    assert_eq!((fixture.faults(), fixture.inbox.stats().stale), (vec![], 2));
    fixture.gossip(ALICE, &sealed_at(1, WALL - age));
    fixture.gossip(ALICE, &sealed_at(2, WALL + age));
    assert_eq!(fixture.delivered(), [(1, 0), (2, 0)]);
}

// Rule 7: bounds.

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

// Rule 7: forwarding.

/// When each of so many envelopes of `hold_above` bytes was forwarded, after it was delivered.
fn holds(config: &Config, count: u64) -> Vec<Duration> {
    let mut fixture = Fixture::new(config.clone());
    let size = config.hold_above - OVERHEAD;
    let mut holds = Vec::new();
    for number in 1..=count {
        fixture.gossip(ALICE, &sized(AUTHOR, number, size));
        assert_eq!(fixture.delivered(), [(number, 0)], "delivered at once");
        let start = fixture.now;
        let verdicts = loop {
            let verdicts = fixture.verdicts();
            if !verdicts.is_empty() {
                break verdicts;
            }
            fixture.pass_ms(1);
        };
        assert_eq!(verdicts, [Verdict::Accept]);
        holds.push(fixture.now.since(start));
    }
    holds
}

#[test]
fn a_large_envelope_is_delivered_at_once_and_forwarded_a_random_moment_later() {
    let config = Config::default();
    let holds = holds(&config, 200);
    let (least, most) = (holds.iter().min().unwrap(), holds.iter().max().unwrap());
    let (quarter, span) = (config.least_hold / 4, config.most_hold - config.least_hold);
    assert!(config.least_hold <= *least && *most <= config.most_hold + Duration::from_millis(1));
    assert!(*least <= config.least_hold + quarter, "{least:?}");
    assert!(*most >= config.least_hold + span * 3 / 4, "{most:?}");
}

#[test]
fn a_small_envelope_is_forwarded_at_once() {
    let mut fixture = Fixture::new(Config::default());
    let size = Config::default().hold_above - OVERHEAD - 1;
    fixture.gossip(ALICE, &sized(AUTHOR, 1, size));
    assert_eq!(fixture.verdicts(), [Verdict::Accept]);
}

#[test]
fn the_one_that_is_due_first_is_forwarded_first() {
    let mut fixture = Fixture::new(Config::default());
    let size = Config::default().hold_above;
    for number in 1..=50 {
        fixture.gossip(ALICE, &sized(AUTHOR, number, size));
    }
    let mut forwarded = 0;
    while let Some(due) = fixture.inbox.held_back.due() {
        assert_eq!(fixture.inbox.poll_timeout().map(|at| at <= due), Some(true));
        fixture.now = due;
        fixture.handle(Input::Timeout);
        forwarded += 1;
    }
    assert_eq!(fixture.verdicts().len(), 50);
    assert!(forwarded > 40, "each at its own time: {forwarded}");
}
