//! Who goes first when room is needed.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aether_core::BlobId;
use lru::LruCache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter, unsync::Cache};

/// Chooses what is evicted. It is told of every blob, and which of them must be kept for now.
pub(super) trait Policy: fmt::Debug + Send {
    /// A blob that is new, the most recently used one.
    fn insert(&mut self, id: BlobId, weight: u64, kept: bool);

    /// All that was there when the store was opened is inserted, the least recently used first.
    fn loaded(&mut self);

    /// It has another weight now.
    fn resize(&mut self, id: &BlobId, weight: u64);

    /// It was used.
    fn touch(&mut self, id: &BlobId);

    /// It must be kept, or needn't any longer.
    fn keep(&mut self, id: BlobId, weight: u64, kept: bool);

    /// It is gone.
    fn remove(&mut self, id: &BlobId);

    /// Takes out who goes next; `None` if all must be kept.
    fn victim(&mut self) -> Option<BlobId>;
}

/// Which blobs go first when room is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// By recency and frequency: what is read again stays, and a long row of blobs that are read
    /// once doesn't push it out (S3-FIFO, SOSP 2023, in quick_cache's variant, close to Clock-PRO).
    #[default]
    S3Fifo,
    /// The least recently used first.
    Lru,
}

impl Eviction {
    /// For a store that has so many bytes in so many blobs, to be [`loaded`](Policy::loaded).
    pub(super) fn policy(self, quota: u64, used: u64, blobs: usize) -> Box<dyn Policy> {
        match self {
            Self::S3Fifo => Box::new(S3Fifo::new(quota, used, blobs)),
            Self::Lru => Box::new(Lru { order: LruCache::unbounded() }),
        }
    }
}

/// Holds only what may go, so that a victim is found without looking further.
#[derive(Debug)]
struct Lru {
    order: LruCache<BlobId, ()>,
}

impl Policy for Lru {
    fn insert(&mut self, id: BlobId, weight: u64, kept: bool) {
        self.keep(id, weight, kept);
    }

    fn loaded(&mut self) {}

    fn resize(&mut self, _: &BlobId, _: u64) {}

    fn touch(&mut self, id: &BlobId) {
        self.order.promote(id);
    }

    fn keep(&mut self, id: BlobId, _: u64, kept: bool) {
        if kept {
            self.order.pop(&id);
        } else {
            self.order.put(id, ());
        }
    }

    fn remove(&mut self, id: &BlobId) {
        self.order.pop(id);
    }

    fn victim(&mut self) -> Option<BlobId> {
        self.order.pop_lru().map(|(id, ())| id)
    }
}

/// How many blobs a store is taken to have at least; half as many evicted ones are remembered.
const MIN_BLOBS: usize = 1024;

/// `None` is no blob but ballast, by which the cache is made to choose a victim.
type Key = Option<BlobId>;

struct S3Fifo {
    cache: Cache<Key, Item, ByWeight, DefaultHashBuilder, Chosen>,
    /// What the cache has given up, to be evicted first.
    chosen: Arc<Mutex<VecDeque<BlobId>>>,
    quota: u64,
}

#[derive(Clone, Copy)]
struct Item {
    weight: u64,
    kept: bool,
}

struct ByWeight;

impl Weighter<Key, Item> for ByWeight {
    fn weight(&self, _: &Key, item: &Item) -> u64 {
        // A weight of zero would exempt it from eviction.
        item.weight.max(1)
    }
}

/// Takes down what the cache gives up.
struct Chosen(Arc<Mutex<VecDeque<BlobId>>>);

impl Lifecycle<Key, Item> for Chosen {
    type RequestState = ();

    fn is_pinned(&self, _: &Key, item: &Item) -> bool {
        item.kept
    }

    fn on_evict(&self, (): &mut (), key: Key, _: Item) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(key);
    }
}

impl S3Fifo {
    /// Until it's loaded, the cache has room for twice of what comes: so all of it enters the main
    /// queue, in its order, and none is on probation for having been used last.
    fn new(quota: u64, used: u64, blobs: usize) -> Self {
        let chosen = Arc::<Mutex<VecDeque<BlobId>>>::default();
        let capacity = 2 * quota.max(used);
        // How many evicted blobs are remembered shrinks with the capacity, later on.
        let remembered = blobs.max(MIN_BLOBS) as f64 * capacity as f64 / quota.max(1) as f64;
        let options = OptionsBuilder::new()
            .estimated_items_capacity(remembered as usize)
            .weight_capacity(capacity)
            .build()
            .expect("both capacities are given");
        let lifecycle = Chosen(chosen.clone());
        let hasher = DefaultHashBuilder::default();
        Self { cache: Cache::with_options(options, ByWeight, hasher, lifecycle), chosen, quota }
    }

    fn pull(&self, id: &BlobId) -> bool {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = chosen.len();
        chosen.retain(|other| other != id);
        chosen.len() < before
    }

    fn take_chosen(&self) -> Option<BlobId> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Policy for S3Fifo {
    fn insert(&mut self, id: BlobId, weight: u64, kept: bool) {
        self.cache.insert(Some(id), Item { weight, kept });
    }

    fn loaded(&mut self) {
        self.cache.set_capacity(self.quota);
    }

    fn resize(&mut self, id: &BlobId, weight: u64) {
        if let Some(mut item) = self.cache.peek_mut(&Some(*id)) {
            item.weight = weight;
        }
    }

    fn touch(&mut self, id: &BlobId) {
        self.cache.get(&Some(*id));
    }

    fn keep(&mut self, id: BlobId, weight: u64, kept: bool) {
        if let Some(mut item) = self.cache.peek_mut(&Some(id)) {
            item.kept = kept;
        } else if kept && self.pull(&id) {
            self.insert(id, weight, true);
        }
    }

    fn remove(&mut self, id: &BlobId) {
        self.cache.remove(&Some(*id));
        self.pull(id);
    }

    fn victim(&mut self) -> Option<BlobId> {
        if let Some(chosen) = self.take_chosen() {
            return Some(chosen);
        }
        // Room for one byte more than is free makes the cache give up one item.
        let free = self.cache.capacity().saturating_sub(self.cache.weight());
        let ballast = Item { weight: free.saturating_add(1), kept: true };
        self.cache.insert(None, ballast);
        self.cache.remove(&None);
        self.take_chosen()
    }
}

impl fmt::Debug for S3Fifo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Fifo").field("blobs", &self.cache.len()).finish_non_exhaustive()
    }
}
