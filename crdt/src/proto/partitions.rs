//! Partitioned maps: a map that is split among members, none of which holds all of it.
//!
//! A map has a **control space**, which all of its nodes have, and a fixed number of partitions,
//! each a space of its own that a few members have, its **owners**. The control space holds the
//! settings and the list of members. So who owns what is a function of what a node holds of the
//! control space, and nobody assigns it: Dynamo's design (DeCandia and others, *Dynamo: Amazon's
//! highly available key-value store*, SOSP 2007), with fixed partitions (its section 6.2, strategy
//! 3) and on feeds, so that a version is a dot and a context is a version vector.
//!
//! | module | decides |
//! |---|---|
//! | [`placement`] | which partition a key is of, and who owns it |
//! | [`gather`] | whom an operation asks, and when it is done |
//! | [`answer`] | what the answers of several owners come to |
//! | [`keeper`] | which copies a node opens, fetches and hands over |
//! | [`message`] | what is said, byte by byte |
//!
//! # One write, one dot
//!
//! A write goes to one owner, who writes it into its own feed of the partition's space, and so
//! gives it one dot. The others get it as spaces replicate, and what they acknowledge counts.
//!
//! A write takes the place of what its coordinator holds at the key, and that copy is
//! [whole](keeper). The first owner that can be reached coordinates, so mostly it is the same one.
//! When it is another within the moment that replication takes, two writes of one user may stand
//! side by side, and their times decide which is shown until the next write to that key.
//!
//! # What the levels give
//!
//! N is the number of a partition's owners, W and R how many a write and a read wait for.
//!
//! - **Strict** are writes at quorum and all, and reads at those: only owners count, each once and
//!   only when it holds the write synced. While the list of members stays as it is, a read with
//!   `R + W > N` that begins after a write was acknowledged finds that write, or what was written
//!   over it. It isn't linearizable: concurrent writes stand side by side, of which
//!   [`Rule::Last`](crate::proto::map::Rule) shows the one with the latest time; and of two reads
//!   during a write the later may miss what the earlier showed.
//! - **Sloppy** is a write at one. If no owner can be reached the writer's own node takes it, a
//!   *hint*, which no read at another node sees until it is handed over. Reads at one show what one
//!   owner holds. Both are eventual.
//! - **A change of the list.** Reads count answers only of owners with the same list as the reader
//!   and whole copies, and a copy is whole only when everyone who could be reached was compared
//!   with. What isn't covered: while nodes with the old list can't be reached by those with the
//!   new one, each of the two may find a quorum of its own, and reads of one miss writes of the
//!   other until they meet.
//! - **A write that failed** may have been done: its coordinator may hold it.
//!
//! # Repair
//!
//! A read whose answers differ makes those who lack something compare at once. In the background
//! it is the spaces' anti-entropy that repairs: a digest for each partition and pair of owners,
//! every 30 to 45 seconds ([`replica`](crate::proto::replica)).

pub mod answer;
pub mod gather;
pub mod keeper;
pub mod message;
pub mod placement;

pub use self::{
    answer::{Answer, Context, Joined, JoinedPage, Page, join, join_pages},
    gather::Gather,
    keeper::{Comparison, Keeper, Progress, Role},
    message::{Ask, Declined, Said},
    placement::{Level, Partitioning, PartitioningError, Placement, Standing, genesis_of},
};

#[cfg(test)]
mod tests;
