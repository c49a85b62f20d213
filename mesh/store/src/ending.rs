//! Endings: how a program that ends knows that its store has.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Whether the store has ended.
type Latch = (Mutex<bool>, Condvar);

/// To wait for the end of a store, without keeping it open; see
/// [`Store::ending`](crate::Store::ending).
#[derive(Clone, Debug, Default)]
pub struct Ending(Arc<Latch>);

impl Ending {
    /// Waits until the last handle of the store is gone, all is on the disk and the data folder
    /// unlocked; so long at most. Tells whether that came about.
    pub fn wait(&self, at_most: Duration) -> bool {
        let (has_ended, changed) = &*self.0;
        let has_ended = has_ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(has_ended, at_most, |has_ended| !*has_ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What ends when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct End(Ending);

impl End {
    pub(crate) fn ending(&self) -> Ending {
        self.0.clone()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let (has_ended, changed) = &*self.0.0;
        *has_ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }
}
