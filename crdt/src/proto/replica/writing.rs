//! Writing: entries of this node's own. See rule 2 of the [module](super).

use aether_core::Time;
use rand_chacha::rand_core::Rng as _;

use super::{
    Replica,
    types::{Output, WriteError},
};
use crate::proto::{
    entry::{Authority, Draft, DraftError, MAX_ROWS_PER_FEED, Place},
    id::{EntryId, FeedId},
    map::{self, Edit},
    rows::Base,
};

impl<B: Base> Replica<B> {
    /// The feed that the next own entry continues, or begins. It stays that one, but for the
    /// second case of rule 2.
    pub fn own_feed(&mut self, now: Time) -> FeedId {
        self.own.unwrap_or_else(|| self.begin(now))
    }

    pub(super) fn write(
        &mut self,
        now: Time,
        token: u64,
        draft: Draft,
        cites: &[FeedId],
    ) -> Result<(), B::Error> {
        if self.is_busy() {
            self.refuse(token, WriteError::Busy);
            return Ok(());
        }
        match self.draft(now, draft, cites)? {
            Ok(id) => self.batch.written.push((token, Some(id))),
            Err(why) => self.refuse(token, why),
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        let unsynced: usize = self.unsynced.iter().map(|batch| batch.written.len()).sum();
        unsynced + self.batch.written.len() >= self.config.max_writes
    }

    pub(super) fn edit(
        &mut self,
        now: Time,
        token: u64,
        mut edits: &[Edit],
    ) -> Result<(), B::Error> {
        if self.is_busy() {
            self.refuse(token, WriteError::Busy);
            return Ok(());
        }
        let mut last = None;
        while !edits.is_empty() {
            let own = self.own_feed(now);
            let drafted = map::draft(edits, &own, self.book.rows(), self.book.catalog());
            let drafted = match drafted {
                Ok(drafted) => drafted,
                Err(map::WriteError::Rows(error)) => return Err(error),
                Err(map::WriteError::Overflow { .. }) => {
                    self.refuse(token, WriteError::Overflow);
                    return Ok(());
                }
            };
            if last.is_none() && drafted.taken < edits.len() {
                // Nothing of it is done unless all is.
                let fits = map::check_totals(edits, &own, self.book.rows(), self.book.catalog());
                match fits {
                    Ok(()) => {}
                    Err(map::WriteError::Rows(error)) => return Err(error),
                    Err(map::WriteError::Overflow { .. }) => {
                        self.refuse(token, WriteError::Overflow);
                        return Ok(());
                    }
                }
            }
            edits = &edits[drafted.taken..];
            if drafted.ops.is_empty() {
                continue;
            }
            let mut draft = Draft::new();
            for (collection, op) in drafted.ops {
                draft.op(collection, op).expect("a drafted entry has room for its operations");
            }
            match self.draft(now, draft, &drafted.named)? {
                Ok(id) => last = Some(id),
                Err(why) => {
                    self.refuse(token, why);
                    return Ok(());
                }
            }
        }
        self.batch.written.push((token, last));
        Ok(())
    }

    pub(super) fn refuse(&mut self, token: u64, why: WriteError) {
        self.outputs.push_back(Output::Refused { token, why });
    }

    pub(super) fn refuse_failed(&mut self, token: u64) {
        self.refuse(token, WriteError::Failed);
    }

    /// Completes a draft's frontier, signs it as the next entry of the own feed, and takes it in.
    fn draft(
        &mut self,
        now: Time,
        mut draft: Draft,
        cites: &[FeedId],
    ) -> Result<Result<EntryId, WriteError>, B::Error> {
        let own = self.own_feed(now);
        if self.book.known(&own).is_none() && self.is_full() {
            return Ok(Err(WriteError::Feeds));
        }
        let cites: Vec<FeedId> = cites.iter().filter(|feed| **feed != own).copied().collect();
        let tips =
            |feed: &FeedId| self.book.known(feed).map_or(0, |known| known.feed().tips().len());
        let chosen = self.citing.choose(now, &cites, draft.cited(), tips);
        for feed in &chosen {
            if let Err(error) = self.cite(&mut draft, feed)? {
                return Ok(Err(error.into()));
            }
        }
        let Some(place) = self.place(own)? else { return Ok(Err(DraftError::Time.into())) };
        let entry = match draft.sign(&self.key, place, self.wall(now)) {
            Ok(entry) => entry,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Err(misfit) = entry.header().fits(&self.genesis, Authority::Genesis) {
            return Ok(Err(misfit.into()));
        }
        self.citing.cited(now, &chosen);
        self.take(now, &entry, Authority::Genesis)?;
        let id = entry.header().id();
        self.batch.own = Some(id);
        self.has_written = true;
        Ok(Ok(id))
    }

    /// Cites what is kept of a feed by its tips.
    fn cite(&self, draft: &mut Draft, feed: &FeedId) -> Result<Result<(), DraftError>, B::Error> {
        let tips = self.book.known(feed).map(|known| known.feed().tips()).unwrap_or_default();
        for tip in tips.into_iter().take(MAX_ROWS_PER_FEED) {
            let id = EntryId { feed: *feed, number: tip.number, hash: tip.hash };
            let Some(header) = self.book.header(&id)? else { continue };
            if let Err(error) = draft.cite(id, header.time()) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Begins a new incarnation.
    fn begin(&mut self, now: Time) -> FeedId {
        let random = u16::try_from(self.rng.next_u32() >> 16).expect("sixteen bits");
        let mut own = FeedId::begin(self.key.public(), self.wall(now), random);
        while self.book.known(&own).is_some() {
            // A clock that was set back, and the chance of one in 65,536.
            own.incarnation = own.incarnation.wrapping_add(1);
        }
        self.own = Some(own);
        own
    }

    /// Where the next own entry stands; `None` if numbers have come to their end.
    fn place(&self, own: FeedId) -> Result<Option<Place>, B::Error> {
        let tip = self.book.known(&own).and_then(|known| known.feed().tips().first().copied());
        let Some(tip) = tip else {
            return Ok(Some(Place::first(self.space, own, Authority::Genesis)));
        };
        let id = EntryId { feed: own, number: tip.number, hash: tip.hash };
        let parent = self.book.header(&id)?.expect("the tip of a feed is kept");
        Ok(Place::after(&parent, Authority::Genesis))
    }
}
