//! Two correct ends, their users, and what each may see.

use super::*;

/// What the caller's user knows of a call.
struct Asked {
    streaming: bool,
    body: usize,
    deadline: Time,
    is_cancelled: bool,
    items: usize,
    /// What the reader was given and hasn't taken.
    unread: VecDeque<usize>,
    outcome: Option<Outcome>,
}

/// What the server's user knows of a call.
#[derive(Default)]
struct Served {
    streaming: bool,
    is_started: bool,
    /// Whether the handler has said its last word.
    is_done: bool,
    is_waiting: bool,
    reply: Option<usize>,
    items: Vec<usize>,
    ending: Option<Ending>,
}

pub(super) struct Pair {
    run: Run,
    now: Time,
    /// Whether deadlines are far beyond the run, so that they can't hide that something is stuck.
    is_patient: bool,
    caller: Caller,
    server: Server,
    bounds: (usize, usize),
    to_server: Pipe,
    to_caller: Pipe,
    asked: BTreeMap<u64, Asked>,
    served: BTreeMap<u64, Served>,
    is_lost: bool,
    events: u64,
    trace: Vec<u8>,
    sometimes: Sometimes,
}

impl Pair {
    pub(super) fn new(mut run: Run) -> Self {
        let (calling, serving) = (caller_config(&mut run), server_config());
        Self {
            is_patient: run.draw.chance(0.5),
            run,
            now: Time::from_millis(5000),
            bounds: (caller_bound(&calling), server_bound(&serving)),
            caller: Caller::new(calling),
            server: Server::new(serving),
            to_server: Pipe::default(),
            to_caller: Pipe::default(),
            asked: BTreeMap::new(),
            served: BTreeMap::new(),
            is_lost: false,
            events: 0,
            trace: Vec::new(),
            sometimes: Sometimes::default(),
        }
    }

    pub(super) fn run(mut self) -> RunOutcome {
        for _ in 0..self.run.draw.number(200..=1500) {
            self.step();
        }
        if self.run.draw.chance(0.3) {
            self.serve(server::Input::Drain);
        }
        if self.run.draw.chance(0.2) {
            self.is_lost = true;
            self.sometimes.hit("lost");
            self.call(caller::Input::Closed);
            self.serve(server::Input::Closed);
        }
        self.settle();
        let trace = TRACE.hash(&self.trace);
        RunOutcome { events: self.events, trace, sometimes: self.sometimes }
    }

    fn step(&mut self) {
        match self.run.draw.below(100) {
            0..=5 => self.ask(),
            6 => self.cancel(),
            7..=33 => {
                let handler = self.pick_handler();
                self.handle(handler, false);
            }
            34..=43 => self.read_item(),
            44..=53 => self.write_to_server(),
            54..=63 => self.write_to_caller(),
            64..=77 => self.read_at_server(),
            78..=91 => self.read_at_caller(),
            _ => self.wait(),
        }
    }

    /// No new calls, no more time: all that is under way must come to its end.
    fn settle(&mut self) {
        for _ in 0..20_000 {
            let readers = self.asked.values().filter(|asked| !asked.unread.is_empty()).count();
            if self.caller.is_empty() && self.server.is_empty() && readers == 0 {
                break;
            }
            self.write_to_server();
            self.write_to_caller();
            self.read_at_server();
            self.read_at_caller();
            let open = self.served.iter().filter(|(_, served)| served.ending.is_none());
            for call in open.map(|(call, _)| *call).collect::<Vec<_>>() {
                self.handle(Some(call), true);
            }
            self.read_item();
        }
        assert!(self.caller.is_empty() && self.server.is_empty(), "a call never ends");
        assert!(self.is_lost || self.caller.held_bytes() == 0, "the caller keeps room for nobody");
        assert_eq!(self.server.held_bytes(), 0, "the server keeps room for nobody");
        assert!(self.asked.values().all(|asked| asked.outcome.is_some()), "a call never finished");
        assert!(self.served.values().all(|served| served.ending.is_some()), "a call never ended");
    }

    fn ask(&mut self) {
        let number = self.asked.keys().last().map_or(1, |last| last + self.run.draw.number(1..=2));
        let streaming = self.run.draw.chance(0.4);
        let body = length(&mut self.run);
        let left = if self.is_patient { 3_600_000 } else { self.run.draw.number(0..=300) };
        let asked = Asked {
            streaming,
            body,
            deadline: self.now + Duration::from_millis(left),
            is_cancelled: false,
            items: 0,
            unread: VecDeque::new(),
            outcome: None,
        };
        let call = caller::Call {
            service: "s".into(),
            endpoint: "e".into(),
            deadline: asked.deadline,
            idempotent: false,
            streaming,
            trace: None,
            body: content(number, 0, body),
        };
        self.asked.insert(number, asked);
        self.call(caller::Input::Call { number, call });
    }

    fn cancel(&mut self) {
        let open: Vec<u64> = self
            .asked
            .iter()
            .filter(|(_, asked)| asked.outcome.is_none() || !asked.unread.is_empty())
            .map(|(call, _)| *call)
            .collect();
        if let Some(call) = self.run.draw.pick(&open).copied() {
            let asked = self.asked.get_mut(&call).expect("it was asked");
            asked.is_cancelled = true;
            asked.unread.clear();
            self.call(caller::Input::Cancel { call });
            assert!(self.asked[&call].outcome.is_some(), "a cancellation ends the call at once");
        }
    }

    fn pick_handler(&mut self) -> Option<u64> {
        let open = self.served.iter().filter(|(_, served)| served.ending.is_none());
        let open: Vec<u64> = open.map(|(call, _)| *call).collect();
        self.run.draw.pick(&open).copied()
    }

    /// A handler does something; in a hurry it ends.
    fn handle(&mut self, call: Option<u64>, hurry: bool) {
        let Some(call) = call else { return };
        let served = self.served.get_mut(&call).expect("it arrived");
        if !served.is_started || served.is_done || served.is_waiting {
            return;
        }
        let ends = hurry || self.run.draw.chance(0.15);
        if self.run.draw.chance(0.05) {
            served.is_done = true;
            let error = CallError::new(Code::Application(7), "no");
            return self.serve(server::Input::Fail { call, error });
        }
        if !served.streaming {
            let len = length(&mut self.run);
            served.is_done = true;
            served.reply = Some(len);
            return self.serve(server::Input::Reply { call, reply: content(call, 1, len) });
        }
        if ends {
            served.is_done = true;
            return self.serve(server::Input::End { call });
        }
        let len = length(&mut self.run).min(64 * 1024);
        let item = content(call, 2 + served.items.len(), len);
        served.items.push(len);
        self.serve(server::Input::Item { call, item });
        let served = self.served.get_mut(&call).expect("it arrived");
        if served.ending.is_none() && !self.server.has_room(call) {
            served.is_waiting = true;
            self.sometimes.hit("the handler waited");
        }
    }

    fn read_item(&mut self) {
        let readers = self.asked.iter().filter(|(_, asked)| !asked.unread.is_empty());
        let readers: Vec<u64> = readers.map(|(call, _)| *call).collect();
        if let Some(call) = self.run.draw.pick(&readers).copied() {
            let credit = self
                .asked
                .get_mut(&call)
                .expect("it was asked")
                .unread
                .pop_front()
                .expect("it reads");
            self.call(caller::Input::Consumed { call, credit });
        }
    }

    fn write_to_server(&mut self) {
        let weight = self.to_server.write(self.run.draw.below(6));
        self.call(caller::Input::Sent { weight });
    }

    fn write_to_caller(&mut self) {
        let weight = self.to_caller.write(self.run.draw.below(6));
        self.serve(server::Input::Sent { weight });
    }

    fn read_at_server(&mut self) {
        if !self.server.is_reading() {
            return;
        }
        let bytes = self.run.draw.below(30_000);
        if let Some(frame) = self.to_server.read(bytes) {
            self.serve(server::Input::Received(frame));
        }
    }

    fn read_at_caller(&mut self) {
        let bytes = self.run.draw.below(30_000);
        if let Some(frame) = self.to_caller.read(bytes) {
            self.call(caller::Input::Received(frame));
        }
    }

    /// Time passes, and the timers may be late.
    fn wait(&mut self) {
        self.now = self.now + Duration::from_micros(self.run.draw.number(0..=8000));
        if self.run.draw.chance(0.8) {
            self.call(caller::Input::Timeout);
        }
        if self.run.draw.chance(0.8) {
            self.serve(server::Input::Timeout);
        }
    }

    fn call(&mut self, input: caller::Input) {
        self.caller.handle(self.now, input);
        while let Some(output) = self.caller.poll_output() {
            self.note(&format!("{output:?}"));
            match output {
                caller::Output::Send(frame) => self.to_server.unsent.push_back(frame),
                caller::Output::Item { call, item, credit } => self.on_item(call, &item, credit),
                caller::Output::Finished { call, outcome } => self.on_finished(call, outcome),
                caller::Output::GoingAway => assert!(!self.caller.is_open()),
                caller::Output::Close { fault } => panic!("the server is blamed for {fault}"),
            }
        }
        assert!(self.caller.held_bytes() <= self.bounds.0, "{}", self.caller.held_bytes());
        assert!(self.to_server.unsent_weight() < 100_000, "{}", self.to_server.unsent_weight());
    }

    fn on_item(&mut self, call: u64, item: &Bytes, credit: usize) {
        let asked = self.asked.get_mut(&call).expect("an item of a call that was made");
        assert!(asked.streaming && asked.outcome.is_none() && !asked.is_cancelled);
        assert!(self.now < asked.deadline, "an item after the deadline");
        assert_eq!(*item, content(call, 2 + asked.items, self.served[&call].items[asked.items]));
        asked.items += 1;
        asked.unread.push_back(credit);
        self.sometimes.hit("an item");
        if item.len() > 20_000 {
            self.sometimes.hit("a large item");
        }
    }

    fn on_finished(&mut self, call: u64, outcome: Outcome) {
        let asked = self.asked.get_mut(&call).expect("a call that was made");
        assert_eq!(asked.outcome, None, "call {call} finished twice");
        asked.outcome = Some(outcome.clone());
        let served = self.served.get(&call);
        let is_started = served.is_some_and(|served| served.is_started);
        assert!(outcome.may_have_started() || !is_started, "{outcome:?} after the start");
        let name = match &outcome {
            Outcome::Reply(reply) => {
                let len = served.and_then(|served| served.reply).expect("a handler replied");
                assert_eq!(*reply, content(call, 1, len));
                assert!(!asked.streaming && self.now < asked.deadline);
                if len > FREE_CREDIT { "a large reply" } else { "a reply" }
            }
            Outcome::Ended => {
                let served = served.expect("the call arrived");
                assert!(served.is_done);
                assert_eq!(served.items.len(), asked.items, "items are missing");
                "a stream ended"
            }
            Outcome::Failed(error) => match error.code {
                Code::Cancelled => {
                    assert!(asked.is_cancelled);
                    "cancelled"
                }
                Code::DeadlineExceeded => {
                    assert!(self.now + Duration::from_millis(1) >= asked.deadline);
                    "deadline"
                }
                Code::Application(7) if asked.items > 0 => "a stream failed midway",
                Code::Application(7) => "failed",
                Code::Overloaded => "overloaded",
                Code::Malformed => {
                    assert!(asked.body > 90_000);
                    "too large"
                }
                Code::Dropped => "dropped",
                other => panic!("nobody said {other}"),
            },
            Outcome::Lost => {
                assert!(self.is_lost);
                "lost calls"
            }
            Outcome::Unsent(_) => {
                assert!(served.is_none());
                "not sent"
            }
        };
        self.sometimes.hit(name);
    }

    fn serve(&mut self, input: server::Input) {
        self.server.handle(self.now, input);
        let mut arrived = Vec::new();
        while let Some(output) = self.server.poll_output() {
            self.note(&format!("{output:?}"));
            match output {
                server::Output::Send(frame) => self.to_caller.unsent.push_back(frame),
                server::Output::Arrived { call, request, deadline } => {
                    let asked = &self.asked[&call];
                    assert_eq!((asked.streaming, asked.body), {
                        (request.streaming, request.length as usize)
                    });
                    assert!(deadline > self.now || request.remaining == Duration::ZERO);
                    let served = Served { streaming: request.streaming, ..Served::default() };
                    assert!(self.served.insert(call, served).is_none(), "arrived twice");
                    arrived.push(call);
                }
                server::Output::Start { call, body } => self.on_start(call, &body),
                server::Output::Room { call } => {
                    let served = self.served.get_mut(&call).expect("it arrived");
                    assert!(served.is_waiting && served.ending.is_none());
                    served.is_waiting = false;
                }
                server::Output::Ended { call, ending } => self.on_ended(call, ending),
                server::Output::Drained => {
                    assert!(self.server.is_empty());
                    self.sometimes.hit("drained");
                }
                server::Output::Close { fault } => panic!("the caller is blamed for {fault}"),
            }
        }
        assert!(self.server.held_bytes() <= self.bounds.1, "{}", self.server.held_bytes());
        assert!(self.to_caller.unsent_weight() < 100_000, "{}", self.to_caller.unsent_weight());
        for call in arrived {
            if self.run.draw.chance(0.9) {
                self.serve(server::Input::Admit { call });
            } else {
                let error = CallError::new(Code::Overloaded, "the node is busy");
                self.serve(server::Input::Fail { call, error });
            }
        }
    }

    fn on_start(&mut self, call: u64, body: &Bytes) {
        let served = self.served.get_mut(&call).expect("it arrived before");
        assert!(!served.is_started && served.ending.is_none());
        served.is_started = true;
        assert_eq!(*body, content(call, 0, self.asked[&call].body));
        if body.len() > FREE_CREDIT {
            self.sometimes.hit("a large request");
        }
    }

    fn on_ended(&mut self, call: u64, ending: Ending) {
        let served = self.served.get_mut(&call).expect("it arrived before");
        assert_eq!(served.ending, None, "call {call} ended twice");
        served.ending = Some(ending);
        match ending {
            Ending::Cancelled => self.sometimes.hit("cancelled at the server"),
            Ending::DeadlineExceeded => self.sometimes.hit("deadline at the server"),
            Ending::Replied => assert!(served.is_done),
            Ending::Failed => {}
            Ending::Lost => assert!(self.is_lost),
        }
    }

    fn note(&mut self, output: &str) {
        self.events += 1;
        self.trace.extend_from_slice(TRACE.hash(output.as_bytes()).as_bytes());
    }
}
