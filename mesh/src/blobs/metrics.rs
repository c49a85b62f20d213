//! What blobs count.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::metrics::{Reason, Registrar};

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    /// Bytes of groups that were verified and kept.
    pub(super) fetched: Counter,
    /// Bytes of groups that were verified, though they were held.
    pub(super) excess: Counter,
    /// Bytes written to others.
    pub(super) served: Counter,
    downloads: Family<Reason, Counter>,
    pub(super) stored: Gauge,
    pub(super) serving: Gauge,
    pub(super) fetching: Gauge,
}

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let mut new = Registrar(registry.sub_registry_with_prefix("aether_blob"));
        Self {
            fetched: new.counter("fetched_bytes", "Content that was fetched and verified"),
            excess: new.counter("excess_bytes", "Content that was fetched though it was held"),
            served: new.counter("served_bytes", "Content and hashes sent to others"),
            downloads: new.family(
                "downloads",
                "Downloads that ended, by how",
                &["done", "failed", "cancelled"],
            ),
            stored: new.bytes("stored", "Bytes on disk"),
            serving: new.gauge("serving", "Streams that others fetch on"),
            fetching: new.gauge("fetching", "Downloads under way"),
        }
    }

    pub(super) fn ended(&self, reason: &'static str) {
        self.downloads.get_or_create(&Reason { reason }).inc();
    }
}
