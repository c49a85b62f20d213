//! State on which all replicas converge, though they work offline and some of their writers lie.
//!
//! A [`Space`] holds documents, maps, sets, counters and registers. Every node that has the space
//! has all of it, writes to it without asking anybody, and hears what others write as soon as it
//! meets one that has it.
//!
//! ```no_run
//! # #[cfg(feature = "net")]
//! # mod doctest {
//! use aether_crdt::Spaces;
//! use aether_mesh::{Node, Preset};
//!
//! # pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::builder(Preset::Local).data("alice").spawn().await?;
//! let spaces = Spaces::open(&node).await?;
//! let space = spaces.create("guests").await?;
//! println!("join with {}", space.ticket().await?);
//!
//! let ages = space.map::<String, u32>("ages");
//! ages.put(&"ada".to_owned(), &36).await?;
//! assert_eq!(ages.get(&"ada".to_owned())?, Some(36));
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! In reading order:
//!
//! - [`Spaces`], [`Space`] and [`Ticket`]: found one, or join one.
//!   [`Space::export`] and [`Spaces::import`]: a backup of one, or a move.
//! - [`Map`], [`Set`], [`Counter`], [`Register`]: read and write. [`Watch`]: hear of changes.
//! - [`Document`]: edit together. [`Edit`](proto::document::edit::Edit) and
//!   [`View`](proto::document::view::View) write and read one; [`Patches`] say what changes.
//!   [`Document::update`] is for types of your own. A [`Draft`] is a branch that nobody else sees
//!   until it is merged, [`Document::copy_to`] what it shows without its history.
//! - [`Presence`]: who is there now, and where their [cursors](Cursor) are.
//! - [`PartitionedMap`], [`Partitioning`], [`Level`]: a map that is split among members, each of
//!   which holds a part of it.
//! - [`proto`]: what decides, pure; what is on the wire and signed is written there. Its keystone
//!   is the **feed**: one author's append-only log, whose entries are numbered, linked by BLAKE3
//!   and signed with Ed25519. State is a pure function of a set of feed entries.
//!
//! Who may read and write is said when a space is founded ([`Mode`]): everyone who has its ticket,
//! or who is [granted](Space::grant) a [`Role`], which is taken back by [`Space::remove`]. All
//! replicas judge grants and removals alike, in whatever order they hear of them
//! ([`proto::access`]). Whoever may write can fill the disks of all others: grant it, or give the
//! ticket of an open space, to those you trust with that.
//!
//! What was overwritten or removed is kept until an owner [compacts](Space::compact) the space.

pub mod proto;

#[cfg(feature = "net")]
mod archives;
#[cfg(feature = "net")]
mod collections;
#[cfg(feature = "net")]
mod compacting;
#[cfg(feature = "net")]
mod driver;
#[cfg(feature = "net")]
mod partitions;
#[cfg(feature = "net")]
mod space;
#[cfg(feature = "net")]
mod spaces;
#[cfg(feature = "net")]
mod ticket;

#[cfg(feature = "net")]
pub use self::{
    archives::{ExportError, ExportProgress, ImportError, Imported},
    collections::{
        ChangeError, Changed, CopyError, Counter, Cursor, CursorPosition, Document, DocumentError,
        Draft, Key, LookupError, Map, MapBatch, MergeError, Missed, PatchEvent, Patches, Presence,
        PresenceChanges, PresenceError, PresenceEvent, Present, Register, Revision, Set, Watch,
        WriteError,
    },
    compacting::{CompactError, CompactProgress, Compacted},
    driver::{
        REPAIRED, RepairError, RepairProgress, Repaired, StartError, WriteFailed, repair_spaces,
    },
    partitions::{
        CopyState, ParseCursorError, PartitionCopy, PartitionError, PartitionMember,
        PartitionStatus, PartitionedMap, ScanCursor, ScanPage,
    },
    proto::partitions::{Level, Partitioning, PartitioningError},
    proto::space::{Mode, Role},
    space::{ChangeAccessError, Space},
    spaces::{ClosedSpace, Member, OpenError, Spaces, Status},
    ticket::{Ticket, TicketError},
};
