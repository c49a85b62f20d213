//! Aether's storage: an embedded engine and small logs behind one interface, with group commit and
//! faults on order.
//!
//! The promise: a commit that was acknowledged as [`Durability::Synced`] is found after a crash or
//! a power loss, whole; reads see exactly what was acknowledged; what comes back from the disk was
//! checked, and what doesn't fit is an error that names it. After a failed write or sync nothing is
//! acknowledged until the store is reopened.
//!
//! In reading order:
//!
//! - [`Store`]: one data folder, opened by one process, with its [`Options`].
//! - [`Keyspace`]: a named, ordered map; [`Snapshot`] and [`Scan`] for reading consistently.
//! - [`Batch`], [`Durability`] and [`Ticket`]: how to write, and how to learn that it's done.
//! - [`Log`]: a small append-only file for what must never be repeated or forgotten.
//! - [`Wreck`]: a data folder that a disk has damaged, and what is left in it.
//! - [`Faults`]: failed syncs, torn writes, lost tails, full disks and flipped bits, for tests.
//!
//! ```
//! use aether_store::{Batch, Durability, Options, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().join("data");
//! let store = Store::open(&folder, Options::default())?;
//! let feeds = store.keyspace("feeds")?;
//! let tips = store.log("tips")?.log;
//!
//! let mut batch = Batch::new();
//! batch.put(&feeds, b"alice/1", b"hello").put(&feeds, b"alice/2", b"world").append(&tips, b"2");
//! store.commit(batch, Durability::Synced).wait()?;
//!
//! assert_eq!(feeds.get(b"alice/1")?.as_deref(), Some(&b"hello"[..]));
//! let (last, _) = feeds.prefix(b"alice/").next_back().unwrap()?;
//! assert_eq!(&*last, b"alice/2");
//!
//! drop((store, feeds, tips));
//! let store = Store::open(&folder, Options::default())?;
//! assert_eq!(store.log("tips")?.records, [b"2"]);
//! # Ok(())
//! # }
//! ```
//!
//! # What a damaged disk does
//!
//! A power loss costs nothing that was acknowledged. Damage is another matter: a damaged value,
//! table or log is an error that names it. After an orderly end the engine's journals and its lists
//! of tables are written down with their checksums, and what differs when the store is opened next
//! is an error that names it, too. After a crash there is nothing to compare with: a damaged byte
//! in a journal is an error, or the journal is cut off there and [`Store::trimmed`] says by how
//! much; and a few damaged bytes in the lists make the engine lose tables without a word, or end
//! the process. What must never be forgotten is therefore in a log as well, and compared with the
//! keyspaces when both are opened.
//!
//! What is left in a data folder that is damaged a [`Wreck`] copies to a new one. Values, blocks of
//! tables, journals and logs are each checked on the way, so that what is copied is what was
//! written; what is lost is counted.
//!
//! # The engine
//!
//! The engine is [fjall], a log-structured merge tree (O'Neil et al., 1996). Its keys are kept in
//! order of their bytes, its writes are atomic across keyspaces, and a sync costs as much for a
//! thousand batches as for one, which is why a single thread gathers them: see [`Stats`].

mod batch;
mod ending;
mod faults;
mod folder;
mod inventory;
mod journal;
mod log;
mod read;
mod salvage;
mod store;
mod ticket;
mod wreck;
mod writer;

pub use batch::{Batch, Durability, MAX_KEY, MAX_VALUE};
pub use ending::Ending;
pub use faults::Faults;
pub use folder::OpenError;
pub use log::{Log, LogError, MAX_RECORD, Opened};
pub use read::{Keyspace, ReadError, Scan, Slice, Snapshot};
pub use salvage::Salvage;
pub use store::{KeyspaceError, Options, Store};
pub use ticket::Ticket;
pub use wreck::{Copied, CopyError, Wreck};
pub use writer::{CommitError, Stats, WriteError};
