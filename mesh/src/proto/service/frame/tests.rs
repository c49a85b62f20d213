use std::time::Duration;

use aether_core::wire::to_cbor;
use data_encoding::HEXLOWER;
use proptest::{collection::vec, option, prelude::*};

use super::*;

fn request() -> Request {
    Request {
        service: "greeter".into(),
        endpoint: "hello".into(),
        remaining: Duration::from_millis(1500),
        idempotent: true,
        streaming: false,
        trace: Some(Trace { trace: [0xaa; 16], span: [0xbb; 8], flags: 1 }),
        length: 3,
    }
}

fn overloaded() -> CallError {
    let retry_after = Some(Duration::from_millis(250));
    CallError { retry_after, ..CallError::new(Code::Overloaded, "busy") }
}

/// One frame of each kind and shape, named as in the golden vectors.
fn examples() -> Vec<(&'static str, Frame)> {
    let plain = Request { idempotent: false, streaming: true, trace: None, ..request() };
    let own = CallError::new(Code::Application(42), "no such greeting");
    vec![
        ("request", Frame::new(1, Payload::Request(request()))),
        ("request-streaming", Frame::new(2, Payload::Request(plain))),
        ("chunk", Frame::new(1, Payload::Chunk(Bytes::from_static(b"abc")))),
        ("cancel", Frame::new(2, Payload::Cancel)),
        ("reply-whole", Frame::new(1, Payload::Reply(Ok(Shape::Whole(5))))),
        ("reply-items", Frame::new(2, Payload::Reply(Ok(Shape::Items)))),
        ("reply-overloaded", Frame::new(3, Payload::Reply(Err(overloaded())))),
        ("part", Frame::new(1, Payload::Part(Bytes::from_static(b"hello")))),
        ("item", Frame::new(2, Payload::Item(Bytes::from_static(b"item")))),
        ("item-empty", Frame::new(2, Payload::Item(Bytes::new()))),
        ("end", Frame::new(2, Payload::End(None))),
        ("end-application", Frame::new(2, Payload::End(Some(own)))),
        ("grant", Frame::new(2, Payload::Grant(16_448))),
        ("going-away", Frame::new(0, Payload::GoingAway)),
    ]
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

fn decoded(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    Frame::decode(&mut BytesMut::from(bytes))
}

/// A frame with any kind and body.
fn raw(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(HEADER + body.len()).unwrap();
    [&len.to_be_bytes()[..], &[kind], &1u64.to_be_bytes(), body].concat()
}

/// Another language can check itself against these.
#[test]
fn golden_vectors() {
    let golden = include_str!("../../../../tests/golden/service-v1.txt");
    let expected: Vec<&str> = golden.lines().filter(|line| !line.starts_with('#')).collect();
    let found: Vec<String> = examples()
        .iter()
        .map(|(name, frame)| format!("{name} {}", HEXLOWER.encode(&encoded(frame))))
        .collect();
    assert_eq!(found, expected);
    for line in expected {
        let (name, hex) = line.split_once(' ').unwrap();
        let bytes = HEXLOWER.decode(hex.as_bytes()).unwrap();
        let (_, frame) = examples().into_iter().find(|(other, _)| *other == name).unwrap();
        assert_eq!(decoded(&bytes), Ok(Some(frame)), "{name}");
    }
}

#[test]
fn frames_are_found_wherever_the_stream_is_cut() {
    let frames: Vec<Frame> = examples().into_iter().map(|(_, frame)| frame).collect();
    let stream: Vec<u8> = frames.iter().flat_map(encoded).collect();
    for step in 1..60 {
        let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
        for bytes in stream.chunks(step) {
            buffer.extend_from_slice(bytes);
            while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                found.push(frame);
            }
        }
        assert_eq!(found, frames, "in steps of {step}");
        assert!(buffer.is_empty());
    }
}

#[test]
fn a_later_release_may_add_kinds_keys_and_flags() {
    let mut bytes = raw(99, b"anything");
    bytes.extend(encoded(&Frame::new(7, Payload::Cancel)));
    assert_eq!(decoded(&bytes), Ok(Some(Frame::new(7, Payload::Cancel))));
    // A cancellation that says why, and a stream's head {7: "new"}.
    assert_eq!(decoded(&raw(2, b"why")), Ok(Some(Frame::new(1, Payload::Cancel))));
    let newer = raw(3, &[0xa1, 0x07, 0x63, b'n', b'e', b'w']);
    assert_eq!(decoded(&newer), Ok(Some(Frame::new(1, Payload::Reply(Ok(Shape::Items))))));
    // A request whose flags are 0x31, of which 0x30 isn't known here.
    let head = [0xa5, 0, 0x61, b's', 1, 0x61, b'e', 2, 1, 3, 0x18, 0x31, 5, 0];
    let Ok(Some(Frame { payload: Payload::Request(request), .. })) = decoded(&raw(0, &head)) else {
        panic!("the request is well-formed")
    };
    assert!(request.idempotent && !request.streaming && request.trace.is_none());
    // An error {0: 77, 1: ""}.
    let error = raw(6, &[0xa1, 0x01, 0xa2, 0, 0x18, 77, 1, 0x60]);
    let expected = CallError::new(Code::Unknown(77), "");
    assert_eq!(decoded(&error), Ok(Some(Frame::new(1, Payload::End(Some(expected))))));
}

#[test]
fn lengths_are_checked_before_they_are_believed() {
    let length = |len: u32| decoded(&len.to_be_bytes());
    assert_eq!(length(8), Err(FrameError::Length { len: 8 }));
    assert_eq!(length(9), Ok(None));
    assert_eq!(length(65_536), Ok(None));
    assert_eq!(length(65_537), Err(FrameError::Length { len: 65_537 }));
    assert_eq!(length(u32::MAX), Err(FrameError::Length { len: 0xffff_ffff }));
}

#[test]
fn pieces_and_grants_have_bounds() {
    for (kind, least) in [(1, 1), (4, 1), (5, 0)] {
        assert!(decoded(&raw(kind, &vec![0; least])).is_ok());
        assert!(decoded(&raw(kind, &vec![0; MAX_CHUNK])).is_ok());
        let large = decoded(&raw(kind, &vec![0; MAX_CHUNK + 1]));
        assert_eq!(large, Err(FrameError::Piece { len: MAX_CHUNK + 1 }));
    }
    assert_eq!(decoded(&raw(1, b"")), Err(FrameError::Piece { len: 0 }));
    assert_eq!(decoded(&raw(4, b"")), Err(FrameError::Piece { len: 0 }));
    assert_eq!(decoded(&raw(7, &[0; 4])), Err(FrameError::Piece { len: 0 }));
    assert_eq!(decoded(&raw(7, &[1; 3])), Err(WireError::TooShort.into()));
    assert_eq!(decoded(&raw(7, &[1; 5])), Err(WireError::Trailing { len: 1 }.into()));
}

#[test]
fn names_and_messages_have_bounds() {
    for len in [0, 1, MAX_NAME, MAX_NAME + 1] {
        let is_allowed = (1..=MAX_NAME).contains(&len);
        for change in [0, 1] {
            let mut request = request();
            let name = if change == 0 { &mut request.service } else { &mut request.endpoint };
            *name = "n".repeat(len).into();
            assert_eq!(request.has_valid_names(), is_allowed);
            let result = decoded(&encoded(&Frame::new(1, Payload::Request(request))));
            match is_allowed {
                true => assert!(result.is_ok()),
                false => assert_eq!(result, Err(FrameError::Name { len })),
            }
        }
    }
    // What is written is cut, between characters; what is read is refused.
    let error = CallError::new(Code::Panicked, "ä".repeat(400) + "!");
    let bytes = encoded(&Frame::new(1, Payload::Reply(Err(error))));
    let Ok(Some(Frame { payload: Payload::Reply(Err(read)), .. })) = decoded(&bytes) else {
        panic!("the error is well-formed")
    };
    assert_eq!(read.message, "ä".repeat(256));
    let long = to_cbor(&"m".repeat(MAX_MESSAGE + 1));
    let end = [&[0xa1, 0x01, 0xa2, 0, 1, 1], &long[..]].concat();
    assert_eq!(decoded(&raw(6, &end)), Err(WireError::TooLong { len: 513, max: 512 }.into()));
}

#[test]
fn a_reply_is_a_length_or_an_error() {
    let both = [0xa2, 0x00, 0x05, 0x01, 0xa2, 0, 1, 1, 0x60];
    assert_eq!(decoded(&raw(3, &both)), Err(WireError::Cbor.into()));
    assert_eq!(decoded(&raw(3, &[])), Err(WireError::Cbor.into()));
}

#[test]
fn an_invalid_trace_is_ignored() {
    let valid = Trace { trace: [1; 16], span: [2; 8], flags: 0 };
    let trace = |trace| {
        let request = Request { trace: Some(trace), ..request() };
        match decoded(&encoded(&Frame::new(1, Payload::Request(request)))) {
            Ok(Some(Frame { payload: Payload::Request(request), .. })) => request.trace,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(trace(valid), Some(valid));
    assert_eq!(trace(Trace { trace: [0; 16], ..valid }), None);
    assert_eq!(trace(Trace { span: [0; 8], ..valid }), None);
    // The example of W3C Trace Context, section 3.2.2.5, up to its digits.
    let text = "00-01010101010101010101010101010101-0202020202020202-00";
    assert_eq!(valid.to_string(), text);
}

#[test]
fn what_was_not_started_is_told_apart() {
    let unstarted = [Code::NotFound, Code::Malformed, Code::Overloaded, Code::Refused];
    let started = [
        Code::DeadlineExceeded,
        Code::Cancelled,
        Code::Panicked,
        Code::Dropped,
        Code::Application(1),
        Code::Unknown(10),
    ];
    assert!(unstarted.iter().all(|code| code.is_unstarted()));
    assert!(!started.iter().any(|code| code.is_unstarted()));
}

fn any_error() -> impl Strategy<Value = CallError> {
    let code = prop_oneof![
        Just(Code::NotFound),
        Just(Code::Malformed),
        Just(Code::Overloaded),
        Just(Code::DeadlineExceeded),
        Just(Code::Cancelled),
        Just(Code::Panicked),
        Just(Code::Refused),
        Just(Code::Dropped),
        any::<u32>().prop_map(Code::Application),
        (10..u64::MAX).prop_map(Code::Unknown),
    ];
    (code, "\\PC{0,120}", option::of(any::<u64>())).prop_map(|(code, message, millis)| CallError {
        code,
        message,
        retry_after: millis.map(Duration::from_millis),
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let trace = (1..=u8::MAX, 1..=u8::MAX, any::<u8>()).prop_map(|(trace, span, flags)| Trace {
        trace: [trace; 16],
        span: [span; 8],
        flags,
    });
    let flags = (any::<bool>(), any::<bool>());
    ("\\PC{1,16}", "[a-z]{1,64}", any::<u64>(), flags, option::of(trace), any::<u32>()).prop_map(
        |(service, endpoint, millis, (idempotent, streaming), trace, length)| Request {
            service: service.into(),
            endpoint: endpoint.into(),
            remaining: Duration::from_millis(millis),
            idempotent,
            streaming,
            trace,
            length,
        },
    )
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let piece = |least| vec(any::<u8>(), least..200).prop_map(Bytes::from);
    let payload = prop_oneof![
        any_request().prop_map(Payload::Request),
        piece(1).prop_map(Payload::Chunk),
        Just(Payload::Cancel),
        any::<u32>().prop_map(|length| Payload::Reply(Ok(Shape::Whole(length)))),
        Just(Payload::Reply(Ok(Shape::Items))),
        any_error().prop_map(|error| Payload::Reply(Err(error))),
        piece(1).prop_map(Payload::Part),
        piece(0).prop_map(Payload::Item),
        option::of(any_error()).prop_map(Payload::End),
        (1..=u32::MAX).prop_map(Payload::Grant),
        Just(Payload::GoingAway),
    ];
    (any::<u64>(), payload).prop_map(|(call, payload)| Frame { call, payload })
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(frame in any_frame()) {
        let bytes = encoded(&frame);
        prop_assert!(bytes.len() <= frame.weight(), "{} > {}", bytes.len(), frame.weight());
        prop_assert_eq!(decoded(&bytes), Ok(Some(frame)));
    }

    #[test]
    fn cut_and_changed_frames_are_harmless(
        frame in any_frame(),
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encoded(&frame);
        let cut = cut.index(bytes.len());
        prop_assert_eq!(decoded(&bytes[..cut]), Ok(None));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decoded(&bytes);
    }

    #[test]
    fn hostile_bytes_are_harmless(kind in 0..10u8, body in vec(any::<u8>(), 0..300)) {
        let _ = decoded(&body);
        let _ = decoded(&raw(kind, &body));
    }
}
