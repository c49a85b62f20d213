//! Telling another driver what happened.

use std::collections::VecDeque;

use tokio::sync::mpsc;

/// The way to another driver. The network never waits for it.
#[derive(Debug)]
pub(super) struct Teller<T> {
    queue: mpsc::Sender<T>,
    /// What must arrive though the queue is full: one entry per change of a connected peer.
    backlog: VecDeque<T>,
}

impl<T> Teller<T> {
    pub(super) const fn new(queue: mpsc::Sender<T>) -> Self {
        Self { queue, backlog: VecDeque::new() }
    }

    /// The way itself, to see whether the other end is there.
    pub(super) fn queue(&self) -> mpsc::Sender<T> {
        self.queue.clone()
    }

    /// For what must arrive, in order.
    pub(super) fn tell(&mut self, event: T) {
        self.backlog.push_back(event);
        while let Some(event) = self.backlog.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.queue.try_send(event) {
                self.backlog.push_front(event);
                return;
            }
        }
    }

    /// For what may be lost; false if it is.
    pub(super) fn offer(&self, event: T) -> bool {
        self.queue.try_send(event).is_ok()
    }

    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Waits for room, and passes on one of what waits. Cancelling loses nothing.
    pub(super) async fn flush(&mut self) {
        match self.queue.reserve().await {
            Ok(permit) => {
                if let Some(event) = self.backlog.pop_front() {
                    permit.send(event);
                }
            }
            Err(_) => self.backlog.clear(),
        }
    }
}
