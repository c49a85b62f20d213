//! A lying member: it forges and repeats what others announce, invents nodes, answers what nobody
//! asked, and asks too much.

use std::collections::VecDeque;

use aether_core::{MeshId, Protocol, PublicKey, SecretKey, Time};
use aether_mesh::proto::service::directory::{Announcement, Message, Told};
use aether_sim::Draw;
use bytes::Bytes;

use super::{
    instance,
    member::{Input, Member, Output, Packet, What},
};

#[derive(Debug)]
pub(crate) struct Liar {
    /// What keeps it a member.
    member: Member,
    me: PublicKey,
    mesh: MeshId,
    others: Vec<PublicKey>,
    /// Announcements of others, as they came.
    heard: Vec<Bytes>,
    draw: Draw,
    next: Time,
    pace: u64,
    outputs: VecDeque<Output>,
}

impl Liar {
    /// A liar that lies every so many milliseconds on average.
    pub(crate) fn new(
        member: Member,
        (mesh, me): (MeshId, PublicKey),
        others: Vec<PublicKey>,
        (pace, seed): (u64, u64),
        now: Time,
    ) -> Self {
        let (heard, outputs) = (Vec::new(), VecDeque::new());
        Self { member, me, mesh, others, heard, draw: Draw::new(seed), next: now, pace, outputs }
    }

    fn lie(&mut self, wall: u64) {
        let Some(to) = self.draw.pick(&self.others).copied() else { return };
        let old = self.draw.pick(&self.heard).cloned();
        let bytes = match self.draw.below(3) {
            0 => self.invented(wall),
            1 => old.map(|old| self.spoilt(&old)).unwrap_or_default(),
            _ => old.unwrap_or_default(),
        };
        let packet = match self.draw.below(4) {
            0 | 1 => Packet::Gossip(self.me, bytes),
            2 => {
                let told = Told { bytes: bytes.to_vec().into(), age: 0 };
                let announcements = vec![told; 1 + self.draw.below(80)];
                let asked = u64::MAX;
                let below = Some(self.draw.number(0..=u64::MAX));
                Packet::Directory(Message::Tell { asked, announcements, below })
            }
            _ => Packet::Directory(Message::Ask { below: self.draw.number(0..=u64::MAX) }),
        };
        self.outputs.push_back(Output::Send { to, packet });
    }

    /// The first word of a node that isn't there.
    fn invented(&mut self, wall: u64) -> Bytes {
        let key = SecretKey::from_bytes(self.draw.seed());
        let count = self.draw.number(0..=12);
        let instances = (0..count).map(|id| instance(self.draw.below(3), id)).collect();
        let announcement = Announcement::sign(&key, &self.mesh, (1, 1, wall), instances);
        announcement.expect("it is within the limits").bytes().clone()
    }

    fn spoilt(&mut self, bytes: &Bytes) -> Bytes {
        let mut bytes = bytes.to_vec();
        let at = self.draw.below(bytes.len());
        bytes[at] ^= 1 << self.draw.below(8);
        bytes.into()
    }
}

impl Protocol for Liar {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        if let What::Arrived { packet: Packet::Gossip(author, bytes), .. } = &input.what
            && *author != self.me
            && self.heard.len() < 500
        {
            self.heard.push(bytes.clone());
        }
        let wall = input.wall;
        self.member.handle(now, input);
        while let Some(output) = self.member.poll_output() {
            // What it says of itself is nobody's concern here.
            if matches!(output, Output::Send { .. }) {
                self.outputs.push_back(output);
            }
        }
        if now >= self.next {
            let wait = self.draw.number(1..=self.pace * 2);
            self.next = now + std::time::Duration::from_millis(wait);
            self.lie(wall);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        [self.member.poll_timeout(), Some(self.next)].into_iter().flatten().min()
    }
}
