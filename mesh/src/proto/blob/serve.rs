//! Serving: whose request is answered next.
//!
//! Rules:
//!
//! 1. **Streams.** A stream names one blob and is told what is held of it: at once, and again when
//!    more is, at most once every `tell_interval` and only while it reads. When nothing is held
//!    any more it is told so, and ended.
//! 2. **Turns.** Peers take turns, one piece each, and so do the streams of a peer; the asks of a
//!    stream are answered in their order. So a peer that asks for more, or on more streams, gets
//!    no more than another that asks for enough.
//! 3. **Room.** A piece is read when its stream has less than `max_unsent` unwritten pieces, and
//!    less than `max_reads` reads are under way. So a slow reader holds back nobody else.
//! 4. **Busy.** An ask or a stream beyond the limits, of the peer or in all, is refused at once,
//!    with a time after which to try again.
//! 5. **Honesty.** An ask for what isn't held ends as [`Why::NotHeld`], one that can't be read as
//!    [`Why::Failed`].
//! 6. **Cancelling.** A cancelled ask ends as [`Why::Cancelled`], behind the piece that may be
//!    under way.
//! 7. **Budget.** A peer that used up its `rate` waits; others go on.
//! 8. **Faults.** What no correct requester does ends its stream. One that takes nothing for
//!    `stall_timeout`, or asks nothing for `idle_timeout`, is ended without blame.
//!
//! Memory is bounded by the configuration: streams times (asks and unsent pieces).
//!
//! # The driver
//!
//! It follows the contract of [`Protocol`], one for all blobs of a node, and
//!
//! - gives each stream named [`STREAM`](super::frame::STREAM) that a peer opens a number, says
//!   [`Input::Opened`], reads frames and says [`Input::Frame`], or [`Input::Malformed`] once and
//!   reads no more; at its end, [`Input::Closed`];
//! - holds back the reading of a stream while more than [`MAX_ASKS`] frames for it are to be
//!   written;
//! - writes to each stream in the order of the outputs: a [`Frame::Piece`] stands where its
//!   [`Input::Read`] is said, before whatever is put out after. Says [`Input::Written`] for each
//!   frame of [`Output::Send`] and each piece, once the stream has taken all of it;
//! - reads off the driver's own task, and says [`Input::Read`] exactly once for each
//!   [`Output::Read`]. The encoding is at most [`MAX_PIECE`](super::frame::MAX_PIECE) bytes; what
//!   the store finds damaged is `None`, and the next [`Input::Holding`] lacks it;
//! - counts a fault of [`Output::End`] against the peer.

mod turns;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aether_core::{BlobId, Protocol, PublicKey, Time};

pub use self::types::{Config, Fault, Input, Output, Stats, StreamId};
use super::{
    Ranges, first_piece,
    frame::{Frame, MAX_ASKS, MAX_HELD_RUNS, Why},
};

/// Frames unwritten at which a stream that goes on asking is ended.
const MAX_UNWRITTEN: usize = 4 * MAX_ASKS;

/// See the [module](self).
#[derive(Debug)]
pub struct Serve {
    config: Config,
    streams: BTreeMap<StreamId, Stream>,
    peers: BTreeMap<PublicKey, Peer>,
    /// Peers in the order of their turns.
    turns: VecDeque<PublicKey>,
    blobs: BTreeMap<BlobId, Blob>,
    /// Reads under way: also those of streams that are gone.
    reads: usize,
    asks: usize,
    stats: Stats,
    now: Time,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Stream {
    peer: PublicKey,
    id: Option<BlobId>,
    asks: VecDeque<Ask>,
    last_ask: u32,
    /// The ask that a read is under way for.
    reading: Option<u32>,
    /// Frames and pieces that aren't written.
    unwritten: usize,
    /// When it last took or said something.
    active: Time,
    /// What it was told last, and when.
    told: Option<(u64, Time)>,
}

#[derive(Debug)]
struct Ask {
    number: u32,
    left: Ranges,
    is_cancelled: bool,
}

#[derive(Debug)]
struct Peer {
    /// In the order of their turns.
    streams: VecDeque<StreamId>,
    asks: usize,
    /// Bytes that it may still be sent; below zero for a while after a large piece.
    room: f64,
    at: Time,
}

#[derive(Debug, Default)]
struct Blob {
    streams: BTreeSet<StreamId>,
    /// `None` until the store has answered.
    held: Option<Option<(u64, Ranges)>>,
}

impl Serve {
    /// The serving side of a node that serves nobody yet.
    ///
    /// # Panics
    /// If a bound is zero.
    pub fn new(config: Config) -> Self {
        assert!(config.max_streams > 0 && config.max_peer_streams > 0, "bounds are positive");
        assert!(config.max_reads > 0 && config.max_unsent > 0, "bounds are positive");
        Self {
            config,
            streams: BTreeMap::new(),
            peers: BTreeMap::new(),
            turns: VecDeque::new(),
            blobs: BTreeMap::new(),
            reads: 0,
            asks: 0,
            stats: Stats::default(),
            now: Time::ZERO,
            outputs: VecDeque::new(),
        }
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Asks that wait or are being answered.
    pub fn asks(&self) -> usize {
        self.asks
    }

    /// What was served so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn on_opened(&mut self, stream: StreamId, peer: PublicKey) {
        let of_peer = self.peers.get(&peer).map_or(0, |peer| peer.streams.len());
        let is_full = self.streams.len() >= self.config.max_streams;
        if is_full || of_peer >= self.config.max_peer_streams {
            self.stats.refused += 1;
            let frame = Frame::Busy { ask: 0, retry_after: self.config.retry_after };
            self.outputs.push_back(Output::Send { stream, frame });
            self.outputs.push_back(Output::End { stream, peer, fault: None });
            return;
        }
        let (now, burst) = (self.now, self.config.rate.unwrap_or(0) as f64);
        let known = self.peers.entry(peer).or_insert_with(|| {
            self.turns.push_back(peer);
            Peer { streams: VecDeque::new(), asks: 0, room: burst, at: now }
        });
        known.streams.push_back(stream);
        let fresh = Stream {
            peer,
            id: None,
            asks: VecDeque::new(),
            last_ask: 0,
            reading: None,
            unwritten: 0,
            active: now,
            told: None,
        };
        self.streams.insert(stream, fresh);
    }

    fn on_frame(&mut self, stream: StreamId, frame: Frame) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        if known.unwritten >= MAX_UNWRITTEN {
            self.end(stream, Some(Fault::Flood));
            return;
        }
        known.active = self.now;
        match (frame, known.id) {
            (Frame::Get(id), None) => {
                known.id = Some(id);
                self.on_get(stream, id);
            }
            (Frame::Ask { ask, groups }, Some(id)) => self.on_ask(stream, id, ask, groups),
            (Frame::Cancel { ask }, Some(_)) => self.on_cancel(stream, ask),
            (Frame::Get(_) | Frame::Ask { .. } | Frame::Cancel { .. }, _) => {
                self.end(stream, Some(Fault::Sequence));
            }
            _ => self.end(stream, Some(Fault::Direction)),
        }
    }

    fn on_get(&mut self, stream: StreamId, id: BlobId) {
        let blob = self.blobs.entry(id).or_default();
        blob.streams.insert(stream);
        if blob.streams.len() == 1 {
            self.outputs.push_back(Output::Watch { id });
        } else if blob.held.is_some() {
            self.tell(stream);
        }
    }

    fn on_ask(&mut self, stream: StreamId, id: BlobId, number: u32, groups: Ranges) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        let Some(peer) = self.peers.get_mut(&known.peer) else { return };
        if number <= known.last_ask {
            self.end(stream, Some(Fault::Number));
            return;
        }
        known.last_ask = number;
        if known.asks.len() >= MAX_ASKS {
            self.end(stream, Some(Fault::TooMany));
            return;
        }
        let held = self.blobs.get(&id).and_then(|blob| blob.held.as_ref()?.as_ref());
        if !held.is_some_and(|(_, held)| held.includes(&groups)) {
            self.send(stream, Frame::End { ask: number, why: Why::NotHeld });
        } else if self.asks >= self.config.max_asks || peer.asks >= self.config.max_peer_asks {
            self.stats.refused += 1;
            let retry_after = self.config.retry_after;
            self.send(stream, Frame::Busy { ask: number, retry_after });
        } else {
            known.asks.push_back(Ask { number, left: groups, is_cancelled: false });
            peer.asks += 1;
            self.asks += 1;
        }
    }

    fn on_cancel(&mut self, stream: StreamId, number: u32) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        // It may have been answered meanwhile.
        let Some(at) = known.asks.iter().position(|ask| ask.number == number) else { return };
        if known.reading == Some(number) {
            known.asks[at].is_cancelled = true;
        } else {
            self.remove_ask(stream, number);
            self.send(stream, Frame::End { ask: number, why: Why::Cancelled });
        }
    }

    fn on_holding(&mut self, id: BlobId, held: Option<(u64, Ranges)>) {
        let Some(blob) = self.blobs.get_mut(&id) else { return };
        blob.held = Some(held);
        for stream in blob.streams.clone() {
            self.tell(stream);
        }
    }

    /// Tells a stream what is held, if that is news and its time has come.
    fn tell(&mut self, stream: StreamId) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        let blob = known.id.and_then(|id| self.blobs.get(&id));
        let Some(held) = blob.and_then(|blob| blob.held.as_ref()) else { return };
        let Some((size, groups)) = held else {
            self.send(stream, Frame::NotHeld);
            self.end(stream, None);
            return;
        };
        let count = groups.count();
        let is_due = known.told.is_none_or(|(told, at)| {
            told != count && known.unwritten == 0 && self.now >= at + self.config.tell_interval
        });
        if is_due {
            known.told = Some((count, self.now));
            let groups = groups.clone().longest(MAX_HELD_RUNS);
            let frame = Frame::Held { size: *size, groups };
            self.send(stream, frame);
        }
    }

    fn on_read(&mut self, stream: StreamId, bytes: Option<u64>) {
        self.reads = self.reads.saturating_sub(1);
        let Some(known) = self.streams.get_mut(&stream) else { return };
        let Some(number) = known.reading.take() else { return };
        let ask = known.asks.iter().find(|ask| ask.number == number);
        let (is_cancelled, is_done) =
            ask.map_or((false, false), |ask| (ask.is_cancelled, ask.left.is_empty()));
        if let Some(bytes) = bytes {
            known.unwritten += 1;
            known.active = self.now;
            self.stats.pieces += 1;
            self.stats.bytes += bytes;
            if let Some(peer) = self.peers.get_mut(&known.peer) {
                peer.room -= bytes as f64;
            }
        }
        let end = match bytes {
            None => Some(Why::Failed),
            Some(_) if is_done => None,
            Some(_) if is_cancelled => Some(Why::Cancelled),
            Some(_) => return,
        };
        self.remove_ask(stream, number);
        if let Some(why) = end {
            self.send(stream, Frame::End { ask: number, why });
        }
    }

    fn remove_ask(&mut self, stream: StreamId, number: u32) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        let before = known.asks.len();
        known.asks.retain(|ask| ask.number != number);
        let removed = before - known.asks.len();
        self.asks -= removed;
        if let Some(peer) = self.peers.get_mut(&known.peer) {
            peer.asks -= removed;
        }
    }

    fn send(&mut self, stream: StreamId, frame: Frame) {
        if let Some(known) = self.streams.get_mut(&stream) {
            known.unwritten += 1;
            self.outputs.push_back(Output::Send { stream, frame });
        }
    }

    fn end(&mut self, stream: StreamId, fault: Option<Fault>) {
        if let Some(peer) = self.streams.get(&stream).map(|known| known.peer) {
            self.stats.faults += u64::from(fault.is_some());
            self.outputs.push_back(Output::End { stream, peer, fault });
            self.forget(stream);
        }
    }

    fn forget(&mut self, stream: StreamId) {
        let Some(known) = self.streams.remove(&stream) else { return };
        self.asks -= known.asks.len();
        if let Some(peer) = self.peers.get_mut(&known.peer) {
            peer.asks -= known.asks.len();
            peer.streams.retain(|other| *other != stream);
            if peer.streams.is_empty() {
                self.peers.remove(&known.peer);
                self.turns.retain(|other| *other != known.peer);
            }
        }
        let Some(id) = known.id else { return };
        if let Some(blob) = self.blobs.get_mut(&id) {
            blob.streams.remove(&stream);
            if blob.streams.is_empty() {
                self.blobs.remove(&id);
                self.outputs.push_back(Output::Unwatch { id });
            }
        }
    }

    fn on_timeout(&mut self) {
        let streams: Vec<StreamId> = self.streams.keys().copied().collect();
        for stream in streams {
            let deadline = self.streams.get(&stream).and_then(|known| self.deadline(known));
            if deadline.is_some_and(|deadline| deadline <= self.now) {
                self.end(stream, None);
            } else {
                self.tell(stream);
            }
        }
    }

    /// When a stream is ended if it goes on like this.
    fn deadline(&self, stream: &Stream) -> Option<Time> {
        match (stream.unwritten, stream.asks.is_empty()) {
            (0, false) => None,
            (0, true) => Some(stream.active + self.config.idle_timeout),
            _ => Some(stream.active + self.config.stall_timeout),
        }
    }

    /// When a stream may be told what is new.
    fn news_due(&self, stream: &Stream) -> Option<Time> {
        let blob = self.blobs.get(&stream.id?)?;
        let (_, groups) = blob.held.as_ref()?.as_ref()?;
        let (told, at) = stream.told?;
        let is_new = told != groups.count() && stream.unwritten == 0;
        is_new.then_some(at + self.config.tell_interval)
    }
}

impl Protocol for Serve {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Opened { stream, peer } => self.on_opened(stream, peer),
            Input::Frame { stream, frame } => self.on_frame(stream, frame),
            Input::Malformed { stream, error } => self.end(stream, Some(error.into())),
            Input::Closed { stream } => self.forget(stream),
            Input::Holding { id, held } => self.on_holding(id, held),
            Input::Read { stream, bytes } => self.on_read(stream, bytes),
            Input::Written { stream } => {
                if let Some(known) = self.streams.get_mut(&stream) {
                    known.unwritten = known.unwritten.saturating_sub(1);
                    known.active = self.now;
                }
                self.tell(stream);
            }
            Input::Timeout => self.on_timeout(),
        }
        self.read_more();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let ends = self.streams.values().filter_map(|stream| self.deadline(stream));
        let news = self.streams.values().filter_map(|stream| self.news_due(stream));
        let rate = self.config.rate.unwrap_or(0);
        let waits =
            self.peers.values().filter(|peer| rate > 0 && peer.asks > 0 && peer.room <= 0.0);
        ends.chain(news).chain(waits.map(|peer| peer.next(rate))).min()
    }
}

#[cfg(test)]
mod tests;
