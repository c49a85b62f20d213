//! Marks: by which a folder tells whether it is the one that a life ended in, or a copy of it.
//!
//! A copy that is brought back, a backup say, would go on with feeds that have gone on already. So
//! an orderly end makes a file anew and writes down when and where the file system made it, which
//! no program that copies files can choose. What copies whole disks, as snapshots of virtual
//! machines do, isn't seen: peers then tell, who have more of the own feed.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// The name of the file, in the store's folder.
const NAME: &str = "spaces-ended";

/// Makes the file anew, and gives its mark; `None` where files have none.
pub(super) fn make(folder: &Path) -> io::Result<Option<Vec<u8>>> {
    let path = folder.join(NAME);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create_new(&path)?.sync_all()?;
    Ok(read(folder))
}

/// The mark of the file that is there, if there is one.
#[cfg(unix)]
pub(super) fn read(folder: &Path) -> Option<Vec<u8>> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::metadata(folder.join(NAME)).ok()?;
    let (inode, changed) = (found.ino().to_be_bytes(), found.ctime().to_be_bytes());
    Some([inode, changed, found.ctime_nsec().to_be_bytes()].concat())
}

/// Elsewhere no file tells, so each life begins new feeds.
#[cfg(not(unix))]
pub(super) fn read(_: &Path) -> Option<Vec<u8>> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_another_mark_and_a_folder_that_is_moved_has_the_same() {
        let parent = tempfile::tempdir().unwrap();
        let [first, moved, copy] = ["first", "moved", "copy"].map(|name| parent.path().join(name));
        fs::create_dir(&first).unwrap();
        assert_eq!(read(&first), None);
        let mark = make(&first).unwrap();
        assert_eq!(read(&first), mark);
        fs::rename(&first, &moved).unwrap();
        assert_eq!(read(&moved), mark);
        fs::create_dir(&copy).unwrap();
        fs::copy(moved.join(NAME), copy.join(NAME)).unwrap();
        assert_ne!(read(&copy), mark);
        assert_ne!(make(&moved).unwrap(), mark, "each end has its own");
    }
}
