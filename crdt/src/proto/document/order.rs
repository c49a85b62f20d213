//! Which of two elements of a text stands before the other (B8).
//!
//! A text is a tree (RGA: Roh et al., *Replicated abstract data types*, JPDC 2011): each element
//! hangs on the one that it was inserted behind, siblings are ordered by descending id, number
//! first and then the actor's bytes, and the text is the tree read depth first. So which of two
//! stands before the other never changes, whatever is inserted: a larger tree gives the same
//! answer, and this change's own elements may be asked about before they are in the index.
//!
//! The tree isn't walked. Spans of inserts make a smaller tree of which each node hangs on an
//! element of its parent; every node knows its depth, and one ancestor further up, chosen by depth
//! alone (Myers, *An applicative random-access stack*, IPL 1983). Two jumps of equal length join
//! into one, so that any ancestor and the place where two paths meet are O(log spans) steps away.
//!
//! *Invariant*: nodes of equal depth jump to equal depths. *Cost*: 16 bytes for each span; a
//! question takes O(log² spans) steps, however deep a liar makes the tree.

use std::cmp::Ordering;

use super::index::rows::{Id, Place};

/// Where a span hangs in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// 0 for the head, which all hang on.
    depth: u32,
    /// First element of the span that the jump leads to.
    jump: Id,
}

impl Link {
    const HEAD: Self = Self { depth: 0, jump: Id::NONE };
}

/// What is known of spans. The head is no span: it is asked about by nobody.
pub(super) trait Tree {
    /// The first element of the span that holds this one, and what that is behind.
    fn span(&self, element: Id) -> Option<(Id, Place)>;
    /// The link of the span that begins with this element.
    fn link(&self, first: Id) -> Option<Link>;
    /// Compares ids as the text does: by number, then by the actor's bytes.
    fn compare(&self, one: Id, other: Id) -> Ordering;
}

/// A node on the way up: a span by its first element, or the head.
fn link(tree: &impl Tree, first: Id) -> Option<Link> {
    if first == Id::NONE { Some(Link::HEAD) } else { tree.link(first) }
}

/// The span that holds an element; the head holds itself.
fn node(tree: &impl Tree, element: Id) -> Option<Id> {
    if element == Id::NONE { Some(Id::NONE) } else { tree.span(element).map(|(first, _)| first) }
}

/// The element that a span hangs on.
fn hook(tree: &impl Tree, first: Id) -> Option<Id> {
    match tree.span(first)?.1 {
        Place::Behind(element) => Some(element),
        Place::Key(_) | Place::In(_) => None,
    }
}

fn parent(tree: &impl Tree, first: Id) -> Option<Id> {
    node(tree, hook(tree, first)?)
}

/// The link of a new span behind `element`. `None` if that isn't in a text.
pub(super) fn attach(tree: &impl Tree, element: Id) -> Option<Link> {
    let above = node(tree, element)?;
    let one = link(tree, above)?;
    let two = link(tree, one.jump)?;
    let three = link(tree, two.jump)?;
    let even = one.depth - two.depth == two.depth - three.depth;
    let jump = if even { two.jump } else { above };
    Some(Link { depth: one.depth.checked_add(1)?, jump })
}

/// The ancestor at this depth, which is at most the span's own.
fn ancestor(tree: &impl Tree, mut first: Id, depth: u32) -> Option<Id> {
    loop {
        let here = link(tree, first)?;
        if here.depth <= depth {
            return Some(first);
        }
        let far = link(tree, here.jump)?.depth >= depth;
        first = if far { here.jump } else { parent(tree, first)? };
    }
}

/// A path down to an element, below the node where it parts from another path.
#[derive(Clone, Copy)]
struct Path {
    /// The element of that node where it leaves; the element itself if it doesn't.
    leaves: Id,
    /// The span that it goes on in.
    branch: Option<Id>,
}

/// Where the paths to two elements part.
fn part(tree: &impl Tree, one: Id, other: Id) -> Option<(Path, Path)> {
    let (first, second) = (node(tree, one)?, node(tree, other)?);
    let depths = (link(tree, first)?.depth, link(tree, second)?.depth);
    let depth = depths.0.min(depths.1);
    let (mut a, mut b) = (ancestor(tree, first, depth)?, ancestor(tree, second, depth)?);
    if a == b {
        let path = |element, node, deep: u32| {
            if deep == depth {
                return Some(Path { leaves: element, branch: None });
            }
            let branch = ancestor(tree, node, depth + 1)?;
            Some(Path { leaves: hook(tree, branch)?, branch: Some(branch) })
        };
        return Some((path(one, first, depths.0)?, path(other, second, depths.1)?));
    }
    loop {
        let above = (parent(tree, a)?, parent(tree, b)?);
        if above.0 == above.1 {
            let path = |branch| Some(Path { leaves: hook(tree, branch)?, branch: Some(branch) });
            return Some((path(a)?, path(b)?));
        }
        let jumps = (link(tree, a)?.jump, link(tree, b)?.jump);
        (a, b) = if jumps.0 == jumps.1 { above } else { jumps };
    }
}

/// Whether an element, or the head, stands before another. `None` if one isn't in a text.
///
/// Both must be in the same text.
pub(super) fn is_before(tree: &impl Tree, one: Id, other: Id) -> Option<bool> {
    if one == other || other == Id::NONE {
        return Some(false);
    }
    if one == Id::NONE {
        return Some(true);
    }
    let (a, b) = part(tree, one, other)?;
    Some(match a.leaves.counter.cmp(&b.leaves.counter) {
        Ordering::Equal => match (a.branch, b.branch) {
            (None, _) => true,
            (_, None) => false,
            (Some(a), Some(b)) => tree.compare(a, b).is_gt(),
        },
        Ordering::Less => goes_first(tree, a),
        Ordering::Greater => !goes_first(tree, b),
    })
}

/// Whether what leaves a span stands before the rest of the span behind that place.
fn goes_first(tree: &impl Tree, path: Path) -> bool {
    let Id { lane, counter } = path.leaves;
    let next = Id { lane, counter: counter + 1 };
    path.branch.is_none_or(|branch| tree.compare(branch, next).is_gt())
}

#[cfg(test)]
mod tests;
