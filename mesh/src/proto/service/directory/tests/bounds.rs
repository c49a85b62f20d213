//! What a directory holds at most (rule 7).

use proptest::prelude::*;

use super::*;

#[test]
fn nodes_are_bounded_and_an_unknown_newcomer_is_left_out() {
    let mut f = Fixture::new(Config { max_nodes: 2, ..Config::default() });
    for n in [2, 3, 4] {
        f.says(n, 1, &[instance("store", 1)]);
    }
    assert_eq!((f.directory.len(), f.is_live(4)), (2, false));
    assert_eq!(f.directory.stats().left_out, 1);
    let unread = forged(&f.sign(5, (1, 1), &[]));
    f.hears(9, &unread);
    assert_eq!(f.faults(), [], "no signature is checked in vain");
    f.says(3, 2, &[instance("store", 2)]);
    assert_eq!(f.live("store").len(), 2, "the known go on");
    f.handle(Event::MemberLeft { peer: peer(2), farewell: false });
    f.says(4, 2, &[instance("store", 1)]);
    assert!(f.is_live(4), "there is room again");
}

#[test]
fn bytes_are_bounded_and_a_known_node_that_outgrows_them_is_removed() {
    let small = Fixture::new(Config::default()).sign(2, (1, 1), &[instance("store", 1)]);
    let max_bytes = small.bytes().len() * 2 + 10;
    let mut f = Fixture::new(Config { max_bytes, ..Config::default() });
    f.says(2, 1, &[instance("store", 1)]);
    f.says(3, 1, &[instance("store", 1)]);
    assert!(f.is_live(2) && f.is_live(3));
    let large: Vec<_> = (1..4).map(|id| instance("store", id)).collect();
    let false_news = forged(&f.sign(2, (1, 2), &large));
    f.hears(9, &false_news);
    assert_eq!((f.is_live(2), f.faults()), (true, vec![(peer(9), Fault::Forged)]));
    f.changed();
    f.says(2, 2, &large);
    assert!(!f.is_live(2), "what it said before is no longer so");
    assert_eq!((f.changed(), f.directory.stats().left_out), (vec!["store".into()], 1));
    f.says(2, 1, &[instance("store", 1)]);
    assert!(!f.is_live(2));
    f.says(2, 3, &[instance("store", 1)]);
    assert!(f.is_live(2));
    assert!(f.directory.bytes() <= max_bytes);
}

#[test]
fn instances_of_one_service_are_bounded() {
    let mut f = Fixture::new(Config { max_instances: 2, ..Config::default() });
    f.says(2, 1, &[instance("store", 1)]);
    f.says(3, 1, &[instance("store", 1), instance("store", 2), instance("other", 1)]);
    assert_eq!(f.live("store").len(), 2);
    assert_eq!((f.live("other"), f.directory.stats().left_out), (vec![(peer(3), 1)], 1));
    f.says(2, 2, &[]);
    f.says(3, 2, &[instance("store", 1), instance("store", 2), instance("other", 1)]);
    assert_eq!(f.live("store"), [(peer(3), 1), (peer(3), 2)], "its next word finds room");
    f.handle(Event::Serve(instance("store", 1)));
    assert_eq!(f.live("store").len(), 3, "our own are counted otherwise");
}

#[test]
fn remembered_gone_are_bounded_and_the_oldest_is_forgotten() {
    let mut f = Fixture::new(Config { max_gone: 2, ..Config::default() });
    for n in [2, 3, 4] {
        f.says(n, 1, &[instance("store", 1)]);
        f.handle(Event::MemberLeft { peer: peer(n), farewell: false });
        f.pass_ms(1);
    }
    assert_eq!(f.directory.gone(), 2);
    for n in [2, 3, 4] {
        f.says(n, 1, &[instance("store", 1)]);
    }
    assert_eq!(f.live("store"), [(peer(2), 1)]);
    f.handle(Event::MemberLeft { peer: peer(77), farewell: true });
    assert_eq!(f.directory.gone(), 2, "of that one nothing was known");
}

#[test]
fn questions_neighbours_and_searches_are_bounded() {
    let bounds = Config { max_asking: 2, max_neighbours: 3, ..Config::default() };
    let mut f = Fixture::new(Config { max_searches: 2, ..bounds });
    for n in 2..9 {
        f.connected(n);
    }
    assert_eq!(f.sent().len(), 2);
    for n in 2..9 {
        f.handle(Event::Message { from: peer(n), message: Message::Ask { below: u64::MAX } });
    }
    assert_eq!(f.sent().len(), 3);
    for service in ["a", "b", "c", &"d".repeat(65)] {
        f.handle(Event::Look { service: service.into() });
    }
    assert_eq!(f.found(), ["a", "b"]);
    assert_eq!(f.directory.searches.len(), 2);
}

/// A small world of everything that can happen, as a table of numbers.
fn event(f: &Fixture, (kind, n, number): (u8, u8, u8)) -> Event {
    let n = 2 + n % 6;
    let service = || ["a", "b", "c"][usize::from(number % 3)].to_owned();
    let id = u64::from(number % 4);
    let instances: Vec<_> = (0..id).map(|id| instance(&service(), id)).collect();
    match kind % 12 {
        0 => Event::Serve(instance(&service(), id)),
        1 => Event::End { service: service(), id },
        2 => Event::Drain,
        3 => Event::Member { peer: peer(n), life: id },
        4 => Event::MemberLeft { peer: peer(n), farewell: number % 2 == 0 },
        5 => Event::Connected { peer: peer(n) },
        6 => Event::Disconnected { peer: peer(n) },
        7 => Event::Look { service: service() },
        8 => Event::Timeout,
        _ => {
            let version = (u64::from(number % 3), u64::from(number));
            let bytes = f.sign(n, version, &instances).bytes().clone();
            Event::Announced { from: peer(n), bytes }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in whatever order, the bounds hold and the indexes agree with each other.
    #[test]
    fn the_table_stays_bounded_and_whole(
        events in proptest::collection::vec(any::<(u8, u8, u8)>(), 1..80),
    ) {
        let bounds = Config { max_nodes: 4, max_bytes: 900, max_instances: 5, ..Config::default() };
        let mut f = Fixture::new(Config { max_gone: 3, ..bounds });
        for numbers in events {
            let event = event(&f, numbers);
            f.handle(event);
            f.pass_ms(u64::from(numbers.2) * 20);
            let directory = &f.directory;
            prop_assert!(directory.len() <= 4 && directory.bytes() <= 900);
            prop_assert!(directory.gone() <= 3);
            let mut all = 0;
            for service in ["a", "b", "c"] {
                let listed = directory.table.instances(service).count();
                prop_assert!(listed <= 5);
                all += listed;
            }
            prop_assert_eq!(all, directory.table.all().count());
        }
        f.handle(Event::Stop);
        f.pass(Duration::from_secs(60));
        prop_assert_eq!(f.directory.all().count(), 0);
        prop_assert_eq!((f.directory.len(), f.directory.bytes()), (0, 0));
        prop_assert_eq!(f.directory.table.services().count(), 0);
    }
}
