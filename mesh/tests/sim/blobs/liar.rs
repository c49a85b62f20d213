//! A provider that lies, in one way each.

use std::collections::VecDeque;

use aether_core::{Protocol, PublicKey, Time};
use aether_mesh::proto::blob::{
    GROUP, Ranges, first_piece,
    frame::{Frame, Why},
    groups_of,
};
use aether_sim::Draw;
use bytes::Bytes;

use super::{
    host::{Input, Output},
    wire::{self, Blob, Packet},
};

/// How it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Some of its bytes are wrong.
    Bytes,
    /// Claims this size.
    Size(u64),
    /// Claims to hold all and sends little.
    Claim,
    /// Claims to hold all and sends nothing.
    Silence,
    /// Says what is no frame, or has no place.
    Garbage,
}

impl Lie {
    pub(crate) fn draw(draw: &mut Draw) -> Self {
        match draw.below(5) {
            0 => Self::Bytes,
            1 if draw.chance(0.5) => Self::Size(draw.number(0..=1 << 50)),
            1 => Self::Size(draw.number(0..=3000) * GROUP),
            2 => Self::Claim,
            3 => Self::Silence,
            _ => Self::Garbage,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Liar {
    blob: Blob,
    lie: Lie,
    draw: Draw,
    outputs: VecDeque<Output>,
}

impl Liar {
    pub(crate) fn new(blob: Blob, lie: Lie, seed: u64) -> Self {
        Self { blob, lie, draw: Draw::new(seed), outputs: VecDeque::new() }
    }

    fn reply(&mut self, to: PublicKey, number: u64, frame: &Frame) {
        self.outputs.push_back(Output::Send { to, packet: Packet::reply(number, frame) });
    }

    fn on_ask(&mut self, to: PublicKey, number: u64, ask: u32, mut left: Ranges) {
        while let Some(groups) = first_piece(&left) {
            left.remove(groups.clone());
            let mut encoding = self.blob.encode(groups).to_vec();
            match self.lie {
                Lie::Bytes if self.draw.chance(0.3) => {
                    let at = self.draw.below(encoding.len());
                    encoding[at] ^= 1 << self.draw.below(8);
                }
                Lie::Claim if self.draw.chance(0.8) => {
                    self.reply(to, number, &Frame::End { ask, why: Why::NotHeld });
                    return;
                }
                Lie::Silence => return,
                Lie::Garbage if self.draw.chance(0.5) => {
                    let garbage = match self.draw.below(4) {
                        0 => Bytes::from_static(&[0; 4]),
                        1 => Bytes::copy_from_slice(&self.draw.seed()),
                        _ => {
                            let frames = [
                                Frame::Cancel { ask },
                                Frame::Piece { ask: ask + 1, encoding: Bytes::new() },
                                Frame::End { ask, why: Why::Cancelled },
                            ];
                            let at = self.draw.below(frames.len());
                            self.reply(to, number, &frames[at]);
                            return;
                        }
                    };
                    let packet = Packet::Reply(number, garbage);
                    self.outputs.push_back(Output::Send { to, packet });
                }
                _ => {}
            }
            let encoding = encoding.into();
            self.reply(to, number, &Frame::Piece { ask, encoding });
        }
    }
}

impl Protocol for Liar {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, _: Time, input: Input) {
        let Input::Arrived { from, packet: Packet::Request(number, bytes) } = input else { return };
        match wire::frame(&bytes) {
            Some(Frame::Get(_)) => {
                let size = if let Lie::Size(size) = self.lie { size } else { self.blob.size };
                let groups = Ranges::from(0..groups_of(size));
                self.reply(from, number, &Frame::Held { size, groups });
            }
            Some(Frame::Ask { ask, groups }) => self.on_ask(from, number, ask, groups),
            _ => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }
}
