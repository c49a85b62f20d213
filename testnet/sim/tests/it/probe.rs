//! A protocol that does what it is told and remembers what it was told.

use std::{collections::VecDeque, time::Duration};

use aether_core::{Protocol, Time};
use aether_sim::{At, Boot, Effects, NodeId, Subject};

/// What a probe does on command, in order.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Send(NodeId, &'static str),
    Put(&'static str),
    Batch(&'static str, &'static str),
    Sync,
    /// Shows that the acts before this one have taken effect.
    Show(&'static str),
    /// Has itself told something.
    Input(&'static str),
    WakeAt(Time),
    WakeAfter(Duration),
    /// Wants a timeout at a time that is always past.
    Spin,
    Count(&'static str),
    /// Never stops to give itself inputs.
    Babble,
}

#[derive(Debug)]
pub(crate) enum Input {
    Told(String),
    Timeout,
    Do(Vec<Act>),
}

#[derive(Debug)]
pub(crate) struct Probe {
    /// What it was told, and when by its clock.
    pub(crate) log: Vec<(Time, String)>,
    /// What its disk held when it started.
    pub(crate) found: Vec<String>,
    pub(crate) boot: At,
    pub(crate) seed: [u8; 32],
    deadline: Option<Time>,
    outputs: VecDeque<Act>,
}

impl Probe {
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.log.iter().map(|(_, text)| text.as_str()).collect()
    }
}

impl Protocol for Probe {
    type Input = Input;
    type Output = Act;

    fn handle(&mut self, now: Time, input: Input) {
        let last = self.log.last().map_or(Time::ZERO, |(at, _)| *at);
        assert!(now >= last, "time went back from {last:?} to {now:?}");
        match input {
            Input::Told(text) => self.log.push((now, text)),
            Input::Timeout => {
                assert!(self.deadline.is_some_and(|at| at <= now), "a timeout that is too early");
                self.log.push((now, "timeout".into()));
                if self.deadline != Some(Time::ZERO) {
                    self.deadline = None;
                }
            }
            Input::Do(acts) => {
                for act in acts {
                    match act {
                        Act::WakeAt(at) => self.deadline = Some(at),
                        Act::WakeAfter(after) => self.deadline = Some(now + after),
                        Act::Spin => self.deadline = Some(Time::ZERO),
                        act => self.outputs.push_back(act),
                    }
                }
            }
        }
    }

    fn poll_output(&mut self) -> Option<Act> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.deadline
    }
}

#[derive(Debug)]
pub(crate) struct Probes;

impl Subject for Probes {
    type Node = Probe;
    type Command = Vec<Act>;
    type Event = &'static str;

    fn boot(&self, boot: Boot<'_>) -> Probe {
        let text = |key: &[u8]| String::from_utf8(key.into()).unwrap();
        Probe {
            log: Vec::new(),
            found: boot.disk.iter().map(|(key, _)| text(key)).collect(),
            boot: boot.at,
            seed: boot.seed,
            deadline: None,
            outputs: [Act::Show("booted")].into(),
        }
    }

    fn message(&self, _: At, from: NodeId, bytes: &[u8]) -> Option<Input> {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(Input::Told(format!("{from}: {text}")))
    }

    fn timeout(&self, _: At) -> Input {
        Input::Timeout
    }

    fn command(&self, _: At, acts: Vec<Act>) -> Input {
        Input::Do(acts)
    }

    fn connection(&self, _: At, peer: NodeId, up: bool) -> Option<Input> {
        Some(Input::Told(format!("{} {peer}", if up { "up" } else { "down" })))
    }

    fn output(&self, _: At, act: Act, effects: &mut Effects<Self>) {
        match act {
            Act::Send(to, text) => effects.send(to, text),
            Act::Put(key) => effects.put(key, ""),
            Act::Batch(a, b) => {
                let put = |key: &str| (key.into(), Some(Vec::new()));
                effects.write(vec![put(a), put(b)]);
            }
            Act::Sync => effects.sync(),
            Act::Show(text) => effects.observe(text),
            Act::Input(text) => effects.input(Input::Told(text.into())),
            Act::Babble => effects.input(Input::Do(vec![Act::Babble])),
            Act::Count(name) => effects.sometimes(name),
            Act::WakeAt(_) | Act::WakeAfter(_) | Act::Spin => {
                panic!("handled by the probe itself")
            }
        }
    }

    fn describe(&self, bytes: &[u8]) -> String {
        format!("'{}'", String::from_utf8_lossy(bytes))
    }
}
