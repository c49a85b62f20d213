//! The chunk: header, fields and list of columns (A1, A4).
//!
//! | bytes | part |
//! |---|---|
//! | 4 | `85 6f 4a 83` |
//! | 4 | the first four of the hash |
//! | 1 | type, 1 |
//! | 1 to 3 | length of the rest |
//! | | number of dependencies, 32 bytes each |
//! | | length of the actor, actor |
//! | | seq, start op, time (signed), length of the message, message |
//! | | number of other actors, length and bytes of each |
//! | | number of columns, specification and length of each |
//! | | the columns' bytes |
//!
//! Integers are LEB128. The hash is SHA-256 over all from the type on. Nothing follows: Automerge
//! would keep bytes after the columns, and takes some for a tag of the author.

use sha2::{Digest, Sha256};

use super::{
    ActorId, ChangeHash, DecodeError, MAX_CHUNK, MAX_DEPS, MAX_MESSAGE, MAX_TIME,
    column::{ColumnError, Reader},
};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHANGE: u8 = 1;
/// What stands before the hashed bytes: magic and checksum.
const UNHASHED: usize = 8;

/// A column of operations. Its number in the format is its id times sixteen plus its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Column {
    /// Index of the actor in the object's id: run-length, null is the root.
    ObjectActor = 0x01,
    /// Number in the object's id: run-length, null is the root.
    ObjectCounter = 0x02,
    /// Index of the actor in an element's id: run-length.
    KeyActor = 0x11,
    /// Number in an element's id, 0 for the head: delta.
    KeyCounter = 0x13,
    /// A map's key: run-length.
    KeyString = 0x15,
    /// Whether the operation inserts: boolean.
    Insert = 0x34,
    /// What the operation does: run-length.
    Action = 0x42,
    /// Type and length of the value: run-length.
    ValueMeta = 0x56,
    /// The values, one behind the other.
    Value = 0x57,
    /// How many predecessors: run-length.
    PredCount = 0x70,
    /// Index of the actor in a predecessor's id: run-length.
    PredActor = 0x71,
    /// Number in a predecessor's id: delta.
    PredCounter = 0x73,
    /// Whether a mark grows at this end: boolean.
    Expand = 0x94,
    /// Name of a mark: run-length.
    MarkName = 0xa5,
}

impl Column {
    /// In the order of the format.
    const ALL: [Self; 14] = [
        Self::ObjectActor,
        Self::ObjectCounter,
        Self::KeyActor,
        Self::KeyCounter,
        Self::KeyString,
        Self::Insert,
        Self::Action,
        Self::ValueMeta,
        Self::Value,
        Self::PredCount,
        Self::PredActor,
        Self::PredCounter,
        Self::Expand,
        Self::MarkName,
    ];

    /// Its number in the format.
    pub const fn spec(self) -> u8 {
        self as u8
    }
}

/// The bytes of each column; empty where it is absent.
#[derive(Clone, Debug)]
pub(super) struct Columns<'a>([&'a [u8]; Column::ALL.len()]);

impl<'a> Columns<'a> {
    pub(super) fn get(&self, column: Column) -> &'a [u8] {
        let place = Column::ALL.iter().position(|other| *other == column);
        place.map_or(&[], |place| self.0[place])
    }

    /// Columns of any bytes.
    #[cfg(test)]
    pub(super) fn of(columns: &[(Column, &'a [u8])]) -> Self {
        let find = |column: Column| columns.iter().find(|(other, _)| *other == column);
        Self(Column::ALL.map(|column| find(column).map_or(&[][..], |(_, bytes)| bytes)))
    }

    /// Reads the list and the bytes. Both end where `reader` ends.
    fn parse(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = reader.unsigned().map_err(DecodeError::Field)?;
        let mut lens = [0; Column::ALL.len()];
        let mut from = 0;
        for _ in 0..count {
            let spec = reader.unsigned().map_err(DecodeError::Field)?;
            let len = reader.unsigned().map_err(DecodeError::Field)?;
            // Looked for behind the one before, so the list ascends and is never longer than `ALL`.
            let behind = Column::ALL.iter().skip(from);
            let step = behind.clone().position(|column| u64::from(column.spec()) == spec);
            let place = step.map(|step| from + step).filter(|_| len > 0);
            let place = place.ok_or(DecodeError::UnknownColumn(spec))?;
            lens[place] = len;
            from = place + 1;
        }
        let mut columns = [&[][..]; Column::ALL.len()];
        for (column, len) in columns.iter_mut().zip(lens) {
            *column = reader.take(len).map_err(DecodeError::Field)?;
        }
        if reader.is_empty() { Ok(Self(columns)) } else { Err(DecodeError::Extra) }
    }
}

/// A chunk whose frame is right. Its columns haven't been looked at.
#[derive(Clone, Debug)]
pub(super) struct Chunk<'a> {
    pub(super) hash: ChangeHash,
    pub(super) deps: Vec<ChangeHash>,
    /// The author's first.
    pub(super) actors: Vec<ActorId>,
    pub(super) seq: u64,
    pub(super) start_op: u64,
    pub(super) time: i64,
    pub(super) message: Option<&'a str>,
    pub(super) columns: Columns<'a>,
}

impl<'a> Chunk<'a> {
    /// O(bytes), and one SHA-256. Allocates no more than `bytes` holds of dependencies and actors.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (hash, mut reader) = header(bytes)?;
        let deps = deps(&mut reader)?;
        let author = actor(&mut reader)?;
        let mut field = || reader.unsigned().map_err(DecodeError::Field);
        let (seq, start_op) = (field()?, field()?);
        if start_op == 0 {
            return Err(DecodeError::Field(ColumnError::Range));
        }
        let time = reader.signed().map_err(DecodeError::Field)?;
        if !(0..MAX_TIME).contains(&time) {
            return Err(DecodeError::Time);
        }
        let message = message(&mut reader)?;
        let actors = actors(&mut reader, author)?;
        let columns = Columns::parse(&mut reader)?;
        Ok(Self { hash, deps, actors, seq, start_op, time, message, columns })
    }
}

fn header(bytes: &[u8]) -> Result<(ChangeHash, Reader<'_>), DecodeError> {
    if bytes.len() > MAX_CHUNK {
        return Err(DecodeError::TooLarge);
    }
    let mut reader = Reader::new(bytes);
    let magic: [u8; 4] = reader.array().map_err(DecodeError::Field)?;
    if magic != MAGIC {
        return Err(DecodeError::Magic);
    }
    let checksum: [u8; 4] = reader.array().map_err(DecodeError::Field)?;
    let [kind] = reader.array().map_err(DecodeError::Field)?;
    if kind != CHANGE {
        return Err(DecodeError::Type(kind));
    }
    let len = reader.unsigned().map_err(DecodeError::Field)?;
    if usize::try_from(len) != Ok(reader.rest().len()) {
        return Err(DecodeError::Length);
    }
    let hash: [u8; 32] = Sha256::digest(&bytes[UNHASHED..]).into();
    if hash[..checksum.len()] != checksum {
        return Err(DecodeError::Checksum);
    }
    Ok((ChangeHash(hash), reader))
}

fn deps(reader: &mut Reader<'_>) -> Result<Vec<ChangeHash>, DecodeError> {
    let count = reader.unsigned().map_err(DecodeError::Field)?;
    if count > MAX_DEPS as u64 {
        return Err(DecodeError::Deps);
    }
    let mut deps: Vec<ChangeHash> = Vec::new();
    for _ in 0..count {
        let dep = ChangeHash(reader.array().map_err(DecodeError::Field)?);
        if deps.last().is_some_and(|last| *last >= dep) {
            return Err(DecodeError::DepOrder);
        }
        deps.push(dep);
    }
    Ok(deps)
}

fn actor(reader: &mut Reader<'_>) -> Result<ActorId, DecodeError> {
    let len = reader.unsigned().map_err(DecodeError::Field)?;
    if len != 16 {
        return Err(DecodeError::ActorLength);
    }
    reader.array().map(ActorId).map_err(DecodeError::Field)
}

fn message<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>, DecodeError> {
    let len = reader.unsigned().map_err(DecodeError::Field)?;
    if len > MAX_MESSAGE as u64 {
        return Err(DecodeError::Message);
    }
    let message = reader.text(len).map_err(DecodeError::Field)?;
    Ok((len > 0).then_some(message))
}

/// The author and the other actors, which ascend and don't name the author again.
fn actors(reader: &mut Reader<'_>, author: ActorId) -> Result<Vec<ActorId>, DecodeError> {
    let count = reader.unsigned().map_err(DecodeError::Field)?;
    let mut actors = vec![author];
    // Each takes seventeen bytes, so the list ends with the bytes, whatever the count says.
    for _ in 0..count {
        let other = actor(reader)?;
        let last = actors[1..].last();
        if other == author || last.is_some_and(|last| *last >= other) {
            return Err(DecodeError::ActorOrder);
        }
        actors.push(other);
    }
    Ok(actors)
}
