//! Where own feeds end, written down at an orderly end of the driver.

use std::collections::BTreeMap;

use aether_core::{
    Hash, PublicKey,
    wire::{Reader, Writer},
};
use aether_store::{Batch, Durability, Store};

use super::{Changes, Driver, Room, StartError, mark};
use crate::proto::id::{EntryId, SpaceId};

/// What the life before wrote down; nothing, if it had no orderly end, or not in this folder.
pub(super) fn read(
    store: &Store,
    records: &[Vec<u8>],
) -> Result<BTreeMap<(SpaceId, PublicKey), EntryId>, StartError> {
    // The first record is the mark of the folder in which that life ended.
    let mark = mark::read(store.path());
    match records.split_first() {
        Some((first, ends)) if mark.as_ref() == Some(first) => {
            ends.iter().map(|record| read_tip(record).ok_or(StartError::List)).collect()
        }
        _ => Ok(BTreeMap::new()),
    }
}

impl Driver {
    /// What the last orderly end wrote down is taken out before an entry is written. The log is
    /// synced before the engine is.
    pub(super) fn begin(&mut self, changes: &mut Changes) {
        if !changes.tips.is_empty() && self.is_ended {
            changes.batch.rewrite(&self.ends, Vec::new());
            self.is_ended = false;
        }
        self.tips.extend(changes.tips.iter().map(|(of, tip)| (*of, *tip)));
    }

    /// Writes down where own feeds end, so that they go on in the next life.
    pub(super) async fn end(&mut self) {
        let goes_on = |((space, _), tip): &(&(SpaceId, PublicKey), &EntryId)| {
            let goes_on =
                |room: &Room| !room.replica.has_failed() && room.replica.continues(&tip.feed);
            self.rooms.get(space).map_or_else(|| self.leaves.is_closed(space), goes_on)
        };
        let ends = self.tips.iter().filter(goes_on).map(|((space, _), tip)| write_tip(space, tip));
        let ends: Vec<Vec<u8>> = ends.collect();
        let mark = mark::make(self.store.path()).unwrap_or_else(|error| {
            tracing::warn!(%error, "the folder isn't marked: new feeds will begin");
            None
        });
        let Some(mark) = mark else { return };
        let mut batch = Batch::new();
        batch.rewrite(&self.ends, [vec![mark], ends].concat());
        if let Err(error) = self.store.commit(batch, Durability::Synced).await {
            tracing::warn!(%error, "where own feeds end isn't written down: new ones will begin");
        }
    }
}

fn write_tip(space: &SpaceId, tip: &EntryId) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(space.as_hash().as_bytes());
    tip.write(&mut writer);
    writer.finish()
}

fn read_tip(record: &[u8]) -> Option<((SpaceId, PublicKey), EntryId)> {
    let mut reader = Reader::new(record);
    let space = SpaceId::from_hash(Hash::from_bytes(reader.array().ok()?));
    let tip = EntryId::read(&mut reader).ok()?;
    Some(((space, tip.feed.author), tip))
}
