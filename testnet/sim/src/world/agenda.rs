//! Events to come, in order.

use std::cmp::Ordering;

use aether_core::Time;

use crate::{Fault, NodeId, Subject, network::Packet};

pub(super) enum Event<S: Subject> {
    Arrive(Packet),
    /// A node's deadline may have come.
    Timer(NodeId),
    Synced {
        node: NodeId,
        life: u32,
    },
    Command {
        node: NodeId,
        command: S::Command,
    },
    Fault(Fault),
    /// A pair notices that its connection is broken.
    Close(NodeId, NodeId),
    /// A pair's attempt to connect ends.
    Open(NodeId, NodeId),
    /// A node is told of a connection.
    Tell {
        node: NodeId,
        life: u32,
        peer: NodeId,
        up: bool,
    },
}

pub(super) struct Entry<S: Subject> {
    pub(super) at: Time,
    pub(super) number: u64,
    pub(super) event: Event<S>,
}

impl<S: Subject> Ord for Entry<S> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<S: Subject> PartialOrd for Entry<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S: Subject> PartialEq for Entry<S> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<S: Subject> Eq for Entry<S> {}
