//! The end that calls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aether_core::{Protocol, Time};
use bytes::Bytes;

use super::{
    FREE_CREDIT, Fault, STREAM_CREDIT, deadline_exceeded,
    outgoing::{Kind, Outgoing},
    room::{Assembly, Room},
};
use crate::proto::service::frame::{CallError, Code, Frame, Payload, Request, Shape};

mod items;
mod types;

use items::Items;
pub use types::{Call, Config, Input, Outcome, Output, Unsent};

/// See the [module](self) and the rules of [sessions](super).
#[derive(Debug)]
pub struct Caller {
    config: Config,
    now: Time,
    last: u64,
    calls: BTreeMap<u64, Live>,
    deadlines: BTreeSet<(Time, u64)>,
    /// Streams that have ended with items unread: what the reader still owes.
    unread: BTreeMap<u64, usize>,
    outgoing: Outgoing,
    reply_room: Room,
    stream_room: Room,
    is_going_away: bool,
    is_closed: bool,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Live {
    deadline: Time,
    reply: Reply,
}

#[derive(Debug)]
enum Reply {
    /// The head hasn't come.
    Awaited {
        streaming: bool,
    },
    Whole(Assembly),
    Items(Items),
}

impl Caller {
    /// A caller on a new stream.
    ///
    /// # Panics
    /// If the rooms of `config` don't hold one largest reply and one stream, one of these takes
    /// 4 GiB or more, or `max_unsent` is below its least.
    pub fn new(config: Config) -> Self {
        let largest = config.max_request.max(config.max_reply).max(config.stream_window);
        assert!(u32::try_from(largest).is_ok(), "lengths and grants have 32 bits");
        assert!(config.reply_room >= config.max_reply, "the room holds the largest reply");
        assert!(config.stream_window >= STREAM_CREDIT, "a window holds the largest item");
        assert!(config.stream_room >= config.stream_window, "the room holds a stream");
        let outgoing = Outgoing::new(config.max_unsent);
        let (reply_room, stream_room) =
            (Room::new(config.reply_room), Room::new(config.stream_room));
        Self {
            config,
            now: Time::ZERO,
            last: 0,
            calls: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            unread: BTreeMap::new(),
            outgoing,
            reply_room,
            stream_room,
            is_going_away: false,
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

    /// Whether a call would be sent, as far as the session knows: it isn't full, gone or going.
    pub fn is_open(&self) -> bool {
        self.unsendable().is_none()
    }

    /// Bytes that the session has received and not given away, or keeps room for.
    pub fn held_bytes(&self) -> usize {
        let held = |live: &Live| match &live.reply {
            Reply::Whole(assembly) => assembly.received().min(FREE_CREDIT),
            Reply::Awaited { .. } | Reply::Items(_) => 0,
        };
        let free: usize = self.calls.values().map(held).sum();
        free + self.reply_room.used() + self.stream_room.used()
    }

    fn unsendable(&self) -> Option<Unsent> {
        if self.is_closed {
            Some(Unsent::Closed)
        } else if self.is_going_away {
            Some(Unsent::GoingAway)
        } else if self.calls.len() >= self.config.max_calls || self.outgoing.is_clogged() {
            Some(Unsent::Full)
        } else {
            None
        }
    }

    fn send(&mut self, call: u64, payload: Payload) {
        let frame = Frame::new(call, payload);
        self.outgoing.note(&frame);
        self.outputs.push_back(Output::Send(frame));
    }

    fn on_call(&mut self, number: u64, call: Call) {
        assert!(number > self.last, "the driver numbers calls upwards");
        self.last = number;
        let remaining = call.deadline.since(self.now);
        let Call { service, endpoint, deadline, idempotent, streaming, trace, body } = call;
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let request =
            Request { service, endpoint, remaining, idempotent, streaming, trace, length };
        let outcome = if let Some(reason) = self.unsendable() {
            Outcome::Unsent(reason)
        } else if !request.has_valid_names() {
            Outcome::Unsent(Unsent::Name)
        } else if body.len() > self.config.max_request {
            Outcome::Unsent(Unsent::TooLarge)
        } else if remaining.as_millis() == 0 {
            Outcome::Failed(deadline_exceeded())
        } else if streaming && !self.stream_room.take(number, self.config.stream_window) {
            Outcome::Unsent(Unsent::Full)
        } else {
            return self.make(number, request, deadline, body);
        };
        self.outputs.push_back(Output::Finished { call: number, outcome });
    }

    fn make(&mut self, call: u64, request: Request, deadline: Time, body: Bytes) {
        let reply = Reply::Awaited { streaming: request.streaming };
        self.calls.insert(call, Live { deadline, reply });
        self.deadlines.insert((deadline, call));
        let extra = match request.streaming {
            true => self.config.stream_window - STREAM_CREDIT,
            false => 0,
        };
        self.send(call, Payload::Request(request));
        self.send_grant(call, extra);
        if !body.is_empty() {
            let turn = self.outgoing.send_whole(call, Kind::Body, body);
            self.outputs.extend(turn.map(|turn| Output::Send(turn.frame)));
        }
    }

    fn send_grant(&mut self, call: u64, bytes: usize) {
        if bytes > 0 {
            let bytes = u32::try_from(bytes).expect("a window and a reply fit 32 bits");
            self.send(call, Payload::Grant(bytes));
        }
    }

    /// Ends a call, once. What the reader hasn't taken of its items keeps its room.
    fn finish(&mut self, call: u64, outcome: Outcome) {
        let Some(live) = self.calls.remove(&call) else {
            return;
        };
        self.deadlines.remove(&(live.deadline, call));
        self.outgoing.remove(call);
        self.reply_room.free(call);
        match live.reply {
            Reply::Items(items) if items.unread() > 0 => {
                self.unread.insert(call, items.unread());
            }
            _ => self.stream_room.free(call),
        }
        self.outputs.push_back(Output::Finished { call, outcome });
        self.lend();
    }

    /// Ends a call that the server doesn't know to be over.
    fn abandon(&mut self, call: u64, error: CallError) {
        self.send(call, Payload::Cancel);
        self.finish(call, Outcome::Failed(error));
    }

    fn on_cancel(&mut self, call: u64) {
        if self.calls.contains_key(&call) {
            self.abandon(call, CallError::new(Code::Cancelled, "the caller cancelled"));
        }
        if self.unread.remove(&call).is_some() {
            self.stream_room.free(call);
        }
    }

    fn on_consumed(&mut self, call: u64, credit: usize) {
        if let Some(Live { reply: Reply::Items(items), .. }) = self.calls.get_mut(&call) {
            let grant = items.consume(credit);
            self.send_grant(call, grant);
        } else if let Some(unread) = self.unread.get_mut(&call) {
            *unread = unread.saturating_sub(credit);
            if *unread == 0 {
                self.unread.remove(&call);
                self.stream_room.free(call);
            }
        }
    }

    /// Grants whole replies the room that they wait for, in their order.
    fn lend(&mut self) {
        while let Some((call, bytes)) = self.reply_room.lend() {
            let reply = self.calls.get_mut(&call).map(|live| &mut live.reply);
            let Some(Reply::Whole(assembly)) = reply else {
                unreachable!("only a reply that is under way waits for room")
            };
            assembly.grant(bytes);
            self.send_grant(call, bytes);
        }
    }

    fn on_frame(&mut self, Frame { call, payload }: Frame) -> Result<(), Fault> {
        match payload {
            Payload::GoingAway => {
                if !self.is_going_away {
                    self.is_going_away = true;
                    self.outputs.push_back(Output::GoingAway);
                }
                return Ok(());
            }
            Payload::Request(_) | Payload::Chunk(_) | Payload::Cancel => {
                return Err(Fault::Direction);
            }
            _ if call == 0 || call > self.last => return Err(Fault::NoCall),
            _ => {}
        }
        let Some(live) = self.calls.get_mut(&call) else {
            return Ok(());
        };
        match (payload, &mut live.reply) {
            (Payload::Grant(bytes), _) => self.outgoing.grant(call, bytes)?,
            (Payload::Reply(Err(error)), Reply::Awaited { .. }) => {
                self.finish(call, Outcome::Failed(error));
            }
            (Payload::Reply(Ok(shape)), Reply::Awaited { streaming }) => {
                let streaming = *streaming;
                self.on_head(call, shape, streaming)?;
            }
            (Payload::Part(piece), Reply::Whole(assembly)) => {
                assembly.push(piece)?;
                if assembly.is_whole() {
                    let reply = assembly.take();
                    self.finish(call, Outcome::Reply(reply));
                }
            }
            (Payload::Part(piece), Reply::Items(items)) => items.part(piece)?,
            (Payload::Item(piece), Reply::Items(items)) => {
                let (item, credit) = items.item(piece)?;
                self.outputs.push_back(Output::Item { call, item, credit });
            }
            (Payload::End(None), Reply::Items(items)) if !items.is_amid() => {
                self.finish(call, Outcome::Ended);
            }
            (Payload::End(Some(error)), Reply::Items(_) | Reply::Whole(_)) => {
                self.finish(call, Outcome::Failed(error));
            }
            _ => return Err(Fault::Sequence),
        }
        Ok(())
    }

    fn on_head(&mut self, call: u64, shape: Shape, streaming: bool) -> Result<(), Fault> {
        let reply = match shape {
            Shape::Items if streaming => Reply::Items(Items::new(self.config.stream_window)),
            Shape::Whole(length) if !streaming => {
                let length = length as usize;
                if length > self.config.max_reply {
                    let message = format!("a reply of {length} bytes is too large for its caller");
                    self.abandon(call, CallError::new(Code::Dropped, message));
                    return Ok(());
                }
                if length == 0 {
                    self.finish(call, Outcome::Reply(Bytes::new()));
                    return Ok(());
                }
                let assembly = Assembly::new(length);
                if assembly.ungranted() > 0 {
                    self.reply_room.ask(call, assembly.ungranted());
                }
                Reply::Whole(assembly)
            }
            Shape::Items | Shape::Whole(_) => return Err(Fault::Sequence),
        };
        if let Some(live) = self.calls.get_mut(&call) {
            live.reply = reply;
        }
        self.lend();
        Ok(())
    }

    fn on_timeout(&mut self) {
        while let Some((deadline, call)) = self.deadlines.first().copied()
            && deadline <= self.now
        {
            self.abandon(call, deadline_exceeded());
        }
    }

    fn close(&mut self, fault: Option<Fault>) {
        self.is_closed = true;
        self.reply_room.clear();
        for call in self.calls.keys().copied().collect::<Vec<_>>() {
            self.finish(call, Outcome::Lost);
        }
        self.outgoing.clear();
        if let Some(fault) = fault {
            self.outputs.push_back(Output::Close { fault });
        }
    }
}

impl Protocol for Caller {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Call { number, call } => self.on_call(number, call),
            Input::Cancel { call } => self.on_cancel(call),
            Input::Consumed { call, credit } => self.on_consumed(call, credit),
            Input::Sent { weight } => self.outgoing.sent(weight),
            _ if self.is_closed => {}
            Input::Received(frame) => {
                // What comes too late is not delivered, even if the timeout comes later still.
                self.on_timeout();
                if let Err(fault) = self.on_frame(frame) {
                    self.close(Some(fault));
                }
            }
            Input::Broken(error) => self.close(Some(error.into())),
            Input::Closed => self.close(None),
            Input::Timeout => self.on_timeout(),
        }
        while let Some(turn) = self.outgoing.next() {
            self.outputs.push_back(Output::Send(turn.frame));
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}
