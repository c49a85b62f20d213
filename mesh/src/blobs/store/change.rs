//! How what is held of a blob changes.
//!
//! A blob's lock is held for each step, but not while much is written or synced.

use std::{fs, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use super::{
    behind::Behind,
    blob::{Files, InUse, Inside, Part, State},
    error::{FileError, ReadError, WriteError},
    folder::{Kind, Temporary, note_use},
    held,
    index::Room,
    read::{Walk, WalkError},
    tree::{self, GROUP, PAIR},
};

/// Copied at once when outboards move.
const COPY: usize = 256 * 1024;

/// A pair of hashes.
#[derive(Clone, Debug)]
pub(super) struct PlacedPair {
    /// Where it is in the outboard.
    pub(super) at: u64,
    pub(super) pair: [u8; PAIR as usize],
    /// The groups whose hashes it stands for.
    pub(super) under: Range<u64>,
}

/// Writes pairs, those that are side by side in one call.
fn write_pairs<'a>(
    tree: &fs::File,
    pairs: impl IntoIterator<Item = &'a PlacedPair>,
) -> io::Result<()> {
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_by_key(|placed| placed.at);
    pairs.dedup_by_key(|placed| placed.at);
    for run in pairs.chunk_by(|one, next| one.at + PAIR == next.at) {
        let bytes: Vec<u8> = run.iter().flat_map(|placed| placed.pair).collect();
        tree.write_all_at(&bytes, run[0].at)?;
    }
    Ok(())
}

impl InUse {
    /// Names a synced file as this blob, whole.
    pub(super) fn install(
        &self,
        content: Temporary,
        size: u64,
        room: &mut Room,
    ) -> Result<(), FileError> {
        let mut inside = self.blob.lock();
        if !matches!(inside.state, State::Whole { .. }) {
            note_use(&content.file);
            content.rename(&self.path(Kind::Whole))?;
            self.become_whole(&mut inside, size, room);
        }
        drop(inside);
        self.completed()
    }

    fn become_whole(&self, inside: &mut Inside, size: u64, room: &mut Room) {
        inside.state = State::Whole { size };
        inside.files = None;
        room.settle(self.id(), inside.state.charge());
        for kind in [Kind::Held, Kind::Tree, Kind::Part] {
            // What stays is removed when the store is opened.
            if let Err(error) = self.store.folder.take_away(self.id(), kind) {
                tracing::debug!(%error, blob = %self.id(), "a leftover stays until restart");
            }
        }
    }

    /// Makes the name durable, and keeps the children if it is a pinned collection.
    fn completed(&self) -> Result<(), FileError> {
        self.store.folder.sync_names()?;
        self.keep_children();
        Ok(())
    }

    /// The open files to write a download into; `None` if the blob is whole already.
    pub(super) fn files_to_write(&self, size: u64) -> Result<Option<Arc<Files>>, WriteError> {
        let mut inside = self.blob.lock();
        match &inside.state {
            State::Whole { .. } => Ok(None),
            State::Part(part) if part.size == size => Ok(Some(self.open(&mut inside)?)),
            _ => Err(WriteError::Superseded),
        }
    }

    pub(super) fn holds(&self, group: u64) -> bool {
        match &self.blob.lock().state {
            State::Absent => false,
            State::Part(part) => part.held.contains(group),
            State::Whole { .. } => true,
        }
    }

    /// Writes a verified group and the pairs that prove it, then marks it. See the sync rule in
    /// [`held`].
    pub(super) fn store_group(
        &self,
        size: u64,
        group: u64,
        data: &[u8],
        pairs: &[PlacedPair],
        room: &mut Room,
    ) -> Result<(), WriteError> {
        let Some(files) = self.files_to_write(size)? else { return Ok(()) };
        let (tree, _) = files.part.as_ref().expect("a partial blob has an outboard");
        let new = self.not_written(pairs);
        let written = write_pairs(tree, new);
        let written = written.and_then(|()| files.data.write_all_at(data, group * GROUP));
        written.map_err(files.error())?;
        Behind::wrote(&files, data.len() as u64);
        self.mark(size, group..group + 1, room)
    }

    /// Leaves out the pairs that were written with a group before. Where what is held isn't
    /// checked, a group may be there without them.
    fn not_written<'a>(&self, pairs: &'a [PlacedPair]) -> Vec<&'a PlacedPair> {
        let inside = self.blob.lock();
        let State::Part(part) = &inside.state else { return Vec::new() };
        let is_new = |placed: &&PlacedPair| {
            let under = &placed.under;
            !part.is_checked || part.held.first_gap(under.clone()).as_ref() == Some(under)
        };
        pairs.iter().filter(is_new).collect()
    }

    fn mark(&self, size: u64, groups: Range<u64>, room: &mut Room) -> Result<(), WriteError> {
        let mut inside = self.blob.lock();
        let files = self.open(&mut inside)?;
        let part = match &mut inside.state {
            State::Whole { .. } => return Ok(()),
            State::Part(part) if part.size == size => part,
            _ => return Err(WriteError::Superseded),
        };
        let (_, bits) = files.part.as_ref().expect("a partial blob has bits");
        part.held.insert(groups.clone());
        if let Err(error) = held::write(bits, &part.held, groups.clone()) {
            part.held.remove(groups);
            return Err(files.error()(error).into());
        }
        let is_full = part.is_full();
        room.settle(self.id(), inside.state.charge());
        drop(inside);
        if is_full { Ok(self.finish(room)?) } else { Ok(()) }
    }

    /// Makes a whole blob of a partial one that has all groups. The outboard moves behind the
    /// content, all is synced, and then the name changes. If another does it, waits for that.
    pub(super) fn finish(&self, room: &mut Room) -> Result<(), FileError> {
        let mut inside = self.blob.lock_finished();
        let files = match &inside.state {
            State::Part(part) if part.is_full() => self.open(&mut inside)?,
            _ => return Ok(()),
        };
        let State::Part(part) = &mut inside.state else { return Ok(()) };
        part.is_finishing = true;
        let size = part.size;
        drop(inside);
        let result = append_outboard(&files, size).map_err(files.error());
        let mut inside = self.blob.lock();
        // They look once it is let go, and find what became of it.
        self.blob.tell_finished();
        let State::Part(part) = &mut inside.state else { return result };
        part.is_finishing = false;
        result?;
        if !part.is_full() || part.size != size {
            return Ok(());
        }
        let (from, to) = (self.path(Kind::Part), self.path(Kind::Whole));
        fs::rename(from, &to).map_err(FileError::at(to))?;
        self.become_whole(&mut inside, size, room);
        drop(inside);
        self.completed()
    }

    /// Drops groups that didn't verify, so that they're fetched again.
    pub(super) fn drop_groups(
        &self,
        groups: &Range<u64>,
        read_from: &Arc<Files>,
    ) -> Result<(), FileError> {
        let mut inside = self.blob.lock();
        // Somebody has replaced the files meanwhile.
        if !inside.files.as_ref().is_some_and(|files| Arc::ptr_eq(files, read_from)) {
            return Ok(());
        }
        tracing::warn!(blob = %self.id(), ?groups, "damaged on the disk, dropped");
        match &mut inside.state {
            State::Absent => return Ok(()),
            State::Part(part) => {
                part.held.remove(groups.clone());
                if let Some((_, bits)) = &read_from.part {
                    held::write(bits, &part.held, groups.clone()).map_err(read_from.error())?;
                }
            }
            State::Whole { size } if tree::groups(*size) == 1 => {
                let taken = self.store.folder.take_away(self.id(), Kind::Whole);
                drop(taken.map_err(read_from.error())?);
                inside.state = State::Absent;
                inside.files = None;
            }
            State::Whole { size } => {
                let mut part = Part::new(*size);
                part.held.insert(0..tree::groups(*size));
                part.held.remove(groups.clone());
                self.become_part(read_from, &part)?;
                inside.state = State::Part(part);
                inside.files = None;
            }
        }
        self.store.index().set_charge(self.id(), inside.state.charge(), &mut 0);
        Ok(())
    }

    /// The files of a partial blob from those of a whole one; its name changes last.
    fn become_part(&self, files: &Files, part: &Part) -> Result<(), FileError> {
        let outboard = self.store.folder.temporary()?;
        let copied = copy(tree::outboard_len(part.size), |bytes, at| {
            files.read_pairs(part.size, bytes, at)?;
            outboard.file.write_all_at(bytes, at)
        });
        copied.map_err(files.error())?;
        outboard.rename(&self.path(Kind::Tree))?;
        self.write_held(part)?;
        let (from, to) = (self.path(Kind::Whole), self.path(Kind::Part));
        fs::rename(from, &to).map_err(FileError::at(to))
    }

    /// Checks all that is said to be held, if the machine was restarted since it was written.
    pub(super) fn check(&self) -> Result<(), FileError> {
        let (runs, size) = match &self.blob.lock().state {
            State::Part(part) if !part.is_checked => {
                (part.held.iter().collect::<Vec<_>>(), part.size)
            }
            _ => return Ok(()),
        };
        for run in runs {
            self.check_run(run)?;
        }
        let mut inside = self.blob.lock();
        if let State::Part(part) = &mut inside.state
            && part.size == size
        {
            part.is_checked = true;
            let files = self.open(&mut inside)?;
            if let Some((_, bits)) = &files.part {
                let header = held::Header { size, is_checked: true };
                header.write(bits).map_err(files.error())?;
            }
        }
        Ok(())
    }

    fn check_run(&self, mut run: Range<u64>) -> Result<(), FileError> {
        while !run.is_empty() {
            let source = match self.source(&run) {
                Ok(source) => source,
                Err(ReadError::File(error)) => return Err(error),
                // A damaged pair of hashes has taken more with it than its own run.
                Err(ReadError::Missing { groups }) => {
                    run.start = groups.end.min(run.end);
                    continue;
                }
                Err(_) => return Ok(()),
            };
            let mut walk = Walk::new(source.clone(), &run);
            loop {
                match walk.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(()),
                    Err(WalkError::File(error)) => return Err(error),
                    Err(WalkError::Damaged(groups)) => {
                        let bad = groups.start.max(run.start)..groups.end;
                        self.drop_groups(&bad, &source.files)?;
                        run.start = bad.end.min(run.end);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts a proved size in the place of a claimed one. Groups are where they were, and so are
    /// the pairs of full subtrees, so what was held is kept as far as it verifies.
    pub(super) fn replace_size(
        &self,
        size: u64,
        last: &[u8],
        pairs: &[PlacedPair],
        room: &mut Room,
    ) -> Result<(), WriteError> {
        let mut inside = self.blob.lock();
        let mut new = Part::new(size);
        let mut was_finishing = false;
        if let State::Part(part) = &inside.state {
            new.held = part.held.clone();
            was_finishing = part.is_finishing;
        }
        let end = tree::groups(size) - 1;
        new.held.remove(end..u64::MAX);
        new.is_checked = new.held.count() == 0;
        new.is_finishing = was_finishing;
        let files = self.open(&mut inside)?;
        let Some((tree, _)) = &files.part else { return Ok(()) };
        let written = write_pairs(tree, pairs);
        let written = written.and_then(|()| files.data.write_all_at(last, end * GROUP));
        written.map_err(files.error())?;
        new.held.insert(end..end + 1);
        self.write_held(&new)?;
        inside.state = State::Part(new);
        inside.files = None;
        room.settle(self.id(), inside.state.charge());
        Ok(())
    }
}

fn append_outboard(files: &Files, size: u64) -> io::Result<()> {
    let len = tree::outboard_len(size);
    copy(len, |bytes, at| {
        files.read_pairs(size, bytes, at)?;
        files.data.write_all_at(bytes, size + at)
    })?;
    files.data.set_len(size + len)?;
    files.data.sync_all()?;
    files.behind.check()
}

/// Goes through so many bytes in steps.
fn copy(len: u64, mut step: impl FnMut(&mut [u8], u64) -> io::Result<()>) -> io::Result<()> {
    let mut bytes = vec![0; COPY.min(usize::try_from(len).unwrap_or(COPY))];
    let mut at = 0;
    while at < len {
        let bytes = &mut bytes[..COPY.min(usize::try_from(len - at).unwrap_or(COPY))];
        step(bytes, at)?;
        at += bytes.len() as u64;
    }
    Ok(())
}
