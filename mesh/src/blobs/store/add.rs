//! Adding content: copied, hashed on the way, synced, and only then named.

use std::{
    fs::{self, File},
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use aether_core::BlobId;

use super::{
    BlobStore, Progress,
    blob::InUse,
    collection::{Collection, CollectionError, Entry},
    error::{AddError, FileError},
    folder::Temporary,
    index::{Room, on_disk},
    tree::{self, Builder, GROUP, MAX_SIZE},
};

/// Read and hashed at once; whole groups.
const BUFFER: usize = 16 * GROUP as usize;

/// Content that was added. It's in use as long as this is there: pin it before this is dropped, if
/// it must not be evicted.
#[derive(Debug)]
pub struct Added {
    in_use: InUse,
    /// Of a folder: its files.
    children: Vec<InUse>,
    size: u64,
    is_collection: bool,
}

impl Added {
    /// What it is called.
    pub fn id(&self) -> BlobId {
        *self.in_use.id()
    }

    /// Size of the blob in bytes; of a folder, that of its collection.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether it's a folder, as a collection.
    pub fn is_collection(&self) -> bool {
        self.is_collection
    }

    /// How many files were added: 1, or those of the folder.
    pub fn files(&self) -> usize {
        if self.is_collection { self.children.len() } else { 1 }
    }
}

impl BlobStore {
    /// Adds bytes.
    pub fn add_bytes(&self, bytes: &[u8]) -> Result<Added, AddError> {
        self.add_reader(&mut &bytes[..], &mut |_| {})
    }

    /// Adds all that a reader gives, in bounded memory. Content and outboard are synced when this
    /// returns; until then nothing of it is there for others.
    pub fn add_reader(
        &self,
        reader: &mut dyn Read,
        progress: Progress<'_>,
    ) -> Result<Added, AddError> {
        let mut room = Room::new(self.inner.clone());
        let mut content = self.inner.folder.temporary()?;
        let (id, size) = self.copy_in(reader, &mut content, &mut room, progress)?;
        let in_use = InUse::any(&self.inner, id);
        in_use.install(content, size, &mut room)?;
        Ok(Added { in_use, children: Vec::new(), size, is_collection: false })
    }

    /// Adds a file, or a folder with all files in it as a [`Collection`]. Symbolic links and
    /// whatever else isn't a file or a folder are refused, so that nothing is left out in silence.
    ///
    /// `progress` hears how many bytes were read so far.
    pub fn add_path(&self, path: &Path, progress: Progress<'_>) -> Result<Added, AddError> {
        let kind = fs::symlink_metadata(path).map_err(FileError::at(path.to_owned()))?;
        if kind.is_file() {
            self.add_file(path, progress)
        } else if kind.is_dir() {
            self.add_folder(path, progress)
        } else {
            Err(AddError::Kind { path: path.to_owned() })
        }
    }

    fn add_file(&self, path: &Path, progress: Progress<'_>) -> Result<Added, AddError> {
        let mut file = File::open(path).map_err(FileError::at(path.to_owned()))?;
        self.add_reader(&mut file, progress).map_err(|error| match error {
            AddError::Read(source) => FileError { path: path.to_owned(), source }.into(),
            error => error,
        })
    }

    fn add_folder(&self, path: &Path, progress: Progress<'_>) -> Result<Added, AddError> {
        let mut names = Vec::new();
        list(path, "", &mut names)?;
        let mut collection = Collection::new();
        let mut children = Vec::new();
        let mut done = 0;
        for name in names {
            let added = self.add_file(&path.join(&name), &mut |bytes| progress(done + bytes))?;
            done += added.size;
            collection.insert(name, Entry { id: added.id(), size: added.size })?;
            children.push(added.in_use);
        }
        let added = self.add_bytes(&collection.encode()?)?;
        Ok(Added { children, is_collection: true, ..added })
    }

    fn copy_in(
        &self,
        reader: &mut dyn Read,
        content: &mut Temporary,
        room: &mut Room,
        progress: Progress<'_>,
    ) -> Result<(BlobId, u64), AddError> {
        let mut builder = Builder::new(0, &self.inner.folder.tmp());
        let mut buffer = vec![0; BUFFER];
        let mut size = 0;
        loop {
            let len = fill(reader, &mut buffer).map_err(AddError::Read)?;
            let is_only = size == 0 && len <= GROUP as usize;
            let data = &buffer[..len];
            if len > 0 || is_only {
                size += len as u64;
                if size > MAX_SIZE {
                    return Err(AddError::TooLarge);
                }
                reserve(room, size)?;
                let written = content.file.write_all(data).and_then(|()| {
                    let mut groups = data.chunks(GROUP as usize).collect::<Vec<_>>();
                    if groups.is_empty() {
                        groups.push(data);
                    }
                    groups.iter().try_for_each(|group| builder.push(group, is_only))
                });
                written.map_err(FileError::at(content.path().to_owned()))?;
                progress(size);
            }
            if len < buffer.len() {
                break;
            }
        }
        let root = finish(builder, &mut content.file);
        let root = root.map_err(FileError::at(content.path().to_owned()))?;
        Ok((BlobId::from_bytes(*root.as_bytes()), size))
    }

    /// Stores the content of a blob of one group.
    pub(super) fn install_bytes(
        &self,
        in_use: &InUse,
        data: &[u8],
        room: &mut Room,
    ) -> Result<(), FileError> {
        let mut content = self.inner.folder.temporary()?;
        let written = content.file.write_all(data).and_then(|()| content.file.sync_all());
        written.map_err(FileError::at(content.path().to_owned()))?;
        in_use.install(content, data.len() as u64, room)
    }
}

/// Makes room for a blob that has so many bytes by now.
fn reserve(room: &mut Room, size: u64) -> Result<(), AddError> {
    let total = on_disk(size + tree::outboard_len(size));
    if total > room.left() {
        room.grow(total - room.left())?;
    }
    Ok(())
}

/// The outboard follows the content, and both are synced.
fn finish(builder: Builder, content: &mut File) -> io::Result<blake3::Hash> {
    let (root, mut outboard) = builder.finish(true)?;
    content.seek(SeekFrom::End(0))?;
    io::copy(&mut outboard, content)?;
    content.sync_all()?;
    Ok(root)
}

/// Reads until the buffer is full or nothing more comes.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match reader.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// The names of all files in a folder, with those of its folders before them.
fn list(path: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), AddError> {
    for entry in fs::read_dir(path).map_err(FileError::at(path.to_owned()))? {
        let entry = entry.map_err(FileError::at(path.to_owned()))?;
        let name = entry.file_name();
        let name = format!("{prefix}{}", name.to_str().ok_or(CollectionError::NotText)?);
        let kind = entry.file_type().map_err(FileError::at(entry.path()))?;
        if kind.is_dir() {
            if name.len() > Collection::MAX_NAME {
                return Err(CollectionError::Name { name: name.chars().take(80).collect() }.into());
            }
            list(&entry.path(), &format!("{name}/"), names)?;
        } else if kind.is_file() {
            if names.len() >= Collection::MAX_ENTRIES {
                return Err(CollectionError::TooMany.into());
            }
            names.push(name);
        } else {
            return Err(AddError::Kind { path: entry.path() });
        }
    }
    Ok(())
}
