//! Each end against one that says anything at any time.

use std::collections::BTreeSet;

use aether_mesh::proto::service::frame::{Payload, Request, Shape};

use super::*;

/// An end that mostly says what a correct one could, and sometimes whatever comes to mind.
struct Liar {
    malice: f64,
    /// Whether it takes nothing that it is sent.
    is_deaf: bool,
    last: u64,
    /// What it may still say of a call.
    said: BTreeMap<u64, Said>,
}

struct Said {
    streaming: bool,
    has_head: bool,
    left: usize,
}

impl Liar {
    fn new(run: &mut Run) -> Self {
        let malice = [0.0, 0.002, 0.05][run.draw.below(3)];
        Self { malice, is_deaf: run.draw.chance(0.3), last: 0, said: BTreeMap::new() }
    }

    fn any(&self, run: &mut Run) -> u64 {
        let calls: Vec<u64> = self.said.keys().copied().collect();
        run.draw.pick(&calls).copied().unwrap_or(self.last)
    }

    fn as_caller(&mut self, run: &mut Run) -> Option<Frame> {
        let call = self.any(run);
        if run.draw.chance(self.malice) {
            return Some(Frame::new(call, lie(run, true)));
        }
        let payload = match run.draw.below(8) {
            0 | 1 => {
                self.last += 1;
                let left = length(run);
                self.said.insert(self.last, Said { streaming: false, has_head: true, left });
                let length = left as u32;
                return Some(Frame::new(self.last, Payload::Request(request(run, length))));
            }
            2 => Payload::Cancel,
            3 => grant(run),
            _ => {
                let said = self.said.get_mut(&call)?;
                let piece = piece(run, said.left.min(FREE_CREDIT))?;
                said.left -= piece.len();
                // It doesn't wait for a grant, but says no more than it may.
                said.left -= said.left.saturating_sub(FREE_CREDIT - piece.len());
                Payload::Chunk(piece)
            }
        };
        Some(Frame::new(call, payload))
    }

    fn as_server(&mut self, run: &mut Run) -> Option<Frame> {
        let call = self.any(run);
        if run.draw.chance(self.malice) {
            return Some(Frame::new(call, lie(run, false)));
        }
        let said = self.said.get_mut(&call)?;
        let payload = if !said.has_head {
            said.has_head = true;
            said.left = if said.streaming { 90_000 } else { run.draw.below(FREE_CREDIT) };
            Payload::Reply(Ok(match said.streaming {
                true => Shape::Items,
                false => Shape::Whole(said.left as u32),
            }))
        } else if run.draw.chance(0.2) {
            grant(run)
        } else if !said.streaming {
            let piece = piece(run, said.left)?;
            said.left -= piece.len();
            Payload::Part(piece)
        } else if run.draw.chance(0.1) {
            self.said.remove(&call);
            Payload::End(None)
        } else {
            let piece = piece(run, said.left.saturating_sub(64))?;
            said.left -= piece.len() + 64;
            Payload::Item(piece)
        };
        Some(Frame::new(call, payload))
    }
}

fn piece(run: &mut Run, most: usize) -> Option<Bytes> {
    let most = most.min(16 * 1024);
    (most > 0).then(|| vec![0; 1 + run.draw.below(most)].into())
}

fn grant(run: &mut Run) -> Payload {
    Payload::Grant(run.draw.number(1..=100_000) as u32)
}

fn request(run: &mut Run, length: u32) -> Request {
    Request {
        service: "s".into(),
        endpoint: "e".into(),
        remaining: Duration::from_millis(run.draw.number(0..=500)),
        idempotent: false,
        streaming: run.draw.chance(0.5),
        trace: None,
        length,
    }
}

fn lie(run: &mut Run, to_server: bool) -> Payload {
    let some = length(run) as u32;
    match run.draw.below(10) {
        0 if to_server => Payload::Request(request(run, some)),
        0 | 1 => Payload::Reply(Ok(Shape::Whole(some))),
        2 => Payload::Reply(Ok(Shape::Items)),
        3 => Payload::Reply(Err(CallError::new(Code::Refused, "no"))),
        4 => Payload::Part(vec![0; 16_384].into()),
        5 => Payload::Item(vec![0; 16_384].into()),
        6 => Payload::End(None),
        7 => Payload::End(Some(CallError::new(Code::Application(1), "no"))),
        8 => Payload::GoingAway,
        _ => Payload::Chunk(vec![0; 16_384].into()),
    }
}

pub(super) fn run(run: Run) -> RunOutcome {
    let mut outcome =
        RunOutcome { events: 0, trace: TRACE.hash(b""), sometimes: Sometimes::default() };
    if run.seed.is_multiple_of(2) {
        against_server(run, &mut outcome);
    } else {
        against_caller(run, &mut outcome);
    }
    outcome
}

fn note(outcome: &mut RunOutcome, output: &str) {
    outcome.events += 1;
    let bytes = [outcome.trace.as_ref(), output.as_bytes()].concat();
    outcome.trace = TRACE.hash(&bytes);
}

fn against_server(mut run: Run, outcome: &mut RunOutcome) {
    let (mut server, bound) = (Server::new(server_config()), server_bound(&server_config()));
    let mut liar = Liar::new(&mut run);
    let (mut now, mut unsent) = (Time::from_millis(1), 0);
    let (mut open, mut is_closed) = (BTreeSet::new(), false);
    for _ in 0..2000 {
        let pick = open.iter().copied().collect::<Vec<u64>>();
        let some = run.draw.pick(&pick).copied().unwrap_or(0);
        let input = match run.draw.below(20) {
            0 if liar.is_deaf => continue,
            0 => server::Input::Sent { weight: std::mem::take(&mut unsent) },
            1 => server::Input::Reply { call: some, reply: vec![0; length(&mut run)].into() },
            2 => server::Input::Item { call: some, item: vec![0; length(&mut run)].into() },
            3 => server::Input::End { call: some },
            4 | 5 => server::Input::Admit { call: some },
            6 => {
                now = now + Duration::from_millis(run.draw.number(0..=20));
                server::Input::Timeout
            }
            _ if !server.is_reading() => {
                outcome.sometimes.hit("wasn't read");
                continue;
            }
            _ => {
                let Some(frame) = liar.as_caller(&mut run) else { continue };
                server::Input::Received(frame)
            }
        };
        server.handle(now, input);
        while let Some(output) = server.poll_output() {
            assert!(!is_closed, "nothing follows the end of the session");
            note(outcome, &format!("{output:?}"));
            match output {
                server::Output::Send(frame) => unsent += frame.weight(),
                server::Output::Arrived { call, .. } => assert!(open.insert(call)),
                server::Output::Start { call, .. } => {
                    assert!(open.contains(&call));
                    outcome.sometimes.hit("a call began");
                }
                server::Output::Ended { call, .. } => assert!(open.remove(&call), "ended twice"),
                server::Output::Close { .. } => {
                    is_closed = true;
                    outcome.sometimes.hit("blamed");
                }
                server::Output::Room { .. } | server::Output::Drained => {}
            }
        }
        assert!(server.held_bytes() <= bound && unsent < 100_000);
        assert_eq!(server.len(), open.len());
    }
    outcome.sometimes.add("endured", u64::from(!is_closed));
}

fn against_caller(mut run: Run, outcome: &mut RunOutcome) {
    let config = caller_config(&mut run);
    let bound = caller_bound(&config);
    let mut caller = Caller::new(config);
    let mut liar = Liar::new(&mut run);
    let (mut now, mut unsent) = (Time::from_millis(1), 0);
    let (mut open, mut is_closed) = (BTreeSet::new(), false);
    let mut unread = VecDeque::new();
    for _ in 0..2000 {
        let pick = open.iter().copied().collect::<Vec<u64>>();
        let some = run.draw.pick(&pick).copied().unwrap_or(0);
        let input = match run.draw.below(20) {
            0 if liar.is_deaf => continue,
            0 => caller::Input::Sent { weight: std::mem::take(&mut unsent) },
            1..=3 => {
                liar.last += 1;
                let call = any_call(&mut run, now);
                let said = Said { streaming: call.streaming, has_head: false, left: 0 };
                liar.said.insert(liar.last, said);
                open.insert(liar.last);
                caller::Input::Call { number: liar.last, call }
            }
            4 => caller::Input::Cancel { call: some },
            5 | 6 => match unread.pop_front() {
                Some((call, credit)) => caller::Input::Consumed { call, credit },
                None => continue,
            },
            7 => {
                now = now + Duration::from_millis(run.draw.number(0..=20));
                caller::Input::Timeout
            }
            _ => {
                let Some(frame) = liar.as_server(&mut run) else { continue };
                caller::Input::Received(frame)
            }
        };
        caller.handle(now, input);
        while let Some(output) = caller.poll_output() {
            note(outcome, &format!("{output:?}"));
            match output {
                caller::Output::Send(frame) => unsent += frame.weight(),
                caller::Output::Item { call, credit, .. } => {
                    assert!(open.contains(&call) && !is_closed, "an item after the end");
                    unread.push_back((call, credit));
                    outcome.sometimes.hit("an item");
                }
                caller::Output::Finished { call, outcome: end } => {
                    assert!(open.remove(&call), "finished twice");
                    let is_reply = matches!(end, Outcome::Reply(_));
                    outcome.sometimes.add("a reply", u64::from(is_reply));
                }
                caller::Output::GoingAway => {}
                caller::Output::Close { .. } => {
                    assert!(!is_closed, "closed twice");
                    is_closed = true;
                    outcome.sometimes.hit("blamed");
                }
            }
        }
        assert!(is_closed || caller.held_bytes() <= bound);
        assert!(unsent < 100_000);
        assert_eq!(caller.len(), open.len());
    }
    outcome.sometimes.add("endured", u64::from(!is_closed));
}

fn any_call(run: &mut Run, now: Time) -> caller::Call {
    caller::Call {
        service: "s".into(),
        endpoint: "e".into(),
        deadline: now + Duration::from_millis(run.draw.number(0..=500)),
        idempotent: false,
        streaming: run.draw.chance(0.5),
        trace: None,
        body: vec![0; length(run)].into(),
    }
}
