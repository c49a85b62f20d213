//! Discarding payloads, and dropping what was discarded. See rule 15 of the [module](super).

use std::{collections::BTreeMap, time::Duration};

use aether_core::Time;

use super::{Replica, types::WriteError};
use crate::proto::{
    book::Dropped,
    entry::{AccessOp, MAX_RUNS, Misfit, Run},
    id::FeedId,
    rows::Base,
};

/// Operations that are looked at in a row, but for an entry that has more: some milliseconds.
const BUDGET: usize = 1024;
/// How long what is alive here is left, so that what it is dead by may come, and how often that is
/// looked for: to look goes through all entries.
const GRACE: Duration = Duration::from_secs(600);
const AGAIN: Duration = Duration::from_secs(150);

/// When payloads are dropped: next, and by when all of them are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dropping {
    pub(super) due: Time,
    pub(super) last: Time,
}

impl Dropping {
    pub(super) fn begin(now: Time) -> Self {
        Self { due: now, last: now + GRACE }
    }
}

impl<B: Base> Replica<B> {
    /// Takes note that payloads are discarded.
    pub(super) fn discard(
        &mut self,
        now: Time,
        feed: FeedId,
        runs: &[Run],
    ) -> Result<(), B::Error> {
        if self.book.discard(feed, runs)? {
            self.dropping = Some(Dropping::begin(now));
        }
        Ok(())
    }

    /// Drops some of what was discarded.
    pub(super) fn drop_some(&mut self, now: Time) -> Result<(), B::Error> {
        let Some(Dropping { last, .. }) = self.dropping.filter(|dropping| dropping.due <= now)
        else {
            return Ok(());
        };
        let dropped = self.book.drop_some(BUDGET, now >= last)?;
        if let Dropped::Done { is_seen } = dropped {
            self.batch.is_dropped = true;
            self.batch.is_rebuilt |= is_seen;
        }
        self.dropping = match dropped {
            Dropped::Done { .. } => None,
            Dropped::More => Some(Dropping { due: now, last }),
            Dropped::Later => Some(Dropping { due: (now + AGAIN).min(last.max(now)), last }),
        };
        Ok(())
    }

    /// Discards payloads with the owner's key that is here.
    pub(super) fn discard_all(
        &mut self,
        now: Time,
        token: u64,
        found: &BTreeMap<FeedId, Vec<Run>>,
    ) -> Result<(), B::Error> {
        if self.is_busy() {
            self.refuse(token, WriteError::Busy);
            return Ok(());
        }
        if !self.owns() {
            self.refuse(token, Misfit::Discard.into());
            return Ok(());
        }
        let own = self.owners_feed(now);
        let mut operations = Vec::new();
        for (feed, runs) in found {
            let parts = runs.chunks(MAX_RUNS).map(<[Run]>::to_vec);
            operations.extend(parts.map(|runs| AccessOp::Discard { feed: *feed, runs }));
        }
        if let Err(full) = self.access.may_discard(own, &operations) {
            self.refuse(token, full.into());
            return Ok(());
        }
        self.sign_all(now, token, own, operations)
    }
}
