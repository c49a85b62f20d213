//! Rules 3 to 5: questions for gaps, answers from the cache, tips and reports.

use std::collections::BTreeSet;

use aether_core::PublicKey;
use rand_chacha::{ChaCha12Rng, rand_core::Rng as _};

use super::{Inbox, types::Output};
use crate::proto::{
    envelope::TopicId,
    link::{Frame, Have, MAX_ENTRIES, MAX_FRAME, Tip, Tips, Want},
};

impl Inbox {
    pub(super) fn on_tips(&mut self, from: PublicKey, tips: Tips) {
        for tip in tips.tips {
            if tip.author == self.me {
                if tip.incarnation == self.incarnation {
                    let (topic, next) = (tips.topic, tip.next);
                    self.outputs.push_back(Output::Progress { topic, peer: from, next });
                }
                continue;
            }
            let Some(topic) = self.topics.get(&tips.topic) else { return };
            let numbers = match topic.streams.get(&tip.author) {
                Some(stream) if stream.incarnation > tip.incarnation => continue,
                Some(stream) if stream.incarnation == tip.incarnation => {
                    stream.missing(tip.next, MAX_ENTRIES)
                }
                // A stream that we don't know: ask for its end. What comes is verified first.
                _ => {
                    let reach = self.config.lookback.min(MAX_ENTRIES as u64);
                    let first = topic.forgotten.next(&tip.author, tip.incarnation);
                    (tip.next.saturating_sub(reach).max(first)..tip.next).collect()
                }
            };
            self.ask(tips.topic, tip.author, tip.incarnation, numbers, from);
        }
    }

    fn ask(
        &mut self,
        topic: TopicId,
        author: PublicKey,
        incarnation: u64,
        numbers: Vec<u64>,
        to: PublicKey,
    ) {
        if !numbers.is_empty() {
            self.stats.asked += 1;
            let frame = Frame::Want(Want { topic, author, incarnation, numbers });
            self.outputs.push_back(Output::Send { to, frame });
        }
    }

    pub(super) fn on_want(&mut self, from: PublicKey, want: Want) {
        let Some(topic) = self.topics.get(&want.topic) else { return };
        let mut room = MAX_FRAME - 1024;
        let mut envelopes = Vec::new();
        for number in want.numbers.iter().take(MAX_ENTRIES) {
            let found = topic.recent.get(&want.author, want.incarnation, *number);
            let Some(envelope) = found else { continue };
            let len = envelope.bytes().len() + 8;
            if len > room {
                break;
            }
            room -= len;
            envelopes.push(envelope.bytes().to_vec());
        }
        if !envelopes.is_empty() {
            self.stats.served += envelopes.len() as u64;
            let frame = Frame::Have(Have { topic: want.topic, envelopes });
            self.outputs.push_back(Output::Send { to: from, frame });
        }
    }

    pub(super) fn chase_gaps(&mut self, topic_id: TopicId) {
        let Some(topic) = self.topics.get(&topic_id) else { return };
        let authors: Vec<PublicKey> = topic.gaps.iter().copied().collect();
        for author in authors {
            let (now, config) = (self.now, &self.config);
            let Some(topic) = self.topics.get_mut(&topic_id) else { return };
            let Some(stream) = topic.streams.get_mut(&author) else { continue };
            if now >= stream.gap_since() + config.give_up {
                self.skip_gap(topic_id, author);
                continue;
            }
            if now < stream.ask_at() {
                continue;
            }
            let source = stream.asked(now + config.ask_interval);
            let (incarnation, numbers) = (stream.incarnation, stream.gap(MAX_ENTRIES));
            let source = source.filter(|peer| topic.neighbours.contains(peer));
            let to = source.or_else(|| pick(&topic.neighbours, &mut self.rng));
            if let Some(to) = to {
                self.ask(topic_id, author, incarnation, numbers, to);
            }
        }
    }

    pub(super) fn report(&mut self, topic_id: TopicId) {
        let Some(topic) = self.topics.get_mut(&topic_id) else { return };
        for to in topic.reports.take(self.now) {
            let Some(stream) = topic.streams.get(&to) else { continue };
            let tips = vec![stream.tip(to, stream.next)];
            let frame = Frame::Tips(Tips { topic: topic_id, tips });
            self.outputs.push_back(Output::Send { to, frame });
        }
    }

    pub(super) fn tell_tips(&mut self, topic_id: TopicId) {
        let (now, idle) = (self.now, self.config.tips_idle);
        let Some(topic) = self.topics.get_mut(&topic_id) else { return };
        if now < topic.tips_at {
            return;
        }
        topic.tips_at = now + self.config.tips_interval;
        let mut tips = Vec::new();
        for (author, stream) in &mut topic.streams {
            if now < stream.active + idle && stream.aged > 1 {
                tips.push(stream.tip(*author, stream.aged));
            }
            stream.aged = stream.next;
        }
        if let Some(to) = pick(&topic.neighbours, &mut self.rng) {
            self.send_tips(topic_id, to, tips);
        }
    }

    /// Sends tips, or a random run of them if there are more than fit.
    fn send_tips(&mut self, topic: TopicId, to: PublicKey, mut tips: Vec<Tip>) {
        if tips.is_empty() {
            return;
        }
        if tips.len() > MAX_ENTRIES {
            let start = below(&mut self.rng, tips.len());
            tips.rotate_left(start);
            tips.truncate(MAX_ENTRIES);
        }
        self.outputs.push_back(Output::Send { to, frame: Frame::Tips(Tips { topic, tips }) });
    }

    pub(super) fn on_neighbour(&mut self, topic_id: TopicId, peer: PublicKey) {
        let Some(topic) = self.topics.get_mut(&topic_id) else { return };
        if topic.neighbours.insert(peer) {
            let known =
                topic.streams.iter().filter(|(author, stream)| stream.next > 1 && **author != peer);
            let tips = known.map(|(author, stream)| stream.tip(*author, stream.next)).collect();
            self.send_tips(topic_id, peer, tips);
        }
    }
}

fn below(rng: &mut ChaCha12Rng, n: usize) -> usize {
    (rng.next_u64() % n.max(1) as u64) as usize
}

fn pick(peers: &BTreeSet<PublicKey>, rng: &mut ChaCha12Rng) -> Option<PublicKey> {
    peers.iter().nth(below(rng, peers.len())).copied()
}
