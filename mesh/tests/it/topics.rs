//! Topics over real connections.

use std::collections::BTreeSet;

use aether_mesh::{Event, MAX_INLINE, MAX_MESSAGE, PublishError, TopicError};

use crate::support::{all_know_all, builder, nodes, shutdown, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_published_before_anyone_reads_is_delivered() {
    let nodes = nodes("early", 2).await;
    let topic = nodes[0].topic::<String>("t").await.unwrap();
    let receipt = topic.publish(&"first".to_owned()).await.unwrap();
    let mut reader = nodes[1].topic::<String>("t").await.unwrap().subscribe().await.unwrap();
    let message = within("the message", reader.next()).await.unwrap();
    assert_eq!((message.value.as_str(), message.number), ("first", 1));
    assert_eq!(message.author, nodes[0].id());
    assert_eq!(within("the receipt", receipt.handed()).await, Ok(1));
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_gets_everything_once_and_in_each_authors_order() {
    let nodes = nodes("everyone", 5).await;
    let mut readers = Vec::new();
    let mut topics = Vec::new();
    for node in &nodes {
        let topic = node.topic::<(usize, u64)>("t").await.unwrap();
        readers.push(topic.subscribe().await.unwrap());
        topics.push(topic);
    }
    for topic in &topics {
        within("readers", topic.wait_for_neighbours(1)).await;
    }
    all_know_all(&nodes).await;
    const EACH: u64 = 500;
    for n in 0..EACH {
        for (who, topic) in topics.iter().enumerate() {
            topic.publish(&(who, n)).await.unwrap();
        }
    }
    for (me, reader) in readers.iter_mut().enumerate() {
        let mut next = vec![0; nodes.len()];
        for _ in 0..EACH * (nodes.len() as u64 - 1) {
            match within("a message", reader.next_event()).await.unwrap() {
                Event::Message(message) => {
                    let (who, n) = message.value;
                    assert_ne!(who, me, "a node doesn't hear itself");
                    assert_eq!(n, next[who], "in the author's order");
                    next[who] += 1;
                }
                event => panic!("{event:?}"),
            }
        }
    }
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_of_large_messages_never_silence_a_pair() {
    let nodes = nodes("bursts", 2).await;
    let topic = nodes[0].topic::<String>("t").await.unwrap();
    let mut reader = nodes[1].topic::<String>("t").await.unwrap().subscribe().await.unwrap();
    within("a reader", topic.wait_for_neighbours(1)).await;
    // Just under the limit of a message, where the read buffer's steps once broke streams.
    let large = "x".repeat(60_000);
    let published = async {
        for _ in 0..300 {
            topic.publish(&large).await.unwrap();
        }
        topic.publish(&"small".to_owned()).await.unwrap();
    };
    let received = async {
        for _ in 0..300 {
            assert_eq!(reader.next().await.unwrap().value.len(), large.len());
        }
        assert_eq!(reader.next().await.unwrap().value, "small");
    };
    within("the burst", async { tokio::join!(published, received) }).await;
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_of_many_messages_never_silence_a_pair() {
    let nodes = nodes("many", 3).await;
    let topic = nodes[0].topic::<u64>("t").await.unwrap().express();
    let mut reader = nodes[1].topic::<u64>("t").await.unwrap().subscribe().await.unwrap();
    within("a reader", topic.wait_for_neighbours(1)).await;
    // 2,000 envelopes a second for some seconds: gossip about them once outgrew its own limit.
    let published = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(5));
        for n in 0..8_000 {
            if n % 10 == 0 {
                ticks.tick().await;
            }
            topic.publish(&n).await.unwrap();
        }
    };
    let received = async {
        for n in 0..8_000 {
            assert_eq!(reader.next_event().await.map(value), Some(Some(n)));
        }
    };
    within("the burst", async { tokio::join!(published, received) }).await;
    shutdown(nodes).await;
}

fn value<T>(event: Event<T>) -> Option<T> {
    match event {
        Event::Message(message) => Some(message.value),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_told_how_many_messages_it_missed() {
    let sender = builder("slow").spawn().await.unwrap();
    let seeds = sender.addresses().await.unwrap();
    let reader = builder("slow")
        .seeds(seeds)
        .configure(|config| config.limits.max_unread = 100_000)
        .spawn()
        .await
        .unwrap();
    let topic = sender.topic::<Vec<u8>>("t").await.unwrap();
    let other = reader.topic::<Vec<u8>>("t").await.unwrap();
    let mut slow = other.subscribe().await.unwrap();
    let mut quick = other.subscribe().await.unwrap();
    const COUNT: u64 = 100;
    for n in 0..COUNT {
        topic.publish(&vec![7; 10_000]).await.unwrap();
        let message = within("the quick reader", quick.next()).await.unwrap();
        assert_eq!(message.number, n + 1);
    }
    let (mut got, mut missed) = (0, 0);
    while got + missed < COUNT {
        match within("the slow reader", slow.next_event()).await.unwrap() {
            Event::Message(_) => got += 1,
            Event::Missed(count) => missed += count,
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(got + missed, COUNT);
    assert!(missed > 0 && got > 0, "{got} read, {missed} missed");
    shutdown(vec![sender, reader]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_errors_that_name_themselves() {
    let node =
        builder("limits").configure(|config| config.limits.max_topics = 2).spawn().await.unwrap();
    let topic = node.topic::<String>("one").await.unwrap();
    let error = topic.publish(&"x".repeat(MAX_MESSAGE)).await.unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { max: MAX_MESSAGE, .. }), "{error}");
    let error = topic.try_publish(&"x".repeat(70_000)).unwrap_err();
    assert_eq!(error, PublishError::TooLarge { len: 70_005, max: MAX_INLINE });
    let _two = node.topic::<String>("two").await.unwrap();
    let third = node.topic::<String>("three").await.unwrap_err();
    assert_eq!(third, TopicError::TooMany { max: 2 });
    assert!(matches!(node.topic::<String>("").await, Err(TopicError::Name { len: 0 })));
    drop(_two);
    until("room for another topic", || async { node.topic::<String>("three").await.is_ok() }).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_waits_and_loses_nothing() {
    let sender = builder("outbox")
        .configure(|config| config.limits.max_outbox = 200_000)
        .spawn()
        .await
        .unwrap();
    let topic = sender.topic::<Vec<u8>>("t").await.unwrap();
    let mut queued = 0u64;
    // Nobody reads: the outbox fills up.
    while topic.try_publish(&vec![1; 5_000]).is_ok() {
        queued += 1;
    }
    assert_eq!(topic.try_publish(&vec![1; 5_000]).unwrap_err(), PublishError::Full);
    assert!((10..=40).contains(&queued), "{queued}");
    let reader = builder("outbox").seeds(sender.addresses().await.unwrap()).spawn().await.unwrap();
    let mut messages = reader.topic::<Vec<u8>>("t").await.unwrap().subscribe().await.unwrap();
    within("room", topic.publish(&vec![2; 5_000])).await.unwrap();
    for n in 1..=queued + 1 {
        let message = within("a message", messages.next()).await.unwrap();
        assert_eq!(message.number, n);
    }
    shutdown(vec![sender, reader]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_another_type_are_told() {
    let nodes = nodes("types", 2).await;
    let topic = nodes[0].topic::<u64>("t").await.unwrap();
    let mut reader = nodes[1].topic::<String>("t").await.unwrap().subscribe().await.unwrap();
    topic.publish(&42).await.unwrap();
    let event = within("the event", reader.next_event()).await.unwrap();
    assert!(matches!(event, Event::Undecodable { number: 1, .. }), "{event:?}");
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_joiners_get_what_comes_after_they_joined() {
    let nodes = nodes("late", 2).await;
    let topic = nodes[0].topic::<u64>("t").await.unwrap();
    let mut first = nodes[1].topic::<u64>("t").await.unwrap().subscribe().await.unwrap();
    for n in 0..200 {
        topic.publish(&n).await.unwrap();
        within("the message", first.next()).await.unwrap();
    }
    let late = builder("late").seeds(nodes[0].addresses().await.unwrap()).spawn().await.unwrap();
    let mut reader = late.topic::<u64>("t").await.unwrap().subscribe().await.unwrap();
    within("the late reader", topic.wait_for_neighbours(2)).await;
    for n in 200..300 {
        topic.publish(&n).await.unwrap();
    }
    let mut seen = BTreeSet::new();
    while !(200..300).all(|n| seen.contains(&n)) {
        let message = within("a message", reader.next()).await.unwrap();
        assert!(seen.insert(message.value), "{} came twice", message.value);
    }
    drop(reader);
    late.shutdown().await;
    shutdown(nodes).await;
}
