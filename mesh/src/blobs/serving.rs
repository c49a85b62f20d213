//! One stream of a peer that fetches from us.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    framed::{Framed, Happened},
    proto::blob::{
        frame::{Frame, FrameError, MAX_ASKS},
        serve::StreamId,
    },
    streams::Stream,
};

/// Frames that wait to be taken by a stream's task: more than the protocol ever leaves unwritten.
pub(super) const QUEUE: usize = 256;

/// What the driver wants written.
#[derive(Debug)]
pub(super) enum ToStream {
    Frame(Frame),
    /// A piece, by its head and its encoding.
    Piece {
        head: [u8; 9],
        encoding: Bytes,
    },
}

/// What a stream has done.
#[derive(Debug)]
pub(super) enum FromStream {
    Frame(Frame),
    Malformed(FrameError),
    /// So many frames are written.
    Written(usize),
    Closed,
}

/// The head of a piece's frame.
pub(super) fn piece_head(ask: u32, len: usize) -> [u8; 9] {
    let mut head = [0; 9];
    let length = u32::try_from(len + 5).expect("a piece has a bound");
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[4] = 5;
    head[5..].copy_from_slice(&ask.to_be_bytes());
    head
}

/// Runs until the driver has dropped the queue and all is written, or the stream is over.
pub(super) async fn run(
    number: StreamId,
    stream: Stream,
    mut queue: mpsc::Receiver<ToStream>,
    told: mpsc::Sender<(StreamId, FromStream)>,
) {
    let mut framed = Framed::new(Box::new(stream));
    let mut is_reading = true;
    let mut unwritten = 0;
    loop {
        let may_read = is_reading && unwritten <= MAX_ASKS;
        let event = tokio::select! {
            happened = framed.run(may_read) => match happened {
                Happened::Sent(count) => {
                    unwritten -= count;
                    Some(FromStream::Written(count))
                }
                Happened::Closed => Some(FromStream::Closed),
                Happened::Received => None,
            },
            asked = queue.recv() => {
                match asked {
                    None => break,
                    Some(ToStream::Frame(frame)) => framed.push(&frame),
                    Some(ToStream::Piece { head, encoding }) => {
                        framed.push_parts(&head, encoding, 1);
                    }
                }
                unwritten += 1;
                continue;
            }
        };
        let is_over = matches!(event, Some(FromStream::Closed));
        if let Some(event) = event
            && told.send((number, event)).await.is_err()
        {
            return;
        }
        if is_over {
            return;
        }
        while is_reading {
            let event = match framed.next() {
                Ok(None) => break,
                Ok(Some(frame)) => FromStream::Frame(frame),
                Err(error) => {
                    is_reading = false;
                    FromStream::Malformed(error)
                }
            };
            if told.send((number, event)).await.is_err() {
                return;
            }
        }
    }
    framed.finish().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_in_parts_is_the_same_frame() {
        let encoding = Bytes::from_static(b"encoding");
        let mut bytes = Vec::new();
        Frame::Piece { ask: 7, encoding: encoding.clone() }.encode(&mut bytes);
        let parts = [&piece_head(7, encoding.len())[..], &encoding].concat();
        assert_eq!(parts, bytes);
    }
}
