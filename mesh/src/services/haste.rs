//! Whether a handler is tried at once, in its session's task.
//!
//! A handler that is done at its first poll costs less than the task it would run in. But one that
//! computes for long holds up all other calls of its caller, which tasks of their own would let run
//! side by side. So what took long makes the next calls of the session get tasks, twice as many
//! each time, until one that is tried is quick again.

use std::time::Duration;

/// What a handler may take that is tried.
const QUICK: Duration = Duration::from_micros(50);

/// Calls that get a task after the first slow one.
const FIRST: u32 = 32;

/// Most calls that get a task before one is tried again.
const MOST: u32 = 1 << 20;

/// What a session knows of its handlers.
#[derive(Debug)]
pub(super) struct Haste {
    /// Calls that get a task.
    left: u32,
    /// Calls that get one after the next slow one.
    next: u32,
}

impl Default for Haste {
    fn default() -> Self {
        Self { left: 0, next: FIRST }
    }
}

impl Haste {
    /// Whether the next handler is to be tried.
    pub(super) fn tries(&mut self) -> bool {
        let tries = self.left == 0;
        self.left = self.left.saturating_sub(1);
        tries
    }

    /// One that was tried took so long, done or not.
    pub(super) fn took(&mut self, time: Duration) {
        if time <= QUICK {
            self.next = FIRST;
        } else {
            self.left = self.next;
            self.next = (self.next * 2).min(MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many calls get a task before one is tried.
    fn tasks(haste: &mut Haste) -> u32 {
        (0..).take_while(|_| !haste.tries()).last().map_or(0, |last| last + 1)
    }

    #[test]
    fn slow_handlers_get_tasks_ever_longer_and_quick_ones_end_that() {
        let mut haste = Haste::default();
        assert_eq!(tasks(&mut haste), 0);
        haste.took(QUICK);
        assert_eq!(tasks(&mut haste), 0);
        for expected in [FIRST, 2 * FIRST, 4 * FIRST] {
            haste.took(2 * QUICK);
            assert_eq!(tasks(&mut haste), expected);
        }
        haste.took(QUICK);
        assert_eq!(tasks(&mut haste), 0);
        haste.took(2 * QUICK);
        assert_eq!(tasks(&mut haste), FIRST);
        for _ in 0..40 {
            haste.took(2 * QUICK);
            haste.left = 0;
        }
        assert_eq!(haste.next, MOST);
    }
}
