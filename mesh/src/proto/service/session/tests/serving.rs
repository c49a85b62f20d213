//! One test or more for each rule, at the server.

use super::*;
use crate::proto::service::{
    frame::MAX_CHUNK,
    session::server::{Config, Ending, Input, Output},
};

fn small() -> Config {
    Config {
        max_calls: 4,
        max_request: 100_000,
        request_room: 100_000,
        send_room: 300_000,
        ..Config::default()
    }
}

fn request(streaming: bool, length: u32) -> Request {
    Request {
        service: "greeter".into(),
        endpoint: "hello".into(),
        remaining: Duration::from_secs(10),
        idempotent: false,
        streaming,
        trace: None,
        length,
    }
}

impl End<Server> {
    fn small() -> Self {
        Self::new(Server::new(small()))
    }

    fn handle(&mut self, input: Input) -> (Vec<Frame>, Vec<Output>) {
        self.protocol.handle(self.now, input);
        let (mut frames, mut others) = self.drain();
        let mut written = 0;
        while self.writes && written < frames.len() {
            let weight = frames[written..].iter().map(Frame::weight).sum();
            written = frames.len();
            self.protocol.handle(self.now, Input::Sent { weight });
            let (more, rest) = self.drain();
            frames.extend(more);
            others.extend(rest);
        }
        (frames, others)
    }

    fn drain(&mut self) -> (Vec<Frame>, Vec<Output>) {
        let outputs = std::iter::from_fn(|| self.protocol.poll_output()).collect();
        split(outputs, |output| match output {
            Output::Send(frame) => Some(frame.clone()),
            _ => None,
        })
    }

    fn gets(&mut self, call: u64, payload: Payload) -> (Vec<Frame>, Vec<Output>) {
        self.handle(Input::Received(Frame::new(call, payload)))
    }

    /// A call whose handler runs.
    fn running(&mut self, call: u64, streaming: bool) {
        let (_, others) = self.gets(call, Payload::Request(request(streaming, 0)));
        assert!(matches!(others[..], [Output::Arrived { .. }]), "{others:?}");
        let (_, others) = self.handle(Input::Admit { call });
        assert_eq!(others, [Output::Start { call, body: Bytes::new() }]);
    }

    /// A call whose body may come.
    fn receiving(&mut self, call: u64, length: u32) -> Vec<Frame> {
        let (_, others) = self.gets(call, Payload::Request(request(false, length)));
        assert!(matches!(others[..], [Output::Arrived { .. }]), "{others:?}");
        self.handle(Input::Admit { call }).0
    }

    fn item(&mut self, call: u64, len: usize) -> (Vec<Frame>, Vec<Output>) {
        self.handle(Input::Item { call, item: zeros(len) })
    }
}

fn ended(call: u64, ending: Ending) -> Vec<Output> {
    vec![Output::Ended { call, ending }]
}

fn closed(fault: Fault, lost: &[u64]) -> Vec<Output> {
    let lost = lost.iter().flat_map(|call| ended(*call, Ending::Lost));
    lost.chain([Output::Close { fault }]).collect()
}

/// The code of the one frame, which is a failed reply.
fn refusal(frames: &[Frame]) -> Code {
    match frames {
        [Frame { payload: Payload::Reply(Err(error)), .. }] => error.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_is_admitted_received_run_and_answered() {
    let mut end = End::small();
    let (frames, others) = end.gets(1, Payload::Request(request(false, 5)));
    let deadline = START + Duration::from_secs(10);
    assert_eq!(frames, []);
    assert_eq!(others, [Output::Arrived { call: 1, request: request(false, 5), deadline }]);
    assert_eq!(end.gets(1, Payload::Chunk(Bytes::from_static(b"he"))), (vec![], vec![]));
    assert_eq!(end.handle(Input::Admit { call: 1 }), (vec![], vec![]));
    let (_, others) = end.gets(1, Payload::Chunk(Bytes::from_static(b"llo")));
    assert_eq!(others, [Output::Start { call: 1, body: Bytes::from_static(b"hello") }]);
    let (frames, others) = end.handle(Input::Reply { call: 1, reply: zeros(20_000) });
    let whole = Payload::Reply(Ok(Shape::Whole(20_000)));
    let rest = Payload::Part(zeros(20_000 - MAX_CHUNK));
    assert_eq!(payloads(frames), [whole, Payload::Part(zeros(MAX_CHUNK)), rest]);
    assert_eq!(others, ended(1, Ending::Replied));
    assert_eq!((end.protocol.held_bytes(), end.protocol.poll_timeout()), (0, None));
}

#[test]
fn a_whole_body_that_came_before_the_admission_starts_with_it() {
    let mut end = End::small();
    end.gets(1, Payload::Request(request(false, 1)));
    assert_eq!(end.gets(1, Payload::Chunk(zeros(1))), (vec![], vec![]));
    let (_, others) = end.handle(Input::Admit { call: 1 });
    assert_eq!(others, [Output::Start { call: 1, body: zeros(1) }]);
    assert_eq!(end.handle(Input::Admit { call: 1 }), (vec![], vec![]), "once");
}

/// Rule 1.
#[test]
fn numbers_ascend() {
    for (first, second) in [(5, 5), (5, 4), (5, 0)] {
        let mut end = End::small();
        end.gets(first, Payload::Request(request(false, 0)));
        let (_, others) = end.gets(second, Payload::Request(request(false, 0)));
        assert_eq!(others, closed(Fault::Number, &[5]));
    }
    // Also when the first is long over.
    let mut end = End::small();
    end.running(5, false);
    end.gets(5, Payload::Cancel);
    let (_, others) = end.gets(5, Payload::Request(request(false, 0)));
    assert_eq!(others, closed(Fault::Number, &[]));
}

/// Rule 1.
#[test]
fn frames_about_ended_calls_are_ignored_and_about_future_ones_are_faults() {
    for payload in [Payload::Chunk(zeros(1)), Payload::Cancel, Payload::Grant(1)] {
        let mut end = End::small();
        end.running(3, false);
        end.gets(3, Payload::Cancel);
        assert_eq!(end.gets(3, payload.clone()), (vec![], vec![]));
        assert_eq!(end.gets(2, payload.clone()), (vec![], vec![]));
        assert_eq!(end.gets(4, payload.clone()).1, closed(Fault::NoCall, &[]));
        assert_eq!(End::small().gets(0, payload).1, closed(Fault::NoCall, &[]));
    }
}

/// Rule 2.
#[test]
fn a_cancelled_call_is_dropped_in_every_stage_and_says_nothing_more() {
    for stage in 0..5 {
        let mut end = End { writes: false, ..End::small() };
        match stage {
            0 => drop(end.gets(1, Payload::Request(request(false, 5)))),
            1 => drop(end.receiving(1, 90_000)),
            2 => end.running(1, false),
            3 => {
                end.running(1, false);
                end.handle(Input::Reply { call: 1, reply: zeros(100_000) });
            }
            _ => {
                end.running(1, true);
                end.item(1, 10);
            }
        }
        let (frames, others) = end.gets(1, Payload::Cancel);
        assert_eq!((frames, others), (vec![], ended(1, Ending::Cancelled)), "stage {stage}");
        let late = [
            Input::Admit { call: 1 },
            Input::Reply { call: 1, reply: zeros(1) },
            Input::Item { call: 1, item: zeros(1) },
            Input::End { call: 1 },
            Input::Fail { call: 1, error: deadline_exceeded() },
            Input::Received(Frame::new(1, Payload::Grant(1_000_000))),
            Input::Received(Frame::new(1, Payload::Cancel)),
            Input::Sent { weight: 1_000_000 },
            Input::Timeout,
        ];
        for input in late {
            end.now = end.now + Duration::from_secs(5);
            assert_eq!(end.handle(input), (vec![], vec![]), "stage {stage}");
        }
        assert_eq!(end.protocol.held_bytes(), 0);
    }
}

/// Rule 2.
#[test]
fn a_handler_answers_once() {
    let mut end = End::small();
    end.running(1, false);
    // The rest of the reply waits for its grant.
    let (_, others) = end.handle(Input::Reply { call: 1, reply: zeros(90_000) });
    assert_eq!(others, []);
    assert_eq!(end.handle(Input::Reply { call: 1, reply: zeros(1) }), (vec![], vec![]));
    let fail = Input::Fail { call: 1, error: deadline_exceeded() };
    assert_eq!(end.handle(fail), (vec![], vec![]));
    let (frames, others) = end.gets(1, Payload::Grant(90_000 - 32_768));
    assert_eq!(pieces(&frames).iter().map(|(_, len)| len).sum::<usize>(), 90_000 - 32_768);
    assert_eq!(others, ended(1, Ending::Replied));
}

/// Rule 2.
#[test]
fn a_lost_session_ends_each_call_once() {
    let mut end = End::small();
    end.running(1, false);
    end.running(2, true);
    let (_, others) = end.handle(Input::Closed);
    assert_eq!(others, [ended(1, Ending::Lost), ended(2, Ending::Lost)].concat());
    assert_eq!(end.handle(Input::Closed), (vec![], vec![]));
    let (frames, others) = end.gets(3, Payload::Request(request(false, 0)));
    assert_eq!((frames, others), (vec![], vec![]));
    assert_eq!((end.protocol.held_bytes(), end.protocol.poll_timeout()), (0, None));
}

/// Rule 3.
#[test]
fn the_deadline_counts_from_the_arrival_and_is_cut() {
    let config = Config { max_deadline: Duration::from_secs(60), ..small() };
    let mut end = End::new(Server::new(config));
    for (call, remaining, expected) in [(1, 10, 10), (2, 60, 60), (3, u64::MAX / 1000, 60)] {
        let remaining = Duration::from_secs(remaining);
        let request = Request { remaining, ..request(false, 0) };
        let (_, others) = end.gets(call, Payload::Request(request));
        let [Output::Arrived { deadline, .. }] = others[..] else { panic!("{others:?}") };
        assert_eq!(deadline, START + Duration::from_secs(expected));
    }
}

/// Rule 3.
#[test]
fn a_call_ends_at_its_deadline() {
    let mut end = End::small();
    end.running(1, false);
    end.receiving(2, 5);
    end.running(3, true);
    end.item(3, 1);
    let deadline = end.protocol.poll_timeout().unwrap();
    assert_eq!(deadline, START + Duration::from_secs(10));
    end.now = deadline - Duration::from_micros(1);
    assert_eq!(end.handle(Input::Timeout), (vec![], vec![]), "too early");
    end.now = deadline;
    // The handler is too late as well, though no timeout came before.
    let (frames, others) = end.handle(Input::Reply { call: 1, reply: zeros(1) });
    let error = deadline_exceeded();
    let expected = [
        Frame::new(1, Payload::Reply(Err(error.clone()))),
        Frame::new(2, Payload::Reply(Err(error.clone()))),
        Frame::new(3, Payload::End(Some(error))),
    ];
    assert_eq!(frames, expected);
    let endings: Vec<Output> =
        (1..=3).flat_map(|call| ended(call, Ending::DeadlineExceeded)).collect();
    assert_eq!(others, endings);
    assert_eq!(end.protocol.poll_timeout(), None);
}

/// Rule 4.
#[test]
fn replies_take_turns_and_a_small_one_never_waits_behind_a_large_one() {
    let config = Config { max_unsent: 2 * MAX_CHUNK, ..small() };
    let mut end = End { writes: false, ..End::new(Server::new(config)) };
    (1..=3).for_each(|call| end.running(call, false));
    let reply =
        |end: &mut End<Server>, call, len| end.handle(Input::Reply { call, reply: zeros(len) }).0;
    let mut sent = reply(&mut end, 1, 90_000);
    assert_eq!(pieces(&sent), [(1, MAX_CHUNK), (1, MAX_CHUNK)]);
    sent.extend(end.gets(1, Payload::Grant(90_000 - 32_768)).0);
    sent.extend(reply(&mut end, 2, 30_000));
    sent.extend(reply(&mut end, 3, 7));
    assert_eq!(pieces(&sent).len(), 2, "pieces wait for the driver");
    let mut order = Vec::new();
    while !sent.is_empty() {
        let weight = sent.iter().map(Frame::weight).sum();
        sent = end.handle(Input::Sent { weight }).0;
        order.extend(pieces(&sent).into_iter().map(|(call, _)| call));
    }
    assert_eq!(order, [1, 2, 3, 1, 2, 1, 1]);
}

/// Rules 5 and 7.
#[test]
fn large_bodies_are_granted_in_full_and_in_turn() {
    let mut end = End::small();
    let rest = |length: u32| Payload::Grant(length - 32_768);
    assert_eq!(payloads(end.receiving(1, 100_000)), [rest(100_000)]);
    assert_eq!(end.receiving(2, 90_000), []);
    assert_eq!(end.receiving(3, 40_000), []);
    for piece in [&[MAX_CHUNK; 6][..], &[100_000 - 6 * MAX_CHUNK]].concat() {
        end.gets(1, Payload::Chunk(zeros(piece)));
    }
    // The handler holds the body, so its room is taken until it is done.
    assert_eq!(end.protocol.held_bytes(), 100_000);
    let (frames, _) = end.handle(Input::Reply { call: 1, reply: zeros(90_000) });
    let granted: Vec<&Frame> =
        frames.iter().filter(|frame| matches!(frame.payload, Payload::Grant(_))).collect();
    assert_eq!(granted, [&Frame::new(2, rest(90_000)), &Frame::new(3, rest(40_000))]);
    // Who waits and ends, waits no more.
    end.gets(1, Payload::Cancel);
    assert_eq!(end.receiving(4, 100_000), []);
    assert_eq!(end.receiving(5, 40_000), []);
    let (frames, _) = end.gets(4, Payload::Cancel);
    assert_eq!(frames, [Frame::new(5, rest(40_000))]);
}

/// Rules 5 and 9.
#[test]
fn a_body_beyond_its_length_or_grant_is_a_fault() {
    let mut end = End::small();
    end.receiving(1, 5);
    assert_eq!(end.gets(1, Payload::Chunk(zeros(6))).1, closed(Fault::Length, &[1]));
    let mut end = End::small();
    end.running(1, false);
    assert_eq!(end.gets(1, Payload::Chunk(zeros(1))).1, closed(Fault::Length, &[1]));
    let mut end = End::small();
    end.gets(1, Payload::Request(request(false, 90_000)));
    for _ in 0..2 {
        assert_eq!(end.gets(1, Payload::Chunk(zeros(MAX_CHUNK))), (vec![], vec![]));
    }
    assert_eq!(end.gets(1, Payload::Chunk(zeros(1))).1, closed(Fault::Credit, &[1]));
}

/// Rule 6.
#[test]
fn items_wait_for_credit_and_the_handler_for_room() {
    let mut end = End::small();
    end.running(1, true);
    let (frames, _) = end.item(1, 40_000);
    let expected = [(1, MAX_CHUNK), (1, MAX_CHUNK), (1, 40_000 - 2 * MAX_CHUNK)];
    assert_eq!(frames[0].payload, Payload::Reply(Ok(Shape::Items)));
    assert!(matches!(frames[2].payload, Payload::Part(_)));
    assert!(matches!(frames[3].payload, Payload::Item(_)));
    assert_eq!(pieces(&frames), expected);
    // Of 98,304 bytes of credit 40,192 are gone; a fourth piece doesn't fit any more.
    assert_eq!(pieces(&end.item(1, MAX_ITEM).0), [(1, MAX_CHUNK); 3]);
    assert!(end.protocol.has_room(1));
    end.item(1, 60_000);
    assert!(!end.protocol.has_room(1));
    let (frames, others) = end.gets(1, Payload::Grant(60_000));
    assert_eq!(pieces(&frames), [(1, MAX_CHUNK); 4]);
    assert_eq!(others, [Output::Room { call: 1 }]);
    // The end comes behind everything.
    assert_eq!(end.handle(Input::End { call: 1 }), (vec![], vec![]));
    let (frames, others) = end.gets(1, Payload::Grant(200_000));
    assert_eq!(frames.last(), Some(&Frame::new(1, Payload::End(None))));
    assert_eq!(others, ended(1, Ending::Replied));
}

/// Rule 6.
#[test]
fn credit_that_comes_before_the_first_item_counts() {
    let mut end = End::small();
    end.running(1, true);
    end.gets(1, Payload::Grant(100_000));
    let sent: usize = (0..3).flat_map(|_| pieces(&end.item(1, 60_000).0)).map(|(_, len)| len).sum();
    assert_eq!(sent, 180_000);
}

/// Rule 6: a handler that fails, or has a single answer, where items are expected.
#[test]
fn a_stream_ends_by_reply_or_error_behind_its_items() {
    let mut end = End::small();
    end.running(1, true);
    let (frames, others) = end.handle(Input::Reply { call: 1, reply: zeros(1) });
    let head = Payload::Reply(Ok(Shape::Items));
    assert_eq!(payloads(frames), [head.clone(), Payload::Item(zeros(1)), Payload::End(None)]);
    assert_eq!(others, ended(1, Ending::Replied));
    end.running(2, true);
    let (frames, _) = end.handle(Input::End { call: 2 });
    assert_eq!(payloads(frames), [head.clone(), Payload::End(None)]);
    end.running(3, true);
    let error = CallError::new(Code::Panicked, "the handler panicked");
    assert_eq!(payloads(end.item(3, 1).0), [head, Payload::Item(zeros(1))]);
    let (frames, others) = end.handle(Input::Fail { call: 3, error: error.clone() });
    assert_eq!(payloads(frames), [Payload::End(Some(error.clone()))]);
    assert_eq!(others, ended(3, Ending::Failed));
    end.running(4, true);
    let (frames, _) = end.handle(Input::Fail { call: 4, error: error.clone() });
    assert_eq!(payloads(frames), [Payload::Reply(Err(error))]);
}

/// Rule 7.
#[test]
fn calls_without_room_are_refused_before_they_arrive() {
    let mut end = End::small();
    let (frames, others) = end.gets(1, Payload::Request(request(false, 100_001)));
    assert_eq!((refusal(&frames), others), (Code::Malformed, vec![]));
    end.running(2, true);
    end.running(3, true);
    let (frames, others) = end.gets(4, Payload::Request(request(true, 0)));
    assert_eq!((refusal(&frames), others), (Code::Overloaded, vec![]), "two streams fit");
    end.running(5, false);
    end.running(6, false);
    let (frames, others) = end.gets(7, Payload::Request(request(false, 5)));
    assert_eq!((refusal(&frames), others), (Code::Overloaded, vec![]), "four calls fit");
    let Payload::Reply(Err(error)) = &frames[0].payload else { panic!("{frames:?}") };
    assert_eq!(error.retry_after, Some(Duration::from_millis(100)));
    assert_eq!(end.gets(7, Payload::Chunk(zeros(5))), (vec![], vec![]), "it was on its way");
    end.gets(2, Payload::Cancel);
    end.running(8, true);
}

/// Rule 7: also what the driver refuses never starts.
#[test]
fn the_driver_may_refuse() {
    let mut end = End::small();
    end.gets(1, Payload::Request(request(false, 5)));
    let error = CallError::new(Code::NotFound, "no such service");
    let (frames, others) = end.handle(Input::Fail { call: 1, error: error.clone() });
    assert_eq!(payloads(frames), [Payload::Reply(Err(error))]);
    assert_eq!(others, ended(1, Ending::Failed));
    assert_eq!(end.gets(1, Payload::Chunk(zeros(5))), (vec![], vec![]));
    assert_eq!(end.handle(Input::Admit { call: 1 }), (vec![], vec![]));
}

/// Rule 7.
#[test]
fn replies_without_room_are_dropped_and_say_so() {
    let mut end = End { writes: false, ..End::small() };
    end.running(1, false);
    end.running(2, false);
    end.handle(Input::Reply { call: 1, reply: zeros(200_000) });
    let (frames, others) = end.handle(Input::Reply { call: 2, reply: zeros(100_001) });
    assert_eq!((refusal(&frames), others), (Code::Dropped, ended(2, Ending::Failed)));
    end.running(3, false);
    let (_, others) = end.handle(Input::Reply { call: 3, reply: zeros(100_000) });
    assert_eq!(others, []);
    assert_eq!(end.protocol.held_bytes(), 300_000);
    // A handler that gives items to a caller that wants one reply, or none at all.
    end.running(4, false);
    assert_eq!(refusal(&end.item(4, 1).0), Code::Dropped);
    end.running(5, false);
    assert_eq!(refusal(&end.handle(Input::End { call: 5 }).0), Code::Dropped);
}

/// Rule 7.
#[test]
fn items_without_room_end_their_stream() {
    let mut end = End { writes: false, ..End::small() };
    end.running(1, true);
    let (frames, _) = end.item(1, MAX_ITEM + 1);
    assert_eq!(refusal(&frames), Code::Dropped);
    end.running(2, true);
    let mut items = 0;
    while end.protocol.has_room(2) && items < 10_000 {
        end.item(2, 0);
        items += 1;
    }
    // 1,536 by credit, and 1,024 that wait.
    assert_eq!(items, (STREAM_CREDIT + 65_536) / ITEM_OVERHEAD);
    end.item(2, 0);
    let (frames, others) = end.gets(2, Payload::Grant(1_000_000));
    let Some(Payload::End(Some(error))) = payloads(frames).pop() else { panic!("no end") };
    assert_eq!(error.code, Code::Dropped);
    assert_eq!(others, ended(2, Ending::Failed));
}

/// Rule 7.
#[test]
fn a_caller_that_does_not_read_is_not_read() {
    let mut end = End { writes: false, ..End::small() };
    let mut frames = Vec::new();
    let mut call = 0;
    while end.protocol.is_reading() && call < 10_000 {
        call += 1;
        frames.extend(end.gets(call, Payload::Request(request(false, 200_000))).0);
    }
    let unsent: usize = frames.iter().map(Frame::weight).sum();
    assert!((512 * 1024..513 * 1024).contains(&unsent), "{unsent}");
    end.handle(Input::Sent { weight: unsent });
    assert!(end.protocol.is_reading());
}

/// Rule 8.
#[test]
fn draining_finishes_what_is_in_progress_and_takes_no_more() {
    let mut end = End::small();
    end.running(1, false);
    let (frames, others) = end.handle(Input::Drain);
    assert_eq!((frames, others), (vec![Frame::new(0, Payload::GoingAway)], vec![]));
    assert_eq!(end.handle(Input::Drain), (vec![], vec![]));
    let (frames, others) = end.gets(2, Payload::Request(request(false, 0)));
    assert_eq!((refusal(&frames), others), (Code::Overloaded, vec![]));
    let (frames, others) = end.handle(Input::Reply { call: 1, reply: zeros(1) });
    assert_eq!(pieces(&frames), [(1, 1)]);
    assert_eq!(others, [ended(1, Ending::Replied), vec![Output::Drained]].concat());
    assert_eq!(end.handle(Input::Timeout), (vec![], vec![]));
    assert_eq!(End::small().handle(Input::Drain).1, [Output::Drained], "nothing to wait for");
}

/// Rule 9.
#[test]
fn what_no_correct_caller_sends_ends_the_session() {
    let wrong = [
        Payload::Reply(Ok(Shape::Items)),
        Payload::Part(zeros(1)),
        Payload::Item(zeros(1)),
        Payload::End(None),
        Payload::GoingAway,
    ];
    for payload in wrong {
        let mut end = End::small();
        end.running(1, false);
        assert_eq!(end.gets(1, payload).1, closed(Fault::Direction, &[1]));
        assert_eq!(end.handle(Input::Reply { call: 1, reply: zeros(1) }), (vec![], vec![]));
    }
    let error = FrameError::Length { len: 1 };
    let (_, others) = End::small().handle(Input::Broken(error));
    assert_eq!(others, closed(Fault::Malformed(error), &[]));
    // Credit that overflows.
    let mut end = End::small();
    end.running(1, true);
    let others: Vec<Output> =
        (0..300).flat_map(|_| end.gets(1, Payload::Grant(u32::MAX)).1).collect();
    assert_eq!(others, closed(Fault::Credit, &[1]));
}
