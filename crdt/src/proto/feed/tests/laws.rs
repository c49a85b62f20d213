//! The lemma of the [module](super::super), for the definition itself.

use super::{oracle::*, *};

fn f(tree: &Nodes) -> Nodes {
    two_lanes(Tip::ROOT, tree)
}

/// Part of a tree, closed under parents.
fn part(rng: &mut ChaCha12Rng, tree: &[Node]) -> Nodes {
    let share = rng.random_range(0.3..1.0);
    let some: Vec<Node> = tree.iter().filter(|_| rng.random_bool(share)).copied().collect();
    closed(Tip::ROOT, &some)
}

#[test]
fn what_lies_between_the_kept_and_the_whole_keeps_the_same() {
    for_seeds(3_000, |rng| {
        let nodes = tree(rng, 30);
        let whole = part(rng, &nodes);
        let between = union([&f(&whole), &part(rng, &whole.iter().collect::<Vec<_>>())]);
        assert_eq!(f(&between), f(&whole));
    });
}

#[test]
fn joining_what_is_kept_is_keeping_of_what_is_joined() {
    for_seeds(3_000, |rng| {
        let nodes = tree(rng, 30);
        let [a, b, c] = [part(rng, &nodes), part(rng, &nodes), part(rng, &nodes)];
        let join = |a: &Nodes, b: &Nodes| f(&union([a, b]));
        let [fa, fb, fc] = [f(&a), f(&b), f(&c)];
        assert_eq!(join(&fa, &fb), join(&a, &b));
        assert_eq!(join(&fa, &fb), join(&fb, &fa));
        assert_eq!(join(&join(&fa, &fb), &fc), join(&fa, &join(&fb, &fc)));
        assert_eq!(join(&fa, &fa), fa);
        assert_eq!(join(&join(&fa, &fb), &fc), f(&union([&a, &b, &c])));
    });
}

#[test]
fn kept_are_two_of_a_number_at_most_each_with_its_parent() {
    for_seeds(500, |rng| {
        let nodes = tree(rng, 60);
        let kept = f(&nodes.iter().copied().collect());
        assert_eq!(closed(Tip::ROOT, &kept.iter().collect::<Vec<_>>()), kept);
        for node in kept.iter() {
            assert!(kept.at(node.number).count() <= 2);
        }
    });
}

/// Rule 1 without links: of each number the two smallest hashes.
fn two_smallest(nodes: &Nodes) -> Nodes {
    let mut kept = Nodes::default();
    for number in 1..=nodes.len() as u64 {
        nodes.at(number).take(2).for_each(|node| kept.insert(node));
    }
    kept
}

#[test]
fn two_smallest_of_each_number_would_hang_in_the_air() {
    let [a, b, c] = [1, 2, 3].map(|rank| entry(rank, Tip::ROOT));
    let above = [entry(6, a.tip()), entry(5, b.tip()), entry(4, c.tip())];
    let all: Nodes = [a, b, c].into_iter().chain(above).collect();
    let kept = two_smallest(&all);
    assert!(kept.get(above[2].tip()).is_some() && kept.get(c.tip()).is_none());
    assert_ne!(closed(Tip::ROOT, &kept.iter().collect::<Vec<_>>()), kept);
    assert_eq!(f(&all), [a, b, above[0], above[1]].into_iter().collect());
}
