use super::*;
use crate::proto::blob::{GROUP, frame::Why};

mod blame;
mod pace;
mod size;

fn peer(n: u8) -> PublicKey {
    PublicKey::from_bytes([n; 32])
}

/// A single run.
fn one(run: Range<u64>) -> [Range<u64>; 1] {
    [run]
}

/// A fetch, its clock, and what it put out and nobody took yet.
struct Fixture {
    fetch: Fetch,
    now: Time,
    outputs: Vec<Output>,
}

impl Fixture {
    fn new(config: Config) -> Self {
        Self::resumed(config, None)
    }

    fn resumed(config: Config, held: Option<(u64, Ranges)>) -> Self {
        let fetch = Fetch::new(config, BlobId::from_bytes([7; 32]), held);
        Self { fetch, now: Time::from_millis(10), outputs: Vec::new() }
    }

    fn handle(&mut self, input: Input) {
        self.fetch.handle(self.now, input);
        self.outputs.extend(std::iter::from_fn(|| self.fetch.poll_output()));
    }

    /// Lets time pass, with a timeout whenever one is due.
    fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self.fetch.poll_timeout().filter(|due| *due <= end) {
            assert!(
                due > self.now || self.now == Time::from_millis(10),
                "it would spin at {due:?}"
            );
            self.now = self.now.max(due);
            self.handle(Input::Timeout);
            if self.fetch.poll_timeout().is_some_and(|next| next <= self.now) {
                panic!("the deadline of {due:?} doesn't move");
            }
        }
        self.now = end;
    }

    fn found(&mut self, n: u8) {
        self.handle(Input::Found { peer: peer(n), preferred: false });
    }

    fn holds(&mut self, n: u8, size: u64, groups: impl Into<Ranges>) {
        self.handle(Input::Held { peer: peer(n), size, groups: groups.into() });
    }

    /// A node that holds all of so many groups is found, opened, and says so.
    fn provider(&mut self, n: u8, groups: u64) {
        self.found(n);
        self.holds(n, groups * GROUP, 0..groups);
    }

    fn verified(&mut self, n: u8, ask: u32, groups: Range<u64>) {
        self.handle(Input::Verified { peer: peer(n), ask, groups });
    }

    /// Answers everything that a node was asked, one group every so many milliseconds.
    fn answer(&mut self, n: u8, ms: u64) -> u64 {
        let mut answered = 0;
        for (ask, groups) in self.asks(n) {
            for group in groups.runs().iter().cloned().flatten() {
                self.pass(ms);
                self.verified(n, ask, group..group + 1);
                answered += 1;
            }
        }
        answered
    }

    fn take<T>(&mut self, choose: impl Fn(&Output) -> Option<T>) -> Vec<T> {
        let taken = self.outputs.iter().filter_map(&choose).collect();
        self.outputs.retain(|output| choose(output).is_none());
        taken
    }

    /// What a node was asked since the last time.
    fn asks(&mut self, n: u8) -> Vec<(u32, Ranges)> {
        self.take(|output| match output {
            Output::Ask { peer: to, ask, groups, .. } if *to == peer(n) => {
                Some((*ask, groups.clone()))
            }
            _ => None,
        })
    }

    fn asked(&mut self, n: u8) -> Ranges {
        let mut all = Ranges::new();
        self.asks(n).into_iter().for_each(|(_, groups)| all.extend(&groups));
        all
    }

    fn opened(&mut self) -> Vec<PublicKey> {
        self.take(|output| match output {
            Output::Open { peer } => Some(*peer),
            _ => None,
        })
    }

    fn closed(&mut self) -> Vec<PublicKey> {
        self.take(|output| match output {
            Output::Close { peer } => Some(*peer),
            _ => None,
        })
    }

    fn cancelled(&mut self) -> Vec<(PublicKey, u32)> {
        self.take(|output| match output {
            Output::Cancel { peer, ask } => Some((*peer, *ask)),
            _ => None,
        })
    }

    fn blamed(&mut self) -> Vec<(PublicKey, Blame)> {
        self.take(|output| match output {
            Output::Blame { peer, blame } => Some((*peer, *blame)),
            _ => None,
        })
    }

    fn wants(&mut self) -> usize {
        self.take(|output| (*output == Output::WantProviders).then_some(())).len()
    }

    fn is_done(&mut self) -> bool {
        !self.take(|output| (*output == Output::Done).then_some(())).is_empty()
    }

    fn failure(&mut self) -> Option<Failure> {
        let failures = self.take(|output| match output {
            Output::Failed(failure) => Some(failure.clone()),
            _ => None,
        });
        failures.into_iter().next()
    }

    /// A download whose size is proved by a first node, which holds nothing else.
    fn proved(config: Config, groups: u64) -> Self {
        let mut f = Self::new(config);
        f.found(1);
        f.holds(1, groups * GROUP, groups - 1..groups);
        f.answer(1, 100);
        f
    }
}

// Rule 3.

#[test]
fn a_download_begins_where_it_is_told_and_goes_round() {
    let config = Config { begin: 25, ..Config::default() };
    let mut f = Fixture::proved(config, 10);
    f.provider(2, 10);
    let mut order = Vec::new();
    for _ in 0..10 {
        for (ask, groups) in f.asks(2) {
            order.extend(groups.runs().to_vec());
            groups.runs().iter().for_each(|run| f.verified(2, ask, run.clone()));
        }
    }
    let order: Vec<u64> = order.into_iter().flatten().collect();
    assert_eq!(order, [5, 6, 7, 8, 0, 1, 2, 3, 4], "9 proves the size");
}

#[test]
fn a_wanted_range_comes_first_and_in_order_then_what_lies_behind_it() {
    let config = Config { read_ahead: 4, ..Config::default() };
    let mut f = Fixture::proved(config, 1000);
    f.handle(Input::Want { reader: 1, groups: 500..503 });
    f.provider(2, 1000);
    let asks = f.asks(2);
    let groups: Vec<_> = asks.iter().flat_map(|(_, groups)| groups.runs().to_vec()).collect();
    assert_eq!(groups, [500..502, 502..503]);
    f.verified(2, 1, 500..502);
    assert_eq!(f.asks(2)[0].1.runs(), one(503..507));
    f.verified(2, 2, 502..503);
    assert_eq!(f.asks(2)[0].1.runs()[0].start, 0, "then the lowest");
}

#[test]
fn a_range_beyond_the_end_or_of_one_reader_too_many_is_ignored() {
    let mut f = Fixture::proved(Config { max_wants: 1, ..Config::default() }, 100);
    f.handle(Input::Want { reader: 1, groups: 5000..6000 });
    f.handle(Input::Want { reader: 2, groups: 50..60 });
    f.provider(2, 100);
    assert_eq!(f.asks(2)[0].1.runs(), one(0..2));
}

#[test]
fn what_only_one_holds_is_asked_of_it_first() {
    let mut f = Fixture::proved(Config::default(), 100);
    f.found(2);
    f.found(3);
    f.holds(2, 100 * GROUP, 0..50);
    assert_eq!(f.asked(2).runs(), one(0..4));
    f.holds(3, 100 * GROUP, 0..100);
    assert_eq!(f.asked(3).runs(), one(50..54), "the other has none of these");
}

#[test]
fn fragments_are_asked_for_together() {
    let mut held: Ranges = (0..100).map(|n| 2 * n..2 * n + 1).collect();
    held.insert(199..200);
    let mut f = Fixture::resumed(Config::default(), Some((200 * GROUP, held)));
    f.provider(2, 200);
    let asks = f.asks(2);
    assert_eq!(asks[0].1.runs(), [1..2, 3..4]);
    assert_eq!(asks.len(), 2);
}

// Rule 5.

#[test]
fn a_partial_holder_is_asked_for_what_it_holds_and_gains() {
    let mut f = Fixture::proved(Config::default(), 100);
    f.found(2);
    f.holds(2, 100 * GROUP, 10..12);
    assert_eq!(f.asked(2).runs(), one(10..12));
    f.holds(2, 100 * GROUP, 10..14);
    assert_eq!(f.asked(2).runs(), one(12..14));
}

#[test]
fn only_what_is_not_held_is_asked_for_after_a_restart() {
    let held: Ranges = [0..40, 60..100].into_iter().collect();
    let mut f = Fixture::resumed(Config::default(), Some((100 * GROUP, held)));
    f.provider(2, 100);
    let mut asked = Ranges::new();
    while !f.is_done() {
        for (ask, groups) in f.asks(2) {
            asked.extend(&groups);
            groups.runs().iter().for_each(|run| f.verified(2, ask, run.clone()));
        }
    }
    assert_eq!(asked.runs(), one(40..60));
}

// Rule 9.

#[test]
fn more_providers_are_wanted_with_doubled_waits_until_there_are_enough() {
    let mut f = Fixture::new(Config::default());
    f.found(1);
    assert_eq!(f.wants(), 1);
    f.pass(999);
    assert_eq!(f.wants(), 0);
    f.pass(1);
    assert_eq!(f.wants(), 1);
    f.pass(5000);
    assert_eq!(f.wants(), 1, "after two more seconds, then after four");
    f.provider(2, 100);
    f.provider(3, 100);
    f.outputs.clear();
    f.provider(4, 100);
    f.pass(4000);
    assert_eq!(f.wants(), 0);
}

// Rule 10.

#[test]
fn it_ends_when_all_is_held_and_closes_what_is_open() {
    let mut f = Fixture::new(Config::default());
    f.provider(1, 3);
    while !f.is_done() {
        assert!(f.answer(1, 5) > 0);
    }
    assert_eq!(f.closed(), [peer(1)]);
    assert_eq!(f.fetch.poll_timeout(), None);
    f.outputs.clear();
    f.found(2);
    assert_eq!(f.outputs, []);
}

#[test]
fn a_blob_that_is_held_is_done_at_once() {
    let held = Some((GROUP, Ranges::from(0..1)));
    let mut f = Fixture::resumed(Config::default(), held);
    f.handle(Input::Timeout);
    assert!(f.is_done());
}

#[test]
fn the_user_and_the_store_end_it() {
    for (input, reason) in [(Input::Cancel, Reason::Cancelled), (Input::StoreFailed, Reason::Store)]
    {
        let mut f = Fixture::new(Config::default());
        f.provider(1, 3);
        f.handle(input);
        assert_eq!(f.failure().map(|failure| failure.reason), Some(reason));
        assert_eq!(f.closed(), [peer(1)]);
    }
}

#[test]
fn it_gives_up_when_nothing_comes_and_names_who_was_no_help() {
    let mut f = Fixture::new(Config::default());
    f.found(1);
    f.handle(Input::NotHeld { peer: peer(1) });
    assert!(f.outputs.contains(&Output::Useless { peer: peer(1) }));
    f.found(2);
    f.pass(119_999);
    assert_eq!(f.failure(), None);
    f.pass(1);
    let failure = f.failure().unwrap();
    assert_eq!(failure.reason, Reason::NoProviders);
    let expected = [(peer(1), Trouble::NotHeld), (peer(2), Trouble::Silent)];
    assert_eq!(failure.peers, expected);
}
