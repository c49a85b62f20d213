//! Collections: folders as a list of named blobs.

use std::collections::BTreeMap;

use aether_core::{
    BlobId,
    wire::{Reader, WireError, Writer},
};

const TITLE: &[u8; 17] = b"aether collection";
const VERSION: u8 = 1;

/// A file in a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its content.
    pub id: BlobId,
    /// Its size in bytes. Whoever made the collection says so; only the content proves it.
    pub size: u64,
}

/// A list of named blobs, such as the files of a folder. It is itself an ordinary blob:
///
/// | bytes | field |
/// |---|---|
/// | 17 | `aether collection` |
/// | 1 | version, 1 |
/// | 4 | number of entries, big endian, at most 131,072 |
/// | | for each entry, names strictly ascending by their bytes: |
/// | 2 | length of the name in bytes, big endian, 1 to 1,024 |
/// | n | name, UTF-8 |
/// | 32 | blob id |
/// | 8 | size in bytes, big endian |
///
/// A name is a relative path: parts of 1 to 255 bytes, with `/` between them. No part is `.` or
/// `..` or holds a backslash or a control character (NUL among them), and no name is a folder in
/// another name. So the same files give the same bytes, and names joined to a folder stay in it.
/// Folders without files, permissions and times are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    entries: BTreeMap<String, Entry>,
}

impl Collection {
    /// Most entries.
    pub const MAX_ENTRIES: usize = 1 << 17;
    /// Longest name, in bytes.
    pub const MAX_NAME: usize = 1024;
    /// Longest encoding, in bytes: 16 MiB.
    pub const MAX_ENCODED: usize = 16 << 20;

    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry.
    pub fn insert(&mut self, name: impl Into<String>, entry: Entry) -> Result<(), CollectionError> {
        let name = name.into();
        check_name(&name)?;
        if self.entries.len() >= Self::MAX_ENTRIES {
            return Err(CollectionError::TooMany);
        }
        if self.entries.contains_key(&name) {
            return Err(CollectionError::Twice { name });
        }
        if folders(&name).any(|folder| self.entries.contains_key(folder)) || self.is_folder(&name) {
            return Err(CollectionError::Folder { name });
        }
        self.entries.insert(name, entry);
        Ok(())
    }

    /// Whether other names are in a folder of this name.
    fn is_folder(&self, name: &str) -> bool {
        let prefix = format!("{name}/");
        let next = self.entries.range(prefix.clone()..).next();
        next.is_some_and(|(other, _)| other.starts_with(&prefix))
    }

    /// Names and entries, ascending by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// The entry of a name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of the table above.
    pub fn encode(&self) -> Result<Vec<u8>, CollectionError> {
        let mut writer = Writer::default();
        let count = u32::try_from(self.entries.len()).expect("entries are bounded");
        writer.array(TITLE).u8(VERSION).u32(count);
        for (name, entry) in &self.entries {
            writer.bytes16(name.as_bytes()).array(entry.id.as_bytes()).u64(entry.size);
        }
        let bytes = writer.finish();
        if bytes.len() > Self::MAX_ENCODED {
            return Err(CollectionError::TooLong);
        }
        Ok(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, CollectionError> {
        if bytes.len() > Self::MAX_ENCODED {
            return Err(CollectionError::TooLong);
        }
        let mut reader = Reader::new(bytes);
        if reader.array().ok() != Some(*TITLE) {
            return Err(CollectionError::NotOne);
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(CollectionError::Version { version });
        }
        let count = reader.u32()?;
        if count as usize > Self::MAX_ENTRIES {
            return Err(CollectionError::TooMany);
        }
        let mut collection = Self::new();
        for _ in 0..count {
            let name = str::from_utf8(reader.bytes16(Self::MAX_NAME)?);
            let name = name.map_err(|_| CollectionError::NotText)?.to_owned();
            let entry = Entry { id: BlobId::from_bytes(reader.array()?), size: reader.u64()? };
            if collection.entries.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(CollectionError::Order { name });
            }
            collection.insert(name, entry)?;
        }
        reader.end()?;
        Ok(collection)
    }
}

/// The folders that a name is in.
fn folders(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

fn check_name(name: &str) -> Result<(), CollectionError> {
    let is_part = |part: &str| {
        (1..=255).contains(&part.len())
            && !matches!(part, "." | "..")
            && !part.contains(|c: char| c == '\\' || c.is_control())
    };
    if name.len() <= Collection::MAX_NAME && name.split('/').all(is_part) {
        Ok(())
    } else {
        let name = name.chars().take(80).flat_map(char::escape_default).collect();
        Err(CollectionError::Name { name })
    }
}

/// Why something is no collection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectionError {
    /// It begins otherwise.
    #[error("these bytes are no collection")]
    NotOne,
    /// Written by a later release.
    #[error("collection version {version} is not known here; a newer release may read it")]
    Version {
        /// Version found.
        version: u8,
    },
    /// Not a name that is safe in a folder.
    #[error("\"{name}\" can't be a name in a collection: rename the file")]
    Name {
        /// The name, escaped, shortened.
        name: String,
    },
    /// Not UTF-8.
    #[error("a name isn't UTF-8: rename the file")]
    NotText,
    /// Twice the same.
    #[error("{name:?} is there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// Not ascending.
    #[error("{name:?} is out of order")]
    Order {
        /// The name.
        name: String,
    },
    /// A file can't be a folder as well.
    #[error("{name:?} is a file and a folder")]
    Folder {
        /// One of the names concerned.
        name: String,
    },
    /// Too many entries.
    #[error("a collection has at most 131072 entries: split it")]
    TooMany,
    /// Too long an encoding.
    #[error("a collection has at most 16 MiB of names and hashes: split it")]
    TooLong,
    /// Too short, too long, or a length out of bounds.
    #[error("the collection is torn")]
    Torn(#[from] WireError),
}
