//! What travels between hosts, and what stands for a blob's content.

use aether_core::BlobId;
use aether_mesh::proto::blob::{GROUP, frame::Frame, groups_of, last_group};
use aether_sim::Draw;
use bytes::{Bytes, BytesMut};

/// Bytes that stand for a group: far less than a real one, and bandwidth is drawn to fit.
const CONTENT: usize = 64;

/// The one blob of a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blob {
    pub(crate) size: u64,
}

impl Blob {
    pub(crate) fn draw(draw: &mut Draw) -> Self {
        let groups = if draw.chance(0.3) { draw.number(1..=8) } else { draw.number(9..=2500) };
        let size = groups * GROUP - draw.number(0..=GROUP - 1);
        Self { size: if draw.chance(0.03) { 0 } else { size } }
    }

    pub(crate) fn id(self) -> BlobId {
        BlobId::from_bytes([9; 32])
    }

    pub(crate) fn groups(self) -> u64 {
        groups_of(self.size)
    }

    /// What stands for the encoding of these groups.
    pub(crate) fn encode(self, groups: std::ops::Range<u64>) -> Bytes {
        let content = |group: u64| group.to_be_bytes().repeat(CONTENT / 8);
        groups.flat_map(content).collect::<Vec<u8>>().into()
    }

    /// Whether these bytes are those groups, under a claimed size. As in a real tree, groups that
    /// aren't the last verify under a false size too, and the last one doesn't.
    pub(crate) fn verifies(self, bytes: &[u8], groups: std::ops::Range<u64>, size: u64) -> bool {
        let is_last = |group: u64| group == last_group(size) || group >= last_group(self.size);
        let mut claimed = groups.clone().filter(|group| is_last(*group));
        *bytes == self.encode(groups) && (size == self.size || claimed.next().is_none())
    }
}

/// What travels between hosts. A stream is known by who opened it and a number.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    /// From the requester.
    Request(u64, Bytes),
    /// From the provider.
    Reply(u64, Bytes),
    /// The requester closes the stream.
    RequesterCloses(u64),
    /// The provider closes it.
    ProviderCloses(u64),
}

impl Packet {
    pub(crate) fn request(number: u64, frame: &Frame) -> Self {
        Self::Request(number, frame_bytes(frame))
    }

    pub(crate) fn reply(number: u64, frame: &Frame) -> Self {
        Self::Reply(number, frame_bytes(frame))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, number, bytes): (u8, _, &[u8]) = match self {
            Self::Request(number, bytes) => (0, number, bytes),
            Self::Reply(number, bytes) => (1, number, bytes),
            Self::RequesterCloses(number) => (2, number, &[]),
            Self::ProviderCloses(number) => (3, number, &[]),
        };
        [&[kind][..], &number.to_be_bytes(), bytes].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (number, bytes) = (u64::from_be_bytes(*number), Bytes::copy_from_slice(rest));
        Some(match kind {
            0 => Self::Request(number, bytes),
            1 => Self::Reply(number, bytes),
            2 => Self::RequesterCloses(number),
            _ => Self::ProviderCloses(number),
        })
    }
}

fn frame_bytes(frame: &Frame) -> Bytes {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes.into()
}

/// The frame that bytes are.
pub(crate) fn frame(bytes: &[u8]) -> Option<Frame> {
    Frame::decode(&mut BytesMut::from(bytes)).ok()?
}
