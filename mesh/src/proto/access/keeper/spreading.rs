//! Rules 9 to 12: revocations are taken in, passed on and acted on.

use std::collections::BTreeSet;

use aether_core::{PublicKey, Time};
use minicbor::bytes::ByteVec;

use super::{
    super::{Capability, MAX_STATEMENTS, Message, Noted, Refusal, Revocation, RevocationError},
    Answer, Keeper, Output,
};

impl Keeper {
    pub(super) fn on_state(
        &mut self,
        now: Time,
        from: PublicKey,
        held: &[u8; 32],
        shown: [u8; 16],
    ) {
        if *held != *self.revocations.digest().as_bytes() && self.may(now, from, Answer::Want) {
            let held = self.revocations.iter().flat_map(Revocation::id).collect::<Vec<u8>>();
            self.send(from, Message::Want { held: held.into() });
        }
        let known = self.neighbours.get(&from).map(|neighbour| neighbour.capability.id());
        if known != Some(shown) {
            self.send(from, Message::Ask);
        }
    }

    pub(super) fn on_want(&mut self, now: Time, from: PublicKey, held: &[u8]) {
        if !self.may(now, from, Answer::Statements) {
            return;
        }
        let held: BTreeSet<&[u8]> = held.chunks_exact(16).collect();
        let lacking: Vec<Revocation> = self
            .revocations
            .iter()
            .filter(|revocation| !held.contains(revocation.id().as_slice()))
            .cloned()
            .collect();
        for message in statements(&lacking) {
            self.send(from, message);
        }
    }

    pub(super) fn on_statements(&mut self, now: Time, from: PublicKey, statements: &[ByteVec]) {
        let mut new = Vec::new();
        for statement in statements {
            let decoded = Revocation::decode(statement);
            let taken = decoded.and_then(|one| Ok(self.take(now, &one)?.then_some(one)));
            match taken {
                Ok(news) => new.extend(news),
                // Of a later release, which is nobody's fault.
                Err(RevocationError::Version { .. }) => {}
                Err(_) => {
                    self.outputs.push_back(Output::Fault { from });
                    break;
                }
            }
        }
        self.spread(now, Some(from), &new);
    }

    /// Takes a revocation in; whether it was news.
    pub(super) fn take(
        &mut self,
        now: Time,
        revocation: &Revocation,
    ) -> Result<bool, RevocationError> {
        let wall = self.wall(now);
        match self.revocations.judge(revocation, wall) {
            Noted::Known | Noted::Over => return Ok(false),
            Noted::New | Noted::Full => revocation.verify(&self.genesis)?,
        }
        match self.revocations.insert(revocation.clone(), wall) {
            Noted::New => self.outputs.push_back(Output::Keep(revocation.clone())),
            Noted::Full => self.outputs.push_back(Output::Full),
            Noted::Known | Noted::Over => {}
        }
        Ok(self.revocations.holds(&revocation.key()))
    }

    /// Acts on new revocations: passes them on and cuts whom they are about.
    pub(super) fn spread(&mut self, now: Time, from: Option<PublicKey>, new: &[Revocation]) {
        if new.is_empty() {
            return;
        }
        // Those that are cut are told too: what they are told is no secret to them.
        for message in statements(new) {
            self.send_all(from, &message);
        }
        self.sweep(now);
    }

    /// Cuts those who may not be here any more, and tells if that goes for this node itself.
    pub(super) fn sweep(&mut self, now: Time) {
        let wall = self.wall(now);
        let check = |capability: &Capability| capability.check_now(wall, &self.revocations);
        let gone: Vec<(PublicKey, Refusal)> = self
            .neighbours
            .iter()
            .filter_map(|(peer, neighbour)| Some((*peer, check(&neighbour.capability).err()?)))
            .collect();
        let own = check(&self.own.0);
        for (peer, why) in gone {
            self.cut(peer, why);
        }
        match own {
            Ok(()) => self.locked_out = false,
            Err(why) if !self.locked_out => {
                self.locked_out = true;
                self.outputs.push_back(Output::LockedOut(why));
            }
            Err(_) => {}
        }
    }
}

/// Revocations as messages.
fn statements(revocations: &[Revocation]) -> impl Iterator<Item = Message> {
    revocations.chunks(MAX_STATEMENTS).map(|chunk| Message::Revocations {
        statements: chunk.iter().map(|one| one.encode().into()).collect(),
    })
}
