//! Frames: what the two ends of a session say to each other.
//!
//! A session is one stream. Whoever opened it calls, the other end serves. The stream carries
//! nothing but frames, one after the other. Version 1 (the version is part of the stream's protocol
//! name), integers big endian:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | length `n` of all that follows, 9 to 65,536 |
//! | 4 | 1 | kind |
//! | 5 | 8 | call: its number, given by the caller; 0 where the frame is about no call |
//! | 13 | n - 9 | body, by kind |
//!
//! | kind | frame | sent by | body |
//! |---|---|---|---|
//! | 0 | [`Payload::Request`] | caller | CBOR map, see [`Request`] |
//! | 1 | [`Payload::Chunk`] | caller | the next 1 to 16,384 bytes of the request's body |
//! | 2 | [`Payload::Cancel`] | caller | skipped |
//! | 3 | [`Payload::Reply`] | server | CBOR map: 0 length, or 1 an error, or neither: items follow |
//! | 4 | [`Payload::Part`] | server | 1 to 16,384 bytes of the reply, or of an item that goes on |
//! | 5 | [`Payload::Item`] | server | the last 0 to 16,384 bytes of an item |
//! | 6 | [`Payload::End`] | server | CBOR map: 1 an error, or nothing |
//! | 7 | [`Payload::Grant`] | both | 4 bytes, not 0: so many more bytes of this call may be sent |
//! | 8 | [`Payload::GoingAway`] | server | skipped |
//!
//! A request is the CBOR map 0 service (text, 1 to 64 bytes), 1 endpoint (text, 1 to 64 bytes), 2
//! milliseconds left until the deadline, 3 flags (bit 0: idempotent, bit 1: the reply is a stream
//! of items), 4 trace (25 bytes: the trace id, the parent id and the flags of W3C Trace Context,
//! section 3.2.2, version 00; left out if there is none), 5 length of the body in bytes. An error
//! is the CBOR map 0 code (see [`Code`]), 1 message (text, at most 512 bytes), 2 milliseconds to
//! wait before another try (left out if nothing is said), 3 the application's own code (left out
//! with any code but 9).
//!
//! A later release may add kinds, keys and flags: those that are not known are skipped. Nothing is
//! allocated by a length that a remote names, and what is decoded holds no part of the buffer that
//! it came in, so a small chunk never keeps a large buffer alive.

use aether_core::wire::{Reader, WireError};
use bytes::{Buf, Bytes, BytesMut};

mod head;

pub use head::{CallError, Code, Request, Trace};

/// Largest frame in bytes, its length field left out.
pub const MAX_FRAME: usize = 64 * 1024;

/// Largest piece of a body, a reply or an item in one frame, in bytes.
pub const MAX_CHUNK: usize = 16 * 1024;

/// Longest name of a service or of an endpoint, in bytes.
pub const MAX_NAME: usize = 64;

/// Longest message of an error, in bytes.
pub const MAX_MESSAGE: usize = 512;

/// Bytes of the length field, and of the kind and call behind it.
const LENGTH: usize = 4;
const HEADER: usize = 9;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The call that it is about; 0 if it is about none.
    pub call: u64,
    /// What it says.
    pub payload: Payload,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The caller makes a call.
    Request(Request),
    /// The next bytes of the call's body.
    Chunk(Bytes),
    /// The caller wants no answer any more.
    Cancel,
    /// How the call is answered: a whole reply of so many bytes, a stream of items, or an error.
    Reply(Result<Shape, CallError>),
    /// The next bytes of a whole reply, or of an item that goes on.
    Part(Bytes),
    /// The last bytes of an item.
    Item(Bytes),
    /// No more items follow; if it failed, why.
    End(Option<CallError>),
    /// The receiver has room for so many more bytes of this call.
    Grant(u32),
    /// The server takes no new calls; those it has taken finish.
    GoingAway,
}

/// The shape of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One reply of so many bytes.
    Whole(u32),
    /// Items, until the end is said.
    Items,
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
    /// A name is empty or too long.
    #[error("a name of {len} bytes is not allowed")]
    Name {
        /// Length found.
        len: usize,
    },
    /// A piece is empty where it must not be, or too long.
    #[error("a piece of {len} bytes is not allowed")]
    Piece {
        /// Length found.
        len: usize,
    },
    /// The body isn't what its kind says.
    #[error("the frame is malformed")]
    Malformed(#[from] WireError),
}

impl Frame {
    /// A frame about a call.
    pub const fn new(call: u64, payload: Payload) -> Self {
        Self { call, payload }
    }

    /// Appends the frame's bytes, as [`decode`](Self::decode) takes them. An error's message is
    /// cut at [`MAX_MESSAGE`]; names and pieces have been checked by whoever made the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH]);
        out.push(self.payload.kind());
        out.extend_from_slice(&self.call.to_be_bytes());
        match &self.payload {
            Payload::Request(request) => request.encode(out),
            Payload::Reply(reply) => head::encode_reply(reply, out),
            Payload::End(error) => head::encode_end(error.as_ref(), out),
            Payload::Chunk(piece) | Payload::Part(piece) | Payload::Item(piece) => {
                out.extend_from_slice(piece);
            }
            Payload::Grant(bytes) => out.extend_from_slice(&bytes.to_be_bytes()),
            Payload::Cancel | Payload::GoingAway => {}
        }
        let len = u32::try_from(out.len() - start - LENGTH).expect("heads and pieces are bounded");
        out[start..start + LENGTH].copy_from_slice(&len.to_be_bytes());
    }

    /// Takes the next whole frame from the front of what has arrived; `None` if more bytes are
    /// needed. Frames of unknown kinds are taken and skipped. After an error the stream is over.
    ///
    /// The buffer need never hold more than [`MAX_FRAME`] and 4 bytes for a frame to be found.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        loop {
            let Some(length) = buffer.first_chunk::<LENGTH>() else {
                return Ok(None);
            };
            let len = u32::from_be_bytes(*length) as usize;
            if !(HEADER..=MAX_FRAME).contains(&len) {
                return Err(FrameError::Length { len });
            }
            let Some(bytes) = buffer.get(LENGTH..LENGTH + len) else {
                return Ok(None);
            };
            let frame = Self::read(bytes)?;
            buffer.advance(LENGTH + len);
            if frame.is_some() {
                return Ok(frame);
            }
        }
    }

    /// How much of a driver's send buffer the frame counts for: its length in bytes, or a little
    /// more.
    pub fn weight(&self) -> usize {
        /// What the CBOR of a head takes beside its texts, at most.
        const HEAD: usize = 64;
        let error = |error: &CallError| HEAD + error.message.len();
        let body = match &self.payload {
            Payload::Request(request) => HEAD + request.service.len() + request.endpoint.len(),
            Payload::Reply(Ok(_)) | Payload::End(None) => HEAD,
            Payload::Reply(Err(reason)) | Payload::End(Some(reason)) => error(reason),
            Payload::Chunk(piece) | Payload::Part(piece) | Payload::Item(piece) => piece.len(),
            Payload::Grant(_) => size_of::<u32>(),
            Payload::Cancel | Payload::GoingAway => 0,
        };
        LENGTH + HEADER + body
    }

    /// Reads a frame without its length field; `None` if its kind isn't known.
    fn read(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let mut reader = Reader::new(bytes);
        let (kind, call) = (reader.u8()?, reader.u64()?);
        let body = reader.rest();
        let payload = match kind {
            0 => Payload::Request(Request::decode(body)?),
            1 => Payload::Chunk(piece(body, 1)?),
            2 => Payload::Cancel,
            3 => Payload::Reply(head::decode_reply(body)?),
            4 => Payload::Part(piece(body, 1)?),
            5 => Payload::Item(piece(body, 0)?),
            6 => Payload::End(head::decode_end(body)?),
            7 => Payload::Grant(grant(body)?),
            8 => Payload::GoingAway,
            _ => return Ok(None),
        };
        Ok(Some(Self { call, payload }))
    }
}

impl Payload {
    const fn kind(&self) -> u8 {
        match self {
            Self::Request(_) => 0,
            Self::Chunk(_) => 1,
            Self::Cancel => 2,
            Self::Reply(_) => 3,
            Self::Part(_) => 4,
            Self::Item(_) => 5,
            Self::End(_) => 6,
            Self::Grant(_) => 7,
            Self::GoingAway => 8,
        }
    }
}

fn piece(body: &[u8], least: usize) -> Result<Bytes, FrameError> {
    if !(least..=MAX_CHUNK).contains(&body.len()) {
        return Err(FrameError::Piece { len: body.len() });
    }
    Ok(Bytes::copy_from_slice(body))
}

fn grant(body: &[u8]) -> Result<u32, FrameError> {
    let mut reader = Reader::new(body);
    let bytes = reader.u32()?;
    reader.end()?;
    if bytes == 0 {
        return Err(FrameError::Piece { len: 0 });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
