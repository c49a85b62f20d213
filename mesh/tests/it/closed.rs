//! Closed meshes on real sockets: who is let in, who isn't, and for how long.

mod keeping;
mod refused;
mod relayed;

use std::time::Duration;

use aether_core::{Genesis, PublicKey, SecretKey};
use aether_mesh::{
    Builder, Node,
    access::{Capability, Invite, Issuer, Membership, Revocation, Role, Wall, wall_now},
};

use crate::support::builder;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// An admin, and the mesh that it founds.
pub(crate) struct Admin {
    pub(crate) issuer: Issuer,
    key: SecretKey,
}

pub(crate) fn fresh() -> SecretKey {
    aether_mesh::identity::generate().unwrap()
}

impl Admin {
    pub(crate) fn found(name: &str) -> Self {
        let key = fresh();
        let genesis = Genesis::closed(name, [key.public()]).unwrap();
        Self { issuer: Issuer::root(&genesis, key.clone()).unwrap(), key }
    }

    pub(crate) fn genesis(&self) -> Genesis {
        self.issuer.genesis().clone()
    }

    pub(crate) fn invite(&self, role: Role) -> Invite {
        let (now, addresses) = (wall_now(), Vec::new());
        Invite::new(&self.issuer, fresh(), role, now, now + HOUR, HOUR, addresses).unwrap()
    }

    /// A membership for a key, an hour from `from` on.
    pub(crate) fn admit(&self, key: &SecretKey, role: Role, from: Wall) -> Membership {
        self.with(self.issuer.admit(key.public(), role, from, HOUR, None).unwrap())
    }

    pub(crate) fn with(&self, capability: Capability) -> Membership {
        Membership { genesis: self.genesis(), capability, addresses: Vec::new() }
    }

    pub(crate) fn revoke(&self, key: PublicKey) -> Revocation {
        Revocation::sign(&self.issuer, key, wall_now()).unwrap()
    }

    /// A member with a key of its own.
    pub(crate) fn member(&self, role: Role) -> Builder {
        let key = fresh();
        self.enter(&key, self.admit(&key, role, wall_now()))
    }

    pub(crate) fn enter(&self, key: &SecretKey, membership: Membership) -> Builder {
        builder("aether").key(key.clone()).membership(membership)
    }

    /// A node that holds the admin's key.
    pub(crate) fn node(&self) -> Builder {
        builder("aether").genesis(self.genesis()).admin_key(self.key.clone())
    }
}

pub(crate) async fn is_connected(node: &Node, other: &Node) -> bool {
    let status = node.status().await.unwrap();
    status.connections.iter().any(|connection| connection.peer == other.id())
}

pub(crate) fn key_of(node: &Node) -> PublicKey {
    aether_mesh::identity::public_key(&node.id()).unwrap()
}
