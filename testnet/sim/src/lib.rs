//! A deterministic discrete-event simulator for pure protocols, those of Aether and your own.
//!
//! It drives any [`Protocol`](aether_core::Protocol) through virtual time, over a network, clocks
//! and disks that fail in the ways real ones do. It promises that a seed and a test decide
//! everything: a run that fails prints one line, and that line repeats it event for event. It
//! promises nothing about what lies outside the protocol, such as sockets, threads and real disks.
//!
//! In reading order:
//!
//! - [`Subject`]: the adapter you write, and [`Effects`], what a protocol's outputs may do.
//! - [`Scenario`]: the conditions of a run. Written by hand for a test of one rule, or drawn within
//!   [`Limits`] for a search: [`Link`], [`Clock`], [`Fault`], [`Schedule`].
//! - [`World`]: the nodes, the event loop, invariants, commands, and [`Disk`].
//! - [`Runner`]: a test over many seeds, one [`Run`] each. It reads `AETHER_SEEDS`,
//!   `AETHER_SECONDS` and `AETHER_SEED`, and demands that what must happen [`Sometimes`] did.
//!
//! A search has two phases. While faults happen, invariants say what must never be (safety). Once
//! [everything has healed](Fault::Heal), [`World::eventually`] says what must come (liveness).
//!
//! The example spreads a rumor to all nodes and lets none be thanked for it by one that could
//! forget it in a crash. Take the `sync` away, and a seed shows the bug.
//!
//! ```
//! use std::{collections::{BTreeSet, VecDeque}, time::Duration};
//! use aether_core::{Protocol, Time};
//! use aether_sim::{At, Boot, Effects, Limits, NodeId, Runner, Scenario, Subject, World};
//!
//! /// Tells every other node a rumor, again each half second, until that node thanks for it.
//! struct Node { heard: bool, untold: BTreeSet<NodeId>, next: Time, outputs: VecDeque<Output> }
//! enum Input { Begin, Message(NodeId, u8), Timeout }
//! enum Output { Keep, Send(NodeId, u8) }
//! const RUMOR: u8 = 0;
//! const THANKS: u8 = 1;
//!
//! impl Protocol for Node {
//!     type Input = Input;
//!     type Output = Output;
//!
//!     fn handle(&mut self, now: Time, input: Input) {
//!         if matches!(input, Input::Begin | Input::Message(_, RUMOR)) && !self.heard {
//!             self.heard = true;
//!             self.outputs.push_back(Output::Keep);
//!         }
//!         match input {
//!             Input::Message(from, RUMOR) => self.outputs.push_back(Output::Send(from, THANKS)),
//!             Input::Message(from, _) => { self.untold.remove(&from); }
//!             Input::Begin | Input::Timeout => {}
//!         }
//!         if self.heard && now >= self.next {
//!             self.outputs.extend(self.untold.iter().map(|peer| Output::Send(*peer, RUMOR)));
//!             self.next = now + Duration::from_millis(500);
//!         }
//!     }
//!
//!     fn poll_output(&mut self) -> Option<Output> {
//!         self.outputs.pop_front()
//!     }
//!
//!     fn poll_timeout(&self) -> Option<Time> {
//!         (self.heard && !self.untold.is_empty()).then_some(self.next)
//!     }
//! }
//!
//! struct Rumor;
//!
//! impl Subject for Rumor {
//!     type Node = Node;
//!     type Command = ();
//!     type Event = ();
//!
//!     fn boot(&self, boot: Boot<'_>) -> Node {
//!         let untold = (0..boot.nodes).map(NodeId).filter(|peer| *peer != boot.at.node).collect();
//!         let heard = boot.disk.get(b"heard").is_some();
//!         Node { heard, untold, next: boot.at.now, outputs: VecDeque::new() }
//!     }
//!     fn message(&self, _: At, from: NodeId, bytes: &[u8]) -> Option<Input> {
//!         Some(Input::Message(from, *bytes.first()?))
//!     }
//!     fn timeout(&self, _: At) -> Input {
//!         Input::Timeout
//!     }
//!     fn command(&self, _: At, (): ()) -> Input {
//!         Input::Begin
//!     }
//!     fn output(&self, at: At, output: Output, effects: &mut Effects<Self>) {
//!         match output {
//!             Output::Keep => { effects.put("heard", "yes"); effects.sync(); }
//!             Output::Send(to, byte) => effects.send(to, [byte]),
//!         }
//!         if at.life > 1 { effects.sometimes("spoke after a crash"); }
//!     }
//! }
//!
//! // In tests/sim.rs this is the body of `#[test] fn everyone_hears()`.
//! Runner::new("my-crate", "everyone_hears").seeds(20).sometimes(&["spoke after a crash"]).run(
//!     |mut run| {
//!         let scenario = Scenario::draw(&mut run.draw, &Limits::default());
//!         let mut world = World::new(run, scenario, Rumor);
//!         world.invariant("who thanked can't forget", |world| {
//!             for (id, node) in world.nodes() {
//!                 let others = world.ids().filter(|other| *other != id);
//!                 for thanker in others.filter(|other| !node.untold.contains(other)) {
//!                     let kept = world.disk(thanker).get(b"heard").is_some();
//!                     kept.then_some(()).ok_or(format!("{thanker} thanked {id}"))?;
//!                 }
//!             }
//!             Ok(())
//!         });
//!         world.command(NodeId(0), ());
//!         world.run_until(world.heals());
//!         world.command(NodeId(0), ()); // once more, if it crashed before it wrote
//!         world.eventually("all heard", Duration::from_secs(60), |world| {
//!             world.nodes().all(|(_, node)| node.heard)
//!         });
//!         world.finish()
//!     },
//! );
//! ```

mod clock;
mod connection;
mod disk;
mod draw;
mod fault;
mod network;
mod runner;
mod scenario;
mod sometimes;
mod subject;
mod trace;
mod world;

pub use clock::Clock;
pub use disk::{Change, Disk};
pub use draw::Draw;
pub use fault::{Fault, Schedule, Timeline};
pub use network::Link;
pub use runner::{Outcome, Run, Runner, Summary};
pub use scenario::{Limits, Scenario};
pub use sometimes::Sometimes;
pub use subject::{At, Boot, Effects, InputOf, Mixed, NodeId, OutputOf, Subject};
pub use world::World;
