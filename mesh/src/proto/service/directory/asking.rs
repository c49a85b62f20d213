//! Questions to neighbours, and answers to theirs.
//!
//! Rule 5 of the [directory](super).

use std::time::Duration;

use aether_core::{PublicKey, Time};
use minicbor::bytes::ByteVec;

use super::{Announcement, Directory, MAX_TOLD, Message, Output, Told};

/// Where a conversation begins: with what was learnt last.
const NEWEST: u64 = u64::MAX;

/// A question of ours.
#[derive(Debug)]
pub(super) struct Asking {
    below: u64,
    /// Answers so far.
    pages: u32,
    /// Times that this one was asked.
    tries: u32,
    pub(super) deadline: Time,
}

/// How much a neighbour has asked since a time.
#[derive(Debug)]
pub(super) struct Allowance {
    since: Time,
    pages: u32,
}

impl Directory {
    pub(super) fn on_connected(&mut self, peer: PublicKey) {
        if peer == self.me {
            return;
        }
        if self.neighbours.len() < self.config.max_neighbours {
            self.neighbours.entry(peer).or_insert(Allowance { since: self.now, pages: 0 });
        }
        self.ask(peer);
    }

    /// Begins to ask a node, unless it is being asked or too many are.
    pub(super) fn ask(&mut self, to: PublicKey) {
        if self.asking.contains_key(&to) || self.asking.len() >= self.config.max_asking {
            return;
        }
        let deadline = self.now + self.config.ask_timeout;
        self.asking.insert(to, Asking { below: NEWEST, pages: 0, tries: 1, deadline });
        self.outputs.push_back(Output::Send { to, message: Message::Ask { below: NEWEST } });
    }

    pub(super) fn ask_again(&mut self) {
        let (now, config) = (self.now, &self.config);
        self.asking.retain(|_, asking| asking.deadline > now || asking.tries < config.ask_tries);
        for (to, asking) in self.asking.iter_mut().filter(|(_, asking)| asking.deadline <= now) {
            asking.tries += 1;
            asking.deadline = now + config.ask_timeout;
            let message = Message::Ask { below: asking.below };
            self.outputs.push_back(Output::Send { to: *to, message });
        }
    }

    pub(super) fn on_message(&mut self, from: PublicKey, message: Message) {
        match message {
            Message::Ask { below } if self.may_ask(&from) => {
                let message = self.page(below);
                self.outputs.push_back(Output::Send { to: from, message });
            }
            Message::Ask { .. } => self.stats.ignored += 1,
            Message::Tell { asked, announcements, below } => {
                self.on_tell(from, asked, announcements, below);
            }
        }
    }

    /// Whether a neighbour is within its allowance, which this uses.
    fn may_ask(&mut self, from: &PublicKey) -> bool {
        let Some(allowance) = self.neighbours.get_mut(from) else { return false };
        if self.now >= allowance.since + self.config.refresh {
            *allowance = Allowance { since: self.now, pages: 0 };
        }
        allowance.pages += 1;
        allowance.pages <= self.config.max_pages
    }

    /// An answer that begins below a number.
    fn page(&self, asked: u64) -> Message {
        let mut announcements = Vec::new();
        let mut room = self.config.page;
        let mut tell = |announcement: &Announcement, age: Duration| {
            let bytes = announcement.bytes();
            let fits = bytes.len() <= room && announcements.len() < MAX_TOLD;
            if fits {
                room -= bytes.len();
                let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                announcements.push(Told { bytes: ByteVec::from(bytes.to_vec()), age });
            }
            fits
        };
        if asked == NEWEST
            && let Some((own, signed)) = &self.own.announced
            && self.now.since(*signed) < self.config.ttl
        {
            tell(own, self.now.since(*signed));
        }
        let mut below = None;
        for (number, announcement, expires) in self.table.learnt_before(asked) {
            let age = self.config.ttl.saturating_sub(expires.since(self.now));
            if !tell(announcement, age) {
                below = Some(number + 1);
                break;
            }
        }
        Message::Tell { asked, announcements, below }
    }

    fn on_tell(&mut self, from: PublicKey, asked: u64, told: Vec<Told>, below: Option<u64>) {
        let Some(asking) = self.asking.get(&from).filter(|asking| asking.below == asked) else {
            self.stats.ignored += 1;
            return;
        };
        let pages = asking.pages + 1;
        self.asking.remove(&from);
        for Told { bytes, age } in told.into_iter().take(MAX_TOLD) {
            if !self.receive(from, Vec::from(bytes).into(), Duration::from_millis(age)) {
                return;
            }
        }
        if let Some(below) = below.filter(|below| *below < asked && pages < self.config.max_pages) {
            let deadline = self.now + self.config.ask_timeout;
            self.asking.insert(from, Asking { below, pages, tries: 1, deadline });
            self.outputs.push_back(Output::Send { to: from, message: Message::Ask { below } });
        }
    }
}
