//! The end that serves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aether_core::{Protocol, Time};
use bytes::Bytes;

use super::{
    FREE_CREDIT, Fault, ITEM_OVERHEAD, MAX_ITEM, deadline_exceeded,
    outgoing::{Kind, Outgoing, Turn},
    room::{Assembly, Room},
};
use crate::proto::service::frame::{CallError, Code, Frame, Payload, Request, Shape};

mod types;

pub use types::{Config, Ending, Input, Output};

/// What the items of one stream may count for while they wait to be sent, beyond which its handler
/// waits. One more item may be on top.
const STREAM_BUFFER: usize = 64 * 1024;

/// What a stream takes of `send_room`.
const STREAM_ROOM: usize = STREAM_BUFFER + MAX_ITEM + ITEM_OVERHEAD;

/// See the [module](self) and the rules of [sessions](super).
#[derive(Debug)]
pub struct Server {
    config: Config,
    now: Time,
    last: u64,
    calls: BTreeMap<u64, Live>,
    deadlines: BTreeSet<(Time, u64)>,
    outgoing: Outgoing,
    request_room: Room,
    send_room: Room,
    drain: Drain,
    is_closed: bool,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    No,
    Asked,
    Done,
}

#[derive(Debug)]
struct Live {
    deadline: Time,
    streaming: bool,
    stage: Stage,
    /// Whether the head of the reply is sent.
    has_head: bool,
    /// Whether the handler waits for [`Output::Room`].
    is_full: bool,
    /// How the call ends when all is sent.
    ending: Ending,
}

#[derive(Debug)]
enum Stage {
    /// The driver hasn't said whether the call may be made.
    Asking(Assembly),
    Receiving(Assembly),
    /// The handler has so many bytes of the request.
    Running(usize),
    /// The handler is done.
    Sending,
}

impl Server {
    /// A server on a new stream.
    ///
    /// # Panics
    /// If the room of `config` doesn't hold one largest request, one takes 4 GiB or more, or
    /// `max_unsent` is below its least.
    pub fn new(config: Config) -> Self {
        assert!(config.request_room >= config.max_request, "the room holds the largest request");
        assert!(u32::try_from(config.max_request).is_ok(), "grants have 32 bits");
        let outgoing = Outgoing::new(config.max_unsent);
        let (request_room, send_room) =
            (Room::new(config.request_room), Room::new(config.send_room));
        Self {
            config,
            now: Time::ZERO,
            last: 0,
            calls: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            outgoing,
            request_room,
            send_room,
            drain: Drain::No,
            is_closed: false,
            outputs: VecDeque::new(),
        }
    }

    /// Calls in progress.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether no call is in progress.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Whether the driver should read from the stream. It doesn't while a caller asks without
    /// taking the answers.
    pub const fn is_reading(&self) -> bool {
        !self.outgoing.is_clogged()
    }

    /// Whether the handler may give an item. If not, [`Output::Room`] says when, unless the call
    /// ends before.
    pub fn has_room(&self, call: u64) -> bool {
        self.outgoing.queued(call) < STREAM_BUFFER
    }

    /// Bytes that the session has received and whose handler isn't done, or keeps room for, and
    /// those that wait to be sent.
    pub fn held_bytes(&self) -> usize {
        let held = |live: &Live| match &live.stage {
            Stage::Asking(body) | Stage::Receiving(body) => body.received().min(FREE_CREDIT),
            Stage::Running(length) => (*length).min(FREE_CREDIT),
            Stage::Sending => 0,
        };
        let free: usize = self.calls.values().map(held).sum();
        free + self.request_room.used() + self.send_room.used()
    }

    fn send(&mut self, call: u64, payload: Payload) {
        let frame = Frame::new(call, payload);
        self.outgoing.note(&frame);
        self.outputs.push_back(Output::Send(frame));
    }

    fn on_request(&mut self, call: u64, request: Request) -> Result<(), Fault> {
        if call <= self.last {
            return Err(Fault::Number);
        }
        self.last = call;
        let length = request.length as usize;
        let error = if self.drain != Drain::No {
            CallError::new(Code::Overloaded, "the server is going away")
        } else if length > self.config.max_request {
            CallError::new(Code::Malformed, format!("a body of {length} bytes is too large"))
        } else if self.calls.len() >= self.config.max_calls {
            self.overloaded("too many calls are in progress")
        } else if request.streaming && !self.send_room.take(call, STREAM_ROOM) {
            self.overloaded("too many streams are in progress")
        } else {
            self.accept(call, request);
            return Ok(());
        };
        self.send(call, Payload::Reply(Err(error)));
        Ok(())
    }

    fn overloaded(&self, message: &str) -> CallError {
        let retry_after = Some(self.config.retry_after);
        CallError { retry_after, ..CallError::new(Code::Overloaded, message) }
    }

    fn accept(&mut self, call: u64, request: Request) {
        let deadline = self.now + request.remaining.min(self.config.max_deadline);
        if request.streaming {
            // Now, because the caller may grant more before the first item is there.
            self.outgoing.begin_items(call);
        }
        let live = Live {
            deadline,
            streaming: request.streaming,
            stage: Stage::Asking(Assembly::new(request.length as usize)),
            has_head: false,
            is_full: false,
            ending: Ending::Replied,
        };
        self.calls.insert(call, live);
        self.deadlines.insert((deadline, call));
        self.outputs.push_back(Output::Arrived { call, request, deadline });
    }

    fn on_admit(&mut self, call: u64) {
        let Some(live) = self.calls.get_mut(&call) else {
            return;
        };
        live.stage = match std::mem::replace(&mut live.stage, Stage::Sending) {
            Stage::Asking(body) => {
                if body.ungranted() > 0 {
                    self.request_room.ask(call, body.ungranted());
                }
                Stage::Receiving(body)
            }
            stage => stage,
        };
        self.lend();
        self.start_if_whole(call);
    }

    fn start_if_whole(&mut self, call: u64) {
        if let Some(live) = self.calls.get_mut(&call)
            && let Stage::Receiving(body) = &mut live.stage
            && body.is_whole()
        {
            let body = body.take();
            live.stage = Stage::Running(body.len());
            self.outputs.push_back(Output::Start { call, body });
        }
    }

    /// Grants bodies the room that they wait for, in their order.
    fn lend(&mut self) {
        while let Some((call, bytes)) = self.request_room.lend() {
            let stage = self.calls.get_mut(&call).map(|live| &mut live.stage);
            let Some(Stage::Receiving(body)) = stage else {
                unreachable!("only a body that is under way waits for room")
            };
            body.grant(bytes);
            let bytes = u32::try_from(bytes).expect("a request has less than 4 GiB");
            self.send(call, Payload::Grant(bytes));
        }
    }

    fn on_chunk(&mut self, call: u64, piece: Bytes) -> Result<(), Fault> {
        let Some(live) = self.calls.get_mut(&call) else {
            return Ok(());
        };
        match &mut live.stage {
            Stage::Asking(body) => body.push(piece)?,
            Stage::Receiving(body) => {
                body.push(piece)?;
                self.start_if_whole(call);
            }
            // The body was whole before.
            Stage::Running(_) | Stage::Sending => return Err(Fault::Length),
        }
        Ok(())
    }

    /// The call's handler, while it runs.
    fn running(&mut self, call: u64) -> Option<&mut Live> {
        self.calls.get_mut(&call).filter(|live| matches!(live.stage, Stage::Running(_)))
    }

    fn on_reply(&mut self, call: u64, reply: Bytes) {
        let Some(live) = self.running(call) else {
            return;
        };
        if live.streaming {
            self.on_item(call, reply);
            return self.on_end(call);
        }
        let room =
            u32::try_from(reply.len()).ok().filter(|_| self.send_room.take(call, reply.len()));
        let Some(length) = room else {
            let message = format!("no room for a reply of {} bytes", reply.len());
            return self.fail(call, CallError::new(Code::Dropped, message));
        };
        self.send(call, Payload::Reply(Ok(Shape::Whole(length))));
        if length == 0 {
            return self.end(call, Ending::Replied);
        }
        let turn = self.outgoing.send_whole(call, Kind::Reply, reply);
        self.handler_done(call, true, Ending::Replied);
        turn.into_iter().for_each(|turn| self.take(turn));
    }

    fn on_item(&mut self, call: u64, item: Bytes) {
        let has_room = self.has_room(call);
        let Some(live) = self.running(call) else {
            return;
        };
        if !live.streaming || !has_room || item.len() > MAX_ITEM {
            let message = format!("no room for an item of {} bytes", item.len());
            return self.fail(call, CallError::new(Code::Dropped, message));
        }
        self.send_head_of_items(call);
        self.outgoing.push(call, item);
        self.pump();
        let has_room = self.has_room(call);
        if let Some(live) = self.calls.get_mut(&call) {
            live.is_full = !has_room;
        }
    }

    fn on_end(&mut self, call: u64) {
        match self.running(call) {
            Some(live) if live.streaming => {
                self.send_head_of_items(call);
                self.outgoing.end(call, None);
                self.handler_done(call, true, Ending::Replied);
            }
            Some(_) => self.fail(call, CallError::new(Code::Dropped, "the handler gave no reply")),
            None => {}
        }
    }

    fn send_head_of_items(&mut self, call: u64) {
        if let Some(live) = self.calls.get_mut(&call)
            && !live.has_head
        {
            live.has_head = true;
            self.send(call, Payload::Reply(Ok(Shape::Items)));
        }
    }

    /// The handler is done, and the rest of its answer is on its way: its request may go.
    fn handler_done(&mut self, call: u64, has_head: bool, ending: Ending) {
        if let Some(live) = self.calls.get_mut(&call) {
            (live.stage, live.has_head, live.ending) = (Stage::Sending, has_head, ending);
            live.is_full = false;
        }
        self.request_room.free(call);
        self.lend();
    }

    /// The driver or the handler answers with an error; items that came before still go out.
    fn fail(&mut self, call: u64, error: CallError) {
        match self.calls.get(&call) {
            Some(Live { stage: Stage::Sending, .. }) | None => {}
            Some(Live { has_head: true, .. }) => {
                self.outgoing.end(call, Some(error));
                self.handler_done(call, true, Ending::Failed);
            }
            Some(_) => {
                self.send(call, Payload::Reply(Err(error)));
                self.end(call, Ending::Failed);
            }
        }
    }

    /// Ends a call, once.
    fn end(&mut self, call: u64, ending: Ending) {
        let Some(live) = self.calls.remove(&call) else {
            return;
        };
        self.deadlines.remove(&(live.deadline, call));
        self.outgoing.remove(call);
        self.request_room.free(call);
        self.send_room.free(call);
        self.outputs.push_back(Output::Ended { call, ending });
        self.lend();
    }

    fn on_timeout(&mut self) {
        while let Some((deadline, call)) = self.deadlines.first().copied()
            && deadline <= self.now
        {
            let has_head = self.calls.get(&call).is_some_and(|live| live.has_head);
            let error = deadline_exceeded();
            self.send(
                call,
                match has_head {
                    true => Payload::End(Some(error)),
                    false => Payload::Reply(Err(error)),
                },
            );
            self.end(call, Ending::DeadlineExceeded);
        }
    }

    fn on_frame(&mut self, Frame { call, payload }: Frame) -> Result<(), Fault> {
        match payload {
            Payload::Request(request) => return self.on_request(call, request),
            Payload::Chunk(_) | Payload::Cancel | Payload::Grant(_) => {}
            _ => return Err(Fault::Direction),
        }
        if call == 0 || call > self.last {
            return Err(Fault::NoCall);
        }
        match payload {
            Payload::Chunk(piece) => self.on_chunk(call, piece)?,
            Payload::Grant(bytes) => self.outgoing.grant(call, bytes)?,
            _ => self.end(call, Ending::Cancelled),
        }
        Ok(())
    }

    fn on_drain(&mut self) {
        if self.drain == Drain::No {
            self.drain = Drain::Asked;
            self.send(0, Payload::GoingAway);
        }
    }

    fn close(&mut self, fault: Option<Fault>) {
        self.is_closed = true;
        self.request_room.clear();
        for call in self.calls.keys().copied().collect::<Vec<_>>() {
            self.end(call, Ending::Lost);
        }
        self.outgoing.clear();
        if let Some(fault) = fault {
            self.outputs.push_back(Output::Close { fault });
        }
    }

    fn take(&mut self, Turn { frame, is_last }: Turn) {
        let call = frame.call;
        self.outputs.push_back(Output::Send(frame));
        let is_roomy = self.outgoing.queued(call) < STREAM_BUFFER / 2;
        let Some(live) = self.calls.get_mut(&call) else { return };
        let ending = live.ending;
        if live.is_full && is_roomy {
            live.is_full = false;
            self.outputs.push_back(Output::Room { call });
        }
        if is_last {
            self.end(call, ending);
        }
    }

    /// Gives the driver what may be sent now.
    fn pump(&mut self) {
        while let Some(turn) = self.outgoing.next() {
            self.take(turn);
        }
        if self.drain == Drain::Asked && self.calls.is_empty() {
            self.drain = Drain::Done;
            self.outputs.push_back(Output::Drained);
        }
    }
}

impl Protocol for Server {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        if self.is_closed {
            return;
        }
        // What comes too late is not sent, even if the timeout comes later still.
        self.on_timeout();
        match input {
            Input::Admit { call } => self.on_admit(call),
            Input::Fail { call, error } => self.fail(call, error),
            Input::Reply { call, reply } => self.on_reply(call, reply),
            Input::Item { call, item } => self.on_item(call, item),
            Input::End { call } => self.on_end(call),
            Input::Received(frame) => {
                if let Err(fault) = self.on_frame(frame) {
                    self.close(Some(fault));
                }
            }
            Input::Broken(error) => self.close(Some(error.into())),
            Input::Drain => self.on_drain(),
            Input::Closed => self.close(None),
            Input::Sent { weight } => self.outgoing.sent(weight),
            Input::Timeout => {}
        }
        if !self.is_closed {
            self.pump();
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}
