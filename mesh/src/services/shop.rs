//! What this node serves, and which calls it takes on.
//!
//! Shared by the sessions: each asks here whether a call may be made, and gives its slot back when
//! the call has ended.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use aether_core::Time;
use libp2p::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::service::{Endpoint, Service};
use crate::proto::service::{
    directory::{Health, Load},
    frame::{CallError, Code, Request},
};

/// What a stream of items keeps room for: see [`crate::proto::service::session::server::Config`].
const STREAM_ROOM: usize = 128 * 1024;

/// How long a caller is asked to wait, at least and at most.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Peers whose rate is counted, per service.
const MAX_RATES: usize = 1024;

/// All that the node serves.
#[derive(Debug)]
pub(super) struct Shop {
    instances: RwLock<BTreeMap<String, Arc<Instance>>>,
    /// Bytes of requests and replies of all calls.
    room: Arc<Semaphore>,
    max_room: usize,
    is_draining: AtomicBool,
}

/// One service of this node.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) service: Service,
    in_flight: AtomicU32,
    /// Smoothed time of a handler, in microseconds.
    took: AtomicU64,
    rates: Mutex<BTreeMap<PeerId, Bucket>>,
    is_healthy: AtomicBool,
    is_draining: AtomicBool,
}

/// Calls that a peer may make: refilled at the service's rate.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    calls: f64,
    at: Time,
}

/// A call's place. When it is dropped there is room for another.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) instance: Arc<Instance>,
    began: Time,
    room: OwnedSemaphorePermit,
}

impl Shop {
    pub(super) fn new(max_room: usize) -> Self {
        let max_room = max_room.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self {
            instances: RwLock::default(),
            room: Arc::new(Semaphore::new(max_room)),
            max_room,
            is_draining: AtomicBool::new(false),
        }
    }

    /// Bytes of requests and replies that are held.
    pub(super) fn used(&self) -> usize {
        self.max_room - self.room.available_permits()
    }

    /// False if a service of this name is there.
    pub(super) fn add(&self, instance: Arc<Instance>) -> bool {
        let mut instances = self.instances.write().unwrap_or_else(PoisonError::into_inner);
        let is_free = !instances.contains_key(&instance.name);
        if is_free {
            instances.insert(instance.name.clone(), instance);
        }
        is_free
    }

    pub(super) fn remove(&self, name: &str) {
        self.instances.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(super) fn instances(&self) -> Vec<Arc<Instance>> {
        let instances = self.instances.read().unwrap_or_else(PoisonError::into_inner);
        instances.values().cloned().collect()
    }

    /// Takes no new calls from now on.
    pub(super) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether a call may be made, and if so, by which handler.
    pub(super) fn admit(
        &self,
        now: Time,
        caller: PeerId,
        request: &Request,
    ) -> Result<(Slot, Endpoint), CallError> {
        let found = {
            let instances = self.instances.read().unwrap_or_else(PoisonError::into_inner);
            instances.get(&*request.service).cloned()
        };
        let Some(instance) = found else {
            let message = format!("no service {:?} here", request.service);
            return Err(CallError::new(Code::NotFound, message));
        };
        let Some(endpoint) = instance.service.endpoints.get(&*request.endpoint).cloned() else {
            let message = format!("{:?} has no endpoint {:?}", instance.name, request.endpoint);
            return Err(CallError::new(Code::NotFound, message));
        };
        if matches!(endpoint, Endpoint::Items(_)) && !request.streaming {
            let message = "this endpoint answers with a stream of items: ask for one";
            return Err(CallError::new(Code::Malformed, message));
        }
        if self.is_draining.load(Ordering::Relaxed) || instance.is_draining() {
            return Err(instance.overloaded("the instance is draining"));
        }
        if let Err(wait) = instance.take_rate(now, caller) {
            let retry_after = Some(wait);
            let message = "you call too often";
            return Err(CallError { retry_after, ..CallError::new(Code::Overloaded, message) });
        }
        let room = request.length as usize + if request.streaming { STREAM_ROOM } else { 0 };
        let Some(room) = self.room(room) else {
            return Err(instance.overloaded("the node has no room for the request"));
        };
        let slot = instance.take_slot(now, room);
        let slot = slot.ok_or_else(|| instance.overloaded("all handlers are busy"))?;
        Ok((slot, endpoint))
    }

    fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        self.room.clone().try_acquire_many_owned(bytes).ok()
    }

    /// Takes room for a reply; false if there is none.
    pub(super) fn take_room(&self, slot: &mut Slot, bytes: usize) -> bool {
        let room = self.room(bytes);
        let has_room = room.is_some();
        if let Some(room) = room {
            slot.room.merge(room);
        }
        has_room
    }
}

impl Instance {
    pub(super) fn new(name: String, service: Service) -> Self {
        Self {
            name,
            service,
            in_flight: AtomicU32::new(0),
            took: AtomicU64::new(0),
            rates: Mutex::default(),
            is_healthy: AtomicBool::new(true),
            is_draining: AtomicBool::new(false),
        }
    }

    pub(super) fn load(&self) -> Load {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        Load { in_flight, capacity: self.service.concurrency }
    }

    pub(super) fn health(&self) -> Health {
        if self.is_draining() {
            Health::Draining
        } else if self.is_healthy.load(Ordering::Relaxed) {
            Health::Serving
        } else {
            Health::Unhealthy
        }
    }

    pub(super) fn set_healthy(&self, is_healthy: bool) {
        self.is_healthy.store(is_healthy, Ordering::Relaxed);
    }

    pub(super) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Whoever is refused is to come again when a handler will have become free.
    fn overloaded(&self, message: &str) -> CallError {
        let took = Duration::from_micros(self.took.load(Ordering::Relaxed));
        let retry_after = Some(took.clamp(RETRY_AFTER.0, RETRY_AFTER.1));
        CallError { retry_after, ..CallError::new(Code::Overloaded, message) }
    }

    fn take_slot(self: &Arc<Self>, now: Time, room: OwnedSemaphorePermit) -> Option<Slot> {
        let max = self.service.concurrency;
        let more = |calls| (calls < max).then_some(calls + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Slot { instance: self.clone(), began: now, room })
    }

    /// How long to wait if the peer calls too often.
    fn take_rate(&self, now: Time, caller: PeerId) -> Result<(), Duration> {
        let Some(rate) = self.service.rate.map(f64::from) else { return Ok(()) };
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket { calls: rate, at: now };
        if rates.len() >= MAX_RATES && !rates.contains_key(&caller) {
            rates.retain(|_, bucket| bucket.refilled(now, rate).calls < rate);
            if rates.len() >= MAX_RATES {
                return Err(RETRY_AFTER.1);
            }
        }
        let bucket = rates.entry(caller).or_insert(full);
        *bucket = bucket.refilled(now, rate);
        if bucket.calls < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.calls) / rate));
        }
        bucket.calls -= 1.0;
        Ok(())
    }
}

impl Bucket {
    fn refilled(self, now: Time, rate: f64) -> Self {
        let calls = self.calls + now.since(self.at).as_secs_f64() * rate;
        Self { calls: calls.min(rate), at: now }
    }
}

impl Slot {
    /// The handler is done.
    pub(super) fn handled(&self, now: Time) {
        let took = u64::try_from(now.since(self.began).as_micros()).unwrap_or(u64::MAX);
        let before = self.instance.took.load(Ordering::Relaxed);
        // An eighth, as TCP smooths its round trip times (RFC 6298, section 2).
        let smoothed = if before == 0 { took } else { before - before / 8 + took / 8 };
        self.instance.took.store(smoothed, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.instance.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
