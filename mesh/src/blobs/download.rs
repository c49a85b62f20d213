//! One download: runs the fetch protocol, and a task for each provider's stream.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Arc,
};

use aether_core::{BlobId, Protocol as _, PublicKey};
use libp2p::StreamProtocol;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use super::{
    TICK,
    handle::GetError,
    metrics::Metrics,
    provider::{self, ToProvider},
    store::{BlobStatus, BlobStore, Download},
};
use crate::{
    clock::Clock,
    identity::peer_id,
    network::Command,
    proto::{
        blob::{
            GROUP, Ranges,
            fetch::{Blame, Config, Fetch, Input, Output, Reason, Stats},
        },
        budget::Fault,
    },
};

/// Who waits for a blob, or for a part of it.
#[derive(Debug)]
pub(crate) struct Join {
    /// Nodes to ask first.
    pub(super) from: Vec<PublicKey>,
    /// Bytes wanted; all of it if `None`.
    pub(super) range: Option<Range<u64>>,
    /// Bytes held so far, and the size once it is proved.
    pub(super) progress: Option<watch::Sender<(u64, Option<u64>)>>,
    pub(super) done: oneshot::Sender<Result<(), GetError>>,
}

/// What the driver tells a download.
#[derive(Debug)]
pub(super) enum ToDownload {
    Join(Join),
    Found { peer: PublicKey, preferred: bool },
}

/// What a download tells the driver.
#[derive(Debug)]
pub(super) enum FromDownload {
    /// Look for more providers.
    Want(BlobId),
    Useless {
        id: BlobId,
        peer: PublicKey,
    },
    /// It has ended; whether the blob is whole.
    Ended {
        id: BlobId,
        is_whole: bool,
    },
}

/// What a download is made of.
pub(super) struct Parts {
    pub(super) id: BlobId,
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) store: BlobStore,
    pub(super) network: mpsc::Sender<Command>,
    pub(super) protocol: StreamProtocol,
    pub(super) told: mpsc::Sender<FromDownload>,
}

pub(super) struct DownloadTask {
    parts: Parts,
    fetch: Fetch,
    size: Option<u64>,
    /// Keeps what is held from being evicted.
    in_use: Option<Download>,
    joined: BTreeMap<u64, Join>,
    next_reader: u64,
    providers: BTreeMap<PublicKey, Provider>,
    next_stream: u64,
    streams: JoinSet<()>,
    inputs: Inputs,
    /// What the driver is to be told.
    news: VecDeque<FromDownload>,
    counted: Stats,
    ended: Option<Result<(), GetError>>,
}

/// What streams say, each with its number.
type Inputs = (mpsc::Sender<(u64, Input)>, mpsc::Receiver<(u64, Input)>);

struct Provider {
    stream: u64,
    queue: mpsc::Sender<ToProvider>,
}

impl DownloadTask {
    /// Goes on where an earlier download has ended: looks at what is held, which may take time.
    pub(super) fn open(parts: Parts) -> Self {
        let held = held(&parts.store, &parts.id);
        let size = held.as_ref().map(|(size, _)| *size);
        Self {
            fetch: Fetch::new(parts.config.clone(), parts.id, held),
            in_use: size.and_then(|size| parts.store.begin(parts.id, size).ok()),
            parts,
            size,
            joined: BTreeMap::new(),
            next_reader: 0,
            providers: BTreeMap::new(),
            next_stream: 0,
            streams: JoinSet::new(),
            inputs: mpsc::channel(64),
            news: VecDeque::new(),
            counted: Stats::default(),
            ended: None,
        }
    }

    /// Runs until the blob is here, nobody wants it any more, or it can't be had.
    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<ToDownload>) {
        // It was begun for somebody, who is in the queue.
        match asked.recv().await {
            None => return,
            Some(first) => self.on_asked(first),
        }
        let mut look = self.parts.clock.now() + TICK;
        while self.ended.is_none() {
            let wake = self.fetch.poll_timeout().into_iter().chain([look]).min();
            tokio::select! {
                asked = asked.recv() => match asked {
                    None => return,
                    Some(asked) => self.on_asked(asked),
                },
                Some((stream, input)) = self.inputs.1.recv() => self.on_stream(stream, input),
                Some(_) = self.streams.join_next(), if !self.streams.is_empty() => {}
                () = self.parts.clock.sleep_until(wake) => {
                    self.handle(Input::Timeout);
                    let now = self.parts.clock.now();
                    if now >= look {
                        look = now + TICK;
                        self.look_for_readers();
                    }
                }
            }
            for event in std::mem::take(&mut self.news) {
                if self.parts.told.send(event).await.is_err() {
                    return;
                }
            }
        }
        self.end(asked).await;
    }

    fn on_asked(&mut self, asked: ToDownload) {
        match asked {
            ToDownload::Join(join) => self.join(join),
            ToDownload::Found { peer, preferred } => {
                self.handle(Input::Found { peer, preferred });
            }
        }
    }

    async fn end(mut self, mut asked: mpsc::Receiver<ToDownload>) {
        let result = self.ended.take().unwrap_or(Err(GetError::Cancelled));
        self.streams.shutdown().await;
        self.parts.metrics.ended(match &result {
            Ok(()) => "done",
            Err(GetError::Cancelled) => "cancelled",
            Err(_) => "failed",
        });
        self.in_use = None;
        let (id, is_whole) = (self.parts.id, result.is_ok());
        // Who joins from now on is told by the driver, which begins anew.
        asked.close();
        while let Some(left) = asked.recv().await {
            if let ToDownload::Join(join) = left {
                self.joined.insert(self.next_reader, join);
                self.next_reader += 1;
            }
        }
        let _ = self.parts.told.send(FromDownload::Ended { id, is_whole }).await;
        for (_, join) in self.joined {
            let _ = join.done.send(result.clone());
        }
    }

    fn join(&mut self, join: Join) {
        let reader = self.next_reader;
        self.next_reader += 1;
        // Patience begins with the first input.
        self.handle(Input::Timeout);
        for peer in &join.from {
            self.handle(Input::Found { peer: *peer, preferred: true });
        }
        if let Some(range) = &join.range {
            let groups = range.start / GROUP..range.end.div_ceil(GROUP).max(1);
            self.handle(Input::Want { reader, groups });
        }
        self.joined.insert(reader, join);
        self.look_for_readers();
    }

    /// Serves those whose part is here, and forgets those who don't wait any more.
    fn look_for_readers(&mut self) {
        self.joined.retain(|_, join| !join.done.is_closed());
        if self.joined.is_empty() {
            return self.handle(Input::Cancel);
        }
        let partial: Vec<u64> = self
            .joined
            .iter()
            .filter(|(_, join)| join.range.is_some())
            .map(|(reader, _)| *reader)
            .collect();
        if partial.is_empty() {
            return;
        }
        let BlobStatus::Partial { size, held, .. } = self.parts.store.status(&self.parts.id) else {
            return;
        };
        let held: Ranges = held.into_iter().collect();
        for reader in partial {
            let Some(range) = self.joined.get(&reader).and_then(|join| join.range.clone()) else {
                continue;
            };
            let groups = range.start / GROUP..range.end.min(size).div_ceil(GROUP);
            let is_here = self.size.is_some() && held.gaps(groups).next().is_none();
            if is_here && let Some(join) = self.joined.remove(&reader) {
                self.handle(Input::Unwant { reader });
                let _ = join.done.send(Ok(()));
            }
        }
        if self.joined.is_empty() {
            self.handle(Input::Cancel);
        }
    }

    fn on_stream(&mut self, stream: u64, input: Input) {
        let peer = match &input {
            Input::Held { peer, .. }
            | Input::NotHeld { peer }
            | Input::Verified { peer, .. }
            | Input::Wrong { peer, .. }
            | Input::Ended { peer, .. }
            | Input::Busy { peer, .. }
            | Input::Lost { peer } => Some(*peer),
            _ => None,
        };
        // Nothing of a closed stream counts.
        let is_current =
            peer.is_none_or(|peer| self.providers.get(&peer).is_some_and(|p| p.stream == stream));
        if is_current {
            let is_gain = matches!(input, Input::Verified { .. });
            self.handle(input);
            if is_gain && self.joined.values().any(|join| join.range.is_some()) {
                self.look_for_readers();
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.fetch.handle(self.parts.clock.now(), input);
        while let Some(output) = self.fetch.poll_output() {
            self.act(output);
        }
        let stats = self.fetch.stats();
        let bytes = |now: u64, before: u64| (now - before) * GROUP;
        self.parts.metrics.fetched.inc_by(bytes(stats.verified, self.counted.verified));
        self.parts.metrics.excess.inc_by(bytes(stats.excess, self.counted.excess));
        self.counted = stats;
    }

    fn act(&mut self, output: Output) {
        let id = self.parts.id;
        match output {
            Output::Open { peer } => self.open_stream(peer),
            Output::Close { peer } => drop(self.providers.remove(&peer)),
            Output::Ask { peer, ask, size, groups } => {
                self.tell(peer, ToProvider::Ask { ask, size, groups });
            }
            Output::Cancel { peer, ask } => self.tell(peer, ToProvider::Cancel { ask }),
            Output::Proved { size } => {
                self.size = Some(size);
                self.in_use = self.parts.store.begin(id, size).ok();
                self.report(0);
            }
            Output::Blame { peer, blame } => self.blame(peer, blame),
            Output::Useless { peer } => {
                self.news.push_back(FromDownload::Useless { id, peer });
            }
            Output::WantProviders => self.news.push_back(FromDownload::Want(id)),
            Output::Progress { held, .. } => self.report(held),
            Output::Done => self.ended = Some(Ok(())),
            Output::Failed(failure) => {
                let peers = failure.peers.iter().map(|(peer, why)| (peer_id(peer), *why));
                self.ended = Some(Err(match failure.reason {
                    Reason::Cancelled => GetError::Cancelled,
                    Reason::Store => GetError::Store,
                    _ => GetError::NoProviders { id, peers: Arc::new(peers.collect()) },
                }));
            }
        }
    }

    fn report(&self, groups: u64) {
        let bytes = self.size.map_or(groups * GROUP, |size| (groups * GROUP).min(size));
        for progress in self.joined.values().filter_map(|join| join.progress.as_ref()) {
            progress.send_replace((bytes, self.size));
        }
    }

    fn open_stream(&mut self, peer: PublicKey) {
        let (queue, asked) = mpsc::channel(provider::QUEUE);
        self.next_stream += 1;
        let parts = provider::Parts {
            id: self.parts.id,
            store: self.parts.store.clone(),
            network: self.parts.network.clone(),
            protocol: self.parts.protocol.clone(),
            told: self.inputs.0.clone(),
        };
        self.streams.spawn(provider::run(parts, peer, self.next_stream, asked));
        self.providers.insert(peer, Provider { stream: self.next_stream, queue });
    }

    fn tell(&mut self, peer: PublicKey, what: ToProvider) {
        let Some(provider) = self.providers.get(&peer) else { return };
        if provider.queue.try_send(what).is_err() {
            // Its task has ended, and says so, or is stuck.
            let stream = provider.stream;
            let _ = self.inputs.0.try_send((stream, Input::Lost { peer }));
        }
    }

    fn blame(&mut self, peer: PublicKey, blame: Blame) {
        let id = self.parts.id;
        tracing::warn!(peer = %peer_id(&peer), blob = %id, %blame, "a provider lied");
        self.news.push_back(FromDownload::Useless { id, peer });
        let fault = match blame {
            Blame::WrongBytes | Blame::FalseSize => Fault::Forged,
            // An honest one may have lost it meanwhile.
            Blame::FalseClaim => return,
            Blame::Protocol => Fault::Malformed,
        };
        // A full queue spares it once.
        let _ = self.parts.network.try_send(Command::Penalize { peer, fault });
    }
}

/// What the store holds of a blob under a proved size.
fn held(store: &BlobStore, id: &BlobId) -> Option<(u64, Ranges)> {
    let BlobStatus::Partial { size, proved: true, .. } = store.status(id) else { return None };
    // Looks at what a crash has left, and holds on to it meanwhile.
    let download = store.begin(*id, size).ok()?;
    let mut held: Ranges = std::iter::once(0..crate::proto::blob::groups_of(size)).collect();
    for gap in download.missing() {
        held.remove(gap);
    }
    Some((size, held))
}
