//! What a flooder says on a stream.

use std::time::Duration;

use aether_mesh::proto::{
    blob::{self, BlobId},
    service::frame::{self as service, Payload, Request},
};

/// What both ends of multistream-select 1.0 say first.
pub(super) const GREETING: &[u8] = b"\x13/multistream/1.0.0\n";

/// Groups of a blob: 16 KiB each.
const GROUP: u64 = 16 * 1024;

/// Most groups in one ask for parts of a blob, and most asks that may be unanswered.
const ASK: (u64, u32) = (1024, 16);

/// What is said on a stream.
pub(super) struct Speech {
    /// Said first.
    pub(super) opening: Vec<u8>,
    /// What the other end says if it agrees.
    pub(super) agreed: Vec<u8>,
    /// What is said then, bit by bit.
    pub(super) more: Box<dyn FnMut() -> Option<Vec<u8>> + Send>,
    /// Whether anything more is read.
    pub(super) is_reading: bool,
}

/// A protocol is agreed on, and then nothing is said.
pub(super) fn left(protocol: &str) -> Speech {
    let opening = [GREETING, &line(protocol)].concat();
    Speech { agreed: opening.clone(), opening, more: Box::new(|| None), is_reading: true }
}

/// No protocol is ever agreed on: a name is announced, as long as names may be, and lacks its end.
pub(super) fn undecided() -> Speech {
    let name = [&[0xff, 0x7f][..], b"/", &[b'x'; 16_381]].concat();
    let opening = [GREETING, &name].concat();
    Speech { opening, agreed: GREETING.to_vec(), more: Box::new(|| None), is_reading: true }
}

/// A frame is announced, `len` bytes long, of a kind that is, and lacks its last byte.
pub(super) fn unfinished(protocol: &str, len: usize) -> Speech {
    let announced = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    let mut left = Some([&announced[..], &vec![1; len - 1]].concat());
    Speech { more: Box::new(move || left.take()), ..left_unread(protocol) }
}

/// Calls of a service whose answers nobody reads, until the other end must have had enough of
/// them; and then, on and on, frames of a kind that isn't known.
pub(super) fn unread_calls(protocol: &str) -> Speech {
    /// What answers to half of it make is more than is kept for any stream.
    const CALLS: u64 = 16_384;
    const UNKNOWN: u8 = 99;
    let mut number = 0;
    let more = move || {
        let mut bytes = Vec::new();
        while bytes.len() < service::MAX_FRAME {
            if number < CALLS {
                number += 1;
                call(number, "nobody", 0).encode(&mut bytes);
            } else {
                let len = u32::try_from(service::MAX_FRAME).unwrap_or(u32::MAX);
                bytes.extend_from_slice(&len.to_be_bytes());
                bytes.push(UNKNOWN);
                bytes.resize(bytes.len() + service::MAX_FRAME - 1, 0);
            }
        }
        Some(bytes)
    };
    Speech { more: Box::new(more), ..left_unread(protocol) }
}

/// Calls of a service, on and on, whose bodies lack their ends.
pub(super) fn half_calls(protocol: &str, service: &'static str) -> Speech {
    /// What may be sent before it is granted.
    const FREE: usize = 32 * 1024;
    let mut number = 0;
    let more = move || {
        number += 1;
        let mut bytes = Vec::new();
        call(number, service, FREE + 1).encode(&mut bytes);
        for _ in 0..FREE / service::MAX_CHUNK {
            let chunk = Payload::Chunk(vec![7; service::MAX_CHUNK].into());
            service::Frame::new(number, chunk).encode(&mut bytes);
        }
        Some(bytes)
    };
    Speech { more: Box::new(more), is_reading: true, ..left(protocol) }
}

fn call(number: u64, service: &str, len: usize) -> service::Frame {
    let request = Request {
        service: service.into(),
        endpoint: "count".into(),
        remaining: Duration::from_secs(3600),
        idempotent: true,
        streaming: false,
        trace: None,
        length: u32::try_from(len).unwrap_or(u32::MAX),
    };
    service::Frame::new(number, Payload::Request(request))
}

/// All of a blob is asked for, as often as one may, and nothing of it read.
pub(super) fn unread_blob(protocol: &str, (id, size): (BlobId, u64)) -> Speech {
    let mut bytes = Vec::new();
    blob::frame::Frame::Get(id).encode(&mut bytes);
    for ask in 1..=ASK.1 {
        let groups = (0..size.div_ceil(GROUP).min(ASK.0)).into();
        blob::frame::Frame::Ask { ask, groups }.encode(&mut bytes);
    }
    let mut left = Some(bytes);
    Speech { more: Box::new(move || left.take()), ..left_unread(protocol) }
}

fn left_unread(protocol: &str) -> Speech {
    Speech { is_reading: false, ..left(protocol) }
}

/// A protocol's name as multistream-select says it: its length, as a varint, itself, and the end
/// of the line.
fn line(protocol: &str) -> Vec<u8> {
    let mut line = Vec::new();
    let mut len = protocol.len() + 1;
    while len > 0x7f {
        line.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    line.push(len as u8);
    line.extend_from_slice(protocol.as_bytes());
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_length_as_a_varint() {
        assert_eq!(line("/multistream/1.0.0"), GREETING);
        let long = line(&"x".repeat(299));
        assert_eq!((long.len(), &long[..3]), (302, &[0xac, 0x02, b'x'][..]));
    }

    #[test]
    fn what_is_never_finished_lacks_one_byte() {
        let mut speech = unfinished("/x", 64);
        let said = (speech.more)().unwrap();
        assert_eq!((said.len(), &said[..4]), (4 + 63, &[0, 0, 0, 64][..]));
        assert!((speech.more)().is_none());
        let speech = undecided();
        let name = &speech.opening[GREETING.len()..];
        assert_eq!(name.len(), 2 + 0x3fff - 1);
    }

    #[test]
    fn calls_are_what_a_server_reads() {
        let mut speech = half_calls("/x", "primes");
        for number in 1..3 {
            let mut buffer = (speech.more)().unwrap().as_slice().into();
            let mut pieces = 0;
            while let Some(frame) = service::Frame::decode(&mut buffer).unwrap() {
                assert_eq!(frame.call, number);
                if let Payload::Chunk(piece) = frame.payload {
                    pieces += piece.len();
                }
            }
            assert_eq!((pieces, buffer.len()), (32 * 1024, 0));
        }
    }
}
