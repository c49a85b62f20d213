//! Rules 7 and 8: capabilities are shown, renewed and adopted.

use aether_core::{PublicKey, Time};

use super::{
    super::{Capability, CapabilityError, Issuer, Message, Pass, Refusal, Role},
    Answer, Keeper, Output,
};

/// Why a capability that came isn't taken.
enum Unread {
    /// No honest node sends it.
    Fault,
    /// It is of a later release.
    Newer,
    /// It was worth something once, or will be.
    Void(Refusal),
}

impl Keeper {
    pub(super) fn show(&self) -> Message {
        Message::Show { capability: self.own.0.encode().into() }
    }

    pub(super) fn on_show(&mut self, now: Time, from: PublicKey, bytes: &[u8]) {
        match self.read(now, &from, bytes) {
            Ok((capability, pass)) => self.admit(capability, pass),
            Err(Unread::Fault) => self.outputs.push_back(Output::Fault { from }),
            Err(Unread::Void(why @ Refusal::Revoked { .. })) => self.cut(from, why),
            // The one before still holds, or is found out by the next sweep.
            Err(Unread::Void(_) | Unread::Newer) => {}
        }
    }

    fn read(
        &self,
        now: Time,
        peer: &PublicKey,
        bytes: &[u8],
    ) -> Result<(Capability, Pass), Unread> {
        let capability = Capability::decode(bytes).map_err(|error| match error {
            CapabilityError::Version { .. } => Unread::Newer,
            _ => Unread::Fault,
        })?;
        let wall = self.wall(now);
        match capability.verify_for(peer, &self.genesis, wall, &self.revocations) {
            Ok(pass) => Ok((capability, pass)),
            Err(Refusal::Forged | Refusal::OtherMesh | Refusal::OtherPeer) => Err(Unread::Fault),
            Err(Refusal::Broken(_)) => Err(Unread::Fault),
            Err(why) => Err(Unread::Void(why)),
        }
    }

    /// Who signs for others here, if anybody does.
    pub(super) fn issuer(&self) -> Option<Issuer> {
        self.root.clone().or_else(|| {
            let (own, pass) = &self.own;
            let is_admin = pass.role == Role::Admin;
            let delegate = || Issuer::delegate(&self.genesis, self.key.clone(), own.clone()).ok();
            is_admin.then(delegate).flatten()
        })
    }

    pub(super) fn on_renew(&mut self, now: Time, from: PublicKey) {
        let wall = self.wall(now);
        let Some(issuer) = self.issuer() else { return };
        let Some(neighbour) = self.neighbours.get(&from) else { return };
        if neighbour.capability.check_now(wall, &self.revocations).is_err() {
            return;
        }
        let pass = neighbour.pass;
        if !self.may(now, from, Answer::Renewed) {
            return;
        }
        if let Ok(capability) = issuer.admit(from, pass.role, wall, pass.term, pass.origin) {
            self.send(from, Message::Renewed { capability: capability.encode().into() });
        }
    }

    pub(super) fn on_renewed(&mut self, now: Time, from: PublicKey, bytes: &[u8]) {
        let key = self.key.public();
        match self.read(now, &key, bytes) {
            Ok((capability, pass)) => {
                let own = &self.own.1;
                let better = pass.expires > own.expires || (own.provisional && !pass.provisional);
                if better && pass.role == own.role {
                    self.adopt(now, capability, pass);
                }
            }
            Err(Unread::Fault) => self.outputs.push_back(Output::Fault { from }),
            // The admin's own is revoked, perhaps: the next one is asked.
            Err(Unread::Void(_) | Unread::Newer) => {}
        }
    }

    pub(super) fn adopt(&mut self, now: Time, capability: Capability, pass: Pass) {
        self.own = (capability.clone(), pass);
        self.locked_out = false;
        self.outputs.push_back(Output::Adopted { capability: Box::new(capability), pass });
        self.send_all(None, &self.show());
        self.next_renewal = now + self.config.renew_interval;
    }

    /// The time from which on a longer membership is wanted.
    pub(super) fn renewal_from(&self) -> Time {
        let pass = &self.own.1;
        if pass.provisional {
            return self.clock.0;
        }
        self.time_after(pass.issued + pass.expires.since(pass.issued) / 2)
    }

    pub(super) fn needs_renewal(&self, now: Time) -> bool {
        now >= self.renewal_from()
    }

    pub(super) fn renew(&mut self, now: Time) {
        if !self.needs_renewal(now) || now < self.next_renewal {
            return;
        }
        self.next_renewal = now + self.config.renew_interval;
        if self.root.is_some() {
            return self.renew_myself(now);
        }
        let admins = || {
            let linked = self.neighbours.iter().filter(|(_, neighbour)| neighbour.linked);
            linked.filter(|(_, n)| n.pass.role == Role::Admin).map(|(peer, _)| *peer)
        };
        let next = admins().find(|peer| Some(*peer) > self.asked).or_else(|| admins().next());
        if let Some(admin) = next {
            self.asked = Some(admin);
            self.send(admin, Message::Renew);
        }
    }

    pub(super) fn renew_myself(&mut self, now: Time) {
        let (wall, pass) = (self.wall(now), self.own.1);
        let Some(root) = &self.root else { return };
        let renewed = root.admit(pass.peer, pass.role, wall, pass.term, pass.origin);
        let Ok(capability) = renewed else { return };
        let verified = capability.verify(&self.genesis, wall, &self.revocations);
        if let Ok(pass) = verified {
            self.adopt(now, capability, pass);
        }
    }
}
