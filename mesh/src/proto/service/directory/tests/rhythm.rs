//! When a node announces (rules 2 and 4), and what it does for reach (rule 8).

use super::*;

fn load(f: &mut Fixture, in_flight: u32) {
    let load = Load { in_flight, capacity: 8 };
    f.handle(Event::Load { service: "store".into(), id: 1, load });
}

// Rule 2.

#[test]
fn what_changes_is_announced_at_once() {
    let mut f = Fixture::new(Config::default());
    f.handle(Event::Serve(instance("store", 1)));
    f.handle(Event::Serve(instance("store", 2)));
    f.handle(Event::Serve(unwell("store", 1, Health::Unhealthy)));
    f.handle(Event::Serve(Instance { version: "2.0.0".into(), ..instance("store", 2) }));
    f.handle(Event::End { service: "store".into(), id: 1 });
    let announced = f.announced();
    let versions: Vec<_> = announced.iter().map(Announcement::version).collect();
    assert_eq!(versions, [(LIFE, 1), (LIFE, 2), (LIFE, 3), (LIFE, 4), (LIFE, 5)]);
    let counts: Vec<_> = announced.iter().map(|each| each.instances.len()).collect();
    assert_eq!(counts, [1, 2, 2, 2, 1]);
    assert!(announced.iter().all(|each| each.verify(&mesh()).is_ok() && each.time == f.wall()));
    f.handle(Event::Serve(Instance { version: "2.0.0".into(), ..instance("store", 2) }));
    assert_eq!(f.announced(), [], "nothing is new");
}

#[test]
fn a_load_that_moves_by_more_than_a_quarter_is_announced_once_a_second() {
    let mut f = Fixture::new(Config::default());
    f.handle(Event::Serve(instance("store", 1)));
    f.announced();
    f.pass_ms(2000);
    load(&mut f, 2);
    f.pass_ms(500);
    assert_eq!(f.announced(), [], "a quarter is not more than a quarter");
    load(&mut f, 3);
    let [first] = &f.announced()[..] else { panic!("announced at once") };
    assert_eq!(first.instances[0].load.in_flight, 3);
    load(&mut f, 6);
    f.pass_ms(999);
    load(&mut f, 8);
    assert_eq!(f.announced(), []);
    f.pass_ms(1);
    let [second] = &f.announced()[..] else { panic!("announced when the second is over") };
    assert_eq!(second.instances[0].load.in_flight, 8);
    load(&mut f, 0);
    load(&mut f, 7);
    f.pass_ms(2000);
    assert_eq!(f.announced(), [], "it came back before anybody was told");
}

#[test]
fn who_serves_repeats_itself_at_jittered_times() {
    let mut f = Fixture::new(Config::default());
    assert_eq!(f.directory.poll_timeout(), None, "who serves nothing is quiet");
    f.handle(Event::Serve(instance("store", 1)));
    let mut waits = BTreeSet::new();
    for _ in 0..20 {
        let wait = f.directory.poll_timeout().unwrap().since(f.now);
        assert!((Duration::from_secs(8)..=Duration::from_secs(10)).contains(&wait), "{wait:?}");
        waits.insert(wait);
        f.announced();
        f.pass(wait);
        assert_eq!(f.announced().len(), 1);
    }
    assert!(waits.len() > 15, "{waits:?}");
    f.handle(Event::End { service: "store".into(), id: 1 });
    assert_eq!(f.announced().len(), 1);
    assert_eq!(f.directory.poll_timeout(), None);
}

// Rule 4.

#[test]
fn a_node_that_drains_says_so_and_a_node_that_stops_says_nothing_more() {
    let mut f = Fixture::new(Config::default());
    f.handle(Event::Serve(instance("store", 1)));
    f.handle(Event::Serve(instance("other", 1)));
    f.outputs.clear();
    f.handle(Event::Drain);
    let Some(Output::Announce(_)) = f.outputs.first() else { panic!("{:?}", f.outputs) };
    let [draining] = &f.announced()[..] else { panic!("announced once") };
    assert!(draining.instances.iter().all(|each| each.health == Health::Draining));
    assert_eq!((draining.instances.len(), f.changed()), (2, vec!["other".into(), "store".into()]));
    f.handle(Event::Drain);
    assert_eq!(f.outputs, []);
    f.handle(Event::Stop);
    let [stopped] = &f.announced()[..] else { panic!("announced once") };
    assert_eq!(stopped.instances, []);
    assert_eq!(f.changed(), ["other", "store"]);
    f.outputs.clear();
    f.handle(Event::Serve(instance("store", 2)));
    let (service, reason) = ("store".into(), Refusal::Stopped);
    assert_eq!(f.outputs, [Output::Refused { service, id: 2, reason }]);
    f.outputs.clear();
    f.pass_ms(60_000);
    f.handle(Event::Stop);
    assert_eq!((f.outputs, f.directory.instances("store").count()), (vec![], 0));
}

#[test]
fn what_cannot_be_announced_is_refused() {
    let mut f = Fixture::new(Config::default());
    f.handle(Event::Serve(instance("", 1)));
    let reason = Refusal::Limit(AnnouncementError::Name);
    assert_eq!(f.outputs, [Output::Refused { service: String::new(), id: 1, reason }]);
    for id in 0..64 {
        f.handle(Event::Serve(instance("s", id)));
    }
    f.outputs.clear();
    f.handle(Event::Serve(instance("s", 64)));
    let reason = Refusal::Limit(AnnouncementError::TooManyInstances);
    assert_eq!(f.outputs, [Output::Refused { service: "s".into(), id: 64, reason }]);
    f.outputs.clear();
    f.handle(Event::Serve(unwell("s", 63, Health::Unhealthy)));
    assert_eq!(f.announced().len(), 1, "a change of what is served still fits");
}

// Rule 8.

#[test]
fn a_provider_record_stands_while_a_service_has_an_instance() {
    let mut f = Fixture::new(Config::default());
    let records = |f: &mut Fixture| {
        f.take(|output| match output {
            Output::Provide { service } => Some((true, service.clone())),
            Output::StopProviding { service } => Some((false, service.clone())),
            _ => None,
        })
    };
    f.handle(Event::Serve(instance("a", 1)));
    f.handle(Event::Serve(instance("a", 2)));
    f.handle(Event::Serve(instance("b", 1)));
    assert_eq!(records(&mut f), [(true, "a".into()), (true, "b".into())]);
    f.handle(Event::End { service: "a".into(), id: 1 });
    assert_eq!(records(&mut f), []);
    f.handle(Event::End { service: "a".into(), id: 2 });
    assert_eq!(records(&mut f), [(false, "a".into())]);
    f.handle(Event::Stop);
    assert_eq!(records(&mut f), [(false, "b".into())]);
}

#[test]
fn a_service_without_live_instances_is_searched_for_ever_more_rarely() {
    let mut f = Fixture::new(Config::default());
    let look = || Event::Look { service: "store".into() };
    f.says(2, 1, &[instance("store", 1)]);
    f.handle(look());
    assert_eq!(f.found(), [] as [&str; 0], "one is known");
    f.says(2, 2, &[unwell("store", 1, Health::Unhealthy)]);
    f.handle(look());
    assert_eq!(f.found(), ["store"]);
    let mut times = Vec::new();
    for _ in 0..300 {
        f.pass_ms(1000);
        f.handle(look());
        times.extend(f.found().iter().map(|_| f.now));
    }
    let waits: Vec<u64> = times.windows(2).map(|two| two[1].since(two[0]).as_secs()).collect();
    assert!((6..=10).contains(&times.len()), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 61) && *waits.last().unwrap() >= 48, "{waits:?}");
    f.pass_ms(180_000);
    f.found();
    assert!(f.directory.searches.is_empty(), "nobody looks any more");
    f.handle(look());
    assert_eq!(f.found(), ["store"]);
    f.says(2, 3, &[instance("store", 1)]);
    f.pass_ms(5000);
    assert_eq!(f.found(), [] as [&str; 0], "it is there");
    assert!(f.directory.searches.is_empty());
}

#[test]
fn some_of_those_that_a_search_found_are_asked() {
    let mut f = Fixture::new(Config { max_found: 3, ..Config::default() });
    let found = |peers: &[u8]| Event::Found {
        service: "store".into(),
        peers: peers.iter().map(|n| peer(*n)).collect(),
    };
    f.handle(found(&[2]));
    assert_eq!(f.sent(), [], "nobody searched");
    f.handle(Event::Look { service: "store".into() });
    f.handle(found(&[ME, 2, 3]));
    let asked: BTreeSet<_> = f.sent().into_iter().map(|(to, _)| to).collect();
    assert_eq!(asked, BTreeSet::from([peer(2), peer(3)]), "and not ourselves");
    f.handle(found(&[4, 5, 6, 7, 8, 9, 10, 11]));
    let asked: BTreeSet<_> = f.sent().into_iter().map(|(to, _)| to).collect();
    assert_eq!(asked.len(), 3);
    f.says(2, 1, &[instance("store", 1)]);
    f.handle(found(&[12]));
    assert_eq!(f.sent(), [], "it was found already");
}
