//! Issuers: who admits others.

use std::time::Duration;

use aether_core::{Genesis, PublicKey, SecretKey};

use super::{Broken, Capability, Grant, Holder, Role, Wall};

/// Who admits others: an admin's key of the genesis, or a peer whose own role is admin.
#[derive(Clone, Debug)]
pub struct Issuer {
    genesis: Genesis,
    key: SecretKey,
    own: Option<Capability>,
}

impl Issuer {
    /// An admin of the genesis, whose word needs nobody else's.
    pub fn root(genesis: &Genesis, key: SecretKey) -> Result<Self, Broken> {
        if !genesis.admins().contains(&key.public()) {
            return Err(Broken::Admin);
        }
        Ok(Self { genesis: genesis.clone(), key, own: None })
    }

    /// A peer that was made an admin: what it grants ends when its own capability does, and is
    /// void if it is revoked.
    pub fn delegate(genesis: &Genesis, key: SecretKey, own: Capability) -> Result<Self, Broken> {
        let pass = own.check_rules(genesis)?;
        if pass.peer != key.public() {
            return Err(Broken::Key);
        }
        if pass.role != Role::Admin {
            return Err(Broken::NotAdmin);
        }
        Ok(Self { genesis: genesis.clone(), key, own: Some(own) })
    }

    /// The mesh that it admits to.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Whether it is an admin of the genesis.
    pub const fn is_root(&self) -> bool {
        self.own.is_none()
    }

    /// The key that signs.
    pub const fn key(&self) -> &SecretKey {
        &self.key
    }

    /// Signs a grant. One that would outlast the issuer's own is cut to its length.
    pub fn grant(&self, mut grant: Grant) -> Result<Capability, Broken> {
        let Some(own) = &self.own else {
            return Capability::first(self.genesis.mesh_id(), &self.key, grant);
        };
        grant.expires = grant.expires.min(own.last().expires);
        grant.term = grant.term.min(own.last().term);
        own.extend(&self.key, grant)
    }

    /// Signs a membership for a peer, for a term from now on.
    pub fn admit(
        &self,
        peer: PublicKey,
        role: Role,
        now: Wall,
        term: Duration,
        origin: Option<PublicKey>,
    ) -> Result<Capability, Broken> {
        let expires = now + term;
        self.grant(Grant { to: Holder::Peer(peer), role, issued: now, expires, term, origin })
    }
}
