//! A request's body for those that read and block.

use std::{
    future::Future,
    io::{self, Read},
};

use axum::body::BodyDataStream;
use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use tokio::sync::mpsc;

/// Reads a body as it comes, from a thread that may block.
pub(in crate::api) struct BodyReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl BodyReader {
    /// The reader, and what feeds it.
    pub(in crate::api) fn new(
        body: &mut BodyDataStream,
    ) -> (Self, impl Future<Output = ()> + use<'_>) {
        let (feed, pieces) = mpsc::channel(4);
        let feeding = async move {
            while let Some(piece) = body.next().await {
                if feed.send(piece.map_err(io::Error::other)).await.is_err() {
                    return;
                }
            }
        };
        (Self { pieces, piece: Bytes::new() }, feeding)
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let len = self.piece.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.piece[..len]);
        self.piece.advance(len);
        Ok(len)
    }
}
