//! Documents: Automerge documents that strangers may write to.
//!
//! In reading order: what a change is, here; whether it goes with its past, [`rules`] and
//! [`weight`]; one document in memory, [`body`]; reading and writing it, [`content`], [`view`],
//! [`edit`], [`typed`], [`patch`] and [`anchor`]; taking back one's own edits, [`undo`]; branches,
//! [`draft`]; a document's life, [`state`]; what it begins with, [`template`]; and what of it goes
//! into another, [`copy`]. Entries carry changes as [`op`] says.
//!
//! # Changes, as they come from a remote
//!
//! A [`Change`] is a batch of operations by one actor: a *change chunk* of Automerge's binary
//! format (<https://automerge.org/automerge-binary-format-spec>) as release 0.12 writes it.
//! Automerge's own reader takes more than its writer writes. That is not safe to share: its file
//! of a document holds no changes but a table of operations, from which it encodes every change
//! again when it
//! loads the file, and it refuses the file if a hash differs. One change with an integer in a
//! longer form than needed, once applied, makes a document that can never be loaded again. So
//! changes are read strictly, and the invariant is
//!
//! > `Change::decode(bytes)` is `Ok` ⟹ the bytes are, one by one, what Automerge would write for
//! > the operations decoded.
//!
//! # Rules A
//!
//! They look at bytes only, so every replica decides alike, whatever else it knows. Whether the
//! objects, elements and predecessors that a change names exist is asked by [`rules`] B, when its
//! causal past is there.
//!
//! | rule | what must hold |
//! |---|---|
//! | A1 | type 1; at most 64 bytes less than 1 MiB; length and checksum right; all encodings the shortest, in order, without rest; text is UTF-8 |
//! | A2 | 1 to 100,000 operations |
//! | A3 | operations but deletes ≤ 4,096 + bytes of the chunk; predecessors ≤ 2 × operations + 4,096 |
//! | A4 | at most 4,096 dependencies; a message of at most 1 KiB; 0 ≤ time < 2^40 |
//! | A5 | the actor is the one that the author has in this document: the caller says which |
//! | A6 | every index of an actor names one, and every other actor is named |
//! | A7 | known actions in the shapes below; keys ≤ 1 KiB; names of marks 1 to 128 bytes, values ≤ 4 KiB; at most 1,024 marks |
//! | A8 | \|counter\| ≤ 2^53 at its start, \|increment\| ≤ 2^32 |
//! | A9 | first operation's number + operations ≤ 2^31 |
//! | A10 | a predecessor is named once in a change, but by increments as often as need be |
//!
//! Shapes; anything else breaks A7:
//!
//! | operation | key | inserts | value | predecessors |
//! |---|---|---|---|---|
//! | set | string or element | no | any scalar | any |
//! | make map, list, text | string or element | no | null | any |
//! | set | head or element | yes | any scalar | none |
//! | make map, list, text | head or element | yes | null | none |
//! | delete | string or element | no | null | at least one |
//! | increment | string or element | no | int | at least one |
//! | mark's begin, and right behind it its end in the same object | head or element | yes | scalar and name; null, no name | none |
//!
//! # Two passes
//!
//! Columns are run-length encoded, so a hundred bytes can claim a hundred million operations. The
//! first pass adds up runs without expanding them, and gives up at the caps: O(bytes) time, and no
//! memory but the lists of dependencies and actors, which are there as bytes. The second expands
//! what has passed: O(operations + predecessors), both capped by A2 and A3.

pub mod anchor;
pub mod body;
mod chunk;
mod column;
pub mod content;
pub mod copy;
mod differ;
pub mod draft;
pub mod edit;
mod index;
pub mod op;
mod order;
pub mod patch;
mod rows;
pub mod rules;
pub mod state;
pub mod template;
pub mod typed;
pub mod undo;
pub mod view;
pub mod weight;

use std::fmt;

pub use chunk::Column;
pub use column::ColumnError;
pub use index::{Accepted, Index};
pub use rows::{Action, Key, Kind, ObjectId, OpId, Row, Value};
pub use rules::Why;

/// Most bytes of a change: 1 MiB, but for what an entry adds around it (A1).
pub const MAX_CHUNK: usize = (1 << 20) - 64;
/// Most operations of a change (A2).
pub const MAX_OPERATIONS: usize = 100_000;
/// What A3 grants to operations beyond the chunk's bytes, and to predecessors beyond two for each
/// operation.
pub const SLACK: usize = 4_096;
/// Most dependencies of a change (A4).
pub const MAX_DEPS: usize = 4_096;
/// Most bytes of a message (A4).
pub const MAX_MESSAGE: usize = 1_024;
/// Times lie below: 2^40 seconds since the Unix epoch (A4).
pub const MAX_TIME: i64 = 1 << 40;
/// Most bytes of a map's key (A7).
pub const MAX_KEY: usize = 1_024;
/// Most bytes of a mark's name (A7).
pub const MAX_MARK_NAME: usize = 128;
/// Most bytes of a mark's value (A7).
pub const MAX_MARK_VALUE: usize = 4_096;
/// Most marks of a change, each a begin and an end (A7).
pub const MAX_MARKS: usize = 1_024;
/// A counter starts between this and its negative (A8).
pub const MAX_COUNTER: i64 = 1 << 53;
/// An increment lies between this and its negative (A8).
pub const MAX_INCREMENT: i64 = 1 << 32;
/// Numbers of operations lie below: 2^31 (A9).
pub const MAX_OP: u64 = 1 << 31;

/// Who wrote a change: one lane of one author in one document. Sixteen bytes, no more and no less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId(pub [u8; 16]);

/// SHA-256 of a change: what others name it by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeHash(pub [u8; 32]);

impl fmt::Debug for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A change that obeys rules A. Text and bytes are borrowed from where it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<'a> {
    /// What others name it by.
    pub hash: ChangeHash,
    /// The author's actor, then the other actors that operations name, ascending. An [`OpId`] says
    /// which by its index.
    pub actors: Vec<ActorId>,
    /// The how-manieth change of its actor it says it is.
    pub seq: u64,
    /// The number of its first operation; the others count up from there.
    pub start_op: u32,
    /// The changes that it builds on, ascending.
    pub deps: Vec<ChangeHash>,
    /// Seconds since the Unix epoch, as the author says.
    pub time: i64,
    /// What the author says about it.
    pub message: Option<&'a str>,
    /// Its operations, in order: never empty.
    pub rows: Vec<Row<'a>>,
    preds: Vec<OpId>,
}

impl<'a> Change<'a> {
    /// Reads a change by `actor`, and refuses all that breaks a rule A of the [module](self).
    ///
    /// Costs one SHA-256 over `bytes` and O(bytes) steps; if these find no fault, O(operations +
    /// predecessors) more, 112 B of memory for each operation and 16 B for each predecessor. Never
    /// panics.
    pub fn decode(bytes: &'a [u8], actor: &ActorId) -> Result<Self, DecodeError> {
        let chunk = chunk::Chunk::parse(bytes)?;
        if chunk.actors.first() != Some(actor) {
            return Err(DecodeError::Actor);
        }
        let mut steps = 0;
        let totals = rows::scan(&chunk.columns, chunk.actors.len(), bytes.len(), &mut steps)?;
        let end = chunk.start_op.checked_add(totals.operations as u64);
        let start_op = match (end, u32::try_from(chunk.start_op)) {
            (Some(end), Ok(start_op)) if end <= MAX_OP => start_op,
            _ => return Err(DecodeError::OperationNumber),
        };
        let (rows, preds) = rows::expand(&chunk.columns, &chunk.actors, &totals)?;
        Ok(Self {
            hash: chunk.hash,
            actors: chunk.actors,
            seq: chunk.seq,
            start_op,
            deps: chunk.deps,
            time: chunk.time,
            message: chunk.message,
            rows,
            preds,
        })
    }

    /// Who wrote it.
    pub fn actor(&self) -> ActorId {
        self.actors[0]
    }

    /// The actor of an operation that a row of this change names.
    ///
    /// # Panics
    /// If the id is from another change, and this one names fewer actors.
    pub fn actor_of(&self, id: OpId) -> ActorId {
        self.actors[id.actor as usize]
    }

    /// What a row of this change overwrites, deletes or increments: ascending by number, then by
    /// the actor's bytes.
    ///
    /// # Panics
    /// If the row is from another change, and this one names fewer predecessors.
    pub fn preds(&self, row: &Row<'_>) -> &[OpId] {
        &self.preds[row.preds.clone()]
    }
}

/// A rule: A1 to A10 of this [module](self), B1 to B9 of [`rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the module says what each rule asks for")]
pub enum Rule {
    A1,
    A2,
    A3,
    A4,
    A5,
    A6,
    A7,
    A8,
    A9,
    A10,
    B1,
    B2,
    B3,
    B4,
    B5,
    B6,
    B7,
    B8,
    B9,
}

/// Why bytes are no change that anyone may keep. [`DecodeError::rule`] says which rule they break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More than [`MAX_CHUNK`] bytes.
    #[error("a change has at most {MAX_CHUNK} bytes")]
    TooLarge,
    /// The first four bytes aren't Automerge's.
    #[error("not a chunk of Automerge")]
    Magic,
    /// A document, a compressed change, a bundle, or something unknown.
    #[error("a chunk of type {0} is no plain change")]
    Type(u8),
    /// More or fewer bytes than the header says.
    #[error("the chunk's length is not what its header says")]
    Length,
    /// The checksum isn't the hash's beginning.
    #[error("the checksum is wrong")]
    Checksum,
    /// A field before the columns isn't encoded as it must be.
    #[error("a field before the columns is malformed")]
    Field(#[source] ColumnError),
    /// Dependencies don't ascend.
    #[error("the dependencies do not ascend")]
    DepOrder,
    /// Other actors don't ascend, or the author is among them.
    #[error("the other actors do not ascend, or name the author")]
    ActorOrder,
    /// An actor isn't of sixteen bytes.
    #[error("an actor has sixteen bytes")]
    ActorLength,
    /// A column that isn't in the format, or not in its place, or compressed, or empty.
    #[error("column {0:#x} is unknown, empty or out of place")]
    UnknownColumn(u64),
    /// Bytes after the last column.
    #[error("bytes after the last column")]
    Extra,
    /// A column isn't encoded as it must be.
    #[error("column {0:?} is malformed")]
    Column(Column, #[source] ColumnError),
    /// The columns of an object's id disagree.
    #[error("an object's id is half there, or zero")]
    Object,
    /// The columns of a key disagree.
    #[error("a key is neither a string, nor an element, nor the head")]
    Key,
    /// Predecessors of an operation don't ascend, or one is zero.
    #[error("predecessors do not ascend")]
    PredOrder,
    /// No operation, or too many.
    #[error("a change has 1 to 100,000 operations")]
    Operations,
    /// Too many rows for so few bytes.
    #[error("more operations than the chunk's bytes allow")]
    Rows,
    /// Too many predecessors for so few operations.
    #[error("more predecessors than the operations allow")]
    Preds,
    /// Too many dependencies.
    #[error("a change has at most 4,096 dependencies")]
    Deps,
    /// The message is too long.
    #[error("a message has at most 1 KiB")]
    Message,
    /// The time is before 1970 or too late.
    #[error("the time is out of range")]
    Time,
    /// Another's actor.
    #[error("the actor is not the author's")]
    Actor,
    /// An actor's index that names none.
    #[error("an actor's index names none")]
    ActorIndex,
    /// An actor in the list that no operation names.
    #[error("an actor is listed and not named")]
    UnusedActor,
    /// An action that isn't known, or a table.
    #[error("action {0} is not allowed")]
    Action(u64),
    /// A value of a type that isn't known.
    #[error("a value of type {0} is not allowed")]
    ValueType(u8),
    /// An operation in none of the allowed shapes.
    #[error("operation {0} has no allowed shape")]
    Shape(usize),
    /// A key is too long.
    #[error("a key has at most 1 KiB")]
    KeyLength,
    /// A mark's name is empty or too long.
    #[error("a mark's name has 1 to 128 bytes")]
    MarkName,
    /// A mark's value is too long.
    #[error("a mark's value has at most 4 KiB")]
    MarkValue,
    /// Too many marks.
    #[error("a change has at most 1,024 marks")]
    Marks,
    /// A counter's start is too large.
    #[error("a counter starts between -2^53 and 2^53")]
    Counter,
    /// An increment is too large.
    #[error("an increment is between -2^32 and 2^32")]
    Increment,
    /// Operations' numbers get too large.
    #[error("numbers of operations stay below 2^31")]
    OperationNumber,
    /// A predecessor is named by two operations.
    #[error("a predecessor is named twice")]
    PredTwice,
}

impl DecodeError {
    /// The rule that is broken.
    pub const fn rule(&self) -> Rule {
        match self {
            Self::TooLarge
            | Self::Magic
            | Self::Type(_)
            | Self::Length
            | Self::Checksum
            | Self::Field(_)
            | Self::DepOrder
            | Self::ActorOrder
            | Self::ActorLength
            | Self::UnknownColumn(_)
            | Self::Extra
            | Self::Column(..)
            | Self::Object
            | Self::Key
            | Self::PredOrder => Rule::A1,
            Self::Operations => Rule::A2,
            Self::Rows | Self::Preds => Rule::A3,
            Self::Deps | Self::Message | Self::Time => Rule::A4,
            Self::Actor => Rule::A5,
            Self::ActorIndex | Self::UnusedActor => Rule::A6,
            Self::Action(_)
            | Self::ValueType(_)
            | Self::Shape(_)
            | Self::KeyLength
            | Self::MarkName
            | Self::MarkValue
            | Self::Marks => Rule::A7,
            Self::Counter | Self::Increment => Rule::A8,
            Self::OperationNumber => Rule::A9,
            Self::PredTwice => Rule::A10,
        }
    }
}
