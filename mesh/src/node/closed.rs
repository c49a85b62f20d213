//! The node's and the builder's part in closed meshes.

use aether_core::{Genesis, SecretKey};
use libp2p::PeerId;
use tokio::sync::mpsc;

use super::{Builder, Closed, Node, SpawnError};
use crate::{
    access::{
        self, AccessStatus, Capability, Door, Invite, Membership, PeerAccess, Refusal, Request,
        Revocation, RevocationError, Revocations, Ticket, wall_now,
    },
    identity::public_key,
};

/// What a node of a closed mesh has to do with its guard.
pub(crate) struct Gate {
    pub(crate) door: Door,
    pub(crate) requests: mpsc::Sender<Request>,
}

/// Why something isn't done about who is in the mesh.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The mesh is open: everybody is in it.
    #[error("this node's mesh is open: there are no members to admit or revoke")]
    Open,
    /// The revocation is worth nothing here.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    /// The capability is worth nothing here.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node has stopped.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl Node {
    /// This node's place in its mesh; `None` if that is open.
    pub fn access(&self) -> Option<AccessStatus> {
        Some(self.inner.gate.as_ref()?.door.status())
    }

    /// What lets this node into its mesh; `None` if that is open.
    pub fn capability(&self) -> Option<Capability> {
        Some(self.inner.gate.as_ref()?.door.capability())
    }

    /// The place of a connected peer in a closed mesh, as its capability says.
    pub fn access_of(&self, peer: &PeerId) -> Option<PeerAccess> {
        self.inner.gate.as_ref()?.door.peer(&public_key(peer)?)
    }

    /// The place that whoever holds an invite to this node's mesh would have if they joined by it
    /// now. So an invite can say who asks where no connection of the mesh does, such as at an HTTP
    /// interface. It is no good once it has expired, or is revoked as far as this node has heard.
    ///
    /// The invite's own key stands for the peer, and nobody joins. Some ten signatures at most,
    /// 60 µs each.
    pub fn access_by(&self, invite: &Invite) -> Result<PeerAccess, AccessError> {
        let gate = self.inner.gate.as_ref().ok_or(AccessError::Open)?;
        if invite.genesis() != &self.inner.config.genesis {
            return Err(Refusal::OtherMesh.into());
        }
        let key = invite.id();
        let membership = invite.join(key, wall_now())?;
        let pass = gate.door.check(&key, &membership.capability)?;
        Ok(PeerAccess { role: pass.role, expires: pass.expires })
    }

    /// Puts a revocation into force: here at once, and wherever it reaches from here. Nodes that
    /// are away hear of it when they are back.
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), AccessError> {
        let gate = self.inner.gate.as_ref().ok_or(AccessError::Open)?;
        revocation.verify(&self.inner.config.genesis)?;
        let sent = gate.requests.send(Request::Revoke(revocation)).await;
        Ok(sent.map_err(|_| Closed)?)
    }

    /// Shows this capability from now on, and keeps it: for a renewal that an admin who is offline
    /// signed. Connections stay.
    pub async fn hold(&self, capability: Capability) -> Result<(), AccessError> {
        let gate = self.inner.gate.as_ref().ok_or(AccessError::Open)?;
        let (key, genesis) = (self.inner.key.public(), &self.inner.config.genesis);
        capability.verify_for(&key, genesis, wall_now(), &Revocations::default())?;
        let sent = gate.requests.send(Request::Hold(Box::new(capability))).await;
        Ok(sent.map_err(|_| Closed)?)
    }
}

impl Builder {
    /// The mesh of this genesis. A closed one needs an [invite](Self::invite), a
    /// [membership](Self::membership), an [admin's key](Self::admin_key), or a data folder that
    /// remembers one.
    #[must_use]
    pub fn genesis(self, genesis: Genesis) -> Self {
        self.configure(|config| config.genesis = genesis)
    }

    /// Joins the closed mesh that this token lets into: an invite, or a membership that an admin
    /// signed for this node. A node that is a member already, by its data folder, doesn't need it
    /// any more, and isn't harmed by it.
    #[must_use]
    pub fn invite(mut self, token: &str) -> Self {
        match Ticket::parse(token) {
            Ok(Ticket::Invite(invite)) => self.given.invite = Some(*invite),
            Ok(Ticket::Membership(membership)) => self.given.membership = Some(membership),
            Err(error) => return self.change(|_| Err(SpawnError::Token(error))),
        }
        self
    }

    /// Enters a closed mesh with a membership that an admin signed for this node's key.
    #[must_use]
    pub fn membership(mut self, membership: Membership) -> Self {
        self.given.membership = Some(membership);
        self
    }

    /// Makes the node one that admits: it holds a key of the genesis, is an admin by its own word,
    /// and renews the members that are connected to it.
    #[must_use]
    pub fn admin_key(mut self, key: SecretKey) -> Self {
        self.given.admin = Some(key);
        self
    }
}

/// What guards a node while it starts.
pub(super) struct Guarded {
    pub(super) keeper: access::Keeper,
    pub(super) door: Door,
    pub(super) memory: access::Memory,
    pub(super) told: mpsc::Receiver<access::AccessEvent>,
}
