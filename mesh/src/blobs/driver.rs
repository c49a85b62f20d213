//! The blobs driver: owns the finder, what is served, and the table of downloads.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

use aether_core::{BlobId, Domain, Protocol as _, Time};
use bytes::Bytes;
use ciborium::Value;
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{PeerId, StreamProtocol};
use prometheus_client::registry::Registry;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{
    Config, TICK,
    download::{self, DownloadTask, FromDownload, Join, ToDownload},
    metrics::Metrics,
    serving::{self, FromStream, ToStream},
    store::{BlobStatus, BlobStore, encoded_len},
};
use crate::{
    identity::public_key,
    network::{BlobsEvent, Command, ProviderKey},
    node::Common,
    proto::{
        blob::{
            Ranges, fetch,
            finder::{self, Finder, TOPIC},
            frame::MAX_HELD_RUNS,
            last_group,
            serve::{self, Serve, StreamId},
        },
        budget::Fault,
        link::Frame as LinkFrame,
    },
    streams::{self, Stream},
    topic::{Event, Subscription, Topic, TopicError},
};

const PROVIDER: Domain = Domain::new("aether 2026-11 blob provider record v1");

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Request {
    Get {
        id: BlobId,
        join: Join,
    },
    /// It was added here.
    Hold {
        id: BlobId,
    },
    Release {
        id: BlobId,
    },
}

pub(crate) struct Driver {
    config: Config,
    common: Common,
    store: BlobStore,
    metrics: Metrics,
    protocol: StreamProtocol,
    finder: Finder,
    serve: Serve,
    served: u64,
    streams: BTreeMap<StreamId, mpsc::Sender<ToStream>>,
    next_stream: StreamId,
    stream_tasks: JoinSet<()>,
    from_streams: FromStreams,
    reads: FuturesUnordered<BoxFuture<'static, Piece>>,
    /// What is told of the blobs that are served.
    watched: BTreeMap<BlobId, Held>,
    downloads: BTreeMap<BlobId, mpsc::Sender<ToDownload>>,
    /// Beyond `max_downloads`, in order.
    waiting: VecDeque<(BlobId, Join)>,
    download_tasks: JoinSet<()>,
    from_downloads: (mpsc::Sender<FromDownload>, mpsc::Receiver<FromDownload>),
    found: FuturesUnordered<BoxFuture<'static, Option<Found>>>,
    looks: Option<Topic<Value>>,
    commands: Vec<Command>,
    next_tick: Time,
}

/// What streams have done.
type FromStreams = (mpsc::Sender<(StreamId, FromStream)>, mpsc::Receiver<(StreamId, FromStream)>);

/// A blob, and who has provider records of it.
type Found = (BlobId, Vec<PeerId>);

/// What is held of a blob, by the size proved.
type Held = Option<(u64, Ranges)>;

/// A piece that was read to be served; no encoding if it couldn't be.
struct Piece {
    stream: StreamId,
    ask: u32,
    encoding: Option<Bytes>,
}

fn provider_key(id: &BlobId) -> ProviderKey {
    PROVIDER.hash(id.as_bytes())
}

impl Driver {
    pub(crate) fn new(
        config: &crate::Config,
        common: Common,
        store: BlobStore,
        registry: &mut Registry,
    ) -> Self {
        let name = format!("/aether/{}/blob/1", common.mesh.short());
        let me = common.key.public();
        let config = config.blobs.clone();
        Self {
            metrics: Metrics::new(registry),
            protocol: StreamProtocol::try_from_owned(name).expect("begins with a slash"),
            finder: Finder::new(config.finder.clone(), me, common.seed()),
            serve: Serve::new(config.serve.clone()),
            served: 0,
            streams: BTreeMap::new(),
            next_stream: 0,
            stream_tasks: JoinSet::new(),
            from_streams: mpsc::channel(1024),
            reads: FuturesUnordered::new(),
            watched: BTreeMap::new(),
            downloads: BTreeMap::new(),
            waiting: VecDeque::new(),
            download_tasks: JoinSet::new(),
            from_downloads: mpsc::channel(256),
            found: FuturesUnordered::new(),
            looks: None,
            commands: Vec::new(),
            next_tick: Time::ZERO,
            config,
            common,
            store,
        }
    }

    /// Runs until the network is gone or no handle is left.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut told: mpsc::Receiver<BlobsEvent>,
    ) {
        let (queue, mut incoming) = mpsc::channel(streams::MAX_UNTAKEN);
        let Ok(mut looks) = self.begin(queue).await else { return };
        loop {
            let timeouts = [self.finder.poll_timeout(), self.serve.poll_timeout()];
            let wake = timeouts.into_iter().flatten().chain([self.next_tick]).min();
            tokio::select! {
                event = told.recv() => match event {
                    None => return,
                    Some(event) => self.on_told(event),
                },
                request = requests.recv() => match request {
                    None => return,
                    Some(request) => self.on_request(request),
                },
                Some(stream) = incoming.recv() => self.on_incoming(stream),
                Some((stream, event)) = self.from_streams.1.recv() => {
                    self.on_stream(stream, event);
                }
                Some(piece) = self.reads.next(), if !self.reads.is_empty() => self.on_read(piece),
                Some(event) = self.from_downloads.1.recv() => self.on_download(event),
                heard = looks.next_event() => match heard {
                    None => return,
                    Some(event) => self.on_heard(event),
                },
                Some(found) = self.found.next(), if !self.found.is_empty() => {
                    if let Some((id, peers)) = found {
                        let peers = peers.iter().filter_map(public_key).collect();
                        self.find(finder::Input::Found { id, peers });
                    }
                }
                Some(_) = self.stream_tasks.join_next(), if !self.stream_tasks.is_empty() => {}
                Some(_) = self.download_tasks.join_next(), if !self.download_tasks.is_empty() => {}
                () = self.common.clock.sleep_until(wake) => self.on_timeout(),
            }
            for command in self.commands.drain(..) {
                if self.common.network.send(command).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Takes streams, reads looks, and says what is held.
    async fn begin(
        &mut self,
        queue: mpsc::Sender<Stream>,
    ) -> Result<Subscription<Value>, TopicError> {
        let (protocol, name) = (self.protocol.clone(), "blobs".into());
        let (reply, answer) = oneshot::channel();
        let command = Command::AcceptStreams { protocol, name, queue, reply };
        if self.common.network.send(command).await.is_ok()
            && let Ok(Err(error)) = answer.await
        {
            tracing::error!(%error, "no blob can be served");
        }
        let requests = self.common.topics.clone();
        let topic = Topic::open(requests, TOPIC, self.common.max_unread, None).await?;
        let looks = topic.subscribe().await?;
        self.looks = Some(topic.express());
        for info in self.store.list() {
            if matches!(info.status, BlobStatus::Complete { .. }) {
                self.find(finder::Input::Hold { id: info.id, pinned: info.pinned });
            }
        }
        Ok(looks)
    }

    fn on_told(&mut self, event: BlobsEvent) {
        self.find(match event {
            BlobsEvent::Here { from, here } => finder::Input::Here { from, here },
            BlobsEvent::Nodes(count) => finder::Input::Nodes(count),
        });
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Get { id, join } => self.get(id, join),
            Request::Hold { id } => self.find(finder::Input::Hold { id, pinned: true }),
            Request::Release { id } => self.find(finder::Input::Release { id }),
        }
    }

    fn get(&mut self, id: BlobId, join: Join) {
        for peer in &join.from {
            self.find(finder::Input::Hint { id, peer: *peer });
        }
        let mut asked = ToDownload::Join(join);
        if let Some(running) = self.downloads.get(&id) {
            match running.try_send(asked) {
                Ok(()) => return,
                // It has just ended, or is stuck: begin anew.
                Err(error) => asked = error.into_inner(),
            }
        }
        let ToDownload::Join(join) = asked else { return };
        if self.downloads.len() >= self.config.max_downloads && !self.downloads.contains_key(&id) {
            return self.waiting.push_back((id, join));
        }
        let (queue, asked) = mpsc::channel(64);
        let _ = queue.try_send(ToDownload::Join(join));
        let parts = download::Parts {
            id,
            config: fetch::Config { begin: self.common.seed(), ..self.config.fetch.clone() },
            clock: self.common.clock,
            metrics: self.metrics.clone(),
            store: self.store.clone(),
            network: self.common.network.clone(),
            protocol: self.protocol.clone(),
            told: self.from_downloads.0.clone(),
        };
        self.downloads.insert(id, queue);
        self.download_tasks.spawn(async move {
            let opened = tokio::task::spawn_blocking(move || DownloadTask::open(parts)).await;
            if let Ok(task) = opened {
                task.run(asked).await;
            }
        });
    }

    fn on_download(&mut self, event: FromDownload) {
        match event {
            FromDownload::Want(id) => {
                let enough = u8::try_from(self.config.fetch.max_parallel).unwrap_or(u8::MAX);
                let enough = enough.clamp(1, finder::MAX_ENOUGH);
                self.find(finder::Input::Look { id, enough });
            }
            FromDownload::Useless { id, peer } => {
                self.find(finder::Input::Useless { id, peer });
            }
            FromDownload::Ended { id, is_whole } => {
                self.downloads.retain(|other, queue| *other != id || !queue.is_closed());
                if !self.downloads.contains_key(&id) {
                    self.find(finder::Input::Stop { id });
                }
                if is_whole {
                    self.find(finder::Input::Hold { id, pinned: false });
                }
                self.look_at_watched();
                if let Some((id, join)) = self.waiting.pop_front() {
                    self.get(id, join);
                }
            }
        }
    }

    fn on_incoming(&mut self, stream: Stream) {
        let Some(peer) = public_key(&stream.peer()) else { return };
        self.next_stream += 1;
        let number = self.next_stream;
        let (queue, asked) = mpsc::channel(serving::QUEUE);
        let told = self.from_streams.0.clone();
        self.stream_tasks.spawn(serving::run(number, stream, asked, told));
        self.streams.insert(number, queue);
        self.serve(serve::Input::Opened { stream: number, peer });
    }

    fn on_stream(&mut self, stream: StreamId, event: FromStream) {
        match event {
            FromStream::Frame(frame) => self.serve(serve::Input::Frame { stream, frame }),
            FromStream::Malformed(error) => {
                self.serve(serve::Input::Malformed { stream, error });
            }
            FromStream::Written(count) => {
                for _ in 0..count {
                    self.serve(serve::Input::Written { stream });
                }
            }
            FromStream::Closed => {
                self.streams.remove(&stream);
                self.serve(serve::Input::Closed { stream });
            }
        }
    }

    fn on_read(&mut self, Piece { stream, ask, encoding }: Piece) {
        let head = encoding.as_ref().map(|bytes| serving::piece_head(ask, bytes.len()));
        let bytes = encoding.as_ref().map(|bytes| bytes.len() as u64 + 9);
        if let (Some(head), Some(encoding), Some(queue)) =
            (head, encoding, self.streams.get(&stream))
        {
            let _ = queue.try_send(ToStream::Piece { head, encoding });
        }
        self.serve(serve::Input::Read { stream, bytes });
        if bytes.is_none() {
            self.look_at_watched();
        }
    }

    fn serve(&mut self, input: serve::Input) {
        self.serve.handle(self.common.clock.now(), input);
        while let Some(output) = self.serve.poll_output() {
            self.act(output);
        }
    }

    fn act(&mut self, output: serve::Output) {
        match output {
            serve::Output::Watch { id } => {
                let held = self.holding(&id);
                self.watched.insert(id, held.clone());
                self.serve.handle(self.common.clock.now(), serve::Input::Holding { id, held });
            }
            serve::Output::Unwatch { id } => drop(self.watched.remove(&id)),
            serve::Output::Send { stream, frame } => {
                if let Some(queue) = self.streams.get(&stream) {
                    let _ = queue.try_send(ToStream::Frame(frame));
                }
            }
            serve::Output::Read { stream, ask, id, groups, .. } => {
                self.read(stream, ask, id, groups);
            }
            serve::Output::End { stream, peer, fault } => {
                self.streams.remove(&stream);
                if let Some(fault) = fault {
                    tracing::debug!(%fault, "a peer that fetches broke the protocol");
                    self.commands.push(Command::Penalize { peer, fault: Fault::Malformed });
                }
            }
        }
    }

    fn read(&mut self, stream: StreamId, ask: u32, id: BlobId, groups: Range<u64>) {
        let store = self.store.clone();
        let reading = tokio::task::spawn_blocking(move || encode(&store, &id, groups));
        self.reads.push(Box::pin(async move {
            Piece { stream, ask, encoding: reading.await.ok().flatten() }
        }));
    }

    /// What the store holds, if the size is proved.
    fn holding(&self, id: &BlobId) -> Held {
        match self.store.status(id) {
            BlobStatus::Complete { size } => {
                Some((size, std::iter::once(0..last_group(size) + 1).collect()))
            }
            BlobStatus::Partial { size, proved: true, held } => {
                Some((size, held.into_iter().collect::<Ranges>().longest(MAX_HELD_RUNS)))
            }
            _ => None,
        }
    }

    /// Tells what has changed of blobs that are served.
    fn look_at_watched(&mut self) {
        for id in self.watched.keys().copied().collect::<Vec<_>>() {
            let held = self.holding(&id);
            if let Some(known) = self.watched.get_mut(&id)
                && *known != held
            {
                known.clone_from(&held);
                self.serve(serve::Input::Holding { id, held });
            }
        }
    }

    fn on_heard(&mut self, event: Event<Value>) {
        let Event::Message(message) = event else { return };
        let Some(from) = public_key(&message.author) else { return };
        match message.value {
            Value::Bytes(bytes) => {
                self.find(finder::Input::Heard { from, bytes: bytes.into() });
            }
            _ => self.commands.push(Command::Penalize { peer: from, fault: Fault::Malformed }),
        }
    }

    fn find(&mut self, input: finder::Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.finder.handle(self.common.clock.now(), input);
            while let Some(output) = self.finder.poll_output() {
                inputs.extend(self.act_on_find(output));
            }
        }
    }

    fn act_on_find(&mut self, output: finder::Output) -> Option<finder::Input> {
        match output {
            finder::Output::Publish(bytes) => self.publish(&bytes),
            finder::Output::Send { to, here } => {
                self.commands.push(Command::Send { to, frame: LinkFrame::Blobs(here) });
            }
            finder::Output::Check { from, nonce, ids } => {
                let (mut held, mut whole) = (0, 0);
                for (bit, id) in ids.iter().take(finder::MAX_IDS).enumerate() {
                    match self.store.status(id) {
                        BlobStatus::Complete { .. } => {
                            held |= 1 << bit;
                            whole |= 1 << bit;
                        }
                        BlobStatus::Partial { proved: true, .. } => held |= 1 << bit,
                        _ => {}
                    }
                }
                return Some(finder::Input::Checked { from, nonce, held, whole });
            }
            finder::Output::Found { id, peer, preferred } => {
                if let Some(running) = self.downloads.get(&id) {
                    // A full queue has enough to do.
                    let _ = running.try_send(ToDownload::Found { peer, preferred });
                }
            }
            finder::Output::Provide { id } => {
                self.commands.push(Command::Provide { key: provider_key(&id) });
            }
            finder::Output::StopProviding { id } => {
                self.commands.push(Command::StopProviding { key: provider_key(&id) });
            }
            finder::Output::Find { id } => {
                let (reply, answer) = oneshot::channel();
                self.commands.push(Command::FindProviders { key: provider_key(&id), reply });
                self.found.push(Box::pin(async move { Some((id, answer.await.ok()?)) }));
            }
            finder::Output::Fault { peer, fault } => {
                self.commands.push(Command::Penalize { peer, fault });
            }
        }
        None
    }

    fn publish(&self, bytes: &[u8]) {
        let Some(topic) = &self.looks else { return };
        if let Err(error) = topic.try_publish(&Value::Bytes(bytes.to_vec())) {
            tracing::debug!(%error, "a look wasn't published");
        }
    }

    fn on_timeout(&mut self) {
        let now = self.common.clock.now();
        if self.finder.poll_timeout().is_some_and(|at| at <= now) {
            self.find(finder::Input::Timeout);
        }
        if self.serve.poll_timeout().is_some_and(|at| at <= now) {
            self.serve(serve::Input::Timeout);
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.waiting.retain(|(_, join)| !join.done.is_closed());
            self.look_at_watched();
            self.set_metrics();
        }
    }

    fn set_metrics(&mut self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let served = self.serve.stats().bytes;
        self.metrics.served.inc_by(served - self.served);
        self.served = served;
        self.metrics.stored.set(i64::try_from(self.store.used()).unwrap_or(i64::MAX));
        self.metrics.serving.set(gauge(self.serve.streams()));
        self.metrics.fetching.set(gauge(self.downloads.len()));
    }
}

/// One piece, if the store can read it.
fn encode(store: &BlobStore, id: &BlobId, groups: Range<u64>) -> Option<Bytes> {
    let mut encoding = Vec::new();
    let encoder = store.encode(id, groups.clone()).map_err(std::io::Error::from);
    let written = encoder.and_then(|encoder| {
        let len = encoded_len(encoder.size(), groups);
        encoding.reserve_exact(usize::try_from(len).unwrap_or(0));
        encoder.write_to(&mut encoding)
    });
    match written {
        Ok(()) => Some(encoding.into()),
        Err(error) => {
            tracing::warn!(blob = %id, %error, "a piece can't be served");
            None
        }
    }
}
