//! Links between nodes: how long a message takes and whether it comes at all.

use std::time::Duration;

use aether_core::Time;

use crate::{Draw, NodeId, draw::micros};

/// The quality of one directed link.
///
/// A link with neither loss nor reordering keeps the order of its messages, whatever its jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Time that every message takes.
    pub latency: Duration,
    /// Up to this much more, drawn for each message.
    pub jitter: Duration,
    /// Probability that a message is lost.
    pub loss: f64,
    /// Probability that a message arrives a second time.
    pub duplication: f64,
    /// Probability that a message is held up by [`delay`](Self::delay) while later ones overtake.
    pub reorder: f64,
    /// Up to this much more for such a message.
    pub delay: Duration,
    /// Bytes a second; unlimited if `None`. Messages queue for their turn.
    pub bandwidth: Option<u64>,
    /// Most bytes that queue for their turn, or wait while the link is clogged. Further messages
    /// are lost.
    pub queue: u64,
}

impl Link {
    /// A good local network: 1 ms, no faults, unlimited bandwidth, a queue of 16 MiB.
    pub const GOOD: Self = Self {
        latency: Duration::from_millis(1),
        jitter: Duration::ZERO,
        loss: 0.0,
        duplication: 0.0,
        reorder: 0.0,
        delay: Duration::ZERO,
        bandwidth: None,
        queue: 16 << 20,
    };

    /// The same link without loss, duplication and reordering.
    #[must_use]
    pub fn calmed(self) -> Self {
        Self { loss: 0.0, duplication: 0.0, reorder: 0.0, ..self }
    }
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) bytes: Vec<u8>,
    /// The connection it belongs to; 0 in a world without connections.
    pub(crate) session: u64,
}

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    Lost(&'static str),
    Arrives { at: Time, copy: Option<Time>, reordered: bool },
}

/// What becomes of a message at its arrival.
#[derive(Debug)]
pub(crate) enum Arrival {
    Lost(&'static str),
    Clogged,
    Delivered(Packet),
}

pub(crate) const LOST: &str = "sim: message lost";
pub(crate) const CUT: &str = "sim: message lost at a cut";
pub(crate) const FULL: &str = "sim: message lost at a full queue";

#[derive(Clone, Debug)]
struct State {
    link: Link,
    cut: bool,
    /// When the last byte accepted so far has left.
    busy: Time,
    /// When the last message that kept its place arrives.
    last: Time,
    held: Vec<Packet>,
    held_bytes: u64,
}

/// All links. Sending costs no allocation and no search.
#[derive(Debug)]
pub(crate) struct Network {
    nodes: usize,
    /// The link from `a` to `b` at `a * nodes + b`.
    links: Vec<State>,
    clogged: Vec<bool>,
}

impl Network {
    pub(crate) fn new(nodes: usize, link: impl Fn(NodeId, NodeId) -> Link) -> Self {
        let state = |index: usize| State {
            link: link(NodeId(index / nodes), NodeId(index % nodes)),
            cut: false,
            busy: Time::ZERO,
            last: Time::ZERO,
            held: Vec::new(),
            held_bytes: 0,
        };
        let links = (0..nodes * nodes).map(state).collect();
        Self { nodes, links, clogged: vec![false; nodes] }
    }

    /// Sends so many bytes.
    pub(crate) fn send(
        &mut self,
        now: Time,
        (from, to): (NodeId, NodeId),
        len: usize,
        draw: &mut Draw,
    ) -> Passage {
        if from == to {
            return Passage::Arrives { at: now, copy: None, reordered: false };
        }
        let state = self.state(from, to);
        if state.cut {
            return Passage::Lost(CUT);
        }
        let Some(departure) = state.enqueue(now, len) else { return Passage::Lost(FULL) };
        let link = state.link;
        if draw.chance(link.loss) {
            return Passage::Lost(LOST);
        }
        let travel = |draw: &mut Draw| link.latency + draw.duration(Duration::ZERO..=link.jitter);
        let mut at = departure + travel(draw);
        let reordered = draw.chance(link.reorder);
        if reordered {
            at = at + draw.duration(Duration::ZERO..=link.delay);
        } else {
            at = at.max(state.last);
            state.last = at;
        }
        let copy = draw.chance(link.duplication).then(|| departure + travel(draw));
        Passage::Arrives { at, copy, reordered }
    }

    /// Whether a message that has come to the end of its link goes on to its receiver.
    pub(crate) fn arrive(&mut self, packet: Packet) -> Arrival {
        let (from, to) = (packet.from, packet.to);
        if from == to {
            return Arrival::Delivered(packet);
        }
        let clogged = self.is_clogged(from) || self.is_clogged(to);
        let state = self.state(from, to);
        if state.cut {
            return Arrival::Lost(CUT);
        }
        if !clogged {
            return Arrival::Delivered(packet);
        }
        let bytes = state.held_bytes.saturating_add(size(packet.bytes.len()));
        if bytes > state.link.queue {
            return Arrival::Lost(FULL);
        }
        state.held_bytes = bytes;
        state.held.push(packet);
        Arrival::Clogged
    }

    pub(crate) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.links[from.0 * self.nodes + to.0].cut
    }

    pub(crate) fn set_cut(&mut self, from: NodeId, to: NodeId, cut: bool) {
        self.state(from, to).cut = cut;
    }

    pub(crate) fn set_link(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.state(from, to).link = link;
    }

    pub(crate) fn is_clogged(&self, node: NodeId) -> bool {
        self.clogged[node.0]
    }

    pub(crate) fn clog(&mut self, node: NodeId) {
        self.clogged[node.0] = true;
    }

    /// Opens a node's links again, but for those to nodes that are still clogged, and hands out
    /// what waited, link by link in order.
    pub(crate) fn unclog(&mut self, node: NodeId) -> Vec<Packet> {
        self.clogged[node.0] = false;
        let mut released = Vec::new();
        for peer in (0..self.nodes).map(NodeId) {
            if self.is_clogged(peer) {
                continue;
            }
            for (from, to) in [(node, peer), (peer, node)] {
                let state = self.state(from, to);
                state.held_bytes = 0;
                released.append(&mut state.held);
            }
        }
        released
    }

    /// Takes loss, duplication and reordering off every link.
    pub(crate) fn calm(&mut self) {
        for state in &mut self.links {
            state.link = state.link.calmed();
        }
    }

    fn state(&mut self, from: NodeId, to: NodeId) -> &mut State {
        &mut self.links[from.0 * self.nodes + to.0]
    }
}

impl State {
    /// When the last of `len` bytes leaves; `None` if the queue has no room for them.
    fn enqueue(&mut self, now: Time, len: usize) -> Option<Time> {
        let Some(bandwidth) = self.link.bandwidth else { return Some(now) };
        let bandwidth = u128::from(bandwidth.max(1));
        let waiting = u128::from(micros(self.busy.since(now))) * bandwidth / 1_000_000;
        if waiting + u128::from(size(len)) > u128::from(self.link.queue) {
            return None;
        }
        let takes = (u128::from(size(len)) * 1_000_000).div_ceil(bandwidth);
        let takes = Duration::from_micros(u64::try_from(takes).unwrap_or(u64::MAX));
        self.busy = self.busy.max(now) + takes;
        Some(self.busy)
    }
}

/// What a message takes in a queue. An empty one takes something, or a queue could hold any number.
fn size(len: usize) -> u64 {
    u64::try_from(len.max(1)).expect("usize has at most 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);
    const C: NodeId = NodeId(2);

    /// Sends `count` messages of `len` bytes from A to B, one each millisecond.
    fn stream(link: Link, count: u64, len: usize) -> Vec<Passage> {
        let mut network = Network::new(2, |_, _| link);
        let mut draw = Draw::new(11);
        (0..count).map(|n| network.send(Time::from_millis(n), (A, B), len, &mut draw)).collect()
    }

    fn arrivals(passages: &[Passage]) -> Vec<Time> {
        let arrival = |passage: &Passage| match passage {
            Passage::Arrives { at, .. } => Some(*at),
            Passage::Lost(_) => None,
        };
        passages.iter().filter_map(arrival).collect()
    }

    fn packet(from: NodeId, to: NodeId, byte: u8) -> Packet {
        Packet { from, to, bytes: vec![byte], session: 0 }
    }

    #[test]
    fn loss_matches_its_probability() {
        let lost = stream(Link { loss: 0.1, ..Link::GOOD }, 10_000, 1);
        let lost = lost.iter().filter(|passage| **passage == Passage::Lost(LOST)).count();
        assert!((900..1_100).contains(&lost), "{lost}");
        assert_eq!(arrivals(&stream(Link::GOOD, 100, 1)).len(), 100);
    }

    #[test]
    fn duplication_matches_its_probability() {
        let passages = stream(Link { duplication: 0.1, ..Link::GOOD }, 10_000, 1);
        let copied = |passage: &&Passage| matches!(passage, Passage::Arrives { copy: Some(_), .. });
        let copies = passages.iter().filter(copied).count();
        assert!((900..1_100).contains(&copies), "{copies}");
    }

    #[test]
    fn jitter_keeps_order_and_reordering_breaks_it() {
        let jittery = Link { jitter: Duration::from_millis(50), ..Link::GOOD };
        let times = arrivals(&stream(jittery, 1_000, 1));
        assert!(times.is_sorted());
        let spread = times.iter().zip(0..).map(|(at, n)| at.since(Time::from_millis(n)));
        assert!(spread.max() > Some(Duration::from_millis(40)));
        let shuffled = Link { reorder: 0.1, delay: Duration::from_millis(50), ..jittery };
        let times = arrivals(&stream(shuffled, 1_000, 1));
        let overtaken = times.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((40..160).contains(&overtaken), "{overtaken}");
    }

    #[test]
    fn bandwidth_makes_messages_wait_their_turn() {
        // Ten milliseconds each, one sent every millisecond.
        let link = Link { bandwidth: Some(100_000), ..Link::GOOD };
        let times = arrivals(&stream(link, 20, 1_000));
        let due = |n: u64| Time::from_millis(1 + 10 * n);
        assert_eq!(times, (1..=20).map(due).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_queue_drops_and_drains() {
        let link = Link { bandwidth: Some(100_000), queue: 5_000, ..Link::GOOD };
        let passages = stream(link, 1_000, 1_000);
        // Of one second of sending, 100 messages fit through, and the queue holds five more.
        let arrived = arrivals(&passages).len();
        assert!((100..=105).contains(&arrived), "{arrived}");
        assert!(passages.contains(&Passage::Lost(FULL)));
        assert_eq!(stream(link, 1, 5_001), [Passage::Lost(FULL)]);
    }

    #[test]
    fn a_cut_is_one_way_and_takes_what_is_on_its_way() {
        let mut network = Network::new(2, |_, _| Link::GOOD);
        let mut draw = Draw::new(1);
        network.set_cut(A, B, true);
        assert_eq!(network.send(Time::ZERO, (A, B), 1, &mut draw), Passage::Lost(CUT));
        assert!(matches!(network.arrive(packet(A, B, 0)), Arrival::Lost(CUT)));
        let back = network.send(Time::ZERO, (B, A), 1, &mut draw);
        assert!(matches!(back, Passage::Arrives { .. }));
        assert!(matches!(network.arrive(packet(B, A, 0)), Arrival::Delivered(_)));
        network.set_cut(A, B, false);
        assert!(matches!(network.arrive(packet(A, B, 0)), Arrival::Delivered(_)));
    }

    #[test]
    fn a_clog_holds_messages_until_both_ends_are_open() {
        let mut network = Network::new(3, |_, _| Link::GOOD);
        network.clog(A);
        network.clog(B);
        for byte in 0..3 {
            assert!(matches!(network.arrive(packet(A, B, byte)), Arrival::Clogged));
        }
        assert!(matches!(network.arrive(packet(C, A, 9)), Arrival::Clogged));
        assert!(matches!(network.arrive(packet(C, C, 9)), Arrival::Delivered(_)));
        let released = |packets: Vec<Packet>| packets.into_iter().map(|p| p.bytes[0]).collect();
        let first: Vec<u8> = released(network.unclog(A));
        assert_eq!(first, [9], "B is still clogged");
        let second: Vec<u8> = released(network.unclog(B));
        assert_eq!(second, [0, 1, 2]);
    }

    #[test]
    fn a_clogged_link_holds_no_more_than_its_queue() {
        let mut network = Network::new(2, |_, _| Link { queue: 2, ..Link::GOOD });
        network.clog(B);
        assert!(matches!(network.arrive(packet(A, B, 0)), Arrival::Clogged));
        assert!(matches!(network.arrive(packet(A, B, 1)), Arrival::Clogged));
        assert!(matches!(network.arrive(packet(A, B, 2)), Arrival::Lost(FULL)));
        assert_eq!(network.unclog(B).len(), 2);
        network.clog(B);
        assert!(matches!(network.arrive(packet(A, B, 3)), Arrival::Clogged));
    }
}
