//! Exporting: verified content into files of the user's.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use aether_core::BlobId;

use super::{
    BlobStore, Progress,
    blob::InUse,
    collection::Collection,
    error::{ExportError, FileError},
    folder::sync_folder,
    read::Reader,
};

/// How the names of unfinished exports begin.
const UNFINISHED: &str = ".aether-export-";

impl BlobStore {
    /// Writes a blob into a file, in the place of one that was there. The name changes only once
    /// all is verified and synced.
    ///
    /// `progress` hears how many bytes were written so far.
    pub fn export(
        &self,
        id: &BlobId,
        path: &Path,
        progress: Progress<'_>,
    ) -> Result<(), ExportError> {
        let mut reader = self.reader(id)?;
        let parent = parent(path);
        let file = FileError::at(parent.to_owned());
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(UNFINISHED).permissions(Permissions::from_mode(0o666));
        let mut new = builder.tempfile_in(parent).map_err(file)?;
        write_out(&mut reader, new.as_file_mut(), path, progress)?;
        match new.persist(path) {
            Ok(_) => Ok(sync_folder(parent).map_err(FileError::at(parent.to_owned()))?),
            Err(error) => Err(FileError { path: path.to_owned(), source: error.error }.into()),
        }
    }

    /// The collection that a blob holds.
    pub fn collection(&self, id: &BlobId) -> Result<Collection, ExportError> {
        let bytes = self.reader(id)?.read_up_to(Collection::MAX_ENCODED)?;
        Ok(Collection::decode(&bytes)?)
    }

    /// Writes all files of a collection into a new folder, or in the place of an empty one, which
    /// appears only once all is verified and synced. Nothing is written elsewhere, whatever the
    /// names are and whatever links are around.
    ///
    /// `progress` hears how many bytes were written so far.
    pub fn export_folder(
        &self,
        id: &BlobId,
        path: &Path,
        progress: Progress<'_>,
    ) -> Result<(), ExportError> {
        let collection = self.collection(id)?;
        let parent = parent(path);
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(UNFINISHED).permissions(Permissions::from_mode(0o777));
        // What is inside of a folder that is new has been made here.
        let new = builder.tempdir_in(parent).map_err(FileError::at(parent.to_owned()))?;
        let mut done = 0;
        let mut folders = vec![new.path().to_owned()];
        for (name, entry) in collection.iter() {
            let entry_error = |source| ExportError::Entry { name: name.to_owned(), source };
            let mut reader = self.reader(&entry.id).map_err(entry_error)?;
            let target = new.path().join(name);
            make_folders(new.path(), name, &mut folders)?;
            let mut file = File::create_new(&target).map_err(FileError::at(target.clone()))?;
            let written = write_out(&mut reader, &mut file, &target, &mut |bytes| {
                progress(done + bytes);
            });
            written.map_err(|error| match error {
                ExportError::Read(error) => entry_error(error),
                error => error,
            })?;
            done += reader.size();
        }
        for folder in folders.iter().rev() {
            sync_folder(folder).map_err(FileError::at(folder.clone()))?;
        }
        take_place(new, path)?;
        Ok(sync_folder(parent).map_err(FileError::at(parent.to_owned()))?)
    }
}

impl InUse {
    /// Tells the index what a pinned collection holds, once the collection is there.
    pub(super) fn keep_children(&self) {
        if !self.store.index().wants_children(self.id()) {
            return;
        }
        let bytes = Reader::new(self.clone())
            .and_then(|mut reader| reader.read_up_to(Collection::MAX_ENCODED));
        match bytes.map(|bytes| Collection::decode(&bytes)) {
            Ok(Ok(collection)) => {
                let children = collection.iter().map(|(_, entry)| entry.id).collect();
                self.store.index().set_children(*self.id(), children);
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, blob = %self.id(), "pinned as a collection, isn't one");
            }
            Err(error) => {
                tracing::warn!(%error, blob = %self.id(), "a pinned collection can't be read");
            }
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write_out(
    reader: &mut Reader,
    file: &mut File,
    path: &Path,
    progress: Progress<'_>,
) -> Result<(), ExportError> {
    let mut done = 0;
    loop {
        let bytes = reader.next_bytes()?;
        if bytes.is_empty() {
            break;
        }
        file.write_all(bytes).map_err(FileError::at(path.to_owned()))?;
        done += bytes.len() as u64;
        progress(done);
    }
    Ok(file.sync_all().map_err(FileError::at(path.to_owned()))?)
}

/// Makes the folders that a name is in. `made` are those that are there, each once.
fn make_folders(root: &Path, name: &str, made: &mut Vec<PathBuf>) -> Result<(), FileError> {
    for (end, _) in name.match_indices('/') {
        let folder = root.join(&name[..end]);
        match fs::create_dir(&folder) {
            Ok(()) => made.push(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(FileError::at(folder)(error)),
        }
    }
    Ok(())
}

/// Renames a finished folder. The system refuses to put it in the place of anything but an empty
/// folder.
fn take_place(new: tempfile::TempDir, path: &Path) -> Result<(), ExportError> {
    match fs::rename(new.path(), path) {
        Ok(()) => {
            // It has another name now: there is nothing to be removed.
            let _ = new.keep();
            Ok(())
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::AlreadyExists
                    | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(ExportError::Exists { path: path.to_owned() })
        }
        Err(source) => Err(FileError { path: path.to_owned(), source }.into()),
    }
}
