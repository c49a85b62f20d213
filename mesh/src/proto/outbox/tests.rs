use aether_core::Hash;

use super::*;

fn topic(n: u8) -> TopicId {
    TopicId::from_hash(Hash::from_bytes([n; 32]))
}

fn peer(n: u8) -> PublicKey {
    PublicKey::from_bytes([n; 32])
}

struct Fixture {
    outbox: Outbox,
    express: bool,
    now: Time,
    sealed: Vec<Output>,
}

impl Fixture {
    fn new(config: Config) -> Self {
        let outbox = Outbox::new(config);
        Self { outbox, express: false, now: Time::from_millis(1000), sealed: Vec::new() }
    }

    fn open(config: Config, express: bool) -> Self {
        let mut fixture = Self { express, ..Self::new(config) };
        fixture.handle(Input::Open { topic: topic(1) });
        fixture.handle(Input::Readers { topic: topic(1), count: 1 });
        fixture
    }

    fn handle(&mut self, input: Input) {
        self.outbox.handle(self.now, input);
        while let Some(output) = self.outbox.poll_output() {
            self.sealed.push(output);
        }
    }

    fn publish(&mut self, on: u8, len: usize) {
        let (topic, express) = (topic(on), self.express);
        self.handle(Input::Publish { topic, message: vec![0; len].into(), express });
    }

    fn hand_all(&mut self) {
        for _ in 0..self.outbox.handing {
            self.handle(Input::Handed { topic: topic(1) });
        }
    }

    fn after(&mut self, wait: Duration) {
        self.now = self.now + wait;
        self.handle(Input::Timeout);
    }

    /// (topic, number, first, count) of what was sealed since the last call.
    fn take(&mut self) -> Vec<(TopicId, u64, u64, u64)> {
        let seals = self.sealed.drain(..);
        seals
            .map(|Output::Seal { topic, number, first, count, .. }| (topic, number, first, count))
            .collect()
    }
}

#[test]
fn messages_share_an_envelope_until_the_linger_ends() {
    let mut fixture = Fixture::open(Config::default(), false);
    fixture.publish(1, 10);
    fixture.publish(1, 10);
    assert_eq!(fixture.take(), []);
    assert_eq!(fixture.outbox.poll_timeout(), Some(fixture.now + Duration::from_millis(1)));
    fixture.after(Duration::from_millis(1));
    fixture.publish(1, 10);
    fixture.after(Duration::from_millis(1));
    assert_eq!(fixture.take(), [(topic(1), 1, 1, 2), (topic(1), 2, 3, 1)]);
}

#[test]
fn a_full_envelope_does_not_wait() {
    let mut fixture = Fixture::open(Config::default(), false);
    for _ in 0..33 {
        fixture.publish(1, 1024);
    }
    // 32 KiB close the first envelope; the rest lingers.
    assert_eq!(fixture.take(), [(topic(1), 1, 1, 32)]);
    assert_eq!(fixture.outbox.waiting_bytes(&topic(1)), 1024);
}

#[test]
fn an_envelope_never_outgrows_its_limit_and_a_large_message_goes_alone() {
    let mut fixture = Fixture::open(Config::default(), false);
    fixture.publish(1, 20_000);
    fixture.publish(1, 65_536);
    fixture.publish(1, 20_000);
    fixture.after(Duration::from_millis(1));
    assert_eq!(fixture.take(), [(topic(1), 1, 1, 1), (topic(1), 2, 2, 1), (topic(1), 3, 3, 1)]);
}

#[test]
fn express_messages_leave_at_once() {
    let mut fixture = Fixture::open(Config::default(), true);
    fixture.publish(1, 10);
    fixture.publish(1, 10);
    assert_eq!(fixture.take(), [(topic(1), 1, 1, 1), (topic(1), 2, 2, 1)]);
    // What waits before an express message goes with it; what comes after waits again.
    fixture.express = false;
    fixture.publish(1, 10);
    fixture.express = true;
    fixture.publish(1, 10);
    fixture.express = false;
    fixture.publish(1, 10);
    assert_eq!(fixture.take(), [(topic(1), 3, 3, 2)]);
}

#[test]
fn nothing_is_sealed_while_nobody_reads() {
    let mut fixture = Fixture::new(Config::default());
    fixture.handle(Input::Open { topic: topic(1) });
    fixture.publish(1, 10);
    fixture.after(Duration::from_secs(9));
    assert_eq!((fixture.take(), fixture.outbox.poll_timeout()), (vec![], None));
    fixture.handle(Input::Readers { topic: topic(1), count: 1 });
    assert_eq!(fixture.take(), [(topic(1), 1, 1, 1)]);
}

#[test]
fn topics_take_turns_by_bytes() {
    let config = Config { max_handing: 1, ..Config::default() };
    let mut fixture = Fixture::new(config);
    for n in [1, 2] {
        fixture.handle(Input::Open { topic: topic(n) });
        fixture.handle(Input::Readers { topic: topic(n), count: 1 });
    }
    // Topic 1 floods before topic 2 has its one message: the first of the flood leaves at once, and
    // the second has its turn already.
    for _ in 0..100 {
        fixture.publish(1, 32 * 1024);
    }
    fixture.publish(2, 10);
    fixture.after(Duration::from_millis(1));
    for _ in 0..3 {
        fixture.handle(Input::Handed { topic: topic(1) });
    }
    let order: Vec<TopicId> = fixture.take().into_iter().map(|seal| seal.0).collect();
    assert_eq!(order, [topic(1), topic(1), topic(2), topic(1)]);
}

#[test]
fn an_express_topic_gets_no_more_bytes_than_another() {
    let config = Config { max_handing: 1, ..Config::default() };
    let mut fixture = Fixture::new(config);
    for n in [1, 2] {
        fixture.handle(Input::Open { topic: topic(n) });
        fixture.handle(Input::Readers { topic: topic(n), count: 1 });
    }
    for _ in 0..1000 {
        fixture.express = true;
        fixture.publish(1, 1024);
        fixture.express = false;
        fixture.publish(2, 1024);
    }
    for _ in 0..100 {
        fixture.handle(Input::Handed { topic: topic(1) });
    }
    let mut bytes = BTreeMap::<TopicId, usize>::new();
    for Output::Seal { topic, payload, .. } in &fixture.sealed {
        *bytes.entry(*topic).or_default() += payload.len();
    }
    let (one, two) = (bytes[&topic(1)], bytes[&topic(2)]);
    assert!(one.abs_diff(two) <= 2 * 32 * 1024, "{one} and {two}");
}

#[test]
fn the_driver_is_never_given_more_than_it_can_hold() {
    let config = Config { max_handing: 4, ..Config::default() };
    let mut fixture = Fixture::open(config, true);
    for _ in 0..10 {
        fixture.publish(1, 10);
    }
    assert_eq!(fixture.take().len(), 4);
    assert_eq!(fixture.outbox.poll_timeout(), None);
    fixture.handle(Input::Handed { topic: topic(1) });
    assert_eq!(fixture.take(), [(topic(1), 5, 5, 6)], "what had to wait shares an envelope");
}

fn paced() -> Fixture {
    let config = Config { window: 100, max_batch: 10, max_handing: 1000, ..Config::default() };
    let mut fixture = Fixture::open(config, true);
    fixture.publish(1, 10);
    for n in [1, 2] {
        fixture.handle(Input::Progress { topic: topic(1), peer: peer(n), next: 2 });
    }
    fixture.take();
    fixture
}

#[test]
fn a_topic_waits_for_its_slowest_reader() {
    let mut fixture = paced();
    for _ in 0..20 {
        fixture.publish(1, 10);
    }
    assert_eq!(fixture.take().len(), 10, "the window holds 100 bytes");
    fixture.handle(Input::Progress { topic: topic(1), peer: peer(1), next: 12 });
    assert_eq!(fixture.take().len(), 0, "the other one has settled nothing");
    fixture.handle(Input::Progress { topic: topic(1), peer: peer(2), next: 5 });
    assert_eq!(fixture.take().len(), 3);
}

#[test]
fn a_reader_that_stands_still_holds_nobody_up_until_it_moves() {
    let mut fixture = paced();
    for _ in 0..30 {
        fixture.publish(1, 10);
    }
    fixture.handle(Input::Progress { topic: topic(1), peer: peer(1), next: 12 });
    fixture.take();
    fixture.after(Duration::from_millis(499));
    assert_eq!(fixture.take().len(), 0);
    fixture.after(Duration::from_millis(1));
    assert_eq!(fixture.take().len(), 10, "peer 2 is stalled, peer 1 has settled ten");
    // It moves: its place in the stream counts again.
    fixture.handle(Input::Progress { topic: topic(1), peer: peer(2), next: 3 });
    fixture.handle(Input::Progress { topic: topic(1), peer: peer(1), next: 22 });
    assert_eq!(fixture.take().len(), 0);
}

#[test]
fn a_pause_of_ours_is_no_standstill_of_theirs() {
    let mut fixture = paced();
    assert_eq!(fixture.outbox.poll_timeout(), None);
    fixture.now = fixture.now + Duration::from_secs(9);
    for _ in 0..30 {
        fixture.publish(1, 10);
    }
    fixture.handle(Input::Timeout);
    assert_eq!(fixture.take().len(), 10, "they have had no time to settle anything");
}

#[test]
fn a_reader_that_leaves_holds_nobody_up() {
    let mut fixture = paced();
    for _ in 0..20 {
        fixture.publish(1, 10);
    }
    fixture.handle(Input::Progress { topic: topic(1), peer: peer(1), next: 12 });
    fixture.take();
    fixture.handle(Input::Left { peer: peer(2) });
    assert_eq!(fixture.take().len(), 10);
}

#[test]
fn a_lying_reader_can_not_settle_what_was_never_sent() {
    let mut fixture = paced();
    fixture.handle(Input::Progress { topic: topic(1), peer: peer(1), next: u64::MAX });
    fixture.handle(Input::Progress { topic: topic(1), peer: peer(2), next: u64::MAX });
    for _ in 0..20 {
        fixture.publish(1, 10);
    }
    assert_eq!(fixture.take().len(), 10, "the window still holds");
}

#[test]
fn what_is_sealed_is_a_prefix_of_what_was_published() {
    let mut fixture = Fixture::open(Config::default(), false);
    let mut published = Vec::new();
    for n in 0..500u16 {
        let message = vec![n.to_be_bytes()[1]; usize::from(n % 300) + 1];
        published.extend_from_slice(&message);
        let message = message.into();
        fixture.handle(Input::Publish { topic: topic(1), message, express: false });
        if n % 7 == 0 {
            fixture.after(Duration::from_micros(600));
            fixture.hand_all();
        }
    }
    let (mut numbers, mut messages, mut bytes) = (1, 1, Vec::new());
    for Output::Seal { number, first, count, payload, .. } in &fixture.sealed {
        assert_eq!((*number, *first), (numbers, messages));
        numbers += 1;
        messages += count;
        bytes.extend_from_slice(payload);
    }
    assert!(published.starts_with(&bytes));
    assert_eq!(bytes.len() + fixture.outbox.waiting_bytes(&topic(1)), published.len());
}
