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
    /// Why a sync failed. The system tells it once, and the next would seem to succeed.
    failed: Mutex<Option<io::Error>>,
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
                *failed = Some(error);
            }
            drop(failed);
            syncing.behind.is_syncing.store(false, Ordering::Release);
        };
        if thread::Builder::new().name("aether-writeback".to_owned()).spawn(sync).is_err() {
            // Without a thread all is synced at the end.
            behind.is_syncing.store(false, Ordering::Release);
        }
    }

    /// Why not all that was written may be on disk, though a later sync succeeds.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}
