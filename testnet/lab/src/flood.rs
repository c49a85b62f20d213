//! A flooder: what a stranger without manners does to one node, over its own libp2p.
//!
//! It speaks to the transports and not through a swarm, so that it keeps none of a swarm's limits,
//! answers nothing that it is asked, and can leave each exchange where that is dearest for the
//! other end. Each connection has an identity of its own, and one that is closed is replaced.

mod peer;
mod speech;
mod turn;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use aether_mesh::proto::blob::BlobId;
use anyhow::{Context as _, Result};
use libp2p::Multiaddr;
use tokio::sync::oneshot;

pub use self::turn::Turn;

/// How long the end of a flood may take.
const CLOSING: Duration = Duration::from_millis(200);

/// Whom a flooder floods.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the node listens, by each transport that is to be tried.
    pub addresses: Vec<Multiaddr>,
    /// The mesh as protocol names have it.
    pub mesh: String,
    /// A blob that the node holds, and its size in bytes.
    pub blob: (BlobId, u64),
}

/// How many of something were tried, and how many there were at a time.
#[derive(Debug, Default)]
pub struct Count {
    tried: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Count {
    /// How many were tried.
    pub fn tried(&self) -> usize {
        self.tried.load(Ordering::Relaxed)
    }

    /// How many there were at most at a time.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    fn another(&self) {
        self.tried.fetch_add(1, Ordering::Relaxed);
    }

    /// One is open until this is dropped.
    fn open(&self) -> Open<'_> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(open, Ordering::Relaxed);
        Open(self)
    }
}

struct Open<'a>(&'a Count);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a flooder has done.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections, those included that never end their handshake.
    pub connections: Count,
    /// Streams. One counts as open once the other end has agreed to its protocol, or, if none is
    /// ever named, once its beginning is written.
    pub streams: Count,
    /// Bytes said on streams once their protocol was agreed.
    pub said: AtomicUsize,
}

/// A flooder at work, on a thread of its own: whoever measures has another. Dropping it ends its
/// connections.
#[derive(Debug)]
pub struct Flood {
    tally: Arc<Tally>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Flood {
    /// Begins a turn.
    pub fn start(turn: Turn, target: Target) -> Result<Self> {
        let tally = Arc::<Tally>::default();
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counts = tally.clone();
        let flood = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = ended => {}
                    () = turn.run(target, counts) => {}
                }
                // For QUIC to say that its connections are closed.
                tokio::time::sleep(CLOSING).await;
            });
        };
        let thread = thread::Builder::new().name("flood".to_owned()).spawn(flood);
        let thread = thread.context("can't start a thread")?;
        Ok(Self { tally, end: Some(end), thread: Some(thread) })
    }

    /// What it has done until now.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // What it has measured is in the tally, also if it panicked.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_at_a_time_is_counted() {
        let count = Count::default();
        let one = count.open();
        let other = count.open();
        drop(one);
        let third = count.open();
        assert_eq!(count.most(), 2);
        drop((other, third));
        assert_eq!((count.most(), count.open.load(Ordering::Relaxed)), (2, 0));
    }
}
