//! Links: one stream between two nodes, for all spaces that both have.
//!
//! Frames, each behind its length in four bytes, big endian:
//!
//! | first byte | rest | meaning |
//! |---|---|---|
//! | 0 | tag (32) | I have a space, and begin a session in it |
//! | 1 | the tag's first 8 bytes | that session of mine has ended |
//! | 2 | the tag's first 8 bytes, message | a [message](crate::proto::sync::Message) of it |
//!
//! A tag is BLAKE3, context `aether 2026-11 space tag v1`, of the space's id, the sender's key and
//! the receiver's. Who doesn't know a space's id can't make one, and learns nothing from one; and
//! one that was made for a node is worth nothing to another. So strangers to an open space, which
//! its id lets everybody into, aren't told of it by its members' nodes.

use aether_core::{Domain, PublicKey};
use aether_mesh::{PeerId, Stream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::{
    bytes::{Bytes, BytesMut},
    codec::{Framed, LengthDelimitedCodec},
};

use crate::proto::{id::SpaceId, sync::MAX_MESSAGE};

const TAG: Domain = Domain::new("aether 2026-11 space tag v1");

/// Longest frame.
const MAX_FRAME: usize = 1 + 8 + MAX_MESSAGE;

/// Frames that wait to be written.
const MAX_UNSENT: usize = 4096;

/// What one end says to the other of a space.
pub(crate) type Tag = [u8; 32];

/// The front of a tag: what later frames name a session by.
pub(crate) type Front = [u8; 8];

pub(crate) fn tag(space: &SpaceId, from: &PublicKey, to: &PublicKey) -> Tag {
    let mut hasher = TAG.hasher();
    hasher.update(space.as_hash().as_bytes()).update(from.as_bytes()).update(to.as_bytes());
    *hasher.finish().as_bytes()
}

pub(super) fn front(tag: &Tag) -> Front {
    *tag.first_chunk().expect("a tag has 32 bytes")
}

/// What travels on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Offer(Tag),
    End(Front),
    Message(Front, Bytes),
}

impl Frame {
    fn encode(&self) -> Bytes {
        match self {
            Self::Offer(tag) => [&[0][..], tag].concat().into(),
            Self::End(front) => [&[1][..], front].concat().into(),
            Self::Message(front, bytes) => [&[2][..], front, bytes].concat().into(),
        }
    }

    fn decode(bytes: BytesMut) -> Option<Self> {
        let bytes = bytes.freeze();
        let (kind, rest) = bytes.split_first()?;
        match kind {
            0 => Some(Self::Offer(rest.try_into().ok()?)),
            1 => Some(Self::End(rest.try_into().ok()?)),
            2 => Some(Self::Message(*rest.first_chunk()?, bytes.slice(9..))),
            _ => None,
        }
    }
}

/// What a link has done.
#[derive(Debug)]
pub(crate) enum Event {
    Up { peer: PeerId, number: u64, frames: mpsc::Sender<Frame> },
    Frame { peer: PeerId, number: u64, frame: Frame },
    Down { peer: PeerId, number: u64 },
}

/// Carries frames both ways until one end is gone: the driver, by dropping its sender, or the peer.
pub(super) async fn run(stream: Stream, number: u64, events: mpsc::Sender<Event>) {
    let peer = stream.peer();
    let codec = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_codec();
    let (mut sink, mut source) = Framed::new(stream, codec).split();
    let (frames, mut unsent) = mpsc::channel::<Frame>(MAX_UNSENT);
    if events.send(Event::Up { peer, number, frames }).await.is_err() {
        return;
    }
    let writing = async {
        while let Some(frame) = unsent.recv().await {
            sink.feed(frame.encode()).await?;
            while let Ok(frame) = unsent.try_recv() {
                sink.feed(frame.encode()).await?;
            }
            sink.flush().await?;
        }
        sink.close().await
    };
    let reading = async {
        while let Some(Ok(bytes)) = source.next().await {
            let Some(frame) = Frame::decode(bytes) else { return };
            // While the driver is busy nothing is read, and the peer waits.
            if events.send(Event::Frame { peer, number, frame }).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        result = writing => if let Err(error) = result {
            tracing::debug!(%peer, %error, "a link of spaces broke");
        },
        () = reading => {}
    }
    let _ = events.send(Event::Down { peer, number }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written() {
        let frames = [
            Frame::Offer([7; 32]),
            Frame::End([8; 8]),
            Frame::Message([9; 8], Bytes::from_static(b"hello")),
        ];
        for frame in frames {
            assert_eq!(Frame::decode(frame.encode()[..].into()), Some(frame));
        }
        for torn in [&[][..], &[0, 1], &[1], &[2, 1, 2], &[3]] {
            assert_eq!(Frame::decode(torn.into()), None);
        }
    }

    #[test]
    fn a_tag_is_of_one_space_and_one_direction() {
        let keys = [1, 2].map(|byte| PublicKey::from_bytes([byte; 32]));
        let space = |byte| SpaceId::from_hash(aether_core::Hash::from_bytes([byte; 32]));
        let one = tag(&space(1), &keys[0], &keys[1]);
        assert_ne!(one, tag(&space(1), &keys[1], &keys[0]));
        assert_ne!(one, tag(&space(2), &keys[0], &keys[1]));
    }
}
