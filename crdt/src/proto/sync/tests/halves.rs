//! The two halves of a session, each by itself and one against the other.

use aether_core::{Hash, PublicKey};

use super::super::*;
use crate::proto::id::{EntryId, FeedId, Position};

fn feed(author: u8) -> FeedId {
    FeedId { author: PublicKey::from_bytes([author; 32]), incarnation: 7 }
}

fn at(position: u64) -> Position {
    Position::from_number(position)
}

fn stored(position: u64, author: u8, number: u64, bytes: usize) -> Stored {
    let id = EntryId { feed: feed(author), number, hash: Hash::from_bytes([1; 32]) };
    // The first byte says which it is.
    let header = vec![u8::try_from(position % 256).unwrap()];
    Stored { position: at(position), id, header, payload: vec![0; bytes - 1] }
}

/// Fetches all of `store` and sends as long as there is room: the positions that went out.
fn drain(sending: &mut Sending, store: &[Stored], forked: &[FeedId]) -> Vec<u8> {
    let synced = store.last().unwrap().position;
    let mut sent = Vec::new();
    loop {
        while let Some(message) = sending.next(|feed| forked.contains(feed)) {
            let Message::Entry { n, header, .. } = message else { panic!("{message:?}") };
            sent.push(header[0]);
            assert!(n >= sent.len() as u64, "numbers have no gap");
        }
        let Some(after) = sending.fetch(synced) else { return sent };
        let entries = store.iter().filter(|entry| entry.position > after);
        let entries: Vec<Stored> = entries.take(3).cloned().collect();
        let upto = if entries.len() < 3 { synced } else { entries[2].position };
        sending.fetched(entries, upto);
    }
}

#[test]
fn what_a_peer_lacks_goes_out_in_the_order_of_intake() {
    let store: Vec<Stored> = vec![
        stored(1, 1, 1, 9),
        stored(2, 2, 1, 9),
        stored(3, 1, 2, 9),
        stored(4, 3, 1, 9),
        stored(5, 2, 2, 9),
        stored(6, 1, 3, 9),
    ];
    let mut sending = Sending::default();
    // The third feed is equal; of the first the peer has one entry, and nothing of the second.
    sending.begin(at(6), [(feed(1), 1, at(3)), (feed(2), 0, at(2))]);
    assert_eq!(drain(&mut sending, &store, &[]), [2, 3, 5, 6]);
    assert!(!sending.is_idle(at(6)), "nothing is acknowledged");
    assert!(sending.acked(4));
    assert!(sending.is_idle(at(6)));
}

#[test]
fn what_is_taken_in_later_follows_but_not_to_whom_it_came_from() {
    let mut store = vec![stored(1, 1, 1, 9), stored(2, 1, 2, 9)];
    let mut sending = Sending::default();
    sending.begin(at(2), []);
    assert!(sending.is_idle(at(2)));
    store.extend([stored(3, 1, 3, 9), stored(4, 2, 1, 9), stored(5, 1, 4, 9)]);
    sending.knows(&store[3].id);
    assert_eq!(drain(&mut sending, &store, &[]), [3, 5]);
}

#[test]
fn of_a_forked_feed_that_differs_all_is_sent_and_of_an_equal_one_nothing() {
    let store = vec![stored(1, 1, 1, 9), stored(2, 1, 2, 9), stored(3, 2, 1, 9)];
    let forked = [feed(1), feed(2)];
    let mut sending = Sending::default();
    sending.begin(at(3), [(feed(1), 2, at(1))]);
    assert_eq!(drain(&mut sending, &store, &forked), [1, 2]);
}

#[test]
fn no_more_is_on_its_way_than_the_window_and_an_acknowledgement_makes_room() {
    let half = MAX_UNACKED_BYTES / 2;
    let store: Vec<Stored> = (1..=4).map(|n| stored(n, 1, n, half)).collect();
    let mut sending = Sending::default();
    sending.begin(at(4), [(feed(1), 0, at(1))]);
    assert_eq!(drain(&mut sending, &store, &[]), [1, 2]);
    assert_eq!(sending.unacked(), 2);
    assert!(sending.acked(1));
    assert_eq!(drain(&mut sending, &store, &[]), [3]);
    assert!(!sending.acked(9), "nobody sent that many");
    let small: Vec<Stored> = (1..=300).map(|n| stored(n, 1, n, 2)).collect();
    let mut sending = Sending::default();
    sending.begin(at(300), [(feed(1), 0, at(1))]);
    assert_eq!(drain(&mut sending, &small, &[]).len(), MAX_UNACKED);
    assert!(sending.acked(MAX_UNACKED as u64));
    assert_eq!(drain(&mut sending, &small, &[]).len(), 300 - MAX_UNACKED);
}

#[test]
fn one_entry_larger_than_the_window_goes_alone() {
    let large = MAX_UNACKED_BYTES + 9;
    let store = vec![stored(1, 1, 1, 9), stored(2, 1, 2, large), stored(3, 1, 3, 9)];
    let mut sending = Sending::default();
    sending.begin(at(3), [(feed(1), 0, at(1))]);
    assert_eq!(drain(&mut sending, &store, &[]), [1]);
    assert!(sending.acked(1));
    assert_eq!(drain(&mut sending, &store, &[]), [2]);
    let mut receiving = Receiving::default();
    assert!(receiving.begin(1, large));
    assert!(!receiving.begin(2, 9), "an honest sender waits");
}

#[test]
fn acknowledgements_come_in_order_and_name_what_was_not_taken() {
    let mut receiving = Receiving::default();
    assert!((1..=3).all(|n| receiving.begin(n, 9)));
    receiving.end(2, false);
    assert_eq!(receiving.ack(), None, "the first is still open");
    receiving.end(1, true);
    receiving.end(1, false);
    assert_eq!(receiving.ack(), Some(Message::Ack { upto: 2, not: vec![2] }));
    assert_eq!((receiving.ack(), receiving.open()), (None, 1));
    assert!(!receiving.begin(5, 9), "a gap");
    assert!(!receiving.begin(3, 9), "again");
    receiving.end(9, true);
    receiving.end(3, true);
    assert_eq!(receiving.ack(), Some(Message::Ack { upto: 3, not: vec![] }));
}

#[test]
fn many_refusals_take_several_acknowledgements() {
    let mut receiving = Receiving::default();
    assert!((1..=100).all(|n| receiving.begin(n, 9)));
    (1..=100).for_each(|n| receiving.end(n, false));
    let (mut named, mut last) = (0, 0);
    while let Some(Message::Ack { upto, not }) = receiving.ack() {
        assert!(not.len() <= MAX_NOT && upto > last);
        (named, last) = (named + not.len(), upto);
    }
    assert_eq!((named, last), (100, 100));
}

#[test]
fn a_peer_that_sends_beyond_the_window_is_told_from_an_honest_one() {
    let mut receiving = Receiving::default();
    assert!((1..=MAX_UNACKED as u64).all(|n| receiving.begin(n, 9)));
    assert!(!receiving.begin(MAX_UNACKED as u64 + 1, 9));
}

#[test]
fn the_rows_of_several_messages_follow_each_other() {
    let mut gathered = Gathered::default();
    let rows = |authors: &[u8]| authors.iter().map(|a| Row::empty(feed(*a))).collect::<Vec<_>>();
    assert!(gathered.extend(rows(&[1, 3]), 4));
    assert!(!gathered.extend(rows(&[2]), 4), "out of order");
    assert!(!gathered.extend(rows(&[3]), 4), "again");
    assert!(!gathered.extend(rows(&[4, 5, 6]), 4), "too many");
    assert!(gathered.extend(rows(&[4]), 4));
    assert_eq!(gathered.take(), rows(&[1, 3, 4]));
    assert!(gathered.take().is_empty());
    assert!(gathered.extend(rows(&[1]), 4), "it began anew");
}
