//! The event loop.

use std::{
    cell::RefCell, cmp::Reverse, collections::BinaryHeap, fmt, ops::RangeInclusive, time::Duration,
};

use aether_core::Time;

use crate::{
    Disk, Draw, Fault, NodeId, Outcome, Run, Scenario, Sometimes, Subject, connection::Connections,
    network::Network, trace::Trace,
};

mod agenda;
mod faults;
mod nodes;

use agenda::{Entry, Event};
use nodes::Slot;

/// How many of the last events a failed run prints.
const TRACE_LINES: usize = 200;
/// Most events at one instant: a protocol that goes on without time passing is stuck.
const MAX_PER_INSTANT: u64 = 1 << 20;
/// Most events to come, and most effects that wait for one node's disk.
const MAX_PENDING: usize = 1 << 20;

/// Nodes of one subject in a simulated network, driven through virtual time.
///
/// A world is a heap of events ordered by time, then by when they were caused. Each
/// [`step`](Self::step) takes one event, gives one input to one node, works off its outputs, and
/// then asks every invariant. Nothing else runs, so the same seed and the same calls give the same
/// trace, whose hash [`finish`](Self::finish) returns.
///
/// A world that is dropped by a panic prints its last 200 events to standard error.
///
/// Some 10^5 to 10^6 events a second and core, if the protocol itself costs nothing.
///
/// The simulator counts under these names, next to those of the subject and the invariants:
///
/// | name | what happened |
/// |---|---|
/// | `sim: message lost` | by the loss of its link |
/// | `sim: message lost at a cut`, `at a full queue`, `at a dead node` | as it says |
/// | `sim: message sent without a connection` | dropped at its sender |
/// | `sim: message duplicated`, `reordered`, `clogged` | as it says |
/// | `sim: connection broken` | both ends were told, if alive |
/// | `sim: crash`, `sim: restart`, `sim: restart with a wiped disk` | as it says |
/// | `sim: unsynced write lost` | a batch that a crash took |
/// | `sim: disk restored from a copy` | as it says |
pub struct World<S: Subject> {
    subject: S,
    run: Run,
    now: Time,
    /// Events taken at the time `now`.
    instant: u64,
    events: u64,
    caused: u64,
    agenda: BinaryHeap<Reverse<Entry<S>>>,
    nodes: Vec<Slot<S>>,
    network: Network,
    connections: Option<Connections>,
    sync: RangeInclusive<Duration>,
    heals: Time,
    invariants: Vec<(&'static str, Invariant<S>)>,
    observed: Vec<(NodeId, S::Event)>,
    /// Whether the invariants have seen what was observed. They see what happens before the first
    /// step, when nobody has named them yet, together with that step.
    shown: bool,
    touched: Option<NodeId>,
    /// In a cell, so that an invariant, which only reads the world, can count.
    sometimes: RefCell<Sometimes>,
    trace: Trace,
}

type Invariant<S> = Box<dyn FnMut(&World<S>) -> Result<(), String>>;

impl<S: Subject> World<S> {
    /// Starts all nodes that aren't late, at time zero.
    ///
    /// # Panics
    /// If the scenario has no node or more than [`Scenario::MAX_NODES`].
    pub fn new(run: Run, scenario: Scenario, subject: S) -> Self {
        let count = scenario.nodes;
        assert!((1..=Scenario::MAX_NODES).contains(&count), "a world of {count} nodes");
        let link = |a, b| scenario.links.get(&(a, b)).copied().unwrap_or(scenario.link);
        let mut world = Self {
            subject,
            run,
            now: Time::ZERO,
            instant: 0,
            events: 0,
            caused: 0,
            agenda: BinaryHeap::new(),
            nodes: Vec::with_capacity(count),
            network: Network::new(count, link),
            connections: scenario.connections.map(|time| Connections::new(count, time)),
            sync: scenario.sync,
            heals: scenario.heals,
            invariants: Vec::new(),
            observed: Vec::new(),
            shown: false,
            touched: None,
            sometimes: RefCell::default(),
            trace: Trace::new(TRACE_LINES),
        };
        for node in (0..count).map(NodeId) {
            let clock = scenario.clocks.get(&node).copied().unwrap_or_default();
            let slot = Slot::new(clock, &mut world.run.draw);
            world.nodes.push(slot);
        }
        for (at, fault) in scenario.faults {
            world.fault_at(at, fault);
        }
        world.fault_at(scenario.heals, Fault::Heal);
        for node in world.ids().filter(|node| !scenario.late.contains(node)) {
            world.boot(node);
        }
        world
    }

    /// Adds a property that must hold after every event from now on. `name` says what holds.
    ///
    /// Invariants added before the first step see everything that is ever
    /// [observed](Self::observed), each event once.
    pub fn invariant(
        &mut self,
        name: &'static str,
        check: impl FnMut(&Self) -> Result<(), String> + 'static,
    ) {
        self.invariants.push((name, Box::new(check)));
    }

    /// Virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// When the scenario heals.
    pub fn heals(&self) -> Time {
        self.heals
    }

    /// All nodes, up or down.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = NodeId> + Clone + use<S> {
        (0..self.nodes.len()).map(NodeId)
    }

    /// A node's protocol, unless the node is down.
    pub fn node(&self, node: NodeId) -> Option<&S::Node> {
        self.nodes[node.0].node.as_ref()
    }

    /// The protocols of all nodes that are up.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &S::Node)> {
        let slots = self.nodes.iter().enumerate();
        slots.filter_map(|(index, slot)| Some((NodeId(index), slot.node.as_ref()?)))
    }

    /// A node's disk, whether the node is up or down.
    pub fn disk(&self, node: NodeId) -> &Disk {
        &self.nodes[node.0].disk
    }

    /// In which life a node is, or was last; zero if it never started.
    pub fn life(&self, node: NodeId) -> u32 {
        self.nodes[node.0].life
    }

    /// What was observed in the last step, in order; in the first step, also what nodes showed
    /// when they started.
    pub fn observed(&self) -> &[(NodeId, S::Event)] {
        &self.observed
    }

    /// The node whose state the last step may have changed. None after a fault that concerns the
    /// network, or several nodes.
    pub fn touched(&self) -> Option<NodeId> {
        self.touched
    }

    /// The run's chance, for a workload that is part of the scenario.
    pub fn draw(&mut self) -> &mut Draw {
        &mut self.run.draw
    }

    /// Counts something that must happen sometimes.
    pub fn sometimes(&self, name: &'static str) {
        self.sometimes.borrow_mut().hit(name);
    }

    /// Gives a command to a node now, and says whether the node is up to take it.
    pub fn command(&mut self, node: NodeId, command: S::Command) -> bool {
        let taken = self.begin(Event::Command { node, command });
        self.check();
        taken
    }

    /// Gives a command to a node at a time, or now if that has passed. It is lost if the node is
    /// then down.
    pub fn command_at(&mut self, at: Time, node: NodeId, command: S::Command) {
        self.schedule(at, Event::Command { node, command });
    }

    /// Makes a fault happen now.
    pub fn fault(&mut self, fault: Fault) {
        self.begin(Event::Fault(fault));
        self.check();
    }

    /// Makes a fault happen at a time, or now if that has passed.
    pub fn fault_at(&mut self, at: Time, fault: Fault) {
        self.schedule(at, Event::Fault(fault));
    }

    /// Takes the next event. False if there is none: nothing will ever happen again.
    ///
    /// # Panics
    /// If an invariant doesn't hold; with its name, the seed and the line that replays the run.
    pub fn step(&mut self) -> bool {
        self.step_until(Time::MAX)
    }

    /// Takes all events up to and at a time, and lets it be that time.
    pub fn run_until(&mut self, until: Time) {
        while self.step_until(until) {}
        self.now = self.now.max(until);
    }

    /// Takes all events of the next so much time.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Runs until `goal` holds, which is asked after every event.
    ///
    /// # Panics
    /// If it doesn't hold within so much time; as in [`step`](Self::step).
    pub fn eventually(
        &mut self,
        name: &str,
        within: Duration,
        mut goal: impl FnMut(&Self) -> bool,
    ) {
        let deadline = self.now + within;
        while !goal(self) {
            if !self.step_until(deadline) {
                let text = format!("'{name}' didn't come about within {within:?}");
                self.fail(&text);
            }
        }
    }

    /// Ends the run: how many events it had, the hash of its trace, and its counters.
    pub fn finish(self) -> Outcome {
        Outcome {
            events: self.events,
            trace: self.trace.hash(),
            sometimes: self.sometimes.borrow().clone(),
        }
    }

    /// The last events in words, oldest first.
    pub fn trace(&self) -> String {
        self.trace.words(&self.subject)
    }

    fn schedule(&mut self, at: Time, event: Event<S>) {
        self.caused += 1;
        self.agenda.push(Reverse(Entry { at: at.max(self.now), number: self.caused, event }));
        if self.agenda.len() > MAX_PENDING {
            self.fail("too much is on its way: the protocol multiplies its messages");
        }
    }

    fn step_until(&mut self, until: Time) -> bool {
        while self.agenda.peek().is_some_and(|Reverse(entry)| entry.at <= until) {
            let Some(Reverse(entry)) = self.agenda.pop() else { break };
            if entry.at > self.now {
                self.now = entry.at;
                self.instant = 0;
            }
            if self.begin(entry.event) {
                self.check();
                return true;
            }
        }
        false
    }

    /// Lets an event happen. False if it is out of date and nothing did.
    fn begin(&mut self, event: Event<S>) -> bool {
        if std::mem::take(&mut self.shown) {
            self.observed.clear();
        }
        self.touched = match &event {
            Event::Arrive(packet) => Some(packet.to),
            Event::Timer(node)
            | Event::Synced { node, .. }
            | Event::Command { node, .. }
            | Event::Tell { node, .. }
            | Event::Fault(Fault::Crash(node) | Fault::Start { node, .. }) => Some(*node),
            Event::Fault(_) | Event::Close(..) | Event::Open(..) => None,
        };
        let happened = match event {
            Event::Arrive(packet) => self.on_arrival(packet),
            Event::Timer(node) => self.on_timer(node),
            Event::Synced { node, life } => self.on_synced(node, life),
            Event::Command { node, command } => self.on_command(node, command),
            Event::Fault(fault) => self.on_fault(fault),
            Event::Close(a, b) => self.on_close(a, b),
            Event::Open(a, b) => self.on_open(a, b),
            Event::Tell { node, life, peer, up } => self.on_tell(node, life, peer, up),
        };
        self.events += u64::from(happened);
        self.count_instant();
        happened
    }

    fn count_instant(&mut self) {
        self.instant += 1;
        if self.instant > MAX_PER_INSTANT {
            self.fail("time stands still: some node asks for a timeout or an input for ever");
        }
    }

    fn check(&mut self) {
        let mut invariants = std::mem::take(&mut self.invariants);
        for (name, check) in &mut invariants {
            if let Err(reason) = check(self) {
                self.fail(&format!("'{name}' does not hold: {reason}"));
            }
        }
        self.invariants = invariants;
        self.shown = true;
    }

    fn fail(&self, text: &str) -> ! {
        panic!("at {:?}: {text}\n{}", self.now, self.run);
    }
}

impl<S: Subject> Drop for World<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.trace());
        }
    }
}

impl<S: Subject> fmt::Debug for World<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("run", &self.run)
            .field("now", &self.now)
            .field("nodes", &self.nodes.len())
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}
