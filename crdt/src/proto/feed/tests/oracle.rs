//! Rule 1 as it is written, over whole trees.

use std::collections::BTreeSet;

use super::*;

/// Those entries all of whose ancestors are there too, down to the base.
pub(super) fn closed(base: Tip, nodes: &[Node]) -> Nodes {
    let mut inside = Nodes::default();
    let mut reached: BTreeSet<Tip> = [base].into();
    let mut nodes = nodes.to_vec();
    nodes.sort_by_key(|node| node.number);
    for node in nodes.into_iter().filter(|node| node.number > base.number) {
        let parent = Tip { number: node.number - 1, hash: node.parent };
        if reached.contains(&parent) {
            reached.insert(node.tip());
            inside.insert(node);
        }
    }
    inside
}

fn children(parent: Tip, tree: &Nodes) -> Vec<Node> {
    let links = |node: &Node| node.number == parent.number + 1 && node.parent == parent.hash;
    let mut children: Vec<Node> = tree.iter().filter(links).collect();
    children.sort_by_key(|node| node.hash);
    children
}

/// The trunk, and above the first entry with several children two lanes.
pub(super) fn two_lanes(base: Tip, tree: &Nodes) -> Nodes {
    let mut kept = Nodes::default();
    let mut end = base;
    loop {
        match children(end, tree)[..] {
            [] => return kept,
            [only] => {
                kept.insert(only);
                end = only.tip();
            }
            [a, b, ..] => {
                lane(a, tree, &mut kept);
                lane(b, tree, &mut kept);
                return kept;
            }
        }
    }
}

fn lane(head: Node, tree: &Nodes, kept: &mut Nodes) {
    kept.insert(head);
    if let Some(smallest) = children(head.tip(), tree).first() {
        lane(*smallest, tree, kept);
    }
}

/// The way from the base to a tip, without the base; nothing, if none leads there.
pub(super) fn way(base: Tip, to: Tip, tree: &Nodes) -> Nodes {
    let mut way = Nodes::default();
    let mut at = to;
    while at != base {
        let Some(node) = tree.get(at) else { return Nodes::default() };
        way.insert(node);
        at = Tip { number: node.number - 1, hash: node.parent };
    }
    way
}

pub(super) fn union<'a>(sets: impl IntoIterator<Item = &'a Nodes>) -> Nodes {
    sets.into_iter().flat_map(Nodes::iter).collect()
}

/// The lowest number with two entries, and the two smallest there.
pub(super) fn evidence(tree: &Nodes) -> Option<Evidence> {
    let last = tree.iter().last()?.number;
    (1..=last).find_map(|number| {
        let mut level: Vec<Tip> = tree.at(number).map(|node| node.tip()).collect();
        level.sort();
        Evidence::of(*level.first()?, *level.get(1)?)
    })
}
