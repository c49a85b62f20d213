//! Which lanes of this node's feed in a document are written in.
//!
//! Edits go into one lane, and each draft into another, for two that write in one lane would give
//! the same numbers to different changes. A draft may go on in a lane that was written before, if
//! all that was written in it is in the draft.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Debug, Default)]
struct State {
    /// Lanes that drafts write in.
    taken: BTreeSet<u8>,
    /// The first that a draft may have, and the highest that anything was written in.
    first: u8,
    last: u8,
}

/// The lanes of a document at one desk.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes(Arc<Mutex<State>>);

/// A lane that a draft writes in, and nothing else.
#[derive(Debug)]
pub(super) struct Lease {
    lanes: Lanes,
    pub(super) lane: u8,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.lanes.state().taken.remove(&self.lane);
    }
}

impl Lanes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where edits go on, if `lane` is the highest that was written: there, unless a draft is
    /// written in it.
    pub(super) fn go_on(&self, lane: u8) -> u8 {
        let mut state = self.state();
        state.last = state.last.max(lane);
        if state.taken.contains(&lane) { state.fresh().unwrap_or(lane) } else { lane }
    }

    /// The highest lane that anything was written in.
    pub(super) fn last(&self) -> u8 {
        self.state().last
    }

    /// Other entries count than before, so that it isn't certain any more what was written in which
    /// lane: a new one for edits to go on in; the last there is, if there are no more.
    pub(super) fn renew(&self) -> u8 {
        let mut state = self.state();
        let fresh = state.fresh().unwrap_or(u8::MAX);
        state.first = fresh;
        fresh
    }

    /// A lane for a draft, other than that of edits, which `fits` it; `None` if there are no more.
    pub(super) fn lease(&self, edits: u8, fits: impl Fn(u8) -> bool) -> Option<Lease> {
        let mut state = self.state();
        state.last = state.last.max(edits);
        let is_free = |state: &State, lane: u8| lane != edits && !state.taken.contains(&lane);
        let mut known = state.first..=state.last;
        let mut lane = known.find(|lane| is_free(&state, *lane) && fits(*lane));
        while lane.is_none() {
            lane = Some(state.fresh()?).filter(|lane| fits(*lane));
        }
        let lane = lane?;
        state.taken.insert(lane);
        Some(Lease { lanes: self.clone(), lane })
    }
}

impl State {
    /// A lane above all.
    fn fresh(&mut self) -> Option<u8> {
        self.last = self.last.checked_add(1)?;
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lane_is_written_in_twice_at_once() {
        let lanes = Lanes::default();
        assert_eq!(lanes.go_on(1), 1);
        let (one, other) = (lanes.lease(1, |_| true).unwrap(), lanes.lease(1, |_| true).unwrap());
        assert_eq!((one.lane, other.lane), (0, 2));
        assert_eq!(lanes.lease(1, |lane| lane > 3).unwrap().lane, 4, "the others don't fit");
        drop(one);
        let again = lanes.lease(1, |_| true).unwrap();
        assert_eq!(again.lane, 0);
        // What is opened anew goes on in the highest lane that was written, unless that is taken.
        assert_eq!(lanes.go_on(2), 5);
        assert_eq!(lanes.last(), 5);
        drop(other);
        assert_eq!(lanes.go_on(2), 2);
    }

    #[test]
    fn what_is_not_certain_any_more_is_not_gone_on_with() {
        let lanes = Lanes::default();
        drop(lanes.lease(0, |_| true).unwrap());
        assert_eq!(lanes.renew(), 2);
        assert_eq!(lanes.lease(2, |_| true).unwrap().lane, 3);
    }

    #[test]
    fn there_are_so_many_lanes() {
        let lanes = Lanes::default();
        let is_last = |lane| lane == 255;
        let last = lanes.lease(0, is_last).unwrap();
        assert!(lanes.lease(0, is_last).is_none());
        drop(last);
        assert_eq!(lanes.lease(0, is_last).unwrap().lane, 255);
        assert_eq!(lanes.renew(), 255);
    }
}
