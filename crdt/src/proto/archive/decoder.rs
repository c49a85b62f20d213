//! Reading archives.

use aether_core::{Hash, Hasher, wire::Reader};

use super::{
    ARCHIVE, CHECK, CREDENTIAL, Contents, END, ENTRY, EVIDENCE, FRONT, HEAD, MAGIC, MAX_BODY,
    Record, VERSION, check,
};
use crate::proto::{
    entry::{MAX_HEADER, MAX_PAYLOAD},
    space::{Genesis, GenesisError},
};

/// A part of an archive that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What the space is founded on: the first part, and only that.
    Genesis(Genesis),
    /// An entry, or evidence, of which nothing is checked but that it is what was written.
    Record(Record),
}

/// Where a decoder stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Front,
    Records,
    Ended,
    Failed(ArchiveError),
}

/// Reads an archive in pieces of any length. Bytes are given to it by [`push`](Self::push), and
/// parts taken by [`poll`](Self::poll) until there are none, before more is given. So in memory is
/// a piece and a record.
#[derive(Clone, Debug)]
pub struct Decoder {
    hasher: Hasher,
    stage: Stage,
    contents: Contents,
    /// What was given; all before `start` was read.
    given: Vec<u8>,
    start: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            hasher: ARCHIVE.hasher(),
            stage: Stage::Front,
            contents: Contents::default(),
            given: Vec::new(),
            start: 0,
        }
    }
}

impl Decoder {
    /// Gives it the bytes that come next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.given.drain(..self.start);
        self.start = 0;
        self.given.extend_from_slice(bytes);
    }

    /// The next part; `None` if more bytes are needed for that, or the end has come.
    ///
    /// # Errors
    /// The file isn't an archive, or isn't as it was written. It stays so.
    pub fn poll(&mut self) -> Result<Option<Part>, ArchiveError> {
        let found = match &self.stage {
            Stage::Front => self.front().map(|genesis| genesis.map(Part::Genesis)),
            Stage::Records => self.record().map(|record| record.map(Part::Record)),
            Stage::Ended if self.start < self.given.len() => {
                Err(ArchiveError::Behind { at: self.contents.bytes })
            }
            Stage::Ended => Ok(None),
            Stage::Failed(error) => Err(error.clone()),
        };
        found.inspect_err(|error| self.stage = Stage::Failed(error.clone()))
    }

    /// Says that no more bytes follow: what was in the archive.
    ///
    /// # Errors
    /// It isn't whole.
    pub fn end(&self) -> Result<Contents, ArchiveError> {
        match &self.stage {
            Stage::Ended if self.start == self.given.len() => Ok(self.contents),
            Stage::Ended => Err(ArchiveError::Behind { at: self.contents.bytes }),
            Stage::Failed(error) => Err(error.clone()),
            Stage::Front if !self.is_magic() => Err(ArchiveError::Other),
            Stage::Front | Stage::Records => {
                let left = self.given.len().saturating_sub(self.start) as u64;
                let at = self.contents.bytes.saturating_add(left);
                Err(ArchiveError::Torn { record: self.number(), at })
            }
        }
    }

    /// What was read so far.
    pub const fn contents(&self) -> Contents {
        self.contents
    }

    fn left(&self) -> &[u8] {
        self.given.get(self.start..).unwrap_or_default()
    }

    /// Whether what is given begins as archives do, as far as it goes.
    fn is_magic(&self) -> bool {
        let left = self.left();
        !left.is_empty() && left.iter().zip(&MAGIC).all(|(found, magic)| found == magic)
    }

    /// Which record comes next, from 1; 0 is what stands before them.
    fn number(&self) -> u64 {
        match self.stage {
            Stage::Front => 0,
            _ => self.contents.records().saturating_add(1),
        }
    }

    fn front(&mut self) -> Result<Option<Genesis>, ArchiveError> {
        let left = self.left();
        if !left.is_empty() && !self.is_magic() {
            return Err(ArchiveError::Other);
        }
        let Some(front) = left.first_chunk::<FRONT>() else { return Ok(None) };
        let version = front[MAGIC.len()];
        if version != VERSION {
            return Err(ArchiveError::Version { version });
        }
        let len = usize::from(u16::from_be_bytes([front[FRONT - 2], front[FRONT - 1]]));
        if len > Genesis::MAX {
            return Err(self.changed(FRONT));
        }
        let Some(front) = self.take(FRONT + len)? else { return Ok(None) };
        let genesis = Genesis::decode(front.get(FRONT..).unwrap_or_default())?;
        self.stage = Stage::Records;
        Ok(Some(genesis))
    }

    fn record(&mut self) -> Result<Option<Record>, ArchiveError> {
        let Some([kind, len @ ..]) = self.left().first_chunk::<HEAD>() else { return Ok(None) };
        let (kind, len) = (*kind, u32::from_be_bytes(*len));
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > MAX_BODY {
            return Err(self.changed(HEAD));
        }
        let record = self.number();
        let mut before = (kind == END).then(|| self.hasher.clone());
        let Some(taken) = self.take(HEAD + len)? else { return Ok(None) };
        let body = taken.get(HEAD..).unwrap_or_default();
        let found = match kind {
            ENTRY => read_pair(body, MAX_PAYLOAD)
                .map(|(header, payload)| Record::Entry { header, payload }),
            EVIDENCE => read_pair(body, MAX_HEADER)
                .map(|(first, second)| Record::Evidence { first, second }),
            CREDENTIAL => {
                (body.len() <= MAX_HEADER).then(|| Record::Credential { header: body.to_vec() })
            }
            END => {
                let (counted, all) = taken.split_at(taken.len().saturating_sub(Hash::LEN));
                let hash = before.as_mut().map(|before| before.update(counted).finish());
                let is_end = len == 8 + Hash::LEN
                    && counted.ends_with(&self.contents.records().to_be_bytes())
                    && hash.is_some_and(|hash| hash.as_bytes() == all);
                self.stage = Stage::Ended;
                return if is_end { Ok(None) } else { Err(ArchiveError::Malformed { record }) };
            }
            kind => return Err(ArchiveError::Unknown { record, kind }),
        };
        let found = found.ok_or(ArchiveError::Malformed { record })?;
        match found {
            Record::Entry { .. } => self.contents.entries += 1,
            Record::Evidence { .. } => self.contents.evidence += 1,
            Record::Credential { .. } => self.contents.credentials += 1,
        }
        Ok(Some(found))
    }

    /// So many bytes, and their check behind them, if all that is there.
    fn take(&mut self, len: usize) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Some(found) = self.left().get(..len + CHECK) else { return Ok(None) };
        let (bytes, found) = found.split_at(len);
        let (bytes, found) = (bytes.to_vec(), found.to_vec());
        if check(self.hasher.update(&bytes)) != *found {
            return Err(self.changed(len + CHECK));
        }
        self.hasher.update(&found);
        self.start += len + CHECK;
        self.contents.bytes += (len + CHECK) as u64;
        Ok(Some(bytes))
    }

    /// Among the next bytes is one that was changed.
    fn changed(&self, len: usize) -> ArchiveError {
        let from = self.contents.bytes;
        ArchiveError::Changed { record: self.number(), from, to: from.saturating_add(len as u64) }
    }
}

fn read_pair(body: &[u8], max: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut reader = Reader::new(body);
    let first = reader.bytes16(MAX_HEADER).ok()?.to_vec();
    let rest = reader.rest();
    (rest.len() <= max).then(|| (first, rest.to_vec()))
}

/// Why a file is no archive, or not as it was written. Records are counted from 1; number 0 is what
/// stands before them. Bytes are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It doesn't begin as archives do.
    #[error("this is no archive of a space; `aether space export` makes one")]
    Other,
    /// A later release wrote it.
    #[error("the archive has version {version}, which this release doesn't know; upgrade")]
    Version {
        /// Version found.
        version: u8,
    },
    /// A space isn't founded so.
    #[error("the archive's space is none")]
    Genesis(#[from] GenesisError),
    /// It ends before its end.
    #[error(
        "the archive isn't whole: it ends at byte {at}, in record {record}; copy it again, or \
         export the space again"
    )]
    Torn {
        /// In which record.
        record: u64,
        /// How many bytes there are.
        at: u64,
    },
    /// A byte isn't what was written.
    #[error(
        "the archive was damaged: bytes {from} to {to}, record {record}, aren't what was written; \
         copy it again, or export the space again"
    )]
    Changed {
        /// In which record.
        record: u64,
        /// The first byte of those among which it is.
        from: u64,
        /// The byte behind them.
        to: u64,
    },
    /// A record is of a kind that isn't known.
    #[error("record {record} of the archive is of kind {kind}, which this release doesn't know")]
    Unknown {
        /// Which record.
        record: u64,
        /// Its kind.
        kind: u8,
    },
    /// It was written so by what doesn't keep the rules.
    #[error("record {record} of the archive breaks the rules of archives; export the space again")]
    Malformed {
        /// Which record.
        record: u64,
    },
    /// Something follows the end.
    #[error("the archive ends at byte {at}, and something else is behind it; cut that off")]
    Behind {
        /// Where the archive ends.
        at: u64,
    },
}
