//! Tickets: how a writer learns that its commit is done.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use futures::channel::oneshot;

use crate::CommitError;

/// A commit's acknowledgement: a future on any runtime, or [`wait`](Self::wait) in a thread.
///
/// Dropping it doesn't undo the commit. After `Ok` every later read sees the commit; after an error
/// nothing of it is seen until the store is reopened, and then, if the error was
/// [`CommitError::Poisoned`], either all of it may be found or nothing.
#[derive(Debug)]
#[must_use = "a commit is known to be done only when its ticket says so"]
pub struct Ticket(oneshot::Receiver<Result<(), CommitError>>);

/// The other end of a ticket. Dropped unused, it reports [`CommitError::Closed`].
pub(crate) type Done = oneshot::Sender<Result<(), CommitError>>;

impl Ticket {
    pub(crate) fn new() -> (Done, Self) {
        let (done, receiver) = oneshot::channel();
        (done, Self(receiver))
    }

    /// Blocks the thread until the commit is acknowledged. In async code, await the ticket instead.
    pub fn wait(self) -> Result<(), CommitError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut ticket = pin!(self);
        loop {
            match ticket.as_mut().poll(&mut context) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl Future for Ticket {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|done| done.unwrap_or(Err(CommitError::Closed)))
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_when_another_thread_acknowledges() {
        let (done, ticket) = Ticket::new();
        let writer = thread::spawn(move || done.send(Ok(())));
        assert!(ticket.wait().is_ok());
        assert!(writer.join().unwrap().is_ok());
    }

    #[test]
    fn a_ticket_whose_writer_is_gone_says_so() {
        let (done, ticket) = Ticket::new();
        drop(done);
        assert!(matches!(ticket.wait(), Err(CommitError::Closed)));
    }
}
