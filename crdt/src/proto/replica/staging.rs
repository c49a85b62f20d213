//! Chains that removals pin and that aren't kept: rule 13 of the [module](super).

use std::collections::{BTreeMap, BTreeSet};

use aether_core::PublicKey;

use super::{
    Replica,
    intake::Broken,
    types::{Fault, Intake, Output},
};
use crate::proto::{
    access::Standing,
    book::Staged,
    entry::Header,
    feed::Shape,
    id::{EntryId, FeedId, Position},
    rows::Base,
    sync::{Message, Row},
};

/// Most chains that are asked for at a time of one peer.
const MAX_ASKS: usize = 16;

/// What is awaited of a chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    /// The chain's end.
    pin: EntryId,
    /// What names it, if that is an entry.
    above: Option<EntryId>,
}

impl<B: Base> Replica<B> {
    /// Asks a peer that keeps other entries of these feeds for pinned chains that don't come by
    /// themselves.
    pub(super) fn ask(
        &mut self,
        peer: PublicKey,
        theirs: &BTreeMap<FeedId, Row>,
    ) -> Result<(), B::Error> {
        let differs = |pin: &&EntryId| {
            let theirs = theirs.get(&pin.feed).filter(|row| !row.is_empty());
            theirs.is_some_and(|theirs| self.rows.get(&pin.feed) != Some(theirs))
        };
        let pins: Vec<EntryId> = self.awaited.iter().filter(differs).copied().collect();
        let mut asked = 0;
        for pin in pins {
            let Some(floor) = self.floor(&pin.feed) else { continue };
            let Staged::Awaits { next, above } = self.book.staged_to(pin)? else {
                self.adopt(pin)?;
                continue;
            };
            self.staging.insert(next, Stage { pin, above });
            let message = Message::Ask { entry: next.into(), floor };
            self.outputs.push_back(Output::Send { to: peer, message });
            asked += 1;
            if asked == MAX_ASKS {
                break;
            }
        }
        Ok(())
    }

    /// Up to where every chain of a feed is what is kept of it; `None` if a chain that is awaited
    /// comes as the feed does, since that neither is forked nor was cut by another removal.
    fn floor(&self, feed: &FeedId) -> Option<u64> {
        let known = self.book.known(feed)?.feed();
        let fork = known.evidence().map(|evidence| evidence.number().saturating_sub(1));
        if fork.is_none() && matches!(known.shape(), Shape::Open(_)) {
            return None;
        }
        let kept = known.tips().into_iter().map(|tip| tip.number).min().unwrap_or(0);
        Some(fork.map_or(kept, |fork| fork.min(kept)))
    }

    /// Takes an entry that is awaited of a chain.
    pub(super) fn stage(
        &mut self,
        header: Header,
        payload: Vec<u8>,
    ) -> Result<Intake, Broken<B::Error>> {
        let id = header.id();
        let Some(Stage { pin, above }) = self.staging.get(&id).copied() else {
            return Ok(Intake::Not);
        };
        let Some(known) = self.book.known(&id.feed) else { return Ok(Intake::Not) };
        let authority = known.authority();
        let child = match above {
            Some(above) => self.book.staged(&above).map_err(Broken::Rows)?,
            None => None,
        };
        // A lying admin may pin what breaks a rule: then nobody keeps the chain.
        let follows = child.is_none_or(|child| child.header().follows(&header).is_ok());
        let is_first = header.number() > 1 || header.authority() == Some(authority);
        let fits = header.fits(&self.genesis, authority).is_ok();
        let is_fit = follows && is_first && fits && self.is_admitted(&header, authority);
        if !is_fit || self.lacks_payload(&header, &payload) {
            return Ok(Intake::Not);
        }
        let header = header.verify().map_err(|_| Fault::Forged)?;
        let entry = self.complete(header, payload)?;
        self.book.stage(&entry).map_err(Broken::Rows)?;
        self.staging.remove(&id);
        // All above it is staged.
        match self.book.staged_to(id).map_err(Broken::Rows)? {
            Staged::Awaits { next, above } => drop(self.staging.insert(next, Stage { pin, above })),
            Staged::Whole => self.adopt(pin).map_err(Broken::Rows)?,
        }
        Ok(Intake::Staged)
    }

    /// Whether an entry is awaited of a chain.
    pub(super) fn is_staging(&self, header: &[u8]) -> Option<Header> {
        if self.staging.is_empty() {
            return None;
        }
        let header = Header::decode(header).ok()?;
        self.staging.contains_key(&header.id()).then_some(header)
    }

    /// Keeps a chain that is whole, if all are that its removal pins in the feed.
    fn adopt(&mut self, pin: EntryId) -> Result<(), B::Error> {
        let (feed, pending) = (pin.feed, self.access.pending(&pin.feed.author));
        let Some(known) = self.book.known(&feed) else { return Ok(()) };
        let authority = known.authority();
        let is_about = |removal: &EntryId| self.access.is_about(*removal, feed, authority);
        let removals: BTreeSet<EntryId> = pending
            .iter()
            .filter(|of| of.pin == pin)
            .map(|of| of.removal)
            .filter(is_about)
            .collect();
        let mut pins = BTreeSet::new();
        for removal in removals {
            let of_removal = pending.iter().filter(|of| of.removal == removal);
            let all: Vec<EntryId> =
                of_removal.map(|of| of.pin).filter(|pin| pin.feed == feed).collect();
            let mut are_whole = true;
            for pin in &all {
                are_whole &= self.book.staged_to(*pin)? == Staged::Whole;
            }
            if are_whole {
                pins.extend(all);
            }
        }
        let is_void = matches!(self.access.standing(feed, authority), Standing::Void(_));
        if pins.is_empty() || is_void {
            return Ok(());
        }
        let before = self.book.last();
        let mut members = BTreeSet::from([feed.author]);
        for pin in pins {
            for header in self.book.adopt(&pin, authority)? {
                // The door found that there is room.
                members.extend(self.access.insert(&header, authority).unwrap_or_default());
            }
        }
        self.judge(members)?;
        self.tell_held(before)
    }

    /// Takes back what was set aside of an own feed, now that it stands. Tells whom that touches.
    pub(super) fn take_back(&mut self, feed: FeedId) -> Result<BTreeSet<PublicKey>, B::Error> {
        let mut members = BTreeSet::new();
        for id in self.book.set_aside(&feed)? {
            let Some(entry) = self.book.staged(&id)? else { continue };
            let known = self.book.known(&feed).map(|known| known.authority());
            let Some(authority) = entry.header().authority().or(known) else { continue };
            if self.access.standing(feed, authority) != Standing::Open {
                continue;
            }
            let taken = self.book.take(&entry, authority)?;
            if !taken.placed.is_kept() {
                continue;
            }
            self.book.forget_staged(&id)?;
            self.incarnations.insert(feed, authority);
            self.batch.held.extend(taken.position.map(|position| (id, position)));
            self.batch.feeds.insert(feed);
            self.batch.foreign = true;
            if self.awaited.contains(&id) {
                members.insert(feed.author);
            }
            members.extend(taken.gone.iter().flat_map(|id| self.access.remove(id)));
            // There was room for it.
            let inserted = self.access.insert(entry.header(), authority);
            members.extend(inserted.unwrap_or_default());
        }
        Ok(members)
    }

    /// Tells readers of the entries that were kept after a position.
    fn tell_held(&mut self, after: Position) -> Result<(), B::Error> {
        let rows = self.book.order(after).collect::<Result<Vec<_>, _>>()?;
        for (position, local, tip) in rows {
            let feed = self.book.catalog().at(local).id();
            let id = EntryId { feed, number: tip.number, hash: tip.hash };
            self.batch.held.push((id, position));
        }
        Ok(())
    }
}
