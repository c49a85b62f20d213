//! Chains: what is kept of a feed whose author was removed. See rule 4 of the [module](super).

use super::{Evidence, Kept, Node, Placed, Tip};

/// The chains from a base to the tips that removals pinned: no more and no less is kept.
///
/// In memory are the tips, which bounds on removals bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chains {
    base: Tip,
    /// Ascending; none lies below another.
    tips: Vec<Tip>,
}

/// What following pins gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Followed {
    pub(super) chains: Chains,
    pub(super) evicted: Vec<Node>,
    pub(super) evidence: Option<Evidence>,
}

impl Chains {
    /// Chains as they were stored, in the words of [`base`](Self::base) and
    /// [`pinned`](Self::pinned).
    pub const fn restore(base: Tip, tips: Vec<Tip>) -> Self {
        Self { base, tips }
    }

    /// The pinned tips above the base, ascending; none lies below another.
    pub fn pinned(&self) -> impl Iterator<Item = Tip> {
        self.tips.iter().copied()
    }

    /// The chains from `base` to `pins` among `all`, which reaches up to the number `top`.
    ///
    /// # Errors
    /// The highest entry of a chain that `all` lacks.
    pub(super) fn follow(
        base: Tip,
        pins: &[Tip],
        top: u64,
        all: &impl Kept,
    ) -> Result<Followed, Tip> {
        let mut standing = Vec::new();
        for pin in pins {
            if descends(*pin, base, all)? {
                standing.push(*pin);
            }
        }
        standing.sort_unstable();
        standing.dedup();
        // What leads to a pin that counts as the base was staged, and goes too.
        let top = pins.iter().map(|pin| pin.number).fold(top, u64::max);

        let mut followed = Followed {
            chains: Self { base, tips: Vec::new() },
            evicted: Vec::new(),
            evidence: None,
        };
        // The entries that stand at the number looked at.
        let mut wanted: Vec<Tip> = Vec::new();
        for number in (base.number..=top).rev().take_while(|number| *number > base.number) {
            while let Some(pin) = standing.pop_if(|pin| pin.number == number) {
                // What a higher chain leads to is no tip.
                if !wanted.contains(&pin) {
                    followed.chains.tips.push(pin);
                    wanted.push(pin);
                }
            }
            let level: Vec<Node> = all.at(number).collect();
            // The last that is found is the lowest.
            followed.evidence = Evidence::among(&level).or(followed.evidence);
            let (stay, go): (Vec<Node>, Vec<Node>) =
                level.into_iter().partition(|node| wanted.contains(&node.tip()));
            followed.evicted.extend(go);
            wanted = stay.iter().map(parent).collect();
            wanted.sort_unstable();
            wanted.dedup();
        }
        followed.evicted.reverse();
        followed.chains.tips.sort_unstable();
        Ok(followed)
    }

    pub(super) fn judge(&self, node: &Node, kept: &impl Kept) -> Placed {
        if node.tip() == self.base {
            Placed::Held
        } else if node.number <= self.base.number {
            Placed::Below
        } else if kept.get(node.tip()).is_some() {
            Placed::Held
        } else {
            Placed::Pinned
        }
    }

    /// What the lowest kept entries link to.
    pub const fn base(&self) -> Tip {
        self.base
    }

    /// Where the chains end, ascending: the base, if that is all that is left of them; none, if not
    /// even a base is.
    pub fn tips(&self) -> impl Iterator<Item = Tip> {
        let alone = self.tips.is_empty() && self.base != Tip::ROOT;
        self.tips.iter().copied().chain(alone.then_some(self.base))
    }
}

fn parent(node: &Node) -> Tip {
    Tip { number: node.number.saturating_sub(1), hash: node.parent }
}

/// Whether an entry lies above the base and descends from it.
///
/// # Errors
/// The highest entry on the way down that `all` lacks.
fn descends(tip: Tip, base: Tip, all: &impl Kept) -> Result<bool, Tip> {
    let mut at = tip;
    while at.number > base.number {
        at = parent(&all.get(at).ok_or(at)?);
    }
    Ok(at == base && tip != base)
}
