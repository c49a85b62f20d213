//! Probing: whom to ping and when, what an answer means, and how long to wait for one.
//!
//! Rules 2 and 5 of the [roster](super).

use std::time::Duration;

use aether_core::{PublicKey, Time};

use super::{Member, Message, Roster, Update};

/// A ping of ours that waits for its answer.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) target: PublicKey,
    sent: Time,
    pub(super) deadline: Time,
    indirect_sent: bool,
    /// Whether the deadline was put off already because our timeout was late.
    put_off: bool,
}

/// A ping sent for another, who is told of its answer.
#[derive(Debug)]
pub(super) struct Favour {
    asker: PublicKey,
    number: u64,
    pub(super) until: Time,
}

impl Roster {
    /// Takes a late timeout for a sign that answers may wait unread as well.
    pub(super) fn notice_starvation(&mut self, due: Option<Time>) {
        let late = due.map_or(Duration::ZERO, |due| self.now.since(due));
        if late > self.config.probe_timeout / 4 {
            self.doubt = (self.doubt + 1).min(8);
            let (now, more) = (self.now, late.min(self.config.probe_timeout));
            for probe in self.probes.values_mut().filter(|probe| !probe.put_off) {
                probe.deadline = probe.deadline.max(now) + more;
                probe.put_off = true;
            }
        }
    }

    pub(super) fn next_in_round(&mut self) -> Option<PublicKey> {
        loop {
            if self.round.is_empty() {
                self.round = self.members.keys().copied().collect();
                for last in (1..self.round.len()).rev() {
                    let other = self.below(last + 1);
                    self.round.swap(last, other);
                }
            }
            let target = self.round.pop()?;
            if self.members.contains_key(&target) {
                return Some(target);
            }
        }
    }

    /// One of the suspects that aren't being probed, at random. They have turns of their own, so
    /// that many of them don't keep the round from finding others.
    pub(super) fn next_suspect(&mut self) -> Option<PublicKey> {
        let probed = |peer| self.probes.values().any(|probe| probe.target == peer);
        let waits = |(peer, member): (&PublicKey, &Member)| {
            (member.suspect_since.is_some() && !probed(*peer)).then_some(*peer)
        };
        let suspects: Vec<PublicKey> = self.members.iter().filter_map(waits).collect();
        let at = self.below(suspects.len());
        suspects.get(at).copied()
    }

    pub(super) fn probe(&mut self, target: PublicKey) {
        if self.probes.values().any(|probe| probe.target == target) {
            return;
        }
        let number = self.number();
        let deadline = self.now + self.stretched(self.config.probe_timeout);
        let probe =
            Probe { target, sent: self.now, deadline, indirect_sent: false, put_off: false };
        self.probes.insert(number, probe);
        // A suspected member hears of it first-hand, so that it can answer.
        let suspicion = self.members.get(&target).and_then(|member| {
            member.suspect_since.map(|_| Update::Suspect {
                peer: (*target.as_bytes()).into(),
                life: member.card.life,
                revision: member.card.revision,
            })
        });
        let updates = [Some(self.any_card()), suspicion].into_iter().flatten().collect();
        self.send(target, Message::Ping { number, updates });
    }

    /// Our own card or a member's, drawn at random.
    fn any_card(&mut self) -> Update {
        let at = self.below(self.members.len() + 1);
        let member = self.members.values().nth(at);
        Update::Card(member.map_or(&self.card, |member| &member.card).clone())
    }

    pub(super) fn expire_probes(&mut self) {
        let late: Vec<u64> = self
            .probes
            .iter()
            .filter(|(_, probe)| probe.deadline <= self.now)
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            let Some(mut probe) = self.probes.remove(&number) else { continue };
            let heard = self.members.get(&probe.target).map(|member| member.last_seen);
            if heard.is_none_or(|heard| heard > probe.sent) {
                continue;
            }
            if probe.indirect_sent {
                if self.heard < probe.sent {
                    self.doubt = (self.doubt + 1).min(8);
                }
                self.suspect(probe.target);
                continue;
            }
            probe.indirect_sent = true;
            probe.put_off = false;
            probe.deadline = self.now + self.stretched(self.config.probe_interval);
            let target = probe.target;
            self.probes.insert(number, probe);
            for helper in self.helpers(target) {
                let target = (*target.as_bytes()).into();
                self.send(helper, Message::PingFor { number, target, updates: Vec::new() });
            }
        }
    }

    fn helpers(&mut self, target: PublicKey) -> Vec<PublicKey> {
        let healthy = |(key, member): (&PublicKey, &Member)| {
            (*key != target && member.suspect_since.is_none()).then_some(*key)
        };
        let mut others: Vec<PublicKey> = self.members.iter().filter_map(healthy).collect();
        let mut helpers = Vec::new();
        while helpers.len() < self.config.indirect && !others.is_empty() {
            let at = self.below(others.len());
            helpers.push(others.swap_remove(at));
        }
        helpers
    }

    pub(super) fn on_ack(&mut self, from: PublicKey, number: u64) {
        if let Some(favour) = self.favours.remove(&number) {
            let ack = Message::Ack { number: favour.number, updates: Vec::new() };
            self.send(favour.asker, ack);
            return;
        }
        let Some(probe) = self.probes.remove(&number) else { return };
        let now = self.now;
        self.doubt = self.doubt.saturating_sub(1);
        if let Some(member) = self.members.get_mut(&probe.target) {
            member.suspect_since = None;
            member.last_seen = now;
            if from == probe.target {
                let sample = now.since(probe.sent);
                // RFC 6298's smoothing: one eighth of the new sample.
                let smooth = |old: Duration| (old * 7 + sample) / 8;
                member.latency = Some(member.latency.map_or(sample, smooth));
            }
        }
    }

    pub(super) fn on_ping_for(&mut self, asker: PublicKey, number: u64, target: PublicKey) {
        let room = self.favours.len() < self.config.max_members;
        if target == self.me() || !self.members.contains_key(&target) || !room {
            return;
        }
        let ours = self.number();
        let until = self.now + self.config.probe_interval * 10;
        self.favours.insert(ours, Favour { asker, number, until });
        self.send(target, Message::Ping { number: ours, updates: Vec::new() });
    }
}
