//! Turns: whose piece is read next.
//!
//! Rules 2, 3 and 7 of the [serving side](super).

use std::time::Duration;

use aether_core::{PublicKey, Time};

use super::{Frame, Output, Peer, Serve, Why, first_piece};

impl Serve {
    /// Begins reads for whom it is their turn.
    pub(super) fn read_more(&mut self) {
        let mut passed = 0;
        while self.reads < self.config.max_reads && passed < self.turns.len() {
            let Some(peer) = self.turns.pop_front() else { return };
            self.turns.push_back(peer);
            passed = if self.read_for(&peer) { 0 } else { passed + 1 };
        }
    }

    /// Begins a read for the next stream of a peer that has something to read. False if none has.
    fn read_for(&mut self, peer: &PublicKey) -> bool {
        let (now, rate) = (self.now, self.config.rate);
        let Some(peer) = self.peers.get_mut(peer) else { return false };
        if !peer.has_room(now, rate) {
            return false;
        }
        for _ in 0..peer.streams.len() {
            let Some(stream) = peer.streams.pop_front() else { return false };
            peer.streams.push_back(stream);
            let Some(known) = self.streams.get_mut(&stream) else { continue };
            if known.reading.is_some() || known.unwritten >= self.config.max_unsent {
                continue;
            }
            let (Some(id), Some(ask)) = (known.id, known.asks.front_mut()) else { continue };
            let held = self.blobs.get(&id).and_then(|blob| blob.held.as_ref()?.as_ref());
            let Some(groups) = first_piece(&ask.left) else { continue };
            let size = held.filter(|(_, held)| held.covers(&groups)).map(|(size, _)| *size);
            let number = ask.number;
            let Some(size) = size else {
                // It was held when it was asked for.
                self.remove_ask(stream, number);
                self.send(stream, Frame::End { ask: number, why: Why::NotHeld });
                return true;
            };
            ask.left.remove(groups.clone());
            known.reading = Some(number);
            self.reads += 1;
            self.outputs.push_back(Output::Read { stream, ask: number, id, size, groups });
            return true;
        }
        false
    }
}

impl Peer {
    /// Whether it may be sent something now.
    fn has_room(&mut self, now: Time, rate: Option<u64>) -> bool {
        let Some(rate) = rate else { return true };
        let gained = now.since(self.at).as_secs_f64() * rate as f64;
        (self.room, self.at) = ((self.room + gained).min(rate as f64), now);
        self.room > 0.0
    }

    /// When it may be sent something again.
    pub(super) fn next(&self, rate: u64) -> Time {
        let wait = (1.0 - self.room).max(0.0) / (rate as f64).max(1.0);
        self.at + Duration::from_secs_f64(wait.min(3600.0)) + Duration::from_micros(1)
    }
}
