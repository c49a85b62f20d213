//! Who may do what: what a change of access makes of feeds, peers and the own pen. See rules 10 to
//! 12 of the [module](super).

use std::collections::BTreeSet;

use aether_core::{PublicKey, SecretKey, Time};

use super::{
    Replica,
    intake::Broken,
    types::{Change, Fault, WriteError},
};
use crate::proto::{
    access::{Began, ChangeError, Refusal, Standing},
    entry::{AccessOp, Authority, Checked, Draft, Entry, FeedPin, Header},
    feed::{Placed, Shape},
    frontier,
    id::{EntryId, FeedId},
    rows::Base,
    space::{Mode, Role},
};

/// Most credentials that peers showed and no entry needed yet.
const MAX_CREDENTIALS: usize = 256;

/// A key that writes here, and the feed that it continues.
#[derive(Clone, Debug)]
pub(super) struct Pen {
    pub(super) key: SecretKey,
    pub(super) feed: Option<FeedId>,
    /// Whether something was written with it since the replica was opened.
    pub(super) has_written: bool,
}

impl Pen {
    pub(super) const fn new(key: SecretKey, feed: Option<FeedId>) -> Self {
        Self { key, feed, has_written: false }
    }
}

impl<B: Base> Replica<B> {
    /// Tells the judge what the book holds, and does what it says of it: nothing, as a rule.
    pub(super) fn judge_all(&mut self) -> Result<(), B::Error> {
        let headers: Vec<Checked<Header>> = self.book.operations().collect::<Result<_, _>>()?;
        let mut members = BTreeSet::new();
        for header in headers {
            let Some(known) = self.book.known(&header.feed()) else { continue };
            let authority = known.authority();
            // There was room for all of them.
            members.extend(self.access.insert(&header, authority).unwrap_or_default());
        }
        for known in self.book.catalog().feeds() {
            if !known.feed().tips().is_empty() {
                self.incarnations.insert(known.id(), known.authority());
            }
            if let Shape::Pinned(_) = known.feed().shape() {
                members.insert(known.id().author);
            }
        }
        self.judge(members)
    }

    /// Does what the judge says of these members' feeds, and of those who are touched by that.
    pub(super) fn judge(&mut self, mut members: BTreeSet<PublicKey>) -> Result<(), B::Error> {
        let is_changed = !members.is_empty();
        while let Some(member) = members.pop_first() {
            for pin in self.access.held(&member).collect::<Vec<_>>() {
                if self.book.position(&pin)?.is_none() {
                    members.extend(self.access.release(&pin));
                }
            }
            for pending in self.access.pending(&member) {
                if let Some(operations) = self.book.operations_to(&pending.pin)? {
                    members.extend(self.access.hold(&pending.pin, operations));
                }
            }
            for feed in self.book.catalog().of(&member).collect::<Vec<_>>() {
                members.extend(self.settle(feed)?);
            }
            self.await_pins(&member)?;
        }
        if is_changed {
            self.admit_peers();
        }
        Ok(())
    }

    /// Notes which chains of a member's feeds are awaited now, and drops what is staged of others.
    fn await_pins(&mut self, member: &PublicKey) -> Result<(), B::Error> {
        let is_members = |pin: &&EntryId| pin.feed.author == *member;
        let before: BTreeSet<EntryId> = self.awaited.iter().filter(is_members).copied().collect();
        self.awaited.retain(|pin| pin.feed.author != *member);
        let mut pending = self.access.pending(member);
        // Of a feed that it isn't about, a removal says nothing of what is kept.
        pending.retain(|of| {
            let known = self.book.known(&of.pin.feed);
            known.is_none_or(|known| {
                self.access.is_about(of.removal, of.pin.feed, known.authority())
            })
        });
        self.awaited.extend(pending.iter().map(|pending| pending.pin));
        let mut feeds: BTreeSet<FeedId> = before.iter().map(|pin| pin.feed).collect();
        feeds.retain(|feed| !self.awaited.iter().any(|pin| pin.feed == *feed));
        for feed in feeds {
            self.book.unstage(&feed)?;
            self.staging.retain(|entry, _| entry.feed != feed);
        }
        Ok(())
    }

    /// Keeps of a feed what the judge says, and tells whom else that touches.
    fn settle(&mut self, feed: FeedId) -> Result<BTreeSet<PublicKey>, B::Error> {
        let Some(known) = self.book.known(&feed) else { return Ok(BTreeSet::new()) };
        let (authority, is_pinned) = (known.authority(), self.pinned.get(&feed));
        let is_open = matches!(known.feed().shape(), Shape::Open(_));
        let is_empty = known.feed().tips().is_empty();
        let gone = match self.access.standing(feed, authority) {
            Standing::Void(_) if is_open && is_empty => return Ok(BTreeSet::new()),
            Standing::Void(_) => {
                self.pinned.remove(&feed);
                self.incarnations.remove(feed, authority);
                self.book.void(&feed)?
            }
            Standing::Open if is_open => return self.take_back(feed),
            Standing::Open => {
                self.pinned.remove(&feed);
                self.book.open_again(&feed)?
            }
            Standing::Pinned(pinned) if is_pinned == Some(&pinned) => return Ok(BTreeSet::new()),
            Standing::Pinned(pinned) => {
                let (gone, is_forked_anew) = self.book.pin(&feed, &pinned)?;
                self.pinned.insert(feed, pinned);
                if is_forked_anew {
                    self.forked(feed);
                }
                gone
            }
        };
        self.batch.feeds.insert(feed);
        self.lay_down(feed);
        let mut members: BTreeSet<PublicKey> =
            gone.iter().flat_map(|id| self.access.remove(id)).collect();
        members.extend(self.take_back(feed)?);
        Ok(members)
    }

    /// An entry was placed, and evicted others: what that means for access.
    pub(super) fn judge_placed(
        &mut self,
        now: Time,
        entry: &Entry,
        authority: Authority,
        placed: &Placed,
        gone: &[EntryId],
    ) -> Result<(), B::Error> {
        let header = entry.header();
        let mut members: BTreeSet<PublicKey> =
            gone.iter().flat_map(|id| self.access.remove(id)).collect();
        if let Some(operation) = header.access() {
            // The door found that there is room.
            members.extend(self.access.insert(header, authority).unwrap_or_default());
            if let AccessOp::Discard { feed, runs } = operation {
                self.discard(now, *feed, runs)?;
            }
        }
        let author = header.author();
        let may_lose = placed.evicted().is_some() && self.access.held(&author).next().is_some();
        if may_lose || self.awaited.contains(&header.id()) {
            members.insert(author);
        }
        if header.number() == 1
            && let Began::Instead(other) = self.incarnations.insert(header.feed(), authority)
        {
            let gone = self.book.void(&other)?;
            members.extend(gone.iter().flat_map(|id| self.access.remove(id)));
            members.insert(author);
            self.batch.feeds.insert(other);
            self.lay_down(other);
        }
        self.judge(members)
    }

    /// Whether an entry may be taken as far as access goes, if what shows it is here.
    pub(super) fn is_admitted(&self, header: &Header, authority: Authority) -> bool {
        match self.access.admit(header, authority) {
            Ok(()) => {}
            Err(Refusal::Void(_) | Refusal::Beyond { .. } | Refusal::Full(_)) => return false,
        }
        header.number() > 1 || self.incarnations.judge(header.feed(), authority) != Began::Surplus
    }

    /// By what a feed is written of which a first header may state another authority than the one
    /// that is known: rule 12.
    pub(super) fn authority_of(&self, header: &Header) -> Option<Authority> {
        // Of which nothing is kept may begin by any: others may never have seen that first header.
        let known = self.book.known(&header.feed());
        let known = known.filter(|known| !known.feed().tips().is_empty());
        match (known.map(|known| known.authority()), header.authority()) {
            (Some(known), Some(stated)) if known != stated => {
                self.access.authority_of(header.feed(), [known, stated]).or(Some(known))
            }
            (known, stated) => known.or(stated),
        }
    }

    /// An authentic first header states an authority that goes before that of what is kept of its
    /// feed.
    pub(super) fn begin_anew(
        &mut self,
        feed: FeedId,
        authority: Authority,
    ) -> Result<(), B::Error> {
        let Some(known) = self.book.known(&feed) else { return Ok(()) };
        self.incarnations.remove(feed, known.authority());
        self.pinned.remove(&feed);
        let gone = self.book.void(&feed)?;
        self.book.write_by(&feed, authority)?;
        self.batch.feeds.insert(feed);
        // Chains of it that were held are no more.
        let mut members = BTreeSet::from([feed.author]);
        members.extend(gone.iter().flat_map(|id| self.access.remove(id)));
        self.judge(members)
    }

    /// Whether nobody need wait for a cited entry, and the credential that shows it, if one does.
    pub(super) fn is_settled(&self, cited: &EntryId) -> Result<(bool, Option<Header>), B::Error> {
        let is_held = self.book.position(cited)?.is_some();
        if frontier::is_settled(cited, is_held, self.book.evidence(&cited.feed)) {
            return Ok((true, None));
        }
        if let Some(known) = self.book.known(&cited.feed) {
            return Ok((self.is_out(cited.feed, known.authority()), None));
        }
        if let Some(bytes) = self.book.credential(&cited.feed)? {
            let authority = Header::decode(&bytes).ok().and_then(|header| header.authority());
            return Ok((authority.is_some_and(|by| self.is_out(cited.feed, by)), None));
        }
        let shown = self.credentials.get(&cited.feed);
        let by = shown.and_then(Header::authority);
        let is_out = by.is_some_and(|by| self.is_out(cited.feed, by));
        Ok((is_out, shown.filter(|_| is_out).cloned()))
    }

    /// Whether what isn't kept of a feed won't be: rule 3 of [frontiers](frontier).
    fn is_out(&self, feed: FeedId, authority: Authority) -> bool {
        match self.access.standing(feed, authority) {
            Standing::Void(_) | Standing::Pinned(_) => true,
            Standing::Open => self.incarnations.judge(feed, authority) == Began::Surplus,
        }
    }

    /// A peer shows by what a feed was written that nobody keeps any more.
    pub(super) fn on_credential(&mut self, header: &[u8]) -> Result<(), Broken<B::Error>> {
        let header = Header::decode(header).map_err(|_| Fault::Malformed)?;
        if header.space() != self.space || header.number() != 1 {
            return Err(Fault::Malformed.into());
        }
        self.show_credential(header);
        Ok(())
    }

    /// Notes by what a feed is written of which nothing is kept here. It is checked when an entry
    /// needs it.
    pub(super) fn show_credential(&mut self, header: Header) {
        if header.number() > 1 || self.book.known(&header.feed()).is_some() {
            return;
        }
        if self.credentials.len() >= MAX_CREDENTIALS {
            self.credentials.clear();
        }
        self.credentials.insert(header.feed(), header);
    }

    /// Whether a peer is told what is in the space.
    pub(super) fn may_read(&self, peer: &PublicKey) -> bool {
        self.genesis.mode() != Mode::Granted || self.access.role_of(peer).is_some()
    }

    /// Who may read has changed.
    fn admit_peers(&mut self) {
        for peer in self.sessions.keys().copied().collect::<Vec<_>>() {
            let may_read = self.may_read(&peer);
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.admit(may_read);
            }
        }
    }

    /// What this node may do: an owner if an owner's key is here.
    pub fn own_role(&self) -> Option<Role> {
        let keys = self.owner.iter().chain([&self.own]).map(|pen| pen.key.public());
        keys.filter_map(|key| self.access.role_of(&key)).max()
    }

    /// Whether an owner's key is here.
    pub const fn owns(&self) -> bool {
        self.owner.is_some()
    }

    /// Lays the pen down that wrote a feed which is its author's to go on with no more.
    fn lay_down(&mut self, feed: FeedId) {
        let Some(known) = self.book.known(&feed) else { return };
        if self.access.standing(feed, known.authority()) == Standing::Open {
            return;
        }
        if self.own.feed == Some(feed) {
            self.end_own();
        }
        if let Some(owner) = self.owner.as_mut().filter(|owner| owner.feed == Some(feed)) {
            owner.feed = None;
        }
    }

    /// By what the own feed is written, or is to begin.
    pub(super) fn own_authority(&self, own: FeedId) -> Result<Authority, WriteError> {
        if let Some(known) = self.book.known(&own).filter(|known| !known.feed().tips().is_empty()) {
            return Ok(known.authority());
        }
        self.access.authority_for(own).ok_or(WriteError::NotGranted)
    }

    /// Changes a member's access: with an owner's key if it is here, else with the own one.
    pub(super) fn change(
        &mut self,
        now: Time,
        token: u64,
        member: PublicKey,
        change: Change,
    ) -> Result<(), B::Error> {
        if self.is_busy() {
            self.refuse(token, WriteError::Busy);
            return Ok(());
        }
        if change == Change::Remove && self.owns() && member == self.own.key.public() {
            // Without a role nobody would tell it anything, and it alone can give it one again.
            self.refuse(token, ChangeError::Owner.into());
            return Ok(());
        }
        let (feed, authority) = match self.changing(now) {
            Ok(found) => found,
            Err(why) => {
                self.refuse(token, why);
                return Ok(());
            }
        };
        let operations = match change {
            Change::Grant(role) => {
                self.access.grant(feed, authority, member, role).map(|operation| vec![operation])
            }
            Change::Remove => {
                let tips = self.tips_of(&member);
                self.access.removal(feed, authority, member, tips)
            }
        };
        let operations = match operations {
            Ok(operations) => operations,
            Err(why) => {
                self.refuse(token, why.into());
                return Ok(());
            }
        };
        self.sign_all(now, token, feed, operations)
    }

    pub(super) fn sign_all(
        &mut self,
        now: Time,
        token: u64,
        feed: FeedId,
        operations: Vec<AccessOp>,
    ) -> Result<(), B::Error> {
        let mut last = None;
        for operation in operations {
            let mut draft = Draft::new();
            draft.access(operation);
            let written = match self.owner.as_ref().is_some_and(|pen| pen.feed == Some(feed)) {
                true => self.draft_as_owner(now, draft)?,
                false => self.draft(now, draft, &[])?,
            };
            match written {
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

    /// In which feed access is changed, and by what that is written.
    fn changing(&mut self, now: Time) -> Result<(FeedId, Authority), WriteError> {
        if self.owner.is_some() {
            return Ok((self.owners_feed(now), Authority::Genesis));
        }
        let own = self.own_feed(now);
        let authority = self.own_authority(own)?;
        let rank = self.access.rank(own, authority);
        let best = self.access.role_of(&self.own.key.public());
        if rank.is_ok_and(|rank| best > Some(rank)) {
            // Who was made an admin since begins a feed of that rank.
            self.end_own();
            let own = self.own_feed(now);
            return Ok((own, self.own_authority(own)?));
        }
        Ok((own, authority))
    }

    /// The tips of all that is kept of a member's feeds.
    fn tips_of(&self, member: &PublicKey) -> Vec<FeedPin> {
        let feeds = self.book.catalog().of(member).filter_map(|feed| self.book.known(&feed));
        let pins = feeds.flat_map(|known| {
            let incarnation = known.id().incarnation;
            let tips = known.feed().tips().into_iter();
            tips.map(move |tip| FeedPin { incarnation, number: tip.number, hash: tip.hash })
        });
        pins.collect()
    }
}
