//! A lying member: it passes nothing on, says that it holds what the other does, forges revocations
//! and capabilities, repeats itself and asks without end.

use std::{collections::VecDeque, time::Duration};

use aether_core::{Protocol, PublicKey, SecretKey, Time};
use aether_mesh::proto::access::{Input, Issuer, Keeper, Message, Output, Revocation, Role, Wall};
use aether_sim::Draw;

#[derive(Debug)]
pub(crate) struct Liar {
    /// What keeps it a member.
    keeper: Keeper,
    /// To forge from: what it signs with this is changed before it is sent.
    admin: Issuer,
    key: SecretKey,
    draw: Draw,
    next: Time,
    outputs: VecDeque<Output>,
}

impl Liar {
    pub(crate) fn new(keeper: Keeper, admin: Issuer, key: SecretKey, now: Time, seed: u64) -> Self {
        let (draw, outputs) = (Draw::new(seed), VecDeque::new());
        Self { keeper, admin, key, draw, next: now, outputs }
    }

    fn lie(&mut self) {
        let neighbours: Vec<PublicKey> = self.keeper.neighbours().map(|pass| pass.peer).collect();
        let Some(to) = self.draw.pick(&neighbours).copied() else { return };
        let Some(victim) = self.draw.pick(&neighbours).copied() else { return };
        let own = self.keeper.own();
        let (id, issued) = (own.0.id(), own.1.issued);
        let random = |draw: &mut Draw| draw.number(0..=u64::MAX).to_be_bytes().repeat(4);
        let message = match self.draw.below(8) {
            0 | 1 => {
                let bytes = random(&mut self.draw);
                let digest: [u8; 32] = bytes.try_into().expect("four times eight");
                Message::State { revocations: digest.into(), capability: id.into() }
            }
            2 => Message::Want { held: random(&mut self.draw).into() },
            3 => Message::Want { held: vec![].into() },
            4 => Message::Renew,
            5 => Message::Ask,
            6 => {
                let statement = self.forged_revocation(victim, issued);
                Message::Revocations { statements: vec![statement.into(); 3] }
            }
            _ => Message::Show { capability: self.forged_capability(issued).into() },
        };
        self.outputs.push_back(Output::Send { to, message });
    }

    /// The admin never said it: a bit is flipped.
    fn forged_revocation(&mut self, victim: PublicKey, at: Wall) -> Vec<u8> {
        let revocation = Revocation::sign(&self.admin, victim, at).expect("it is an admin's");
        let mut bytes = revocation.encode();
        // Key, time or signature.
        let at = 33 + self.draw.below(bytes.len() - 33);
        bytes[at] ^= 1 << self.draw.below(8);
        bytes
    }

    /// It makes itself an admin.
    fn forged_capability(&mut self, now: Wall) -> Vec<u8> {
        let term = Duration::from_secs(3600);
        let capability = self.admin.admit(self.key.public(), Role::Admin, now, term, None);
        let mut bytes = capability.expect("within the rules").encode();
        let last = bytes.len() - 1;
        bytes[last - self.draw.below(64)] ^= 1 << self.draw.below(8);
        bytes
    }
}

impl Protocol for Liar {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        self.keeper.handle(now, input);
        while let Some(output) = self.keeper.poll_output() {
            // It keeps what it hears to itself, and cuts nobody.
            let message = match &output {
                Output::Send { message, .. } => message,
                Output::Admitted(_) => {
                    self.outputs.push_back(output);
                    continue;
                }
                _ => continue,
            };
            if !matches!(message, Message::Revocations { .. }) {
                self.outputs.push_back(output);
            }
        }
        if now >= self.next {
            let pause = Duration::from_millis(20)..=Duration::from_millis(1000);
            self.next = now + self.draw.duration(pause);
            self.lie();
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        [self.keeper.poll_timeout(), Some(self.next)].into_iter().flatten().min()
    }
}
