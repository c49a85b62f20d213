//! Writing back while more comes, so that the sync at the end of a download has little left to
//! wait for.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use super::blob::Files;

/// Bytes that are written before they are synced, but for the last.
const STRETCH: u64 = 16 * 1024 * 1024;

/// How far the disk is behind what was written to a file.
#[derive(Debug, Default)]
pub(super) struct Behind {
    bytes: AtomicU64,
    is_syncing: AtomicBool,
    /// How a sync failed. The system tells it once, and the next would seem to succeed, so it is
    /// kept for as long as the files are open.
    failed: Mutex<Option<io::ErrorKind>>,
}

impl Behind {
    /// So much more is written: has it synced, on a thread of its own, if it is enough.
    pub(super) fn wrote(files: &Arc<Files>, bytes: u64) {
        let behind = &files.behind;
        let before = behind.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes < STRETCH || behind.is_syncing.swap(true, Ordering::AcqRel) {
            return;
        }
        behind.bytes.store(0, Ordering::Relaxed);
        let syncing = files.clone();
        let sync = move || {
            // Held meanwhile, so that whoever checks waits for the result.
            let mut failed = syncing.behind.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = syncing.data.sync_data() {
                tracing::warn!(file = %syncing.path.display(), %error, "can't sync a download");
                *failed = Some(error.kind());
            }
            drop(failed);
            syncing.behind.is_syncing.store(false, Ordering::Release);
        };
        if thread::Builder::new().name("aether-writeback".to_owned()).spawn(sync).is_err() {
            // Without a thread all is synced at the end.
            behind.is_syncing.store(false, Ordering::Release);
        }
    }

    /// An error if not all that was written may be on disk, though a later sync succeeds.
    pub(super) fn check(&self) -> io::Result<()> {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn files(data: File) -> Arc<Files> {
        Arc::new(Files { data, part: None, path: "file".into(), behind: Behind::default() })
    }

    /// Waits for the sync that is under way.
    fn synced(files: &Files) {
        while files.behind.is_syncing.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }

    #[test]
    fn a_stretch_is_synced_and_a_failure_is_never_forgotten() {
        let files = files(File::open("/dev/null").unwrap());
        Behind::wrote(&files, STRETCH - 1);
        synced(&files);
        assert!(files.behind.check().is_ok(), "nothing was synced");
        Behind::wrote(&files, 1);
        synced(&files);
        // That isn't a file which can be synced.
        assert!(files.behind.check().is_err() && files.behind.check().is_err());
    }

    #[test]
    fn what_can_be_synced_is() {
        let files = files(tempfile::tempfile().unwrap());
        Behind::wrote(&files, 3 * STRETCH);
        synced(&files);
        assert!(files.behind.check().is_ok());
        assert_eq!(files.behind.bytes.load(Ordering::Relaxed), 0);
    }
}
