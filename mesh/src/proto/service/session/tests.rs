use std::time::Duration;

use aether_core::{Protocol, Time};
use bytes::Bytes;

use super::*;
use crate::proto::service::frame::{Frame, Payload, Request, Shape};

mod calling;
mod serving;

const START: Time = Time::from_millis(1_000_000);

fn zeros(len: usize) -> Bytes {
    vec![0; len].into()
}

/// One end of a session, what it said, and whether its driver writes at once.
struct End<P> {
    protocol: P,
    now: Time,
    writes: bool,
}

impl<P> End<P> {
    fn new(protocol: P) -> Self {
        Self { protocol, now: START, writes: true }
    }
}

/// The frames and the other outputs, apart.
fn split<O>(outputs: Vec<O>, frame: impl Fn(&O) -> Option<Frame>) -> (Vec<Frame>, Vec<O>) {
    let frames = outputs.iter().filter_map(&frame).collect();
    (frames, outputs.into_iter().filter(|output| frame(output).is_none()).collect())
}

fn payloads(frames: Vec<Frame>) -> Vec<Payload> {
    frames.into_iter().map(|frame| frame.payload).collect()
}

/// How many bytes each piece has, whatever its kind, and of which call.
fn pieces(frames: &[Frame]) -> Vec<(u64, usize)> {
    let piece = |frame: &Frame| match &frame.payload {
        Payload::Chunk(piece) | Payload::Part(piece) | Payload::Item(piece) => {
            Some((frame.call, piece.len()))
        }
        _ => None,
    };
    frames.iter().filter_map(piece).collect()
}
