//! How many sessions each caller has here.

use std::{collections::BTreeMap, sync::Arc};

use libp2p::PeerId;

/// Sessions of all callers together.
pub(super) const MAX: usize = 1024;

/// Sessions of one caller: a program has one for each client of a service here.
pub(super) const MAX_OF_ONE: usize = 64;

/// Callers that have sessions.
#[derive(Debug, Default)]
pub(super) struct Guests(BTreeMap<PeerId, Arc<()>>);

/// A session's place, held until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of: Arc<()>,
}

impl Guests {
    /// A place for one more session of a caller's, if there is one.
    pub(super) fn enter(&mut self, caller: PeerId) -> Option<Place> {
        let all: usize = self.0.values().map(count).sum();
        let places = self.0.entry(caller).or_default();
        let fits = all < MAX && count(places) < MAX_OF_ONE;
        let place = fits.then(|| Place { _of: places.clone() });
        self.0.retain(|_, places| count(places) > 0);
        place
    }
}

fn count(places: &Arc<()>) -> usize {
    Arc::strong_count(places) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_takes_no_more_than_its_share_and_all_no_more_than_there_is() {
        let mut guests = Guests::default();
        let greedy = PeerId::random();
        let mut held: Vec<Place> = (0..2000).filter_map(|_| guests.enter(greedy)).collect();
        assert_eq!(held.len(), MAX_OF_ONE);
        held.pop();
        held.extend(guests.enter(greedy));
        assert_eq!(held.len(), MAX_OF_ONE, "a place that is left is free");
        held.extend((0..2000).filter_map(|_| guests.enter(PeerId::random())));
        assert_eq!(held.len(), MAX);
        held.clear();
        assert!(guests.enter(greedy).is_some());
        assert!(guests.enter(greedy).is_some_and(|_| guests.0.len() == 1), "others are forgotten");
    }
}
