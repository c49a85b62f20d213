use super::*;

const SECOND: Time = Time::from_micros(1_000_000);

fn request(service: &str, endpoint: &str, length: u32) -> Request {
    Request {
        service: service.into(),
        endpoint: endpoint.into(),
        remaining: Duration::from_secs(1),
        idempotent: false,
        streaming: false,
        trace: None,
        length,
    }
}

fn shop(service: Service) -> Shop {
    let service = service
        .endpoint("one", |_: crate::Call<()>| async { Ok(()) })
        .stream("many", |_: crate::Call<()>, _: crate::Items<()>| async { Ok(()) });
    let shop = Shop::new(10_000);
    assert!(shop.add(Arc::new(Instance::new("shop".into(), service))));
    shop
}

fn code(result: Result<(Slot, Endpoint), CallError>) -> Option<Code> {
    result.err().map(|error| error.code)
}

#[test]
fn what_is_not_served_is_not_found() {
    let (shop, peer) = (shop(Service::new()), PeerId::random());
    let admit = |request| code(shop.admit(Time::ZERO, peer, &request));
    assert_eq!(admit(request("shop", "one", 0)), None);
    assert_eq!(admit(request("other", "one", 0)), Some(Code::NotFound));
    assert_eq!(admit(request("shop", "two", 0)), Some(Code::NotFound));
    assert_eq!(admit(request("shop", "many", 0)), Some(Code::Malformed));
}

#[test]
fn a_service_of_a_name_is_there_once() {
    let shop = shop(Service::new());
    assert!(!shop.add(Arc::new(Instance::new("shop".into(), Service::new()))));
    shop.remove("shop");
    assert!(shop.add(Arc::new(Instance::new("shop".into(), Service::new()))));
}

#[test]
fn over_its_concurrency_an_instance_says_when_to_come_again() {
    let (shop, peer) = (shop(Service::new().concurrency(1)), PeerId::random());
    let (slot, _) = shop.admit(Time::ZERO, peer, &request("shop", "one", 0)).unwrap();
    slot.handled(Time::from_micros(300_000));
    let error = shop.admit(SECOND, peer, &request("shop", "one", 0)).err().unwrap();
    assert_eq!(error.code, Code::Overloaded);
    assert_eq!(error.retry_after, Some(Duration::from_millis(300)));
    drop(slot);
    assert_eq!(code(shop.admit(SECOND, peer, &request("shop", "one", 0))), None);
}

#[test]
fn a_peer_has_a_rate_of_its_own() {
    let (shop, peer) = (shop(Service::new().rate(2)), PeerId::random());
    let admit = |at, peer| code(shop.admit(at, peer, &request("shop", "one", 0)));
    assert_eq!((admit(Time::ZERO, peer), admit(Time::ZERO, peer)), (None, None));
    assert_eq!(admit(Time::ZERO, peer), Some(Code::Overloaded));
    assert_eq!(admit(Time::ZERO, PeerId::random()), None);
    assert_eq!(admit(Time::from_micros(500_000), peer), None);
    assert_eq!(admit(Time::from_micros(600_000), peer), Some(Code::Overloaded));
}

#[test]
fn rates_are_bounded_and_idle_peers_make_room() {
    let shop = shop(Service::new().rate(1).concurrency(u32::MAX));
    for _ in 0..MAX_RATES {
        assert_eq!(
            code(shop.admit(Time::ZERO, PeerId::random(), &request("shop", "one", 0))),
            None
        );
    }
    let admit = |at| code(shop.admit(at, PeerId::random(), &request("shop", "one", 0)));
    assert_eq!(admit(Time::ZERO), Some(Code::Overloaded));
    assert_eq!(admit(SECOND), None);
}

#[test]
fn requests_and_replies_share_the_room_of_the_node() {
    let (shop, peer) = (shop(Service::new()), PeerId::random());
    let (mut slot, _) = shop.admit(Time::ZERO, peer, &request("shop", "one", 6000)).unwrap();
    assert_eq!(
        code(shop.admit(Time::ZERO, peer, &request("shop", "one", 6000))),
        Some(Code::Overloaded)
    );
    assert!(shop.take_room(&mut slot, 4000) && !shop.take_room(&mut slot, 1));
    assert_eq!(shop.used(), 10_000);
    drop(slot);
    assert_eq!(shop.used(), 0);
}

#[test]
fn what_drains_takes_nothing_new() {
    let (shop, peer) = (shop(Service::new()), PeerId::random());
    let instance = shop.instances().remove(0);
    assert_eq!(instance.health(), Health::Serving);
    instance.set_healthy(false);
    assert_eq!(instance.health(), Health::Unhealthy);
    instance.drain();
    assert_eq!(instance.health(), Health::Draining);
    let refused = code(shop.admit(Time::ZERO, peer, &request("shop", "one", 0)));
    assert_eq!(refused, Some(Code::Overloaded));
}
