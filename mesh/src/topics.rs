//! The topics driver: owns the outbox and the inbox, signs and verifies.
//!
//! One task beside the network's, so that signatures and hashes never hold up the swarm. Handles
//! talk to it over a bounded queue; what it wants done goes to the network's queue, which the
//! network always empties.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aether_core::{MeshId, Protocol as _, SecretKey, Time};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::{
    clock::{Clock, wall_millis},
    metrics::{Metrics, Reason, raise},
    network::{Command, Outcome, TopicsEvent},
    node::Common,
    proto::{
        envelope::{Envelope, Header, TopicId},
        inbox::{self, Inbox},
        link::Frame,
        outbox::{self, Outbox},
    },
    topic::OWN_TOPICS,
};

/// How often unused topics are left and gauges are set.
const TICK: Duration = Duration::from_millis(500);

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Request {
    Open {
        name: String,
        reply: oneshot::Sender<Result<Arc<Shared>, TooManyTopics>>,
    },
    Subscribe {
        topic: TopicId,
        subscriber: Subscriber,
    },
    Publish(Publish),
    Names {
        reply: oneshot::Sender<Vec<String>>,
    },
    /// Seal and hand over what waits, for at most so long.
    Flush {
        until: Time,
        reply: oneshot::Sender<()>,
    },
}

/// There is no room for one more topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooManyTopics {
    pub(crate) max: usize,
}

/// What all handles of one topic share. When the last is gone, the topic is left.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: TopicId,
    pub(crate) name: String,
    /// The outbox's budget in bytes.
    pub(crate) room: Arc<Semaphore>,
    /// Neighbours that read the topic, as last told.
    pub(crate) readers: watch::Sender<usize>,
}

#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) topic: TopicId,
    pub(crate) message: Bytes,
    pub(crate) express: bool,
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) handed: oneshot::Sender<usize>,
}

/// The driver's end of a subscription.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) queue: mpsc::Sender<Delivery>,
    /// Bytes in the queue, counted down by the reader.
    pub(crate) bytes: Arc<AtomicUsize>,
    pub(crate) max_bytes: usize,
    /// Messages that weren't queued since the last one that was.
    pub(crate) missed: Arc<AtomicU64>,
}

/// An envelope on its way to a subscriber.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) envelope: Envelope,
    /// Messages lost before this envelope: by the network, or because the subscriber was slow.
    pub(crate) missed: u64,
}

impl Subscriber {
    /// Queues a delivery; false if the reader is gone. What doesn't fit is counted as missed.
    fn deliver(&self, envelope: &Envelope, missed: u64, metrics: &Metrics) -> bool {
        let len = envelope.bytes().len();
        let room = self.bytes.load(Ordering::Relaxed) + len <= self.max_bytes;
        let before = self.missed.swap(0, Ordering::Relaxed) + missed;
        let delivery = Delivery { envelope: envelope.clone(), missed: before };
        if room {
            match self.queue.try_send(delivery) {
                Ok(()) => {
                    self.bytes.fetch_add(len, Ordering::Relaxed);
                    return true;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(_)) => {}
            }
        }
        metrics.unread.inc_by(envelope.count);
        self.missed.fetch_add(before + envelope.count, Ordering::Relaxed);
        !self.queue.is_closed()
    }
}

pub(crate) struct Topics {
    pub(crate) mesh: MeshId,
    pub(crate) key: SecretKey,
    pub(crate) life: u64,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    pub(crate) network: mpsc::Sender<Command>,
    pub(crate) max_topics: usize,
    pub(crate) max_outbox: usize,
    open: BTreeMap<TopicId, Open>,
    next_tick: Time,
    flush: Option<(Time, oneshot::Sender<()>)>,
    commands: Vec<Command>,
}

#[derive(Debug)]
struct Open {
    shared: Weak<Shared>,
    name: String,
    subscribers: Vec<Subscriber>,
    /// Messages in the outbox: who waits to hear of them, and the room that they take.
    waiting: VecDeque<(OwnedSemaphorePermit, oneshot::Sender<usize>)>,
    /// Envelopes with the network, by number: who waits to hear of them.
    handing: BTreeMap<u64, Vec<oneshot::Sender<usize>>>,
    /// Envelopes that found no reader, to be handed over again.
    unsent: VecDeque<(u64, Bytes)>,
    /// Numbers of those, until they are handed over; the outbox no longer counts them.
    retrying: BTreeSet<u64>,
    readers: usize,
}

impl Topics {
    pub(crate) fn new(config: &crate::Config, common: &Common, metrics: Metrics) -> Self {
        let me = common.key.public();
        Self {
            inbox: Inbox::new(config.inbox.clone(), me, common.life, common.seed()),
            outbox: Outbox::new(config.outbox.clone()),
            mesh: common.mesh,
            key: common.key.clone(),
            life: common.life,
            clock: common.clock,
            metrics,
            network: common.network.clone(),
            max_topics: config.limits.max_topics,
            max_outbox: config.limits.max_outbox,
            open: BTreeMap::new(),
            next_tick: Time::ZERO,
            flush: None,
            commands: Vec::new(),
        }
    }

    /// Runs until the network is gone or no handle is left.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut events: mpsc::Receiver<TopicsEvent>,
    ) {
        let (mut asked, mut told) = (Vec::new(), Vec::new());
        loop {
            let wake = [self.inbox.poll_timeout(), self.outbox.poll_timeout()];
            let wake = wake.into_iter().flatten().chain([self.next_tick]).min();
            tokio::select! {
                received = events.recv_many(&mut told, 64) => {
                    if received == 0 {
                        break;
                    }
                    for event in told.drain(..) {
                        self.on_event(event);
                    }
                }
                received = requests.recv_many(&mut asked, 256) => {
                    if received == 0 {
                        break;
                    }
                    for request in asked.drain(..) {
                        self.on_request(request);
                    }
                }
                () = self.clock.sleep_until(wake) => self.on_timeout(),
            }
            for command in self.commands.drain(..) {
                if self.network.send(command).await.is_err() {
                    return;
                }
            }
            self.see_to_flush();
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Open { name, reply } => {
                let _ = reply.send(self.open(name));
            }
            Request::Subscribe { topic, subscriber } => {
                if let Some(open) = self.open.get_mut(&topic) {
                    open.subscribers.push(subscriber);
                }
            }
            Request::Publish(publish) => self.publish(publish),
            Request::Names { reply } => {
                let names = self.open.values().map(|open| open.name.clone());
                let _ = reply.send(names.filter(|name| !name.starts_with(OWN_TOPICS)).collect());
            }
            Request::Flush { until, reply } => self.flush = Some((until, reply)),
        }
    }

    fn open(&mut self, name: String) -> Result<Arc<Shared>, TooManyTopics> {
        let id = TopicId::new(&self.mesh, &name);
        if let Some(shared) = self.open.get(&id).and_then(|open| open.shared.upgrade()) {
            return Ok(shared);
        }
        // One whose last handle went a moment ago is taken up again as it is.
        let known = self.open.contains_key(&id);
        let is_own = |name: &str| name.starts_with(OWN_TOPICS);
        let count = self.open.values().filter(|open| !is_own(&open.name)).count();
        if !known && !is_own(&name) && count >= self.max_topics {
            return Err(TooManyTopics { max: self.max_topics });
        }
        let readers = self.open.get(&id).map_or(0, |open| open.readers);
        let shared = Arc::new(Shared {
            id,
            name: name.clone(),
            room: Arc::new(Semaphore::new(self.max_outbox)),
            readers: watch::Sender::new(readers),
        });
        if let Some(open) = self.open.get_mut(&id) {
            open.shared = Arc::downgrade(&shared);
            return Ok(shared);
        }
        tracing::debug!(name, ?id, "joined a topic");
        let open = Open {
            shared: Arc::downgrade(&shared),
            name,
            subscribers: Vec::new(),
            waiting: VecDeque::new(),
            handing: BTreeMap::new(),
            unsent: VecDeque::new(),
            retrying: BTreeSet::new(),
            readers: 0,
        };
        self.open.insert(id, open);
        self.drive_outbox(outbox::Input::Open { topic: id });
        self.drive_inbox(inbox::Input::Subscribe { topic: id, wall: wall_millis() });
        self.commands.push(Command::Join { topic: id });
        Ok(shared)
    }

    fn publish(&mut self, publish: Publish) {
        let Publish { topic, message, express, permit, handed } = publish;
        let Some(open) = self.open.get_mut(&topic) else { return };
        open.waiting.push_back((permit, handed));
        self.drive_outbox(outbox::Input::Publish { topic, message, express });
    }

    fn on_event(&mut self, event: TopicsEvent) {
        match event {
            TopicsEvent::Gossip { topic, id, from, bytes } => {
                let wall = wall_millis();
                self.drive_inbox(inbox::Input::Gossip { topic, id, from, bytes, wall });
            }
            TopicsEvent::Frame { from, frame } => match frame {
                Frame::Tips(tips) => self.drive_inbox(inbox::Input::Tips { from, tips }),
                Frame::Want(want) => self.drive_inbox(inbox::Input::Want { from, want }),
                Frame::Have(have) => {
                    self.drive_inbox(inbox::Input::Have { from, have, wall: wall_millis() });
                }
                Frame::Roster(_) | Frame::Services(_) | Frame::Access(_) | Frame::Blobs(_) => {}
            },
            TopicsEvent::Neighbour { topic, peer } => {
                self.drive_inbox(inbox::Input::Neighbour { topic, peer });
            }
            TopicsEvent::NotNeighbour { topic, peer } => {
                self.drive_inbox(inbox::Input::NotNeighbour { topic, peer });
            }
            TopicsEvent::Left { peer } => {
                self.drive_inbox(inbox::Input::Left { peer });
                self.drive_outbox(outbox::Input::Left { peer });
            }
            TopicsEvent::Readers { topic, count } => self.on_readers(topic, count),
            TopicsEvent::Handed { topic, number, outcome } => {
                self.on_handed(topic, number, outcome);
            }
        }
    }

    fn on_readers(&mut self, topic: TopicId, count: usize) {
        if let Some(open) = self.open.get_mut(&topic) {
            open.readers = count;
            if let Some(shared) = open.shared.upgrade() {
                shared.readers.send_replace(count);
            }
            if count > 0 {
                for (number, envelope) in open.unsent.drain(..) {
                    self.commands.push(Command::Publish { topic, number, envelope });
                }
            }
        }
        self.drive_outbox(outbox::Input::Readers { topic, count });
    }

    fn on_handed(&mut self, topic: TopicId, number: u64, outcome: Outcome) {
        let Some(open) = self.open.get_mut(&topic) else {
            return self.drive_outbox(outbox::Input::Handed { topic });
        };
        let counted = !open.retrying.remove(&number);
        let neighbours = match outcome {
            Outcome::Handed { neighbours } => Some(neighbours),
            // Their next tips or ours bring it to those who lack it.
            Outcome::Full => Some(0),
            // The last reader left between sealing and publishing: when the next one comes, the
            // envelope goes out as it is.
            Outcome::NoReaders => {
                let envelope = self.inbox.recent(&topic, &self.key.public(), number);
                match envelope {
                    Some(envelope) => {
                        open.retrying.insert(number);
                        open.unsent.push_back((number, envelope.bytes().clone()));
                        None
                    }
                    None => Some(0),
                }
            }
        };
        if let Some(neighbours) = neighbours {
            for waiting in open.handing.remove(&number).into_iter().flatten() {
                let _ = waiting.send(neighbours);
            }
        }
        if counted {
            self.drive_outbox(outbox::Input::Handed { topic });
        }
    }

    fn on_timeout(&mut self) {
        let now = self.clock.now();
        if self.inbox.poll_timeout().is_some_and(|at| at <= now) {
            self.drive_inbox(inbox::Input::Timeout);
        }
        if self.outbox.poll_timeout().is_some_and(|at| at <= now) {
            self.drive_outbox(outbox::Input::Timeout);
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.leave_unused();
            self.set_metrics();
        }
    }

    fn leave_unused(&mut self) {
        let unused: Vec<TopicId> = self
            .open
            .iter()
            .filter(|(_, open)| open.shared.strong_count() == 0 && open.waiting.is_empty())
            .map(|(topic, _)| *topic)
            .collect();
        for topic in unused {
            tracing::debug!(?topic, "left a topic");
            self.open.remove(&topic);
            self.drive_outbox(outbox::Input::Close { topic });
            self.drive_inbox(inbox::Input::Unsubscribe { topic });
            self.commands.push(Command::Leave { topic });
        }
    }

    fn see_to_flush(&mut self) {
        let Some((until, _)) = &self.flush else { return };
        let busy = |open: &Open| !open.waiting.is_empty() || !open.handing.is_empty();
        if self.clock.now() < *until && self.open.values().any(busy) {
            return;
        }
        if let Some((_, reply)) = self.flush.take() {
            let _ = reply.send(());
        }
    }

    #[tracing::instrument(level = "trace", skip_all)]
    fn drive_outbox(&mut self, input: outbox::Input) {
        self.outbox.handle(self.clock.now(), input);
        while let Some(output) = self.outbox.poll_output() {
            let outbox::Output::Seal { topic, number, first, count, payload } = output;
            let header = Header { incarnation: self.life, number, first, time: wall_millis() };
            let envelope = Envelope::seal(&self.key, &self.mesh, &topic, header, &payload);
            if let Some(open) = self.open.get_mut(&topic) {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let sealed = open.waiting.drain(..count.min(open.waiting.len()));
                // The permits end here: there is room for others.
                let waiting = sealed.map(|(_, handed)| handed).collect();
                open.handing.insert(number, waiting);
            }
            self.metrics.sealed.inc();
            self.metrics.published.inc_by(count);
            let bytes = envelope.bytes().clone();
            self.inbox.handle(self.clock.now(), inbox::Input::Published { topic, envelope });
            self.commands.push(Command::Publish { topic, number, envelope: bytes });
        }
    }

    #[tracing::instrument(level = "trace", skip_all)]
    fn drive_inbox(&mut self, input: inbox::Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.inbox.handle(self.clock.now(), input);
            while let Some(output) = self.inbox.poll_output() {
                if let Some(answer) = self.act(output) {
                    inputs.push_back(answer);
                }
            }
        }
    }

    fn act(&mut self, output: inbox::Output) -> Option<inbox::Input> {
        match output {
            inbox::Output::Verify { topic, envelope, origin } => {
                let start = self.clock.now();
                let valid = envelope.verify(&self.mesh, &topic).is_ok();
                let took = self.clock.now().since(start);
                self.metrics.verify_seconds.observe(took.as_secs_f64());
                return Some(inbox::Input::Verified { topic, envelope, origin, valid });
            }
            inbox::Output::Verdict { id, from, verdict } => {
                self.commands.push(Command::Verdict { id, from, verdict });
            }
            inbox::Output::Deliver { topic, envelope, missed } => {
                if let Some(open) = self.open.get_mut(&topic) {
                    let metrics = &self.metrics;
                    open.subscribers.retain(|reader| reader.deliver(&envelope, missed, metrics));
                }
            }
            inbox::Output::Send { to, frame } => self.commands.push(Command::Send { to, frame }),
            inbox::Output::Progress { topic, peer, next } => {
                self.drive_outbox(outbox::Input::Progress { topic, peer, next });
            }
            inbox::Output::Penalize { peer, fault } => {
                self.commands.push(Command::Penalize { peer, fault });
            }
        }
        None
    }

    fn set_metrics(&self) {
        let (metrics, stats) = (&self.metrics, self.inbox.stats());
        raise(&metrics.delivered_envelopes, stats.delivered);
        raise(&metrics.delivered_messages, stats.messages);
        raise(&metrics.repaired, stats.repaired);
        raise(&metrics.served, stats.served);
        raise(&metrics.missed, stats.missed);
        let refused = [
            ("duplicate", stats.duplicate),
            ("stale", stats.stale),
            ("forged", stats.forged),
            ("malformed", stats.malformed),
            ("newer", stats.newer),
        ];
        for (reason, count) in refused {
            raise(&metrics.refused.get_or_create(&Reason { reason }), count);
        }
        let gauge = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        metrics.inbox_bytes.set(gauge(self.inbox.bytes()));
        let waiting = self.open.keys().map(|topic| self.outbox.waiting_bytes(topic)).sum();
        metrics.outbox_bytes.set(gauge(waiting));
    }
}
