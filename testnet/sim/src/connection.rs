//! Connections: streams that break as a whole instead of losing a message in silence.

use std::time::Duration;

use crate::NodeId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    Up,
    /// Something was lost or an end died, and the ends don't know it yet.
    Breaking,
}

#[derive(Clone, Debug)]
struct Pair {
    state: State,
    /// Grows with every connection of the pair, so that nothing of an old one arrives in a new one.
    session: u64,
    /// Whether the way from the lower to the higher node, and the way back, has failed.
    broken: [bool; 2],
    /// The lives of the two ends that were told of the connection.
    lives: [u32; 2],
    connecting: bool,
}

/// One connection at most between each two nodes; the world says when its ends can reach each
/// other.
#[derive(Debug)]
pub(crate) struct Connections {
    detection: Duration,
    nodes: usize,
    pairs: Vec<Pair>,
}

impl Connections {
    pub(crate) fn new(nodes: usize, detection: Duration) -> Self {
        let pair = Pair {
            state: State::Down,
            session: 0,
            broken: [false; 2],
            lives: [0; 2],
            connecting: false,
        };
        Self { detection, nodes, pairs: vec![pair; nodes * nodes] }
    }

    /// How long it takes to notice a break, and again to connect.
    pub(crate) fn detection(&self) -> Duration {
        self.detection
    }

    /// The connection that carries a message this way, if there is one that still does.
    pub(crate) fn session(&mut self, from: NodeId, to: NodeId) -> Option<u64> {
        let way = usize::from(from > to);
        let pair = self.pair(from, to);
        (pair.state != State::Down && !pair.broken[way]).then_some(pair.session)
    }

    /// A message was lost this way. True if both ends are to be told later that the connection is
    /// gone: the caller then calls [`close`](Self::close).
    pub(crate) fn lose(&mut self, from: NodeId, to: NodeId) -> bool {
        let way = usize::from(from > to);
        let pair = self.pair(from, to);
        pair.broken[way] = true;
        let first = pair.state == State::Up;
        if first {
            pair.state = State::Breaking;
        }
        first
    }

    /// The break is noticed. Gives the lives of the lower and the higher end to tell.
    pub(crate) fn close(&mut self, a: NodeId, b: NodeId) -> [u32; 2] {
        let pair = self.pair(a, b);
        assert_eq!(pair.state, State::Breaking, "a connection closes once");
        pair.state = State::Down;
        pair.lives
    }

    /// Whether to begin to connect: true once until [`open`](Self::open).
    pub(crate) fn connect(&mut self, a: NodeId, b: NodeId) -> bool {
        let pair = self.pair(a, b);
        let begin = pair.state == State::Down && !pair.connecting;
        pair.connecting |= begin;
        begin
    }

    /// Ends the attempt to connect: with the ends in these lives, or in vain.
    pub(crate) fn open(&mut self, a: NodeId, b: NodeId, lives: Option<[u32; 2]>) {
        let pair = self.pair(a, b);
        assert!(pair.connecting, "an attempt ends once");
        pair.connecting = false;
        if let Some(lives) = lives {
            *pair = Pair {
                state: State::Up,
                session: pair.session + 1,
                broken: [false; 2],
                lives,
                connecting: false,
            };
        }
    }

    fn pair(&mut self, a: NodeId, b: NodeId) -> &mut Pair {
        &mut self.pairs[a.min(b).0 * self.nodes + a.max(b).0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);

    #[test]
    fn a_loss_breaks_one_way_at_once_and_both_when_noticed() {
        let mut connections = Connections::new(2, Duration::from_secs(1));
        assert_eq!(connections.session(A, B), None);
        assert!(connections.connect(A, B));
        assert!(!connections.connect(B, A), "it is being tried");
        connections.open(A, B, Some([1, 2]));
        assert_eq!(connections.session(B, A), Some(1));
        assert!(connections.lose(B, A));
        assert!(!connections.lose(B, A), "told once");
        assert_eq!((connections.session(A, B), connections.session(B, A)), (Some(1), None));
        assert!(!connections.connect(A, B), "not before both know");
        assert_eq!(connections.close(A, B), [1, 2]);
        assert_eq!(connections.session(A, B), None);
        assert!(connections.connect(A, B));
        connections.open(A, B, None);
        assert_eq!(connections.session(A, B), None);
        assert!(connections.connect(A, B));
        connections.open(A, B, Some([1, 3]));
        assert_eq!(connections.session(A, B), Some(2), "nothing of the old one may arrive");
    }
}
