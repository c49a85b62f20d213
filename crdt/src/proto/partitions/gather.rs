//! Gathering: asking nodes in the order of preference until enough have answered.
//!
//! One gathering is one operation. A write is gathered from one node, who coordinates it; a read
//! from as many owners as its level says.
//!
//! # Rules
//!
//! 1. **As many as needed.** As many are asked at once as answers are needed, in the order given.
//! 2. **The next.** For each that declines, can't be reached, or hasn't answered within `patience`,
//!    the next is asked as well. Who answers late still counts.
//! 3. **Again.** Who declined is asked again, no earlier than a `pause` after that. Once each has
//!    declined as often as `rounds` says, if it says so, it is given up.
//! 4. **Ends.** It ends exactly once: when enough have answered, when it is given up, or at its
//!    deadline. Each node counts once.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::{Protocol, PublicKey, Time};

/// How a gathering goes.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How many answers are needed.
    pub need: usize,
    /// How long a node may take before the next is asked as well.
    pub patience: Duration,
    /// How long nobody who declined is asked again.
    pub pause: Duration,
    /// How often each is asked at most; as often as there is time for, if none.
    pub rounds: Option<u32>,
    /// When it ends.
    pub deadline: Time,
}

/// What happens to a gathering.
#[derive(Clone, Debug)]
pub enum Input<T> {
    /// A node has answered.
    Said(PublicKey, T),
    /// A node declined, or wasn't reached.
    Declined(PublicKey),
    /// The deadline of `poll_timeout` has come. Give it once to begin.
    Timeout,
}

/// What a gathering wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<T> {
    /// Ask this node.
    Ask(PublicKey),
    /// It is done, with these answers in the order in which they came.
    Done(Vec<(PublicKey, T)>),
    /// It is given up, with the answers that came: too few.
    Short(Vec<(PublicKey, T)>),
}

/// How it stands with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// It is to be asked, not before this.
    Waits(Time),
    /// It was asked, and has this long.
    Asked(Time),
    /// It took longer, and may still answer.
    Late,
    Said,
    /// It declined as often as it is asked.
    Spent,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Gather<T> {
    config: Config,
    order: Vec<PublicKey>,
    nodes: BTreeMap<PublicKey, (Stand, u32)>,
    said: Vec<(PublicKey, T)>,
    is_over: bool,
    outputs: VecDeque<Output<T>>,
}

impl<T> Gather<T> {
    /// Will ask these nodes, in this order.
    pub fn new(config: Config, nodes: impl IntoIterator<Item = PublicKey>) -> Self {
        let order: Vec<PublicKey> = nodes.into_iter().collect();
        let nodes = order.iter().map(|node| (*node, (Stand::Waits(Time::ZERO), 0))).collect();
        let (said, outputs) = (Vec::new(), VecDeque::new());
        Self { config, order, nodes, said, is_over: false, outputs }
    }

    fn end(&mut self, is_done: bool) {
        self.is_over = true;
        let said = std::mem::take(&mut self.said);
        self.outputs.push_back(if is_done { Output::Done(said) } else { Output::Short(said) });
    }

    /// Asks whom it is time to ask.
    fn go_on(&mut self, now: Time) {
        for (stand, _) in self.nodes.values_mut() {
            if matches!(stand, Stand::Asked(until) if *until <= now) {
                *stand = Stand::Late;
            }
        }
        let stands = || self.nodes.values().map(|(stand, _)| stand);
        let asked = stands().filter(|stand| matches!(stand, Stand::Asked(_))).count();
        let open = stands().filter(|stand| **stand != Stand::Spent).count();
        if self.said.len() >= self.config.need {
            return self.end(true);
        }
        if now >= self.config.deadline || open < self.config.need {
            return self.end(false);
        }
        let room = self.config.need.saturating_sub(self.said.len() + asked);
        let is_due = |node: &&PublicKey| {
            let stand = self.nodes.get(*node).map(|(stand, _)| *stand);
            stand.is_some_and(|stand| matches!(stand, Stand::Waits(at) if at <= now))
        };
        let next: Vec<PublicKey> = self.order.iter().filter(is_due).take(room).copied().collect();
        for node in next {
            if let Some((stand, times)) = self.nodes.get_mut(&node) {
                (*stand, *times) = (Stand::Asked(now + self.config.patience), *times + 1);
                self.outputs.push_back(Output::Ask(node));
            }
        }
    }
}

impl<T> Protocol for Gather<T> {
    type Input = Input<T>;
    type Output = Output<T>;

    fn handle(&mut self, now: Time, input: Input<T>) {
        if self.is_over {
            return;
        }
        match input {
            Input::Said(node, answer) => {
                if let Some((stand, _)) = self.nodes.get_mut(&node)
                    && *stand != Stand::Said
                {
                    *stand = Stand::Said;
                    self.said.push((node, answer));
                }
            }
            Input::Declined(node) => {
                if let Some((stand, times)) = self.nodes.get_mut(&node)
                    && matches!(stand, Stand::Asked(_) | Stand::Late)
                {
                    let is_spent = self.config.rounds.is_some_and(|rounds| *times >= rounds);
                    let again = Stand::Waits(now + self.config.pause);
                    *stand = if is_spent { Stand::Spent } else { again };
                }
            }
            Input::Timeout => {}
        }
        self.go_on(now);
    }

    fn poll_output(&mut self) -> Option<Output<T>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.is_over {
            return None;
        }
        let asked = self.nodes.values().filter_map(|(stand, _)| match stand {
            Stand::Asked(until) => Some(*until),
            _ => None,
        });
        let outstanding = asked.clone().count() + self.said.len();
        let waits = self.nodes.values().filter_map(|(stand, _)| match stand {
            // While enough are asked nobody else is.
            Stand::Waits(at) if outstanding < self.config.need => Some(*at),
            _ => None,
        });
        asked.chain(waits).chain([self.config.deadline]).min()
    }
}
