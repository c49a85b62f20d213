//! Entry by entry, in every order, against the definition.

use super::{oracle::*, *};

fn kept_of(nodes: &[Node]) -> Nodes {
    two_lanes(Tip::ROOT, &closed(Tip::ROOT, nodes))
}

#[test]
fn any_order_ends_with_what_the_definition_keeps() {
    for_seeds(1_500, |rng| {
        let nodes = tree(rng, 24);
        let mut replica = Replica::default();
        let mut offered = Vec::new();
        // Some are never offered, some several times.
        for _ in 0..rng.random_range(0..2 * nodes.len()) {
            let node = nodes[rng.random_range(0..nodes.len())];
            offered.push(node);
            replica.offer(node);
            assert_eq!(replica.kept, kept_of(&offered), "after each step");
            let known = evidence(&closed(Tip::ROOT, &offered));
            if replica.feed.evidence() != known {
                // An entry that waits shows a fork too, and can only show a lower one.
                let all = evidence(&offered.iter().copied().collect());
                let seen = replica.feed.evidence().expect("evidence is never lost");
                assert!(all.is_some_and(|all| all.number() <= seen.number()));
                assert!(known.is_none_or(|known| known.join(seen) == seen));
            }
        }
    });
}

#[test]
fn an_entry_that_came_before_its_parent_may_be_forgotten_and_offered_again() {
    for_seeds(1_500, |rng| {
        let nodes = tree(rng, 40);
        let mut replica = Replica::default();
        loop {
            let before = replica.kept.clone();
            for node in shuffled(rng, &nodes) {
                replica.insert(node);
            }
            if replica.kept == before {
                break;
            }
        }
        assert_eq!(replica.kept, kept_of(&nodes));
        assert_eq!(replica.feed.evidence(), evidence(&nodes.iter().copied().collect()));
    });
}

#[test]
fn what_was_evicted_or_lost_never_returns() {
    for_seeds(500, |rng| {
        let nodes = tree(rng, 40);
        let mut replica = Replica::default();
        for node in nodes {
            replica.insert(node);
            let end = replica.clone();
            for gone in end.gone.iter().rev().chain(&end.gone) {
                let placed = replica.insert(*gone);
                assert!(matches!(placed, Placed::Gap | Placed::Lost { .. }), "{placed:?}");
            }
            assert_eq!((&replica.kept, &replica.feed), (&end.kept, &end.feed));
            replica = end;
        }
    });
}

#[test]
fn replicas_that_knew_different_branches_end_equal() {
    for_seeds(500, |rng| {
        let nodes = tree(rng, 40);
        let mut replicas = vec![Replica::default(); 5];
        let mut offered = Vec::new();
        for node in &nodes {
            // Each branch is known to some.
            for replica in &mut replicas {
                if rng.random_bool(0.4) {
                    offered.push(*node);
                    replica.insert(*node);
                }
            }
        }
        let known = union(replicas.iter().map(|replica| &replica.kept));
        let gone = replicas.iter().flat_map(|replica| replica.gone.clone()).collect();
        let ever = union([&known, &gone]);
        // Each pair meets twice, in any order.
        let mut pairs: Vec<(usize, usize)> =
            (0..50).map(|at| (at / 5 % 5, at % 5)).filter(|(a, b)| a != b).collect();
        pairs.shuffle(rng);
        for (a, b) in pairs.clone().into_iter().chain(pairs) {
            let other = replicas[b].clone();
            replicas[a].merge(&other);
        }
        let all: Vec<Node> = ever.iter().collect();
        for replica in &replicas {
            assert_eq!(replica.kept, kept_of(&all));
            assert_eq!(replica.feed, replicas[0].feed);
        }
    });
}

#[test]
fn gathering_at_once_gives_what_entry_by_entry_gave() {
    for_seeds(1_000, |rng| {
        let nodes = tree(rng, 40);
        let mut replica = Replica::default();
        nodes.iter().for_each(|node| _ = replica.insert(*node));
        let all: Nodes = nodes.iter().copied().collect();
        let (lanes, evicted) = Lanes::gather(Tip::ROOT, &all);
        assert_eq!(replica.feed.shape(), &Shape::Open(lanes));
        let stay = all.iter().filter(|node| !evicted.contains(node));
        assert_eq!(replica.kept, stay.collect());
        assert!(evicted.is_sorted_by_key(|node| node.number));
    });
}

#[test]
fn an_entry_is_found_with_one_look_up_and_its_number_is_known_before() {
    for_seeds(500, |rng| {
        let nodes = tree(rng, 40);
        let mut replica = Replica::default();
        for node in nodes.iter().chain(&nodes) {
            let counted = Counted(&replica.kept, Cell::new(0));
            let Shape::Open(lanes) = replica.feed.shape() else { unreachable!() };
            lanes.judge(node, &counted);
            let expected = lanes.look_up(node).map_or(0, |_| 1);
            assert_eq!(counted.1.get(), expected);
            assert!(lanes.look_up(node).is_none_or(|number| number == node.number));
            let continues = lanes.tips().any(|tip| tip.hash == node.parent);
            assert!(!continues || expected == 0, "what continues the feed costs no look-up");
            replica.insert(*node);
        }
    });
}
