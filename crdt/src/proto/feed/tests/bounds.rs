//! What a liar can make a replica keep and do.

use super::*;

const BRANCHES: u64 = 10_000;

fn hash(prefix: u64, of: u64) -> Hash {
    let mut bytes = *HASH.hash(&of.to_be_bytes()).as_bytes();
    bytes[..8].copy_from_slice(&prefix.to_be_bytes());
    Hash::from_bytes(bytes)
}

#[test]
fn ten_thousand_branches_at_one_number_keep_two() {
    for descending in [true, false] {
        let trunk = chain(Tip::ROOT, &[5; 3]);
        let mut replica = Replica::default();
        trunk.iter().for_each(|node| replica.offer(*node));
        for branch in 0..BRANCHES {
            let rank = if descending { BRANCHES - branch } else { branch };
            let head = Node { number: 4, hash: hash(rank, branch), parent: trunk[2].hash };
            let counted = Counted(&replica.kept, Cell::new(0));
            replica.feed.judge(&head, &counted);
            assert!(counted.1.get() <= 1);
            replica.gone.clear();
            replica.insert(head);
            replica.insert(entry(1, head.tip()));
            assert!(replica.kept.len() <= 3 + 2 * 2);
        }
        assert_eq!(replica.changes > 0, descending);
        assert_eq!(replica.feed.tips().len(), 2);
    }
}

#[test]
fn forks_at_ten_thousand_numbers_from_high_to_low_keep_two_lanes() {
    let mut nodes = Vec::new();
    let mut tip = Tip::ROOT;
    for number in 1..=BRANCHES {
        nodes.push(Node { number, hash: hash(number, number), parent: tip.hash });
        tip = nodes[nodes.len() - 1].tip();
    }
    let (mut feed, mut kept) = (Feed::default(), Nodes::default());
    for node in &nodes {
        assert_eq!(feed.insert(*node, &kept), Placed::Appended);
        kept.insert(*node);
    }
    for node in nodes.iter().rev() {
        let fork = Node { hash: hash(BRANCHES + node.number, 0), ..*node };
        let counted = Counted(&kept, Cell::new(0));
        let placed = feed.insert(fork, &counted);
        // One for the sibling, one for the evidence.
        assert!(counted.1.get() <= 2, "the fork at {}", node.number);
        placed.evicted().into_iter().for_each(|from| drop(kept.evict(from)));
        kept.insert(fork);
        assert_eq!(feed.evidence().map(|one| one.number()), Some(node.number));
        assert!(kept.len() <= nodes.len() + 1);
    }
    assert_eq!(feed.tips().len(), 2);
}

#[test]
fn an_honest_lane_is_taken_while_ten_thousand_others_are_offered() {
    // The first two branches are what an honest replica keeps; the liar shows others all along.
    let trunk = entry(9, Tip::ROOT);
    let honest = [1, 2].map(|rank| chain(trunk.tip(), &[rank, 7, 7, 7]));
    let mut replica = Replica::default();
    replica.offer(trunk);
    for branch in 0..BRANCHES {
        let rank = u64::MAX - branch;
        let head = Node { number: 2, hash: hash(rank, branch), parent: trunk.hash };
        replica.gone.clear();
        replica.insert(head);
        if let Some(at) = (branch % 1_000 == 500).then_some(branch as usize / 1_000) {
            honest.iter().for_each(|lane| _ = lane.get(at).map(|node| replica.insert(*node)));
        }
    }
    assert_eq!(replica.feed.tips(), honest.map(|lane| lane[3].tip()));
    assert_eq!(replica.kept.len(), 1 + 2 * 4);
}

#[test]
fn a_replacement_looks_up_no_more_than_it_evicts() {
    for_seeds(500, |rng| {
        let nodes = tree(rng, 60);
        let (mut feed, mut kept) = (Feed::default(), Nodes::default());
        for node in nodes {
            let counted = Counted(&kept, Cell::new(0));
            let placed = feed.insert(node, &counted);
            let looked = counted.1.get();
            let evicted = placed.evicted().map_or(Vec::new(), |from| kept.evict(from));
            assert!(looked <= 2 + evicted.len(), "{placed:?}");
            if placed.is_new() {
                kept.insert(node);
            }
        }
    });
}

#[test]
fn a_feed_takes_little_memory_whatever_its_length() {
    assert!(size_of::<Feed>() <= 320, "{}", size_of::<Feed>());
    assert!(size_of::<Lanes>() <= 240, "{}", size_of::<Lanes>());
    assert_eq!(size_of::<Node>(), 72);
}
