//! Archives: all of a space in one file, for a backup, a move or an export.
//!
//! State is a pure function of entries, so what has all of a space's entries has the space: an
//! archive holds the genesis, the entries that a replica keeps, and the evidence of forks. It is
//! read as a peer is heard: whoever takes entries in checks them, and whoever made the archive need
//! not be trusted.
//!
//! # Layout
//!
//! Version 1; integers are big endian. The file begins with
//!
//! | bytes | field |
//! |---|---|
//! | 8 | `89 61 65 74 68 65 72 0a`: what isn't text, and is changed by whatever takes it for text |
//! | 1 | version, 1 |
//! | 2 + n | length of the [genesis](super::space::Genesis), and the genesis |
//! | 8 | check |
//!
//! Records follow, and nothing comes behind the last one:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | what it is: 1 an entry, 2 evidence, 3 a credential, 4 the end |
//! | 4 | length of the body |
//! | n | body |
//! | 8 | check |
//!
//! | record | body |
//! |---|---|
//! | entry | length of its header (2), header, payload; without that if it was discarded |
//! | evidence | length of the header with the smaller hash (2), that header, the other |
//! | credential | the first header of a feed of which nothing is kept any more |
//! | end | how many records were before (8), BLAKE3 of all before this hash (32) |
//!
//! A check is the first 8 bytes of BLAKE3 of all before it, from the begin of the file on. The
//! context of all these hashes is `aether 2026-11 space archive v1`. So what was changed shows at
//! the record in which it stands, and what was cut by the end that isn't there.
//!
//! # Order
//!
//! An entry stands behind its parent, all that it cites and what excuses that a cited one isn't
//! kept: who takes in one record after the other has to wait for none. That is the order in which
//! the replica took them in, but for owners' own feeds, which cite nothing, say what was discarded
//! and stand before all others, and for entries that cite what isn't kept any more. Those that cite
//! what a fork evicted stand behind the fork's evidence; those that cite what a removal evicted
//! stand at the end, and behind the credential of a feed of which nothing is left. Two replicas
//! that keep the same may write archives that differ in that order.
//!
//! A chain that a removal pins beside two other branches of a forked feed can't be taken in that
//! way: it comes from peers.
//!
//! # Cost
//!
//! An [`Encoder`] and a [`Decoder`] have an entry in memory, of a MiB at most, and hash all bytes
//! once. An [`Export`] has besides it some 140 bytes for each entry that has to wait.

mod decoder;
mod export;

use aether_core::{Domain, Hash, Hasher, wire::Writer};

pub use self::{
    decoder::{ArchiveError, Decoder, Part},
    export::Export,
};
use super::{
    entry::{MAX_HEADER, MAX_PAYLOAD},
    space::Genesis,
};

const ARCHIVE: Domain = Domain::new("aether 2026-11 space archive v1");

const MAGIC: [u8; 8] = *b"\x89aether\n";
const VERSION: u8 = 1;

const ENTRY: u8 = 1;
const EVIDENCE: u8 = 2;
const CREDENTIAL: u8 = 3;
const END: u8 = 4;

/// Length of a check.
const CHECK: usize = 8;
/// What stands before the genesis: magic, version, length.
const FRONT: usize = MAGIC.len() + 1 + 2;
/// What stands before a body: what it is, length.
const HEAD: usize = 1 + 4;
/// Longest body.
const MAX_BODY: usize = 2 + MAX_HEADER + MAX_PAYLOAD;

/// What an archive holds beside the genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry.
    Entry {
        /// [`Header::encode`](super::entry::Header::encode).
        header: Vec<u8>,
        /// Its payload.
        payload: Vec<u8>,
    },
    /// Two headers of one number and feed: its author forked it.
    Evidence {
        /// The one with the smaller hash.
        first: Vec<u8>,
        /// The other.
        second: Vec<u8>,
    },
    /// By what a feed was written of which nothing is kept any more, and that the entry behind it
    /// cites.
    Credential {
        /// The feed's first header.
        header: Vec<u8>,
    },
}

/// What an archive came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// How many entries.
    pub entries: u64,
    /// How many feeds were shown to be forked.
    pub evidence: u64,
    /// How many credentials.
    pub credentials: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

impl Contents {
    const fn records(&self) -> u64 {
        self.entries.saturating_add(self.evidence).saturating_add(self.credentials)
    }
}

/// Writes an archive: each call gives the bytes that come next.
#[derive(Clone, Debug)]
pub struct Encoder {
    hasher: Hasher,
    contents: Contents,
}

impl Encoder {
    /// Begins an archive of this space.
    pub fn begin(genesis: &Genesis) -> (Self, Vec<u8>) {
        let mut encoder = Self { hasher: ARCHIVE.hasher(), contents: Contents::default() };
        let mut writer = Writer::with_capacity(FRONT + Genesis::MAX + CHECK);
        writer.array(&MAGIC).u8(VERSION).bytes16(&genesis.encode());
        let front = encoder.check(writer.finish());
        (encoder, front)
    }

    /// A record.
    ///
    /// # Panics
    /// A header or a payload is longer than any that is valid.
    pub fn record(&mut self, record: &Record) -> Vec<u8> {
        let (kind, first, rest) = match record {
            Record::Entry { header, payload } => {
                assert!(payload.len() <= MAX_PAYLOAD, "no valid entry's payload is longer");
                self.contents.entries += 1;
                (ENTRY, header, payload)
            }
            Record::Evidence { first, second } => {
                assert!(second.len() <= MAX_HEADER, "no valid header is longer");
                self.contents.evidence += 1;
                (EVIDENCE, first, second)
            }
            Record::Credential { header } => {
                assert!(header.len() <= MAX_HEADER, "no valid header is longer");
                self.contents.credentials += 1;
                let mut writer = begin(CREDENTIAL, header.len());
                writer.slice(header);
                return self.check(writer.finish());
            }
        };
        assert!(first.len() <= MAX_HEADER, "no valid header is longer");
        let mut writer = begin(kind, 2 + first.len() + rest.len());
        writer.bytes16(first).slice(rest);
        self.check(writer.finish())
    }

    /// The end.
    pub fn end(mut self) -> (Vec<u8>, Contents) {
        let mut writer = begin(END, 8 + Hash::LEN);
        writer.u64(self.contents.records());
        let mut bytes = writer.finish();
        let all = self.hasher.clone().update(&bytes).finish();
        bytes.extend_from_slice(all.as_bytes());
        let bytes = self.check(bytes);
        (bytes, self.contents)
    }

    /// What the bytes so far hold.
    pub const fn contents(&self) -> Contents {
        self.contents
    }

    /// Puts a check behind bytes.
    fn check(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let check = check(self.hasher.update(&bytes));
        bytes.extend_from_slice(&check);
        self.hasher.update(&check);
        self.contents.bytes += bytes.len() as u64;
        bytes
    }
}

fn begin(kind: u8, len: usize) -> Writer {
    let mut writer = Writer::with_capacity(HEAD + len + CHECK);
    writer.u8(kind).u32(u32::try_from(len).expect("a body has few MiB"));
    writer
}

fn check(hasher: &Hasher) -> [u8; CHECK] {
    *hasher.finish().as_bytes().first_chunk().expect("a hash has 32 bytes")
}

#[cfg(test)]
mod tests;
