//! Counters of what must happen sometimes.

use std::{collections::BTreeMap, fmt};

/// How often each named thing happened.
///
/// A test that never reached a state hasn't tested it: count the states that matter and have the
/// [`Runner`](crate::Runner) demand that each is above zero. The simulator counts its own faults
/// under names that begin with `sim:`; [`World`](crate::World) lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sometimes(BTreeMap<&'static str, u64>);

impl Sometimes {
    /// Counts one.
    pub fn hit(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts several; none still makes the name appear.
    pub fn add(&mut self, name: &'static str, count: u64) {
        let total = self.0.entry(name).or_insert(0);
        *total = total.saturating_add(count);
    }

    /// How often it happened.
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Every name seen, in order, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(name, count)| (*name, *count))
    }

    /// Adds all counts of another.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in other.iter() {
            self.add(name, count);
        }
    }

    /// Those of `names` that never happened.
    pub fn missing<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        names.iter().copied().filter(|name| self.count(name) == 0).collect()
    }
}

/// A table, one name a line, counts first.
impl fmt::Display for Sometimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.iter() {
            writeln!(f, "{count:>12}  {name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_over_runs() {
        let mut first = Sometimes::default();
        first.hit("gap repaired");
        first.add("fork seen", 0);
        let mut second = Sometimes::default();
        second.add("gap repaired", 2);
        first.merge(&second);
        assert_eq!(first.count("gap repaired"), 3);
        assert_eq!(
            first.missing(&["gap repaired", "fork seen", "view changed"]),
            ["fork seen", "view changed"]
        );
        assert_eq!(first.to_string(), "           0  fork seen\n           3  gap repaired\n");
    }
}
