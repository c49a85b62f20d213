//! The sessions that call: a stream to each node that serves, all of them driven by the task of
//! their client.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use aether_core::{Protocol as _, PublicKey, Time};
use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinSet};

use super::{bells::Bells, route::Route};
use crate::{
    clock::Clock,
    framed::{Framed, Happened, Pipe},
    identity::peer_id,
    proto::service::{
        balancer::AttemptId,
        session::{
            Caller,
            caller::{Call, Config, Input, Outcome, Output},
        },
    },
};

/// Frames that are looked at before what follows from them goes on its way.
pub(super) const IN_A_ROW: usize = 32;

/// A call to make in a session. The attempt's number is the call's.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) attempt: AttemptId,
    pub(super) call: Call,
    /// Where its items go, if it asks for some.
    pub(super) items: Option<mpsc::Sender<Item>>,
}

/// An item of a streamed reply. Whoever takes it says so to the session, by these numbers.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) bytes: Bytes,
    pub(super) session: u64,
    pub(super) attempt: AttemptId,
    pub(super) credit: usize,
}

/// How an attempt has ended.
#[derive(Debug)]
pub(super) enum Told {
    Ended {
        attempt: AttemptId,
        outcome: Outcome,
    },
    /// The stream couldn't be opened. The attempt wasn't sent.
    Unreached {
        attempt: AttemptId,
        reason: Arc<str>,
    },
}

/// What all sessions of a client have.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) clock: Clock,
    pub(super) config: Config,
    pub(super) route: Route,
}

/// A stream, or why there is none.
type OpenedPipe = Result<Box<dyn Pipe>, String>;

/// All sessions of a client.
pub(super) struct Sessions {
    parts: Parts,
    all: BTreeMap<u64, Session>,
    /// The session that takes new calls, by its node.
    current: BTreeMap<PublicKey, u64>,
    last: u64,
    opening: JoinSet<(u64, OpenedPipe)>,
    closing: JoinSet<()>,
    bells: Arc<Bells>,
    told: VecDeque<Told>,
    /// See [`tick`](Self::tick).
    now: Time,
}

struct Session {
    peer: PublicKey,
    way: Way,
}

enum Way {
    /// With the calls that wait for the stream.
    Opening(Vec<Asked>),
    Open(Box<Calls>),
}

impl Sessions {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            all: BTreeMap::new(),
            current: BTreeMap::new(),
            last: 0,
            opening: JoinSet::new(),
            closing: JoinSet::new(),
            bells: Arc::default(),
            told: VecDeque::new(),
            now: Time::ZERO,
        }
    }

    /// Reads the clock. What is done until the next time is done at this one.
    pub(super) fn tick(&mut self) -> Time {
        self.now = self.parts.clock.now();
        self.now
    }

    /// When the last thing happened.
    pub(super) const fn now(&self) -> Time {
        self.now
    }

    /// Calls a node, in a new session if there is none. Returns the session's number.
    pub(super) fn call(&mut self, peer: PublicKey, asked: Asked) -> u64 {
        let number = match self.current.get(&peer) {
            Some(number) => *number,
            None => self.open(peer),
        };
        match self.all.get_mut(&number).map(|session| &mut session.way) {
            Some(Way::Opening(early)) => early.push(asked),
            Some(Way::Open(calls)) => {
                calls.call(self.now, asked);
                self.drive(number);
            }
            None => unreachable!("a session that is over isn't current"),
        }
        number
    }

    /// Wants no answer to a call.
    pub(super) fn cancel(&mut self, number: u64, attempt: AttemptId) {
        match self.all.get_mut(&number).map(|session| &mut session.way) {
            Some(Way::Opening(early)) => early.retain(|asked| asked.attempt != attempt),
            Some(Way::Open(_)) => self.handle(number, Input::Cancel { call: attempt.0 }),
            None => {}
        }
    }

    /// An item was taken.
    pub(super) fn consumed(&mut self, number: u64, attempt: AttemptId, credit: usize) {
        self.handle(number, Input::Consumed { call: attempt.0, credit });
    }

    /// Ends the sessions with all other nodes. Their calls are lost.
    pub(super) fn retain(&mut self, peers: &BTreeSet<PublicKey>) {
        let gone = self.all.iter().filter(|(_, session)| !peers.contains(&session.peer));
        for number in gone.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.end(number, "it serves no more");
        }
    }

    /// How the next attempt has ended.
    pub(super) fn told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let open = self.all.values().filter_map(|session| match &session.way {
            Way::Open(calls) => calls.caller.poll_timeout(),
            Way::Opening(_) => None,
        });
        open.min()
    }

    pub(super) fn on_timeout(&mut self) {
        for number in self.all.keys().copied().collect::<Vec<_>>() {
            self.handle(number, Input::Timeout);
        }
    }

    /// Opens, reads and writes streams until something has come of it. Cancel safe.
    pub(super) async fn run(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.tick();
        let mut has_happened = false;
        while let Poll::Ready(Some(opened)) = self.opening.poll_join_next(cx) {
            if let Ok((number, opened)) = opened {
                self.on_opened(number, opened);
            }
            has_happened = true;
        }
        while let Poll::Ready(Some(_)) = self.closing.poll_join_next(cx) {}
        for number in self.bells.rung(cx) {
            let session = self.all.get_mut(&number);
            if let Some(Session { way: Way::Open(calls), .. }) = session
                && let Poll::Ready(happened) = calls.poll()
            {
                has_happened = true;
                calls.on_stream(self.now, happened);
                self.drive(number);
            }
        }
        if has_happened { Poll::Ready(()) } else { Poll::Pending }
    }

    fn open(&mut self, peer: PublicKey) -> u64 {
        self.last += 1;
        let number = self.last;
        let route = self.parts.route.clone();
        self.opening.spawn(async move { (number, route.open(peer_id(&peer)).await) });
        self.all.insert(number, Session { peer, way: Way::Opening(Vec::new()) });
        self.current.insert(peer, number);
        number
    }

    fn on_opened(&mut self, number: u64, opened: OpenedPipe) {
        // Nothing, if the session was ended meanwhile.
        let Some(Session { way, .. }) = self.all.get_mut(&number) else { return };
        let pipe = match opened {
            Ok(pipe) => pipe,
            Err(reason) => return self.end(number, &reason),
        };
        let bell = Bells::waker(&self.bells, number);
        let calls = Box::new(Calls::new(number, pipe, self.parts.config.clone(), bell));
        let Way::Opening(early) = mem::replace(way, Way::Open(calls)) else { return };
        if let Way::Open(calls) = way {
            let now = self.now;
            early.into_iter().for_each(|asked| calls.call(now, asked));
        }
        self.drive(number);
    }

    fn handle(&mut self, number: u64, input: Input) {
        if let Some(Session { way: Way::Open(calls), .. }) = self.all.get_mut(&number) {
            calls.caller.handle(self.now, input);
            self.drive(number);
        }
    }

    /// Does what the session's protocol wants.
    fn drive(&mut self, number: u64) {
        let Some(session) = self.all.get_mut(&number) else { return };
        let Way::Open(calls) = &mut session.way else { return };
        let peer = session.peer;
        calls.drive(self.now, &mut self.told);
        // For what is to be written, and what else can be read: whoever drives is about to poll.
        self.bells.ring(number);
        if calls.is_faulty {
            self.parts.route.blame(peer_id(&peer));
        }
        let (is_leaving, is_over) = (calls.is_leaving || calls.is_over, calls.is_done());
        if is_leaving && self.current.get(&peer) == Some(&number) {
            self.current.remove(&peer);
        }
        if is_over {
            self.end(number, "the session has ended");
        }
    }

    /// Ends a session, and with it what calls it has.
    fn end(&mut self, number: u64, reason: &str) {
        let Some(Session { peer, way }) = self.all.remove(&number) else { return };
        if self.current.get(&peer) == Some(&number) {
            self.current.remove(&peer);
        }
        match way {
            Way::Opening(early) => {
                let reason: Arc<str> = reason.into();
                let unreached = |Asked { attempt, .. }| {
                    let reason = reason.clone();
                    Told::Unreached { attempt, reason }
                };
                self.told.extend(early.into_iter().map(unreached));
            }
            Way::Open(mut calls) => {
                calls.caller.handle(self.now, Input::Closed);
                calls.drive(self.now, &mut self.told);
                self.closing.spawn(async move { calls.frames.finish().await });
            }
        }
    }
}

/// The calls of a session on its stream.
struct Calls {
    number: u64,
    caller: Caller,
    frames: Framed,
    /// Where items go, by call.
    items: BTreeMap<u64, mpsc::Sender<Item>>,
    waker: Waker,
    /// Takes no new calls.
    is_leaving: bool,
    is_over: bool,
    is_faulty: bool,
}

impl Calls {
    fn new(number: u64, pipe: Box<dyn Pipe>, config: Config, waker: Waker) -> Self {
        Self {
            number,
            caller: Caller::new(config),
            frames: Framed::new(pipe),
            items: BTreeMap::new(),
            waker,
            is_leaving: false,
            is_over: false,
            is_faulty: false,
        }
    }

    fn is_done(&self) -> bool {
        self.is_over || self.is_leaving && self.caller.is_empty()
    }

    fn poll(&mut self) -> Poll<Happened> {
        let Self { frames, waker, .. } = self;
        frames.poll(&mut Context::from_waker(waker), true)
    }

    fn call(&mut self, now: Time, Asked { attempt, call, items }: Asked) {
        self.items.extend(items.map(|items| (attempt.0, items)));
        self.caller.handle(now, Input::Call { number: attempt.0, call });
    }

    fn on_stream(&mut self, now: Time, happened: Happened) {
        match happened {
            Happened::Sent(weight) => self.caller.handle(now, Input::Sent { weight }),
            Happened::Closed => {
                self.caller.handle(now, Input::Closed);
                self.is_over = true;
            }
            Happened::Received => {
                for _ in 0..IN_A_ROW {
                    match self.frames.next() {
                        Ok(Some(frame)) => self.caller.handle(now, Input::Received(frame)),
                        Ok(None) => return,
                        Err(error) => return self.caller.handle(now, Input::Broken(error)),
                    }
                }
            }
        }
    }

    fn drive(&mut self, now: Time, told: &mut VecDeque<Told>) {
        while let Some(output) = self.caller.poll_output() {
            match output {
                Output::Send(frame) => self.frames.push(&frame),
                Output::Item { call, item, credit } => self.on_item(now, call, item, credit),
                Output::Finished { call, outcome } => {
                    self.items.remove(&call);
                    told.push_back(Told::Ended { attempt: AttemptId(call), outcome });
                }
                Output::GoingAway => self.is_leaving = true,
                Output::Close { fault } => {
                    tracing::debug!(%fault, "session closed: a fault");
                    (self.is_over, self.is_faulty) = (true, true);
                }
            }
        }
    }

    fn on_item(&mut self, now: Time, call: u64, bytes: Bytes, credit: usize) {
        let item = Item { bytes, session: self.number, attempt: AttemptId(call), credit };
        let is_taken = self.items.get(&call).is_some_and(|items| items.try_send(item).is_ok());
        if !is_taken {
            // Nobody reads, or the server sent more than the window allows.
            self.caller.handle(now, Input::Cancel { call });
        }
    }
}
