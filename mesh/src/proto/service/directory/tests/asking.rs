//! Questions and answers (rule 5), and whom they can blame (rule 6).

use aether_core::wire;
use proptest::prelude::*;

use super::*;

const NEWEST: u64 = u64::MAX;

fn ask(f: &mut Fixture, n: u8, below: u64) {
    f.handle(Event::Message { from: peer(n), message: Message::Ask { below } });
}

fn tell(f: &mut Fixture, n: u8, asked: u64, told: &[(&Announcement, u64)], below: Option<u64>) {
    let told = told.iter().map(|(announcement, age)| {
        let bytes = announcement.bytes().to_vec().into();
        Told { bytes, age: *age }
    });
    let message = Message::Tell { asked, announcements: told.collect(), below };
    f.handle(Event::Message { from: peer(n), message });
}

/// The one answer that was sent: of whom, how old, and where it goes on.
fn told(f: &mut Fixture) -> (Vec<(PublicKey, u64)>, Option<u64>) {
    let sent = f.sent();
    let [(_, Message::Tell { announcements, below, .. })] = &sent[..] else {
        panic!("one answer: {sent:?}");
    };
    let told = announcements.iter().map(|told| {
        let bytes = Bytes::copy_from_slice(&told.bytes);
        (Announcement::decode(bytes).unwrap().peer(), told.age)
    });
    (told.collect(), *below)
}

#[test]
fn a_newcomer_learns_all_from_one_neighbour() {
    let mut old = Fixture::new(Config::default());
    for n in 2..200 {
        old.says(n, 1, &[instance("store", 1)]);
    }
    old.handle(Event::Serve(instance("store", 1)));
    old.connected(250);
    old.outputs.clear();
    let directory = Directory::new(Config::default(), mesh(), key(250), 1, 9);
    let mut new = Fixture { directory, now: old.now, outputs: vec![] };
    new.connected(ME);
    let mut pages = 0;
    while let Some((to, message)) = new.sent().pop() {
        assert_eq!(to, peer(ME));
        old.handle(Event::Message { from: peer(250), message });
        for (_, message) in old.sent() {
            new.handle(Event::Message { from: peer(ME), message });
            pages += 1;
        }
    }
    assert_eq!((pages, new.directory.len()), (4, 199));
    assert!(new.is_live(ME) && new.is_live(2) && new.is_live(199));
    assert!(new.directory.asking.is_empty());
    assert_eq!(new.faults(), []);
}

#[test]
fn answers_are_paged_with_ours_and_the_last_learnt_first() {
    let size = Fixture::new(Config::default()).sign(2, (1, 1), &[instance("store", 1)]);
    let page = 4096 + size.bytes().len() / 2;
    let fit = page / size.bytes().len();
    let mut f = Fixture::new(Config { page, ..Config::default() });
    f.handle(Event::Serve(instance("store", 1)));
    for n in 2..60 {
        f.says(n, 1, &[instance("store", 1)]);
    }
    f.says(30, 2, &[instance("store", 1)]);
    f.connected(90);
    f.outputs.clear();
    ask(&mut f, 90, NEWEST);
    let (first, below) = told(&mut f);
    assert!((fit - 1..=fit).contains(&first.len()), "{} of {fit}", first.len());
    let order: Vec<_> = [ME, 30, 59, 58].map(|n| (peer(n), 0)).into();
    assert_eq!(first[..4], order);
    ask(&mut f, 90, below.unwrap());
    let (second, _) = told(&mut f);
    assert_eq!(second[0].0, peer(59 - (first.len() as u8 - 2)), "where the first page ended");
}

#[test]
fn an_age_travels_along_and_passing_on_prolongs_nothing() {
    let mut f = Fixture::new(Config::default());
    let announcement = f.sign(2, (1, 1), &[instance("store", 1)]);
    f.connected(90);
    tell(&mut f, 90, NEWEST, &[(&announcement, 20_000)], None);
    assert!(f.is_live(2));
    f.pass_ms(5000);
    f.outputs.clear();
    ask(&mut f, 90, NEWEST);
    assert_eq!(told(&mut f).0, [(peer(2), 25_000)]);
    f.pass_ms(9999);
    assert!(f.is_live(2));
    f.pass_ms(1);
    assert!(!f.is_live(2), "35 s after it was signed");
    let expired = f.sign(3, (1, 1), &[instance("store", 1)]);
    f.handle(Event::Disconnected { peer: peer(90) });
    f.connected(90);
    tell(&mut f, 90, NEWEST, &[(&expired, 35_000), (&expired, u64::MAX)], None);
    assert!(!f.is_live(3));
    assert_eq!((f.faults(), f.directory.stats().stale), (vec![], 2));
}

#[test]
fn what_we_said_last_is_told_while_it_holds() {
    let mut f = Fixture::new(Config::default());
    f.handle(Event::Serve(instance("store", 1)));
    f.handle(Event::End { service: "store".into(), id: 1 });
    f.connected(90);
    f.outputs.clear();
    f.pass_ms(1000);
    ask(&mut f, 90, NEWEST);
    assert_eq!(told(&mut f).0, [(peer(ME), 1000)], "who missed it learns that it ended");
    f.pass_ms(35_000);
    f.outputs.clear();
    ask(&mut f, 90, NEWEST);
    assert_eq!(told(&mut f).0, []);
}

#[test]
fn a_question_without_an_answer_is_asked_again() {
    let mut f = Fixture::new(Config::default());
    f.connected(2);
    let question = || (peer(2), Message::Ask { below: NEWEST });
    f.connected(2);
    assert_eq!(f.sent(), [question()], "asked once");
    f.pass_ms(1999);
    assert_eq!(f.sent(), []);
    f.pass_ms(60_000);
    assert_eq!(f.sent(), [question(), question()]);
    assert!(f.directory.asking.is_empty() && f.directory.poll_timeout().is_none());
    f.connected(2);
    f.handle(Event::Disconnected { peer: peer(2) });
    f.sent();
    f.pass_ms(60_000);
    assert_eq!(f.sent(), [], "it is gone");
}

#[test]
fn what_nobody_asked_for_is_not_read() {
    let mut f = Fixture::new(Config::default());
    let announcement = f.sign(2, (1, 1), &[instance("store", 1)]);
    let bad = forged(&announcement);
    tell(&mut f, 3, NEWEST, &[(&bad, 0)], None);
    f.connected(3);
    tell(&mut f, 3, 17, &[(&bad, 0)], None);
    assert_eq!((f.faults(), f.directory.stats().ignored), (vec![], 2));
    tell(&mut f, 3, NEWEST, &[(&announcement, 0)], None);
    tell(&mut f, 3, NEWEST, &[(&bad, 0)], None);
    assert_eq!((f.is_live(2), f.directory.stats().ignored), (true, 3), "one answer each");
}

#[test]
fn a_liar_neither_goes_on_for_ever_nor_gets_a_second_fault_read() {
    let mut f = Fixture::new(Config { max_pages: 4, ..Config::default() });
    f.connected(2);
    f.sent();
    let mut asked = NEWEST;
    let mut questions = 0;
    for _ in 0..20 {
        tell(&mut f, 2, asked, &[], Some(asked - 1));
        let Some((_, Message::Ask { below })) = f.sent().pop() else { break };
        asked = below;
        questions += 1;
    }
    assert_eq!(questions, 3, "four answers");
    f.handle(Event::Disconnected { peer: peer(2) });
    f.connected(2);
    f.sent();
    tell(&mut f, 2, NEWEST, &[], Some(NEWEST));
    assert_eq!(f.sent(), [], "it doesn't go on but back");
    f.handle(Event::Disconnected { peer: peer(2) });
    f.connected(2);
    f.sent();
    let good = f.sign(3, (1, 1), &[instance("store", 1)]);
    let bad = forged(&f.sign(4, (1, 1), &[]));
    tell(&mut f, 2, NEWEST, &[(&bad, 0), (&bad, 0), (&good, 0)], Some(5));
    assert_eq!(f.faults(), [(peer(2), Fault::Forged)]);
    assert!(!f.is_live(3) && f.sent().is_empty());
}

#[test]
fn who_asks_too_much_gets_no_answer() {
    let mut f = Fixture::new(Config { max_pages: 4, ..Config::default() });
    ask(&mut f, 2, NEWEST);
    assert_eq!(f.sent(), [], "not a neighbour");
    f.connected(2);
    f.sent();
    for _ in 0..10 {
        ask(&mut f, 2, NEWEST);
        // Coming back doesn't help while the connection stands.
        f.connected(2);
    }
    let answers = |f: &mut Fixture| {
        let sent = f.sent();
        sent.iter().filter(|(_, message)| matches!(message, Message::Tell { .. })).count()
    };
    assert_eq!(answers(&mut f), 4);
    assert_eq!(f.directory.stats().ignored, 7);
    f.pass_ms(10_000);
    ask(&mut f, 2, NEWEST);
    assert_eq!(answers(&mut f), 1);
}

#[test]
fn messages_round_trip_and_skip_what_they_do_not_know() {
    let told = Told { bytes: b"bytes".to_vec().into(), age: 5 };
    let tell = |below| Message::Tell { asked: NEWEST, announcements: vec![told.clone()], below };
    for message in [Message::Ask { below: 7 }, tell(Some(3)), tell(None)] {
        assert_eq!(wire::from_cbor(&wire::to_cbor(&message)), Ok(message));
    }
    // An ask with one more field.
    let later = [0x83, 0x00, 0x07, 0x63, b'n', b'e', b'w'];
    assert_eq!(wire::from_cbor(&later), Ok(Message::Ask { below: 7 }));
    // A tell of 2^60 announcements, of which none arrives.
    let vast = [0x84, 0x01, 0x00, 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0];
    assert!(wire::from_cbor::<Message>(&vast).is_err());
}

proptest! {
    #[test]
    fn hostile_messages_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut f = Fixture::new(Config::default());
        f.connected(2);
        if let Ok(message) = wire::from_cbor::<Message>(&bytes) {
            f.handle(Event::Message { from: peer(2), message });
        }
        let message = Message::Tell {
            asked: NEWEST,
            announcements: vec![Told { bytes: bytes.into(), age: 0 }],
            below: None,
        };
        f.handle(Event::Message { from: peer(2), message });
        prop_assert_eq!(f.directory.len(), 0);
    }
}
