//! Taking entries in that others offer. See rule 1 of the [module](super).

use aether_core::Time;

use super::{
    Replica,
    types::{Fault, Intake},
};
use crate::proto::{
    document,
    entry::{Authority, Checked, Entry, Header, Payload},
    feed::Placed,
    rows::Base,
};

/// Why an entry wasn't looked at to its end: the disk's fault, or the giver's.
pub(super) enum Broken<E> {
    Rows(E),
    Fault(Fault),
}

impl<E> From<Fault> for Broken<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<B: Base> Replica<B> {
    /// Checks an entry, cheapest first, and takes it in.
    pub(super) fn offer(
        &mut self,
        now: Time,
        header: &[u8],
        payload: Vec<u8>,
    ) -> Result<Intake, Broken<B::Error>> {
        let header = Header::decode(header).map_err(|_| Fault::Malformed)?;
        if header.space() != self.space {
            return Err(Fault::Malformed.into());
        }
        if let Some(position) = self.book.position(&header.id()).map_err(Broken::Rows)? {
            return Ok(Intake::Known(position));
        }
        if !header.time().is_due(self.wall(now)) {
            return Ok(Intake::Not);
        }
        let Some(authority) = self.authority(&header)? else {
            // What cites it need not wait for it.
            self.show_credential(header);
            return Ok(Intake::Not);
        };
        if header.number() == 1 && header.authority() != Some(authority) {
            return self.witness(header);
        }
        let known = self.book.known(&header.feed()).map(|known| known.authority());
        let is_other = known.is_some_and(|known| known != authority);
        match self.book.judge(&header).map_err(Broken::Rows)? {
            _ if is_other => {}
            None if header.number() > 1 || self.is_full() => return Ok(Intake::Not),
            Some(Placed::Gap) => return Ok(Intake::Not),
            Some(Placed::Lost { .. } | Placed::Below | Placed::Pinned) => {
                return self.witness(header);
            }
            _ => {}
        }
        self.follows(&header)?;
        let Some(credentials) = self.settled(&header)? else { return Ok(Intake::Not) };
        if self.lacks_payload(&header, &payload) {
            return Ok(Intake::Not);
        }
        let header = header.verify().map_err(|_| Fault::Forged)?;
        let entry = self.complete(header, payload)?;
        for credential in credentials {
            self.book.keep_credential(&credential).map_err(Broken::Rows)?;
        }
        if is_other {
            self.begin_anew(entry.header().feed(), authority).map_err(Broken::Rows)?;
        }
        let placed = self.take(now, &entry, authority).map_err(Broken::Rows)?;
        Ok(Intake::Taken(entry.header().id(), placed))
    }

    /// Whether an entry comes without its payload, and nothing here says that this was discarded:
    /// whoever gave it may know more.
    pub(super) fn lacks_payload(&self, header: &Header, payload: &[u8]) -> bool {
        payload.is_empty()
            && !header.content().is_empty()
            && !self.book.is_discarded(&header.feed(), header.number())
    }

    /// The entry of an authentic header, [with](Self::lacks_payload) its payload.
    pub(super) fn complete(
        &self,
        header: Checked<Header>,
        payload: Vec<u8>,
    ) -> Result<Entry, Fault> {
        if payload.is_empty() && self.book.is_discarded(&header.feed(), header.number()) {
            return Ok(Entry::bare(header));
        }
        let payload = Payload::decode(payload).map_err(|_| Fault::Payload)?;
        let entry = Entry::new(header, payload).map_err(|_| Fault::Payload)?;
        document::op::check(&self.space, &entry).map_err(|_| Fault::Payload)?;
        Ok(entry)
    }

    /// By what the author of a header may write it, if what shows it is here.
    fn authority(&self, header: &Header) -> Result<Option<Authority>, Broken<B::Error>> {
        let Some(authority) = self.authority_of(header) else { return Ok(None) };
        header.fits(&self.genesis, authority).map_err(|_| Fault::Malformed)?;
        Ok(self.is_admitted(header, authority).then_some(authority))
    }

    /// Whether it follows its parent, which is kept.
    fn follows(&self, header: &Header) -> Result<(), Broken<B::Error>> {
        let Some(parent) = header.parent() else { return Ok(()) };
        let parent = self.book.header(&parent).map_err(Broken::Rows)?;
        let follows = parent.is_some_and(|parent| header.follows(&parent).is_ok());
        if follows { Ok(()) } else { Err(Fault::Malformed.into()) }
    }

    /// Whether no feed is taken any more that isn't known.
    pub(super) fn is_full(&self) -> bool {
        self.book.catalog().feeds().len() >= self.config.max_feeds
    }

    /// What shows that all that it cites is settled, beside what is kept; `None` if it isn't.
    fn settled(&self, header: &Header) -> Result<Option<Vec<Checked<Header>>>, Broken<B::Error>> {
        let mut credentials = Vec::new();
        for cited in header.frontier() {
            let (is_settled, credential) = self.is_settled(cited).map_err(Broken::Rows)?;
            if !is_settled {
                return Ok(None);
            }
            let checked = credential.map(Header::verify).transpose();
            credentials.extend(checked.map_err(|_| Fault::Forged)?);
        }
        Ok(Some(credentials))
    }

    /// Takes a header whose entry isn't kept for what it shows of a fork.
    fn witness(&mut self, header: Header) -> Result<Intake, Broken<B::Error>> {
        if self.book.is_news(&header).map_err(Broken::Rows)? {
            let header = header.verify().map_err(|_| Fault::Forged)?;
            if self.book.show(&header).map_err(Broken::Rows)? {
                self.forked(header.feed());
            }
        }
        Ok(Intake::Not)
    }

    /// Takes in what is valid, settled and authentic.
    pub(super) fn take(
        &mut self,
        now: Time,
        entry: &Entry,
        authority: Authority,
    ) -> Result<Placed, B::Error> {
        let taken = self.book.take(entry, authority)?;
        let id = entry.header().id();
        if taken.is_forked_anew {
            self.forked(id.feed);
        }
        if let (true, Some(position)) = (taken.placed.is_new(), taken.position) {
            self.batch.held.push((id, position));
            self.batch.feeds.insert(id.feed);
            if Some(id.feed) != self.own.feed {
                self.citing.went_on(now, id.feed);
            }
            self.judge_placed(now, entry, authority, &taken.placed, &taken.gone)?;
        }
        Ok(taken.placed)
    }

    /// The evidence against an author is new: it goes to all peers once it is synced.
    pub(super) fn forked(&mut self, feed: crate::proto::id::FeedId) {
        self.batch.feeds.insert(feed);
        self.batch.forked.insert(feed);
    }
}
