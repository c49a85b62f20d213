//! Sessions of services: a caller and a server against each other, and each against a liar.
//!
//! The two ends talk through pipes that carry bytes in drawn pieces at drawn times, so whatever can
//! cross does: cancellations, deadlines, grants, refusals. What is demanded of every run:
//!
//! - each call ends exactly once at each side, and nothing of it comes after;
//! - replies are whole and items in order, byte for byte, or the call failed;
//! - what was refused never started;
//! - each side keeps to its bounds at every step;
//! - without a deadline's help everything ends as long as handlers answer and readers read.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::{Domain, Protocol as _, Time};
use aether_mesh::proto::service::{
    frame::{CallError, Code, Frame},
    session::{
        Caller, FREE_CREDIT, Server,
        caller::{self, Outcome},
        server::{self, Ending},
    },
};
use aether_sim::{Outcome as RunOutcome, Run, Runner, Sometimes};
use bytes::{Bytes, BytesMut};

mod ends;
mod liar;

const TRACE: Domain = Domain::new("aether 2026-11 sessions test v1");

fn caller_config(run: &mut Run) -> caller::Config {
    caller::Config {
        max_calls: 8,
        max_request: 100_000,
        max_reply: 90_000,
        reply_room: 90_000,
        stream_window: 96 * 1024 + run.draw.below(40_000),
        stream_room: 400_000,
        max_unsent: 32 * 1024,
    }
}

fn server_config() -> server::Config {
    server::Config {
        max_calls: 6,
        max_request: 90_000,
        request_room: 100_000,
        send_room: 450_000,
        max_unsent: 32 * 1024,
        ..server::Config::default()
    }
}

fn caller_bound(config: &caller::Config) -> usize {
    config.max_calls * FREE_CREDIT + config.reply_room + config.stream_room
}

fn server_bound(config: &server::Config) -> usize {
    config.max_calls * FREE_CREDIT + config.request_room + config.send_room
}

/// Frames on their way: with the driver, on the wire, and arrived.
#[derive(Default)]
struct Pipe {
    unsent: VecDeque<Frame>,
    wire: VecDeque<u8>,
    arrived: BytesMut,
}

impl Pipe {
    fn unsent_weight(&self) -> usize {
        self.unsent.iter().map(Frame::weight).sum()
    }

    /// Writes so many frames; their weight.
    fn write(&mut self, frames: usize) -> usize {
        let mut bytes = Vec::new();
        let frames = frames.min(self.unsent.len());
        let weight = self.unsent.drain(..frames).map(|frame| {
            frame.encode(&mut bytes);
            frame.weight()
        });
        let weight = weight.sum();
        self.wire.extend(bytes);
        weight
    }

    /// Lets so many bytes arrive, and takes a frame if there is a whole one.
    fn read(&mut self, bytes: usize) -> Option<Frame> {
        let bytes = bytes.min(self.wire.len());
        self.arrived.extend(self.wire.drain(..bytes));
        Frame::decode(&mut self.arrived).expect("a correct end sends frames")
    }
}

/// The bytes of a body, a reply or an item: no two are alike.
fn content(call: u64, part: usize, len: usize) -> Bytes {
    let seed = call as usize * 31 + part * 7;
    (0..len).map(|at| ((seed + at) % 251) as u8).collect()
}

fn length(run: &mut Run) -> usize {
    match run.draw.below(8) {
        0 => 0,
        1..=4 => run.draw.below(200),
        5 | 6 => run.draw.below(40_000),
        _ => run.draw.below(96_000),
    }
}

#[test]
fn sessions_hold() {
    let demanded = [
        "a reply",
        "a large reply",
        "a large request",
        "an item",
        "a large item",
        "a stream ended",
        "a stream failed midway",
        "cancelled",
        "cancelled at the server",
        "deadline",
        "deadline at the server",
        "overloaded",
        "not sent",
        "dropped",
        "the handler waited",
        "drained",
        "lost",
    ];
    Runner::new(env!("CARGO_PKG_NAME"), "sessions::sessions_hold")
        .seeds(60)
        .sometimes(&demanded)
        .run(|run| ends::Pair::new(run).run());
}

#[test]
fn liars_only_hurt_themselves() {
    Runner::new(env!("CARGO_PKG_NAME"), "sessions::liars_only_hurt_themselves")
        .seeds(60)
        .sometimes(&["blamed", "endured", "a reply", "an item", "a call began", "wasn't read"])
        .run(liar::run);
}
