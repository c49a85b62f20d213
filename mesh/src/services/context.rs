//! What a call hands on to the calls that its handler makes: the deadline and the trace.

use std::{future::Future, time::Instant};

use crate::proto::service::frame::Trace;

tokio::task_local! {
    static CURRENT: Context;
}

/// The deadline and the trace of the call that is being answered.
///
/// A handler's own calls, on whatever node of the program, end no later than the call that it
/// answers, and belong to the same trace, without anything being said. Work that a handler moves
/// to another task takes this along by hand:
///
/// ```no_run
/// # #[cfg(feature = "net")]
/// # async fn doctest() {
/// use aether_mesh::Context;
///
/// let work = async { /* calls others */ };
/// match Context::current() {
///     Some(context) => drop(tokio::task::spawn(context.scope(work))),
///     None => drop(tokio::task::spawn(work)),
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Context {
    pub(super) deadline: Instant,
    pub(super) trace: Option<Trace>,
}

impl Context {
    /// That of the handler that runs in this task; `None` outside of handlers.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|context| *context).ok()
    }

    /// Runs a future as a part of the call.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }

    /// When the call ends at the latest.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The caller's span, as W3C Trace Context has it, if the caller told one.
    pub fn trace(&self) -> Option<Trace> {
        self.trace
    }
}
