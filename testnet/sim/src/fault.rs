//! What goes wrong, and schedules of it.

use std::{ops::RangeInclusive, time::Duration};

use aether_core::Time;

use crate::{Draw, Link, NodeId, draw::micros};

/// One thing that goes wrong, or right again. Each is harmless where it changes nothing.
/// The nodes it names must exist.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Messages this way are lost, those on their way included; the way back is open.
    Cut {
        /// Sender.
        from: NodeId,
        /// Receiver.
        to: NodeId,
    },
    /// Undoes a cut.
    Mend {
        /// Sender.
        from: NodeId,
        /// Receiver.
        to: NodeId,
    },
    /// Cuts all links between groups and mends all within. Who is in no group is alone.
    Partition(Vec<Vec<NodeId>>),
    /// Messages to and from a node stop on their way, up to a queue's worth for each link.
    Clog(NodeId),
    /// Undoes a clog: what waited arrives at once.
    Unclog(NodeId),
    /// A link gets another quality.
    Degrade {
        /// Sender.
        from: NodeId,
        /// Receiver.
        to: NodeId,
        /// The quality from now on.
        link: Link,
    },
    /// A node stops, and loses what it holds in memory and a drawn tail of its unsynced writes.
    Crash(NodeId),
    /// A node that is down starts.
    Start {
        /// The node.
        node: NodeId,
        /// Whether its disk is empty.
        wiped: bool,
    },
    /// What would survive a crash of a node now is copied aside, in the place of an older copy.
    Copy(NodeId),
    /// The disk of a node that is down becomes the [copy](Self::Copy) that was made of it: a backup
    /// is restored. Nothing happens if there is none, or if the node is up.
    Restore {
        /// The node.
        node: NodeId,
        /// Keys that begin so lie on another disk, which isn't restored; none, if it is empty.
        but: Vec<u8>,
    },
    /// Everything is well: no cut, no clog, no loss, duplication or reordering; every node that is
    /// down starts with its disk. Latency, bandwidth and wrong clocks stay.
    Heal,
}

/// A way to make trouble over some time. All of it is undone by the end of that time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// Clogs a drawn set of nodes one by one, then unclogs them one by one in another order, again
    /// and again. FoundationDB's *swizzle-clogging* (SIGMOD 2021, section 4.2): it finds bugs that
    /// only show when the parts of a system fail and return in different orders.
    Swizzle,
    /// Divides the nodes into two or three groups, and divides them anew after a drawn time.
    Partitions,
    /// Cuts drawn links in one direction.
    OneWayCuts,
    /// Crashes nodes and starts them again.
    Churn {
        /// Most nodes that are down at one time.
        max_down: usize,
        /// Probability that a node comes back with an empty disk.
        wiped: f64,
    },
}

impl Schedule {
    /// Draws the faults between two times, for a world of so many nodes, in order of time.
    pub fn draw(&self, draw: &mut Draw, nodes: usize, from: Time, until: Time) -> Timeline {
        let mut faults = Vec::new();
        for (begin, end) in spans(draw, from, until) {
            let middle = begin + end.since(begin) / 2;
            let (first, second) = ((begin, middle), (middle, end));
            match self {
                Self::Swizzle => swizzle(draw, nodes, first, second, &mut faults),
                Self::Partitions => {
                    faults.push((begin, Fault::Partition(groups(draw, nodes))));
                    let all = (0..nodes).map(NodeId).collect();
                    faults.push((end, Fault::Partition(vec![all])));
                }
                Self::OneWayCuts => one_way_cuts(draw, nodes, first, second, &mut faults),
                Self::Churn { max_down, wiped } => {
                    for node in some_nodes(draw, nodes, 1..=*max_down) {
                        let wiped = draw.chance(*wiped);
                        faults.push((moment(draw, first), Fault::Crash(node)));
                        faults.push((moment(draw, second), Fault::Start { node, wiped }));
                    }
                }
            }
        }
        faults.sort_by_key(|(at, _)| *at);
        faults
    }
}

/// Faults and when they happen.
pub type Timeline = Vec<(Time, Fault)>;

/// Half of a span: begin and end.
type Half = (Time, Time);

/// Cuts the time into spans of a sixteenth to a quarter of it. The last may be shorter.
fn spans(draw: &mut Draw, from: Time, until: Time) -> Vec<(Time, Time)> {
    let whole = micros(until.since(from));
    let mut spans = Vec::new();
    let mut begin = from;
    while begin < until {
        let length = draw.number((whole / 16).max(1)..=(whole / 4).max(1));
        let end = (begin + Duration::from_micros(length)).min(until);
        spans.push((begin, end));
        begin = end;
    }
    spans
}

fn moment(draw: &mut Draw, (begin, end): Half) -> Time {
    begin + draw.duration(Duration::ZERO..=end.since(begin))
}

/// So many different nodes, in a drawn order; all of them if there are too few.
fn some_nodes(draw: &mut Draw, nodes: usize, count: RangeInclusive<usize>) -> Vec<NodeId> {
    let mut all: Vec<_> = (0..nodes).map(NodeId).collect();
    draw.shuffle(&mut all);
    let (low, high) = count.into_inner();
    all.truncate(if high < low { 0 } else { low + draw.below(high - low + 1) });
    all
}

fn groups(draw: &mut Draw, nodes: usize) -> Vec<Vec<NodeId>> {
    let mut groups = vec![Vec::new(); 2 + draw.below(2)];
    for (index, node) in some_nodes(draw, nodes, nodes..=nodes).into_iter().enumerate() {
        // The first nodes give every group a member.
        let group = if index < groups.len() { index } else { draw.below(groups.len()) };
        groups[group].push(node);
    }
    groups
}

fn swizzle(draw: &mut Draw, nodes: usize, first: Half, second: Half, faults: &mut Timeline) {
    // The moments are independent, so the order of return has nothing to do with that of failure.
    for node in some_nodes(draw, nodes, 1..=nodes) {
        faults.push((moment(draw, first), Fault::Clog(node)));
        faults.push((moment(draw, second), Fault::Unclog(node)));
    }
}

fn one_way_cuts(draw: &mut Draw, nodes: usize, first: Half, second: Half, faults: &mut Timeline) {
    if nodes < 2 {
        return;
    }
    for _ in 0..=draw.below(nodes) {
        let ends = some_nodes(draw, nodes, 2..=2);
        let (from, to) = (ends[0], ends[1]);
        faults.push((moment(draw, first), Fault::Cut { from, to }));
        faults.push((moment(draw, second), Fault::Mend { from, to }));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const FROM: Time = Time::from_millis(1_000);
    const UNTIL: Time = Time::from_millis(61_000);

    fn drawn(schedule: &Schedule, nodes: usize, seed: u64) -> Timeline {
        let faults = schedule.draw(&mut Draw::new(seed), nodes, FROM, UNTIL);
        assert!(faults.is_sorted_by_key(|(at, _)| *at), "seed {seed}");
        assert!(faults.iter().all(|(at, _)| (FROM..=UNTIL).contains(at)), "seed {seed}");
        faults
    }

    #[test]
    fn swizzling_opens_all_it_clogs_in_another_order() {
        let mut reordered = 0;
        for seed in 0..50 {
            let (mut clogged, mut opened) = (Vec::new(), Vec::new());
            for (_, fault) in drawn(&Schedule::Swizzle, 5, seed) {
                match fault {
                    Fault::Clog(node) => clogged.push(node),
                    Fault::Unclog(node) => opened.push(node),
                    other => panic!("{other:?} in seed {seed}"),
                }
            }
            reordered += usize::from(clogged != opened);
            clogged.sort_unstable();
            opened.sort_unstable();
            assert_eq!(clogged, opened, "seed {seed}");
            assert!(clogged.len() >= 4, "seed {seed}");
        }
        assert!(reordered > 40, "{reordered}");
    }

    #[test]
    fn partitions_put_every_node_into_one_group_and_end_whole() {
        for seed in 0..50 {
            let faults = drawn(&Schedule::Partitions, 5, seed);
            for (_, fault) in &faults {
                let Fault::Partition(groups) = fault else { panic!("{fault:?} in seed {seed}") };
                let members: BTreeSet<_> = groups.iter().flatten().collect();
                assert_eq!((members.len(), groups.concat().len()), (5, 5), "seed {seed}");
                assert!(groups.iter().all(|group| !group.is_empty()), "seed {seed}");
            }
            let Some((_, Fault::Partition(last))) = faults.last() else { panic!("seed {seed}") };
            assert_eq!(last.len(), 1, "seed {seed}");
        }
    }

    #[test]
    fn churn_respects_its_bound_and_starts_whom_it_crashed() {
        let mut wiped_starts = 0;
        for seed in 0..50 {
            let mut down = BTreeSet::new();
            for (_, fault) in drawn(&Schedule::Churn { max_down: 2, wiped: 0.3 }, 5, seed) {
                match fault {
                    Fault::Crash(node) => assert!(down.insert(node), "seed {seed}"),
                    Fault::Start { node, wiped } => {
                        assert!(down.remove(&node), "seed {seed}");
                        wiped_starts += usize::from(wiped);
                    }
                    other => panic!("{other:?} in seed {seed}"),
                }
                assert!(down.len() <= 2, "seed {seed}");
            }
            assert!(down.is_empty(), "seed {seed}");
        }
        assert!(wiped_starts > 20, "{wiped_starts}");
        assert_eq!(drawn(&Schedule::Churn { max_down: 0, wiped: 0.0 }, 5, 1), []);
    }

    #[test]
    fn one_way_cuts_are_mended() {
        for seed in 0..50 {
            let mut balance = 0;
            for (_, fault) in drawn(&Schedule::OneWayCuts, 5, seed) {
                match fault {
                    Fault::Cut { from, to } => {
                        assert_ne!(from, to, "seed {seed}");
                        balance += 1;
                    }
                    Fault::Mend { .. } => balance -= 1,
                    other => panic!("{other:?} in seed {seed}"),
                }
            }
            assert_eq!(balance, 0, "seed {seed}");
        }
        assert_eq!(drawn(&Schedule::OneWayCuts, 1, 1), []);
    }
}
