//! One rule at a time.

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1_000)
}

fn author(number: u64) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    PublicKey::from_bytes(bytes)
}

fn presence() -> Presence {
    Presence::new(Config::default(), [7; 32])
}

fn set(name: &str, value: &str) -> Input {
    Input::Set { name: name.into(), value: value.into(), lasts: None }
}

fn message(values: &[(&str, &str)]) -> Vec<u8> {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    Message { asks: false, values: values.collect() }.encode()
}

fn heard(by: u64, life: u64, number: u64, values: &[(&str, &str)]) -> Input {
    let bytes = message(values);
    Input::Heard(Heard { author: author(by), life, number, counts: true, bytes })
}

fn outputs(presence: &mut Presence) -> Vec<Output> {
    std::iter::from_fn(|| presence.poll_output()).collect()
}

fn said(presence: &mut Presence) -> Vec<Message> {
    let say = |output| match output {
        Output::Say(bytes) => Some(Message::decode(&bytes).unwrap()),
        Output::Changed { .. } => None,
    };
    outputs(presence).into_iter().filter_map(say).collect()
}

fn changed(by: u64, name: &str, value: Option<&str>) -> Output {
    let value = value.map(|value| value.as_bytes().to_vec());
    Output::Changed { author: author(by), name: name.into(), value }
}

/// Lets it act whenever it wants to, until then.
fn pass(presence: &mut Presence, until: Time) -> Vec<(Time, Output)> {
    let mut all = Vec::new();
    while let Some(next) = presence.poll_timeout().filter(|next| *next <= until) {
        presence.handle(next, Input::Timeout);
        let some = outputs(presence);
        let waits = presence.poll_timeout().is_none_or(|at| at > next);
        assert!(!some.is_empty() || waits, "it spins");
        all.extend(some.into_iter().map(|output| (next, output)));
    }
    all
}

#[test]
fn what_is_set_is_said_once_somebody_listens_and_again_at_each_beat() {
    let mut one = presence();
    one.handle(at(0), set("cursor", "3"));
    assert!(pass(&mut one, at(100)).is_empty(), "nobody listens");
    one.handle(at(100), Input::Reaches(true));
    let first = said(&mut one);
    assert_eq!(first.len(), 1);
    assert!(first[0].asks);
    assert_eq!(first[0].values, [("cursor".to_owned(), b"3".to_vec())].into());
    let beats = pass(&mut one, at(160));
    let times: Vec<_> = beats.iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [at(115), at(130), at(145), at(160)]);
    assert!(beats.iter().all(|(_, output)| *output == Output::Say(message(&[("cursor", "3")]))));
}

#[test]
fn changes_in_quick_succession_are_one_message() {
    let mut one = presence();
    one.handle(at(0), Input::Reaches(true));
    said(&mut one);
    for number in 0..40 {
        one.handle(at(1) + Duration::from_millis(number), set("cursor", &number.to_string()));
    }
    one.handle(at(1) + Duration::from_millis(60), Input::Timeout);
    let values: Vec<_> =
        said(&mut one).into_iter().map(|said| said.values["cursor"].clone()).collect();
    assert_eq!(values, [b"0".to_vec(), b"39".to_vec()]);
    one.handle(at(2), set("cursor", "39"));
    assert!(said(&mut one).is_empty(), "it is the same");
}

#[test]
fn what_is_cleared_is_said_to_be_gone_once_and_then_there_is_silence() {
    let mut one = presence();
    one.handle(at(0), Input::Reaches(true));
    one.handle(at(1), set("cursor", "3"));
    assert!(one.farewell().is_some());
    said(&mut one);
    one.handle(at(2), Input::Clear { name: "cursor".into() });
    assert_eq!(said(&mut one), [Message::default()]);
    assert_eq!(one.farewell(), None);
    assert!(pass(&mut one, at(1_000)).is_empty());
    assert_eq!(one.poll_timeout(), None);
}

#[test]
fn what_lasts_for_a_while_ends_unless_it_is_renewed() {
    let mut one = presence();
    one.handle(at(0), Input::Reaches(true));
    let lasts = Some(10 * SECOND);
    let set = |value: &str| Input::Set { name: "n".into(), value: value.into(), lasts };
    one.handle(at(1), set("x"));
    one.handle(at(9), set("x"));
    outputs(&mut one);
    assert!(pass(&mut one, at(12)).is_empty());
    assert_eq!(one.own("n"), Some(&b"x"[..]));
    let rest = pass(&mut one, at(60));
    assert_eq!(rest.last(), Some(&(at(19), Output::Say(message(&[])))));
    assert_eq!(one.own("n"), None);
}

#[test]
fn the_newest_message_of_an_author_is_shown() {
    let mut one = presence();
    one.handle(at(0), heard(1, 5, 2, &[("a", "1"), ("b", "2")]));
    assert_eq!(outputs(&mut one), [changed(1, "a", Some("1")), changed(1, "b", Some("2"))]);
    one.handle(at(0), heard(1, 5, 1, &[("a", "old")]));
    one.handle(at(0), heard(1, 5, 2, &[("a", "old")]));
    one.handle(at(0), heard(1, 4, 9, &[("a", "old")]));
    assert!(outputs(&mut one).is_empty());
    one.handle(at(1), heard(1, 5, 3, &[("b", "3")]));
    assert_eq!(outputs(&mut one), [changed(1, "a", None), changed(1, "b", Some("3"))]);
    one.handle(at(1), heard(1, 6, 1, &[("b", "3")]));
    assert!(outputs(&mut one).is_empty(), "it is the same");
    one.handle(at(2), heard(2, 1, 1, &[("b", "x")]));
    let all: Vec<_> = one.others("b").collect();
    assert_eq!(all, [(author(1), &b"3"[..]), (author(2), &b"x"[..])]);
}

#[test]
fn who_falls_silent_is_forgotten_and_who_goes_is_not_brought_back() {
    let mut one = presence();
    one.handle(at(0), heard(1, 1, 1, &[("a", "1")]));
    one.handle(at(30), heard(1, 1, 2, &[("a", "1")]));
    one.handle(at(31), heard(2, 1, 1, &[("a", "2")]));
    outputs(&mut one);
    one.handle(at(40), heard(2, 1, 2, &[]));
    assert_eq!(outputs(&mut one), [changed(2, "a", None)]);
    one.handle(at(41), heard(2, 1, 1, &[("a", "2")]));
    assert!(outputs(&mut one).is_empty());
    assert_eq!(pass(&mut one, at(200)), [(at(75), changed(1, "a", None))]);
    assert!(one.is_empty());
}

#[test]
fn who_does_not_count_is_not_shown() {
    let mut one = presence();
    one.handle(at(0), heard(1, 1, 1, &[("a", "1")]));
    outputs(&mut one);
    let bytes = message(&[("a", "2")]);
    let heard = |by| {
        let bytes = bytes.clone();
        Heard { author: author(by), life: 1, number: 2, counts: false, bytes }
    };
    one.handle(at(1), Input::Heard(heard(2)));
    assert!(outputs(&mut one).is_empty());
    one.handle(at(1), Input::Heard(heard(1)));
    assert_eq!(outputs(&mut one), [changed(1, "a", None)]);
    assert!(one.is_empty());
}

#[test]
fn however_many_ask_they_are_answered_once_and_soon() {
    let mut one = presence();
    one.handle(at(0), Input::Reaches(true));
    one.handle(at(1), set("a", "1"));
    outputs(&mut one);
    let asks = Message { asks: true, ..Message::default() }.encode();
    for by in 0..1_000 {
        let bytes = asks.clone();
        let heard = Heard { author: author(by), life: 1, number: 1, counts: true, bytes };
        one.handle(at(5), Input::Heard(heard));
    }
    assert!(outputs(&mut one).is_empty());
    let answers = pass(&mut one, at(8));
    assert_eq!(answers.len(), 1);
    assert!(answers[0].0 < at(6));
    assert!(one.is_empty(), "who only asks takes no room");
}

#[test]
fn invented_authors_fill_the_room_and_displace_nobody() {
    let mut one = presence();
    one.handle(at(0), heard(1_000_000, 1, 1, &[("a", "honest")]));
    for by in 0..10_000 {
        one.handle(at(1), heard(by, 1, 1, &[("a", "x")]));
    }
    assert_eq!(one.len(), MAX_AUTHORS);
    assert!(one.others("a").any(|(_, value)| value == b"honest"));
    outputs(&mut one);
    one.handle(at(30), heard(1_000_000, 1, 2, &[("a", "here")]));
    assert_eq!(outputs(&mut one), [changed(1_000_000, "a", Some("here"))]);
    pass(&mut one, at(60));
    assert_eq!(one.len(), 1, "they expire");
}

#[test]
fn what_is_too_large_is_refused_and_says_why() {
    let mut one = presence();
    let large = vec![0; MAX_VALUE + 1];
    assert_eq!(one.admits("", b""), Err(SetError::Name { len: 0 }));
    assert_eq!(one.admits(&"n".repeat(256), b""), Err(SetError::Name { len: 256 }));
    assert_eq!(one.admits("n", &large), Err(SetError::Value { len: large.len() }));
    let full = |number: usize| format!("{number:02}{}", "n".repeat(MAX_NAME - 2));
    for number in 0..3 {
        assert_eq!(one.admits(&full(number), &large[1..]), Ok(()));
        one.handle(at(0), Input::Set { name: full(number), value: large[1..].into(), lasts: None });
    }
    assert_eq!(one.admits(&full(3), &large[1..]), Err(SetError::Full));
    one.handle(at(0), Input::Set { name: full(3), value: large[1..].into(), lasts: None });
    assert_eq!(one.own(&full(3)), None);
    let mut one = presence();
    for number in 0..MAX_VALUES {
        one.handle(at(0), set(&full(number), "x"));
    }
    assert_eq!(one.admits("n", b""), Err(SetError::Full));
    assert_eq!(one.admits(&full(0), b"another"), Ok(()));
}

#[test]
fn messages_are_stable_and_nothing_else_is_read() {
    let values = [("a".to_owned(), vec![1, 2]), ("ö".to_owned(), vec![])].into();
    let message = Message { asks: true, values };
    let bytes = message.encode();
    assert_eq!(bytes, [1, 1, 2, 1, b'a', 0, 2, 1, 2, 2, 0xc3, 0xb6, 0, 0]);
    assert_eq!(Message::decode(&bytes), Some(message));
    for len in 0..bytes.len() {
        assert_eq!(Message::decode(&bytes[..len]), None);
    }
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        Message::decode(&bytes)
    };
    for (at, byte) in [(0, 2), (1, 2), (2, 1), (2, 3), (2, 17), (3, 0), (6, 0), (10, 0xff)] {
        assert_eq!(with(at, byte), None, "byte {at} = {byte}");
    }
    // Names that don't ascend, a value that is too long, and one that is longer than the message.
    assert_eq!(Message::decode(&[1, 0, 2, 1, b'b', 0, 0, 1, b'a', 0, 0]), None);
    assert_eq!(Message::decode(&[1, 0, 2, 1, b'a', 0, 0, 1, b'a', 0, 0]), None);
    let long = [&[1, 0, 1, 1, b'a', 0x10, 0x01][..], &[0; 4_097]].concat();
    assert_eq!(Message::decode(&long), None);
    // Values that are each short enough, and too large together.
    let of_four = |last: usize| {
        let sizes = (0..4).zip([MAX_VALUE, MAX_VALUE, MAX_VALUE, last]);
        let values = sizes.map(|(name, size)| (name.to_string(), vec![0; size])).collect();
        Message { asks: false, values }
    };
    let largest = of_four(MAX_VALUE - 3 - 4 * 4);
    assert_eq!(largest.encode().len(), MAX_BYTES);
    assert_eq!(Message::decode(&largest.encode()), Some(largest));
    assert_eq!(Message::decode(&of_four(MAX_VALUE - 3 - 4 * 4 + 1).encode()), None);
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_what_is_read_is_its_own_bytes(
        asks: bool,
        values in btree_map("\\PC{1,40}", vec(any::<u8>(), 0..60), 0..8),
        at: usize,
        byte: u8,
    ) {
        let message = Message { asks, values };
        let mut bytes = message.encode();
        prop_assert_eq!(Message::decode(&bytes), Some(message));
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Some(other) = Message::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }
}
