//! One stream to a node that we fetch from: asks go out, pieces come in and are verified.

use std::{collections::VecDeque, ops::Range, time::Duration};

use aether_core::{BlobId, PublicKey};
use bytes::Bytes;
use libp2p::StreamProtocol;
use tokio::sync::mpsc;

use super::store::{BeginError, BlobStore, Download, ProveError, WriteError};
use crate::{
    framed::{Framed, Happened, Pipe},
    identity::peer_id,
    network::Command,
    proto::blob::{
        Ranges,
        fetch::{Blame, Input},
        first_piece,
        frame::{Frame, Why},
        last_group,
    },
    streams,
};

/// Pieces that are read ahead of the verification.
const AHEAD: usize = 4;

/// Asks and cancellations that wait to be taken by a stream's task.
pub(super) const QUEUE: usize = 64;

/// What a download wants of a provider.
#[derive(Debug)]
pub(super) enum ToProvider {
    Ask { ask: u32, size: u64, groups: Ranges },
    Cancel { ask: u32 },
}

/// What a provider's stream is made of.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) id: BlobId,
    pub(super) store: BlobStore,
    pub(super) network: mpsc::Sender<Command>,
    pub(super) protocol: StreamProtocol,
    /// For each stream, so that what a closed one still says is told apart.
    pub(super) told: mpsc::Sender<(u64, Input)>,
}

/// An ask that isn't finished.
#[derive(Debug)]
struct Ask {
    number: u32,
    size: u64,
    left: Ranges,
    is_cancelled: bool,
}

/// A piece that isn't verified.
#[derive(Debug)]
struct Piece {
    ask: u32,
    size: u64,
    groups: Range<u64>,
    encoding: Bytes,
}

struct Provider {
    parts: Parts,
    peer: PublicKey,
    number: u64,
    framed: Framed,
    asks: VecDeque<Ask>,
    pieces: VecDeque<Piece>,
    /// What is to be told once so many pieces are verified: those that came before it.
    events: VecDeque<(u64, Input)>,
    /// Pieces that came to be verified, and those that were.
    received: u64,
    verified: u64,
    /// Under the size that this provider claims.
    download: Option<Download>,
    is_over: bool,
}

/// Opens the stream, and runs until the download drops the queue or the stream is over.
pub(super) async fn run(
    parts: Parts,
    peer: PublicKey,
    number: u64,
    queue: mpsc::Receiver<ToProvider>,
) {
    let opened = streams::open(&parts.network, peer_id(&peer), parts.protocol.clone(), "blobs");
    let stream = match opened.await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(peer = %peer_id(&peer), %error, "a provider isn't reached");
            let _ = parts.told.send((number, Input::Lost { peer })).await;
            return;
        }
    };
    run_on(Box::new(stream), parts, peer, number, queue).await;
}

/// Runs on an open stream.
async fn run_on(
    pipe: Box<dyn Pipe>,
    parts: Parts,
    peer: PublicKey,
    number: u64,
    queue: mpsc::Receiver<ToProvider>,
) {
    let mut framed = Framed::new(pipe);
    framed.push(&Frame::Get(parts.id));
    let provider = Provider {
        parts,
        peer,
        number,
        framed,
        asks: VecDeque::new(),
        pieces: VecDeque::new(),
        events: VecDeque::new(),
        received: 0,
        verified: 0,
        download: None,
        is_over: false,
    };
    provider.run(queue).await;
}

type Verified = (Option<Download>, Result<(), Verdict>);

/// What is wrong with a piece, or with us.
enum Verdict {
    Blame(Blame),
    Store(String),
}

impl Provider {
    async fn run(mut self, mut queue: mpsc::Receiver<ToProvider>) {
        let mut verifying: Option<(Piece, tokio::task::JoinHandle<Verified>)> = None;
        loop {
            if verifying.is_none()
                && let Some(piece) = self.pieces.pop_front()
            {
                verifying = Some(self.verify(piece));
            }
            let may_read = !self.is_over && self.pieces.len() < AHEAD;
            tokio::select! {
                happened = self.framed.run(may_read), if !self.is_over => {
                    self.on_stream(happened);
                }
                asked = queue.recv() => match asked {
                    None => return,
                    Some(asked) => self.on_asked(asked),
                },
                verified = wait(&mut verifying) => {
                    let Some((piece, verified)) = verified else { return };
                    if !self.on_verified(&piece, verified).await {
                        return;
                    }
                }
            }
            if !self.tell().await {
                return;
            }
        }
    }

    /// Tells what doesn't wait for a piece. False if nobody listens, or the stream is over.
    async fn tell(&mut self) -> bool {
        while self.events.front().is_some_and(|(before, _)| *before <= self.verified) {
            let Some((_, event)) = self.events.pop_front() else { break };
            let is_last = matches!(event, Input::Lost { .. } | Input::Wrong { .. });
            if self.parts.told.send((self.number, event)).await.is_err() || is_last {
                return false;
            }
        }
        true
    }

    /// Tells this behind what is to be verified.
    fn note(&mut self, event: Input) {
        self.events.push_back((self.received, event));
    }

    fn wrong(&mut self, fault: Blame) {
        self.is_over = true;
        self.note(Input::Wrong { peer: self.peer, fault });
    }

    fn on_asked(&mut self, asked: ToProvider) {
        match asked {
            ToProvider::Ask { ask, size, groups } => {
                self.framed.push(&Frame::Ask { ask, groups: groups.clone() });
                self.asks.push_back(Ask { number: ask, size, left: groups, is_cancelled: false });
            }
            ToProvider::Cancel { ask } => {
                self.framed.push(&Frame::Cancel { ask });
                let known = self.asks.iter_mut().find(|known| known.number == ask);
                if let Some(known) = known {
                    known.is_cancelled = true;
                }
            }
        }
    }

    fn on_stream(&mut self, happened: Happened) {
        match happened {
            Happened::Sent(_) => {}
            Happened::Closed => {
                self.is_over = true;
                self.note(Input::Lost { peer: self.peer });
            }
            Happened::Received => {
                while !self.is_over {
                    match self.framed.next() {
                        Ok(None) => return,
                        Ok(Some(frame)) => self.on_frame(frame),
                        Err(_) => self.wrong(Blame::Protocol),
                    }
                }
            }
        }
    }

    fn on_frame(&mut self, frame: Frame) {
        let peer = self.peer;
        match frame {
            Frame::Held { size, groups } => self.note(Input::Held { peer, size, groups }),
            Frame::NotHeld => self.note(Input::NotHeld { peer }),
            Frame::Piece { ask, encoding } => self.on_piece(ask, encoding),
            Frame::End { ask, why } => self.on_end(ask, why),
            Frame::Busy { ask, retry_after } => self.on_busy(ask, retry_after),
            Frame::Get(_) | Frame::Ask { .. } | Frame::Cancel { .. } => {
                self.wrong(Blame::Protocol);
            }
        }
    }

    fn on_piece(&mut self, ask: u32, encoding: Bytes) {
        let first = self.asks.front_mut().filter(|first| first.number == ask);
        let Some((first, groups)) =
            first.and_then(|first| first_piece(&first.left).map(|piece| (first, piece)))
        else {
            return self.wrong(Blame::Protocol);
        };
        first.left.remove(groups.clone());
        let (size, is_cancelled, is_done) = (first.size, first.is_cancelled, first.left.is_empty());
        if is_done {
            self.asks.pop_front();
        }
        if !is_cancelled {
            self.received += 1;
            self.pieces.push_back(Piece { ask, size, groups, encoding });
        }
    }

    fn on_end(&mut self, ask: u32, why: Why) {
        let Some(at) = self.asks.iter().position(|known| known.number == ask) else {
            return self.wrong(Blame::Protocol);
        };
        let ended = self.asks.remove(at);
        if ended.is_some_and(|ended| !ended.is_cancelled) {
            self.note(Input::Ended { peer: self.peer, ask, why });
        }
    }

    fn on_busy(&mut self, ask: u32, retry_after: Duration) {
        let known = self.asks.iter().position(|known| known.number == ask);
        let is_cancelled =
            known.and_then(|at| self.asks.remove(at)).is_some_and(|known| known.is_cancelled);
        if ask != 0 && known.is_none() {
            return self.wrong(Blame::Protocol);
        }
        if !is_cancelled {
            self.note(Input::Busy { peer: self.peer, ask, retry_after });
        }
    }

    fn verify(&mut self, piece: Piece) -> (Piece, tokio::task::JoinHandle<Verified>) {
        let (store, id, download) = (self.parts.store.clone(), self.parts.id, self.download.take());
        let (size, groups, encoding) = (piece.size, piece.groups.clone(), piece.encoding.clone());
        let verifying = tokio::task::spawn_blocking(move || {
            let mut download = download;
            let verdict = write(&store, id, size, groups, &encoding, &mut download);
            (download, verdict)
        });
        (piece, verifying)
    }

    /// False if nobody listens, or nothing more is to be verified.
    async fn on_verified(&mut self, piece: &Piece, (download, verdict): Verified) -> bool {
        self.download = download;
        self.verified += 1;
        let peer = self.peer;
        let event = match verdict {
            Ok(()) => Input::Verified { peer, ask: piece.ask, groups: piece.groups.clone() },
            Err(Verdict::Blame(fault)) => Input::Wrong { peer, fault },
            Err(Verdict::Store(error)) => {
                tracing::error!(blob = %self.parts.id, error, "a blob can't be written");
                Input::StoreFailed
            }
        };
        let goes_on = matches!(event, Input::Verified { .. });
        self.parts.told.send((self.number, event)).await.is_ok() && goes_on
    }
}

/// What was verified, if something is being verified. A panic in the store ends the stream.
async fn wait(
    verifying: &mut Option<(Piece, tokio::task::JoinHandle<Verified>)>,
) -> Option<(Piece, Verified)> {
    let Some((_, task)) = verifying else { return std::future::pending().await };
    let verified = task.await;
    let (piece, _) = verifying.take()?;
    verified.ok().map(|verified| (piece, verified))
}

/// Verifies and stores a piece under a claimed size.
fn write(
    store: &BlobStore,
    id: BlobId,
    size: u64,
    groups: Range<u64>,
    encoding: &[u8],
    download: &mut Option<Download>,
) -> Result<(), Verdict> {
    if download.is_none() {
        let last = last_group(size);
        if groups == (last..last + 1) {
            store.prove(id, size, encoding).map_err(|error| match error {
                ProveError::Wrong { .. } => Verdict::Blame(Blame::WrongBytes),
                ProveError::Write(error) => judge(&error),
            })?;
        }
        let begun = store.begin(id, size).map_err(|error| match error {
            BeginError::OtherSize { proved: true, .. } | BeginError::TooLarge { .. } => {
                Verdict::Blame(Blame::FalseSize)
            }
            error => Verdict::Store(error.to_string()),
        })?;
        *download = Some(begun);
        if groups == (last..last + 1) {
            return Ok(());
        }
    }
    let Some(download) = download else { return Ok(()) };
    let mut writer = download.writer(groups).map_err(|error| Verdict::Store(error.to_string()))?;
    let written = writer.push(encoding).and_then(|()| writer.finish());
    written.map_err(|error| judge(&error))
}

fn judge(error: &WriteError) -> Verdict {
    match error {
        WriteError::Wrong { .. } | WriteError::TooLong { .. } | WriteError::TooShort => {
            Verdict::Blame(Blame::WrongBytes)
        }
        WriteError::Superseded => Verdict::Blame(Blame::FalseSize),
        WriteError::Quota(error) => Verdict::Store(error.to_string()),
        WriteError::File(error) => Verdict::Store(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
