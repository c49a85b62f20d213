//! The disk of a node: what was written, and what of it would survive.

use std::collections::BTreeMap;

use crate::Draw;

/// One write: a key, and its new value or `None` to erase it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A key-value disk with a volatile tail.
///
/// Writes go to the tail in batches; a sync makes the whole tail durable. A crash keeps all that
/// was synced and a drawn prefix of the tail, whole batches only: what an engine with a checksummed
/// journal recovers.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    synced: BTreeMap<Vec<u8>, Vec<u8>>,
    tail: Vec<Vec<Change>>,
}

impl Disk {
    /// The value of a key that would survive a crash now.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.synced.get(key).map(Vec::as_slice)
    }

    /// All that would survive a crash now, by ascending key.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.synced.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// How many batches were written and not yet synced.
    pub fn unsynced(&self) -> usize {
        self.tail.len()
    }

    /// What would survive a crash now, as a disk of its own.
    pub(crate) fn copy(&self) -> Self {
        Self { synced: self.synced.clone(), tail: Vec::new() }
    }

    /// Becomes the copy, but for keys that begin with `but`, unless that is empty.
    pub(crate) fn restore(&mut self, copy: &Self, but: &[u8]) {
        let stays = |key: &[u8]| !but.is_empty() && key.starts_with(but);
        self.tail.clear();
        self.synced.retain(|key, _| stays(key));
        let rows = copy.synced.iter().filter(|(key, _)| !stays(key));
        self.synced.extend(rows.map(|(key, value)| (key.clone(), value.clone())));
    }

    pub(crate) fn write(&mut self, batch: Vec<Change>) {
        self.tail.push(batch);
    }

    pub(crate) fn sync(&mut self) {
        self.keep(self.tail.len());
    }

    /// Loses the tail but for a drawn prefix; says how many batches are lost.
    pub(crate) fn crash(&mut self, draw: &mut Draw) -> usize {
        let kept = if self.tail.is_empty() { 0 } else { draw.below(self.tail.len() + 1) };
        let lost = self.tail.len() - kept;
        self.keep(kept);
        lost
    }

    fn keep(&mut self, batches: usize) {
        for (key, value) in self.tail.drain(..).take(batches).flatten() {
            match value {
                Some(value) => self.synced.insert(key, value),
                None => self.synced.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: u8, value: u8) -> Vec<Change> {
        vec![(vec![key], Some(vec![value]))]
    }

    #[test]
    fn a_sync_makes_the_tail_durable() {
        let mut disk = Disk::default();
        disk.write(put(1, 1));
        assert_eq!(disk.get(&[1]), None);
        disk.sync();
        disk.write(vec![(vec![1], None), (vec![2], Some(vec![2]))]);
        disk.sync();
        assert_eq!(disk.iter().collect::<Vec<_>>(), [(&[2][..], &[2][..])]);
        assert_eq!(disk.unsynced(), 0);
    }

    #[test]
    fn a_restored_copy_undoes_all_but_what_lies_elsewhere() {
        let mut disk = Disk::default();
        disk.write([put(1, 1), put(9, 1)].concat());
        disk.sync();
        disk.write(put(5, 5));
        let copy = disk.copy();
        disk.write([put(1, 2), put(2, 2), put(9, 2), put(8, 2)].concat());
        disk.sync();
        disk.write(put(7, 7));
        let mut other = disk.clone();
        disk.restore(&copy, &[9]);
        let rows =
            |disk: &Disk| disk.iter().map(|(key, value)| (key[0], value[0])).collect::<Vec<_>>();
        assert_eq!((rows(&disk), disk.unsynced()), (vec![(1, 1), (9, 2)], 0));
        other.restore(&copy, &[]);
        assert_eq!(rows(&other), [(1, 1), (9, 1)], "what wasn't synced was not copied");
    }

    #[test]
    fn a_crash_keeps_a_prefix_of_whole_batches() {
        let mut survivors = [0; 4];
        let mut draw = Draw::new(4);
        for _ in 0..200 {
            let mut disk = Disk::default();
            disk.write(put(9, 9));
            disk.sync();
            for key in 0..3 {
                disk.write([put(key, 0), put(key + 100, 0)].concat());
            }
            let lost = disk.crash(&mut draw);
            let kept = (0..3).take_while(|key| disk.get(&[*key]).is_some()).count();
            assert_eq!(disk.get(&[9]), Some(&[9][..]));
            assert_eq!((disk.iter().count(), disk.unsynced()), (1 + 2 * kept, 0));
            assert_eq!(lost, 3 - kept);
            survivors[kept] += 1;
        }
        assert!(survivors.iter().all(|count| *count > 20), "{survivors:?}");
    }
}
