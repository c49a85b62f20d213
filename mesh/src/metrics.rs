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
    pub(crate) refused: Family<Reason, Counter>,
    pub(crate) faults: Family<Reason, Counter>,
    pub(crate) bans: Counter,
    pub(crate) over_budget: Family<Reason, Counter>,
    pub(crate) dropped: Family<Reason, Counter>,
    pub(crate) members: Gauge,
    pub(crate) peers: Gauge,
    pub(crate) doubt: Gauge,
    pub(crate) inbox_bytes: Gauge,
    pub(crate) outbox_bytes: Gauge,
    pub(crate) verify_seconds: Histogram,
    pub(crate) slow_peers: Counter,
}

pub(crate) const REFUSED: [&str; 5] = ["duplicate", "stale", "forged", "malformed", "newer"];
pub(crate) const DROPPED: [&str; 4] =
    ["gossip_queue", "link_queue", "command_queue", "roster_queue"];

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("aether_mesh");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let sealed = counter("envelopes_sealed", "Envelopes sealed by this node");
        let published = counter("messages_published", "Messages sealed by this node");
        let delivered_messages = counter("messages_delivered", "Messages given to subscribers");
        let delivered_envelopes = counter("envelopes_delivered", "Envelopes given to subscribers");
        let repaired = counter("envelopes_repaired", "Envelopes that came by repair, not gossip");
        let served = counter("envelopes_served", "Envelopes given to neighbours that asked");
        let missed = counter("messages_missed", "Messages given up after repair failed");
        let unread = counter("messages_unread", "Messages dropped because a subscriber was slow");
        let bans = counter("bans", "Peers dropped for their faults");
        let slow_peers = counter("slow_peers", "Reports of peers that gossip too slowly");
        let mut family = |name: &str, help: &str, reasons: &[&'static str]| {
            let family = Family::<Reason, Counter>::default();
            for reason in reasons {
                // Counters start at 0, so that a rate over them is never missing.
                let _ = family.get_or_create(&Reason { reason });
            }
            registry.register(name, help, family.clone());
            family
        };
        let refused = family("envelopes_refused", "Envelopes not delivered, by reason", &REFUSED);
        let fault_names = Fault::ALL.map(Fault::name);
        let faults = family("faults", "Faults of peers, by kind", &fault_names);
        let over_budget = family(
            "over_budget",
            "Messages dropped because a peer sent too many",
            &["gossip", "link"],
        );
        let dropped = family("dropped", "Events dropped because a queue was full", &DROPPED);
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let members = gauge("members", "Other members in the roster");
        let peers = gauge("peers", "Peers connected");
        let doubt = gauge("self_doubt", "How starved the node thinks it is, 0 to 8");
        let mut bytes = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
            gauge
        };
        let inbox_bytes = bytes("inbox", "Envelopes held and cached");
        let outbox_bytes = bytes("outbox", "Messages that wait to be sealed");
        let buckets = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 0.1];
        let verify_seconds = Histogram::new(buckets);
        registry.register_with_unit(
            "verify",
            "Time to verify one envelope",
            Unit::Seconds,
            verify_seconds.clone(),
        );
        let build = Family::<Build, Gauge<i64, std::sync::atomic::AtomicI64>>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The release", build);
        Self {
            sealed,
            published,
            delivered_messages,
            delivered_envelopes,
            repaired,
            served,
            missed,
            unread,
            refused,
            faults,
            bans,
            over_budget,
            dropped,
            members,
            peers,
            doubt,
            inbox_bytes,
            outbox_bytes,
            verify_seconds,
            slow_peers,
        }
    }

    pub(crate) fn drop_for(&self, reason: &'static str) {
        self.dropped.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.faults.get_or_create(&Reason { reason: fault.name() }).inc();
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
