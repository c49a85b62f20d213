//! Frontiers: which entries of other feeds an entry cites, and when what it cites is settled.
//!
//! A frontier is a *delta*: what an author has come to hold since its entry before. The context of
//! an entry is the union of the frontiers down its feed, and all that those entries depend on.
//!
//! 1. **Citing.** An entry cites the tips of each feed that its operations name. Of other feeds
//!    that went on since they were cited last it cites up to [`MAX_LAZY`] tips, those that waited
//!    longest first, and each feed at most once in [`LAZY`]. A forked feed is cited with both tips.
//! 2. **Settled.** A citation of entry `h`, number `n` of feed `f`, is settled if `h` is held, or
//!    if the evidence of `f` is at or below `n`: then `h` may have been evicted wherever it was
//!    kept, and nobody need wait for it ([`Evidence::excuses`]).
//!    So is one of a feed of which no more will be kept than is: it is void, surplus, or pinned
//!    below it. By what a feed is written of which nothing is kept shows its first header, the
//!    *credential*, which who gives the entry gives before it.
//! 3. **Waiting.** An entry whose citations aren't all settled isn't taken in.
//!
//! The invariant: what an honest replica took in, another can take in once it has the entries and
//! the evidence of the first. Evidence is signed, and only falls; so no giver's word settles
//! anything, and what is settled stays so. That a cited entry still comes later does no harm: state
//! is a function of the set of entries, and never of their order.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aether_core::Time;

use super::{
    entry::{MAX_FRONTIER, MAX_ROWS_PER_FEED},
    feed::Evidence,
    id::{EntryId, FeedId},
};

/// Most entries that an entry cites though its operations don't name their feeds.
pub const MAX_LAZY: usize = 8;

/// How long a feed isn't cited again, unless operations name it.
pub const LAZY: Duration = Duration::from_secs(1);

/// Rule 2: whether nobody need wait for a cited entry. `evidence` is that of its feed.
#[must_use]
pub fn is_settled(cited: &EntryId, is_held: bool, evidence: Option<Evidence>) -> bool {
    is_held || evidence.is_some_and(|evidence| evidence.excuses(cited.number))
}

/// The first citation of a frontier that isn't settled: what its entry waits for.
pub fn missing(
    frontier: &[EntryId],
    is_held: impl Fn(&EntryId) -> bool,
    evidence: impl Fn(&FeedId) -> Option<Evidence>,
) -> Option<EntryId> {
    let settled = |cited: &&EntryId| is_settled(cited, is_held(cited), evidence(&cited.feed));
    frontier.iter().find(|cited| !settled(cited)).copied()
}

/// Which feeds an author has still to cite: rule 1. Some 100 bytes for each feed that ever went on.
#[derive(Clone, Debug, Default)]
pub struct Citing {
    /// Feeds that went on since they were cited, by when they did so first.
    news: BTreeSet<(Time, FeedId)>,
    since: BTreeMap<FeedId, Time>,
    cited: BTreeMap<FeedId, Time>,
}

impl Citing {
    /// Another author's feed went on.
    pub fn went_on(&mut self, now: Time, feed: FeedId) {
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.since.entry(feed) {
            vacant.insert(now);
            self.news.insert((now, feed));
        }
    }

    /// The feeds that an entry cites which is written now: those that its operations name, as they
    /// stand, and behind them others while there is room. `tips` tells how many tips a feed has,
    /// `cited` how many entries are cited beside.
    ///
    /// Cheap while few feeds were cited a moment ago: those are passed over one by one.
    pub fn choose(
        &self,
        now: Time,
        named: &[FeedId],
        cited: usize,
        tips: impl Fn(&FeedId) -> usize,
    ) -> Vec<FeedId> {
        let mut chosen = named.to_vec();
        let rows = |feed: &FeedId| tips(feed).min(MAX_ROWS_PER_FEED);
        let taken = named.iter().fold(cited, |sum, feed| sum.saturating_add(rows(feed)));
        let mut room = MAX_LAZY.min(MAX_FRONTIER.saturating_sub(taken));
        for (_, feed) in &self.news {
            if room == 0 {
                break;
            }
            let rests = self.cited.get(feed).is_some_and(|at| now.since(*at) < LAZY);
            let count = rows(feed);
            if !rests && (1..=room).contains(&count) && !named.contains(feed) {
                room -= count;
                chosen.push(*feed);
            }
        }
        chosen
    }

    /// An entry that cites the tips of these feeds was written.
    pub fn cited(&mut self, now: Time, feeds: &[FeedId]) {
        for feed in feeds {
            if let Some(since) = self.since.remove(feed) {
                self.news.remove(&(since, *feed));
            }
            self.cited.insert(*feed, now);
        }
    }

    /// How many feeds are still to be cited.
    pub fn open(&self) -> usize {
        self.news.len()
    }
}

#[cfg(test)]
mod tests {
    use aether_core::{Hash, PublicKey};

    use super::*;
    use crate::proto::feed::Tip;

    fn feed(author: u8) -> FeedId {
        FeedId { author: PublicKey::from_bytes([author; 32]), incarnation: 1 }
    }

    fn entry(author: u8, number: u64) -> EntryId {
        EntryId { feed: feed(author), number, hash: Hash::from_bytes([9; 32]) }
    }

    fn evidence(number: u64) -> Option<Evidence> {
        let tip = |byte| Tip { number, hash: Hash::from_bytes([byte; 32]) };
        Evidence::of(tip(1), tip(2))
    }

    #[test]
    fn a_citation_is_settled_by_what_is_held_or_by_a_fork_at_or_below_it() {
        assert!(is_settled(&entry(1, 5), true, None));
        assert!(!is_settled(&entry(1, 5), false, None));
        for (number, settled) in [(4, true), (5, true), (6, false)] {
            assert_eq!(is_settled(&entry(1, 5), false, evidence(number)), settled, "{number}");
        }
    }

    #[test]
    fn an_entry_waits_for_the_first_citation_that_is_not_settled() {
        let frontier = [entry(1, 5), entry(2, 5), entry(3, 5), entry(4, 5)];
        let is_held = |id: &EntryId| id.feed == feed(1);
        let forked = |id: &FeedId| if *id == feed(2) { evidence(3) } else { None };
        assert_eq!(missing(&frontier, is_held, forked), Some(frontier[2]));
        assert_eq!(missing(&frontier[..2], is_held, forked), None);
        assert_eq!(missing(&[], is_held, forked), None);
    }

    #[test]
    fn feeds_are_cited_lazily_oldest_news_first_and_once_a_second() {
        let mut citing = Citing::default();
        for author in 1..=10 {
            citing.went_on(Time::from_millis(100 - u64::from(author)), feed(author));
        }
        let now = Time::from_millis(200);
        let chosen = citing.choose(now, &[feed(20)], 0, |_| 1);
        let expected: Vec<FeedId> = [20].into_iter().chain((3..=10).rev()).map(feed).collect();
        assert_eq!(chosen, expected, "what is named, and then what waited longest");
        citing.cited(now, &chosen);
        assert_eq!((citing.open(), citing.choose(now, &[], 0, |_| 1)), (2, vec![feed(2), feed(1)]));
        citing.went_on(now, feed(9));
        assert!(!citing.choose(now + LAZY / 2, &[], 0, |_| 1).contains(&feed(9)));
        assert!(citing.choose(now + LAZY, &[], 0, |_| 1).contains(&feed(9)));
        assert_eq!(citing.choose(now, &[feed(9)], 0, |_| 1)[0], feed(9), "operations name it");
    }

    #[test]
    fn both_tips_of_a_forked_feed_are_cited_or_none() {
        let mut citing = Citing::default();
        (1..=8).for_each(|author| citing.went_on(Time::ZERO, feed(author)));
        let tips = |id: &FeedId| if *id == feed(8) { 2 } else { 1 };
        let chosen = citing.choose(Time::ZERO, &[], 0, tips);
        assert_eq!(chosen.len(), 7, "the last would need room for two");
        assert!(!chosen.contains(&feed(8)));
        assert_eq!(citing.choose(Time::ZERO, &[], 0, |_| 2).len(), 4);
        assert_eq!(citing.choose(Time::ZERO, &[], 0, |_| 0), []);
    }

    #[test]
    fn what_is_cited_lazily_leaves_room_for_what_is_named() {
        let mut citing = Citing::default();
        (100..=120).for_each(|author| citing.went_on(Time::ZERO, feed(author)));
        let named: Vec<FeedId> = (1..=30).map(feed).collect();
        let two = |id: &FeedId| if named.contains(id) { 2 } else { 1 };
        assert_eq!(citing.choose(Time::ZERO, &named, 0, two).len(), 30 + 4, "64 rows in all");
        assert_eq!(citing.choose(Time::ZERO, &named, 3, two).len(), 30 + 1);
        assert_eq!(citing.choose(Time::ZERO, &named, 9, two).len(), 30);
    }

    #[test]
    fn a_feed_named_and_new_is_cited_once() {
        let mut citing = Citing::default();
        citing.went_on(Time::ZERO, feed(1));
        assert_eq!(citing.choose(Time::ZERO, &[feed(1)], 0, |_| 1), [feed(1)]);
        citing.cited(Time::ZERO, &[feed(1)]);
        assert_eq!(citing.open(), 0);
        citing.went_on(Time::ZERO, feed(1));
        citing.went_on(Time::from_millis(5), feed(1));
        assert_eq!(citing.open(), 1);
    }
}
