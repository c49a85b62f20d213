//! Partitioned maps on real nodes: members that come, go and are killed.

use std::{collections::BTreeMap, path::Path, time::Duration};

use aether_crdt::{Level, PartitionError, PartitionStatus, PartitionedMap, Partitioning, Spaces};
use aether_mesh::{Node, Preset};

use crate::spaces::{again, node, until};

type Ages = PartitionedMap<String, u32>;

/// A node with a map.
struct Member {
    node: Node,
    spaces: Spaces,
    ages: Ages,
}

fn key(n: u32) -> String {
    format!("guest {n}")
}

async fn status(ages: &Ages) -> PartitionStatus {
    ages.status().await.unwrap()
}

/// Whether a node owns something, holds all of that, and nothing else.
async fn is_settled(member: &Member) -> bool {
    let status = status(&member.ages).await;
    status.owned > 0 && status.whole == status.owned && status.parting == 0
}

/// Waits until all agree on the members, and hold what they own.
async fn settled(members: &[&Member]) {
    until("all hold what they own", async || {
        let mut views = Vec::new();
        for member in members {
            if !is_settled(member).await {
                return false;
            }
            let status = status(&member.ages).await;
            views.push((status.view, status.members));
        }
        views.iter().all(|view| *view == views[0] && view.1 == members.len())
    })
    .await;
}

/// So many nodes in a mesh, all members of a map of eight partitions.
async fn members(mesh: &str, count: usize, replicas: u8) -> Vec<Member> {
    let first = node(mesh, None).await;
    let spaces = Spaces::open(&first).await.unwrap();
    let partitioning = Partitioning::new(8, replicas).unwrap();
    let ages: Ages = spaces.create_partitioned("ages", partitioning).await.unwrap();
    ages.join_members().await.unwrap();
    let mut members = vec![Member { node: first, spaces, ages }];
    for _ in 1..count {
        let member = client(mesh, &members[0]).await;
        member.ages.join_members().await.unwrap();
        members.push(member);
    }
    settled(&members.iter().collect::<Vec<_>>()).await;
    members
}

/// A node with the map that is no member.
async fn client(mesh: &str, of: &Member) -> Member {
    let node = node(mesh, Some(&of.node)).await;
    let spaces = Spaces::open(&node).await.unwrap();
    let ticket = of.ages.ticket().await.unwrap().to_string();
    let ages = spaces.join_partitioned(&ticket).await.unwrap();
    Member { node, spaces, ages }
}

async fn put_all(ages: &Ages, range: std::ops::Range<u32>) {
    for n in range {
        ages.put(&key(n), &n).await.unwrap();
    }
}

/// All keys, by a scan with small pages.
async fn scanned(ages: &Ages) -> BTreeMap<String, u32> {
    let (mut all, mut from) = (BTreeMap::new(), None);
    loop {
        let page = ages.scan(from, 3).await.unwrap();
        for (key, value) in page.items {
            assert_eq!(all.insert(key, value), None, "a key comes once");
        }
        from = page.next;
        if from.is_none() {
            return all;
        }
    }
}

fn expected(range: std::ops::Range<u32>) -> BTreeMap<String, u32> {
    range.map(|n| (key(n), n)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_written_and_read_from_everywhere() {
    let members = members("everywhere", 3, 2).await;
    let client = client("everywhere", &members[0]).await;
    put_all(&members[0].ages, 0..10).await;
    put_all(&members[1].ages, 10..20).await;
    put_all(&client.ages, 20..30).await;
    for member in members.iter().chain([&client]) {
        assert_eq!(scanned(&member.ages).await, expected(0..30));
        for n in 0..30 {
            assert_eq!(member.ages.get(&key(n)).await.unwrap(), Some(n));
        }
        let all = member.ages.clone().reading(Level::All);
        assert_eq!(all.get(&key(7)).await.unwrap(), Some(7));
        let one = member.ages.clone().reading(Level::One);
        until("at one, sooner or later", async || one.get(&key(7)).await.unwrap() == Some(7)).await;
        // The partitions aren't the user's spaces.
        assert_eq!(member.spaces.list().await.unwrap().len(), 1);
    }
    client.ages.put(&key(7), &70).await.unwrap();
    assert_eq!(members[2].ages.all(&key(7)).await.unwrap(), [70]);
    members[1].ages.remove(&key(7)).await.unwrap();
    assert_eq!(client.ages.get(&key(7)).await.unwrap(), None);
    assert_eq!(scanned(&client.ages).await.len(), 29);
    let of_client = status(&client.ages).await;
    assert_eq!((of_client.owned, of_client.parting, of_client.is_member), (0, 0, false));
    let owned: usize = client.ages.members().await.unwrap().iter().map(|one| one.owns).sum();
    assert_eq!(owned, 8 * 2, "each partition has two owners");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_of_five_killed_a_quorum_goes_on() {
    let mut members = members("killed", 5, 3).await;
    put_all(&members[0].ages, 0..20).await;
    let killed = members.pop().unwrap();
    killed.node.shutdown().await;
    drop(killed);
    for (n, member) in (20..40).zip(members.iter().cycle()) {
        member.ages.put(&key(n), &n).await.unwrap();
    }
    for member in &members {
        assert_eq!(scanned(&member.ages).await, expected(0..40));
    }
    // All of them can't be had for every key.
    let all = members[0].ages.clone().writing(Level::All).deadline(Duration::from_secs(2));
    let mut unconfirmed = 0;
    for n in 0..20 {
        match all.put(&key(n), &n).await {
            Ok(()) => {}
            Err(PartitionError::Unconfirmed { level: Level::All }) => unconfirmed += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(unconfirmed > 0);
    // Who won't come back is taken from the list, and the others own what it owned.
    let gone = members[0].ages.members().await.unwrap().into_iter();
    let left: Vec<_> = members.iter().map(|member| member.node.id()).collect();
    let gone = gone.map(|member| member.peer).find(|peer| !left.contains(peer)).unwrap();
    members[0].ages.remove_member(&gone).await.unwrap();
    settled(&members.iter().collect::<Vec<_>>()).await;
    members[1].ages.clone().writing(Level::All).put(&key(0), &100).await.unwrap();
    let all = members[2].ages.clone().reading(Level::All);
    assert_eq!(all.get(&key(0)).await.unwrap(), Some(100));
}

/// A node on a folder.
async fn on_disk(mesh: &str, data: &Path, seed: Option<&Node>) -> Node {
    let mut builder = Node::builder(Preset::Local).mesh(mesh).data(data);
    if let Some(seed) = seed {
        builder = builder.seeds(seed.addresses().await.unwrap());
    }
    builder.spawn().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_is_handed_over_when_an_owner_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let owner = on_disk("hints", &data, None).await;
    let spaces = Spaces::open(&owner).await.unwrap();
    let ages: Ages =
        spaces.create_partitioned("ages", Partitioning::new(4, 3).unwrap()).await.unwrap();
    ages.join_members().await.unwrap();
    let member = Member { node: owner, spaces, ages };
    settled(&[&member]).await;
    let client = client("hints", &member).await;
    client.ages.put(&key(1), &1).await.unwrap();
    member.node.shutdown().await;
    drop(member);

    let strict = client.ages.clone().deadline(Duration::from_secs(3));
    let refused = strict.put(&key(2), &2).await.unwrap_err();
    assert!(matches!(refused, PartitionError::Unconfirmed { .. }), "{refused:?}");
    let refused = strict.get(&key(1)).await.unwrap_err();
    assert!(matches!(refused, PartitionError::Short { answered: 0, need: 1, .. }), "{refused:?}");
    let sloppy = strict.clone().writing(Level::One);
    sloppy.put(&key(3), &3).await.unwrap();
    assert!(sloppy.remove(&key(1)).await.is_err(), "there is nothing to remove here");
    assert_eq!(status(&client.ages).await.parting, 1);

    let owner = again("hints", &data).await;
    for address in client.node.addresses().await.unwrap() {
        owner.dial(address).await.unwrap();
    }
    let spaces = Spaces::open(&owner).await.unwrap();
    let ages: Ages = spaces.partitioned("ages").await.unwrap();
    let member = Member { node: owner, spaces, ages };
    until("the hint is handed over", async || {
        let status = status(&client.ages).await;
        (status.parting, status.parted) == (0, 1)
    })
    .await;
    settled(&[&member]).await;
    for ages in [&member.ages, &client.ages] {
        assert_eq!(ages.get(&key(3)).await.unwrap(), Some(3));
        assert_eq!(ages.get(&key(1)).await.unwrap(), Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_gets_its_share_and_who_leaves_loses_nothing() {
    let mut members = members("moving", 3, 2).await;
    put_all(&members[0].ages, 0..60).await;
    let parted = async |members: &[Member]| {
        let mut parted = 0;
        for member in members {
            parted += status(&member.ages).await.parted;
        }
        parted
    };
    let before = parted(&members).await;
    let fourth = client("moving", &members[0]).await;
    fourth.ages.join_members().await.unwrap();
    members.push(fourth);
    settled(&members.iter().collect::<Vec<_>>()).await;
    let share = status(&members[3].ages).await;
    assert!(share.owned > 0 && share.whole == share.owned, "{share:?}");
    for member in &members {
        assert_eq!(scanned(&member.ages).await, expected(0..60));
    }
    let handed = usize::try_from(parted(&members).await - before).unwrap();
    assert_eq!(handed, share.owned, "one hands over for each it got");

    // All who founded it go, one after the other, and it is written to meanwhile.
    for n in 60..63 {
        let leaving = members.remove(0);
        let ages = leaving.ages.clone().deadline(Duration::from_secs(60));
        let left = ages.leave_members();
        let key = key(n);
        let written = members[0].ages.put(&key, &n);
        let (left, written) = tokio::join!(left, written);
        left.unwrap();
        written.unwrap();
        let status = status(&leaving.ages).await;
        assert_eq!((status.owned, status.parting, status.is_member), (0, 0, false));
        leaving.node.shutdown().await;
        settled(&members.iter().collect::<Vec<_>>()).await;
        assert_eq!(scanned(&members[0].ages).await, expected(0..n + 1));
    }
    let last = members[0].ages.leave_members().await.unwrap_err();
    assert!(matches!(last, PartitionError::LastMember), "{last:?}");
}

#[tokio::test]
async fn what_can_t_be_is_said_plainly() {
    let node = node("plainly", None).await;
    let spaces = Spaces::open(&node).await.unwrap();
    let ages: Ages = spaces.create_partitioned("ages", Partitioning::default()).await.unwrap();
    let ages = ages.deadline(Duration::from_secs(1));
    let nobody = ages.put(&key(1), &1).await.unwrap_err();
    assert!(matches!(nobody, PartitionError::NoMembers), "{nobody:?}");
    assert!(matches!(ages.get(&key(1)).await, Err(PartitionError::NoMembers)));
    // A space that isn't a map's.
    spaces.create("guests").await.unwrap();
    let other = spaces.partitioned::<String, u32>("guests").await.unwrap_err();
    assert!(matches!(other, PartitionError::NotPartitioned { .. }), "{other:?}");
    let guests = spaces.get("guests").await.unwrap().ticket().await.unwrap().to_string();
    let other: Ages = spaces.join_partitioned(&guests).await.unwrap();
    let other = other.deadline(Duration::from_millis(100));
    assert!(matches!(other.status().await, Err(PartitionError::NotReady)));
    let spaces_of = async || {
        let all = spaces.list().await.unwrap();
        all.iter().filter(|space| space.is_partitioned()).count()
    };
    assert_eq!(spaces_of().await, 2);
    spaces.join(&guests).await.unwrap();
    assert_eq!(spaces_of().await, 2, "it stays one");
    ages.join_members().await.unwrap();
    ages.clone().deadline(Duration::from_secs(60)).put(&key(1), &1).await.unwrap();
    assert_eq!(ages.get(&key(1)).await.unwrap(), Some(1));
    let same: Ages = spaces.partitioned("ages").await.unwrap();
    assert_eq!(same.get(&key(1)).await.unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_restarted_serves_without_being_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let owner = on_disk("restarted", &data, None).await;
    let spaces = Spaces::open(&owner).await.unwrap();
    let ages: Ages =
        spaces.create_partitioned("ages", Partitioning::new(4, 1).unwrap()).await.unwrap();
    ages.join_members().await.unwrap();
    let member = Member { node: owner, spaces, ages };
    settled(&[&member]).await;
    let client = client("restarted", &member).await;
    put_all(&client.ages, 0..10).await;
    member.node.shutdown().await;
    drop(member);

    let owner = again("restarted", &data).await;
    for address in owner.addresses().await.unwrap() {
        client.node.dial(address).await.unwrap();
    }
    // It opens its spaces, and nobody asks it for the map.
    let spaces = Spaces::open(&owner).await.unwrap();
    let patient = client.ages.clone().deadline(Duration::from_secs(60));
    for n in 0..10 {
        assert_eq!(patient.get(&key(n)).await.unwrap(), Some(n));
    }
    drop(spaces);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_is_closed_opened_again_and_deleted_with_all_its_partitions() {
    let first = members("closing", 1, 1).await.remove(0);
    let client = client("closing", &first).await;
    put_all(&client.ages, 0..10).await;
    let id = first.ages.id();
    first.spaces.close(id).await.unwrap();
    let closed = first.spaces.closed().await.unwrap();
    assert_eq!(closed.iter().map(|space| space.id()).collect::<Vec<_>>(), [id]);
    let left = first.ages.get(&key(1)).await.unwrap_err();
    let is_left = matches!(left, PartitionError::Open(aether_crdt::OpenError::Left { .. }));
    assert!(is_left, "{left:?}");
    let gone = client.ages.clone().deadline(Duration::from_secs(2)).get(&key(1)).await.unwrap_err();
    assert!(matches!(gone, PartitionError::Short { answered: 0, .. }), "{gone:?}");

    first.spaces.open_again(id).await.unwrap();
    let patient = client.ages.clone().deadline(Duration::from_secs(60));
    for n in 0..10 {
        assert_eq!(patient.get(&key(n)).await.unwrap(), Some(n));
    }
    let ticket = client.ages.ticket().await.unwrap().to_string();
    first.spaces.delete(id).await.unwrap();
    assert!(first.spaces.find("ages").await.is_err());
    let anew: Ages = first.spaces.join_partitioned(&ticket).await.unwrap();
    until("it is a member, which has nothing of what only it had", async || {
        let status = anew.status().await.unwrap();
        status.is_member && status.owned == 8 && status.whole == 8
    })
    .await;
    assert_eq!(anew.get(&key(1)).await.unwrap(), None);
}
