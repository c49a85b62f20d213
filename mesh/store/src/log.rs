//! Logs: small, append-only, and checked byte by byte.
//!
//! A log holds what must never be repeated or forgotten: votes, and the numbers an author has used.
//! Its file is kept apart from the engine, whose journal is cut silently at the first byte that it
//! can't read; here that is an error.
//!
//! The file begins with 24 bytes:
//!
//! | bytes | field |
//! |---|---|
//! | 7 | `aethlog` |
//! | 1 | version, 1 |
//! | 16 | the first half of link 0 |
//!
//! and goes on with records, each of 24 bytes and its payload:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | length `n` of the payload, big endian, at most 1 MiB |
//! | 4 | the bitwise complement of the length |
//! | 16 | the first half of this record's link |
//! | n | payload |
//!
//! Links are BLAKE3 hashes: link 0 of the log's name, link `i` of link `i-1`, the length's four
//! bytes and the payload. So a record that was changed, moved, dropped from the middle or taken
//! from another log doesn't fit.
//!
//! # Torn or corrupt
//!
//! An append that a crash interrupts leaves a prefix of what it wrote, or, where a file system
//! enlarges the file first, zeros instead of it. So what follows the last record that fits is a
//! **torn tail** if the file ends inside a record (inside its 24 bytes, or, when length and
//! complement agree, inside its payload), or if it holds nothing but zeros to the end of the file.
//! A torn tail was never acknowledged; it is cut off, and reported. **Everything else is
//! corruption**, an error that names the offset. The complement is there so that a damaged length
//! can't pass for a file that ends too early.
//!
//! It follows that no flipped bit of a whole log is taken for a torn tail, the last record
//! included. In exchange a tail that a crash left with holes in front of written bytes is refused
//! too, though nothing acknowledged is missing: a person decides, the program never guesses. What
//! no rule can see is a whole tail that was acknowledged and that the disk then lost cleanly.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use aether_core::{Domain, Hash, wire::Reader};

use crate::{Faults, folder, store::Inner, writer::WriteError};

const NAME: Domain = Domain::new("aether 2026-11 store log name v1");
const RECORD: Domain = Domain::new("aether 2026-11 store log record v1");
const MAGIC: &[u8; 7] = b"aethlog";
const VERSION: u8 = 1;
/// Length of the file's head, and of a record's.
const HEAD: usize = 24;

/// Longest record of a log, in bytes.
pub const MAX_RECORD: usize = 1 << 20;

/// A named log of a store. Its records are read when it is opened, by
/// [`Store::log`](crate::Store::log), and written by [`Batch::append`](crate::Batch::append) and
/// [`Batch::rewrite`](crate::Batch::rewrite).
///
/// Cloning is cheap. A log keeps its store open.
#[derive(Clone, Debug)]
pub struct Log {
    pub(crate) index: usize,
    pub(crate) store: Arc<Inner>,
}

impl Log {
    pub(crate) fn store_id(&self) -> u64 {
        self.store.id
    }
}

/// A log and what it held.
#[derive(Debug)]
pub struct Opened {
    /// The log, ready for more.
    pub log: Log,
    /// Its records, oldest first.
    pub records: Vec<Vec<u8>>,
    /// Length of the torn tail that was cut off, in bytes; 0 if there was none.
    pub truncated: u64,
}

/// Why a log can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Names have 1 to 128 of `a-z 0-9 . _ -` and don't begin with a dot.
    #[error("{name:?} can't name a log: use 1 to 128 of a-z 0-9 . _ -, not beginning with a dot")]
    Name {
        /// The name.
        name: String,
    },
    /// A write or sync of the store failed, so the file may hold what was never acknowledged.
    #[error("a write or sync failed: reopen the store before its logs")]
    Poisoned,
    /// A newer release wrote it.
    #[error("{} has format {version}, this release reads {VERSION}: upgrade", path.display())]
    Newer {
        /// The log's file.
        path: PathBuf,
        /// Its version.
        version: u8,
    },
    /// A byte isn't what was written.
    #[error(
        "{} is corrupt at byte {offset}: restore it, or move it away if what it guards can be lost",
        path.display()
    )]
    Corrupt {
        /// The log's file.
        path: PathBuf,
        /// Where the first record begins that doesn't fit; 0 for the head of the file.
        offset: u64,
    },
    /// The file can't be read or made.
    #[error("can't open the log {}", path.display())]
    Io {
        /// The log's file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

/// What a batch does to a log.
#[derive(Debug)]
pub(crate) enum LogWrite {
    Append(Vec<u8>),
    Rewrite(Vec<Vec<u8>>),
}

/// The last link, to which the next record is chained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chain(Hash);

impl Chain {
    fn new(name: &str) -> Self {
        Self(NAME.hash(name.as_bytes()))
    }

    fn seal(self) -> [u8; 16] {
        *self.0.as_bytes().first_chunk().expect("a hash is longer than half a hash")
    }

    /// The link after this one.
    fn next(self, len: [u8; 4], payload: &[u8]) -> Self {
        Self(RECORD.hasher().update(self.0.as_ref()).update(&len).update(payload).finish())
    }
}

fn put_head(chain: Chain, out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
    out.extend_from_slice(&chain.seal());
}

fn put_record(chain: &mut Chain, payload: &[u8], out: &mut Vec<u8>) {
    let len = u32::try_from(payload.len()).expect("a batch bounds its records");
    let len = len.to_be_bytes();
    *chain = chain.next(len, payload);
    out.extend_from_slice(&len);
    out.extend_from_slice(&len.map(|byte| !byte));
    out.extend_from_slice(&chain.seal());
    out.extend_from_slice(payload);
}

/// What bytes hold: the records that fit, where they end, and the chain there. What follows the end
/// is a torn tail.
#[derive(Debug, PartialEq, Eq)]
struct Decoded<'a> {
    records: Vec<&'a [u8]>,
    end: usize,
    chain: Chain,
}

#[derive(Debug, PartialEq, Eq)]
enum Bad {
    Newer(u8),
    Corrupt(usize),
}

/// Reads a whole file by the rule above.
fn decode<'a>(name: &str, bytes: &'a [u8]) -> Result<Decoded<'a>, Bad> {
    let mut chain = Chain::new(name);
    let (head, mut rest) = bytes.split_at_checked(HEAD).ok_or(Bad::Corrupt(0))?;
    match head.split_at(MAGIC.len()) {
        (magic, [VERSION, seal @ ..]) if magic == MAGIC && seal == chain.seal() => {}
        (magic, [version, ..]) if magic == MAGIC && *version > VERSION => {
            return Err(Bad::Newer(*version));
        }
        _ => return Err(Bad::Corrupt(0)),
    }
    let mut records = Vec::new();
    loop {
        let end = bytes.len() - rest.len();
        match next_record(chain, rest) {
            Next::Record { payload, after, link } => {
                records.push(payload);
                (rest, chain) = (after, link);
            }
            Next::Torn => return Ok(Decoded { records, end, chain }),
            Next::Corrupt => return Err(Bad::Corrupt(end)),
        }
    }
}

/// The records of a log that fit, and whether nothing in it is corrupt.
pub(crate) fn salvage(name: &str, bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let decoded = match decode(name, bytes) {
        Err(Bad::Corrupt(end)) => (decode(name, &bytes[..end]), false),
        decoded => (decoded, true),
    };
    let (Ok(decoded), is_whole) = decoded else { return (Vec::new(), false) };
    (decoded.records.into_iter().map(<[u8]>::to_vec).collect(), is_whole)
}

enum Next<'a> {
    Record {
        payload: &'a [u8],
        after: &'a [u8],
        link: Chain,
    },
    /// The end, or a torn tail.
    Torn,
    Corrupt,
}

fn next_record(chain: Chain, bytes: &[u8]) -> Next<'_> {
    let mut reader = Reader::new(bytes);
    let (Ok(len), Ok(complement)) = (reader.array::<4>(), reader.array::<4>()) else {
        return Next::Torn;
    };
    if bytes.iter().all(|byte| *byte == 0) {
        return Next::Torn;
    }
    let count = u32::from_be_bytes(len) as usize;
    if len != complement.map(|byte| !byte) || count > MAX_RECORD {
        return Next::Corrupt;
    }
    let (Ok(seal), Ok(payload)) = (reader.array::<16>(), reader.slice(count)) else {
        return Next::Torn;
    };
    let link = chain.next(len, payload);
    if link.seal() == seal {
        Next::Record { payload, after: reader.rest(), link }
    } else {
        Next::Corrupt
    }
}

/// An open log, as the storage thread holds it.
#[derive(Debug)]
pub(crate) struct LogFile {
    name: String,
    path: PathBuf,
    file: File,
    chain: Chain,
    /// Bytes of the file that are written.
    len: u64,
    /// Records that aren't written yet.
    pending: Vec<u8>,
    /// Whether something is written and not synced.
    dirty: bool,
}

impl LogFile {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Opens or makes a log's file. Answers with its records, and the length of the torn tail that
    /// was cut off.
    pub(crate) fn open(
        folder: &Path,
        name: &str,
        faults: Option<&Faults>,
    ) -> Result<(Self, Vec<Vec<u8>>, u64), LogError> {
        let path = folder.join(format!("{name}.log"));
        let io = |source| LogError::Io { path: path.clone(), source };
        if !path.try_exists().map_err(io)? {
            let mut head = Vec::new();
            put_head(Chain::new(name), &mut head);
            folder::replace(&path, &head, None).map_err(io)?;
        }
        let bytes = std::fs::read(&path).map_err(io)?;
        let Decoded { records, end, chain } = decode(name, &bytes).map_err(|bad| match bad {
            Bad::Newer(version) => LogError::Newer { path: path.clone(), version },
            Bad::Corrupt(offset) => LogError::Corrupt { path: path.clone(), offset: offset as u64 },
        })?;
        let mut file = File::options().write(true).open(&path).map_err(io)?;
        let len = end as u64;
        let truncated = (bytes.len() - end) as u64;
        if truncated > 0 {
            tracing::warn!(log = name, truncated, "cut off a torn tail");
            file.set_len(len).and_then(|()| file.sync_all()).map_err(io)?;
        }
        file.seek(SeekFrom::Start(len)).map_err(io)?;
        let records = records.into_iter().map(<[u8]>::to_vec).collect();
        if let Some(faults) = faults {
            faults.synced_log(&path, len);
        }
        let (pending, dirty) = (Vec::new(), false);
        let log = Self { name: name.to_owned(), path, file, chain, len, pending, dirty };
        Ok((log, records, truncated))
    }

    /// Takes a change. It reaches the file by [`flush`](Self::flush) at the latest.
    pub(crate) fn apply(
        &mut self,
        write: &LogWrite,
        faults: Option<&Faults>,
    ) -> Result<(), WriteError> {
        match write {
            LogWrite::Append(payload) => {
                let start = self.pending.len();
                put_record(&mut self.chain, payload, &mut self.pending);
                if let Some(faults) = faults {
                    faults.flip(&mut self.pending[start..]);
                }
                Ok(())
            }
            LogWrite::Rewrite(records) => self.rewrite(records, faults),
        }
    }

    /// Hands what is pending to the operating system, and with `sync` to the disk.
    ///
    /// Answers whether it synced.
    pub(crate) fn flush(
        &mut self,
        sync: bool,
        faults: Option<&Faults>,
    ) -> Result<bool, WriteError> {
        if !self.pending.is_empty() {
            self.dirty = true;
            self.file.write_all(&self.pending).map_err(|error| self.failed(error))?;
            self.len += self.pending.len() as u64;
            self.pending.clear();
        }
        if !(sync && self.dirty) {
            return Ok(false);
        }
        faults
            .map_or(Ok(()), Faults::before_sync)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| self.failed(error))?;
        self.dirty = false;
        if let Some(faults) = faults {
            faults.synced_log(&self.path, self.len);
        }
        Ok(true)
    }

    fn rewrite(&mut self, records: &[Vec<u8>], faults: Option<&Faults>) -> Result<(), WriteError> {
        let mut chain = Chain::new(&self.name);
        let mut bytes = Vec::new();
        put_head(chain, &mut bytes);
        for record in records {
            put_record(&mut chain, record, &mut bytes);
        }
        self.file = folder::replace(&self.path, &bytes, faults).map_err(|e| self.failed(e))?;
        (self.chain, self.len) = (chain, bytes.len() as u64);
        self.pending.clear();
        self.dirty = false;
        if let Some(faults) = faults {
            faults.synced_log(&self.path, self.len);
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> WriteError {
        WriteError::Log { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "votes";

    /// A log's bytes, and where its records begin; the last offset is the end.
    fn encode(records: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
        let mut chain = Chain::new(NAME);
        let mut bytes = Vec::new();
        put_head(chain, &mut bytes);
        let mut offsets = vec![bytes.len()];
        for record in records {
            put_record(&mut chain, record, &mut bytes);
            offsets.push(bytes.len());
        }
        (bytes, offsets)
    }

    const RECORDS: [&[u8]; 5] = [b"one", b"", b"\0\0\0\0", b"four and more", b"five"];

    #[test]
    fn the_layout_is_pinned() {
        let (bytes, _) = encode(&[b"vote", b""]);
        let expected = [
            "616574686c6f6701eb2a857ae2b4125a90d3b30f6c26147b",
            "00000004fffffffb3ef6073878cfe2d92fcfdf15987ff962766f7465",
            "00000000ffffffffe8e02d3f47da3de0e2dcf84042dd7511",
        ];
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.concat());
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, _) = encode(&RECORDS);
        let decoded = decode(NAME, &bytes).unwrap();
        assert_eq!(decoded.records, RECORDS);
        assert_eq!(decoded.end, bytes.len());
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_cut_off_and_nothing_else() {
        let (bytes, offsets) = encode(&RECORDS);
        for len in HEAD..bytes.len() {
            let whole = offsets.iter().filter(|offset| **offset <= len).count() - 1;
            for zeros in [0, 1, 30, 5000] {
                let torn = [&bytes[..len], &vec![0; zeros]].concat();
                match decode(NAME, &torn) {
                    Ok(decoded) => {
                        assert_eq!(decoded.records, RECORDS[..decoded.records.len()], "{len}");
                        assert_eq!(decoded.end, offsets[decoded.records.len()], "{len}");
                        // Zeros may happen to be what the record goes on with.
                        assert!(decoded.records.len() >= whole, "{len} and {zeros} zeros");
                        assert!(zeros > 0 || decoded.records.len() == whole, "{len}");
                    }
                    // Zeros behind part of a record: written bytes that don't fit.
                    Err(bad) => {
                        assert!(zeros > 0 && len > offsets[whole], "{len} and {zeros} zeros");
                        assert_eq!(bad, Bad::Corrupt(offsets[whole]), "{len} and {zeros} zeros");
                    }
                }
            }
        }
    }

    #[test]
    fn a_head_that_is_cut_is_corrupt() {
        let (bytes, _) = encode(&[]);
        for len in 0..HEAD {
            assert_eq!(decode(NAME, &bytes[..len]), Err(Bad::Corrupt(0)), "{len}");
        }
    }

    #[test]
    fn every_flipped_bit_is_an_error_that_names_its_record() {
        let (bytes, offsets) = encode(&RECORDS);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let record = offsets.iter().rev().find(|offset| **offset <= bit / 8);
            match decode(NAME, &flipped) {
                Err(Bad::Corrupt(offset)) => assert_eq!(offset, *record.unwrap_or(&0), "bit {bit}"),
                Err(Bad::Newer(_)) => assert_eq!(bit / 8, MAGIC.len(), "bit {bit}"),
                Ok(_) => panic!("bit {bit} wasn't noticed"),
            }
        }
    }

    #[test]
    fn records_that_are_dropped_moved_or_of_another_log_are_corrupt() {
        let (bytes, offsets) = encode(&RECORDS);
        let dropped = [&bytes[..offsets[1]], &bytes[offsets[2]..]].concat();
        assert_eq!(decode(NAME, &dropped), Err(Bad::Corrupt(offsets[1])));
        let repeated = [&bytes[..offsets[1]], &bytes[HEAD..]].concat();
        assert_eq!(decode(NAME, &repeated), Err(Bad::Corrupt(offsets[1])));
        assert_eq!(decode("other", &bytes), Err(Bad::Corrupt(0)));
    }

    #[test]
    fn a_record_that_is_too_long_is_corrupt_and_not_torn() {
        let (mut bytes, offsets) = encode(&[b"one"]);
        let len = (MAX_RECORD as u32 + 1).to_be_bytes();
        bytes.extend_from_slice(&len);
        bytes.extend_from_slice(&len.map(|byte| !byte));
        assert_eq!(decode(NAME, &bytes), Err(Bad::Corrupt(offsets[1])));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(NAME, &tail);
            let (head, _) = encode(&[b"one"]);
            if let Ok(decoded) = decode(NAME, &[head, tail].concat()) {
                prop_assert_eq!(&decoded.records[0], b"one");
            }
        }

        #[test]
        fn any_records_are_read_as_written(
            records in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..100), 0..10)
        ) {
            let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
            let (bytes, _) = encode(&records);
            prop_assert_eq!(decode(NAME, &bytes).unwrap().records, records);
        }
    }
}
