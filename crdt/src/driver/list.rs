//! The list of spaces, as it is stored: in a log, beside the engine, so that damage to the one
//! doesn't take the other.

use std::collections::{BTreeMap, BTreeSet};

use aether_core::{
    Hash,
    wire::{Reader, WireError, Writer},
};
use aether_store::{Batch, Durability, Log, Opened, Store};

use super::StartError;
use crate::proto::{id::SpaceId, space::Genesis};

/// The name of the log.
const NAME: &str = "space-list";
/// It is written anew, when it is read, if it has more records than this, and more than twice as
/// many as are needed.
const MANY: usize = 64;

const DELETED: u8 = 8;
const SWEPT: u8 = 9;

/// What a node does with a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// It takes part in it.
    Open,
    /// It doesn't, and keeps what it has.
    Closed,
    /// It takes part in it as the control space of a partitioned map, in which it takes part, too.
    Map,
    /// That was closed, and so are the map's partitions.
    ClosedMap,
    /// It has it as a partition of a map, of which users don't hear. It is open as long as the map.
    Part,
}

impl Listing {
    /// What it is when it is closed.
    pub(super) const fn closed(self) -> Self {
        match self {
            Self::Open | Self::Closed => Self::Closed,
            Self::Map | Self::ClosedMap => Self::ClosedMap,
            Self::Part => Self::Part,
        }
    }

    /// What it is when it is opened again.
    pub(super) const fn opened(self) -> Self {
        match self {
            Self::Open | Self::Closed => Self::Open,
            Self::Map | Self::ClosedMap => Self::Map,
            Self::Part => Self::Part,
        }
    }
}

/// The log of the list. Of each record that is about one space, or one number, the last counts:
///
/// | bytes | field |
/// |---|---|
/// | 1 | what is said, below |
/// | 4 | the number with which the space's rows begin, big endian |
/// | n | 3 to 7: the genesis; 8: the space's id (32) |
///
/// The space is: 3 open, 4 closed, 5 a map's partition, 6 a map's control space, 7 one that was
/// closed; 8 deleted, and of its rows some may be left; 9 none are left. 1 and 2 were of rows that
/// are no longer read.
#[derive(Clone, Debug)]
pub(super) struct List {
    log: Log,
}

/// What the log says.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// All spaces that aren't deleted.
    pub(super) spaces: BTreeMap<SpaceId, Listed>,
    /// The numbers of those that are, and of which rows may be left.
    pub(super) rest: BTreeSet<u32>,
}

impl List {
    pub(super) fn open(store: &Store) -> Result<(Self, Read), StartError> {
        let Opened { log, records, .. } = store.log(NAME)?;
        let mut read = Read::default();
        for record in &records {
            read.take(record).ok_or(StartError::List)?;
        }
        let needed = read.spaces.len() + read.rest.len();
        if records.len() > MANY.max(2 * needed) {
            let mut batch = Batch::new();
            batch.rewrite(&log, read.records());
            store.commit(batch, Durability::Synced).wait().map_err(StartError::Write)?;
        }
        Ok((Self { log }, read))
    }

    /// A space is what is said from now on.
    pub(super) fn put(&self, listed: &Listed, batch: &mut Batch) {
        batch.append(&self.log, &listed.encode());
    }

    /// A space is in the list no more, and its rows are to go.
    pub(super) fn delete(&self, listed: &Listed, batch: &mut Batch) {
        let mut writer = Writer::default();
        writer.u8(DELETED).u32(listed.number);
        writer.array(listed.genesis.space_id().as_hash().as_bytes());
        batch.append(&self.log, &writer.finish());
    }

    /// No row that begins with this number is left.
    pub(super) fn swept(&self, number: u32, batch: &mut Batch) {
        let mut writer = Writer::default();
        writer.u8(SWEPT).u32(number);
        batch.append(&self.log, &writer.finish());
    }
}

impl Read {
    /// `None` if the record is of another release.
    fn take(&mut self, record: &[u8]) -> Option<()> {
        if let Some(listed) = Listed::decode(record) {
            self.spaces.insert(listed.genesis.space_id(), listed);
            return Some(());
        }
        let mut reader = Reader::new(record);
        match reader.u8().ok()? {
            DELETED => {
                self.rest.insert(reader.u32().ok()?);
                let space: Result<_, WireError> = reader.array();
                self.spaces.remove(&SpaceId::from_hash(Hash::from_bytes(space.ok()?)));
            }
            SWEPT => drop(self.rest.remove(&reader.u32().ok()?)),
            _ => return None,
        }
        reader.end().ok()
    }

    /// Records that say the same, and no more.
    fn records(&self) -> Vec<Vec<u8>> {
        let rest = self.rest.iter().map(|number| {
            let mut writer = Writer::default();
            writer.u8(DELETED).u32(*number).array(&[0; Hash::LEN]);
            writer.finish()
        });
        self.spaces.values().map(Listed::encode).chain(rest).collect()
    }
}

/// A space of the [list](List).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) listing: Listing,
    pub(super) number: u32,
    pub(super) genesis: Genesis,
}

impl Listed {
    pub(super) fn encode(&self) -> Vec<u8> {
        let listing = match self.listing {
            Listing::Open => 3,
            Listing::Closed => 4,
            Listing::Part => 5,
            Listing::Map => 6,
            Listing::ClosedMap => 7,
        };
        let mut writer = Writer::default();
        writer.u8(listing).u32(self.number).slice(&self.genesis.encode());
        writer.finish()
    }

    /// `None` if it is of another release.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let listing = match reader.u8().ok()? {
            3 => Listing::Open,
            4 => Listing::Closed,
            5 => Listing::Part,
            6 => Listing::Map,
            7 => Listing::ClosedMap,
            _ => return None,
        };
        let number = reader.u32().ok()?;
        Some(Self { listing, number, genesis: Genesis::decode(reader.rest()).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use aether_core::SecretKey;

    use super::*;
    use crate::proto::space::Mode;

    fn listed(salt: u8, listing: Listing, number: u32) -> Listed {
        let owner = SecretKey::from_bytes([1; 32]).public();
        let genesis = Genesis::new(Mode::Open, [salt; 16], "ages", [owner]).unwrap();
        Listed { listing, number, genesis }
    }

    fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new();
        fill(&mut batch);
        store.commit(batch, Durability::Synced).wait().unwrap();
    }

    #[test]
    fn what_was_said_last_counts_however_often_the_log_is_read() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let store = Store::open(folder.path(), aether_store::Options::default()).unwrap();
            let (list, read) = List::open(&store).unwrap();
            let kept = listed(1, Listing::Map, 1);
            if round > 0 {
                assert_eq!(read.spaces.values().collect::<Vec<_>>(), [&kept]);
                assert_eq!(read.rest, BTreeSet::from([2]));
            }
            let records = store.log(NAME).unwrap().records.len();
            assert_eq!(records, if round == 0 { 0 } else { 2 });
            for number in 2..40 {
                let other = listed(2, Listing::Open, number);
                commit(&store, |batch| {
                    list.put(&listed(1, Listing::Closed, 1), batch);
                    list.put(&other, batch);
                });
                commit(&store, |batch| list.delete(&other, batch));
                if number > 2 {
                    commit(&store, |batch| list.swept(number, batch));
                }
            }
            commit(&store, |batch| list.put(&kept, batch));
        }
    }

    #[test]
    fn what_another_release_says_is_refused() {
        for record in
            [&[][..], &[8, 0, 0, 0, 1], &[9, 0, 0], &[9, 0, 0, 0, 1, 0], &[10, 0, 0, 0, 1]]
        {
            assert_eq!(Read::default().take(record), None, "{record:?}");
        }
        let deleted = [&[8, 0, 0, 1, 2][..], &[7; 32]].concat();
        let mut read = Read::default();
        read.take(&deleted).unwrap();
        assert_eq!(read.rest, BTreeSet::from([258]));
        read.take(&[9, 0, 0, 1, 2]).unwrap();
        assert_eq!(read.rest, BTreeSet::new());
    }

    #[test]
    fn records_are_as_the_table_says() {
        let owner = SecretKey::from_bytes([1; 32]).public();
        let genesis = Genesis::new(Mode::Open, [7; 16], "ages", [owner]).unwrap();
        let all = [Listing::Open, Listing::Closed, Listing::Part, Listing::Map, Listing::ClosedMap];
        for (listing, byte) in all.into_iter().zip(3..) {
            let listed = Listed { listing, number: 258, genesis: genesis.clone() };
            let row = [&[byte, 0, 0, 1, 2], &genesis.encode()[..]].concat();
            assert_eq!(listed.encode(), row);
            assert_eq!(Listed::decode(&row), Some(listed));
        }
        for other in [0, 1, 2, 8] {
            assert_eq!(
                Listed::decode(&[&[other, 0, 0, 0, 0], &genesis.encode()[..]].concat()),
                None
            );
        }
    }
}
