//! A stream of frames: bytes to frames and back.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes asked of a stream first. They are zeroed before, so that many would cost more than the
/// small messages that most streams carry.
const READ: usize = 1024;

/// Bytes asked for at a time when there are more.
const ROOM: usize = 16 * 1024;

/// Bytes received before frames are looked for, if more are there.
const ENOUGH: usize = 64 * 1024;

/// How long what is queued may take to be written when a stream is left.
const LINGER: Duration = Duration::from_secs(5);

/// Small frames are written together up to so many bytes.
const TOGETHER: usize = 64 * 1024;

/// What frames travel on.
pub(crate) trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

/// What travels.
pub(crate) trait Frame: Sized {
    /// Why bytes are none.
    type Error;

    /// Appends the frame's bytes.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes the next whole frame from the front; `None` if more bytes are needed.
    fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, Self::Error>;

    /// What it counts for until it is written.
    fn weight(&self) -> usize;
}

/// Both directions of a stream. What is to be written waits in memory, bounded by the rules of
/// whoever pushes.
pub(crate) struct Framed {
    pipe: Box<dyn Pipe>,
    received: BytesMut,
    /// Written first to last; what is small is gathered in `gathered`, behind all of these.
    unsent: VecDeque<Bytes>,
    gathered: BytesMut,
    /// Length and weight of each frame that isn't written, the first one's less what is.
    marks: VecDeque<(usize, usize)>,
    encoded: Vec<u8>,
    is_flushed: bool,
    /// Whether what was received may hold a whole frame.
    has_more: bool,
}

/// What a stream has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// Bytes have come, or some are left: see [`Framed::next`].
    Received,
    /// Frames of this weight are written.
    Sent(usize),
    /// Nothing will come any more.
    Closed,
}

impl Framed {
    pub(crate) fn new(pipe: Box<dyn Pipe>) -> Self {
        Self {
            pipe,
            received: BytesMut::new(),
            unsent: VecDeque::new(),
            gathered: BytesMut::new(),
            marks: VecDeque::new(),
            encoded: Vec::new(),
            is_flushed: true,
            has_more: false,
        }
    }

    /// Queues a frame.
    pub(crate) fn push<F: Frame>(&mut self, frame: &F) {
        self.encoded.clear();
        frame.encode(&mut self.encoded);
        if self.gathered.len() + self.encoded.len() > TOGETHER {
            self.gather();
        }
        self.gathered.extend_from_slice(&self.encoded);
        self.marks.push_back((self.encoded.len(), frame.weight()));
        self.is_flushed = false;
    }

    /// Queues the head and the body of a frame, of this weight; the body isn't copied.
    pub(crate) fn push_parts(&mut self, head: &[u8], body: Bytes, weight: usize) {
        self.marks.push_back((head.len() + body.len(), weight));
        self.gathered.extend_from_slice(head);
        self.gather();
        self.unsent.push_back(body);
        self.is_flushed = false;
    }

    /// The next frame of what was received. Whoever leaves some is told of them again, so that
    /// answers to the first can be on their way while the others are looked at.
    pub(crate) fn next<F: Frame>(&mut self) -> Result<Option<F>, F::Error> {
        let frame = F::decode(&mut self.received);
        self.has_more = matches!(frame, Ok(Some(_)));
        frame
    }

    /// Writes what is queued and, if `is_reading`, reads. Cancelling loses nothing.
    pub(crate) async fn run(&mut self, is_reading: bool) -> Happened {
        poll_fn(|cx| self.poll(cx, is_reading)).await
    }

    /// Writes all that is queued, and ends the own direction. Gives up on who doesn't read.
    pub(crate) async fn finish(&mut self) {
        if tokio::time::timeout(LINGER, self.write_all()).await.is_err() {
            tracing::debug!("a stream was left before all was written: the other end doesn't read");
        }
    }

    async fn write_all(&mut self) {
        while !self.is_flushed {
            if poll_fn(|cx| self.poll_finish(cx)).await == Happened::Closed {
                return;
            }
        }
        let _ = poll_fn(|cx| Pin::new(&mut self.pipe).poll_shutdown(cx)).await;
    }

    fn gather(&mut self) {
        if !self.gathered.is_empty() {
            self.unsent.push_back(self.gathered.split().freeze());
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        match self.poll_write(cx) {
            Err(_) => Poll::Ready(Happened::Closed),
            Ok(weight) if weight > 0 || self.is_flushed => Poll::Ready(Happened::Sent(weight)),
            Ok(_) => Poll::Pending,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, is_reading: bool) -> Poll<Happened> {
        match self.poll_write(cx) {
            Ok(0) => {}
            Ok(weight) => return Poll::Ready(Happened::Sent(weight)),
            Err(_) => return Poll::Ready(Happened::Closed),
        }
        if !is_reading {
            return Poll::Pending;
        }
        if self.has_more {
            return Poll::Ready(Happened::Received);
        }
        match ready!(self.poll_read(cx)) {
            Ok(0) | Err(_) => Poll::Ready(Happened::Closed),
            Ok(_) => Poll::Ready(Happened::Received),
        }
    }

    /// The weight of the frames that were written whole.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<usize> {
        let mut weight = 0;
        loop {
            if self.unsent.is_empty() {
                self.gather();
            }
            let Some(front) = self.unsent.front_mut() else { break };
            if front.is_empty() {
                self.unsent.pop_front();
                continue;
            }
            match Pin::new(&mut self.pipe).poll_write(cx, front) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    front.advance(written);
                    weight += self.count(written);
                }
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

    fn count(&mut self, mut written: usize) -> usize {
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
        let mut received = 0;
        while received < ENOUGH {
            let read = match self.received.capacity() - self.received.len() >= ROOM {
                true => self.poll_read_in_place(cx),
                false => self.poll_read_aside(cx),
            };
            match read {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(read)) => received += read,
                // What came before is handled first; the next read meets the same end.
                Poll::Ready(Err(_)) | Poll::Pending if received > 0 => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.received.is_empty() {
                        // An idle stream holds no buffer.
                        self.received = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(received))
    }

    /// Reads where the bytes are to be. There is room once many have come, and while a large frame
    /// does: whoever decodes has reserved it.
    fn poll_read_in_place(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let len = self.received.len();
        self.received.resize(len + ROOM, 0);
        let mut read = ReadBuf::new(&mut self.received[len..]);
        let polled = Pin::new(&mut self.pipe).poll_read(cx, &mut read);
        let filled = read.filled().len();
        self.received.truncate(len + filled);
        polled.map_ok(|()| filled)
    }

    fn poll_read_aside(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; READ];
        let mut read = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.pipe).poll_read(cx, &mut read))?;
        self.received.extend_from_slice(read.filled());
        if read.remaining() == 0 {
            self.received.reserve(ROOM);
        }
        Poll::Ready(Ok(read.filled().len()))
    }
}

#[cfg(test)]
mod tests;
