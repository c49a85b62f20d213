//! A session that calls: one stream to a node that serves.

use std::{collections::BTreeMap, sync::Arc};

use aether_core::Protocol as _;
use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::mpsc;

use super::route::Route;
use crate::{
    clock::Clock,
    framed::{Framed, Happened},
    proto::service::{
        balancer::AttemptId,
        session::{
            Caller,
            caller::{Call, Config, Input, Outcome, Output},
        },
    },
};

/// Requests that wait to be taken by a session. A client's balancer allows fewer calls.
pub(super) const QUEUE: usize = 8192;

/// What a client asks of a session.
#[derive(Debug)]
pub(super) enum ToSession {
    Call {
        attempt: AttemptId,
        call: Call,
        /// Where its items go, if it asks for some.
        items: Option<mpsc::Sender<Item>>,
    },
    Cancel {
        attempt: AttemptId,
    },
    Consumed {
        call: u64,
        credit: usize,
    },
    /// The node is gone: all calls are lost.
    Abandon,
}

/// What a session tells its client.
#[derive(Debug)]
pub(super) enum FromSession {
    Ended {
        attempt: AttemptId,
        outcome: Outcome,
    },
    /// The stream couldn't be opened. The attempt wasn't sent.
    Unreached {
        attempt: AttemptId,
        reason: Arc<str>,
    },
    /// Takes no new calls.
    Over {
        peer: PeerId,
        session: u64,
    },
}

/// An item of a streamed reply.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) bytes: Bytes,
    pub(super) call: u64,
    pub(super) credit: usize,
    /// Told when the item is taken.
    pub(super) session: mpsc::Sender<ToSession>,
}

/// One session. Its number tells it from an earlier one with the same peer.
pub(super) struct CallerSession {
    pub(super) peer: PeerId,
    pub(super) number: u64,
    pub(super) clock: Clock,
    pub(super) config: Config,
    pub(super) route: Route,
    pub(super) told: mpsc::Sender<FromSession>,
    pub(super) asked: mpsc::Receiver<ToSession>,
    /// For the items; weak, so that the session ends when its client has no use for it.
    pub(super) own: mpsc::WeakSender<ToSession>,
}

impl CallerSession {
    /// Opens the stream, and runs until the client lets go of the session and all calls have ended,
    /// or the stream is lost.
    pub(super) async fn run(mut self) {
        match self.route.open(self.peer).await {
            Ok(pipe) => {
                let calls = Calls {
                    caller: Caller::new(self.config.clone()),
                    frames: Framed::new(pipe),
                    next: 1,
                    live: BTreeMap::new(),
                    numbers: BTreeMap::new(),
                    ended: Vec::new(),
                    is_over: false,
                    session: &mut self,
                };
                calls.run().await;
                self.give_up("the session has ended").await;
            }
            Err(reason) => self.give_up(&reason).await,
        }
    }

    /// What was asked and not sent goes back.
    async fn give_up(&mut self, reason: &str) {
        self.asked.close();
        let reason: Arc<str> = reason.into();
        let over = FromSession::Over { peer: self.peer, session: self.number };
        let _ = self.told.send(over).await;
        while let Some(asked) = self.asked.recv().await {
            if let ToSession::Call { attempt, .. } = asked {
                let reason = reason.clone();
                let _ = self.told.send(FromSession::Unreached { attempt, reason }).await;
            }
        }
    }
}

/// The calls of a session on its stream.
struct Calls<'a> {
    session: &'a mut CallerSession,
    caller: Caller,
    frames: Framed,
    next: u64,
    live: BTreeMap<u64, Live>,
    numbers: BTreeMap<AttemptId, u64>,
    /// What the client is to be told.
    ended: Vec<FromSession>,
    is_over: bool,
}

struct Live {
    attempt: AttemptId,
    items: Option<mpsc::Sender<Item>>,
}

impl Calls<'_> {
    async fn run(mut self) {
        let mut asked = Vec::new();
        let mut is_wanted = true;
        while !self.is_over && (is_wanted || !self.caller.is_empty()) {
            let wake = self.caller.poll_timeout();
            tokio::select! {
                happened = self.frames.run(true) => self.on_stream(happened),
                received = self.session.asked.recv_many(&mut asked, 64), if is_wanted => {
                    is_wanted = received > 0;
                    for each in asked.drain(..) {
                        self.on_asked(each);
                    }
                }
                () = self.session.clock.sleep_until(wake) => self.handle(Input::Timeout),
            }
            self.drive();
            for event in self.ended.drain(..) {
                if self.session.told.send(event).await.is_err() {
                    return;
                }
            }
        }
        self.handle(Input::Closed);
        self.drive();
        for event in self.ended.drain(..) {
            let _ = self.session.told.send(event).await;
        }
        self.frames.finish().await;
    }

    fn handle(&mut self, input: Input) {
        self.caller.handle(self.session.clock.now(), input);
    }

    fn on_stream(&mut self, happened: Happened) {
        match happened {
            Happened::Sent(weight) => self.handle(Input::Sent { weight }),
            Happened::Closed => {
                self.handle(Input::Closed);
                self.is_over = true;
            }
            Happened::Received => loop {
                match self.frames.next() {
                    Ok(Some(frame)) => self.handle(Input::Received(frame)),
                    Ok(None) => return,
                    Err(error) => return self.handle(Input::Broken(error)),
                }
            },
        }
    }

    fn on_asked(&mut self, asked: ToSession) {
        match asked {
            ToSession::Call { attempt, call, items } => {
                let number = self.next;
                self.next += 1;
                self.live.insert(number, Live { attempt, items });
                self.numbers.insert(attempt, number);
                self.handle(Input::Call { number, call });
            }
            ToSession::Cancel { attempt } => {
                if let Some(call) = self.numbers.get(&attempt).copied() {
                    self.handle(Input::Cancel { call });
                }
            }
            ToSession::Consumed { call, credit } => self.handle(Input::Consumed { call, credit }),
            ToSession::Abandon => {
                self.handle(Input::Closed);
                self.is_over = true;
            }
        }
    }

    fn drive(&mut self) {
        while let Some(output) = self.caller.poll_output() {
            match output {
                Output::Send(frame) => self.frames.push(&frame),
                Output::Item { call, item, credit } => self.on_item(call, item, credit),
                Output::Finished { call, outcome } => {
                    if let Some(Live { attempt, .. }) = self.live.remove(&call) {
                        self.numbers.remove(&attempt);
                        self.ended.push(FromSession::Ended { attempt, outcome });
                    }
                }
                Output::GoingAway => {
                    let (peer, session) = (self.session.peer, self.session.number);
                    self.ended.push(FromSession::Over { peer, session });
                }
                Output::Close { fault } => {
                    tracing::debug!(peer = %self.session.peer, %fault, "session closed: a fault");
                    self.session.route.blame(self.session.peer);
                    self.is_over = true;
                }
            }
        }
    }

    fn on_item(&mut self, call: u64, bytes: Bytes, credit: usize) {
        let live = self.live.get(&call);
        let queue = live.and_then(|live| live.items.as_ref());
        let own = self.session.own.upgrade();
        if let (Some(queue), Some(session)) = (queue, own)
            && queue.try_send(Item { bytes, call, credit, session }).is_ok()
        {
            return;
        }
        // Nobody reads, or the server sent more than the window allows.
        self.handle(Input::Cancel { call });
    }
}
