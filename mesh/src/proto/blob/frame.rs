//! Frames: what the two ends of a blob's stream say to each other.
//!
//! One stream carries one blob from one *provider* to one *requester*, who opened it. So the name
//! of the blob is said once, the stream's own flow control holds back what isn't read, a small blob
//! never waits behind a large one, and whoever has enough closes the stream. A stream costs next to
//! nothing on QUIC and Yamux.
//!
//! The requester names the blob ([`Frame::Get`]). The provider says what it holds of it
//! ([`Frame::Held`]), again whenever it holds more, or that it holds nothing ([`Frame::NotHeld`]).
//! The requester asks for groups ([`Frame::Ask`]), and asks on before it has what it asked for.
//! Each ask is answered by pieces, or ended without; asks are answered in their order.
//!
//! The stream carries nothing but frames, one after the other. Version 1 (the version is part of
//! the stream's name, `blob/1`), integers big endian:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | length `n` of all that follows, 1 to 262,144 |
//! | 4 | 1 | kind |
//! | 5 | n - 1 | body, by kind |
//!
//! | kind | frame | sent by | body |
//! |---|---|---|---|
//! | 0 | [`Frame::Get`] | requester | the blob's name, 32 bytes; once, before all else |
//! | 1 | [`Frame::Ask`] | requester | number of the ask (4), groups (runs, at most 64; at most 1024 groups) |
//! | 2 | [`Frame::Cancel`] | requester | number of the ask (4) |
//! | 3 | [`Frame::Held`] | provider | size of the blob in bytes (8), groups (runs, at most 1024, within the size) |
//! | 4 | [`Frame::NotHeld`] | provider | empty |
//! | 5 | [`Frame::Piece`] | provider | number of the ask (4), the encoding of the ask's next piece |
//! | 6 | [`Frame::End`] | provider | number of the ask (4), reason (1) |
//! | 7 | [`Frame::Busy`] | provider | number of the ask (4; 0: the whole stream), milliseconds (4) |
//!
//! Runs are their number (2) and for each its first group (8) and its length in groups (8), in
//! ascending order, with at least one group between two. Asks are numbered upwards from 1.
//!
//! A piece is cut from an ask by [`first_piece`](super::first_piece), so its place isn't said. Its
//! encoding is the Bao encoding of its groups under the claimed size, without the header that
//! holds the length: the hashes that lead from the root to the groups and the groups themselves,
//! in the order of a walk through the tree, parents first. So each piece can be verified alone;
//! the hashes on the way to it, said again for each, are about a hundredth of it.
//!
//! A later release may add kinds: those that aren't known are skipped, as is a reason. Nothing is
//! allocated by a length that a remote names.

use std::{ops::Range, time::Duration};

use aether_core::{
    BlobId,
    wire::{Reader, WireError, Writer},
};
use bytes::{Buf, Bytes, BytesMut};

use super::{GROUP, PIECE, Ranges, groups_of};

/// The name of the stream.
pub const STREAM: &str = "blob/1";

/// Largest frame in bytes, its length field left out.
pub const MAX_FRAME: usize = 288 * 1024;

/// Largest encoding of a piece: its groups, the hashes within, and those on the way from the root
/// of the largest blob.
pub const MAX_PIECE: usize = (PIECE * GROUP) as usize + 64 * (PIECE as usize + 64);

/// Bytes of a frame for which memory is taken as they come; for more, at once.
const BEGUN: usize = 32 * 1024;

/// Most runs of groups in one ask.
pub const MAX_ASK_RUNS: usize = 64;

/// Most groups in one ask: 16 MiB.
pub const MAX_ASK_GROUPS: u64 = 1024;

/// Most asks that may be unanswered on one stream.
pub const MAX_ASKS: usize = 16;

/// Most runs in which a provider says what it holds. Who holds more says the longest.
pub const MAX_HELD_RUNS: usize = 1024;

const LENGTH: usize = 4;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The stream is about this blob; what do you hold of it?
    Get(BlobId),
    /// Send me these groups.
    Ask {
        /// Above that of every ask before.
        ask: u32,
        /// Not empty.
        groups: Ranges,
    },
    /// What is left of this ask isn't wanted any more. What is on its way comes all the same.
    Cancel {
        /// The ask.
        ask: u32,
    },
    /// The provider holds these groups. Replaces what it said before.
    Held {
        /// The blob's size in bytes, which the provider can prove if it holds the last group.
        size: u64,
        /// Within the size. Empty if it holds none yet.
        groups: Ranges,
    },
    /// The provider holds nothing of this blob, or no longer. Nothing follows.
    NotHeld,
    /// The next piece of an ask.
    Piece {
        /// The ask.
        ask: u32,
        /// At most [`MAX_PIECE`] bytes.
        encoding: Bytes,
    },
    /// No more of this ask follows, though not all was sent.
    End {
        /// The ask.
        ask: u32,
        /// Why.
        why: Why,
    },
    /// There is no room for this ask; for the whole stream if the number is 0, and then nothing
    /// follows.
    Busy {
        /// The ask, or 0.
        ask: u32,
        /// How long to wait before asking again. Whole milliseconds, at most 2^32 - 1 of them.
        retry_after: Duration,
    },
}

/// Why an ask ended before all was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Some of it isn't held. 0 on the wire.
    NotHeld,
    /// It was cancelled. 1.
    Cancelled,
    /// The provider can't read it now. 2, and what a later release may say.
    Failed,
}

/// Why bytes are no frame. The stream can't be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame can't have this length.
    #[error("a frame can't have {len} bytes")]
    Length {
        /// Length found.
        len: usize,
    },
    /// Too many runs or groups, none where some must be, out of order, or beyond the size.
    #[error("the groups are out of bounds or out of order")]
    Groups,
    /// An ask can't have the number 0.
    #[error("an ask has a number above zero")]
    Number,
    /// The body isn't what its kind says.
    #[error("the frame is malformed")]
    Malformed(#[from] WireError),
}

impl Frame {
    /// Appends the frame's bytes, as [`decode`](Self::decode) takes them. Bounds have been kept by
    /// whoever made the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::default();
        match self {
            Self::Get(id) => writer.u8(0).array(id.as_bytes()),
            Self::Ask { ask, groups } => write_runs(writer.u8(1).u32(*ask), groups),
            Self::Cancel { ask } => writer.u8(2).u32(*ask),
            Self::Held { size, groups } => write_runs(writer.u8(3).u64(*size), groups),
            Self::NotHeld => writer.u8(4),
            Self::Piece { ask, encoding } => writer.u8(5).u32(*ask).slice(encoding),
            Self::End { ask, why } => writer.u8(6).u32(*ask).u8(why.code()),
            Self::Busy { ask, retry_after } => {
                let millis = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
                writer.u8(7).u32(*ask).u32(millis)
            }
        };
        let body = writer.finish();
        let len = u32::try_from(body.len()).expect("pieces and runs are bounded");
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&body);
    }

    /// Takes the next whole frame from the front of what has arrived; `None` if more bytes are
    /// needed. Frames of unknown kinds are taken and skipped. After an error the stream is over.
    ///
    /// The buffer need never hold more than [`MAX_FRAME`] and 4 bytes for a frame to be found. A
    /// piece shares the buffer's memory; nothing else does.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        loop {
            let Some(length) = buffer.first_chunk::<LENGTH>() else {
                return Ok(None);
            };
            let len = u32::from_be_bytes(*length) as usize;
            if !(1..=MAX_FRAME).contains(&len) {
                return Err(FrameError::Length { len });
            }
            if buffer.len() < LENGTH + len {
                // Who has sent so much of a piece sends the rest, so it's not moved while it grows.
                if buffer.len() > BEGUN {
                    buffer.reserve(LENGTH + len - buffer.len() + BEGUN);
                }
                return Ok(None);
            }
            buffer.advance(LENGTH);
            let frame = Self::read(buffer.split_to(len).freeze())?;
            if frame.is_some() {
                return Ok(frame);
            }
        }
    }

    /// Whether only a requester says this.
    pub const fn is_of_requester(&self) -> bool {
        matches!(self, Self::Get(_) | Self::Ask { .. } | Self::Cancel { .. })
    }

    /// Reads a frame without its length field; `None` if its kind isn't known.
    fn read(bytes: Bytes) -> Result<Option<Self>, FrameError> {
        let mut reader = Reader::new(&bytes);
        let frame = match reader.u8()? {
            0 => Self::Get(BlobId::from_bytes(reader.array()?)),
            1 => {
                let ask = number(&mut reader)?;
                let groups = read_runs(&mut reader, MAX_ASK_RUNS)?;
                if groups.is_empty() || groups.count() > MAX_ASK_GROUPS {
                    return Err(FrameError::Groups);
                }
                Self::Ask { ask, groups }
            }
            2 => Self::Cancel { ask: number(&mut reader)? },
            3 => {
                let size = reader.u64()?;
                let groups = read_runs(&mut reader, MAX_HELD_RUNS)?;
                if groups.runs().last().is_some_and(|run| run.end > groups_of(size)) {
                    return Err(FrameError::Groups);
                }
                Self::Held { size, groups }
            }
            4 => Self::NotHeld,
            5 => {
                let ask = number(&mut reader)?;
                let encoding = bytes.slice_ref(reader.rest());
                if encoding.len() > MAX_PIECE {
                    return Err(FrameError::Length { len: encoding.len() });
                }
                Self::Piece { ask, encoding }
            }
            6 => Self::End { ask: number(&mut reader)?, why: Why::of(reader.u8()?) },
            7 => {
                let (ask, millis) = (reader.u32()?, reader.u32()?);
                Self::Busy { ask, retry_after: Duration::from_millis(millis.into()) }
            }
            _ => return Ok(None),
        };
        reader.end()?;
        Ok(Some(frame))
    }
}

impl Why {
    const fn code(self) -> u8 {
        match self {
            Self::NotHeld => 0,
            Self::Cancelled => 1,
            Self::Failed => 2,
        }
    }

    const fn of(code: u8) -> Self {
        match code {
            0 => Self::NotHeld,
            1 => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}

fn number(reader: &mut Reader<'_>) -> Result<u32, FrameError> {
    match reader.u32()? {
        0 => Err(FrameError::Number),
        ask => Ok(ask),
    }
}

fn write_runs<'a>(writer: &'a mut Writer, groups: &Ranges) -> &'a mut Writer {
    let count = u16::try_from(groups.runs().len()).expect("whoever made the frame bounds its runs");
    groups
        .runs()
        .iter()
        .fold(writer.u16(count), |writer, run| writer.u64(run.start).u64(run.end - run.start))
}

fn read_runs(reader: &mut Reader<'_>, max: usize) -> Result<Ranges, FrameError> {
    let count = usize::from(reader.u16()?);
    if count > max {
        return Err(FrameError::Groups);
    }
    // Bounded: at most 16 KiB.
    let mut runs: Vec<Range<u64>> = Vec::with_capacity(count);
    for _ in 0..count {
        let (start, len) = (reader.u64()?, reader.u64()?);
        runs.push(start..start.checked_add(len).ok_or(FrameError::Groups)?);
    }
    Ranges::from_runs(runs).ok_or(FrameError::Groups)
}

#[cfg(test)]
mod tests;
