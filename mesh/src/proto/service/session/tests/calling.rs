//! One test or more for each rule, at the caller.

use super::*;
use crate::proto::service::{
    frame::{MAX_CHUNK, MAX_NAME},
    session::caller::{Call, Config, Input, Outcome, Output, Unsent},
};

fn small() -> Config {
    Config {
        max_calls: 4,
        max_request: 100_000,
        max_reply: 100_000,
        reply_room: 100_000,
        stream_window: STREAM_CREDIT,
        stream_room: 2 * STREAM_CREDIT,
        ..Config::default()
    }
}

fn call(streaming: bool, body: usize) -> Call {
    Call {
        service: "greeter".into(),
        endpoint: "hello".into(),
        deadline: START + Duration::from_secs(10),
        idempotent: false,
        streaming,
        trace: None,
        body: zeros(body),
    }
}

impl End<Caller> {
    fn small() -> Self {
        Self::new(Caller::new(small()))
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

    fn call(&mut self, number: u64, call: Call) -> (Vec<Frame>, Vec<Output>) {
        self.handle(Input::Call { number, call })
    }

    fn gets(&mut self, call: u64, payload: Payload) -> (Vec<Frame>, Vec<Output>) {
        self.handle(Input::Received(Frame::new(call, payload)))
    }

    /// A stream whose head has come.
    fn stream(&mut self, number: u64) {
        self.call(number, call(true, 0));
        self.gets(number, Payload::Reply(Ok(Shape::Items)));
    }
}

fn finished(call: u64, outcome: Outcome) -> Vec<Output> {
    vec![Output::Finished { call, outcome }]
}

fn closed(fault: Fault, lost: &[u64]) -> Vec<Output> {
    let lost = lost.iter().map(|call| Output::Finished { call: *call, outcome: Outcome::Lost });
    lost.chain([Output::Close { fault }]).collect()
}

fn whole(length: u32) -> Payload {
    Payload::Reply(Ok(Shape::Whole(length)))
}

/// Rules 1 and 2.
#[test]
fn a_call_is_sent_and_its_reply_delivered_whole() {
    let mut end = End::small();
    let (frames, others) = end.call(1, call(false, 3));
    let Payload::Request(request) = &frames[0].payload else { panic!("{frames:?}") };
    assert_eq!((&*request.service, &*request.endpoint), ("greeter", "hello"));
    assert_eq!((request.length, request.remaining), (3, Duration::from_secs(10)));
    assert_eq!((pieces(&frames), others), (vec![(1, 3)], vec![]));
    assert_eq!(end.gets(1, whole(5)), (vec![], vec![]));
    assert_eq!(end.gets(1, Payload::Part(Bytes::from_static(b"he"))), (vec![], vec![]));
    let (_, others) = end.gets(1, Payload::Part(Bytes::from_static(b"llo")));
    assert_eq!(others, finished(1, Outcome::Reply(Bytes::from_static(b"hello"))));
    assert_eq!(end.protocol.poll_timeout(), None);
    assert_eq!((end.protocol.len(), end.protocol.held_bytes()), (0, 0));
}

#[test]
fn an_empty_reply_needs_no_piece() {
    let mut end = End::small();
    assert_eq!(end.call(1, call(false, 0)).0.len(), 1);
    let (_, others) = end.gets(1, whole(0));
    assert_eq!(others, finished(1, Outcome::Reply(Bytes::new())));
}

/// Rule 1.
#[test]
fn frames_about_finished_calls_are_ignored_and_about_future_ones_are_faults() {
    let late = [
        whole(5),
        Payload::Reply(Err(deadline_exceeded())),
        Payload::Part(zeros(5)),
        Payload::Item(zeros(5)),
        Payload::End(None),
        Payload::Grant(5),
    ];
    for payload in late {
        let mut end = End::small();
        end.call(3, call(false, 0));
        end.handle(Input::Cancel { call: 3 });
        assert_eq!(end.gets(3, payload.clone()), (vec![], vec![]), "{payload:?}");
        // Numbers may have gaps: this call was never sent, and that's all one.
        assert_eq!(end.gets(2, payload.clone()), (vec![], vec![]), "{payload:?}");
        let (_, others) = end.gets(4, payload.clone());
        assert_eq!(others, closed(Fault::NoCall, &[]), "{payload:?}");
        let (_, others) = End::small().gets(0, payload.clone());
        assert_eq!(others, closed(Fault::NoCall, &[]), "{payload:?}");
    }
}

/// Rule 2.
#[test]
fn nothing_is_delivered_after_a_cancellation() {
    let mut end = End::small();
    end.stream(1);
    let (_, others) = end.gets(1, Payload::Item(zeros(5)));
    assert_eq!(others, [Output::Item { call: 1, item: zeros(5), credit: 5 + ITEM_OVERHEAD }]);
    let (frames, others) = end.handle(Input::Cancel { call: 1 });
    assert_eq!(frames, [Frame::new(1, Payload::Cancel)]);
    let error = CallError::new(Code::Cancelled, "the caller cancelled");
    assert_eq!(others, finished(1, Outcome::Failed(error)));
    assert_eq!(end.gets(1, Payload::Item(zeros(5))), (vec![], vec![]));
    assert_eq!(end.handle(Input::Cancel { call: 1 }), (vec![], vec![]));
    assert_eq!(end.protocol.held_bytes(), 0);
}

/// Rule 2.
#[test]
fn a_cancelled_call_stops_sending_its_body() {
    let mut end = End::small();
    assert_eq!(pieces(&end.call(1, call(false, 100_000)).0).len(), 2);
    end.handle(Input::Cancel { call: 1 });
    assert_eq!(end.gets(1, Payload::Grant(70_000)), (vec![], vec![]));
}

/// Rule 2.
#[test]
fn a_lost_session_ends_each_call_once() {
    let mut end = End::small();
    end.call(1, call(false, 0));
    end.call(2, call(true, 0));
    let (_, others) = end.handle(Input::Closed);
    assert_eq!(others, [finished(1, Outcome::Lost), finished(2, Outcome::Lost)].concat());
    assert_eq!(end.handle(Input::Closed), (vec![], vec![]));
    assert_eq!(end.gets(1, whole(0)), (vec![], vec![]));
    end.now = START + Duration::from_secs(60);
    assert_eq!(end.handle(Input::Timeout), (vec![], vec![]));
    let (frames, others) = end.call(3, call(false, 0));
    assert_eq!((frames, others), (vec![], finished(3, Outcome::Unsent(Unsent::Closed))));
}

/// Rule 3.
#[test]
fn a_deadline_travels_as_remaining_time_and_is_kept() {
    let mut end = End::small();
    end.now = START + Duration::from_micros(9_000_500);
    let (frames, _) = end.call(1, call(false, 0));
    let Payload::Request(request) = &frames[0].payload else { panic!("{frames:?}") };
    assert_eq!(request.remaining.as_millis(), 999, "rounded down");
    assert_eq!(end.protocol.poll_timeout(), Some(START + Duration::from_secs(10)));
    assert_eq!(end.handle(Input::Timeout), (vec![], vec![]), "too early");
    end.now = START + Duration::from_secs(10);
    let (frames, others) = end.handle(Input::Timeout);
    assert_eq!(frames, [Frame::new(1, Payload::Cancel)]);
    assert_eq!(others, finished(1, Outcome::Failed(deadline_exceeded())));
    // A call without time is not sent.
    let (frames, others) = end.call(2, call(false, 0));
    assert_eq!((frames, others), (vec![], finished(2, Outcome::Failed(deadline_exceeded()))));
}

/// Rule 3.
#[test]
fn a_reply_after_the_deadline_is_not_delivered_even_before_the_timeout() {
    let mut end = End::small();
    end.call(1, call(false, 0));
    end.now = START + Duration::from_secs(10);
    let (_, others) = end.gets(1, whole(0));
    assert_eq!(others, finished(1, Outcome::Failed(deadline_exceeded())));
}

/// Rule 4.
#[test]
fn bodies_take_turns_and_wait_for_the_driver() {
    let config = Config { max_unsent: 2 * MAX_CHUNK, ..small() };
    let mut end = End { writes: false, ..End::new(Caller::new(config)) };
    let weight = |frames: &[Frame]| frames.iter().map(Frame::weight).sum();
    let (mut sent, _) = end.call(1, call(false, FREE_CREDIT));
    assert_eq!(pieces(&sent), [(1, MAX_CHUNK), (1, MAX_CHUNK)]);
    for (number, body) in [(2, FREE_CREDIT), (3, 7), (4, 30_000)] {
        let (frames, _) = end.call(number, call(false, body));
        assert_eq!(pieces(&frames), [], "pieces wait for the driver");
        assert_eq!(frames.len(), 1, "heads don't");
        sent.extend(frames);
    }
    let (sent, _) = end.handle(Input::Sent { weight: weight(&sent) });
    assert_eq!(pieces(&sent), [(2, MAX_CHUNK), (3, 7), (4, MAX_CHUNK)]);
    let (sent, _) = end.handle(Input::Sent { weight: weight(&sent) });
    assert_eq!(pieces(&sent), [(2, MAX_CHUNK), (4, 30_000 - MAX_CHUNK)]);
}

/// Rule 5.
#[test]
fn a_large_body_waits_for_its_grant() {
    let mut end = End::small();
    let (frames, _) = end.call(1, call(false, 80_000));
    assert_eq!(pieces(&frames), [(1, MAX_CHUNK), (1, MAX_CHUNK)]);
    let (frames, _) = end.gets(1, Payload::Grant(80_000 - 32_768));
    assert_eq!(pieces(&frames), [(1, MAX_CHUNK), (1, MAX_CHUNK), (1, 80_000 - 4 * MAX_CHUNK)]);
}

/// Rules 5 and 7.
#[test]
fn large_replies_are_granted_in_full_and_in_turn() {
    let mut end = End::small();
    for number in 1..=3 {
        end.call(number, call(false, 0));
    }
    let rest = |length: u32| Payload::Grant(length - 32_768);
    // The room has 100,000 bytes: the first fits, the second doesn't, the third waits behind it.
    assert_eq!(end.gets(1, whole(100_000)).0, [Frame::new(1, rest(100_000))]);
    assert_eq!(end.gets(2, whole(90_000)), (vec![], vec![]));
    assert_eq!(end.gets(3, whole(40_000)), (vec![], vec![]));
    for _ in 0..6 {
        assert_eq!(end.gets(1, Payload::Part(zeros(MAX_CHUNK))), (vec![], vec![]));
    }
    assert_eq!(end.protocol.held_bytes(), 100_000);
    let (frames, others) = end.gets(1, Payload::Part(zeros(100_000 - 6 * MAX_CHUNK)));
    assert_eq!(others, finished(1, Outcome::Reply(zeros(100_000))));
    assert_eq!(frames, [Frame::new(2, rest(90_000)), Frame::new(3, rest(40_000))]);
    // Who waits and ends, waits no more.
    end.call(4, call(false, 0));
    end.call(5, call(false, 0));
    assert_eq!(end.gets(4, whole(100_000)), (vec![], vec![]));
    assert_eq!(end.gets(5, whole(32_769)), (vec![], vec![]));
    let (frames, _) = end.handle(Input::Cancel { call: 4 });
    assert_eq!(frames, [Frame::new(4, Payload::Cancel), Frame::new(5, Payload::Grant(1))]);
}

/// Rule 5.
#[test]
fn a_reply_beyond_its_length_or_grant_is_a_fault() {
    let mut end = End::small();
    end.call(1, call(false, 0));
    end.gets(1, whole(5));
    assert_eq!(end.gets(1, Payload::Part(zeros(6))).1, closed(Fault::Length, &[1]));
    let mut end = End::small();
    end.call(1, call(false, 0));
    end.call(2, call(false, 0));
    end.gets(1, whole(100_000));
    end.gets(2, whole(90_000));
    for _ in 0..2 {
        assert_eq!(end.gets(2, Payload::Part(zeros(MAX_CHUNK))).1, []);
    }
    assert_eq!(end.gets(2, Payload::Part(zeros(1))).1, closed(Fault::Credit, &[1, 2]));
}

/// Rule 6.
#[test]
fn items_are_put_together_and_their_credit_returned_when_consumed() {
    let mut end = End::small();
    end.stream(1);
    assert_eq!(end.gets(1, Payload::Part(zeros(MAX_CHUNK))), (vec![], vec![]));
    let (_, others) = end.gets(1, Payload::Item(zeros(1)));
    let credit = MAX_CHUNK + 1 + 2 * ITEM_OVERHEAD;
    assert_eq!(others, [Output::Item { call: 1, item: zeros(MAX_CHUNK + 1), credit }]);
    let (frames, _) = end.handle(Input::Consumed { call: 1, credit });
    assert_eq!(frames, [Frame::new(1, Payload::Grant(u32::try_from(credit).unwrap()))]);
    // Small ones are granted together.
    let mut granted = 0;
    for _ in 0..1000 {
        end.gets(1, Payload::Item(Bytes::new()));
        granted += end.handle(Input::Consumed { call: 1, credit: ITEM_OVERHEAD }).0.len();
    }
    assert_eq!(granted, 1000 * ITEM_OVERHEAD / (16 * 1024));
    // More than was delivered can't be consumed.
    assert_eq!(end.handle(Input::Consumed { call: 1, credit: usize::MAX }), (vec![], vec![]));
    let (_, others) = end.gets(1, Payload::End(None));
    assert_eq!(others, finished(1, Outcome::Ended));
    assert_eq!(end.protocol.held_bytes(), 0);
}

/// Rule 6.
#[test]
fn a_wider_window_is_granted_with_the_head() {
    let config = Config { stream_window: STREAM_CREDIT + 7, ..small() };
    let mut end = End::new(Caller::new(config));
    let (frames, _) = end.call(1, call(true, 0));
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1], Frame::new(1, Payload::Grant(7)));
}

/// Rules 6 and 7.
#[test]
fn items_beyond_the_credit_or_too_large_are_faults() {
    let mut end = End::small();
    end.stream(1);
    let fits = STREAM_CREDIT / ITEM_OVERHEAD;
    for _ in 0..fits {
        assert_eq!(end.gets(1, Payload::Item(Bytes::new())).1.len(), 1);
    }
    assert_eq!(end.gets(1, Payload::Item(Bytes::new())).1, closed(Fault::Credit, &[1]));
    let mut end = End::small();
    end.stream(1);
    for _ in 0..4 {
        assert_eq!(end.gets(1, Payload::Part(zeros(MAX_CHUNK))), (vec![], vec![]));
    }
    assert_eq!(end.gets(1, Payload::Item(zeros(1))).1, closed(Fault::Length, &[1]));
}

/// Rule 7.
#[test]
fn what_is_unread_keeps_its_room_after_the_end() {
    let mut end = End::small();
    end.stream(1);
    end.gets(1, Payload::Item(zeros(36)));
    assert_eq!(end.gets(1, Payload::End(None)).1, finished(1, Outcome::Ended));
    assert_eq!(end.protocol.held_bytes(), STREAM_CREDIT);
    end.handle(Input::Consumed { call: 1, credit: 99 });
    assert_eq!(end.protocol.held_bytes(), STREAM_CREDIT);
    end.handle(Input::Consumed { call: 1, credit: 1 });
    assert_eq!(end.protocol.held_bytes(), 0);
    // A reader that is gone says so instead.
    end.stream(2);
    end.gets(2, Payload::Item(zeros(36)));
    end.gets(2, Payload::End(None));
    assert_eq!(end.handle(Input::Cancel { call: 2 }), (vec![], vec![]));
    assert_eq!(end.protocol.held_bytes(), 0);
}

/// Rule 7.
#[test]
fn calls_without_room_are_not_sent() {
    let unsent = |end: &mut End<Caller>, number, call| match end.call(number, call) {
        (frames, others) if frames.is_empty() => match &others[..] {
            [Output::Finished { outcome: Outcome::Unsent(reason), .. }] => Some(*reason),
            other => panic!("{other:?}"),
        },
        _ => None,
    };
    let mut end = End::small();
    assert_eq!(unsent(&mut end, 1, call(false, 100_001)), Some(Unsent::TooLarge));
    for name in [String::new(), "n".repeat(MAX_NAME + 1)] {
        let number = name.len() as u64 + 2;
        let named = Call { service: name.into(), ..call(false, 0) };
        assert_eq!(unsent(&mut end, number, named), Some(Unsent::Name));
    }
    assert_eq!(unsent(&mut end, 101, call(true, 0)), None);
    assert_eq!(unsent(&mut end, 102, call(true, 0)), None);
    assert_eq!(unsent(&mut end, 103, call(true, 0)), Some(Unsent::Full), "two streams fit");
    assert_eq!(unsent(&mut end, 104, call(false, 0)), None);
    assert_eq!(unsent(&mut end, 105, call(false, 0)), None);
    assert!(!end.protocol.is_open());
    assert_eq!(unsent(&mut end, 106, call(false, 0)), Some(Unsent::Full), "four calls fit");
    end.handle(Input::Cancel { call: 101 });
    assert_eq!(unsent(&mut end, 107, call(true, 0)), None, "room is given back");
}

/// Rule 7.
#[test]
fn a_driver_that_cannot_write_gets_no_more_calls() {
    let mut end = End { writes: false, ..End::new(Caller::new(small())) };
    let mut sent = 0;
    for number in 1..10_000 {
        let (frames, _) = end.call(number, call(false, 0));
        if frames.is_empty() {
            break;
        }
        let cancel = end.handle(Input::Cancel { call: number }).0;
        sent += frames.iter().chain(&cancel).map(Frame::weight).sum::<usize>();
    }
    assert!((500_000..530_000).contains(&sent), "{sent}");
}

/// Rule 7.
#[test]
fn a_reply_that_is_too_large_is_not_taken() {
    let mut end = End::small();
    end.call(1, call(false, 0));
    let (frames, others) = end.gets(1, whole(100_001));
    assert_eq!(payloads(frames), [Payload::Cancel]);
    let [Output::Finished { outcome: Outcome::Failed(error), .. }] = &others[..] else {
        panic!("{others:?}")
    };
    assert_eq!(error.code, Code::Dropped);
}

/// Rule 8.
#[test]
fn a_draining_server_gets_no_new_calls() {
    let mut end = End::small();
    end.call(1, call(false, 0));
    assert_eq!(end.gets(0, Payload::GoingAway), (vec![], vec![Output::GoingAway]));
    assert_eq!(end.gets(0, Payload::GoingAway), (vec![], vec![]));
    let (frames, others) = end.call(2, call(false, 0));
    assert_eq!((frames, others), (vec![], finished(2, Outcome::Unsent(Unsent::GoingAway))));
    assert_eq!(end.gets(1, whole(0)).1, finished(1, Outcome::Reply(Bytes::new())));
}

/// Rule 9.
#[test]
fn what_no_correct_server_sends_ends_the_session() {
    let head = Payload::Reply(Ok(Shape::Items));
    let error = || Payload::Reply(Err(deadline_exceeded()));
    let part = || Payload::Part(zeros(1));
    // (whether a stream is asked for, what has come, what comes)
    let sequences = [
        (false, vec![], head.clone()),
        (true, vec![], whole(5)),
        (false, vec![], part()),
        (true, vec![], Payload::Item(zeros(1))),
        (true, vec![], Payload::End(None)),
        (false, vec![whole(5)], whole(5)),
        (false, vec![whole(5)], error()),
        (false, vec![whole(5)], Payload::Item(zeros(1))),
        (false, vec![whole(5)], Payload::End(None)),
        (true, vec![head.clone()], head.clone()),
        (true, vec![head.clone()], error()),
        (true, vec![head, part()], Payload::End(None)),
    ];
    for (streaming, before, payload) in sequences {
        let mut end = End::small();
        end.call(1, call(streaming, 0));
        for payload in before {
            assert_eq!(end.gets(1, payload).1, []);
        }
        let (_, others) = end.gets(1, payload.clone());
        assert_eq!(others, closed(Fault::Sequence, &[1]), "{payload:?}");
    }
    let requests = [Payload::Cancel, Payload::Chunk(zeros(1))];
    for payload in requests {
        let mut end = End::small();
        end.call(1, call(false, 0));
        assert_eq!(end.gets(1, payload).1, closed(Fault::Direction, &[1]));
    }
    let mut end = End::small();
    let error = FrameError::Length { len: 1 };
    assert_eq!(end.handle(Input::Broken(error)).1, closed(Fault::Malformed(error), &[]));
    let mut end = End::small();
    end.call(1, call(false, 100_000));
    let others: Vec<Output> =
        (0..1000).flat_map(|_| end.gets(1, Payload::Grant(u32::MAX)).1).collect();
    assert_eq!(others, [], "what is sent in full takes any grant");
}

#[test]
fn an_error_ends_a_stream_amid_an_item_and_a_reply_amid_its_pieces() {
    let error = deadline_exceeded();
    let mut end = End::small();
    end.stream(1);
    end.gets(1, Payload::Part(zeros(1)));
    let (_, others) = end.gets(1, Payload::End(Some(error.clone())));
    assert_eq!(others, finished(1, Outcome::Failed(error.clone())));
    end.call(2, call(false, 0));
    end.gets(2, whole(5));
    let (_, others) = end.gets(2, Payload::End(Some(error.clone())));
    assert_eq!(others, finished(2, Outcome::Failed(error)));
}
