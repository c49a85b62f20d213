//! A session that serves: one stream that a caller has opened.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc};

use aether_core::{Protocol as _, Time};
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use libp2p::PeerId;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinError, JoinSet},
};
use tracing::Instrument as _;

use super::{
    Context,
    calling::IN_A_ROW,
    haste::Haste,
    metrics::Metrics,
    service::{Endpoint, Raw, RawItems},
    shop::{Shop, Slot},
};
use crate::{
    clock::{Alarm, Clock},
    framed::{Framed, Happened, Pipe},
    proto::service::{
        frame::{CallError, Code, Request},
        session::{
            Server,
            server::{Config, Ending, Input, Output},
        },
    },
};

/// Items of handlers that wait to be taken, over all calls of a session.
const QUEUE: usize = 64;

/// Handlers whose answers are taken in one go, after the first.
const AT_ONCE: usize = 256;

/// An item of a handler's.
#[derive(Debug)]
pub(super) struct FromHandler {
    pub(super) call: u64,
    pub(super) item: Bytes,
    /// Told when there is room for another. Dropped when the call is over.
    pub(super) taken: oneshot::Sender<()>,
}

/// What a handler has come to.
#[derive(Debug)]
enum Answer {
    Reply(Bytes),
    /// All items are sent.
    Items,
    Failed(CallError),
}

/// What every session of a node has.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) shop: Arc<Shop>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) config: Config,
    /// Turns true when the node drains.
    pub(super) draining: watch::Receiver<bool>,
}

pub(super) struct ServerSession {
    parts: Parts,
    caller: PeerId,
    server: Server,
    frames: Framed,
    calls: BTreeMap<u64, Live>,
    handlers: JoinSet<(u64, Answer)>,
    haste: Haste,
    items: (mpsc::Sender<FromHandler>, mpsc::Receiver<FromHandler>),
    is_over: bool,
    /// When the last thing happened, or the last handler was tried.
    now: Time,
}

/// A call that was admitted.
struct Live {
    slot: Slot,
    endpoint: Endpoint,
    context: Context,
    handler: Option<AbortHandle>,
    /// The handler waits for room for its next item.
    waiting: Option<oneshot::Sender<()>>,
}

impl ServerSession {
    pub(super) fn new(parts: Parts, caller: PeerId, pipe: Box<dyn Pipe>) -> Self {
        Self {
            server: Server::new(parts.config.clone()),
            parts,
            caller,
            frames: Framed::new(pipe),
            calls: BTreeMap::new(),
            handlers: JoinSet::new(),
            haste: Haste::default(),
            items: mpsc::channel(QUEUE),
            is_over: false,
            now: Time::ZERO,
        }
    }

    /// Runs until the stream has ended, or all calls have after the node began to drain. True if
    /// the caller did what no correct one does.
    pub(super) async fn run(mut self) -> bool {
        let mut draining = self.parts.draining.clone();
        let mut is_draining = false;
        let mut is_faulty = false;
        let mut alarm = Alarm::new(self.parts.clock);
        while !self.is_over {
            let wake = self.server.poll_timeout();
            let is_reading = self.server.is_reading();
            tokio::select! {
                happened = self.frames.run(is_reading) => {
                    self.tick();
                    is_faulty |= self.on_stream(happened);
                }
                Some(ended) = self.handlers.join_next(), if !self.handlers.is_empty() => {
                    self.tick();
                    self.on_handled(ended);
                    // Those that are done by now have their answers written together.
                    for _ in 0..AT_ONCE {
                        let Some(ended) = self.handlers.try_join_next() else { break };
                        self.on_handled(ended);
                    }
                }
                Some(item) = self.items.1.recv() => {
                    self.tick();
                    self.on_item(item);
                }
                _ = draining.wait_for(|draining| *draining), if !is_draining => {
                    is_draining = true;
                    self.tick();
                    self.handle(Input::Drain);
                }
                () = alarm.wait(wake) => {
                    self.tick();
                    self.handle(Input::Timeout);
                }
            }
            is_faulty |= self.drive();
        }
        if !is_faulty {
            self.frames.finish().await;
        }
        is_faulty
    }

    fn tick(&mut self) {
        self.now = self.parts.clock.now();
    }

    fn handle(&mut self, input: Input) {
        self.server.handle(self.now, input);
    }

    /// True if the caller is to be blamed.
    fn on_stream(&mut self, happened: Happened) -> bool {
        match happened {
            Happened::Sent(weight) => self.handle(Input::Sent { weight }),
            Happened::Closed => {
                self.handle(Input::Closed);
                self.is_over = true;
            }
            Happened::Received => {
                let mut is_faulty = false;
                for _ in 0..IN_A_ROW {
                    match self.frames.next() {
                        Ok(Some(frame)) => self.handle(Input::Received(frame)),
                        Ok(None) => return is_faulty,
                        Err(error) => {
                            self.handle(Input::Broken(error));
                            return is_faulty;
                        }
                    }
                    // One by one: what a thousand short frames want would take far more memory
                    // than they do, in each session.
                    is_faulty |= self.drive();
                }
                return is_faulty;
            }
        }
        false
    }

    fn on_handled(&mut self, ended: Result<(u64, Answer), JoinError>) {
        // One that was aborted has no answer, and its call is over.
        if let Ok((call, answer)) = ended {
            self.on_answer(call, answer);
        }
    }

    fn on_answer(&mut self, call: u64, answer: Answer) {
        let Some(live) = self.calls.get_mut(&call) else { return };
        live.slot.handled(self.now);
        let input = match answer {
            Answer::Reply(reply) if !self.parts.shop.take_room(&mut live.slot, reply.len()) => {
                let message = "the node has no room for the reply";
                Input::Fail { call, error: CallError::new(Code::Dropped, message) }
            }
            Answer::Reply(reply) => Input::Reply { call, reply },
            Answer::Items => Input::End { call },
            Answer::Failed(error) => Input::Fail { call, error },
        };
        self.handle(input);
    }

    fn on_item(&mut self, FromHandler { call, item, taken }: FromHandler) {
        if !self.calls.contains_key(&call) {
            return;
        }
        self.handle(Input::Item { call, item });
        let has_room = self.server.has_room(call);
        let Some(live) = self.calls.get_mut(&call) else { return };
        if has_room {
            let _ = taken.send(());
        } else {
            live.waiting = Some(taken);
        }
    }

    /// Does what the protocol wants. True if the caller is to be blamed.
    fn drive(&mut self) -> bool {
        let mut is_faulty = false;
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send(frame) => self.frames.push(&frame),
                Output::Arrived { call, request, deadline } => {
                    self.on_arrived(call, &request, deadline);
                }
                Output::Start { call, body } => self.start(call, body),
                Output::Room { call } => {
                    let live = self.calls.get_mut(&call);
                    if let Some(taken) = live.and_then(|live| live.waiting.take()) {
                        let _ = taken.send(());
                    }
                }
                Output::Ended { call, ending } => self.on_ended(call, ending),
                Output::Drained => self.is_over = true,
                Output::Close { fault } => {
                    tracing::debug!(peer = %self.caller, %fault, "session closed: a fault");
                    (self.is_over, is_faulty) = (true, true);
                }
            }
        }
        is_faulty
    }

    fn on_arrived(&mut self, call: u64, request: &Request, deadline: Time) {
        let input = match self.parts.shop.admit(self.now, self.caller, request) {
            Err(error) => {
                self.parts.metrics.refused(error.code);
                Input::Fail { call, error }
            }
            Ok((slot, endpoint)) => {
                let deadline = self.parts.clock.instant(deadline);
                let context = Context { deadline, trace: request.trace };
                let live = Live { slot, endpoint, context, handler: None, waiting: None };
                self.calls.insert(call, live);
                Input::Admit { call }
            }
        };
        self.handle(input);
    }

    fn start(&mut self, call: u64, body: Bytes) {
        let Some(live) = self.calls.get_mut(&call) else { return };
        let context = live.context;
        let raw = Raw { body, caller: self.caller, context };
        let (endpoint, session) = (live.endpoint.clone(), self.items.0.clone());
        let answer = async move {
            match endpoint {
                Endpoint::Reply(handler) => handler(raw).await.map(Answer::Reply),
                Endpoint::Items(handler) => {
                    let items = RawItems { call, session };
                    handler(raw, items).await.map(|()| Answer::Items)
                }
            }
        };
        let service = live.slot.instance.name.as_str();
        let trace = context.trace.map(tracing::field::display);
        let span = tracing::debug_span!("handle", service, caller = %self.caller, trace);
        let caught = AssertUnwindSafe(context.scope(answer)).catch_unwind().instrument(span);
        let handler = async move {
            let answer = caught.await.unwrap_or_else(|panic| {
                let message = panic_message(&*panic);
                tracing::error!(message, "a handler panicked");
                Err(CallError::new(Code::Panicked, message))
            });
            (call, answer.unwrap_or_else(Answer::Failed))
        };
        self.run_handler(call, Box::pin(handler));
    }

    /// Tries a handler, and gives it a task if it isn't done; or gives it one at once.
    fn run_handler(&mut self, call: u64, mut handler: BoxFuture<'static, (u64, Answer)>) {
        if self.haste.tries() {
            let begin = self.now;
            // Nothing wakes this poll; the task polls again.
            let done = (&mut handler).now_or_never();
            self.tick();
            self.haste.took(self.now.since(begin));
            if let Some((call, answer)) = done {
                return self.on_answer(call, answer);
            }
        }
        if let Some(live) = self.calls.get_mut(&call) {
            live.handler = Some(self.handlers.spawn(handler));
        }
    }

    fn on_ended(&mut self, call: u64, ending: Ending) {
        // A call that was never admitted has been counted as refused.
        let Some(live) = self.calls.remove(&call) else { return };
        if let Some(handler) = live.handler {
            handler.abort();
        }
        self.parts.metrics.handled(ending);
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("the handler panicked").to_owned()
}
