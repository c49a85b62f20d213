//! Bells: which of a client's sessions want to be polled.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Wake, Waker},
};

use futures::task::AtomicWaker;

/// Which sessions want to be polled: a client may have many, of which few have something to do.
#[derive(Debug, Default)]
pub(super) struct Bells {
    rung: Mutex<BTreeSet<u64>>,
    waker: AtomicWaker,
}

/// A session's waker.
struct Bell {
    number: u64,
    bells: Arc<Bells>,
}

impl Bells {
    /// What wakes the session of this number, and the task that polls the sessions.
    pub(super) fn waker(bells: &Arc<Self>, number: u64) -> Waker {
        Waker::from(Arc::new(Bell { number, bells: Arc::clone(bells) }))
    }

    /// As the waker does, but the task isn't woken.
    pub(super) fn ring(&self, number: u64) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
    }

    /// Those that rang since; the next wakes this task.
    pub(super) fn rung(&self, cx: &Context<'_>) -> BTreeSet<u64> {
        self.waker.register(cx.waker());
        mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.bells.ring(self.number);
        self.bells.waker.wake();
    }
}
