//! Services on real swarms.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use aether_mesh::{
    Call, CallFailed, Context, Failure, Hedge, Items, Node, ServeError, Service, TopicError,
    services::Code,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::support::{all_know_all, builder, nodes, shutdown, until, within};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sum {
    of: Vec<u64>,
    by: String,
}

/// Adds numbers, and says who did.
fn adder(node: &Node) -> Service {
    let by = node.id().to_string();
    let add = move |call: Call<Vec<u64>>| {
        let by = by.clone();
        async move {
            if call.value.is_empty() {
                return Err(Failure::new(7, "nothing to add"));
            }
            Ok(Sum { of: vec![call.value.iter().sum()], by })
        }
    };
    Service::new().version("1.2.3").endpoint("add", add)
}

/// Waits until a node knows so many live instances of a service.
async fn known(node: &Node, service: &str, count: usize) {
    until("the instances to be known", || async {
        let all = node.services().await.unwrap();
        let live =
            |each: &&aether_mesh::Announced| each.service == service && each.health == "serving";
        all.iter().filter(live).count() == count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_finds_its_instance_and_comes_back_typed() {
    let nodes = nodes("services", 3).await;
    let _serving = nodes[0].serve("adder", adder(&nodes[0])).await.unwrap();
    let sum: Sum = nodes[2].client("adder").call("add", &vec![1, 2, 3]).await.unwrap();
    assert_eq!(sum, Sum { of: vec![6], by: nodes[0].id().to_string() });
    let announced = nodes[2].services().await.unwrap().remove(0);
    assert_eq!((announced.version.as_str(), announced.peer), ("1.2.3", nodes[0].id()));
    assert_eq!(announced.endpoints, ["add"]);
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_calls_itself_the_same_way() {
    let nodes = nodes("services of its own", 1).await;
    let _serving = nodes[0].serve("adder", adder(&nodes[0])).await.unwrap();
    let sum: Sum = nodes[0].client("adder").call("add", &vec![2, 2]).await.unwrap();
    assert_eq!(sum.of, [4]);
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_is_wrong() {
    let nodes = nodes("service errors", 2).await;
    let service = adder(&nodes[0])
        .endpoint("panic", |_: Call<()>| async {
            if true {
                panic!("the handler's own words")
            }
            Ok(())
        })
        .stream("count", |_: Call<()>, _: Items<()>| async { Ok(()) });
    let _serving = nodes[0].serve("adder", service).await.unwrap();
    let client = nodes[1].client("adder");
    let failed = client.call::<Sum>("add", &Vec::<u64>::new()).await.unwrap_err();
    assert_eq!(failed, CallFailed::Service(Failure::new(7, "nothing to add")));
    let refused = |failed: CallFailed| match failed {
        CallFailed::Refused(error) => error,
        other => panic!("{other}"),
    };
    let panicked = refused(client.call::<()>("panic", &()).await.unwrap_err());
    assert_eq!(
        (panicked.code, panicked.message.as_str()),
        (Code::Panicked, "the handler's own words")
    );
    let missing = refused(client.call::<()>("multiply", &()).await.unwrap_err());
    assert_eq!(missing.code, Code::NotFound);
    let unread = refused(client.call::<Sum>("add", &"not a list").await.unwrap_err());
    assert_eq!(unread.code, Code::Malformed);
    let a_stream = refused(client.call::<()>("count", &()).await.unwrap_err());
    assert_eq!(a_stream.code, Code::Malformed);
    let other = client.call::<String>("add", &vec![1]).await.unwrap_err();
    assert!(matches!(other, CallFailed::Decode { .. }), "{other}");
    let large = client.call::<Sum>("add", &vec![u64::MAX; 1 << 20]).await.unwrap_err();
    assert!(matches!(large, CallFailed::TooLarge { .. }), "{large}");
    let sum: Sum = client.call("add", &vec![1]).await.unwrap();
    assert_eq!(sum.of, [1], "what failed before is forgotten");
    let second = nodes[0].serve("adder", Service::new()).await.unwrap_err();
    assert_eq!(second, ServeError::Taken { name: "adder".into() });
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_an_instance_no_longer_than_its_deadline() {
    let nodes = nodes("service to come", 2).await;
    let client = nodes[1].client("late");
    let short = client.call::<()>("add", &()).deadline(Duration::from_millis(50)).await;
    assert_eq!(short, Err(CallFailed::NoInstance { service: "late".into() }));
    let (caller, server) = (client.clone(), nodes[0].clone());
    let called = tokio::spawn(async move { caller.call::<Sum>("add", &vec![1]).await });
    until("the call to wait", || async { !called.is_finished() }).await;
    let _serving = server.serve("late", adder(&server)).await.unwrap();
    assert_eq!(called.await.unwrap().unwrap().of, [1]);
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_come_in_order_and_wait_for_their_reader() {
    const COUNT: u64 = 20_000;
    let nodes = nodes("service items", 2).await;
    let sent = Arc::new(AtomicU32::new(0));
    let counted = sent.clone();
    let count = move |call: Call<u64>, mut items: Items<(u64, Vec<u8>)>| {
        let sent = counted.clone();
        async move {
            for n in 0..call.value {
                items.send(&(n, vec![0; 100])).await?;
                sent.fetch_add(1, Ordering::Relaxed);
            }
            Err(Failure::new(1, "that was all"))
        }
    };
    let _serving = nodes[0].serve("counter", Service::new().stream("count", count)).await.unwrap();
    let client = nodes[1].client("counter");
    let mut items = client.call::<(u64, Vec<u8>)>("count", &COUNT).items().await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap().0, 0);
    // Nobody reads: what the handler can send ahead has an end.
    let mut before = 0;
    until("the handler to wait", || {
        let now = sent.load(Ordering::Relaxed);
        let rests = now > 0 && now == std::mem::replace(&mut before, now);
        async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            rests
        }
    })
    .await;
    assert!(u64::from(before) < COUNT / 2, "{before} items of {COUNT} were sent ahead");
    for n in 1..COUNT {
        assert_eq!(items.next().await.unwrap().unwrap().0, n);
    }
    let end = items.next().await.unwrap().unwrap_err();
    assert_eq!(end, CallFailed::Service(Failure::new(1, "that was all")));
    assert!(items.next().await.is_none());
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_end_unread_give_their_room_back() {
    let nodes = nodes("service unread", 2).await;
    let few = move |_: Call<()>, mut items: Items<u64>| async move {
        for n in 0..10 {
            items.send(&n).await?;
        }
        Ok(())
    };
    let _serving = nodes[0].serve("counter", Service::new().stream("few", few)).await.unwrap();
    let client = nodes[1].client("counter");
    // A session has room for 64 streams; three times 40 need it twice.
    for round in 0..3 {
        let mut unread = Vec::new();
        for _ in 0..40 {
            let mut items = client.call::<u64>("few", &()).items().await.unwrap();
            let first = items.next().await.unwrap();
            assert_eq!(first, Ok(0), "round {round}");
            unread.push(items);
        }
        until("all calls to end", || async {
            client.instances().await.unwrap().iter().all(|instance| instance.in_flight == 0)
        })
        .await;
    }
    shutdown(nodes).await;
}

/// A service that never answers, and tells when it was asked and when it was dropped.
fn silent() -> (Service, Arc<Notify>, Arc<Notify>) {
    struct Told(Arc<Notify>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (asked, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (ask, drop) = (asked.clone(), dropped.clone());
    let wait = move |_: Call<()>| {
        let (asked, told) = (ask.clone(), Told(drop.clone()));
        async move {
            asked.notify_one();
            std::future::pending::<()>().await;
            std::mem::drop(told);
            Ok(())
        }
    };
    (Service::new().endpoint("wait", wait), asked, dropped)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gives_up_stops_the_handler() {
    let nodes = nodes("service given up", 2).await;
    let (service, asked, dropped) = silent();
    let _serving = nodes[0].serve("silent", service).await.unwrap();
    let client = nodes[1].client("silent");
    let call = tokio::spawn(async move { client.call::<()>("wait", &()).await });
    within("the handler to begin", asked.notified()).await;
    call.abort();
    within("the handler to be dropped", dropped.notified()).await;
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_call_at_both_ends() {
    let nodes = nodes("service deadline", 2).await;
    let (service, _, dropped) = silent();
    let _serving = nodes[0].serve("silent", service).await.unwrap();
    known(&nodes[1], "silent", 1).await;
    let call = nodes[1].client("silent").call::<()>("wait", &());
    let failed = call.deadline(Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(failed, CallFailed::DeadlineExceeded);
    within("the handler to be dropped", dropped.notified()).await;
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_calls_ends_no_later_and_shares_the_trace() {
    let nodes = nodes("service hops", 3).await;
    let left = |_: Call<()>| async {
        let context = Context::current().unwrap();
        let left = context.deadline().saturating_duration_since(Instant::now());
        let trace = context.trace().unwrap();
        Ok((u64::try_from(left.as_millis()).unwrap(), trace.trace.to_vec(), trace.span.to_vec()))
    };
    let _last = nodes[0].serve("last", Service::new().endpoint("left", left)).await.unwrap();
    let client = nodes[1].client("last");
    let pass = move |call: Call<()>| {
        let client = client.clone();
        async move {
            let trace = call.context.trace().unwrap();
            let answer: (u64, Vec<u8>, Vec<u8>) = client.call("left", &()).await?;
            Ok((answer.0, answer.1 == trace.trace, answer.2 != trace.span))
        }
    };
    let _middle = nodes[1].serve("middle", Service::new().endpoint("pass", pass)).await.unwrap();
    let call = nodes[2].client("middle").call::<(u64, bool, bool)>("pass", &());
    let (left, same_trace, other_span) = call.deadline(Duration::from_secs(5)).await.unwrap();
    assert!(left <= 5000, "{left} ms were left, though the first caller gave 5000");
    assert!(same_trace && other_span);
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_its_concurrency_a_service_sheds_and_says_when_to_come_again() {
    let nodes = nodes("service overload", 2).await;
    let (service, asked, _) = silent();
    let _serving = nodes[0].serve("silent", service.concurrency(1)).await.unwrap();
    let client = nodes[1].client("silent");
    let first = client.clone();
    let call = tokio::spawn(async move { first.call::<()>("wait", &()).await });
    within("the handler to begin", asked.notified()).await;
    let failed = client.call::<()>("wait", &()).deadline(Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(failed, CallFailed::Overloaded { retry_after } if !retry_after.is_zero()));
    call.abort();
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_answers_and_an_owner_is_the_same_for_all() {
    let nodes = nodes("service groups", 4).await;
    let mut serving = Vec::new();
    for node in &nodes[..3] {
        serving.push(node.serve("adder", adder(node)).await.unwrap());
    }
    known(&nodes[3], "adder", 3).await;
    known(&nodes[0], "adder", 3).await;
    let answers = nodes[3].client("adder").call::<Sum>("add", &vec![1]).every().await.unwrap();
    let by: BTreeSet<String> = answers.into_iter().map(|each| each.result.unwrap().by).collect();
    assert_eq!(by, nodes[..3].iter().map(|node| node.id().to_string()).collect());
    for node in &nodes[..3] {
        let call = nodes[3].client("adder").call::<Sum>("add", &vec![1]);
        assert_eq!(call.peer(&node.id()).await.unwrap().by, node.id().to_string());
    }
    let call = nodes[0].client("adder").call::<Sum>("add", &vec![1]);
    let why = call.peer(&nodes[3].id()).await.unwrap_err();
    assert!(matches!(why, CallFailed::NoInstance { .. }), "{why:?}");
    let mut owners = BTreeSet::new();
    for n in 0..20u32 {
        let mut by = BTreeSet::new();
        for node in [&nodes[0], &nodes[3]] {
            let call = node.client("adder").call::<Sum>("add", &vec![1]);
            by.insert(call.owner(n.to_be_bytes()).await.unwrap().by);
        }
        assert_eq!(by.len(), 1, "clients disagree on who owns key {n}");
        owners.append(&mut by);
    }
    assert_eq!(owners.len(), 3, "twenty keys should have three owners");
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotent_calls_outlive_the_instance_that_works_on_them() {
    let nodes = nodes("service lost", 3).await;
    all_know_all(&nodes).await;
    let (service, asked, _) = silent();
    let by = nodes[1].id().to_string();
    let answer = move |_: Call<()>| {
        let by = by.clone();
        async move { Ok(by) }
    };
    let _silent = nodes[0].serve("mixed", service).await.unwrap();
    let client = nodes[2].client("mixed");
    let call = tokio::spawn(async move {
        client.call::<String>("wait", &()).idempotent().deadline(Duration::from_secs(60)).await
    });
    within("the silent one to be asked", asked.notified()).await;
    let _other = nodes[1].serve("mixed", Service::new().endpoint("wait", answer)).await.unwrap();
    known(&nodes[2], "mixed", 2).await;
    // Stops in order, and doesn't wait for the handler that never answers for long.
    nodes[0].shutdown().await;
    let answered = within("the other one's answer", call).await.unwrap();
    assert_eq!(answered, Ok(nodes[1].id().to_string()));
    shutdown(nodes).await;
}

/// A service that answers when it is told to; tells when it was asked.
fn waiting() -> (Service, Arc<Notify>, Arc<Notify>) {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, wait) = (asked.clone(), go.clone());
    let handler = move |_: Call<()>| {
        let (begun, wait) = (begun.clone(), wait.clone());
        async move {
            begun.notify_one();
            wait.notified().await;
            Ok("done".to_owned())
        }
    };
    (Service::new().endpoint("wait", handler), asked, go)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_service_finishes_what_it_has() {
    let nodes = nodes("service drained", 2).await;
    let (service, asked, go) = waiting();
    let serving = nodes[0].serve("drained", service).await.unwrap();
    let client = nodes[1].client("drained");
    let first = client.clone();
    let call = tokio::spawn(async move { first.call::<String>("wait", &()).await });
    within("the handler to begin", asked.notified()).await;
    let draining = tokio::spawn(serving.drain());
    known(&nodes[1], "drained", 0).await;
    let refused = client.call::<String>("wait", &()).deadline(Duration::from_millis(100)).await;
    assert!(refused.is_err());
    assert!(!draining.is_finished());
    go.notify_one();
    assert_eq!(call.await.unwrap().unwrap(), "done");
    within("the drain", draining).await.unwrap();
    assert!(nodes[0].services().await.unwrap().is_empty());
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_dropped_finishes_what_it_has_too() {
    let nodes = nodes("service dropped", 2).await;
    let (service, asked, go) = waiting();
    let serving = nodes[0].serve("dropped", service).await.unwrap();
    let client = nodes[1].client("dropped");
    let call = tokio::spawn(async move { client.call::<String>("wait", &()).await });
    within("the handler to begin", asked.notified()).await;
    drop(serving);
    known(&nodes[1], "dropped", 0).await;
    go.notify_one();
    assert_eq!(call.await.unwrap().unwrap(), "done");
    until("the instance to be gone", || async { nodes[1].services().await.unwrap().is_empty() })
        .await;
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_or_unhealthy_gets_no_calls() {
    let nodes = nodes("service ended", 2).await;
    let serving = nodes[0].serve("adder", adder(&nodes[0])).await.unwrap();
    known(&nodes[1], "adder", 1).await;
    serving.set_healthy(false).await.unwrap();
    known(&nodes[1], "adder", 0).await;
    serving.set_healthy(true).await.unwrap();
    known(&nodes[1], "adder", 1).await;
    drop(serving);
    until("the instance to be gone", || async { nodes[1].services().await.unwrap().is_empty() })
        .await;
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_joiner_learns_from_its_neighbours() {
    let mut nodes = nodes("service learnt", 2).await;
    let _serving = nodes[0].serve("adder", adder(&nodes[0])).await.unwrap();
    known(&nodes[1], "adder", 1).await;
    let seeds = nodes[1].addresses().await.unwrap();
    let late = builder("service learnt").seeds(seeds).spawn().await.unwrap();
    let sum: Sum = late.client("adder").call("add", &vec![5, 5]).await.unwrap();
    assert_eq!(sum.of, [10]);
    nodes.push(late);
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_and_replies_pass_beside_small_ones() {
    let nodes = nodes("service sizes", 2).await;
    let echo = |call: Call<ciborium::Value>| async move { Ok(call.value) };
    let _serving = nodes[0].serve("echo", Service::new().endpoint("echo", echo)).await.unwrap();
    let client = nodes[1].client("echo");
    let calls = (0..40usize).map(|n| {
        let client = client.clone();
        async move {
            let len = if n % 4 == 0 { 1_000_000 } else { n };
            let value = ciborium::Value::Bytes(vec![n as u8; len]);
            let call = client.call::<ciborium::Value>("echo", &value);
            let hedged = call.idempotent().hedge(Hedge::After(Duration::from_secs(30)));
            hedged.deadline(Duration::from_secs(60)).await.map(|echoed| echoed == value)
        }
    });
    for echoed in futures::future::join_all(calls).await {
        assert_eq!(echoed, Ok(true));
    }
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_own_topic_is_not_for_programs() {
    let nodes = nodes("service topic", 1).await;
    let refused = nodes[0].topic::<()>("aether/services").await.unwrap_err();
    assert_eq!(refused, TopicError::Reserved);
    assert!(nodes[0].topics_joined().await.unwrap().is_empty());
    shutdown(nodes).await;
}
