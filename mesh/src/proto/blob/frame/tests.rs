use data_encoding::HEXLOWER;
use proptest::{collection::vec, prelude::*};

use super::*;

/// One frame of each kind and shape, named as in the golden vectors.
fn examples() -> Vec<(&'static str, Frame)> {
    let size = 5 * GROUP - 1;
    let retry_after = Duration::from_millis(1500);
    vec![
        ("get", Frame::Get(BlobId::from_bytes([0xaa; 32]))),
        ("ask", Frame::Ask { ask: 1, groups: Ranges::from_runs(vec![0..2, 4..5]).unwrap() }),
        ("cancel", Frame::Cancel { ask: 1 }),
        ("held", Frame::Held { size, groups: (0..5).into() }),
        ("held-nothing", Frame::Held { size, groups: Ranges::new() }),
        ("not-held", Frame::NotHeld),
        ("piece", Frame::Piece { ask: 1, encoding: Bytes::from_static(b"abc") }),
        ("end-not-held", Frame::End { ask: 2, why: Why::NotHeld }),
        ("end-cancelled", Frame::End { ask: 2, why: Why::Cancelled }),
        ("end-failed", Frame::End { ask: 2, why: Why::Failed }),
        ("busy", Frame::Busy { ask: 2, retry_after }),
        ("busy-stream", Frame::Busy { ask: 0, retry_after }),
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
    let len = u32::try_from(1 + body.len()).unwrap();
    [&len.to_be_bytes()[..], &[kind], body].concat()
}

/// A list of runs as on the wire.
fn runs(runs: &[(u64, u64)]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u16(u16::try_from(runs.len()).unwrap());
    runs.iter().for_each(|(start, len)| {
        writer.u64(*start).u64(*len);
    });
    writer.finish()
}

fn ask(list: &[(u64, u64)]) -> Result<Option<Frame>, FrameError> {
    decoded(&raw(1, &[&1u32.to_be_bytes()[..], &runs(list)].concat()))
}

fn held(size: u64, list: &[(u64, u64)]) -> Result<Option<Frame>, FrameError> {
    decoded(&raw(3, &[&size.to_be_bytes()[..], &runs(list)].concat()))
}

/// Another language can check itself against these.
#[test]
fn golden_vectors() {
    let golden = include_str!("../../../../tests/golden/blob-v1.txt");
    let expected: Vec<&str> = golden.lines().filter(|line| !line.starts_with('#')).collect();
    let found: Vec<String> = examples()
        .iter()
        .map(|(name, frame)| format!("{name} {}", HEXLOWER.encode(&encoded(frame))))
        .collect();
    assert_eq!(found, expected);
    for (name, frame) in examples() {
        assert_eq!(decoded(&encoded(&frame)), Ok(Some(frame)), "{name}");
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
fn a_later_release_may_add_kinds_and_reasons() {
    let bytes = [raw(99, b"anything"), encoded(&Frame::NotHeld)].concat();
    assert_eq!(decoded(&bytes), Ok(Some(Frame::NotHeld)));
    let newer = decoded(&raw(6, &[0, 0, 0, 2, 77]));
    assert_eq!(newer, Ok(Some(Frame::End { ask: 2, why: Why::Failed })));
}

#[test]
fn lengths_are_checked_before_they_are_believed() {
    let length = |len: u32| decoded(&len.to_be_bytes());
    assert_eq!(length(0), Err(FrameError::Length { len: 0 }));
    assert_eq!(length(1), Ok(None));
    assert_eq!(length(294_912), Ok(None));
    assert_eq!(length(294_913), Err(FrameError::Length { len: 294_913 }));
    const { assert!(MAX_PIECE + 5 <= MAX_FRAME) };
    let piece = |len| decoded(&encoded(&Frame::Piece { ask: 1, encoding: vec![0; len].into() }));
    assert!(piece(MAX_PIECE).is_ok());
    assert_eq!(piece(MAX_PIECE + 1), Err(FrameError::Length { len: MAX_PIECE + 1 }));
}

#[test]
fn asks_have_bounds() {
    let spread = |count| (0..count).map(|n| (2 * n, 1)).collect::<Vec<_>>();
    assert!(ask(&spread(64)).is_ok());
    assert_eq!(ask(&spread(65)), Err(FrameError::Groups));
    assert!(ask(&[(7, 1024)]).is_ok());
    assert_eq!(ask(&[(7, 1025)]), Err(FrameError::Groups));
    assert_eq!(ask(&[(0, 1000), (2000, 25)]), Err(FrameError::Groups));
    assert_eq!(ask(&[]), Err(FrameError::Groups));
    for kind in [1, 2, 5, 6] {
        let zero = [&[0; 4][..], &runs(&[(0, 1)])].concat();
        assert_eq!(decoded(&raw(kind, &zero)), Err(FrameError::Number), "{kind}");
    }
}

#[test]
fn runs_are_in_order_apart_and_full() {
    for list in [[(5, 1), (0, 1)], [(0, 2), (2, 1)], [(0, 2), (1, 4)], [(0, 1), (5, 0)]] {
        assert_eq!(ask(&list), Err(FrameError::Groups), "{list:?}");
    }
    assert_eq!(held(u64::MAX, &[(u64::MAX, 1)]), Err(FrameError::Groups), "no overflow");
}

#[test]
fn what_is_held_lies_within_the_size() {
    assert!(held(2 * GROUP + 1, &[(0, 3)]).is_ok());
    assert_eq!(held(2 * GROUP, &[(0, 3)]), Err(FrameError::Groups));
    assert!(held(0, &[(0, 1)]).is_ok(), "the empty blob is one group");
    let spread = |count| (0..count).map(|n| (2 * n, 1)).collect::<Vec<_>>();
    assert!(held(1 << 40, &spread(1024)).is_ok());
    assert_eq!(held(1 << 40, &spread(1025)), Err(FrameError::Groups));
}

#[test]
fn what_follows_a_body_is_refused() {
    let long = [&encoded(&Frame::Cancel { ask: 1 })[4..], &[0]].concat();
    let trailing = Err(WireError::Trailing { len: 1 }.into());
    assert_eq!(decoded(&raw(long[0], &long[1..])), trailing);
}

fn any_set(max: usize, len: u64) -> impl Strategy<Value = Ranges> {
    vec((1..9u64, 1..=len), 1..=max).prop_map(|steps| {
        let mut at = 0;
        let runs = steps.into_iter().map(|(gap, len)| {
            let run = at + gap..at + gap + len;
            at = run.end;
            run
        });
        Ranges::from_runs(runs.collect()).unwrap()
    })
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let ask = 1..u32::MAX;
    let why = prop_oneof![Just(Why::NotHeld), Just(Why::Cancelled), Just(Why::Failed)];
    let bytes = vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    prop_oneof![
        any::<[u8; 32]>().prop_map(|id| Frame::Get(BlobId::from_bytes(id))),
        (ask.clone(), any_set(MAX_ASK_RUNS, 16))
            .prop_map(|(ask, groups)| Frame::Ask { ask, groups }),
        ask.clone().prop_map(|ask| Frame::Cancel { ask }),
        any_set(40, 1000).prop_map(|groups| {
            Frame::Held { size: groups.runs().last().unwrap().end * GROUP, groups }
        }),
        Just(Frame::NotHeld),
        (ask.clone(), bytes).prop_map(|(ask, encoding)| Frame::Piece { ask, encoding }),
        (ask, why).prop_map(|(ask, why)| Frame::End { ask, why }),
        any::<(u32, u32)>().prop_map(|(ask, millis)| {
            Frame::Busy { ask, retry_after: Duration::from_millis(millis.into()) }
        }),
    ]
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(frame in any_frame()) {
        prop_assert_eq!(decoded(&encoded(&frame)), Ok(Some(frame)));
    }

    #[test]
    fn cut_and_changed_frames_are_harmless(
        frame in any_frame(),
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encoded(&frame);
        prop_assert_eq!(decoded(&bytes[..cut.index(bytes.len())]), Ok(None));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decoded(&bytes);
    }

    #[test]
    fn hostile_bytes_are_harmless(kind in 0..9u8, body in vec(any::<u8>(), 0..300)) {
        let _ = decoded(&body);
        let _ = decoded(&raw(kind, &body));
    }
}
