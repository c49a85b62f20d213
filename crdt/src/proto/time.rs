//! Hybrid logical time: near the wall clock, and never against causality.
//!
//! After Kulkarni, Demirbas and others, *Logical Physical Clocks and Consistent Snapshots in
//! Globally Distributed Databases* (2014), with bounds for clocks that lie.
//!
//! | bits | field |
//! |---|---|
//! | 48 | milliseconds since the Unix epoch |
//! | 16 | counter |
//!
//! 1. **The author's rule.** An entry's time is the largest of: the wall clock; the author's last
//!    time + 1; the largest time of what the entry cites + 1, but of that no more than
//!    [`MAX_LEAD`] ahead of the wall clock. So an author with a slow clock is no victim of it, and
//!    a liar whose time is far ahead can't drag honest authors beyond others' doors.
//! 2. **Validity.** Times rise strictly along a feed. That is all that validity asks of them.
//! 3. **The door.** A replica doesn't take an entry that is more than [`DOOR`] ahead of its own
//!    wall clock, *yet*: the clocks of two honest nodes differ, so it is nobody's fault, and the
//!    entry is taken when it is due.
//!
//! The invariant: an author whose wall clock is right, and whose last entry was taken by others, is
//! never refused by their doors, whatever it cites. Times prove nothing: a liar's are up to
//! [`DOOR`] ahead, or in the past.

use std::{fmt, time::Duration};

/// How far ahead of its wall clock an author follows the times of what it cites.
pub const MAX_LEAD: Duration = Duration::from_secs(5 * 60);

/// How far ahead of its wall clock a replica takes an entry.
pub const DOOR: Duration = Duration::from_secs(10 * 60);

/// Milliseconds since the Unix epoch by a node's own clock, of which only the lower 48 bits can be
/// written: what is later is taken for the last of them, in the year 10889.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(u64);

impl Wall {
    const MAX: u64 = (1 << 48) - 1;

    /// So many milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis < Self::MAX { millis } else { Self::MAX })
    }

    /// Milliseconds since the epoch, below 2⁴⁸.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The clock so much later, to the whole millisecond below.
    const fn after(self, lead: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(millis(lead)))
    }
}

/// A constant of this module in milliseconds, which fit 64 bits by far.
const fn millis(duration: Duration) -> u64 {
    duration.as_secs() * 1000 + duration.subsec_millis() as u64
}

/// The time that an entry states: 48 bits of milliseconds, 16 bits of counter. Displayed as
/// milliseconds, a full stop and the counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hybrid(u64);

impl Hybrid {
    /// Takes the 64 bits as they stand in a header. Every number is a time.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The first time of a millisecond.
    pub const fn from_wall(wall: Wall) -> Self {
        Self(wall.0 << 16)
    }

    /// The millisecond that it lies in.
    pub const fn wall(self) -> Wall {
        Wall(self.0 >> 16)
    }

    /// What an author writes by rule 1: `last` is the time of its last entry in the feed, `cited`
    /// the largest of the entries that this one cites.
    ///
    /// `None` if there is no time after `last`, which an honest feed doesn't reach; the author then
    /// begins a new incarnation.
    pub fn next(wall: Wall, last: Option<Self>, cited: Option<Self>) -> Option<Self> {
        let own = match last {
            Some(last) => Self(last.0.checked_add(1)?),
            None => Self(0),
        };
        let limit = Self::from_wall(wall.after(MAX_LEAD));
        let cited = cited.map_or(Self(0), |cited| Self(cited.0.saturating_add(1)).min(limit));
        Some(Self::from_wall(wall).max(own).max(cited))
    }

    /// Rule 3: whether a replica whose clock shows `wall` takes it.
    #[must_use]
    pub const fn is_due(self, wall: Wall) -> bool {
        wall.0 >= self.due().0
    }

    /// When the door opens to it.
    pub const fn due(self) -> Wall {
        Wall(self.wall().0.saturating_sub(millis(DOOR)))
    }
}

impl fmt::Display for Hybrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 16, self.0 & 0xffff)
    }
}

impl fmt::Debug for Hybrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hybrid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Wall = Wall(1_800_000_000_000);
    const MINUTE: u64 = 60_000;

    fn at(millis: u64, counter: u64) -> Hybrid {
        Hybrid(millis << 16 | counter)
    }

    #[test]
    fn an_author_writes_the_wall_clock_unless_something_is_later() {
        let now = Hybrid::from_wall(NOW);
        let earlier = at(NOW.0 - 1, 7);
        assert_eq!(Hybrid::next(NOW, None, None), Some(now));
        assert_eq!(Hybrid::next(NOW, Some(earlier), Some(earlier)), Some(now));
        assert_eq!(Hybrid::next(NOW, Some(now), None), Some(at(NOW.0, 1)));
        assert_eq!(Hybrid::next(NOW, Some(now), Some(at(NOW.0, 5))), Some(at(NOW.0, 6)));
        // A clock that was set back by an hour.
        let ahead = at(NOW.0 + 60 * MINUTE, 0xffff);
        let next = at(NOW.0 + 60 * MINUTE + 1, 0);
        assert_eq!(Hybrid::next(NOW, Some(ahead), None), Some(next));
        assert_eq!(Hybrid::next(NOW, Some(Hybrid(u64::MAX)), None), None);
    }

    #[test]
    fn what_is_cited_leads_by_five_minutes_at_most() {
        let near = at(NOW.0 + 5 * MINUTE - 1, 0);
        assert_eq!(Hybrid::next(NOW, None, Some(near)), Some(at(NOW.0 + 5 * MINUTE - 1, 1)));
        let limit = at(NOW.0 + 5 * MINUTE, 0);
        for far in [limit, at(NOW.0 + 10 * MINUTE, 3), Hybrid(u64::MAX)] {
            assert_eq!(Hybrid::next(NOW, None, Some(far)), Some(limit));
        }
    }

    #[test]
    fn the_door_opens_ten_minutes_early() {
        let due = at(NOW.0 + 10 * MINUTE, 0xffff);
        assert!(due.is_due(NOW));
        assert_eq!(due.due(), NOW);
        let early = at(NOW.0 + 10 * MINUTE + 1, 0);
        assert!(!early.is_due(NOW));
        assert_eq!(early.due(), Wall(NOW.0 + 1));
        assert!(early.is_due(early.due()));
        assert!(Hybrid(0).is_due(Wall(0)));
        assert!(!Hybrid(u64::MAX).is_due(NOW));
    }

    #[test]
    fn clocks_beyond_48_bits_stop() {
        assert_eq!(Wall::from_millis(u64::MAX).as_millis(), (1 << 48) - 1);
        let next = Hybrid::next(Wall::from_millis(u64::MAX), None, None);
        assert_eq!(next, Some(at((1 << 48) - 1, 0)));
    }

    proptest! {
        #[test]
        fn the_authors_rule_keeps_to_its_bounds(
            wall in 0..u64::MAX,
            last in proptest::option::of(0..u64::MAX),
            cited in proptest::option::of(any::<u64>()),
        ) {
            let (wall, last) = (Wall::from_millis(wall), last.map(Hybrid));
            let next = Hybrid::next(wall, last, cited.map(Hybrid)).unwrap();
            prop_assert!(next >= Hybrid::from_wall(wall));
            prop_assert!(last.is_none_or(|last| next > last));
            // An author who isn't ahead already stays within the doors of those with its clock.
            if last.is_none_or(|last| last < Hybrid::from_wall(wall)) {
                prop_assert!(next.is_due(wall));
            }
        }
    }
}
