//! What a liar may sign, one case each, and what is kept in the end.

use super::{oracle::*, *};

/// Every order of these entries ends with what is expected, whatever waited for what.
fn every_order_ends_with(before: &[Node], nodes: &[Node], expected: &[Node]) {
    let mut start = Replica::default();
    before.iter().for_each(|node| start.offer(*node));
    let expected: Nodes = expected.iter().copied().collect();
    permute(&mut nodes.to_vec(), 0, &mut |order| {
        let mut replica = start.clone();
        order.iter().for_each(|node| replica.offer(*node));
        assert_eq!(replica.kept, expected, "in the order {order:?}");
    });
}

fn permute(nodes: &mut [Node], from: usize, each: &mut impl FnMut(&[Node])) {
    if from == nodes.len() {
        return each(nodes);
    }
    for at in from..nodes.len() {
        nodes.swap(from, at);
        permute(nodes, from + 1, each);
        nodes.swap(from, at);
    }
}

#[test]
fn two_pairs_at_one_number_end_with_the_two_smallest_of_all() {
    let trunk = chain(Tip::ROOT, &[7, 7]);
    let [a, b, c, d] = [1, 2, 3, 4].map(|rank| entry(rank, trunk[1].tip()));
    every_order_ends_with(&trunk, &[a, b, c, d], &[trunk[0], trunk[1], a, b]);
    // As replicas that meet.
    let replica = |nodes: &[Node]| {
        let mut replica = Replica::default();
        trunk.iter().chain(nodes).for_each(|node| replica.offer(*node));
        replica
    };
    let (one, two) = (replica(&[b, c]), replica(&[a, d]));
    let (mut left, mut right) = (one.clone(), two.clone());
    left.merge(&two);
    right.merge(&one);
    assert_eq!((&left.kept, &left.feed), (&right.kept, &right.feed));
    assert_eq!(left.feed.tips(), [a.tip(), b.tip()]);
}

#[test]
fn a_smaller_head_that_arrives_late_takes_nothing_from_the_lane_that_stays() {
    let [a, b, c] = [1, 2, 3].map(|rank| entry(rank, Tip::ROOT));
    let above_b = entry(9, b.tip());
    let above_c = [4, 5].map(|rank| entry(rank, c.tip()));
    let all = [a, b, c, above_b, above_c[0], above_c[1]];
    every_order_ends_with(&[], &all, &[a, b, above_b]);
}

#[test]
fn each_lower_fork_shortens_the_trunk_and_keeps_the_smaller_of_the_old_lanes() {
    let trunk = chain(Tip::ROOT, &[5; 8]);
    let at_9 = [chain(trunk[7].tip(), &[2, 8]), chain(trunk[7].tip(), &[1, 8])];
    let at_5 = chain(trunk[3].tip(), &[9, 9, 9]);
    let at_2 = chain(trunk[0].tip(), &[6, 9]);
    let mut replica = Replica::default();
    trunk.iter().chain(&at_9[0]).for_each(|node| replica.offer(*node));
    let forked = Placed::Forked { beside: at_9[0][0].hash };
    assert_eq!(replica.insert(at_9[1][0]), forked);
    replica.offer(at_9[1][1]);
    let lowered = Placed::Lowered { beside: trunk[4].hash, evicted: at_9[0][0].tip() };
    assert_eq!(replica.insert(at_5[0]), lowered);
    at_5[1..].iter().for_each(|node| replica.offer(*node));
    assert_eq!(replica.feed.tips(), [at_9[1][1].tip(), at_5[2].tip()]);
    let lowered = Placed::Lowered { beside: trunk[1].hash, evicted: at_5[0].tip() };
    assert_eq!(replica.insert(at_2[0]), lowered);
    replica.offer(at_2[1]);
    assert_eq!(replica.feed.tips(), [at_9[1][1].tip(), at_2[1].tip()]);
    assert_eq!(replica.feed.evidence(), Evidence::of(trunk[1].tip(), at_2[0].tip()));

    let all = [&trunk[..], &at_9[0], &at_9[1], &at_5, &at_2].concat();
    assert_eq!(replica.kept, two_lanes(Tip::ROOT, &all.iter().copied().collect()));
    for_seeds(200, |rng| {
        let mut other = Replica::default();
        shuffled(rng, &all).into_iter().for_each(|node| other.offer(node));
        assert_eq!((&other.kept, &other.feed), (&replica.kept, &replica.feed));
    });
}

#[test]
fn a_smaller_child_inside_a_lane_replaces_what_is_above_and_leaves_the_other_lane() {
    let a = chain(Tip::ROOT, &[1, 5, 5, 5]);
    let b = chain(Tip::ROOT, &[2, 5, 5, 5, 5]);
    let smaller = entry(3, a[1].tip());
    let larger = entry(7, a[1].tip());
    let mut replica = Replica::default();
    a.iter().chain(&b).for_each(|node| replica.offer(*node));
    assert_eq!(replica.insert(larger), Placed::Lost { to: a[2].hash });
    assert_eq!(replica.insert(smaller), Placed::Replaced { evicted: a[2].tip() });
    assert_eq!(replica.feed.tips(), [smaller.tip(), b[4].tip()]);
    assert_eq!(replica.kept.len(), 3 + 5);
    // In the longer lane too, on which the way up passes the other's tip.
    let smaller_b = entry(3, b[2].tip());
    assert_eq!(replica.insert(smaller_b), Placed::Replaced { evicted: b[3].tip() });
    assert_eq!(replica.feed.tips(), [smaller.tip(), smaller_b.tip()]);
    let all = [&a[2..], &[smaller, larger]].concat();
    every_order_ends_with(&[&a[..2], &b].concat(), &all, &[&a[..2], &[smaller], &b].concat());
}

#[test]
fn the_smallest_wins_among_three_heads_whichever_arrived_last() {
    let heads = [1, 2, 3].map(|rank| chain(Tip::ROOT, &[rank, 5]));
    let all = heads.concat();
    every_order_ends_with(&[], &all, &all[..4]);
}

#[test]
fn a_fork_below_a_pinned_checkpoint_is_evidence_before_and_after_the_pin() {
    let nodes = chain(Tip::ROOT, &[5; 10]);
    let base = nodes[4].tip();
    let other = chain(nodes[1].tip(), &[1, 1]);
    let another = chain(nodes[1].tip(), &[2, 1]);
    let both = [&other[..], &another].concat();
    // The checkpoint is in the trunk, on a lane, or on a branch that was evicted.
    for forked in [&[][..], &other, &both] {
        let mut replica = Replica::default();
        nodes.iter().chain(forked).for_each(|node| replica.offer(*node));
        replica.rebase(base);
        nodes.iter().chain(&other).for_each(|node| _ = replica.insert(*node));
        assert_eq!(replica.kept, nodes[5..].iter().copied().collect());
        assert_eq!((replica.feed.base(), replica.feed.tips()), (base, vec![nodes[9].tip()]));
        assert_eq!(replica.insert(other[0]), Placed::Below);
        assert_eq!(replica.insert(nodes[4]), Placed::Held);
        if !forked.is_empty() {
            let evidence = replica.feed.evidence().unwrap();
            assert_eq!((evidence.number(), evidence.pair()[0]), (3, other[0].hash));
        }
    }
    // A fork that meets no header below the base needs one that is still stored.
    let mut replica = Replica::default();
    nodes.iter().for_each(|node| replica.offer(*node));
    assert_eq!(replica.feed.rebase(base, &replica.kept), Rebased::Kept { evicted: None });
    assert_eq!(replica.insert(other[0]), Placed::Below);
    let beside = chain(other[1].tip(), &[1, 1, 1]);
    let placed: Vec<Placed> = beside.iter().map(|node| replica.insert(*node)).collect();
    // What is right above the base's number is refused at once, what is higher asks for it.
    assert_eq!(placed, [Placed::Below, Placed::Below, Placed::Gap]);
    assert_eq!(replica.feed.evidence(), Evidence::of(nodes[2].tip(), other[0].tip()));
}

#[test]
fn a_header_without_its_payload_is_evidence_and_a_lane_once_the_payload_comes() {
    let nodes = chain(Tip::ROOT, &[5, 5, 5]);
    let small = entry(1, nodes[0].tip());
    let mut replica = Replica::default();
    nodes.iter().for_each(|node| replica.offer(*node));
    let before = replica.feed.shape().clone();
    assert!(replica.feed.witness(&small, &replica.kept));
    assert!(!replica.feed.witness(&small, &replica.kept));
    assert_eq!(replica.feed.shape(), &before);
    assert_eq!(replica.feed.evidence(), Evidence::of(small.tip(), nodes[1].tip()));
    assert_eq!(replica.insert(small), Placed::Forked { beside: nodes[1].hash });
    assert_eq!(replica.feed.tips(), [small.tip(), nodes[2].tip()]);
}

#[test]
fn two_roots_are_a_fork_at_number_1_and_a_third_is_judged_like_any_head() {
    let roots = [4, 2, 3, 1].map(|rank| chain(Tip::ROOT, &[rank, 5, 5]));
    let mut replica = Replica::default();
    roots[0].iter().for_each(|node| replica.offer(*node));
    let forked = Placed::Forked { beside: roots[0][0].hash };
    assert_eq!(replica.insert(roots[1][0]), forked);
    assert_eq!(replica.insert(roots[2][0]), Placed::Replaced { evicted: roots[0][0].tip() });
    assert_eq!(replica.insert(roots[0][0]), Placed::Lost { to: roots[2][0].hash });
    assert_eq!(replica.insert(roots[0][1]), Placed::Gap);
    assert_eq!(replica.insert(roots[3][0]), Placed::Replaced { evicted: roots[2][0].tip() });
    assert_eq!(replica.feed.tips(), [roots[3][0].tip(), roots[1][0].tip()]);
    let Shape::Open(lanes) = replica.feed.shape() else { unreachable!() };
    assert_eq!(lanes.trunk(), Tip::ROOT);
}

#[test]
fn a_fork_is_lowered_down_to_number_1_and_the_old_trunk_becomes_a_lane() {
    let trunk = chain(Tip::ROOT, &[5, 5]);
    let [a, b] = [1, 2].map(|rank| chain(trunk[1].tip(), &[rank, 5]));
    let root = entry(9, Tip::ROOT);
    let all = [&a[..], &b, &[root]].concat();
    every_order_ends_with(&trunk, &all, &[&trunk[..], &a, &[root]].concat());
}

#[test]
fn an_evicted_branch_that_comes_back_is_lost_at_its_head_and_has_a_gap_above() {
    let [a, b, c] = [1, 2, 3].map(|rank| chain(Tip::ROOT, &[rank, 5, 5]));
    let mut replica = Replica::default();
    [&c, &b, &a].into_iter().flatten().for_each(|node| replica.offer(*node));
    let before = replica.clone();
    assert_eq!(replica.insert(c[2]), Placed::Gap);
    assert_eq!(replica.insert(c[1]), Placed::Gap);
    assert_eq!(replica.insert(c[0]), Placed::Lost { to: b[0].hash });
    // Something small and new above what was evicted, which waits for a parent that is lost.
    assert_eq!(replica.insert(entry(0, c[1].tip())), Placed::Gap);
    assert_eq!((&replica.kept, &replica.feed), (&before.kept, &before.feed));
}

#[test]
fn an_entry_with_another_number_than_its_parent_says_is_never_placed() {
    let nodes = chain(Tip::ROOT, &[5, 5, 5]);
    let mut replica = Replica::default();
    nodes.iter().for_each(|node| replica.offer(*node));
    for (number, parent) in [(5, nodes[2]), (3, nodes[2]), (2, nodes[1]), (u64::MAX, nodes[2])] {
        let wrong = Node { number, ..entry(1, parent.tip()) };
        assert_eq!(replica.insert(wrong), Placed::Gap);
    }
    let nought = Node { number: 0, ..entry(1, Tip::ROOT) };
    assert_eq!(replica.insert(nought), Placed::Below);
}
