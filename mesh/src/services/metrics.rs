//! What services count.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    metrics::{Reason, Registrar},
    proto::service::{balancer::Decision, frame::Code, session::server::Ending},
};

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    calls: Family<Reason, Counter>,
    decisions: Family<Reason, Counter>,
    handled: Family<Reason, Counter>,
    refused: Family<Reason, Counter>,
    pub(super) call_seconds: Histogram,
    pub(super) instances: Gauge,
    pub(super) sessions: Gauge,
    pub(super) room_bytes: Gauge,
}

/// How a client's call ended.
const CALLS: [&str; 8] = [
    "ok",
    "application_error",
    "no_instance",
    "overloaded",
    "unavailable",
    "deadline",
    "cancelled",
    "failed",
];
const DECISIONS: [&str; 8] = [
    "picked",
    "retried",
    "hedged",
    "budget_empty",
    "breaker_opened",
    "breaker_half_opened",
    "breaker_closed",
    "left_out",
];
const HANDLED: [&str; 5] = ["replied", "failed", "cancelled", "deadline", "lost"];
const REFUSED: [&str; 3] = ["not_found", "overloaded", "malformed"];
const SECONDS: [f64; 9] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0, 10.0];

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let mut new = Registrar(registry.sub_registry_with_prefix("aether_service"));
        Self {
            calls: new.family("calls", "Calls made by this node, by how they ended", &CALLS),
            decisions: new.family("decisions", "What balancers decided", &DECISIONS),
            handled: new.family("handled", "Calls taken on, by how they ended", &HANDLED),
            refused: new.family("refused", "Calls of others not taken on", &REFUSED),
            call_seconds: new.seconds("call", "Time of a call, retries included", SECONDS),
            instances: new.gauge("instances", "Live instances known, of all services"),
            sessions: new.gauge("sessions", "Streams that others call this node on"),
            room_bytes: new.bytes("room", "Requests and replies that are held"),
        }
    }

    pub(super) fn called(&self, reason: &'static str) {
        self.calls.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn refused(&self, code: Code) {
        let reason = match code {
            Code::NotFound => "not_found",
            Code::Overloaded => "overloaded",
            _ => "malformed",
        };
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn handled(&self, ending: Ending) {
        let reason = match ending {
            Ending::Replied => "replied",
            Ending::Failed => "failed",
            Ending::Cancelled => "cancelled",
            Ending::DeadlineExceeded => "deadline",
            Ending::Lost => "lost",
        };
        self.handled.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn decided(&self, decision: Decision) {
        let (reason, count) = match decision {
            Decision::Picked { .. } => ("picked", 1),
            Decision::Retried { .. } => ("retried", 1),
            Decision::Hedged { .. } => ("hedged", 1),
            Decision::BudgetEmpty { .. } => ("budget_empty", 1),
            Decision::BreakerOpened { .. } => ("breaker_opened", 1),
            Decision::BreakerHalfOpened { .. } => ("breaker_half_opened", 1),
            Decision::BreakerClosed { .. } => ("breaker_closed", 1),
            Decision::InstancesLeftOut { count } => ("left_out", count as u64),
        };
        self.decisions.get_or_create(&Reason { reason }).inc_by(count);
    }
}
