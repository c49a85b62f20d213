//! What fits into one entry, and what is done about the rest.

use super::*;

fn elements(count: u32) -> Vec<Edit> {
    let set = collections()[1];
    (0..count).map(|n| edit(set, &n.to_be_bytes(), Action::Put(vec![]))).collect()
}

/// A replica where `authors` others put a value at a key of their own, and at `b"all"`.
fn crowded(authors: u8) -> Replica {
    let mut replica = Replica::default();
    for author in 2..2 + authors {
        let ops = vec![put(&[author], "theirs", &[]), put(b"all", "theirs", &[])];
        replica.apply(&said(id(feed(author, 1), 1, 0), None, map(), ops));
    }
    replica
}

#[test]
fn an_entry_takes_so_many_operations_groups_and_bytes() {
    let replica = Replica::default();
    let found = drafted(&replica, &elements(65_537));
    assert_eq!((found.ops.len(), found.taken), (65_536, 65_536));

    let named = |n: u32| Collection::new(Kind::Register, &n.to_string());
    let registers: Vec<Edit> = (0..257).map(|n| write(named(n), b"", "v")).collect();
    assert_eq!(drafted(&replica, &registers).taken, 256);

    // An operation and its length are 10 bytes beside the value here, a group 21.
    let put = |key: &[u8; 1], len| edit(map(), key, Action::Put(vec![0; len]));
    let half = (1 << 19) - 10;
    for (rest, taken) in [(half - 21, 2), (half - 20, 1)] {
        let found = drafted(&replica, &[put(b"a", half), put(b"b", rest)]);
        assert_eq!(found.taken, taken);
    }
    // What takes the place of something doesn't need its room.
    let large = [put(b"a", 1_000_000), put(b"a", 1_000_000), put(b"a", 1), put(b"b", 1_000_000)];
    assert_eq!(drafted(&replica, &large).taken, 4);
}

#[test]
fn the_largest_edit_fits_an_entry_of_its_own() {
    let mut replica = Replica::default();
    let key = vec![0; MAX_KEY];
    // 32 feeds, each of them forked.
    for author in 2..34 {
        let trunk = id(feed(author, 1), 1, 0);
        replica.apply(&said(trunk, None, map(), vec![]));
        for lane in 0..2 {
            let head = id(feed(author, 1), 2, lane);
            replica.apply(&said(head, Some(trunk), map(), vec![put(&key, "theirs", &[])]));
        }
    }
    let largest = edit(map(), &key, Action::Put(vec![1; MAX_VALUE]));
    let found = drafted(&replica, &[largest]);
    assert_eq!((found.taken, found.named.len()), (1, 32));
    assert_eq!(ops(&found)[0].over().len(), 64);
    commit(&mut replica, &found);
    assert_eq!(replica.values(&map(), &key).len(), 1);
}

#[test]
fn an_entry_names_32_feeds() {
    let replica = crowded(33);
    let keys: Vec<Edit> = (2..35).map(|author| write(map(), &[author], "mine")).collect();
    let found = drafted(&replica, &keys);
    assert_eq!((found.named.len(), found.taken), (32, 32));
    // A feed that is named twice is one feed, and a key of nobody needs none.
    let mut again = keys[..32].to_vec();
    again.extend([write(map(), &[2], "again"), write(map(), b"new", "mine")]);
    assert_eq!(drafted(&replica, &again).taken, 34);
}

#[test]
fn what_more_feeds_wrote_than_an_entry_names_is_removed_in_several() {
    let mut replica = crowded(70);
    let edits = [write(map(), b"all", "mine"), write(map(), b"k", "mine")];
    for left in [70 - 32, 70 - 64] {
        let found = drafted(&replica, &edits);
        assert_eq!((found.taken, found.named.len(), found.ops.len()), (0, 32, 1));
        assert_eq!(*ops(&found)[0].change(), Change::Remove);
        commit(&mut replica, &found);
        assert_eq!(replica.values(&map(), b"all").len(), left);
    }
    let found = drafted(&replica, &edits);
    assert_eq!((found.taken, found.named.len()), (2, 6));
    commit(&mut replica, &found);
    assert_eq!(replica.values(&map(), b"all"), [b"mine"]);

    // Behind another edit it waits for the next entry.
    let replica = crowded(70);
    let found = drafted(&replica, &[edits[1].clone(), edits[0].clone()]);
    assert_eq!((found.taken, found.named.len()), (1, 0));
}
