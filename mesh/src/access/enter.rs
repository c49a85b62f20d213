//! With what a node enters a closed mesh, out of what it was given and what it remembers.

use aether_core::{Genesis, Mode, PublicKey, SecretKey};

use super::{Entry, keep, wall_now};
use crate::{
    config::Config,
    proto::access::{
        Broken, CLOCK_SKEW, Invite, Issuer, Membership, Refusal, Revocations, Role, Wall,
    },
};

/// How long a membership lasts that a node with an admin's key gives itself, and renews.
const OWN_TERM: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

/// What a node was given to enter with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) invite: Option<Invite>,
    pub(crate) membership: Option<Membership>,
    pub(crate) admin: Option<SecretKey>,
}

/// Why a node can't enter a closed mesh.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnterError {
    /// The mesh is closed, and the node has nothing that lets it in.
    #[error(
        "the mesh {mesh:?} is closed and this node is no member of it; \
         ask an admin for an invite, and start with it"
    )]
    NoMember {
        /// The mesh's name.
        mesh: String,
    },
    /// A setting that only makes sense in a closed mesh.
    #[error(
        "the mesh {mesh:?} is open, so there is nothing to be let into; \
         start with an invite, or with another preset than closed and no admin key"
    )]
    Open {
        /// The mesh's name.
        mesh: String,
    },
    /// The invite or the data folder is for another mesh than the settings name.
    #[error(
        "{what} is for the closed mesh {found:?}, not for {named:?}; \
         name no mesh, or use another data folder"
    )]
    OtherMesh {
        /// What is.
        what: &'static str,
        /// The mesh that it is for.
        found: String,
        /// The mesh that the settings name.
        named: String,
    },
    /// The key is no admin's.
    #[error("the admin key is not one of the mesh's genesis: {0}")]
    Admin(#[from] Broken),
    /// What the node has lets it in no more.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What the node remembers can't be read, or kept.
    #[error(transparent)]
    File(#[from] keep::MembershipFileError),
}

/// Decides with what the node enters, and sets the configuration's mesh and seeds accordingly;
/// `None` in an open mesh.
///
/// Of what it has, a membership that holds is taken before an invite, and a longer one before a
/// shorter one, so that a node can be started with the same invite again and again.
pub(crate) fn enter(
    config: &mut Config,
    given: Given,
    key: &SecretKey,
) -> Result<Option<Entry>, EnterError> {
    let kept = match &config.data {
        Some(data) => keep::remembered(data)?,
        None => None,
    };
    choose_mesh(config, &given, kept.as_ref())?;
    let name = || config.genesis.name().to_owned();
    if config.genesis.mode() != Mode::Closed {
        return match config.preset.needs_closed() || given.admin.is_some() {
            true => Err(EnterError::Open { mesh: name() }),
            false => Ok(None),
        };
    }
    let now = wall_now();
    let root = given.admin.clone().map(|admin| Issuer::root(&config.genesis, admin)).transpose()?;
    let candidates = kept.into_iter().chain(given.membership.clone());
    let least = if root.is_some() { Role::Admin } else { Role::Reader };
    let best = best(candidates, least, &config.genesis, &key.public(), now);
    let membership = match (best, &given.invite, &root) {
        (Some(Ok(membership)), ..) => membership,
        (_, _, Some(root)) => by_own_word(root, key.public(), now)?,
        (_, Some(invite), None) => invite.join(key.public(), now)?,
        (Some(Err(refusal)), None, None) => return Err(refusal.into()),
        (None, None, None) => return Err(EnterError::NoMember { mesh: name() }),
    };
    let addresses = given.invite.iter().flat_map(|invite| invite.addresses());
    let seeds = addresses.chain(&membership.addresses).filter_map(|address| address.parse().ok());
    for seed in seeds {
        if !config.seeds.contains(&seed) {
            config.seeds.push(seed);
        }
    }
    Ok(Some(Entry { membership, root }))
}

/// The mesh is the one that was named; where none was, the one of what was given or is kept.
fn choose_mesh(
    config: &mut Config,
    given: &Given,
    kept: Option<&Membership>,
) -> Result<(), EnterError> {
    let invite = given.invite.as_ref().map(|invite| ("the invite", invite.genesis()));
    let membership = given.membership.as_ref().map(|own| ("the membership", &own.genesis));
    let kept = kept.map(|own| ("the data folder", &own.genesis));
    for (what, genesis) in [invite, membership, kept].into_iter().flatten() {
        // Whoever names the mesh and holds what lets into one of that name means that one.
        let same = config.genesis.mode() == Mode::Open && config.genesis.name() == genesis.name();
        if config.genesis == unnamed() || same {
            config.genesis = genesis.clone();
        } else if config.genesis != *genesis {
            let (found, named) = (genesis.name().to_owned(), config.genesis.name().to_owned());
            return Err(EnterError::OtherMesh { what, found, named });
        }
    }
    Ok(())
}

/// The mesh of a configuration that names none.
pub(crate) fn unnamed() -> Genesis {
    Genesis::open("aether").expect("the name is within its bounds")
}

/// Of several memberships the one that holds longest, an admin's where that is needed; or why the
/// last doesn't hold.
fn best(
    memberships: impl Iterator<Item = Membership>,
    least: Role,
    genesis: &Genesis,
    key: &PublicKey,
    now: Wall,
) -> Option<Result<Membership, Refusal>> {
    let none = Revocations::default();
    let (mut refused, mut good) = (None, Vec::new());
    for membership in memberships {
        match membership.capability.verify_for(key, genesis, now, &none) {
            Ok(pass) if pass.role < least => {}
            Ok(pass) => good.push(((!pass.provisional, pass.expires), membership)),
            Err(refusal) => refused = Some(Err(refusal)),
        }
    }
    let best = good.into_iter().max_by_key(|(rank, _)| *rank);
    best.map(|(_, membership)| Ok(membership)).or(refused)
}

fn by_own_word(root: &Issuer, key: PublicKey, now: Wall) -> Result<Membership, Broken> {
    // A clock that is ahead of others' must not make them wait.
    let capability = root.admit(key, Role::Admin, now - CLOCK_SKEW, OWN_TERM, None)?;
    Ok(Membership { genesis: root.genesis().clone(), capability, addresses: Vec::new() })
}
