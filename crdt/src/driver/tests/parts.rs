//! Partitions: hidden, waited for, frozen and dropped.

use std::collections::BTreeSet;

use aether_core::Hash;

use super::*;
use crate::driver::Part;

/// A driver with the room as a map's partition.
fn open_part(folder: &Path, key: u8) -> Side {
    let key = SecretKey::from_bytes([key; 32]);
    let store = Store::open(folder, Options::default()).unwrap();
    let (blamed, _) = mpsc::channel(16);
    let mut driver = Driver::open(store, key.clone(), blamed).unwrap();
    driver.open_space(genesis(), Listing::Part).unwrap();
    Side { driver, key, said: mpsc::channel(1).1 }
}

impl Side {
    fn part<T>(
        &mut self,
        part: impl FnOnce(SpaceId, oneshot::Sender<T>) -> Part,
    ) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        self.driver.on_request(Request::Part(part(genesis().space_id(), reply)));
        answer
    }

    fn freeze(&mut self) -> oneshot::Receiver<Hash> {
        self.part(|space, reply| Part::Freeze { space, reply })
    }

    fn list(&mut self) -> usize {
        let (reply, mut answer) = oneshot::channel();
        self.driver.on_request(Request::List { reply });
        answer.try_recv().unwrap().len()
    }

    fn here(&mut self) -> usize {
        let here = |space, reply| Part::Here { spaces: vec![space], reply };
        self.part(here).try_recv().unwrap().len()
    }
}

#[tokio::test]
async fn users_don_t_hear_of_partitions() {
    let folder = tempfile::tempdir().unwrap();
    let mut side = open_part(folder.path(), 1);
    assert_eq!((side.list(), side.here()), (0, 1));
    side.put(b"key", 9).try_recv().unwrap_err();
    side.settle().await;
    side.driver.end().await;
    drop(side);
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let key = SecretKey::from_bytes([1; 32]);
    let driver = Driver::open(store, key.clone(), mpsc::channel(16).0).unwrap();
    let mut side = Side { driver, key, said: mpsc::channel(1).1 };
    assert_eq!((side.list(), side.here(), side.status().entries), (0, 1, 1), "nor later");
}

#[tokio::test]
async fn who_waits_is_told_once_so_many_hold_an_entry() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut author, mut replica) = (open_part(home.path(), 1), open_part(other.path(), 2));
    author.link(&replica);
    replica.link(&author);
    talk(&mut author, &mut replica).await;
    let mut written = author.put(b"key", 9);
    author.settle().await;
    let entry = written.try_recv().unwrap().unwrap().unwrap();
    let (holder, stranger) = (replica.key.public(), SecretKey::from_bytes([3; 32]).public());
    let peers = BTreeSet::from([holder, stranger]);
    let wait = |need: usize| {
        let peers = peers.clone();
        move |space, reply| Part::Await { space, entry, peers, need, reply }
    };
    let (mut one, mut both) = (author.part(wait(1)), author.part(wait(2)));
    assert!(one.try_recv().is_err(), "it is on its way");
    talk(&mut author, &mut replica).await;
    assert_eq!(one.try_recv(), Ok(1));
    assert_eq!(author.part(wait(1)).try_recv(), Ok(1), "who asks later is told at once");
    assert_eq!(author.part(wait(0)).try_recv(), Ok(1));
    assert!(both.try_recv().is_err());
    // What isn't here is said by silence.
    let nowhere = SpaceId::from_hash(Hash::from_bytes([9; 32]));
    let context = author.part(|_, reply| Part::Context { space: nowhere, reply }).try_recv();
    assert_eq!(context, Err(oneshot::error::TryRecvError::Closed));
}

#[tokio::test]
async fn what_is_frozen_takes_nothing_until_it_is_thawed() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut author, mut replica) = (open_part(home.path(), 1), open_part(other.path(), 2));
    author.link(&replica);
    replica.link(&author);
    talk(&mut author, &mut replica).await;
    // A write is under way when the frost comes, and is synced first.
    let mut written = replica.put(b"own", 9);
    replica.driver.commit();
    let mut frozen = replica.freeze();
    assert!(frozen.try_recv().is_err());
    replica.settle().await;
    written.try_recv().unwrap().unwrap();
    let digest = frozen.try_recv().unwrap();
    assert_eq!(digest.to_string(), replica.status().digest);
    let refused = replica.put(b"late", 9).try_recv().unwrap().unwrap_err();
    assert_eq!(refused, WriteFailed::Left);
    author.put(b"theirs", 9);
    author.settle().await;
    talk(&mut author, &mut replica).await;
    assert_eq!((replica.status().entries, replica.status().peers), (1, 0));
    assert_eq!(author.status().peers, 0);

    let space = genesis().space_id();
    replica.driver.on_request(Request::Part(Part::Thaw { space }));
    talk(&mut author, &mut replica).await;
    assert_eq!(replica.status().entries, 2);
    assert_eq!(replica.status().digest, author.status().digest);
}

#[tokio::test]
async fn a_copy_is_dropped_only_if_it_is_frozen_and_holds_just_that() {
    let folder = tempfile::tempdir().unwrap();
    let mut side = open_part(folder.path(), 1);
    side.put(b"key", 9).try_recv().unwrap_err();
    side.settle().await;
    let digest = side.status().digest.parse().unwrap();
    let drop_it = |digest| move |space, reply| Part::Drop { space, digest, reply };
    let closed = Err(oneshot::error::TryRecvError::Closed);
    let refused = |result: Result<Result<(), OpenError>, _>| result.map(|_| ());
    assert_eq!(refused(side.part(drop_it(digest)).try_recv()), closed, "it isn't frozen");
    assert_eq!(side.freeze().try_recv(), Ok(digest));
    let other = Hash::from_bytes([9; 32]);
    assert_eq!(refused(side.part(drop_it(other)).try_recv()), closed, "it holds something else");
    let mut dropped = side.part(drop_it(digest));
    side.settle().await;
    dropped.try_recv().unwrap().unwrap();
    assert_eq!(side.here(), 0);
    assert!(side.driver.rooms.is_empty());
}
