use aether_core::Genesis;
use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

fn mesh() -> MeshId {
    Genesis::open("aether").unwrap().mesh_id()
}

fn key() -> SecretKey {
    SecretKey::from_bytes([7; 32])
}

fn instance(service: &str, id: u64) -> Instance {
    Instance {
        service: service.into(),
        id,
        version: "1.2.3".into(),
        endpoints: vec!["get".into(), "put".into()],
        health: Health::Serving,
        load: Load { in_flight: 3, capacity: 64 },
    }
}

fn sign(instances: Vec<Instance>) -> Result<Announcement, AnnouncementError> {
    let version = (1_700_000_000_000, 5, 1_700_000_000_999);
    Announcement::sign(&key(), &mesh(), version, instances)
}

fn signed() -> Announcement {
    let draining = Instance { health: Health::Draining, ..instance("cache", 9) };
    sign(vec![instance("store", 1), draining]).unwrap()
}

/// Signs a body as it is, whatever it says.
fn wrap(body: &[u8]) -> Bytes {
    let signature = key().sign(&digest(&mesh(), body));
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.array(2).unwrap().bytes(body).unwrap().bytes(signature.as_bytes()).unwrap();
    encoder.into_writer().into()
}

/// The body of a later release: one more key in the announcement and in its instance, a health
/// that isn't known here, a longer load.
fn later_body() -> Vec<u8> {
    let mut e = minicbor::Encoder::new(Vec::new());
    let peer = key().public();
    e.map(6).unwrap().u8(0).unwrap().bytes(peer.as_bytes()).unwrap();
    for (at, value) in [(1, 8), (2, 9), (3, 10)] {
        e.u8(at).unwrap().u64(value).unwrap();
    }
    e.u8(4).unwrap().array(1).unwrap().map(7).unwrap();
    e.u8(0).unwrap().str("store").unwrap().u8(1).unwrap().u64(1).unwrap();
    e.u8(2).unwrap().str("2.0.0").unwrap().u8(3).unwrap().array(0).unwrap();
    e.u8(4).unwrap().u8(77).unwrap();
    e.u8(5).unwrap().array(3).unwrap().u8(1).unwrap().u8(2).unwrap().u8(3).unwrap();
    e.u8(70).unwrap().str("zone").unwrap();
    e.u8(99).unwrap().str("more").unwrap();
    e.into_writer()
}

/// Another language can check itself against this.
#[test]
fn golden_vector() {
    let golden = include_str!("../../../../../tests/golden/announcement-v1.txt");
    let lines = golden.lines().filter(|line| !line.starts_with('#'));
    let expected: Vec<&str> = lines.map(|line| line.split_once(' ').unwrap().1).collect();
    let announcement = signed();
    let found = [
        mesh().to_string(),
        announcement.peer().to_string(),
        digest(&mesh(), &announcement.body).to_string(),
        HEXLOWER.encode(announcement.bytes()),
    ];
    assert_eq!(found.as_slice(), expected.as_slice());
}

#[test]
fn decoding_undoes_signing() {
    let announcement = signed();
    let decoded = Announcement::decode(announcement.bytes().clone()).unwrap();
    assert_eq!(decoded, announcement);
    assert_eq!(decoded.verify(&mesh()), Ok(()));
    assert_eq!(decoded.instances[0].service, "cache", "in order, whatever order was given");
}

#[test]
fn every_byte_and_the_mesh_are_signed() {
    let announcement = signed();
    for at in 0..announcement.bytes().len() {
        let mut bytes = announcement.bytes().to_vec();
        bytes[at] ^= 1;
        if let Ok(changed) = Announcement::decode(bytes.into()) {
            assert!(changed.verify(&mesh()).is_err(), "byte {at}");
        }
    }
    let other = Genesis::open("other").unwrap().mesh_id();
    assert_eq!(announcement.verify(&other), Err(InvalidSignature.into()));
}

#[test]
fn cut_and_continued_announcements_are_malformed() {
    let bytes = signed().bytes().clone();
    for cut in 0..bytes.len() {
        let decoded = Announcement::decode(bytes.slice(..cut));
        assert!(matches!(decoded, Err(AnnouncementError::Malformed(_))), "cut at {cut}");
    }
    let longer = Announcement::decode([&bytes[..], &[0]].concat().into());
    assert_eq!(longer, Err(WireError::Trailing { len: 1 }.into()));
}

#[test]
fn what_a_later_release_adds_is_skipped_and_passed_on() {
    let bytes = wrap(&later_body());
    let announcement = Announcement::decode(bytes.clone()).unwrap();
    assert_eq!(announcement.verify(&mesh()), Ok(()));
    assert_eq!(announcement.bytes(), &bytes);
    let [instance] = &announcement.instances[..] else { panic!("one instance") };
    assert_eq!(instance.health, Health::Unhealthy, "what isn't understood isn't called");
    assert_eq!(instance.load, Load { in_flight: 1, capacity: 2 });
}

/// Each limit, by what breaks it: by whom signs, by whom offers, and by whom reads it from another.
#[test]
fn limits_hold_on_both_sides() {
    let changed = |change: fn(&mut Instance)| {
        let mut changed = instance("store", 1);
        change(&mut changed);
        vec![changed]
    };
    let many = (0..65).map(|id| Instance { endpoints: vec![], ..instance("s", id) }).collect();
    let cases = [
        (AnnouncementError::TooManyInstances, many),
        (AnnouncementError::TooManyEndpoints, changed(|i| i.endpoints = vec!["e".into(); 33])),
        (AnnouncementError::Name, changed(|i| i.service = "s".repeat(65))),
        (AnnouncementError::Name, changed(|i| i.service = String::new())),
        (AnnouncementError::Name, changed(|i| i.version = "v".repeat(65))),
        (AnnouncementError::Name, changed(|i| i.endpoints[1] = "\u{1b}[2J".into())),
        (AnnouncementError::Twice, vec![instance("store", 1), instance("store", 1)]),
    ];
    for (error, instances) in cases {
        assert_eq!(sign(instances.clone()), Err(error));
        assert_eq!(check_offer(instances.iter()), Err(error));
        let peer = (*key().public().as_bytes()).into();
        let body = Body { peer, life: 1, revision: 1, time: 1, instances };
        assert_eq!(Announcement::decode(wrap(&wire::to_cbor(&body))), Err(error));
    }
}

#[test]
fn an_announcement_has_at_most_four_kibibytes() {
    let long = |id| Instance { endpoints: vec!["e".repeat(64); 32], ..instance("store", id) };
    assert!(sign(vec![long(1)]).is_ok());
    assert_eq!(sign(vec![long(1), long(2)]), Err(AnnouncementError::TooLarge));
    let decoded = Announcement::decode(vec![0; MAX_ANNOUNCEMENT + 1].into());
    assert_eq!(decoded, Err(AnnouncementError::TooLarge));
}

/// Whatever is accepted as an offer can still be signed when its numbers have grown.
#[test]
fn an_offer_that_fits_goes_on_fitting() {
    let quiet = |id| Instance { load: Load::default(), ..instance("store", id) };
    let mut offer = Vec::new();
    while check_offer(offer.iter().chain([&quiet(offer.len() as u64)])).is_ok() {
        offer.push(quiet(offer.len() as u64));
    }
    let busy = Load { in_flight: u32::MAX, capacity: u32::MAX };
    let largest = |count: usize| {
        let busy = offer.iter().map(|each| Instance { load: busy, ..each.clone() }).take(count);
        let version = (u64::MAX, u64::MAX, u64::MAX);
        Announcement::sign(&key(), &mesh(), version, busy.collect())
    };
    assert!(offer.len() > 20, "{}", offer.len());
    assert!(largest(offer.len()).is_ok());
}

#[test]
fn a_quarter_is_of_the_capacity_or_of_the_load() {
    let load = |in_flight, capacity| Load { in_flight, capacity };
    assert!(!load(26, 64).is_far_from(&load(10, 64)));
    assert!(load(27, 64).is_far_from(&load(10, 64)));
    assert!(load(10, 81).is_far_from(&load(10, 64)));
    assert!(!load(25, 0).is_far_from(&load(20, 0)));
    assert!(load(26, 0).is_far_from(&load(20, 0)));
    assert!(load(1, 0).is_far_from(&load(0, 0)));
    assert!(load(u32::MAX, 1).is_far_from(&load(0, u32::MAX)));
}

proptest! {
    #[test]
    fn hostile_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Announcement::decode(bytes.clone().into());
        // And where the outer layout is right.
        let _ = Announcement::decode(wrap(&bytes));
    }

    #[test]
    fn spoilt_bodies_are_harmless(at in 0usize..200, byte in any::<u8>()) {
        let mut body = signed().body.to_vec();
        let at = at % body.len();
        body[at] = byte;
        if let Ok(decoded) = Announcement::decode(wrap(&body)) {
            let _ = decoded.verify(&mesh());
        }
    }
}
