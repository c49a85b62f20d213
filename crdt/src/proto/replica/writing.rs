//! Writing: entries of this node's own. See rule 2 of the [module](super).

use aether_core::{PublicKey, SecretKey, Time};
use rand_chacha::rand_core::Rng as _;

use super::{
    Replica,
    types::{Output, WriteError},
};
use crate::proto::{
    entry::{Authority, Draft, DraftError, MAX_ROWS_PER_FEED, Place},
    id::{EntryId, FeedId},
    map::{self, Edit},
    rows::{Base, Noted},
};

impl<B: Base> Replica<B> {
    /// The feed that the next own entry continues, or begins. It stays that one, but for the
    /// second case of rule 2.
    pub fn own_feed(&mut self, now: Time) -> FeedId {
        self.own.feed.unwrap_or_else(|| self.begin(now))
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

    pub(super) fn is_busy(&self) -> bool {
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
            // Each row that is read here is read again when the entry is applied.
            let rows = Noted::of(self.book.rows());
            let drafted = map::draft(edits, &own, &rows, self.book.catalog());
            let found = rows.into_found();
            self.book.rows_mut().note(found);
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
    pub(super) fn draft(
        &mut self,
        now: Time,
        mut draft: Draft,
        cites: &[FeedId],
    ) -> Result<Result<EntryId, WriteError>, B::Error> {
        let own = self.own_feed(now);
        if self.book.known(&own).is_none() && self.is_full() {
            return Ok(Err(WriteError::Feeds));
        }
        let authority = match self.own_authority(own) {
            Ok(authority) => authority,
            Err(why) => return Ok(Err(why)),
        };
        let cites: Vec<FeedId> = cites.iter().filter(|feed| **feed != own).copied().collect();
        let tips =
            |feed: &FeedId| self.book.known(feed).map_or(0, |known| known.feed().tips().len());
        let chosen = self.citing.choose(now, &cites, draft.cited(), tips);
        for feed in &chosen {
            if let Err(error) = self.cite(&mut draft, feed)? {
                return Ok(Err(error.into()));
            }
        }
        let key = self.own.key.clone();
        let signed = self.sign(now, &key, own, authority, draft)?;
        if signed.is_ok() {
            self.citing.cited(now, &chosen);
            self.own.has_written = true;
        }
        Ok(signed)
    }

    /// Signs a change of access with the owner's key that is here.
    pub(super) fn draft_as_owner(
        &mut self,
        now: Time,
        draft: Draft,
    ) -> Result<Result<EntryId, WriteError>, B::Error> {
        let feed = self.owners_feed(now);
        if self.book.known(&feed).is_none() && self.is_full() {
            return Ok(Err(WriteError::Feeds));
        }
        let Some(owner) = &mut self.owner else { return Ok(Err(WriteError::NotGranted)) };
        owner.has_written = true;
        let key = owner.key.clone();
        // It isn't pushed like the own feed: peers hear of it as of what others wrote.
        self.batch.foreign = true;
        self.sign(now, &key, feed, Authority::Genesis, draft)
    }

    /// Signs the next entry of a feed, and takes it in.
    fn sign(
        &mut self,
        now: Time,
        key: &SecretKey,
        feed: FeedId,
        authority: Authority,
        draft: Draft,
    ) -> Result<Result<EntryId, WriteError>, B::Error> {
        let Some(place) = self.place(feed, authority)? else {
            return Ok(Err(DraftError::Time.into()));
        };
        let entry = match draft.sign(key, place, self.wall(now)) {
            Ok(entry) => entry,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Err(misfit) = entry.header().fits(&self.genesis, authority) {
            return Ok(Err(misfit.into()));
        }
        self.take(now, &entry, authority)?;
        let id = entry.header().id();
        self.batch.own.insert(feed, id);
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
        let own = self.fresh(now, self.own.key.public());
        self.own.feed = Some(own);
        own
    }

    /// The feed that the owner's key that is here continues, or begins.
    pub(super) fn owners_feed(&mut self, now: Time) -> FeedId {
        let pen = self.owner.as_ref().unwrap_or(&self.own);
        let (feed, author) = (pen.feed, pen.key.public());
        let feed = feed.unwrap_or_else(|| self.fresh(now, author));
        if let Some(owner) = &mut self.owner {
            owner.feed = Some(feed);
        }
        feed
    }

    /// A feed that nobody knows.
    fn fresh(&mut self, now: Time, author: PublicKey) -> FeedId {
        let random = u16::try_from(self.rng.next_u32() >> 16).expect("sixteen bits");
        let mut feed = FeedId::begin(author, self.wall(now), random);
        while self.book.known(&feed).is_some() {
            // A clock that was set back, and the chance of one in 65,536.
            feed.incarnation = feed.incarnation.wrapping_add(1);
        }
        feed
    }

    /// Where the next entry of a feed stands; `None` if numbers have come to their end.
    fn place(&self, feed: FeedId, authority: Authority) -> Result<Option<Place>, B::Error> {
        let tip = self.book.known(&feed).and_then(|known| known.feed().tips().first().copied());
        let Some(tip) = tip else {
            return Ok(Some(Place::first(self.space, feed, authority)));
        };
        let id = EntryId { feed, number: tip.number, hash: tip.hash };
        let parent = self.book.header(&id)?.expect("the tip of a feed is kept");
        Ok(Place::after(&parent, authority))
    }
}
