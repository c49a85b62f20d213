//! Each end against one that says anything at any time.

use std::collections::BTreeSet;

use aether_mesh::proto::service::frame::{Payload, Request, Shape};

use super::*;

/// A frame that might come from a correct peer, or not at all.
fn lie(run: &mut Run, to_server: bool) -> Frame {
    let piece = |run: &mut Run| -> Bytes { vec![0; 1 + length(run).min(16_383)].into() };
    let payload = match run.draw.below(if run.draw.chance(0.02) { 9 } else { 4 }) {
        0 if to_server => Payload::Request(Request {
            service: "s".into(),
            endpoint: "e".into(),
            remaining: Duration::from_millis(run.draw.number(0..=500)),
            idempotent: false,
            streaming: run.draw.chance(0.5),
            trace: None,
            length: u32::try_from(length(run)).unwrap(),
        }),
        1 if to_server => Payload::Chunk(piece(run)),
        2 if to_server => Payload::Grant(u32::try_from(run.draw.number(1..=100_000)).unwrap()),
        3 if to_server => Payload::Cancel,
        0 => Payload::Reply(Ok(match run.draw.chance(0.5) {
            true => Shape::Items,
            false => Shape::Whole(u32::try_from(length(run)).unwrap()),
        })),
        1 => Payload::Part(piece(run)),
        2 => Payload::Item(piece(run)),
        3 => Payload::Grant(u32::try_from(run.draw.number(1..=100_000)).unwrap()),
        4 => Payload::End(None),
        5 => Payload::End(Some(CallError::new(Code::Application(1), "no"))),
        6 => Payload::Reply(Err(CallError::new(Code::Refused, "no"))),
        7 => Payload::GoingAway,
        _ => Payload::Cancel,
    };
    Frame::new(0, payload)
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
    let (mut now, mut last, mut unsent) = (Time::from_millis(1), 0, 0);
    let (mut open, mut is_closed) = (BTreeSet::new(), false);
    for _ in 0..2000 {
        let pick = open.iter().copied().collect::<Vec<u64>>();
        let some = run.draw.pick(&pick).copied().unwrap_or(last);
        let input = match run.draw.below(20) {
            0 => server::Input::Sent { weight: std::mem::take(&mut unsent) },
            1 => server::Input::Reply { call: some, reply: vec![0; length(&mut run)].into() },
            2 => server::Input::Item { call: some, item: vec![0; length(&mut run)].into() },
            3 => server::Input::End { call: some },
            4 | 5 => server::Input::Admit { call: some },
            6 => {
                now = now + Duration::from_millis(run.draw.number(0..=20));
                server::Input::Timeout
            }
            _ if !server.is_reading() => continue,
            _ => {
                let mut frame = lie(&mut run, true);
                last += u64::from(matches!(frame.payload, Payload::Request(_)));
                let is_new = matches!(frame.payload, Payload::Request(_));
                frame.call = if is_new { last } else { some };
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
        assert!(server.held_bytes() <= bound && unsent < 60_000);
        assert_eq!(server.len(), open.len());
    }
    outcome.sometimes.add("endured", u64::from(!is_closed));
}

fn against_caller(mut run: Run, outcome: &mut RunOutcome) {
    let config = caller_config(&mut run);
    let bound = caller_bound(&config);
    let mut caller = Caller::new(config);
    let (mut now, mut last, mut unsent) = (Time::from_millis(1), 0, 0);
    let (mut open, mut is_closed) = (BTreeSet::new(), false);
    let mut unread = VecDeque::new();
    for _ in 0..2000 {
        let pick = open.iter().copied().collect::<Vec<u64>>();
        let some = run.draw.pick(&pick).copied().unwrap_or(last);
        let input = match run.draw.below(20) {
            0 => caller::Input::Sent { weight: std::mem::take(&mut unsent) },
            1..=3 => {
                last += 1;
                open.insert(last);
                caller::Input::Call { number: last, call: any_call(&mut run, now) }
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
                let mut frame = lie(&mut run, false);
                frame.call = some;
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
        assert!(unsent < 60_000);
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
