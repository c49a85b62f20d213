//! What the store has, in memory: who uses it, who needs it, and how many bytes it takes.
//!
//! One lock for all of it, held for short: of the file system's calls only renames happen under it,
//! so that a blob that is evicted is gone from the folder when it's gone from here.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, MutexGuard, PoisonError},
};

use aether_core::BlobId;

use super::{
    Inner, Reach,
    blob::Blob,
    error::{AddError, FileError, QuotaExceeded, WriteError},
    folder::{Doomed, Folder},
    policy::Policy,
};

/// Bytes that a file system takes for a file are a multiple of this, near enough.
const BLOCK: u64 = 4096;

/// Larger quotas are as good as none; it leaves room for sums.
pub(super) const MAX_QUOTA: u64 = 1 << 61;

pub(super) const fn on_disk(len: u64) -> u64 {
    len.next_multiple_of(BLOCK)
}

#[derive(Debug)]
struct Slot {
    blob: Arc<Blob>,
    charge: u64,
    users: u32,
    /// Named by a pin, or by a pinned collection.
    pinned: bool,
}

impl Slot {
    fn is_kept(&self) -> bool {
        self.pinned || self.users > 0
    }
}

#[derive(Debug)]
pub(super) struct Index {
    slots: BTreeMap<BlobId, Slot>,
    policy: Box<dyn Policy>,
    quota: u64,
    /// All slots' charges, and what is reserved.
    used: u64,
    /// Of that, what can't be evicted.
    kept: u64,
    pins: BTreeMap<BlobId, BTreeMap<String, Reach>>,
    /// What pinned collections hold.
    children: BTreeMap<BlobId, Vec<BlobId>>,
    /// In how many pinned collections a blob is.
    parents: BTreeMap<BlobId, u32>,
}

/// Why there is no room.
pub(super) enum RoomError {
    Quota(QuotaExceeded),
    File(FileError),
}

impl From<RoomError> for AddError {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::Quota(error) => error.into(),
            RoomError::File(error) => error.into(),
        }
    }
}

impl From<RoomError> for WriteError {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::Quota(error) => error.into(),
            RoomError::File(error) => error.into(),
        }
    }
}

impl Index {
    pub(super) fn new(policy: Box<dyn Policy>, quota: u64) -> Self {
        Self {
            slots: BTreeMap::new(),
            policy,
            quota,
            used: 0,
            kept: 0,
            pins: BTreeMap::new(),
            children: BTreeMap::new(),
            parents: BTreeMap::new(),
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn quota(&self) -> u64 {
        self.quota
    }

    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    pub(super) fn blobs(&self) -> impl Iterator<Item = (&Arc<Blob>, bool, u64)> {
        self.slots.values().map(|slot| (&slot.blob, slot.pinned, slot.charge))
    }

    pub(super) fn blob(&self, id: &BlobId) -> Option<&Arc<Blob>> {
        self.slots.get(id).map(|slot| &slot.blob)
    }

    pub(super) fn insert(&mut self, blob: Arc<Blob>, charge: u64, users: u32) {
        let pinned = self.is_needed(&blob.id);
        let slot = Slot { charge, users, pinned, blob };
        self.policy.insert(slot.blob.id, charge, slot.is_kept());
        self.used += charge;
        self.kept += if slot.is_kept() { charge } else { 0 };
        let before = self.slots.insert(slot.blob.id, slot);
        assert!(before.is_none(), "a blob has one slot");
    }

    /// All that was there is inserted.
    pub(super) fn loaded(&mut self) {
        self.policy.loaded();
    }

    /// Changes a slot, and keeps the sums right.
    fn change(&mut self, id: &BlobId, change: impl FnOnce(&mut Slot)) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        let (charge, was_kept) = (slot.charge, slot.is_kept());
        change(slot);
        self.used = self.used - charge + slot.charge;
        self.kept -= if was_kept { charge } else { 0 };
        self.kept += if slot.is_kept() { slot.charge } else { 0 };
        if slot.is_kept() != was_kept {
            self.policy.keep(*id, slot.charge, slot.is_kept());
        }
        if slot.charge != charge {
            self.policy.resize(id, slot.charge);
        }
    }

    fn remove_slot(&mut self, id: &BlobId) -> Option<Slot> {
        let slot = self.slots.remove(id)?;
        self.policy.remove(id);
        self.used -= slot.charge;
        self.kept -= if slot.is_kept() { slot.charge } else { 0 };
        Some(slot)
    }

    /// Notes a use; the blob isn't evicted until [`release`](Self::release).
    pub(super) fn acquire(&mut self, id: &BlobId) -> Option<Arc<Blob>> {
        let blob = self.slots.get(id)?.blob.clone();
        self.policy.touch(id);
        self.change(id, |slot| slot.users += 1);
        Some(blob)
    }

    /// Ends a use. Answers whether it was the last, and with the files of a blob that came to
    /// nothing.
    pub(super) fn release(&mut self, id: &BlobId, folder: &Folder) -> (bool, Vec<Doomed>) {
        self.change(id, |slot| slot.users -= 1);
        let slot = self.slots.get(id);
        let is_last = slot.is_some_and(|slot| slot.users == 0);
        if !(is_last && slot.is_some_and(|slot| slot.charge == 0)) {
            return (is_last, Vec::new());
        }
        self.remove_slot(id);
        (
            true,
            folder.take_all(id).unwrap_or_else(|error| {
                tracing::warn!(%error, blob = %id, "files of a blob that came to nothing stay");
                Vec::new()
            }),
        )
    }

    /// A blob takes so many bytes now, of which what it grew by may have been reserved in `left`.
    pub(super) fn set_charge(&mut self, id: &BlobId, charge: u64, left: &mut u64) {
        let before = self.slots.get(id).map_or(charge, |slot| slot.charge);
        let reserved = charge.saturating_sub(before).min(*left);
        *left -= reserved;
        self.unreserve(reserved);
        self.change(id, |slot| slot.charge = charge);
    }

    /// Makes room for a blob in the making, by evicting others if need be. All or nothing.
    pub(super) fn reserve(
        &mut self,
        needed: u64,
        folder: &Folder,
    ) -> Result<Vec<Doomed>, RoomError> {
        let pinned = self.kept;
        if needed > self.quota.saturating_sub(pinned) {
            let quota = self.quota;
            return Err(RoomError::Quota(QuotaExceeded { needed, quota, pinned }));
        }
        let doomed = self.shrink(self.quota - needed, folder).map_err(RoomError::File)?;
        self.used += needed;
        self.kept += needed;
        Ok(doomed)
    }

    pub(super) fn unreserve(&mut self, reserved: u64) {
        self.used -= reserved;
        self.kept -= reserved;
    }

    /// Evicts until no more than `target` bytes are used, or nothing else may go.
    pub(super) fn shrink(
        &mut self,
        target: u64,
        folder: &Folder,
    ) -> Result<Vec<Doomed>, FileError> {
        let mut doomed = Vec::new();
        while self.used > target {
            let Some(id) = self.policy.victim() else { break };
            let Some(charge) = self.slots.get(&id).map(|slot| slot.charge) else { continue };
            match folder.take_all(&id) {
                Ok(files) => doomed.extend(files),
                Err(source) => {
                    self.policy.insert(id, charge, false);
                    return Err(FileError { path: folder.path().to_owned(), source });
                }
            }
            tracing::debug!(blob = %id, bytes = charge, "evicted");
            self.remove_slot(&id);
        }
        Ok(doomed)
    }

    /// Whether a blob of this charge could be there beside what must stay.
    pub(super) fn could_fit(&self, id: &BlobId, charge: u64) -> Result<(), QuotaExceeded> {
        let own = self.slots.get(id).filter(|slot| slot.is_kept()).map_or(0, |slot| slot.charge);
        let (pinned, quota) = (self.kept - own, self.quota);
        if charge > quota.saturating_sub(pinned) {
            return Err(QuotaExceeded { needed: charge, quota, pinned });
        }
        Ok(())
    }

    /// Whether a blob may be removed: answers with its users, and whether it's pinned.
    pub(super) fn needed_by(&self, id: &BlobId) -> Option<(u32, bool)> {
        self.slots.get(id).map(|slot| (slot.users, slot.pinned))
    }

    /// Removes a blob that nobody uses.
    pub(super) fn forget(&mut self, id: &BlobId) {
        self.remove_slot(id);
    }

    fn is_needed(&self, id: &BlobId) -> bool {
        self.pins.contains_key(id) || self.parents.contains_key(id)
    }

    fn refresh(&mut self, id: &BlobId) {
        let pinned = self.is_needed(id);
        self.change(id, |slot| slot.pinned = pinned);
    }

    /// Answers with the reach that the pin had before.
    pub(super) fn pin(&mut self, id: BlobId, name: String, reach: Reach) -> Option<Reach> {
        let before = self.pins.entry(id).or_default().insert(name, reach);
        self.refresh(&id);
        self.drop_children_unless_needed(&id);
        before
    }

    /// Answers with the reach of the pin, if there was one.
    pub(super) fn unpin(&mut self, id: &BlobId, name: &str) -> Option<Reach> {
        let names = self.pins.get_mut(id)?;
        let reach = names.remove(name)?;
        if names.is_empty() {
            self.pins.remove(id);
        }
        self.refresh(id);
        self.drop_children_unless_needed(id);
        Some(reach)
    }

    pub(super) fn pins(&self) -> impl Iterator<Item = (&BlobId, &String, Reach)> {
        let pins = self.pins.iter();
        pins.flat_map(|(id, names)| names.iter().map(move |(name, reach)| (id, name, *reach)))
    }

    pub(super) fn pin_of(&self, id: &BlobId, name: &str) -> Option<Reach> {
        self.pins.get(id)?.get(name).copied()
    }

    /// Whether a pin wants what this collection holds.
    fn reaches_children(&self, id: &BlobId) -> bool {
        let names = self.pins.get(id);
        names.is_some_and(|names| names.values().any(|reach| *reach == Reach::Collection))
    }

    /// Whether the children of a pinned collection are still to be told.
    pub(super) fn wants_children(&self, id: &BlobId) -> bool {
        self.reaches_children(id) && !self.children.contains_key(id)
    }

    pub(super) fn set_children(&mut self, id: BlobId, children: Vec<BlobId>) {
        if !self.wants_children(&id) {
            return;
        }
        for child in &children {
            *self.parents.entry(*child).or_default() += 1;
            self.refresh(child);
        }
        self.children.insert(id, children);
    }

    fn drop_children_unless_needed(&mut self, id: &BlobId) {
        if self.reaches_children(id) {
            return;
        }
        for child in self.children.remove(id).unwrap_or_default() {
            if let Some(count) = self.parents.get_mut(&child) {
                *count -= 1;
                if *count == 0 {
                    self.parents.remove(&child);
                }
            }
            self.refresh(&child);
        }
    }
}

impl Inner {
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes reserved for a blob in the making, given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    store: Arc<Inner>,
    left: u64,
}

impl Room {
    pub(super) fn new(store: Arc<Inner>) -> Self {
        Self { store, left: 0 }
    }

    pub(super) fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn grow(&mut self, by: u64) -> Result<(), RoomError> {
        let doomed = self.store.index().reserve(by, &self.store.folder)?;
        self.left += by;
        // Freeing the bytes may take long, and happens outside of the lock.
        drop(doomed);
        Ok(())
    }

    /// Pays for what a blob takes now.
    pub(super) fn settle(&mut self, id: &BlobId, charge: u64) {
        self.store.index().set_charge(id, charge, &mut self.left);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.store.index().unreserve(mem::take(&mut self.left));
    }
}
