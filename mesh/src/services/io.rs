//! A session's stream: bytes to frames and back.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proto::service::frame::{Frame, FrameError};

/// Bytes asked of the stream at a time. They are zeroed first, so that many would cost more than
/// the small messages that most sessions carry.
const READ: usize = 8 * 1024;

/// Bytes received before frames are looked for, if more are there.
const ENOUGH: usize = 64 * 1024;

/// Bytes of a buffer that is kept for the next frames.
const KEPT: usize = 64 * 1024;

/// What a session runs on.
pub(super) trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

/// A stream of frames. What is written waits in memory, bounded by the session's own rules.
pub(super) struct Frames {
    pipe: Box<dyn Pipe>,
    received: BytesMut,
    unsent: BytesMut,
    /// Length and weight of each frame in `unsent`, the first one's less what is written of it.
    marks: VecDeque<(usize, usize)>,
    encoded: Vec<u8>,
    is_flushed: bool,
}

/// What the stream has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// Bytes have come: see [`Frames::next`].
    Received,
    /// Frames of this weight are written.
    Sent(usize),
    /// Nothing will come any more.
    Closed,
}

impl Frames {
    pub(super) fn new(pipe: Box<dyn Pipe>) -> Self {
        Self {
            pipe,
            received: BytesMut::new(),
            unsent: BytesMut::new(),
            marks: VecDeque::new(),
            encoded: Vec::new(),
            is_flushed: true,
        }
    }

    /// Queues a frame.
    pub(super) fn push(&mut self, frame: &Frame) {
        self.encoded.clear();
        frame.encode(&mut self.encoded);
        self.unsent.extend_from_slice(&self.encoded);
        self.marks.push_back((self.encoded.len(), frame.weight()));
        self.is_flushed = false;
    }

    /// The next frame of what was received.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        Frame::decode(&mut self.received)
    }

    /// Writes what is queued and, if `is_reading`, reads. Cancelling loses nothing.
    pub(super) async fn run(&mut self, is_reading: bool) -> Happened {
        poll_fn(|cx| self.poll(cx, is_reading)).await
    }

    /// Writes all that is queued, and ends the own direction.
    pub(super) async fn finish(&mut self) {
        while !self.is_flushed {
            if self.run(false).await == Happened::Closed {
                return;
            }
        }
        let _ = poll_fn(|cx| Pin::new(&mut self.pipe).poll_shutdown(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>, is_reading: bool) -> Poll<Happened> {
        match self.poll_write(cx) {
            Ok(0) => {}
            Ok(weight) => return Poll::Ready(Happened::Sent(weight)),
            Err(_) => return Poll::Ready(Happened::Closed),
        }
        if !is_reading {
            return Poll::Pending;
        }
        match ready!(self.poll_read(cx)) {
            Ok(0) | Err(_) => Poll::Ready(Happened::Closed),
            Ok(_) => Poll::Ready(Happened::Received),
        }
    }

    /// The weight of the frames that were written whole.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<usize> {
        let mut weight = 0;
        while !self.unsent.is_empty() {
            match Pin::new(&mut self.pipe).poll_write(cx, &self.unsent) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => weight += self.advance(written),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(weight),
            }
        }
        if !self.is_flushed {
            self.is_flushed = match Pin::new(&mut self.pipe).poll_flush(cx) {
                Poll::Ready(flushed) => flushed.map(|()| true)?,
                Poll::Pending => false,
            };
        }
        Ok(weight)
    }

    fn advance(&mut self, mut written: usize) -> usize {
        self.unsent.advance(written);
        if self.unsent.is_empty() && self.unsent.capacity() > KEPT {
            self.unsent = BytesMut::new();
        }
        let mut weight = 0;
        while let Some((len, of_frame)) = self.marks.front_mut() {
            if *len > written {
                *len -= written;
                break;
            }
            written -= *len;
            weight += *of_frame;
            self.marks.pop_front();
        }
        weight
    }

    /// How many bytes came: 0 at the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; READ];
        let mut received = 0;
        while received < ENOUGH {
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.pipe).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if read.filled().is_empty() => break,
                Poll::Ready(Ok(())) => self.received.extend_from_slice(read.filled()),
                // What came before is handled first; the next read meets the same end.
                Poll::Ready(Err(_)) | Poll::Pending if received > 0 => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.received.is_empty() {
                        // An idle session holds no buffer.
                        self.received = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
            received += read.filled().len();
        }
        Poll::Ready(Ok(received))
    }
}

#[cfg(test)]
mod tests;
