//! Messages that don't fit an envelope: announced by hash, pulled by whoever wants them.

use std::time::Duration;

use aether_core::SecretKey;
use aether_mesh::{
    BlobId, Event, GetError, Node, PullError, Subscription,
    blobs::BlobStatus,
    proto::{
        envelope::{Envelope, Header, TopicId},
        reference::Reference,
    },
};

use crate::{
    hostile::{Attacker, header},
    support::{all_know_all, builder, nodes, shutdown, until, within},
};

/// A message of this size that is like no other.
fn message(number: u8, len: usize) -> String {
    let numbered =
        (0..len).map(|at| char::from(b'a' + ((at / 7 + usize::from(number)) % 26) as u8));
    numbered.collect()
}

async fn reader(node: &Node) -> Subscription<String> {
    node.topic("t").await.unwrap().subscribe().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_come_whole_and_in_order_among_small_ones() {
    let nodes = nodes("large", 3).await;
    all_know_all(&nodes).await;
    let mut readers = [reader(&nodes[1]).await, reader(&nodes[2]).await];
    let topic = nodes[0].topic::<String>("t").await.unwrap();
    let sizes = [10, 65_533, 65_534, 300_000, 20, 5_000_000, 30];
    for (number, len) in (0..).zip(sizes) {
        topic.publish(&message(number, len)).await.unwrap();
    }
    for reader in &mut readers {
        for (number, len) in (0..).zip(sizes) {
            let received = within("a message", reader.next()).await.unwrap();
            assert!(received.value == message(number, len), "message {number} is another");
            assert_eq!((received.number, received.author), (u64::from(number) + 1, nodes[0].id()));
        }
    }
    // Only what doesn't fit an envelope is a blob, with the author and with the readers.
    for node in &nodes {
        until("three blobs", || async { node.blobs().list().len() == 3 }).await;
    }
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_pulls_what_it_wants() {
    let nodes = nodes("wanted", 2).await;
    let mut small = reader(&nodes[1]).await.pull_up_to(100_000);
    let topic = nodes[0].topic::<String>("t").await.unwrap();
    topic.publish(&message(1, 90_000)).await.unwrap();
    topic.publish(&message(2, 200_000)).await.unwrap();
    topic.publish(&"behind".to_owned()).await.unwrap();
    assert_eq!(within("what is wanted", small.next()).await.unwrap().number, 1);
    let event = within("what isn't", small.next_event()).await.unwrap();
    let Event::Unpulled { author, number: 2, id, size, error } = event else { panic!("{event:?}") };
    assert!(matches!(error, PullError::TooLarge { max: 100_000 }), "{error}");
    assert_eq!((author, size), (nodes[0].id(), 200_005));
    assert!(matches!(nodes[1].blobs().status(&id), BlobStatus::Absent), "nothing was fetched");
    assert_eq!(within("what follows", small.next()).await.unwrap().value, "behind");
    // It can be had all the same.
    let blobs = nodes[1].blobs();
    assert_eq!(within("the blob", async { blobs.get(id).from(author).await }).await.unwrap(), size);
    let encoded = blobs.read(id, 0..size).await.unwrap();
    let value: String = ciborium::from_reader(&encoded[..]).unwrap();
    assert!(value == message(2, 200_000));
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_loses_no_large_message() {
    let nodes = nodes("cancelled", 2).await;
    let mut reader = reader(&nodes[1]).await;
    let topic = nodes[0].topic::<String>("t").await.unwrap();
    topic.publish(&message(1, 2_000_000)).await.unwrap();
    topic.publish(&"behind".to_owned()).await.unwrap();
    for expected in [message(1, 2_000_000), "behind".to_owned()] {
        let received = within("a message", async {
            loop {
                let impatient = tokio::time::timeout(Duration::from_millis(1), reader.next());
                if let Ok(message) = impatient.await {
                    return message.unwrap();
                }
            }
        });
        assert!(received.await.value == expected);
    }
    shutdown(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_bounded_and_forgotten_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let start = || async {
        let builder = builder("kept").data(folder.path());
        builder.configure(|config| config.limits.max_large = 1_000_000).spawn().await.unwrap()
    };
    let node = start().await;
    let blobs = node.blobs();
    // What its user has is left alone, though a message is the same.
    let mut encoded = Vec::new();
    ciborium::into_writer(&message(0, 600_000), &mut encoded).unwrap();
    let own = blobs.add_bytes(encoded).await.unwrap().id();
    let topic = node.topic::<String>("t").await.unwrap();
    for number in 0..4 {
        topic.publish(&message(number, 600_000)).await.unwrap();
    }
    let held: Vec<BlobId> = blobs.list().into_iter().map(|held| held.id).collect();
    assert!(held.contains(&own) && held.len() == 2, "{held:?}");
    assert_eq!(blobs.pins().len(), 1);
    drop((topic, blobs));
    node.shutdown().await;
    drop(node);
    let node = start().await;
    let blobs = node.blobs();
    let held: Vec<BlobId> = blobs.list().into_iter().map(|held| held.id).collect();
    assert_eq!((held, blobs.pins()), (vec![own], vec![]));
    drop(blobs);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn false_references_cost_their_message_alone() {
    let target = builder("false references")
        .configure(|config| config.blobs.fetch.patience = Duration::from_secs(2))
        .spawn()
        .await
        .unwrap();
    let held = target.blobs().add_bytes(vec![7; 100_000]).await.unwrap().id();
    let mut reader = reader(&target).await;
    let attacker = Attacker::start(&target, "t").await;
    let key = SecretKey::from_bytes([9; 32]);
    let topic = TopicId::new(&target.mesh(), "t");
    let nobodys = Reference { id: BlobId::of(b"nobody has this"), size: 70_000 };
    let no_reference = [&nobodys.encode()[..11], &[0x41, 0]].concat();
    let payloads = [
        Reference { id: held, size: 99_999 }.encode(),
        nobodys.encode(),
        Reference { id: held, size: u64::MAX }.encode(),
        no_reference,
        vec![0x61, b'x'],
    ];
    // One life of the author's.
    let life = header(1).incarnation;
    for (number, payload) in (1..).zip(&payloads) {
        let header = Header { incarnation: life, ..header(number) };
        let envelope = Envelope::seal(&key, &target.mesh(), &topic, header, payload);
        attacker.send(envelope.bytes().to_vec()).await;
    }
    let mut next = async || within("an event", reader.next_event()).await.unwrap();
    let event = next().await;
    let false_size = PullError::OtherSize { said: 99_999 }.to_string();
    assert!(
        matches!(&event, Event::Unpulled { error, .. } if error.to_string() == false_size),
        "{event:?}"
    );
    let event = next().await;
    assert!(
        matches!(
            event,
            Event::Unpulled { error: PullError::Get(GetError::NoProviders { .. }), .. }
        ),
        "{event:?}"
    );
    let event = next().await;
    assert!(
        matches!(event, Event::Unpulled { error: PullError::TooLarge { .. }, size: u64::MAX, .. }),
        "{event:?}"
    );
    let event = next().await;
    assert!(matches!(event, Event::Undecodable { number: 4, .. }), "{event:?}");
    let event = next().await;
    assert!(matches!(&event, Event::Message(message) if message.value == "x"), "{event:?}");
    // A false word about a blob doesn't cost its owner the blob.
    assert!(matches!(target.blobs().status(&held), BlobStatus::Complete { .. }));
    shutdown(vec![target]).await;
}
