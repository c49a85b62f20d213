//! Answers: what owners say of a key, and what that comes to together.
//!
//! # The join
//!
//! An answer holds the alive elements of a key, and of each feed the number up to which its giver
//! holds all entries: the causal context. An element of one answer is alive in the join unless
//! another's context covers its entry and that answer lacks it: whoever holds an entry and not its
//! element holds what removed it. So the join of answers is what one replica would show that held
//! all that the answerers hold (Bieniusa and others, arXiv 1210.3368; Almeida and others, delta
//! state CRDTs with causal contexts, arXiv 1603.01529).
//!
//! That is exact for all feeds but those whose authors forked them: of two branches a number
//! doesn't tell which is held, so an element of one may be missed until the replicas have compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::proto::{id::FeedId, map::Element};

/// Of each feed, the number up to which all entries are held.
pub type Context = BTreeMap<FeedId, u64>;

/// What one owner says of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What it holds. Read before the elements, so that it claims no more than they show.
    pub context: Context,
    /// The key's alive elements.
    pub elements: Vec<Element>,
}

/// What several answers come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// The alive elements, by entry and index.
    pub elements: Vec<Element>,
    /// Which of the answers differ from that: whoever gave them lacks a write.
    pub stale: BTreeSet<usize>,
}

/// Joins what several owners say of one key.
pub fn join<'a>(answers: impl IntoIterator<Item = (&'a Context, &'a [Element])>) -> Joined {
    let answers: Vec<(&Context, &[Element])> = answers.into_iter().collect();
    let name = |element: &Element| (element.entry, element.index);
    let shown: Vec<BTreeSet<_>> =
        answers.iter().map(|(_, elements)| elements.iter().map(name).collect()).collect();
    let is_dead = |element: &Element| {
        let EntryName { feed, number } = element.into();
        answers.iter().zip(&shown).any(|((context, _), shown)| {
            let is_covered = context.get(&feed).is_some_and(|upto| number <= *upto);
            is_covered && !shown.contains(&name(element))
        })
    };
    let all = answers.iter().flat_map(|(_, elements)| elements.iter());
    let all: BTreeMap<_, &Element> = all.map(|element| (name(element), element)).collect();
    let alive: BTreeMap<_, &Element> =
        all.into_iter().filter(|(_, element)| !is_dead(element)).collect();
    let is_stale = |shown: &BTreeSet<_>| !shown.iter().eq(alive.keys());
    let stale = shown.iter().enumerate().filter(|(_, shown)| is_stale(shown));
    Joined {
        stale: stale.map(|(place, _)| place).collect(),
        elements: alive.into_values().cloned().collect(),
    }
}

struct EntryName {
    feed: FeedId,
    number: u64,
}

impl From<&Element> for EntryName {
    fn from(element: &Element) -> Self {
        Self { feed: element.entry.feed, number: element.entry.number }
    }
}

/// A page of one owner's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What it holds. Read before the keys.
    pub context: Context,
    /// Keys with their alive elements, ascending.
    pub keys: Vec<(Vec<u8>, Vec<Element>)>,
    /// Whether there are more behind the last.
    pub more: bool,
}

/// Pages of one partition, joined key by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinedPage {
    /// Keys that have alive elements, ascending.
    pub keys: Vec<(Vec<u8>, Vec<Element>)>,
    /// The last key that was looked at, if there is more behind it.
    pub next: Option<Vec<u8>>,
    /// Which pages differ from the join.
    pub stale: BTreeSet<usize>,
}

/// Joins pages that begin at one key, up to where the shortest of them ends.
pub fn join_pages(pages: &[Page]) -> JoinedPage {
    let ends = pages.iter().filter(|page| page.more).filter_map(|page| page.keys.last());
    let next: Option<Vec<u8>> = ends.map(|(key, _)| key.clone()).min();
    let is_within = |key: &[u8]| next.as_ref().is_none_or(|next| key <= &next[..]);
    let by_key: Vec<BTreeMap<&[u8], &[Element]>> = pages
        .iter()
        .map(|page| page.keys.iter().map(|(key, all)| (&key[..], &all[..])).collect())
        .collect();
    let keys: BTreeSet<&[u8]> =
        by_key.iter().flat_map(|page| page.keys().copied()).filter(|key| is_within(key)).collect();
    let mut joined = JoinedPage { next: next.clone(), ..JoinedPage::default() };
    for key in keys {
        let answers = pages.iter().zip(&by_key).map(|(page, by_key)| {
            let elements: &[Element] = by_key.get(key).copied().unwrap_or_default();
            (&page.context, elements)
        });
        let Joined { elements, stale } = join(answers);
        joined.stale.extend(stale);
        if !elements.is_empty() {
            joined.keys.push((key.to_vec(), elements));
        }
    }
    joined
}
