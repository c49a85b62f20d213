//! The door: what the exchange at the begin of a connection needs, shared by all connections.
//!
//! The access driver writes it, the exchanges read it. Locks are held for a few signature checks at
//! most, off the swarm's task.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use aether_core::{Genesis, PublicKey};

use super::{AccessStatus, PeerAccess, wall_now};
use crate::proto::access::{Capability, Pass, Refusal, Revocation, Revocations, Role};

/// Of how many peers it is known what they showed last: of more than connect in the time between
/// the exchange and the connection's being reported.
const MAX_SHOWN: usize = 1024;

#[derive(Clone, Debug)]
pub(crate) struct Door(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    genesis: Genesis,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    own: (Capability, Pass),
    is_root: bool,
    revocations: Revocations,
    /// What peers showed when they connected, newest last, one for each.
    shown: VecDeque<(PublicKey, Capability)>,
    /// Who is in.
    inside: BTreeMap<PublicKey, Pass>,
    refused: Option<String>,
}

impl Door {
    pub(super) fn new(
        genesis: Genesis,
        own: Capability,
        pass: Pass,
        is_root: bool,
        revocations: Revocations,
    ) -> Self {
        let state = State {
            own: (own, pass),
            is_root,
            revocations,
            shown: VecDeque::new(),
            inside: BTreeMap::new(),
            refused: None,
        };
        Self(Arc::new(Inner { genesis, state: RwLock::new(state) }))
    }

    // Nothing panics while it holds the lock, so poison would say nothing.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this node shows.
    pub(super) fn own(&self) -> (Vec<u8>, Pass) {
        let state = self.read();
        (state.own.0.encode(), state.own.1)
    }

    pub(crate) fn capability(&self) -> Capability {
        self.read().own.0.clone()
    }

    /// Whether a peer may come in with this.
    pub(crate) fn check(&self, peer: &PublicKey, shown: &Capability) -> Result<Pass, Refusal> {
        shown.verify_for(peer, &self.0.genesis, wall_now(), &self.read().revocations)
    }

    /// Lets a peer in that was checked: the driver will hear of it when the connection is there.
    pub(super) fn let_in(&self, peer: PublicKey, shown: Capability) {
        let mut state = self.write();
        state.shown.retain(|(shower, _)| *shower != peer);
        state.shown.push_back((peer, shown));
        if state.shown.len() > MAX_SHOWN {
            state.shown.pop_front();
        }
    }

    /// What a peer showed last when it connected.
    pub(super) fn shown(&self, peer: &PublicKey) -> Option<Capability> {
        let state = self.read();
        let (_, shown) = state.shown.iter().find(|(shower, _)| shower == peer)?;
        Some(shown.clone())
    }

    pub(super) fn admitted(&self, pass: Pass) {
        self.write().inside.insert(pass.peer, pass);
    }

    pub(super) fn left(&self, peer: &PublicKey) {
        self.write().inside.remove(peer);
    }

    pub(super) fn show(&self, capability: Capability, pass: Pass) {
        let mut state = self.write();
        state.own = (capability, pass);
        state.refused = None;
    }

    pub(super) fn revoke(&self, revocation: Revocation) {
        self.write().revocations.insert(revocation, wall_now());
    }

    pub(super) fn forget(&self, key: &PublicKey) {
        self.write().revocations.forget(key);
    }

    /// Notes why another node refused this one; whether that is news.
    pub(super) fn refused(&self, why: &str) -> bool {
        let before = self.write().refused.replace(why.to_owned());
        before.as_deref() != Some(why)
    }

    pub(crate) fn peer(&self, peer: &PublicKey) -> Option<PeerAccess> {
        let access = |pass: &Pass| PeerAccess { role: pass.role, expires: pass.expires };
        self.read().inside.get(peer).map(access)
    }

    pub(crate) fn status(&self) -> AccessStatus {
        let state = self.read();
        let pass = &state.own.1;
        AccessStatus {
            role: pass.role,
            expires: pass.expires,
            provisional: pass.provisional,
            admits: state.is_root || pass.role == Role::Admin,
            revocations: state.revocations.len(),
            refused: state.refused.clone(),
        }
    }
}
