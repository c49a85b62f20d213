use bytes::Bytes;

use super::*;

fn peer(n: u8) -> PublicKey {
    PublicKey::from_bytes([n; 32])
}

fn id(n: u8) -> BlobId {
    BlobId::from_bytes([n; 32])
}

/// A finder, its clock, and what it put out and nobody took yet.
struct Fixture {
    finder: Finder,
    now: Time,
    outputs: Vec<Output>,
}

impl Fixture {
    fn new(config: Config) -> Self {
        let finder = Finder::new(config, peer(1), 7);
        Self { finder, now: Time::from_millis(10), outputs: Vec::new() }
    }

    fn handle(&mut self, input: Input) {
        self.finder.handle(self.now, input);
        self.outputs.extend(std::iter::from_fn(|| self.finder.poll_output()));
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self.finder.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Input::Timeout);
            let next = self.finder.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "it would spin at {due:?}");
        }
        self.now = end;
    }

    fn look(&mut self, n: u8, enough: u8) {
        self.handle(Input::Look { id: id(n), enough });
    }

    fn hears(&mut self, from: u8, shout: &Shout) {
        let bytes = shout.encode().into();
        self.handle(Input::Heard { from: peer(from), bytes });
    }

    fn asked(&mut self, from: u8, nonce: u64) {
        self.hears(from, &Shout::Look { nonce, ids: vec![id(5), id(6)], enough: 2 });
    }

    fn here(&mut self, from: u8, nonce: u64, held: u16) {
        self.handle(Input::Here { from: peer(from), here: Here { nonce, held, whole: 0 } });
    }

    fn take<T>(&mut self, choose: impl Fn(&Output) -> Option<T>) -> Vec<T> {
        let taken = self.outputs.iter().filter_map(&choose).collect();
        self.outputs.retain(|output| choose(output).is_none());
        taken
    }

    fn shouts(&mut self) -> Vec<Shout> {
        self.take(|output| match output {
            Output::Publish(bytes) => Some(Shout::decode(bytes).unwrap()),
            _ => None,
        })
    }

    /// Publishes a look for a blob, and gives its number.
    fn looked(&mut self, n: u8, enough: u8) -> u64 {
        self.look(n, enough);
        self.pass(500);
        let shouts = self.shouts();
        let [Shout::Look { nonce, .. }] = &shouts[..] else { panic!("one look: {shouts:?}") };
        *nonce
    }

    fn found(&mut self) -> Vec<(BlobId, PublicKey, bool)> {
        self.take(|output| match output {
            Output::Found { id, peer, preferred } => Some((*id, *peer, *preferred)),
            _ => None,
        })
    }

    fn checks(&mut self) -> Vec<(PublicKey, u64)> {
        self.take(|output| match output {
            Output::Check { from, nonce, .. } => Some((*from, *nonce)),
            _ => None,
        })
    }

    fn finds(&mut self) -> usize {
        self.take(|output| matches!(output, Output::Find { .. }).then_some(())).len()
    }

    fn faults(&mut self) -> Vec<PublicKey> {
        self.take(|output| match output {
            Output::Fault { peer, .. } => Some(*peer),
            _ => None,
        })
    }

    /// Records put (true) and let go.
    fn records(&mut self) -> Vec<(BlobId, bool)> {
        self.take(|output| match output {
            Output::Provide { id } => Some((*id, true)),
            Output::StopProviding { id } => Some((*id, false)),
            _ => None,
        })
    }
}

// Rule 1.

#[test]
fn who_is_remembered_is_told_first_and_once_in_a_search() {
    let mut f = Fixture::new(Config::default());
    f.handle(Input::Hint { id: id(5), peer: peer(2) });
    f.look(5, 1);
    assert_eq!(f.found(), [(id(5), peer(2), true)]);
    f.pass(1000);
    assert_eq!(f.shouts(), [], "that was enough");
    f.look(5, 1);
    f.pass(1000);
    assert_eq!((f.found(), f.shouts().len()), (vec![], 1), "it wasn't");
}

#[test]
fn a_hint_during_a_search_is_told() {
    let mut f = Fixture::new(Config::default());
    f.look(5, 1);
    f.handle(Input::Hint { id: id(5), peer: peer(2) });
    f.handle(Input::Hint { id: id(6), peer: peer(2) });
    assert_eq!(f.found(), [(id(5), peer(2), true)]);
}

#[test]
fn holders_expire_and_the_useless_are_forgotten() {
    let mut f = Fixture::new(Config::default());
    let nonce = f.looked(5, 2);
    f.here(2, nonce, 1);
    f.here(3, nonce, 1);
    f.handle(Input::Useless { id: id(5), peer: peer(2) });
    assert_eq!(f.finder.holders(&id(5)).collect::<Vec<_>>(), [peer(3)]);
    f.pass(600_000);
    f.handle(Input::Timeout);
    assert_eq!(f.finder.holders(&id(5)).count(), 0);
}

// Rule 2.

#[test]
fn what_is_looked_for_is_gathered_and_looks_are_apart() {
    let mut f = Fixture::new(Config::default());
    (0..20).for_each(|n| f.look(n, 4));
    f.pass(19);
    assert_eq!(f.shouts(), []);
    f.pass(1);
    let shouts = f.shouts();
    assert!(matches!(&shouts[..], [Shout::Look { ids, enough: 4, .. }] if ids.len() == 16));
    f.pass(499);
    assert_eq!(f.shouts(), []);
    f.pass(1);
    assert!(matches!(&f.shouts()[..], [Shout::Look { ids, .. }] if ids.len() == 4));
    f.pass(5000);
    assert_eq!(f.shouts(), [], "each is asked for once");
}

#[test]
fn what_is_looked_for_no_longer_is_not_asked_for() {
    let mut f = Fixture::new(Config::default());
    f.look(5, 1);
    f.handle(Input::Stop { id: id(5) });
    f.pass(1000);
    assert_eq!(f.shouts(), []);
}

// Rule 3.

#[test]
fn few_of_many_holders_answer_in_the_first_slot_and_all_in_the_last() {
    let mut by_slot = [0; 5];
    for n in 0..1000 {
        let mut finder = Finder::new(Config::default(), peer(1), n);
        finder.handle(Time::ZERO, Input::Nodes(1000));
        let shout = Shout::Look { nonce: 1, ids: vec![id(5)], enough: 8 };
        let bytes = shout.encode().into();
        finder.handle(Time::ZERO, Input::Heard { from: peer(2), bytes });
        let at = finder.poll_timeout().unwrap().since(Time::ZERO);
        by_slot[(at.as_millis() / 400) as usize] += 1;
    }
    // 16, 64, 256 and all of 1000.
    assert!((6..=30).contains(&by_slot[0]), "{by_slot:?}");
    assert!((25..=75).contains(&by_slot[1]), "{by_slot:?}");
    assert_eq!((slots(1000, 8), by_slot[4]), (4, 0), "{by_slot:?}");
}

#[test]
fn among_few_nodes_all_answer_at_once() {
    assert_eq!([slots(1, 1), slots(16, 8), slots(17, 8), slots(10_000, 8)], [1, 1, 2, 6]);
    let mut f = Fixture::new(Config::default());
    f.handle(Input::Nodes(4));
    f.asked(2, 9);
    f.pass(400);
    assert_eq!(f.checks(), [(peer(2), 9)]);
    f.handle(Input::Checked { from: peer(2), nonce: 9, held: 0b111, whole: 0b101 });
    let here = Here { nonce: 9, held: 0b11, whole: 0b01 };
    assert!(f.outputs.contains(&Output::Send { to: peer(2), here }), "only of what was asked");
}

#[test]
fn who_holds_nothing_says_nothing() {
    let mut f = Fixture::new(Config::default());
    f.asked(2, 9);
    f.pass(400);
    f.handle(Input::Checked { from: peer(2), nonce: 9, held: 0, whole: 0 });
    assert!(!f.outputs.iter().any(|output| matches!(output, Output::Send { .. })));
}

// Rule 4.

#[test]
fn who_hears_that_it_is_enough_is_silent() {
    let mut f = Fixture::new(Config::default());
    f.asked(2, 9);
    f.hears(3, &Shout::Enough { nonce: 9 });
    f.asked(4, 9);
    f.hears(2, &Shout::Enough { nonce: 9 });
    f.pass(400);
    assert_eq!(f.checks(), [(peer(4), 9)], "only the asker says so");
    assert_eq!(f.finder.stats().suppressed, 1);
}

#[test]
fn enough_is_said_once_and_only_while_others_wait() {
    let mut f = Fixture::new(Config::default());
    f.handle(Input::Nodes(1000));
    let nonce = f.looked(5, 2);
    f.here(2, nonce, 1);
    f.here(2, nonce, 1);
    assert_eq!(f.shouts(), [], "one and the same");
    f.here(3, nonce, 1);
    assert_eq!(f.shouts(), [Shout::Enough { nonce }]);
    f.here(4, nonce, 1);
    assert_eq!(f.shouts(), []);
    assert_eq!(f.found().len(), 3);
    f.handle(Input::Nodes(3));
    let nonce = f.looked(6, 1);
    f.here(2, nonce, 1);
    assert_eq!(f.shouts(), [], "all have answered");
}

// Rule 5.

#[test]
fn looks_of_one_asker_are_limited_and_others_are_not() {
    let mut f = Fixture::new(Config { max_looks: 2, ..Config::default() });
    (0..5).for_each(|nonce| f.asked(2, nonce));
    f.asked(3, 0);
    f.pass(400);
    assert_eq!(f.checks().len(), 3);
    f.pass(10_000);
    f.asked(2, 9);
    f.pass(400);
    assert_eq!(f.checks(), [(peer(2), 9)]);
}

#[test]
fn answers_that_nobody_asked_for_are_not_read() {
    let mut f = Fixture::new(Config::default());
    let nonce = f.looked(5, 2);
    f.here(2, nonce + 1, 1);
    f.pass(10_000);
    f.here(3, nonce, 1);
    assert_eq!((f.found(), f.faults()), (vec![], vec![]));
    assert_eq!(f.finder.stats().ignored, 2);
}

#[test]
fn what_can_not_be_is_blamed() {
    let mut f = Fixture::new(Config::default());
    f.handle(Input::Heard { from: peer(2), bytes: Bytes::from_static(b"what") });
    let nonce = f.looked(5, 2);
    f.here(3, nonce, 0);
    f.here(4, nonce, 0b10);
    let here = Here { nonce, held: 1, whole: 0b11 };
    f.handle(Input::Here { from: peer(5), here });
    assert_eq!(f.faults(), [peer(2), peer(3), peer(4), peer(5)]);
    assert_eq!(f.found(), []);
}

// Rule 6.

#[test]
fn records_are_put_one_at_a_time_pinned_ones_first_and_again() {
    let mut f = Fixture::new(Config { max_records: 2, ..Config::default() });
    f.handle(Input::Hold { id: id(1), pinned: true });
    f.handle(Input::Hold { id: id(2), pinned: false });
    f.handle(Input::Hold { id: id(3), pinned: false });
    assert_eq!(f.records(), [(id(1), true)]);
    f.pass(200);
    assert_eq!(f.records(), [(id(3), true)], "the one added last");
    f.handle(Input::Hold { id: id(4), pinned: true });
    f.pass(200);
    assert_eq!(f.records(), [(id(3), false), (id(4), true)]);
    f.handle(Input::Release { id: id(1) });
    f.pass(200);
    assert_eq!(f.records(), [(id(1), false), (id(3), true)]);
    f.pass(11 * 3600 * 1000);
    assert_eq!(f.records(), [(id(4), true), (id(3), true)]);
}

#[test]
fn a_blob_without_a_record_goes_in_silence() {
    let mut f = Fixture::new(Config { max_records: 1, ..Config::default() });
    f.handle(Input::Hold { id: id(1), pinned: true });
    f.handle(Input::Hold { id: id(2), pinned: false });
    f.records();
    f.handle(Input::Release { id: id(2) });
    f.handle(Input::Release { id: id(9) });
    assert_eq!(f.records(), []);
}

// Rule 7.

#[test]
fn records_of_others_are_looked_for_now_and_then_and_some_are_told() {
    let mut f = Fixture::new(Config { max_found: 2, ..Config::default() });
    f.look(5, 4);
    f.look(5, 4);
    assert_eq!(f.finds(), 1);
    f.handle(Input::Found { id: id(5), peers: (1..=9).map(peer).collect() });
    let found = f.found();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|(_, by, _)| *by != peer(1)), "not ourselves");
    f.handle(Input::Found { id: id(6), peers: vec![peer(2)] });
    assert_eq!(f.found(), [], "nobody looks for it");
    f.pass(5000);
    f.look(5, 4);
    assert_eq!(f.finds(), 1);
}

// Rule 8.

#[test]
fn everything_is_bounded() {
    let config = Config {
        max_searches: 3,
        max_blobs: 4,
        max_askers: 5,
        max_answers: 6,
        max_own: 7,
        max_records: 2,
        max_holders: 2,
        ..Config::default()
    };
    let mut f = Fixture::new(config);
    for n in 0..50 {
        f.look(n, 1);
        f.asked(n + 10, 1);
        (2..9).for_each(|by| f.handle(Input::Hint { id: id(n), peer: peer(by) }));
        f.handle(Input::Hold { id: id(n), pinned: false });
    }
    assert_eq!(f.finder.sizes(), [3, 0, 4, 5, 6, 7]);
    assert_eq!(f.finder.holders(&id(49)).count(), 2);
    f.pass(300_000);
    assert_eq!(f.finder.sizes()[0], 0, "searches end by themselves");
}
