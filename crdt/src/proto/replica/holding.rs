//! Who holds what, for those who have to know before they go on. See rule 3 of the [module](super).

use aether_core::{PublicKey, Time};

use super::Replica;
use crate::proto::{
    id::{EntryId, FeedId},
    rows::Base,
    sync::Row,
};

impl<B: Base> Replica<B> {
    /// Whether a peer said in this session that it holds an own entry, synced: by an
    /// acknowledgement, a row, or a digest. Of entries of other feeds, and of a peer without a
    /// session, nothing is known.
    pub fn is_held_by(&self, peer: &PublicKey, entry: &EntryId) -> bool {
        let is_own = self.own.feed == Some(entry.feed);
        is_own && self.sessions.get(peer).is_some_and(|session| session.has(entry.number))
    }

    /// Whether all is held here, synced, that a replica with these rows holds. Of a feed that has
    /// more than two ends that is known only if the rows are equal.
    ///
    /// # Errors
    /// Of the base.
    pub fn covers(&self, rows: &[Row]) -> Result<bool, B::Error> {
        for row in rows.iter().filter(|row| self.rows.get(&row.feed()) != Some(row)) {
            if row.tips().is_empty() && !row.is_empty() {
                return Ok(false);
            }
            for tip in row.tips() {
                let id = EntryId { feed: row.feed(), number: tip.number, hash: tip.hash };
                let position = self.book.position(&id)?;
                if position.is_none_or(|position| position > self.synced) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Of each feed, the number up to which all is held here, synced.
    pub fn held(&self) -> impl Iterator<Item = (FeedId, u64)> {
        self.rows.values().map(|row| (row.feed(), row.top()))
    }

    pub(super) fn compare_soon(&mut self, now: Time, peer: PublicKey) {
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.due = session.due.min(now);
            self.tick(now, peer);
        }
    }
}
