//! `aether api`: who may use the interface of this node.

use std::path::Path;

use aether_mesh::{
    access::{Invite, Issuer, PublicKey, Revocation, Role, SecretKey, TokenError, wall_now},
    identity::{self, peer_id},
};
use anyhow::Context as _;
use serde::Serialize;

use super::Connected;
use crate::{
    cli::{Api, Common, NoNode, Output, Remote, Secret},
    client::{ApiFile, ClientError},
    interface::{self, Interface},
    output,
};

pub(crate) async fn api(common: &Common, command: Api) -> anyhow::Result<()> {
    match command {
        Api::Token { role, expires } => token(common, role, expires),
        Api::Revoke { what, remote } => revoke(common, &remote, &what).await,
    }
}

/// The node's key: whoever can read it decides who may use the interface.
fn key(data: &Path) -> anyhow::Result<SecretKey> {
    let key = identity::load(&data.join("identity.key"));
    key.context("tokens are signed with the node's key, where the node runs")
}

#[derive(Serialize)]
struct Made {
    token: String,
    id: String,
    role: String,
    expires: u64,
}

fn token(common: &Common, role: Role, expires: std::time::Duration) -> anyhow::Result<()> {
    let key = key(&common.settings()?.settings.data)?;
    let now = wall_now();
    let made = interface::token(&key, role, now, now + expires)?;
    let (token, id) = (made.to_text(), peer_id(&made.id()).to_string());
    let expires = made.grant().expires;
    if common.output == Output::Json {
        let (role, expires) = (role.to_string(), expires.as_secs());
        return Ok(output::json(&Made { token, id, role, expires })?);
    }
    output::line(&token)?;
    output::note(&format!(
        "\nlets whoever has it use this node's interface as {role} until {expires}; a secret\n\
         uses it    AETHER_TOKEN=... aether status --api URL\n\
         \x20          curl -H 'Authorization: Bearer ...' URL/v1/status\n\
         take back  aether api revoke {id}\n"
    ));
    Ok(())
}

/// The key of a token that a person gave, whole or by its id.
fn key_of(what: &str, node: PublicKey) -> anyhow::Result<PublicKey> {
    let key = match Invite::parse(what) {
        Ok(token) => {
            anyhow::ensure!(
                token.genesis() == &interface::genesis(node),
                "this is no token of this node's interface, but of another node's or of a mesh; \
                 an admin takes a mesh's invite back with `aether mesh revoke`"
            );
            token.id()
        }
        Err(TokenError::NoToken { .. }) => super::mesh::key_of(what)
            .ok()
            .context("what is to be revoked is a token, or its id as `aether api token` says it")?,
        Err(error) => return Err(error.into()),
    };
    anyhow::ensure!(
        key != node,
        "this is the node's own id: without its key there would be no tokens at all"
    );
    Ok(key)
}

#[derive(Serialize)]
struct Revoked {
    revoked: String,
}

async fn revoke(common: &Common, remote: &Remote, what: &Secret) -> anyhow::Result<()> {
    let data = common.settings()?.settings.data;
    let key = key(&data)?;
    let revoked = key_of(&what.0, key.public())?;
    let issuer = Issuer::root(&interface::genesis(key.public()), key.clone())?;
    let revocation = Revocation::sign(&issuer, revoked, wall_now())?;
    if !give(common, remote, &revocation).await? {
        let file = Interface::open(&data, key.public(), wall_now())?;
        file.revoke(revocation.clone(), wall_now())?;
        // A node that has just started may have read the file before.
        if ApiFile::read(&data).ok().flatten().is_some() {
            give(common, remote, &revocation).await?;
        }
    }
    let revoked = peer_id(&revoked).to_string();
    if common.output == Output::Json {
        return Ok(output::json(&Revoked { revoked })?);
    }
    output::note(&format!("revoked {revoked} for ever at this node's interface"));
    Ok(())
}

/// Gives a revocation to the running node; whether there is one.
async fn give(common: &Common, remote: &Remote, revocation: &Revocation) -> anyhow::Result<bool> {
    let node = match Connected::new(common, remote) {
        Ok(node) => node,
        Err(error) if error.is::<NoNode>() => return Ok(false),
        Err(error) => return Err(error),
    };
    match node.client.revoke(&revocation.to_text()).await {
        // Nobody was there to remove the file that says where the node ran.
        Err(ClientError::Unreachable { .. }) if remote.api.is_none() => Ok(false),
        result => node.explain(result).map(|()| true),
    }
}
