//! What a peer sends. See rules 1, 3 and 7 of the [replica](super::super).

use std::{collections::BTreeMap, time::Duration};

use aether_core::{PublicKey, Time};

use super::Sender;
use crate::proto::{
    entry::Header,
    feed::{Evidence, Tip},
    id::FeedId,
    replica::{
        Replica,
        intake::Broken,
        types::{Fault, Intake, Output},
    },
    rows::Base,
};

/// How many changes of lanes of one feed a peer may bring about in a minute.
const LANE_CHANGES: u32 = 16;
const MINUTE: Duration = Duration::from_secs(60);

/// How often each peer changed lanes of a feed, and since when that is counted. Some 120 bytes for
/// each pair of which that was so in the last minute.
#[derive(Clone, Debug, Default)]
pub(in crate::proto::replica) struct Changes(BTreeMap<(PublicKey, FeedId), (Time, u32)>);

impl Changes {
    fn count(&mut self, now: Time, peer: PublicKey, feed: FeedId) {
        self.0.retain(|_, (since, _)| now.since(*since) < MINUTE);
        let (_, count) = self.0.entry((peer, feed)).or_insert((now, 0));
        *count += 1;
    }

    /// Whether a peer did it so often that it may not do it again.
    fn is_spent(&self, now: Time, peer: PublicKey, feed: FeedId) -> bool {
        let found = self.0.get(&(peer, feed));
        found.is_some_and(|(since, count)| now.since(*since) < MINUTE && *count >= LANE_CHANGES)
    }
}

impl<B: Base> Replica<B> {
    pub(super) fn on_entry(
        &mut self,
        now: Time,
        from: PublicKey,
        n: u64,
        header: &[u8],
        payload: Vec<u8>,
    ) -> Result<(), Broken<B::Error>> {
        let Some(session) = self.sessions.get_mut(&from) else { return Ok(()) };
        if !session.receiving.begin(n, header.len().saturating_add(payload.len())) {
            return Err(Fault::Unasked.into());
        }
        let sender = (from, session.number);
        if self.is_restless(now, from, header)? {
            self.end(sender, n, false);
            return Ok(());
        }
        let taken = match self.is_staging(header) {
            Some(header) => self.stage(header, payload)?,
            None => self.offer(now, header, payload)?,
        };
        match taken {
            Intake::Taken(id, placed) if placed.is_kept() => {
                self.batch.acks.push((sender, n));
                self.batch.foreign = true;
                // This node's own hand, and not from its disk.
                self.outrun(id.feed);
                if placed.evicted().is_some() {
                    self.changes.count(now, from, id.feed);
                }
            }
            Intake::Staged => self.batch.acks.push((sender, n)),
            Intake::Known(position) if position > self.synced => {
                self.batch.acks.push((sender, n));
            }
            Intake::Known(_) => self.end(sender, n, true),
            Intake::Taken(..) | Intake::Not => self.end(sender, n, false),
        }
        Ok(())
    }

    /// Whether a peer changed lanes of a feed so often that it may not do it again: a liar may sign
    /// a branch a moment.
    fn is_restless(
        &mut self,
        now: Time,
        from: PublicKey,
        header: &[u8],
    ) -> Result<bool, Broken<B::Error>> {
        if self.changes.0.is_empty() {
            return Ok(false);
        }
        let Ok(header) = Header::decode(header) else { return Ok(false) };
        if !self.changes.is_spent(now, from, header.feed()) {
            return Ok(false);
        }
        let judged = self.book.judge(&header).map_err(Broken::Rows)?;
        Ok(judged.is_some_and(|placed| placed.evicted().is_some()))
    }

    /// Says what became of an entry that a peer sent.
    pub(in crate::proto::replica) fn end(&mut self, (from, number): Sender, n: u64, synced: bool) {
        self.ended((from, number), n, synced);
        self.acknowledge(from);
    }

    /// Notes what became of an entry that a peer sent.
    pub(in crate::proto::replica) fn ended(
        &mut self,
        (from, number): Sender,
        n: u64,
        synced: bool,
    ) {
        let session = self.sessions.get_mut(&from).filter(|session| session.number == number);
        if let Some(session) = session {
            session.receiving.end(n, synced);
        }
    }

    /// Says what became of entries, as far as that is known.
    pub(in crate::proto::replica) fn acknowledge(&mut self, from: PublicKey) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        while let Some(message) = session.receiving.ack() {
            self.outputs.push_back(Output::Send { to: from, message });
        }
    }

    pub(in crate::proto::replica) fn on_evidence(
        &mut self,
        first: &[u8],
        second: &[u8],
    ) -> Result<(), Broken<B::Error>> {
        let read = |bytes| Header::decode(bytes).map_err(|_| Fault::Malformed);
        let (first, second) = (read(first)?, read(second)?);
        let is_pair = first.feed() == second.feed()
            && first.number() == second.number()
            && first.hash() < second.hash();
        if !is_pair || first.space() != self.space || second.space() != self.space {
            return Err(Fault::Malformed.into());
        }
        let tip = |header: &Header| Tip { number: header.number(), hash: header.hash() };
        let Some(shown) = Evidence::of(tip(&first), tip(&second)) else { return Ok(()) };
        let is_news = self.book.known(&first.feed()).is_some_and(|known| {
            let evidence = known.feed().evidence();
            evidence.is_none_or(|evidence| evidence.join(shown) != evidence)
        });
        if !is_news {
            return Ok(());
        }
        let verify = |header: Header| header.verify().map_err(|_| Fault::Forged);
        let (first, second) = (verify(first)?, verify(second)?);
        if self.book.note(&first, &second).map_err(Broken::Rows)? {
            self.forked(first.feed());
        }
        Ok(())
    }
}
