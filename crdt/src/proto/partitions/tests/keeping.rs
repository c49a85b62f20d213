//! The rules of keeping.

use super::*;
use crate::proto::partitions::keeper::{Config, Input, Output};

const ME: u8 = 1;
const NOW: Time = Time::from_millis(1000);
const DIGEST: Hash = Hash::from_bytes([5; 32]);
const OTHER: Hash = Hash::from_bytes([6; 32]);

/// Who holds all that we do, and nothing else.
const SAME: Comparison = Comparison {
    same_view: true,
    owns: true,
    has_copy: true,
    covers_ours: true,
    covers_theirs: true,
    digest: DIGEST,
};
const NOTHING: Comparison = Comparison { owns: false, has_copy: false, covers_ours: false, ..SAME };

struct Fixture {
    keeper: Keeper,
    now: Time,
    epoch: u64,
    partition: u16,
}

impl Fixture {
    /// One partition, of which so many members are owners.
    fn new(replicas: u8, members: Vec<(PublicKey, Standing)>) -> (Self, Vec<Output>) {
        let keeper = Keeper::new(Config::default(), peer(ME));
        let mut fixture = Self { keeper, now: NOW, epoch: 0, partition: 0 };
        let outputs = fixture.view(replicas, members);
        (fixture, outputs)
    }

    fn view(&mut self, replicas: u8, members: Vec<(PublicKey, Standing)>) -> Vec<Output> {
        self.epoch += 1;
        self.handle(Input::View(Box::new(placement(1, replicas, members))))
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        outputs(&mut self.keeper, self.now, input)
    }

    fn opened(&mut self) -> Vec<Output> {
        self.handle(Input::Opened { partition: self.partition })
    }

    fn said(&mut self, from: u8, said: Comparison) -> Vec<Output> {
        let (partition, epoch) = (self.partition, self.epoch);
        self.handle(Input::Said { partition, from: peer(from), epoch, said })
    }

    fn unreached(&mut self, from: u8) -> Vec<Output> {
        let (partition, epoch) = (self.partition, self.epoch);
        self.handle(Input::Unreached { partition, from: peer(from), epoch })
    }

    /// What is done when nothing else happens.
    fn wait(&mut self) -> Vec<Output> {
        self.now = self.keeper.poll_timeout().expect("something is to be done");
        self.handle(Input::Timeout)
    }

    fn role(&self) -> Role {
        self.keeper.role(self.partition)
    }

    fn is_whole(&self) -> bool {
        self.role() == Role::Owner { is_whole: true }
    }
}

fn asks(epoch: u64, mut peers: Vec<u8>) -> Vec<Output> {
    peers.sort_unstable_by_key(|n| peer(*n));
    let ask = |n| Output::Ask { partition: 0, peer: peer(n), epoch };
    peers.into_iter().map(ask).collect()
}

fn compare(n: u8) -> Output {
    Output::Compare { partition: 0, peer: peer(n) }
}

#[test]
fn who_is_alone_has_a_whole_copy_at_once() {
    let (mut fixture, outputs) = Fixture::new(3, joined([ME]));
    assert_eq!(outputs, [Output::Open { partition: 0 }]);
    assert_eq!(fixture.role(), Role::Owner { is_whole: false });
    assert_eq!(fixture.opened(), []);
    assert!(fixture.is_whole());
    assert_eq!(fixture.keeper.progress(), Progress { owned: 1, whole: 1, ..Progress::default() });
}

#[test]
fn a_copy_is_whole_when_all_say_that_nothing_is_missing() {
    let (mut fixture, _) = Fixture::new(4, joined([ME, 2, 3]));
    assert_eq!(fixture.opened(), asks(1, vec![2, 3]));
    assert_eq!(fixture.said(2, NOTHING), []);
    assert!(!fixture.is_whole());
    // The third has more.
    let more = Comparison { covers_theirs: false, ..SAME };
    assert_eq!(fixture.said(3, more), [compare(3)]);
    assert!(!fixture.is_whole());
    assert_eq!(fixture.wait(), asks(1, vec![3]), "who has said it isn't asked again");
    assert_eq!(fixture.now, NOW + ms(2000));
    assert_eq!(fixture.said(3, SAME), []);
    assert!(fixture.is_whole());
    // Whole it stays, though somebody comes, as long as it is owned.
    assert_eq!(fixture.view(4, joined([ME, 2, 3, 4])), []);
    assert!(fixture.is_whole());
}

#[test]
fn with_another_list_of_members_nothing_counts() {
    let (mut fixture, _) = Fixture::new(3, joined([ME, 2]));
    fixture.opened();
    fixture.said(2, Comparison { same_view: false, ..NOTHING });
    assert!(!fixture.is_whole());
    assert_eq!(fixture.wait(), asks(1, vec![2]));
    fixture.said(2, NOTHING);
    assert!(fixture.is_whole());
}

#[test]
fn who_can_t_be_reached_is_done_without_if_a_quorum_was_heard() {
    let (mut fixture, _) = Fixture::new(3, joined([ME, 2, 3]));
    fixture.opened();
    fixture.unreached(2);
    fixture.unreached(3);
    assert!(!fixture.is_whole(), "it alone is no quorum of three");
    assert_eq!(fixture.wait(), asks(1, vec![2, 3]));
    fixture.unreached(2);
    fixture.said(3, SAME);
    assert!(fixture.is_whole());

    // Of those who can be reached all are heard, owners or not.
    let place = placement(1, 1, joined([ME, 2, 3, 4]));
    let owner = (1..=4).find(|n| place.owns(&peer(*n), 0)).unwrap();
    let mut keeper = Keeper::new(Config::default(), peer(owner));
    outputs(&mut keeper, NOW, Input::View(Box::new(place)));
    let asked = outputs(&mut keeper, NOW, Input::Opened { partition: 0 });
    assert_eq!(asked.len(), 3);
    let others = (1..=4).filter(|n| *n != owner);
    for (place, n) in others.enumerate() {
        let more = Comparison { covers_theirs: false, owns: false, ..SAME };
        let said = if place == 0 { more } else { NOTHING };
        let input = Input::Said { partition: 0, from: peer(n), epoch: 1, said };
        outputs(&mut keeper, NOW, input);
        assert_eq!(keeper.role(0), Role::Owner { is_whole: false });
    }
}

/// A node that has a copy, and of which others are the owners: 2 and 3.
fn parting() -> (Fixture, Vec<Output>) {
    let leaving = vec![(peer(ME), Standing::Leaving)];
    let members = [joined([2, 3]), leaving].concat();
    let (mut fixture, outputs) = Fixture::new(3, members);
    assert_eq!(outputs, []);
    assert_eq!(fixture.role(), Role::Stranger);
    let outputs = fixture.opened();
    (fixture, outputs)
}

#[test]
fn a_copy_goes_when_all_owners_hold_just_what_it_holds_frozen() {
    let (mut fixture, outputs) = parting();
    assert_eq!(outputs, asks(1, vec![2, 3]));
    assert_eq!(fixture.keeper.progress().parting, 1);
    assert_eq!(fixture.said(2, Comparison { covers_ours: false, ..SAME }), [compare(2)]);
    assert_eq!(fixture.said(3, SAME), []);
    assert_eq!(fixture.wait(), asks(1, vec![2]));
    assert_eq!(fixture.said(2, SAME), [Output::Freeze { partition: 0 }]);
    let frozen = Input::Frozen { partition: 0, digest: OTHER };
    assert_eq!(fixture.handle(frozen), asks(1, vec![2, 3]), "all are asked anew");
    let just = Comparison { digest: OTHER, ..SAME };
    assert_eq!(fixture.said(2, just), []);
    assert_eq!(fixture.said(3, SAME), [compare(3)], "it held something before the frost");
    assert_eq!(fixture.wait(), asks(1, vec![3]));
    assert_eq!(fixture.said(3, just), [Output::Drop { partition: 0, digest: OTHER }]);
    assert_eq!(fixture.role(), Role::Stranger, "nobody is answered of it any more");
    assert_eq!(fixture.handle(Input::Dropped { partition: 0 }), []);
    assert_eq!(fixture.keeper.progress(), Progress { parted: 1, ..Progress::default() });
}

#[test]
fn who_doesn_t_own_it_or_has_no_copy_or_lacks_something_has_no_custody() {
    for no in [
        Comparison { owns: false, ..SAME },
        Comparison { has_copy: false, ..SAME },
        Comparison { covers_ours: false, ..SAME },
    ] {
        let (mut fixture, _) = parting();
        fixture.said(2, SAME);
        let outputs = fixture.said(3, no);
        assert!(!outputs.contains(&Output::Freeze { partition: 0 }), "{no:?}");
        fixture.wait();
        fixture.said(3, SAME);
        fixture.handle(Input::Frozen { partition: 0, digest: DIGEST });
        fixture.said(2, SAME);
        let outputs = fixture.said(3, no);
        let drop = Output::Drop { partition: 0, digest: DIGEST };
        assert!(!outputs.contains(&drop), "{no:?}");
        fixture.wait();
        assert_eq!(fixture.said(3, SAME), [drop]);
    }
    // One of the owners is silent.
    let (mut fixture, _) = parting();
    fixture.said(2, SAME);
    assert_eq!(fixture.unreached(3), []);
    assert_eq!(fixture.wait(), asks(1, vec![3]));
}

#[test]
fn frost_ends() {
    let (mut fixture, _) = parting();
    fixture.said(2, SAME);
    fixture.said(3, SAME);
    fixture.handle(Input::Frozen { partition: 0, digest: DIGEST });
    fixture.said(2, SAME);
    // The other doesn't answer.
    assert_eq!(fixture.wait(), [Output::Thaw { partition: 0 }]);
    assert_eq!(fixture.now, NOW + ms(5000));
    assert_eq!(fixture.wait(), asks(1, vec![2, 3]), "all begins anew");
    fixture.said(2, SAME);
    fixture.said(3, SAME);
    // What the disk says.
    let thaw = Output::Thaw { partition: 0 };
    assert_eq!(fixture.handle(Input::Kept { partition: 0 }), [thaw]);
    assert_eq!(fixture.wait(), asks(1, vec![2, 3]));
}

#[test]
fn without_owners_nothing_goes() {
    let (mut fixture, outputs) = Fixture::new(3, vec![(peer(ME), Standing::Leaving)]);
    assert_eq!(outputs, []);
    assert_eq!(fixture.opened(), []);
    assert_eq!(fixture.wait(), []);
    assert_eq!(fixture.role(), Role::Former { was_whole: false });
}

#[test]
fn a_change_of_the_list_voids_what_was_said() {
    let (mut fixture, _) = parting();
    let late = fixture.epoch;
    fixture.said(2, SAME);
    fixture.said(3, SAME);
    fixture.handle(Input::Frozen { partition: 0, digest: DIGEST });
    fixture.said(2, SAME);
    let outputs = fixture.view(3, joined([2, 3, 4]));
    let expected = [vec![Output::Thaw { partition: 0 }], asks(2, vec![2, 3, 4])].concat();
    assert_eq!(outputs, expected);
    let said = Input::Said { partition: 0, from: peer(3), epoch: late, said: SAME };
    assert_eq!(fixture.handle(said), []);
    let frozen = Input::Frozen { partition: 0, digest: DIGEST };
    assert_eq!(fixture.handle(frozen), [], "nor does the frost count that had begun");
    fixture.said(2, SAME);
    fixture.said(3, SAME);
    assert_eq!(fixture.said(4, SAME), [Output::Freeze { partition: 0 }]);

    // Who owns it again keeps it, and fetches what it missed.
    let outputs = fixture.view(3, joined([ME, 2]));
    let expected = [vec![Output::Thaw { partition: 0 }], asks(3, vec![2])].concat();
    assert_eq!(outputs, expected);
    assert_eq!(fixture.role(), Role::Owner { is_whole: false });
}

#[test]
fn who_owns_no_more_keeps_what_was_whole_until_then() {
    let (mut fixture, _) = Fixture::new(3, joined([ME]));
    fixture.opened();
    let outputs = fixture.view(3, joined([2]));
    assert_eq!(outputs, asks(2, vec![2]));
    assert_eq!(fixture.role(), Role::Former { was_whole: true });
    fixture.said(2, SAME);
    fixture.handle(Input::Frozen { partition: 0, digest: DIGEST });
    fixture.said(2, SAME);
    // Owned again while it is being dropped, it is opened anew.
    assert_eq!(fixture.view(3, joined([ME, 2])), []);
    let outputs = fixture.handle(Input::Dropped { partition: 0 });
    assert_eq!(outputs, [Output::Open { partition: 0 }]);
}

#[test]
fn so_many_are_worked_on_at_once() {
    let config = Config { width: 2, ..Config::default() };
    let mut keeper = Keeper::new(config, peer(ME));
    let place = placement(5, 3, joined([ME, 2]));
    let opens = |outputs: Vec<Output>| {
        let open = |output| match output {
            Output::Open { partition } => Some(partition),
            _ => None,
        };
        outputs.into_iter().filter_map(open).collect::<Vec<_>>()
    };
    assert_eq!(opens(outputs(&mut keeper, NOW, Input::View(Box::new(place)))), [0, 1]);
    assert!(opens(outputs(&mut keeper, NOW, Input::Opened { partition: 0 })).is_empty());
    let said = Input::Said { partition: 0, from: peer(2), epoch: 1, said: NOTHING };
    assert_eq!(opens(outputs(&mut keeper, NOW, said)), [2]);
    assert_eq!(opens(outputs(&mut keeper, NOW, Input::NotOpened { partition: 1 })), [3]);
    // What couldn't be opened is tried again.
    for partition in 2..=4 {
        outputs(&mut keeper, NOW, Input::Opened { partition });
        let said = Input::Said { partition, from: peer(2), epoch: 1, said: NOTHING };
        outputs(&mut keeper, NOW, said);
    }
    assert_eq!(keeper.poll_timeout(), Some(NOW + ms(2000)));
    assert_eq!(opens(outputs(&mut keeper, NOW + ms(2000), Input::Timeout)), [1]);
}
