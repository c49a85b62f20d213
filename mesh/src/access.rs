//! Closed meshes: who gets in, where it is checked, and how long it lasts.
//!
//! In a closed mesh every connection begins with an exchange of [capabilities](Capability), on
//! every transport and over relays too, after the other's identity is proved and before any
//! protocol starts. Who has none, or one that is expired, revoked, forged, another mesh's or
//! another peer's, gets no protocol at all.
//!
//! An admin makes the mesh's genesis and [`Invite`]s with a key that can stay offline. A node that
//! holds an admin's key, or was made an admin, renews the members that are connected to it. The
//! rules are in [`proto::access`](crate::proto::access).
//!
//! | what | decides |
//! |---|---|
//! | a mesh's capability | who connects, and for how long |
//! | its role | admin: who may admit others; the rest is for the layers above to ask for and enforce |
//!
//! The mesh doesn't keep a reader from publishing: gossip is forwarded by whoever is connected, so
//! who wrote something is for those to judge who read it, by the role that an author was granted.

mod door;
mod enter;
mod exchange;
mod keep;

use aether_core::{Protocol as _, Time};
use aether_store::Store;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use self::enter::EnterError;
pub use self::keep::{MembershipFileError, membership_file, remembered};
pub(crate) use self::{
    door::Door,
    enter::{Given, enter, unnamed},
    exchange::exchange,
    keep::Memory,
};
pub(crate) use crate::proto::access::Keeper;
pub use aether_core::{Genesis, GenesisError, MeshId, PublicKey, SecretKey};

pub use crate::proto::access::{
    Broken, CLOCK_SKEW, Capability, CapabilityError, Config, Grant, Holder, Invite, Issuer,
    MAX_TERM, Membership, ParseRoleError, Pass, Refusal, Revocation, RevocationError, Revocations,
    Role, Ticket, TokenError, Wall, genesis_text, parse_genesis,
};
use crate::{
    clock::{Clock, wall_millis},
    identity::peer_id,
    metrics::Metrics,
    network::Command,
    proto::{
        access::{Input, Message, Output},
        budget::Fault,
        link::Frame,
    },
};

/// How often the protocol is told what the wall clock says.
const LOOK_AT_CLOCK: std::time::Duration = std::time::Duration::from_secs(10);

/// The time by the system's clock.
pub fn wall_now() -> Wall {
    Wall::from_secs(wall_millis() / 1000)
}

/// In which role a connected peer is here, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAccess {
    /// In which role.
    pub role: Role,
    /// Until when, in seconds since the Unix epoch, unless it is renewed.
    pub expires: Wall,
}

/// A node's own place in a closed mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessStatus {
    /// In which role it is a member.
    pub role: Role,
    /// Until when, in seconds since the Unix epoch, unless it is renewed.
    pub expires: Wall,
    /// Whether it came by an invite and no admin's node has made it a full member yet.
    pub provisional: bool,
    /// Whether it admits others: it renews those who are connected.
    pub admits: bool,
    /// How many revocations it knows.
    pub revocations: usize,
    /// Why the last node that refused it did.
    pub refused: Option<String>,
}

/// What the access driver is told by the network.
#[derive(Debug)]
pub(crate) enum AccessEvent {
    /// A connection was made. What the peer showed is with the door.
    Connected {
        peer: PublicKey,
    },
    Linked {
        peer: PublicKey,
    },
    Disconnected {
        peer: PublicKey,
    },
    Message {
        from: PublicKey,
        message: Message,
    },
}

/// What a node's user asks for.
#[derive(Debug)]
pub(crate) enum Request {
    Revoke(Revocation),
    Hold(Box<Capability>),
}

/// The access driver: owns the keeper, and tells the door and the network what it decides.
pub(crate) struct Access {
    pub(crate) keeper: Keeper,
    pub(crate) door: Door,
    pub(crate) memory: Memory,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) network: mpsc::Sender<Command>,
}

impl Access {
    /// Runs until the network is gone or no handle is left.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut told: mpsc::Receiver<AccessEvent>,
    ) {
        let mut look = self.clock.now();
        loop {
            let wake = self.keeper.poll_timeout().into_iter().chain([look]).min();
            let commands = tokio::select! {
                biased;
                event = told.recv() => match event {
                    None => return,
                    Some(event) => self.on_event(event),
                },
                request = requests.recv() => match request {
                    None => return,
                    Some(Request::Revoke(revocation)) => self.drive(Input::Revoke(revocation)),
                    Some(Request::Hold(capability)) => self.drive(Input::Hold(capability)),
                },
                () = self.clock.sleep_until(wake) => self.on_time(&mut look),
            };
            for command in commands {
                if self.network.send(command).await.is_err() {
                    return;
                }
            }
        }
    }

    fn on_time(&mut self, look: &mut Time) -> Vec<Command> {
        let now = self.clock.now();
        if now < *look {
            return self.drive(Input::Timeout);
        }
        *look = now + LOOK_AT_CLOCK;
        self.memory.retry();
        self.drive(Input::Wall(wall_now()))
    }

    fn on_event(&mut self, event: AccessEvent) -> Vec<Command> {
        match event {
            AccessEvent::Connected { peer } => match self.door.shown(&peer) {
                Some(capability) => {
                    self.drive(Input::Connected { peer, capability: Box::new(capability) })
                }
                None => vec![Command::Cut { peer, why: "it showed no capability".to_owned() }],
            },
            AccessEvent::Linked { peer } => self.drive(Input::Linked { peer }),
            AccessEvent::Disconnected { peer } => {
                self.door.left(&peer);
                self.drive(Input::Disconnected { peer })
            }
            AccessEvent::Message { from, message } => self.drive(Input::Message { from, message }),
        }
    }

    #[tracing::instrument(level = "trace", skip_all)]
    fn drive(&mut self, input: Input) -> Vec<Command> {
        self.keeper.handle(self.clock.now(), input);
        let mut commands = Vec::new();
        while let Some(output) = self.keeper.poll_output() {
            commands.extend(self.act(output));
        }
        commands
    }

    fn act(&mut self, output: Output) -> Option<Command> {
        match output {
            Output::Send { to, message } => {
                return Some(Command::Send { to, frame: Frame::Access(message) });
            }
            Output::Cut { peer, why } => {
                self.door.left(&peer);
                self.metrics.cut.inc();
                return Some(Command::Cut { peer, why: why.to_string() });
            }
            Output::Fault { from } => {
                return Some(Command::Penalize { peer: from, fault: Fault::Forged });
            }
            Output::Admitted(pass) => self.door.admitted(pass),
            Output::Adopted { capability, pass } => {
                tracing::info!(role = %pass.role, until = %pass.expires, "membership renewed");
                self.memory.keep_capability(&capability);
                self.door.show(*capability, pass);
            }
            Output::Keep(revocation) => {
                let revoked = peer_id(&revocation.key());
                tracing::info!(key = %revocation.key(), peer = %revoked, "revoked");
                self.memory.keep_revocation(&revocation);
                self.door.revoke(revocation);
            }
            Output::Forget(key) => {
                self.memory.forget_revocation(&key);
                self.door.forget(&key);
            }
            Output::LockedOut(why) => {
                tracing::error!(%why, "this node is no member of its mesh any more");
                self.door.refused(&why.to_string());
            }
            Output::Full => {
                tracing::error!(
                    "no room for another revocation: it is not in force here; \
                     a mesh that revokes so much is best founded anew"
                );
            }
        }
        None
    }
}

/// What a closed mesh's node starts with.
pub(crate) struct Entry {
    pub(crate) membership: Membership,
    pub(crate) root: Option<Issuer>,
}

/// Sets up what guards a node, from what it starts with and what its store remembers.
pub(crate) fn open(
    entry: Entry,
    config: &Config,
    key: &SecretKey,
    store: &Store,
    data: Option<&std::path::Path>,
    clock: Clock,
) -> Result<(Keeper, Door, Memory), OpenError> {
    let Entry { membership, root } = entry;
    let now = wall_now();
    let memory = Memory::open(store, data, membership.clone())?;
    let revocations = memory.revocations(&membership.genesis, now);
    let genesis = membership.genesis;
    let clock = (clock.now(), now);
    let keeper = Keeper::new(
        config.clone(),
        genesis.clone(),
        key.clone(),
        root.clone(),
        membership.capability,
        revocations.clone(),
        clock,
    )?;
    let (own, pass) = keeper.own();
    let door = Door::new(genesis, own.clone(), *pass, root.is_some(), revocations);
    Ok((keeper, door, memory))
}

/// Why nothing guards the node, so that it doesn't start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] aether_store::KeyspaceError),
    #[error(transparent)]
    File(#[from] MembershipFileError),
}
