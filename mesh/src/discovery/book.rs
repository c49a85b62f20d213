//! The address book: peers that were reached, remembered over restarts.
//!
//! Kept in the node's store, keyspace `book`: key is the peer id, value the CBOR array of its
//! addresses (as text), newest first, and the time of writing in seconds since the Unix epoch. It
//! is written without waiting for the disk: what is lost is found again.

use std::collections::BTreeMap;

use aether_core::wire::{from_cbor, to_cbor};
use aether_store::{Batch, Durability, Keyspace, Store};
use libp2p::{Multiaddr, PeerId};

use crate::clock::wall_millis;

const MAX_PEERS: usize = 1024;
const MAX_ADDRESSES: usize = 4;
/// What wasn't seen for so long is left out: 30 days, in seconds.
const MAX_AGE: u64 = 30 * 24 * 3600;

pub(crate) struct Book {
    store: Store,
    keyspace: Keyspace,
    known: BTreeMap<PeerId, (Vec<Multiaddr>, u64)>,
}

impl Book {
    /// Reads what is remembered. An entry that can't be read is forgotten.
    pub(crate) fn open(store: Store) -> Result<Self, aether_store::KeyspaceError> {
        let keyspace = store.keyspace("book")?;
        let oldest = now().saturating_sub(MAX_AGE);
        let mut known = BTreeMap::new();
        for entry in keyspace.prefix(b"") {
            let entry = entry.ok().and_then(|(key, value)| decode(&key, &value));
            match entry {
                Some((peer, addresses, at)) if at >= oldest => {
                    known.insert(peer, (addresses, at));
                }
                Some(_) => {}
                None => tracing::warn!("forgot an address book entry that can't be read"),
            }
        }
        let mut book = Self { store, keyspace, known };
        // A removal that the store had no room for is on disk still.
        while book.known.len() > MAX_PEERS {
            book.forget_oldest();
        }
        Ok(book)
    }

    fn forget_oldest(&mut self) -> Option<PeerId> {
        let oldest = self.known.iter().min_by_key(|(_, (_, at))| *at);
        let oldest = oldest.map(|(peer, _)| *peer)?;
        self.known.remove(&oldest);
        Some(oldest)
    }

    pub(crate) fn remembered(&self) -> Vec<(PeerId, Multiaddr)> {
        let all = self.known.iter();
        all.flat_map(|(peer, (addresses, _))| addresses.iter().map(|a| (*peer, a.clone())))
            .collect()
    }

    /// Notes that a peer was reached and says that it is there.
    pub(crate) fn remember(&mut self, peer: PeerId, address: &Multiaddr) {
        let now = now();
        let mut batch = Batch::new();
        if !self.known.contains_key(&peer)
            && self.known.len() >= MAX_PEERS
            && let Some(oldest) = self.forget_oldest()
        {
            batch.remove(&self.keyspace, oldest.to_bytes());
        }
        let (addresses, at) = self.known.entry(peer).or_default();
        // The same news within an hour isn't worth a write.
        if addresses.contains(address) && now < *at + 3600 {
            return;
        }
        addresses.retain(|known| known != address);
        addresses.insert(0, address.clone());
        addresses.truncate(MAX_ADDRESSES);
        *at = now;
        batch.put(&self.keyspace, peer.to_bytes(), &encode(addresses, now));
        // Never waited for: with the queue full, the next sighting tries again.
        if self.store.try_commit(batch, Durability::Buffered).is_err() {
            self.known.remove(&peer);
        }
    }
}

fn now() -> u64 {
    wall_millis() / 1000
}

fn encode(addresses: &[Multiaddr], at: u64) -> Vec<u8> {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    to_cbor(&(addresses, at))
}

fn decode(key: &[u8], value: &[u8]) -> Option<(PeerId, Vec<Multiaddr>, u64)> {
    let peer = PeerId::from_bytes(key).ok()?;
    let (addresses, at): (Vec<String>, u64) = from_cbor(value).ok()?;
    let addresses = addresses.iter().filter_map(|text| text.parse().ok()).take(MAX_ADDRESSES);
    Some((peer, addresses.collect(), at))
}

#[cfg(test)]
mod tests {
    use aether_store::Options;

    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn what_was_remembered_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let peer = PeerId::random();
        {
            let mut book = Book::open(Store::open(&path, Options::default()).unwrap()).unwrap();
            for port in 1..10 {
                book.remember(peer, &address(port));
            }
            book.store.commit(Batch::new(), Durability::Synced).wait().unwrap();
        }
        let book = Book::open(Store::open(&path, Options::default()).unwrap()).unwrap();
        let expected: Vec<_> = (6..10).rev().map(|port| (peer, address(port))).collect();
        assert_eq!(book.remembered(), expected, "the newest four, newest first");
    }

    #[test]
    fn the_book_is_bounded() {
        let mut book = Book::open(Store::temporary(Options::default()).unwrap()).unwrap();
        for _ in 0..MAX_PEERS + 50 {
            book.remember(PeerId::random(), &address(1));
            // What the store's queue has no room for isn't remembered: that isn't the point here.
            book.store.commit(Batch::new(), Durability::Buffered).wait().unwrap();
        }
        assert_eq!(book.known.len(), MAX_PEERS);
        assert_eq!(Book::open(book.store).unwrap().known.len(), MAX_PEERS);
    }

    #[test]
    fn of_too_many_on_disk_the_oldest_are_left_out() {
        let store = Store::temporary(Options::default()).unwrap();
        let keyspace = store.keyspace("book").unwrap();
        let mut batch = Batch::new();
        let now = now();
        for age in 0..MAX_PEERS as u64 + 50 {
            let entry = encode(&[address(1)], now - age);
            batch.put(&keyspace, PeerId::random().to_bytes(), &entry);
        }
        store.commit(batch, Durability::Buffered).wait().unwrap();
        let book = Book::open(store).unwrap();
        let oldest = book.known.values().map(|(_, at)| now - at).max();
        assert_eq!((book.known.len(), oldest), (MAX_PEERS, Some(MAX_PEERS as u64 - 1)));
    }

    #[test]
    fn an_unreadable_entry_is_skipped() {
        let store = Store::temporary(Options::default()).unwrap();
        let keyspace = store.keyspace("book").unwrap();
        let mut batch = Batch::new();
        batch.put(&keyspace, b"no peer id", b"no cbor");
        store.commit(batch, Durability::Buffered).wait().unwrap();
        assert_eq!(Book::open(store).unwrap().remembered(), []);
    }
}
