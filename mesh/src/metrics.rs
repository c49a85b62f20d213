//! Metrics: one registry for Aether's own and libp2p's, in the OpenMetrics text format.
//!
//! Names are `aether_mesh_<what>_<unit>`, in base units; no peer, key or topic is a label.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64};

use libp2p::metrics::Metrics as Libp2pMetrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::proto::budget::Fault;

/// The node's registry: programs register their own metrics beside the node's.
#[derive(Clone, Debug)]
pub struct MetricsRegistry(Arc<Mutex<Registry>>);

impl MetricsRegistry {
    pub(crate) fn new(registry: Registry) -> Self {
        Self(Arc::new(Mutex::new(registry)))
    }

    /// The registry, to register more.
    pub fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.lock()).expect("writing to memory does not fail");
        text
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

/// What the drivers count.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) sealed: Counter,
    pub(crate) published: Counter,
    pub(crate) delivered_messages: Counter,
    pub(crate) delivered_envelopes: Counter,
    pub(crate) repaired: Counter,
    pub(crate) served: Counter,
    pub(crate) missed: Counter,
    pub(crate) unread: Counter,
    pub(crate) bans: Counter,
    pub(crate) slow_peers: Counter,
    pub(crate) cut: Counter,
    pub(crate) refused: Family<Reason, Counter>,
    pub(crate) faults: Family<Reason, Counter>,
    pub(crate) over_budget: Family<Reason, Counter>,
    pub(crate) dropped: Family<Reason, Counter>,
    pub(crate) members: Gauge,
    pub(crate) peers: Gauge,
    pub(crate) doubt: Gauge,
    pub(crate) inbox_bytes: Gauge,
    pub(crate) outbox_bytes: Gauge,
    pub(crate) verify_seconds: Histogram,
}

pub(crate) const REFUSED: [&str; 5] = ["duplicate", "stale", "forged", "malformed", "newer"];
pub(crate) const DROPPED: [&str; 8] = [
    "access_queue",
    "blobs_queue",
    "gossip_queue",
    "link_queue",
    "command_queue",
    "roster_queue",
    "services_queue",
    "stream_queue",
];
const VERIFY_BUCKETS: [f64; 9] = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 0.1];

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let mut new = Registrar(registry.sub_registry_with_prefix("aether_mesh"));
        let metrics = Self {
            sealed: new.counter("envelopes_sealed", "Envelopes sealed by this node"),
            published: new.counter("messages_published", "Messages sealed by this node"),
            delivered_messages: new.counter("messages_delivered", "Messages given to subscribers"),
            delivered_envelopes: new
                .counter("envelopes_delivered", "Envelopes given to subscribers"),
            repaired: new
                .counter("envelopes_repaired", "Envelopes that came by repair, not gossip"),
            served: new.counter("envelopes_served", "Envelopes given to neighbours that asked"),
            missed: new.counter("messages_missed", "Messages given up after repair failed"),
            unread: new
                .counter("messages_unread", "Messages dropped because a subscriber was slow"),
            bans: new.counter("bans", "Peers dropped for their faults"),
            slow_peers: new.counter("slow_peers", "Reports of peers that gossip too slowly"),
            cut: new.counter("peers_cut", "Peers cut because they may not be in the mesh any more"),
            refused: new.family(
                "envelopes_refused",
                "Envelopes not delivered, by reason",
                &REFUSED,
            ),
            faults: new.family("faults", "Faults of peers, by kind", &Fault::ALL.map(Fault::name)),
            over_budget: new.family(
                "over_budget",
                "Messages and streams refused because a peer sent too many",
                &["gossip", "link", "streams"],
            ),
            dropped: new.family("dropped", "Events dropped because a queue was full", &DROPPED),
            members: new.gauge("members", "Other members in the roster"),
            peers: new.gauge("peers", "Peers connected"),
            doubt: new.gauge("self_doubt", "How starved the node thinks it is, 0 to 8"),
            inbox_bytes: new.bytes("inbox", "Envelopes held and cached"),
            outbox_bytes: new.bytes("outbox", "Messages that wait to be sealed"),
            verify_seconds: new.seconds("verify", "Time to verify one envelope", VERIFY_BUCKETS),
        };
        new.build_info();
        metrics
    }

    pub(crate) fn drop_for(&self, reason: &'static str) {
        self.dropped.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.faults.get_or_create(&Reason { reason: fault.name() }).inc();
    }
}

/// Makes metrics, each registered at once.
pub(crate) struct Registrar<'a>(pub(crate) &'a mut Registry);

impl Registrar<'_> {
    pub(crate) fn counter(&mut self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.0.register(name, help, counter.clone());
        counter
    }

    pub(crate) fn family(
        &mut self,
        name: &str,
        help: &str,
        reasons: &[&'static str],
    ) -> Family<Reason, Counter> {
        let family = Family::<Reason, Counter>::default();
        for reason in reasons {
            // Counters start at 0, so that a rate over them is never missing.
            let _ = family.get_or_create(&Reason { reason });
        }
        self.0.register(name, help, family.clone());
        family
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.0.register(name, help, gauge.clone());
        gauge
    }

    pub(crate) fn bytes(&mut self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.0.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        gauge
    }

    pub(crate) fn seconds(&mut self, name: &str, help: &str, buckets: [f64; 9]) -> Histogram {
        let histogram = Histogram::new(buckets);
        self.0.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        histogram
    }

    fn build_info(&mut self) {
        let build = Family::<Build, Gauge<i64, std::sync::atomic::AtomicI64>>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        self.0.register("build_info", "The release", build);
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// Raises a counter to a total that is counted elsewhere.
pub(crate) fn raise(counter: &Counter<u64, AtomicU64>, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

pub(crate) fn libp2p(registry: &mut Registry) -> Libp2pMetrics {
    Libp2pMetrics::new(registry)
}
