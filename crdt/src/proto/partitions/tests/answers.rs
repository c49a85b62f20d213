//! Joining answers.

use proptest::prelude::*;

use super::*;
use crate::proto::{
    id::{EntryId, FeedId},
    map::Element,
    time::{Hybrid, Wall},
};

fn feed(n: u8) -> FeedId {
    FeedId { author: PublicKey::from_bytes([n; 32]), incarnation: 1 }
}

/// The element that an entry of a feed put.
fn element(feed_: u8, number: u64) -> Element {
    let hash = Hash::from_bytes([number as u8; 32]);
    let entry = EntryId { feed: feed(feed_), number, hash };
    let time = Hybrid::from_wall(Wall::from_millis(number));
    Element { entry, index: 0, time, value: vec![feed_, number as u8] }
}

fn answer(context: &[(u8, u64)], elements: &[Element]) -> Answer {
    let context = context.iter().map(|(n, upto)| (feed(*n), *upto)).collect();
    Answer { context, elements: elements.to_vec() }
}

fn joined(answers: &[Answer]) -> (Vec<Element>, Vec<usize>) {
    let joined = join(answers.iter().map(|answer| (&answer.context, &answer.elements[..])));
    (joined.elements, joined.stale.into_iter().collect())
}

#[test]
fn equal_answers_are_their_join() {
    let one = answer(&[(1, 3)], &[element(1, 2)]);
    assert_eq!(joined(&[one.clone(), one.clone()]), (one.elements, vec![]));
    assert_eq!(joined(&[]), (vec![], vec![]));
}

#[test]
fn who_hasn_t_the_entry_says_nothing_of_its_element() {
    let (new, old) = (element(1, 2), answer(&[(1, 1)], &[]));
    let fresh = answer(&[(1, 2)], std::slice::from_ref(&new));
    assert_eq!(joined(&[old, fresh.clone()]), (vec![new.clone()], vec![0]));
    let nothing = answer(&[], &[]);
    assert_eq!(joined(&[fresh, nothing]), (vec![new], vec![1]));
}

#[test]
fn who_has_the_entry_and_not_its_element_knows_that_it_is_removed() {
    let put = element(1, 2);
    let before = answer(&[(1, 2)], &[put]);
    let removed = answer(&[(1, 2), (2, 1)], &[]);
    assert_eq!(joined(&[before.clone(), removed.clone()]), (vec![], vec![0]));
    assert_eq!(joined(&[removed, before]), (vec![], vec![1]), "in whatever order");
}

#[test]
fn an_overwritten_value_gives_way_and_concurrent_ones_stand_side_by_side() {
    let (first, second, beside) = (element(1, 1), element(2, 1), element(3, 1));
    let old = answer(&[(1, 1), (3, 1)], &[first, beside.clone()]);
    let new = answer(&[(1, 1), (2, 1)], std::slice::from_ref(&second));
    assert_eq!(joined(&[old, new]), (vec![second, beside], vec![0, 1]));
}

fn page(context: &[(u8, u64)], keys: &[(&str, &[Element])], more: bool) -> Page {
    let Answer { context, .. } = answer(context, &[]);
    let keys = keys.iter().map(|(key, all)| (key.as_bytes().to_vec(), all.to_vec())).collect();
    Page { context, keys, more }
}

#[test]
fn pages_are_joined_up_to_where_the_shortest_ends() {
    let (a, b, c) = (element(1, 1), element(1, 2), element(1, 3));
    let one = page(&[(1, 3)], &[("a", std::slice::from_ref(&a)), ("c", &[c])], true);
    let other = page(&[(1, 2)], &[("a", std::slice::from_ref(&a)), ("b", &[b])], true);
    let joined = join_pages(&[one.clone(), other]);
    // The first holds the entry of b and not its element; c lies behind the end of the second.
    assert_eq!(joined.keys, [(b"a".to_vec(), vec![a.clone()])]);
    assert_eq!(joined.next.as_deref(), Some(&b"b"[..]));
    assert_eq!(joined.stale.into_iter().collect::<Vec<_>>(), [1]);
    let last = page(&[(1, 1)], &[("a", &[a])], false);
    let joined = join_pages(&[one, last]);
    assert_eq!(joined.keys.len(), 2, "who has no more doesn't end it");
    assert_eq!(joined.next.as_deref(), Some(&b"c"[..]));
}

/// One replica's history: how many entries of each of three feeds it holds, where each entry of a
/// feed puts a value at the one key, and removes the values of the entries that it had seen.
#[derive(Clone, Debug)]
struct World {
    /// Of each entry, by feed and number from 1: what it had seen of each feed.
    seen: Vec<Vec<[u64; 3]>>,
}

impl World {
    fn answer(&self, held: [u64; 3]) -> Answer {
        let all = |n: usize| (1..=held[n]).map(move |number| (n, number));
        let entries: Vec<(usize, u64)> = (0..3).flat_map(all).collect();
        let seen = |(n, number): (usize, u64)| self.seen[n][number as usize - 1];
        let is_alive = |(n, number): &(usize, u64)| {
            entries.iter().all(|by| (*n, *number) == *by || seen(*by)[*n] < *number)
        };
        let alive: Vec<Element> = entries
            .iter()
            .filter(|entry| is_alive(entry))
            .map(|(n, number)| element(*n as u8, *number))
            .collect();
        let context: Vec<(u8, u64)> = (0..3).map(|n| (n as u8, held[n])).collect();
        answer(&context, &alive)
    }

    /// What a replica holds that holds at least this, as entries come after what they had seen.
    fn closed(&self, mut held: [u64; 3]) -> [u64; 3] {
        loop {
            let before = held;
            for (entries, upto) in self.seen.iter().zip(before) {
                for seen in entries.iter().take(upto as usize) {
                    held = std::array::from_fn(|m| held[m].max(seen[m]));
                }
            }
            if held == before {
                return held;
            }
        }
    }
}

prop_compose! {
    /// Writes in some order, each by one of three who has heard a part of what was before.
    fn any_world()(writes in prop::collection::vec((0..3usize, any::<[u8; 3]>()), 1..20)) -> World {
        let mut world = World { seen: vec![Vec::new(); 3] };
        for (by, heard) in writes {
            let count = |n: usize| world.seen[n].len() as u64;
            let heard = std::array::from_fn(|n| match n == by {
                true => count(n),
                false => u64::from(heard[n]) % (count(n) + 1),
            });
            let mut heard = world.closed(heard);
            heard[by] = count(by);
            world.seen[by].push(heard);
        }
        world
    }
}

proptest! {
    #[test]
    fn the_join_is_what_one_replica_would_show(
        world in any_world(),
        parts in prop::collection::vec(any::<[u8; 3]>(), 1..4),
    ) {
        let part = |part: &[u8; 3]| {
            let held = |n: usize| u64::from(part[n]) % (world.seen[n].len() as u64 + 1);
            world.closed(std::array::from_fn(held))
        };
        let parts: Vec<[u64; 3]> = parts.iter().map(part).collect();
        let answers: Vec<Answer> = parts.iter().map(|held| world.answer(*held)).collect();
        let all = std::array::from_fn(|n| parts.iter().map(|held| held[n]).max().unwrap_or(0));
        let (mut elements, stale) = joined(&answers);
        let mut expected = world.answer(all).elements;
        elements.sort_by_key(|element| element.entry);
        expected.sort_by_key(|element| element.entry);
        for (place, answer) in answers.iter().enumerate() {
            let mut shown = answer.elements.clone();
            shown.sort_by_key(|element| element.entry);
            prop_assert_eq!(stale.contains(&place), shown != expected);
        }
        prop_assert_eq!(elements, expected);
    }
}
