//! Bases and pins: rules 3 and 4, against the definition.

use super::{oracle::*, *};

/// Offers everything again until nothing changes.
fn offer_until_quiet(replica: &mut Replica, rng: &mut ChaCha12Rng, nodes: &[Node]) {
    loop {
        let before = replica.kept.clone();
        shuffled(rng, nodes).into_iter().for_each(|node| _ = replica.insert(node));
        if replica.kept == before {
            return;
        }
    }
}

#[test]
fn a_base_that_rises_at_any_time_ends_with_two_lanes_above_it() {
    for_seeds(1_500, |rng| {
        let nodes = tree(rng, 30);
        let mut bases = vec![nodes[rng.random_range(0..nodes.len())].tip()];
        // The second descends from the first, as only such a pin counts.
        let above: Vec<Node> = closed(bases[0], &nodes).iter().collect();
        if !above.is_empty() {
            bases.push(above[rng.random_range(0..above.len())].tip());
        }
        let last = *bases.last().unwrap();
        let expected = two_lanes(last, &closed(last, &nodes));
        let mut ends = Vec::new();
        for early in [0, nodes.len() / 2, nodes.len()] {
            let mut replica = Replica::default();
            shuffled(rng, &nodes)[..early].iter().for_each(|node| replica.offer(*node));
            for base in &bases {
                replica.rebase(*base);
                assert_eq!(replica.rebase(*base), Rebased::Behind);
                nodes[..early].iter().for_each(|node| _ = replica.insert(*node));
            }
            offer_until_quiet(&mut replica, rng, &nodes);
            assert_eq!((replica.feed.base(), &replica.kept), (last, &expected));
            ends.push(replica);
        }
        let all = ends.iter().filter_map(|end| end.feed.evidence()).reduce(Evidence::join);
        for mut end in ends.clone() {
            all.map(|evidence| end.feed.note(evidence));
            assert_eq!((end.feed.shape(), end.feed.evidence()), (ends[0].feed.shape(), all));
        }
    });
}

#[test]
fn pinned_are_the_chains_and_nothing_else() {
    for_seeds(1_500, |rng| {
        let nodes = tree(rng, 30);
        let all: Nodes = nodes.iter().copied().collect();
        let mut replica = Replica::default();
        nodes.iter().filter(|_| rng.random_bool(0.8)).for_each(|node| replica.offer(*node));
        let base = match rng.random_bool(0.5) {
            true => nodes[rng.random_range(0..nodes.len())].tip(),
            false => Tip::ROOT,
        };
        let pins: Vec<Tip> = (0..rng.random_range(0..5))
            .map(|_| nodes[rng.random_range(0..nodes.len())].tip())
            .collect();
        let chains: Vec<Nodes> = pins.iter().map(|pin| way(base, *pin, &all)).collect();
        let expected = union(&chains);

        let staged =
            union([&replica.kept].into_iter().chain(
                pins.iter().map(|pin| way(Tip::ROOT, *pin, &all)).collect::<Vec<_>>().iter(),
            ));
        let evicted = replica.feed.pin(base, &pins, &staged).unwrap();
        let stay = |node: &Node| node.number > base.number && !evicted.contains(node);
        assert_eq!(staged.iter().filter(stay).collect::<Nodes>(), expected);
        for node in &evicted {
            let beside = expected.at(node.number).next().is_some();
            let known = replica.feed.evidence();
            assert!(!beside || known.is_some_and(|known| known.excuses(node.number)));
        }
        replica.kept = expected.clone();

        for node in shuffled(rng, &nodes) {
            let placed = replica.insert(node);
            let held = node.tip() == base || expected.get(node.tip()).is_some();
            let below = node.number <= base.number;
            let as_expected = match placed {
                Placed::Held => held,
                Placed::Below => below && !held,
                Placed::Pinned => !held && !below,
                _ => false,
            };
            assert!(as_expected, "{placed:?}");
        }
        let ends = |node: &Node| expected.child(node.number + 1, node.hash).is_none();
        let mut tips: Vec<Tip> = expected.iter().filter(ends).map(|node| node.tip()).collect();
        if tips.is_empty() && base != Tip::ROOT {
            tips.push(base);
        }
        assert_eq!(replica.feed.tips(), tips);

        // No removal stands any more.
        let above = closed(base, &nodes);
        let evicted = replica.feed.open(base, &above);
        replica.kept = above.iter().filter(|node| !evicted.contains(node)).collect();
        assert_eq!(replica.kept, two_lanes(base, &above));
        offer_until_quiet(&mut replica, rng, &nodes);
        assert_eq!(replica.kept, two_lanes(base, &above));
    });
}

#[test]
fn a_pin_whose_chain_is_missing_changes_nothing_and_says_what_to_ask_for() {
    let nodes = chain(Tip::ROOT, &[1, 2, 3, 4, 5]);
    let mut replica = Replica::default();
    nodes[..2].iter().for_each(|node| replica.offer(*node));
    let before = replica.feed.clone();
    let mut staged = replica.kept.clone();
    for missing in [4, 3, 2] {
        let pinned = replica.feed.pin(Tip::ROOT, &[nodes[4].tip()], &staged);
        assert_eq!(pinned, Err(nodes[missing].tip()));
        assert_eq!(replica.feed, before);
        staged.insert(nodes[missing]);
    }
    assert_eq!(replica.feed.pin(Tip::ROOT, &[nodes[4].tip()], &staged), Ok(Vec::new()));
    assert_eq!(replica.feed.tips(), [nodes[4].tip()]);
}

#[test]
fn evidence_outlives_a_pin_and_a_base() {
    let a = chain(Tip::ROOT, &[1, 2, 3]);
    let b = entry(4, a[0].tip());
    let mut replica = Replica::default();
    a.iter().chain([&b]).for_each(|node| replica.offer(*node));
    let evidence = replica.feed.evidence();
    assert_eq!(evidence, Evidence::of(a[1].tip(), b.tip()));
    let mut pinned = replica.clone();
    assert_eq!(pinned.feed.pin(Tip::ROOT, &[a[2].tip()], &replica.kept), Ok(vec![b]));
    assert_eq!(pinned.feed.evidence(), evidence);
    assert_eq!(replica.rebase(a[2].tip()), Rebased::Kept { evicted: Some(b.tip()) });
    assert_eq!((replica.feed.tips(), replica.feed.evidence()), (vec![a[2].tip()], evidence));
}

#[test]
fn a_pinned_branch_that_was_evicted_is_kept_and_the_divergence_is_evidence() {
    let mut replica = Replica::default();
    let trunk = entry(9, Tip::ROOT);
    let [a, b, c] = [1, 2, 3].map(|rank| chain(trunk.tip(), &[rank, 5]));
    replica.offer(trunk);
    [&c, &b, &a].into_iter().flatten().for_each(|node| replica.offer(*node));
    let mut staged = replica.kept.clone();
    c.iter().for_each(|node| staged.insert(*node));
    let gone = replica.feed.pin(Tip::ROOT, &[c[1].tip()], &staged).unwrap();
    assert_eq!(gone.into_iter().collect::<Nodes>(), [&a[..], &b].concat().into_iter().collect());
    replica.kept = [trunk].into_iter().chain(c.clone()).collect();
    // Smaller hashes and forks below change nothing now.
    for node in [entry(0, trunk.tip()), entry(0, Tip::ROOT), entry(0, c[1].tip())] {
        assert_eq!(replica.insert(node), Placed::Pinned);
    }
    assert_eq!(replica.feed.tips(), [c[1].tip()]);
    assert_eq!(replica.feed.evidence().map(|one| one.number()), Some(1));
}
