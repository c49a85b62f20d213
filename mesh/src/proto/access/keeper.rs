//! The keeper: a node's part in who is in the mesh. See the rules 7 to 12 of the
//! [module](super).

mod renewal;
mod spreading;
mod types;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::{Genesis, Protocol, PublicKey, SecretKey, Time};

pub use self::types::{Config, Input, Output};
use super::{CLOCK_SKEW, Capability, Issuer, Message, Pass, Refusal, Revocations, Role, Wall};

/// See the [module](super).
#[derive(Debug)]
pub struct Keeper {
    config: Config,
    genesis: Genesis,
    key: SecretKey,
    /// The admin's key, on a node that holds one.
    root: Option<Issuer>,
    own: (Capability, Pass),
    locked_out: bool,
    /// What the wall clock said, and when.
    clock: (Time, Wall),
    revocations: Revocations,
    neighbours: BTreeMap<PublicKey, Neighbour>,
    next_state: Time,
    next_renewal: Time,
    /// The admin that was asked last.
    asked: Option<PublicKey>,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Neighbour {
    capability: Capability,
    pass: Pass,
    linked: bool,
    /// When each kind of answer may be given again.
    again: [Time; 4],
}

/// What a neighbour gets at most once in a while.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Want,
    Statements,
    Show,
    Renewed,
}

impl Neighbour {
    fn may(&mut self, now: Time, answer: Answer, interval: Duration) -> bool {
        let again = &mut self.again[answer as usize];
        let may = now >= *again;
        if may {
            *again = now + interval;
        }
        may
    }
}

impl Keeper {
    /// The keeper of the node with this key, which shows `own`. `root` is an admin's key, where the
    /// node holds one. The revocations were verified when they were taken in.
    ///
    /// # Errors
    /// `own` isn't this node's or breaks the rules. That it has expired or is revoked is no error:
    /// an output tells.
    pub fn new(
        config: Config,
        genesis: Genesis,
        key: SecretKey,
        root: Option<Issuer>,
        own: Capability,
        revocations: Revocations,
        clock: (Time, Wall),
    ) -> Result<Self, Refusal> {
        // At its own time nothing has expired and, without revocations, nothing is revoked.
        let issued = own.grants().last().map_or(clock.1, |grant| grant.issued);
        let none = Revocations::default();
        let pass = own.verify_for(&key.public(), &genesis, issued, &none)?;
        Ok(Self {
            config,
            genesis,
            key,
            root,
            own: (own, pass),
            locked_out: false,
            clock,
            revocations,
            neighbours: BTreeMap::new(),
            next_state: clock.0,
            next_renewal: clock.0,
            asked: None,
            outputs: VecDeque::new(),
        })
    }

    /// What the node shows, and what that says.
    pub fn own(&self) -> (&Capability, &Pass) {
        (&self.own.0, &self.own.1)
    }

    /// What is revoked.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// The connected peers, by what lets them in.
    pub fn neighbours(&self) -> impl Iterator<Item = &Pass> {
        self.neighbours.values().map(|neighbour| &neighbour.pass)
    }

    fn wall(&self, now: Time) -> Wall {
        self.clock.1 + now.since(self.clock.0)
    }

    /// The first time at which the wall clock shows more than `wall`.
    fn time_after(&self, wall: Wall) -> Time {
        self.clock.0 + wall.since(self.clock.1) + Duration::from_secs(1)
    }

    fn send(&mut self, to: PublicKey, message: Message) {
        self.outputs.push_back(Output::Send { to, message });
    }

    fn send_all(&mut self, but: Option<PublicKey>, message: &Message) {
        let linked = self.neighbours.iter().filter(|(_, neighbour)| neighbour.linked);
        let to: Vec<PublicKey> = linked.map(|(peer, _)| *peer).collect();
        for peer in to.into_iter().filter(|peer| Some(*peer) != but) {
            self.send(peer, message.clone());
        }
    }

    fn state(&self) -> Message {
        Message::State {
            revocations: (*self.revocations.digest().as_bytes()).into(),
            capability: self.own.0.id().into(),
        }
    }

    fn on_connected(&mut self, now: Time, peer: PublicKey, capability: Capability) {
        let wall = self.wall(now);
        match capability.verify_for(&peer, &self.genesis, wall, &self.revocations) {
            Ok(pass) => {
                // A second connection may have been begun before it was renewed.
                let known = self.neighbours.get(&peer);
                if known.is_none_or(|known| known.pass.expires <= pass.expires) {
                    self.admit(capability, pass);
                }
            }
            // It got in before what refuses it came.
            Err(why) => self.cut(peer, why),
        }
    }

    fn admit(&mut self, capability: Capability, pass: Pass) {
        let before = self.neighbours.remove(&pass.peer);
        let (linked, again) = before.map_or((false, [Time::ZERO; 4]), |b| (b.linked, b.again));
        self.neighbours.insert(pass.peer, Neighbour { capability, pass, linked, again });
        self.outputs.push_back(Output::Admitted(pass));
    }

    fn cut(&mut self, peer: PublicKey, why: Refusal) {
        self.neighbours.remove(&peer);
        self.outputs.push_back(Output::Cut { peer, why });
    }

    fn on_linked(&mut self, now: Time, peer: PublicKey) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        neighbour.linked = true;
        let is_admin = neighbour.pass.role == Role::Admin;
        self.send(peer, self.state());
        if is_admin && self.needs_renewal(now) {
            self.next_renewal = now;
        }
    }

    fn on_message(&mut self, now: Time, from: PublicKey, message: Message) {
        if !self.neighbours.contains_key(&from) {
            return;
        }
        match message {
            Message::State { revocations, capability } => {
                self.on_state(now, from, &revocations, capability.into());
            }
            Message::Want { held } => self.on_want(now, from, &held),
            Message::Revocations { statements } => self.on_statements(now, from, &statements),
            Message::Ask => {
                if self.may(now, from, Answer::Show) {
                    self.send(from, self.show());
                }
            }
            Message::Show { capability } => self.on_show(now, from, &capability),
            Message::Renew => self.on_renew(now, from),
            Message::Renewed { capability } => self.on_renewed(now, from, &capability),
        }
    }

    fn may(&mut self, now: Time, peer: PublicKey, answer: Answer) -> bool {
        let interval = self.config.answer_interval;
        self.neighbours.get_mut(&peer).is_some_and(|n| n.may(now, answer, interval))
    }

    fn on_timeout(&mut self, now: Time) {
        self.renew(now);
        self.sweep(now);
        if now < self.next_state {
            return;
        }
        self.next_state = now + self.config.state_interval;
        for key in self.revocations.forget_over(self.wall(now)) {
            self.outputs.push_back(Output::Forget(key));
        }
        self.send_all(None, &self.state());
    }
}

impl Protocol for Keeper {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Wall(wall) => {
                self.clock = (now, wall);
                self.sweep(now);
            }
            Input::Connected { peer, capability } => self.on_connected(now, peer, *capability),
            Input::Linked { peer } => self.on_linked(now, peer),
            Input::Disconnected { peer } => {
                self.neighbours.remove(&peer);
            }
            Input::Message { from, message } => self.on_message(now, from, message),
            Input::Revoke(revocation) => {
                if self.take(now, &revocation) == Ok(true) {
                    self.spread(now, None, &[revocation]);
                }
            }
            Input::Hold(capability) => {
                let (key, wall) = (self.key.public(), self.wall(now));
                let held = capability.verify_for(&key, &self.genesis, wall, &self.revocations);
                if let Ok(pass) = held {
                    self.adopt(now, *capability, pass);
                }
            }
            Input::Timeout => {}
        }
        self.on_timeout(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let expiries = self.neighbours.values().map(|neighbour| neighbour.pass.expires);
        let expiry = expiries.min().map(|at| self.time_after(at + CLOCK_SKEW));
        let renewal = self.next_renewal.max(self.renewal_from());
        Some(renewal.min(self.next_state).min(expiry.unwrap_or(Time::MAX)))
    }
}
