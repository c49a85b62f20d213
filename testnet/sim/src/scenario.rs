//! What a run is like: sizes, qualities and faults, written by hand or drawn from a seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Duration,
};

use aether_core::Time;

use crate::{
    Clock, Draw, Link, NodeId,
    fault::{Schedule, Timeline},
};

/// The conditions of one run.
///
/// A run has two phases. Up to [`heals`](Self::heals) anything may go wrong and a test checks that
/// nothing bad happens (safety); then [`Fault::Heal`](crate::Fault::Heal) takes place and a test
/// checks that something good does (liveness).
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// How many nodes, at most [`MAX_NODES`](Self::MAX_NODES).
    pub nodes: usize,
    /// The quality of every link that isn't named in `links`.
    pub link: Link,
    /// Links of their own quality, by sender and receiver.
    pub links: BTreeMap<(NodeId, NodeId), Link>,
    /// Clocks by node; [`Clock::TRUE`] for those not named.
    pub clocks: BTreeMap<NodeId, Clock>,
    /// How long a sync takes, drawn for each.
    pub sync: RangeInclusive<Duration>,
    /// `None`: messages are datagrams. Otherwise nodes are connected: a message travels only
    /// between two that were told that they are, what is sent without is dropped, and whatever
    /// loses one (a cut, a crash, a full queue, loss) breaks the connection. This is how long both
    /// ends take to notice, and again to connect. The end whose way is open is heard until then.
    pub connections: Option<Duration>,
    /// Nodes that are down until a [`Fault::Start`](crate::Fault::Start) or the heal.
    pub late: BTreeSet<NodeId>,
    /// Faults to come.
    pub faults: Timeline,
    /// When everything heals.
    pub heals: Time,
}

impl Scenario {
    /// Most nodes of a world. Memory for links grows with their square: 150 MB at this number.
    pub const MAX_NODES: usize = 1000;

    /// So many nodes on [good](Link::GOOD) links with true clocks, no faults, and syncs of 1 ms. It
    /// heals at once: with faults or late nodes of your own, set `heals` too.
    pub fn calm(nodes: usize) -> Self {
        Self {
            nodes,
            link: Link::GOOD,
            links: BTreeMap::new(),
            clocks: BTreeMap::new(),
            sync: Duration::from_millis(1)..=Duration::from_millis(1),
            connections: None,
            late: BTreeSet::new(),
            faults: Vec::new(),
            heals: Time::ZERO,
        }
    }

    /// Draws a scenario within limits.
    ///
    /// Each kind of trouble is absent from half of the runs: many bugs show only when something
    /// else doesn't happen (Groce et al., "Swarm Testing", ISSTA 2012).
    pub fn draw(draw: &mut Draw, limits: &Limits) -> Self {
        let (low, high) = limits.nodes.clone().into_inner();
        let nodes = low + draw.below(high.saturating_sub(low) + 1);
        let worst = limits.drawn_worst(draw);
        let ends = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (NodeId(a), NodeId(b))));
        let links = ends.filter(|(a, b)| a != b).map(|ends| (ends, worst.drawn_link(draw)));
        let links = links.collect();
        let skewed = draw.chance(0.5);
        let clocks = (0..nodes).filter(|_| skewed);
        let clocks = clocks.map(|node| (NodeId(node), limits.drawn_clock(draw))).collect();
        let mut faults = Vec::new();
        for schedule in &limits.schedules {
            if draw.chance(0.5) {
                faults.extend(schedule.draw(draw, nodes, Time::ZERO, limits.heals));
            }
        }
        faults.sort_by_key(|(at, _)| *at);
        Self {
            nodes,
            link: worst.link(),
            links,
            clocks,
            sync: Duration::from_micros(10)..=limits.max_sync,
            connections: limits.connections,
            late: BTreeSet::new(),
            faults,
            heals: limits.heals,
        }
    }
}

/// How bad a drawn scenario may be. The default is a bad internet: change what differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// How many nodes. 3 to 7 by default.
    pub nodes: RangeInclusive<usize>,
    /// Highest latency of a link, drawn for each. 150 ms.
    pub max_latency: Duration,
    /// Highest jitter of a link, drawn for each. 50 ms.
    pub max_jitter: Duration,
    /// Highest loss of a link, drawn for each. 0.2.
    pub max_loss: f64,
    /// Highest duplication of a link, drawn for each. 0.1.
    pub max_duplication: f64,
    /// Highest reordering of a link, drawn for each, and held up by four times the highest
    /// latency. 0.1.
    pub max_reorder: f64,
    /// Lowest bandwidth of a link in bytes a second; drawn up to sixteen times that. 64 KiB.
    pub min_bandwidth: u64,
    /// The queue of each link, in bytes. 1 MiB.
    pub queue: u64,
    /// Highest drift of clocks in millionths, either way. 500.
    pub max_drift: u32,
    /// How far wall clocks may be ahead. 2 s.
    pub max_ahead: Duration,
    /// Longest sync. 20 ms.
    pub max_sync: Duration,
    /// As [`Scenario::connections`]. None.
    pub connections: Option<Duration>,
    /// The trouble to choose from. All kinds, with one node down at a time and no wiped disks.
    pub schedules: Vec<Schedule>,
    /// When everything heals. After 30 s.
    pub heals: Time,
}

impl Limits {
    /// The default limits for a protocol over reliable streams: connections that take a second to
    /// notice a break, and links that lose, double or reorder nothing.
    pub fn streams() -> Self {
        Self {
            max_loss: 0.0,
            max_duplication: 0.0,
            max_reorder: 0.0,
            connections: Some(Duration::from_secs(1)),
            ..Self::default()
        }
    }

    /// The same limits with some kinds of link trouble left out.
    fn drawn_worst(&self, draw: &mut Draw) -> Worst<'_> {
        let mut severity = |max: f64| if draw.chance(0.5) { max } else { 0.0 };
        let loss = severity(self.max_loss);
        let duplication = severity(self.max_duplication);
        let reorder = severity(self.max_reorder);
        Worst { limits: self, loss, duplication, reorder, narrow: draw.chance(0.5) }
    }

    fn drawn_clock(&self, draw: &mut Draw) -> Clock {
        let drift = i32::try_from(draw.number(0..=u64::from(self.max_drift)));
        let drift = drift.expect("the highest drift is far below an i32's");
        Clock {
            drift: if draw.chance(0.5) { drift } else { -drift },
            origin: Duration::from_secs(86_400),
            ahead: draw.duration(Duration::ZERO..=self.max_ahead),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nodes: 3..=7,
            max_latency: Duration::from_millis(150),
            max_jitter: Duration::from_millis(50),
            max_loss: 0.2,
            max_duplication: 0.1,
            max_reorder: 0.1,
            min_bandwidth: 64 << 10,
            queue: 1 << 20,
            max_drift: 500,
            max_ahead: Duration::from_secs(2),
            max_sync: Duration::from_millis(20),
            connections: None,
            schedules: vec![
                Schedule::Swizzle,
                Schedule::Partitions,
                Schedule::OneWayCuts,
                Schedule::Churn { max_down: 1, wiped: 0.0 },
            ],
            heals: Time::from_millis(30_000),
        }
    }
}

/// The worst link of one run.
struct Worst<'a> {
    limits: &'a Limits,
    loss: f64,
    duplication: f64,
    reorder: f64,
    narrow: bool,
}

impl Worst<'_> {
    fn link(&self) -> Link {
        Link {
            latency: self.limits.max_latency,
            jitter: self.limits.max_jitter,
            loss: self.loss,
            duplication: self.duplication,
            reorder: self.reorder,
            delay: self.limits.max_latency * 4,
            bandwidth: self.narrow.then_some(self.limits.min_bandwidth),
            queue: self.limits.queue,
        }
    }

    fn drawn_link(&self, draw: &mut Draw) -> Link {
        let worst = self.link();
        let highest = self.limits.min_bandwidth.saturating_mul(16);
        Link {
            latency: draw.duration(Duration::ZERO..=worst.latency),
            jitter: draw.duration(Duration::ZERO..=worst.jitter),
            loss: worst.loss * draw.fraction(),
            duplication: worst.duplication * draw.fraction(),
            reorder: worst.reorder * draw.fraction(),
            bandwidth: worst.bandwidth.map(|lowest| draw.number(lowest..=highest)),
            ..worst
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_scenario() {
        let limits = Limits::default();
        let draw = |seed| Scenario::draw(&mut Draw::new(seed), &limits);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn scenarios_stay_within_their_limits_and_leave_trouble_out_sometimes() {
        let limits = Limits::default();
        let (mut lossless, mut faultless) = (0, 0);
        for seed in 0..200 {
            let scenario = Scenario::draw(&mut Draw::new(seed), &limits);
            assert!(limits.nodes.contains(&scenario.nodes), "seed {seed}");
            assert_eq!(scenario.links.len(), scenario.nodes * (scenario.nodes - 1));
            for link in scenario.links.values() {
                assert!(link.loss <= 0.2 && link.latency <= limits.max_latency, "seed {seed}");
                assert!(link.bandwidth.is_none_or(|b| b >= 64 << 10), "seed {seed}");
            }
            lossless += usize::from(scenario.link.loss == 0.0);
            faultless += usize::from(scenario.faults.is_empty());
            assert!(scenario.faults.iter().all(|(at, _)| *at <= scenario.heals), "seed {seed}");
        }
        assert!((60..140).contains(&lossless), "{lossless}");
        assert!((2..40).contains(&faultless), "{faultless}");
    }

    #[test]
    fn streams_lose_nothing_in_silence() {
        for seed in 0..20 {
            let scenario = Scenario::draw(&mut Draw::new(seed), &Limits::streams());
            assert!(scenario.connections.is_some());
            for link in scenario.links.values() {
                let faults = (link.loss, link.duplication, link.reorder);
                assert_eq!(faults, (0.0, 0.0, 0.0), "seed {seed}");
            }
        }
    }
}
