//! Two drivers in one process, whose links are carried by hand.

mod leaving;
mod parts;
mod repair;

use std::path::Path;

use aether_store::{Faults, Options};

use super::{link::Frame, list::Listing, *};
use crate::{
    proto::{
        entry::{Collection, Kind},
        map::Action,
        space::{Genesis, Mode},
    },
    spaces::{OpenError, Status},
};

/// A driver that nobody runs, and what it has said to its only peer.
struct Side {
    driver: Driver,
    key: SecretKey,
    said: mpsc::Receiver<Frame>,
}

fn genesis() -> Genesis {
    let owner = SecretKey::from_bytes([9; 32]).public();
    Genesis::new(Mode::Open, [1; 16], "room", [owner]).unwrap()
}

fn open(folder: &Path, key: u8, faults: Option<Faults>) -> Side {
    let key = SecretKey::from_bytes([key; 32]);
    let store = Store::open(folder, Options { faults, ..Options::default() }).unwrap();
    let (blamed, _) = mpsc::channel(16);
    let mut driver = Driver::open(store, key.clone(), blamed).unwrap();
    driver.open_space(genesis(), Listing::Open).unwrap();
    Side { driver, key, said: mpsc::channel(1).1 }
}

impl Side {
    fn peer(&self) -> PeerId {
        aether_mesh::identity::peer_id(&self.key.public())
    }

    fn link(&mut self, other: &Self) {
        let (frames, said) = mpsc::channel(64);
        self.said = said;
        self.driver.on_event(Event::Up { peer: other.peer(), number: 1, frames });
    }

    /// Hears what the other has said.
    fn hear(&mut self, other: &mut Self) {
        while let Ok(frame) = other.said.try_recv() {
            self.driver.on_event(Event::Frame { peer: other.peer(), number: 1, frame });
        }
    }

    fn put(&mut self, key: &[u8], len: usize) -> oneshot::Receiver<Result<Written, WriteFailed>> {
        let collection = Collection::new(Kind::Map, "all");
        let edit = Edit::new(collection, key.to_vec(), Action::Put(vec![7; len])).unwrap();
        let (reply, answer) = oneshot::channel();
        let space = genesis().space_id();
        self.driver.on_request(Request::Edit { space, edits: vec![edit], reply });
        answer
    }

    /// Commits until nothing is left to be committed.
    async fn settle(&mut self) {
        loop {
            self.driver.linger = Time::ZERO;
            self.driver.commit();
            if self.driver.committing.is_none() {
                return;
            }
            let done = committed(&mut self.driver.committing).await;
            self.driver.on_committed(done);
        }
    }

    fn status(&self) -> Status {
        Status::of(&self.driver.rooms[&genesis().space_id()].replica)
    }
}

/// Says all that there is to say.
async fn talk(one: &mut Side, other: &mut Side) {
    for _ in 0..4 {
        one.hear(other);
        one.settle().await;
        other.hear(one);
        other.settle().await;
    }
}

#[tokio::test]
async fn what_builds_on_a_commit_that_failed_is_not_written_though_there_is_room_again() {
    let (home, small) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let faults = Faults::new();
    let mut author = open(home.path(), 1, None);
    let mut replica = open(small.path(), 2, Some(faults.clone()));
    author.link(&replica);
    replica.link(&author);
    talk(&mut author, &mut replica).await;

    // A commit of somebody else holds up the disk.
    faults.stall();
    let mut other = Batch::new();
    other.put(&replica.driver.store.keyspace("other").unwrap(), b"key", b"value");
    let other = replica.driver.store.commit(other, Durability::Synced);

    // A large entry is on its way to it, and a small one that builds on it is gathered.
    let mut written = author.put(b"large", 50_000);
    author.settle().await;
    written.try_recv().unwrap().unwrap();
    replica.hear(&mut author);
    replica.driver.commit();
    let mut written = author.put(b"small", 10);
    author.settle().await;
    written.try_recv().unwrap().unwrap();
    replica.hear(&mut author);
    assert!(replica.driver.committing.is_some());
    assert!(!replica.driver.gathered.generations.is_empty());

    // The disk has no room for the first, and some for the second.
    faults.fill_disk(20_000);
    faults.resume();
    other.await.unwrap();
    let mut refused = replica.put(b"own", 10);
    replica.settle().await;
    let refused = refused.try_recv().unwrap().unwrap_err();
    assert_eq!(refused, WriteFailed::Refused(WriteError::Failed));
    assert!(replica.status().has_failed && replica.status().entries == 0);
    replica.driver.end().await;
    drop(replica);

    let mut replica = open(small.path(), 2, None);
    assert_eq!(replica.status().entries, 0);
    author.link(&replica);
    replica.link(&author);
    talk(&mut author, &mut replica).await;
    assert_eq!(replica.status().entries, 2);
    assert_eq!(replica.status().digest, author.status().digest);
}
