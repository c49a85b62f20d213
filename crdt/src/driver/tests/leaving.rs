//! Closing and deleting, with ends in between that aren't orderly: the driver is dropped, and what
//! was synced is all that is left.

use super::*;

impl Side {
    fn leave(&mut self, deletes: bool) -> oneshot::Receiver<Result<(), OpenError>> {
        let (reply, answer) = oneshot::channel();
        let space = genesis().space_id();
        self.driver.on_request(Request::Leave { space, deletes, reply });
        answer
    }

    fn again(&mut self) -> oneshot::Receiver<Result<Opened, OpenError>> {
        let (reply, answer) = oneshot::channel();
        let space = genesis().space_id();
        self.driver.on_request(Request::Again { space, reply });
        answer
    }

    /// One commit, if there is something to commit. Tells whether there was.
    async fn step(&mut self) -> bool {
        self.driver.linger = Time::ZERO;
        self.driver.commit();
        if self.driver.committing.is_none() {
            return false;
        }
        let done = committed(&mut self.driver.committing).await;
        self.driver.on_committed(done);
        true
    }

    /// How many rows begin with a number.
    fn rows(&self, number: u32) -> usize {
        let all = number.to_be_bytes()..(number + 1).to_be_bytes();
        let rows = self.driver.racks.all().map(|rack| rack.range(all.clone()));
        rows.into_iter().flatten().map(Result::unwrap).count()
    }

    fn number(&self) -> u32 {
        self.driver.rooms[&genesis().space_id()].opened.shelf.number()
    }

    /// How many spaces are in the list.
    fn listed(&self) -> usize {
        List::open(&self.driver.store).unwrap().1.spaces.len()
    }

    /// Spaces that were deleted and of which something may be left.
    fn rest(&self) -> usize {
        List::open(&self.driver.store).unwrap().1.rest.len()
    }
}

/// A driver that starts on a folder, and opens nothing.
fn start(folder: &Path) -> Side {
    let key = SecretKey::from_bytes([1; 32]);
    let store = Store::open(folder, Options::default()).unwrap();
    let (blamed, _) = mpsc::channel(16);
    let driver = Driver::open(store, key.clone(), blamed).unwrap();
    Side { driver, key, said: mpsc::channel(1).1 }
}

#[tokio::test]
async fn a_deletion_that_is_interrupted_goes_on_and_touches_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let mut side = open(home.path(), 1, None);
    for n in 0..14_u8 {
        drop(side.put(&[n], 900_000));
        side.settle().await;
    }
    assert_eq!((side.number(), side.status().entries), (0, 14));
    let mut left = side.leave(true);
    assert!(side.step().await);
    left.try_recv().unwrap().unwrap();
    // It is deleted once that is synced; its rows are removed later.
    let mut rows = side.rows(0);
    assert!(rows > 14 && side.rest() == 1);

    // Each life removes some, is killed, and the next goes on.
    let mut lives = 0;
    while rows > 0 {
        drop(side);
        side = start(home.path());
        assert!(side.driver.rooms.is_empty(), "it isn't there any more");
        assert!(side.step().await);
        assert!(side.rows(0) < rows);
        rows = side.rows(0);
        lives += 1;
    }
    assert!(lives > 2, "{lives}");
    // The number isn't free before the list says that nothing is left.
    drop(side);
    side = start(home.path());
    side.driver.open_space(genesis(), Listing::Open).unwrap();
    assert_eq!((side.number(), side.status().entries, side.rest()), (1, 0, 1));
    drop(side.put(b"new", 10));
    side.settle().await;
    let own = side.rows(1);
    assert!(own > 0 && side.rest() == 0 && side.rows(0) == 0);
    drop(side);
    let mut side = start(home.path());
    assert_eq!((side.number(), side.status().entries, side.rows(1)), (1, 1, own));
    assert!(!side.step().await, "nothing is left to be done");
}

#[tokio::test]
async fn who_is_killed_before_it_is_written_down_has_left_nothing() {
    let home = tempfile::tempdir().unwrap();
    for deletes in [false, true] {
        let mut side = open(home.path(), 1, None);
        drop(side.put(b"key", 10));
        side.settle().await;
        let entries = side.status().entries;
        let mut left = side.leave(deletes);
        assert!(left.try_recv().is_err(), "it isn't said before it is so");
        drop(side);
        let side = start(home.path());
        assert_eq!(side.status().entries, entries);
        assert_eq!(side.rest(), 0);
    }
}

#[tokio::test]
async fn what_was_written_before_is_written_and_what_comes_then_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let mut side = open(home.path(), 1, None);
    let mut first = side.put(b"first", 10);
    side.driver.commit();
    assert!(side.driver.committing.is_some());
    let mut waiting = side.put(b"waiting", 10);
    let mut left = side.leave(false);
    let mut late = side.put(b"late", 10);
    for refused in [&mut waiting, &mut late] {
        assert_eq!(refused.try_recv().unwrap().unwrap_err(), WriteFailed::Left);
    }
    assert_eq!(side.driver.waiting, 0);
    // What comes while it is being closed waits for that.
    let (mut twice, mut again) = (side.leave(false), side.again());
    side.settle().await;
    first.try_recv().unwrap().unwrap();
    left.try_recv().unwrap().unwrap();
    twice.try_recv().unwrap().unwrap();
    again.try_recv().unwrap().unwrap();
    assert_eq!(side.status().entries, 1);
}

#[tokio::test]
async fn own_feeds_of_closed_spaces_go_on_after_orderly_ends() {
    let home = tempfile::tempdir().unwrap();
    let mut side = open(home.path(), 1, None);
    drop(side.put(b"key", 10));
    side.settle().await;
    drop(side.leave(false));
    side.settle().await;
    for _ in 0..2 {
        side.driver.end().await;
        drop(side);
        side = start(home.path());
        assert!(side.driver.rooms.is_empty());
    }
    drop(side.again());
    drop(side.put(b"key", 11));
    side.settle().await;
    assert_eq!((side.status().entries, side.status().feeds), (2, 1));
    // Of one that was deleted none goes on.
    drop(side.leave(true));
    side.settle().await;
    assert!(side.driver.tips.is_empty());
}

#[tokio::test]
async fn a_list_that_can_not_be_written_leaves_all_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let faults = Faults::new();
    let mut side = open(home.path(), 1, Some(faults.clone()));
    drop(side.put(b"key", 10));
    side.settle().await;
    faults.fail_next_sync();
    let (mut left, mut again) = (side.leave(true), side.again());
    side.settle().await;
    assert!(matches!(left.try_recv().unwrap(), Err(OpenError::Write(_))));
    again.try_recv().unwrap().unwrap();
    assert!(side.status().has_failed);
    drop(side);
    let side = start(home.path());
    // Nobody knows what the disk has after a sync that failed: one or the other, whole.
    assert_eq!(side.rest(), usize::from(side.driver.rooms.is_empty()));
}

#[tokio::test]
async fn an_offer_that_is_taken_back_begins_no_session() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut side = open(home.path(), 1, None);
    let mut peer = start(other.path());
    peer.key = SecretKey::from_bytes([2; 32]);
    peer.driver.key = peer.key.clone();
    side.link(&peer);
    peer.link(&side);
    talk(&mut side, &mut peer).await;
    drop(side.leave(false));
    talk(&mut side, &mut peer).await;
    peer.driver.open_space(genesis(), Listing::Open).unwrap();
    talk(&mut side, &mut peer).await;
    assert_eq!(peer.status().peers, 0, "nobody is there");
    drop(side.again());
    talk(&mut side, &mut peer).await;
    assert_eq!((side.status().peers, peer.status().peers), (1, 1));
}

#[tokio::test]
async fn who_is_met_while_a_space_is_left_hears_nothing_of_it() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut side, mut peer) = (open(home.path(), 1, None), open(other.path(), 2, None));
    drop(peer.put(b"key", 10));
    peer.settle().await;
    let mut left = side.leave(true);
    side.link(&peer);
    peer.link(&side);
    for _ in 0..4 {
        side.hear(&mut peer);
        peer.hear(&mut side);
        peer.settle().await;
    }
    assert_eq!(peer.status().peers, 0);
    side.settle().await;
    left.try_recv().unwrap().unwrap();
    assert_eq!((side.rows(0), side.rest()), (0, 0));
}

/// The partition of the room as a map.
fn part() -> Genesis {
    crate::proto::partitions::genesis_of(&genesis(), 3)
}

impl Side {
    fn open_map(&mut self) {
        self.driver.open_space(genesis(), Listing::Map).unwrap();
    }

    /// How many of the map's partitions are here, once they were opened.
    fn parts(&mut self) -> usize {
        let (reply, mut answer) = oneshot::channel();
        let spaces = vec![part().space_id()];
        self.driver.on_request(Request::Part(Part::Here { spaces, reply }));
        answer.try_recv().unwrap().len()
    }
}

#[tokio::test]
async fn a_map_s_partitions_are_left_with_it_and_open_when_it_asks_for_them() {
    let home = tempfile::tempdir().unwrap();
    let mut side = start(home.path());
    side.open_map();
    side.driver.open_space(part(), Listing::Part).unwrap();
    drop(side);
    let mut side = start(home.path());
    assert_eq!((side.driver.rooms.len(), side.parts(), side.driver.rooms.len()), (1, 1, 2));
    let is_map = |side: &Side| side.driver.rooms[&genesis().space_id()].opened.is_map;
    assert!(is_map(&side), "it is known as one");

    let mut left = side.leave(false);
    side.settle().await;
    left.try_recv().unwrap().unwrap();
    assert!(side.driver.rooms.is_empty());
    drop(side);
    let mut side = start(home.path());
    assert!(side.driver.rooms.is_empty());
    assert_eq!(side.driver.leaves.closed(), [genesis()], "users hear of the map alone");
    side.driver.open_space(genesis(), Listing::Open).unwrap();
    assert!(is_map(&side), "it stays one");
    assert_eq!(side.parts(), 1);

    let mut left = side.leave(true);
    side.settle().await;
    left.try_recv().unwrap().unwrap();
    assert!(side.driver.rooms.is_empty() && side.driver.leaves.closed().is_empty());
    assert_eq!((side.parts(), side.listed()), (0, 0));
}

#[tokio::test]
async fn a_space_that_is_joined_as_a_map_is_one_from_then_on() {
    let home = tempfile::tempdir().unwrap();
    let mut side = open(home.path(), 1, None);
    drop(side.put(b"key", 10));
    side.settle().await;
    side.open_map();
    assert_eq!(side.status().entries, 1);
    drop(side);
    let side = start(home.path());
    let room = &side.driver.rooms[&genesis().space_id()];
    assert!(room.opened.is_map && side.status().entries == 1);
}

#[test]
fn a_folder_whose_list_lies_elsewhere_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), Options::default()).unwrap();
    drop(store.keyspace("space-list").unwrap());
    let (blamed, _) = mpsc::channel(16);
    let refused = Driver::open(store, SecretKey::from_bytes([1; 32]), blamed);
    assert!(matches!(refused.err(), Some(StartError::List)));
}
