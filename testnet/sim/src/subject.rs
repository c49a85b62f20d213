//! What binds a protocol to the simulator.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
};

use aether_core::{Protocol, Time};

use crate::{Change, Disk};

/// The input of a subject's protocol.
pub type InputOf<S> = <<S as Subject>::Node as Protocol>::Input;
/// The output of a subject's protocol.
pub type OutputOf<S> = <<S as Subject>::Node as Protocol>::Output;

/// A node's number, from zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which node, in which life, and what its clocks show.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The node.
    pub node: NodeId,
    /// 1 for its first life, one more after each crash.
    pub life: u32,
    /// Its monotonic clock: what its protocol is told.
    pub now: Time,
    /// Its wall clock, counted from the simulation's begin. It may be ahead of the others'.
    pub wall: Time,
}

/// What a node starts from.
#[derive(Debug)]
pub struct Boot<'a> {
    /// Node, life and clocks.
    pub at: At,
    /// How many nodes the world has, itself and those that are down included.
    pub nodes: usize,
    /// Randomness of this life.
    pub seed: [u8; 32],
    /// What its disk kept; nothing in a first life or after a wipe.
    pub disk: &'a Disk,
}

/// The adapter between a [`Protocol`] and the [`World`](crate::World): it plays the driver's part.
///
/// It is shared by all nodes and by nature without state: what a node knows belongs into its
/// protocol, and what a checker wants to know is observed as an event. Messages are bytes, so that
/// bandwidth is real and the encoding that will be used is the one that is tested.
pub trait Subject {
    /// The protocol; [`Mixed`] where some nodes lie.
    type Node: Protocol;
    /// What a user of a node asks for.
    type Command: fmt::Debug;
    /// What checkers see. Its `Debug` form goes into the trace: keep it short.
    type Event: fmt::Debug;

    /// Starts a node, for the first time or again.
    fn boot(&self, boot: Boot<'_>) -> Self::Node;

    /// Turns an arrived message into an input, or drops it.
    fn message(&self, at: At, from: NodeId, bytes: &[u8]) -> Option<InputOf<Self>>;

    /// The input that says that the deadline of `poll_timeout` has come.
    fn timeout(&self, at: At) -> InputOf<Self>;

    /// Turns a user's command into an input.
    fn command(&self, at: At, command: Self::Command) -> InputOf<Self>;

    /// Turns the begin (`up`) or end of a connection into an input. Called only in worlds with
    /// [`Scenario::connections`](crate::Scenario::connections).
    fn connection(&self, at: At, peer: NodeId, up: bool) -> Option<InputOf<Self>> {
        let _ = (at, peer, up);
        None
    }

    /// Turns an output into effects, which take place in the order given.
    fn output(&self, at: At, output: OutputOf<Self>, effects: &mut Effects<Self>);

    /// A message in words, for the trace of a failed run. Hexadecimal unless overridden.
    fn describe(&self, bytes: &[u8]) -> String {
        let mut text = format!("{} bytes ", bytes.len());
        for byte in bytes.iter().take(24) {
            let _ = write!(text, "{byte:02x}");
        }
        if bytes.len() > 24 {
            text.push_str("..");
        }
        text
    }
}

/// A node that keeps to its protocol, or one that speaks the same and lies.
#[derive(Debug)]
pub enum Mixed<H, L> {
    /// The protocol under test.
    Honest(Box<H>),
    /// What attacks it.
    Liar(Box<L>),
}

impl<H, L> Mixed<H, L> {
    /// The protocol under test, where this is one.
    pub fn honest(&self) -> Option<&H> {
        match self {
            Self::Honest(honest) => Some(honest),
            Self::Liar(_) => None,
        }
    }

    /// What attacks it, where this is that.
    pub fn liar(&self) -> Option<&L> {
        match self {
            Self::Honest(_) => None,
            Self::Liar(liar) => Some(liar),
        }
    }
}

impl<H, L> Protocol for Mixed<H, L>
where
    H: Protocol,
    L: Protocol<Input = H::Input, Output = H::Output>,
{
    type Input = H::Input;
    type Output = H::Output;

    fn handle(&mut self, now: Time, input: Self::Input) {
        match self {
            Self::Honest(honest) => honest.handle(now, input),
            Self::Liar(liar) => liar.handle(now, input),
        }
    }

    fn poll_output(&mut self) -> Option<Self::Output> {
        match self {
            Self::Honest(honest) => honest.poll_output(),
            Self::Liar(liar) => liar.poll_output(),
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        match self {
            Self::Honest(honest) => honest.poll_timeout(),
            Self::Liar(liar) => liar.poll_timeout(),
        }
    }
}

/// What an output does to the world: a queue that is worked off in order.
///
/// A [`sync`](Self::sync) takes time, and everything behind it waits. So what an output names
/// before the sync is on disk before what it names after it is sent, and a crash in between loses
/// both. The protocol meanwhile goes on handling inputs.
pub struct Effects<S: Subject + ?Sized> {
    pub(crate) queue: VecDeque<Effect<S>>,
    pub(crate) hits: Vec<&'static str>,
}

pub(crate) enum Effect<S: Subject + ?Sized> {
    Send { to: NodeId, bytes: Vec<u8> },
    Write(Vec<Change>),
    Sync,
    Input(InputOf<S>),
    Observe(S::Event),
}

impl<S: Subject + ?Sized> Effects<S> {
    /// Sends a message. One to the node itself arrives at once and is never lost.
    pub fn send(&mut self, to: NodeId, bytes: impl Into<Vec<u8>>) {
        self.queue.push_back(Effect::Send { to, bytes: bytes.into() });
    }

    /// Writes one value, unsynced.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.write(vec![(key.into(), Some(value.into()))]);
    }

    /// Writes several changes, unsynced, of which a crash keeps all or none.
    pub fn write(&mut self, batch: Vec<Change>) {
        self.queue.push_back(Effect::Write(batch));
    }

    /// Makes all writes so far durable before anything that follows.
    pub fn sync(&mut self) {
        self.queue.push_back(Effect::Sync);
    }

    /// Gives the protocol an input, such as the answer to a sync.
    pub fn input(&mut self, input: InputOf<S>) {
        self.queue.push_back(Effect::Input(input));
    }

    /// Shows an event to the checkers.
    pub fn observe(&mut self, event: S::Event) {
        self.queue.push_back(Effect::Observe(event));
    }

    /// Counts something that must happen sometimes; see [`Sometimes`](crate::Sometimes).
    pub fn sometimes(&mut self, name: &'static str) {
        self.hits.push(name);
    }
}

impl<S: Subject + ?Sized> Default for Effects<S> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), hits: Vec::new() }
    }
}

impl<S: Subject + ?Sized> fmt::Debug for Effects<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effects").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}
