//! What faults and connections do to a world.

use aether_core::Time;

use super::{Event, World};
use crate::{Boot, Disk, Effects, Fault, NodeId, Subject, trace::Happened};

impl<S: Subject> World<S> {
    pub(super) fn on_fault(&mut self, fault: Fault) -> bool {
        self.trace.record(self.now, None, Happened::Fault(format!("{fault:?}")));
        match fault {
            Fault::Cut { from, to } => self.cut(from, to, true),
            Fault::Mend { from, to } => self.cut(from, to, false),
            Fault::Partition(groups) => self.partition(&groups),
            Fault::Clog(node) => self.network.clog(node),
            Fault::Unclog(node) => self.unclog(node),
            Fault::Degrade { from, to, link } => self.network.set_link(from, to, link),
            Fault::Crash(node) => self.crash(node),
            Fault::Start { node, wiped } => self.start(node, wiped),
            Fault::Copy(node) => {
                let slot = &mut self.nodes[node.0];
                slot.copy = Some(slot.disk.copy());
            }
            Fault::Restore { node, but } => self.restore(node, &but),
            Fault::Heal => self.heal(),
        }
        true
    }

    fn cut(&mut self, from: NodeId, to: NodeId, cut: bool) {
        if from == to || self.network.is_cut(from, to) == cut {
            return;
        }
        self.network.set_cut(from, to, cut);
        if cut {
            self.break_connection(from, to);
        } else {
            self.connect(from, to);
        }
    }

    fn partition(&mut self, groups: &[Vec<NodeId>]) {
        let group = |node| groups.iter().position(|group| group.contains(&node));
        let groups: Vec<_> = self.ids().map(group).collect();
        for (from, a) in groups.iter().enumerate() {
            for (to, b) in groups.iter().enumerate() {
                self.cut(NodeId(from), NodeId(to), a.is_none() || a != b);
            }
        }
    }

    fn unclog(&mut self, node: NodeId) {
        for packet in self.network.unclog(node) {
            self.schedule(self.now, Event::Arrive(packet));
        }
    }

    fn crash(&mut self, node: NodeId) {
        let slot = &mut self.nodes[node.0];
        if slot.node.take().is_none() {
            return;
        }
        slot.effects = Effects::default();
        slot.syncing = false;
        let lost = slot.disk.crash(&mut self.run.draw);
        let lost = u64::try_from(lost).expect("usize has at most 64 bits");
        let sometimes = self.sometimes.get_mut();
        sometimes.hit("sim: crash");
        sometimes.add("sim: unsynced write lost", lost);
        for peer in self.ids().filter(|peer| *peer != node) {
            self.break_connection(node, peer);
            self.break_connection(peer, node);
        }
    }

    fn start(&mut self, node: NodeId, wiped: bool) {
        let slot = &mut self.nodes[node.0];
        if slot.node.is_some() {
            return;
        }
        if wiped {
            slot.disk = Disk::default();
        }
        if slot.life > 0 {
            let name = if wiped { "sim: restart with a wiped disk" } else { "sim: restart" };
            self.sometimes.get_mut().hit(name);
        }
        self.boot(node);
    }

    fn restore(&mut self, node: NodeId, but: &[u8]) {
        let slot = &mut self.nodes[node.0];
        if let (None, Some(copy)) = (&slot.node, &slot.copy) {
            slot.disk.restore(copy, but);
            self.sometimes.get_mut().hit("sim: disk restored from a copy");
        }
    }

    /// Gives a node that is down a life.
    pub(super) fn boot(&mut self, node: NodeId) {
        let nodes = self.nodes.len();
        let slot = &mut self.nodes[node.0];
        slot.life += 1;
        slot.running = slot.clock.boot(self.now, &mut self.run.draw);
        let life = slot.life;
        self.trace.record(self.now, Some(node), Happened::Booted { life });
        let (at, seed) = (self.at(node), self.run.draw.seed());
        let slot = &mut self.nodes[node.0];
        slot.node = Some(self.subject.boot(Boot { at, nodes, seed, disk: &slot.disk }));
        self.feed(node, None);
        for peer in self.ids() {
            self.connect(node, peer);
        }
    }

    fn heal(&mut self) {
        self.network.calm();
        for from in self.ids() {
            for to in self.ids() {
                self.cut(from, to, false);
            }
        }
        for node in self.ids() {
            self.unclog(node);
            self.start(node, false);
        }
    }

    /// Accounts for a lost message; in a world with connections, the connection breaks.
    pub(super) fn lose(&mut self, from: NodeId, to: NodeId, why: &'static str) {
        self.sometimes(why);
        self.break_connection(from, to);
    }

    fn break_connection(&mut self, from: NodeId, to: NodeId) {
        let Some(connections) = &mut self.connections else { return };
        if from != to && connections.lose(from, to) {
            let at = self.now + connections.detection();
            self.schedule(at, Event::Close(from, to));
        }
    }

    /// Begins to connect two nodes, if they can reach each other and aren't connected.
    fn connect(&mut self, a: NodeId, b: NodeId) {
        if a == b || !self.can_connect(a, b) {
            return;
        }
        let Some(connections) = &mut self.connections else { return };
        if connections.connect(a, b) {
            // The first time there is nothing to notice.
            let at =
                if self.now == Time::ZERO { self.now } else { self.now + connections.detection() };
            self.schedule(at, Event::Open(a, b));
        }
    }

    fn can_connect(&self, a: NodeId, b: NodeId) -> bool {
        let up = self.node(a).is_some() && self.node(b).is_some();
        up && !self.network.is_cut(a, b) && !self.network.is_cut(b, a)
    }

    pub(super) fn on_close(&mut self, a: NodeId, b: NodeId) -> bool {
        let Some(connections) = &mut self.connections else { return false };
        let lives = connections.close(a, b);
        self.sometimes("sim: connection broken");
        self.tell(a, b, lives, false);
        self.connect(a, b);
        true
    }

    pub(super) fn on_open(&mut self, a: NodeId, b: NodeId) -> bool {
        let can = self.can_connect(a, b);
        let lives = can.then(|| [self.life(a.min(b)), self.life(a.max(b))]);
        let Some(connections) = &mut self.connections else { return false };
        connections.open(a, b, lives);
        if let Some(lives) = lives {
            self.tell(a, b, lives, true);
        }
        can
    }

    /// Tells both ends, if they still live the lives in which they are concerned.
    fn tell(&mut self, a: NodeId, b: NodeId, [low, high]: [u32; 2], up: bool) {
        let (a, b) = (a.min(b), a.max(b));
        for (node, life, peer) in [(a, low, b), (b, high, a)] {
            self.schedule(self.now, Event::Tell { node, life, peer, up });
        }
    }
}
