//! What happened: a hash of all of it, and the last of it in words.

use std::{collections::VecDeque, fmt::Write as _};

use aether_core::{Domain, Hash, Hasher, Time};

use crate::{NodeId, Subject};

const TRACE: Domain = Domain::new("aether 2026-11 simulator trace v1");

/// One line of a trace. What is in words already is the `Debug` form of a value.
pub(crate) enum Happened {
    Booted { life: u32 },
    Message { from: NodeId, bytes: Vec<u8> },
    Timeout,
    Command(String),
    Connection { peer: NodeId, up: bool },
    Input,
    Synced { batches: usize },
    Observed(String),
    Fault(String),
}

/// A running hash of (time, node, what happened), and the last lines.
///
/// Messages, which are most of it, are put into words only when a run fails.
pub(crate) struct Trace {
    hasher: Hasher,
    lines: VecDeque<(Time, Option<NodeId>, Happened)>,
    max_lines: usize,
}

impl Trace {
    pub(crate) fn new(max_lines: usize) -> Self {
        let lines = VecDeque::with_capacity(max_lines);
        Self { hasher: TRACE.hasher(), lines, max_lines }
    }

    pub(crate) fn record(&mut self, now: Time, node: Option<NodeId>, what: Happened) {
        self.fold(now, node, &what);
        if self.lines.len() >= self.max_lines {
            self.lines.pop_front();
        }
        self.lines.push_back((now, node, what));
    }

    fn fold(&mut self, now: Time, node: Option<NodeId>, what: &Happened) {
        let (kind, number, payload): (u8, u64, &[u8]) = match what {
            Happened::Booted { life } => (0, u64::from(*life), &[]),
            Happened::Message { from, bytes } => (1, wide(from.0), bytes),
            Happened::Timeout => (2, 0, &[]),
            Happened::Command(words) => (3, 0, words.as_bytes()),
            Happened::Connection { peer, up } => (if *up { 4 } else { 5 }, wide(peer.0), &[]),
            Happened::Input => (6, 0, &[]),
            Happened::Synced { batches } => (7, wide(*batches), &[]),
            Happened::Observed(words) => (8, 0, words.as_bytes()),
            Happened::Fault(words) => (9, 0, words.as_bytes()),
        };
        let mut head = [0; 33];
        head[0] = kind;
        head[1..9].copy_from_slice(&now.as_micros().to_be_bytes());
        head[9..17].copy_from_slice(&node.map_or(u64::MAX, |node| wide(node.0)).to_be_bytes());
        head[17..25].copy_from_slice(&number.to_be_bytes());
        head[25..33].copy_from_slice(&wide(payload.len()).to_be_bytes());
        self.hasher.update(&head).update(payload);
    }

    /// The bytes of the message recorded last.
    pub(crate) fn message(&self) -> &[u8] {
        match self.lines.back() {
            Some((_, _, Happened::Message { bytes, .. })) => bytes,
            _ => panic!("the message was just recorded"),
        }
    }

    pub(crate) fn hash(&self) -> Hash {
        self.hasher.finish()
    }

    /// The last lines, oldest first.
    pub(crate) fn words<S: Subject>(&self, subject: &S) -> String {
        let mut text = format!("the last {} events:\n", self.lines.len());
        for (at, node, what) in &self.lines {
            let node = node.map_or(String::from("*"), |node| node.to_string());
            let what = match what {
                Happened::Booted { life } => format!("starts its life {life}"),
                Happened::Message { from, bytes } => {
                    format!("<- {from} {}", subject.describe(bytes))
                }
                Happened::Timeout => String::from("timeout"),
                Happened::Command(words) => format!("command {words}"),
                Happened::Connection { peer, up: true } => format!("connected to {peer}"),
                Happened::Connection { peer, up: false } => format!("disconnected from {peer}"),
                Happened::Input => String::from("input from its own effects"),
                Happened::Synced { batches } => format!("synced {batches} writes"),
                Happened::Observed(words) => format!("observed {words}"),
                Happened::Fault(words) => words.clone(),
            };
            let _ = writeln!(text, "{at:?} {node:>5} {what}");
        }
        text
    }
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).expect("usize has at most 64 bits")
}
