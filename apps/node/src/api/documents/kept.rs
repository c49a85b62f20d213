//! Documents that stay in hand between requests.
//!
//! A document is let go of when the last handle is gone: each request would read it from disk, and
//! nothing could be undone by the next one. So those used last stay in hand; one that nobody uses
//! closes by itself after a minute, though its handle is kept.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use aether_crdt::{
    Document, Space,
    proto::{document::template::Template, id::SpaceId},
};
use lru::LruCache;

/// Documents kept at a time.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("it is no zero");

/// The documents used last.
pub(in crate::api) struct Kept(Mutex<LruCache<(SpaceId, String), (Space, Document)>>);

impl Default for Kept {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_KEPT)))
    }
}

impl Kept {
    /// The document of this name that begins with a text; if it is one too many, the one unused for
    /// longest goes.
    pub(super) fn open(&self, space: &Space, name: &str) -> Document {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = (space.id(), name.to_owned());
        // Of a space that was closed and opened again, what was in hand before is of no use.
        if let Some((_, document)) = kept.get(&named).filter(|(space, _)| !space.is_left()) {
            return document.clone();
        }
        let document = space.document_from(name, &Template::text());
        kept.put(named, (space.clone(), document.clone()));
        document
    }
}
