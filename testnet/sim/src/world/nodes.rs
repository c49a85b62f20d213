//! What events do to nodes, and nodes to the world.

use aether_core::{Protocol as _, Time};

use super::{Event, MAX_PENDING, World};
use crate::{
    At, Clock, Disk, Draw, Effects, InputOf, NodeId, Subject,
    clock::RunningClock,
    network::{Arrival, Packet, Passage},
    subject::Effect,
    trace::Happened,
};

pub(super) struct Slot<S: Subject> {
    pub(super) node: Option<S::Node>,
    pub(super) life: u32,
    pub(super) clock: Clock,
    pub(super) running: RunningClock,
    pub(super) disk: Disk,
    /// What was copied of it aside.
    pub(super) copy: Option<Disk>,
    pub(super) effects: Effects<S>,
    pub(super) syncing: bool,
    /// When the event that will look at the node's deadline comes, if there is one.
    pub(super) armed: Option<Time>,
}

impl<S: Subject> Slot<S> {
    pub(super) fn new(clock: Clock, draw: &mut Draw) -> Self {
        Self {
            node: None,
            life: 0,
            clock,
            running: clock.boot(Time::ZERO, draw),
            disk: Disk::default(),
            copy: None,
            effects: Effects::default(),
            syncing: false,
            armed: None,
        }
    }
}

impl<S: Subject> World<S> {
    pub(super) fn on_arrival(&mut self, packet: Packet) -> bool {
        let (from, to) = (packet.from, packet.to);
        if let Some(connections) = &mut self.connections
            && from != to
            && connections.session(from, to) != Some(packet.session)
        {
            return false;
        }
        let packet = match self.network.arrive(packet) {
            Arrival::Delivered(packet) => packet,
            Arrival::Clogged => {
                self.sometimes("sim: message clogged");
                return false;
            }
            Arrival::Lost(why) => {
                self.lose(from, to, why);
                return false;
            }
        };
        if self.node(to).is_none() {
            self.lose(from, to, "sim: message lost at a dead node");
            return false;
        }
        let what = Happened::Message { from, bytes: packet.bytes };
        self.trace.record(self.now, Some(to), what);
        let input = self.subject.message(self.at(to), from, self.trace.message());
        self.feed(to, input);
        true
    }

    pub(super) fn on_timer(&mut self, node: NodeId) -> bool {
        let slot = &mut self.nodes[node.0];
        // Another event was to come earlier, and has looked already.
        if slot.armed != Some(self.now) {
            return false;
        }
        slot.armed = None;
        let deadline = slot.node.as_ref().and_then(S::Node::poll_timeout);
        if deadline.is_none_or(|deadline| deadline > slot.running.local(self.now)) {
            self.arm(node);
            return false;
        }
        self.trace.record(self.now, Some(node), Happened::Timeout);
        let input = self.subject.timeout(self.at(node));
        self.feed(node, Some(input));
        true
    }

    pub(super) fn on_synced(&mut self, node: NodeId, life: u32) -> bool {
        let slot = &mut self.nodes[node.0];
        if slot.node.is_none() || slot.life != life {
            return false;
        }
        let batches = slot.disk.unsynced();
        slot.disk.sync();
        slot.syncing = false;
        self.trace.record(self.now, Some(node), Happened::Synced { batches });
        self.feed(node, None);
        true
    }

    pub(super) fn on_command(&mut self, node: NodeId, command: S::Command) -> bool {
        if self.node(node).is_none() {
            return false;
        }
        self.trace.record(self.now, Some(node), Happened::Command(format!("{command:?}")));
        let input = self.subject.command(self.at(node), command);
        self.feed(node, Some(input));
        true
    }

    pub(super) fn on_tell(&mut self, node: NodeId, life: u32, peer: NodeId, up: bool) -> bool {
        if self.node(node).is_none() || self.life(node) != life {
            return false;
        }
        self.trace.record(self.now, Some(node), Happened::Connection { peer, up });
        let input = self.subject.connection(self.at(node), peer, up);
        self.feed(node, input);
        true
    }

    /// Gives a live node an input if there is one, then works off all that follows from it at once.
    pub(super) fn feed(&mut self, node: NodeId, input: Option<InputOf<S>>) {
        let at = self.at(node);
        let mut next = input;
        loop {
            let Slot { node: Some(protocol), effects, .. } = &mut self.nodes[node.0] else {
                return;
            };
            if let Some(input) = next {
                protocol.handle(at.now, input);
            }
            while let Some(output) = protocol.poll_output() {
                self.subject.output(at, output, effects);
            }
            for name in effects.hits.drain(..) {
                self.sometimes.get_mut().hit(name);
            }
            next = self.act(node);
            if next.is_none() {
                break;
            }
            self.trace.record(self.now, Some(node), Happened::Input);
            self.count_instant();
        }
        self.arm(node);
    }

    /// Works off a node's effects up to a sync that takes time, or an input, which it returns.
    pub(super) fn act(&mut self, node: NodeId) -> Option<InputOf<S>> {
        while !self.nodes[node.0].syncing {
            let slot = &mut self.nodes[node.0];
            match slot.effects.queue.pop_front()? {
                Effect::Send { to, bytes } => self.send(node, to, bytes),
                Effect::Write(batch) => slot.disk.write(batch),
                Effect::Sync if slot.disk.unsynced() == 0 => {}
                Effect::Sync => {
                    slot.syncing = true;
                    let life = slot.life;
                    let takes = self.run.draw.duration(self.sync.clone());
                    self.schedule(self.now + takes, Event::Synced { node, life });
                }
                Effect::Input(input) => return Some(input),
                Effect::Observe(event) => {
                    let words = Happened::Observed(format!("{event:?}"));
                    self.trace.record(self.now, Some(node), words);
                    self.observed.push((node, event));
                }
            }
        }
        if self.nodes[node.0].effects.queue.len() > MAX_PENDING {
            self.fail("too much waits for the disk: the protocol outruns its syncs");
        }
        None
    }

    pub(super) fn send(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) {
        assert!(to.0 < self.nodes.len(), "{from} sends to {to}, which doesn't exist");
        let session = match &mut self.connections {
            Some(connections) if from != to => connections.session(from, to),
            _ => Some(0),
        };
        let Some(session) = session else {
            self.sometimes("sim: message sent without a connection");
            return;
        };
        let passage = self.network.send(self.now, (from, to), bytes.len(), &mut self.run.draw);
        let (at, copy, reordered) = match passage {
            Passage::Lost(why) => return self.lose(from, to, why),
            Passage::Arrives { at, copy, reordered } => (at, copy, reordered),
        };
        if reordered {
            self.sometimes("sim: message reordered");
        }
        if let Some(at) = copy {
            self.sometimes("sim: message duplicated");
            self.schedule(at, Event::Arrive(Packet { from, to, bytes: bytes.clone(), session }));
        }
        self.schedule(at, Event::Arrive(Packet { from, to, bytes, session }));
    }

    /// Makes sure that an event looks at the node's deadline in time. One that comes too early
    /// stays and looks again, so that a deadline that moves away, or a new life, costs nothing.
    pub(super) fn arm(&mut self, node: NodeId) {
        let slot = &mut self.nodes[node.0];
        let Some(deadline) = slot.node.as_ref().and_then(S::Node::poll_timeout) else { return };
        let at = slot.running.global(deadline).max(self.now);
        if deadline == Time::MAX || slot.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        slot.armed = Some(at);
        self.schedule(at, Event::Timer(node));
    }

    pub(super) fn at(&self, node: NodeId) -> At {
        let Slot { life, running, .. } = &self.nodes[node.0];
        At { node, life: *life, now: running.local(self.now), wall: running.wall(self.now) }
    }
}
