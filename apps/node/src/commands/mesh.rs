//! `aether mesh`: closed meshes.

use std::path::PathBuf;

use aether_mesh::{
    PeerId,
    access::{
        Capability, Genesis, Invite, Membership, Pass, PublicKey, Revocation, Revocations, Wall,
        remembered, wall_now,
    },
    identity::{self, peer_id, public_key},
};
use anyhow::Context as _;
use serde::Serialize;

use super::Connected;
use crate::{
    admin::Admin,
    cli::{AdminFolder, Common, Granted, Mesh, Output, Remote},
    client::ApiFile,
    output,
};

/// Addresses that fit an invite.
const MAX_SEEDS: usize = 8;

pub(crate) async fn mesh(common: &Common, command: Mesh) -> anyhow::Result<()> {
    match command {
        Mesh::New { name, admin, also } => new(common, &admin, &name, &also),
        Mesh::Invite { admin, granted, expires, seed, from } => {
            let until = wall_now() + expires;
            match from {
                Some(from) => narrow(common, &granted, until, &from),
                None => invite(common, &admin, &granted, until, seed).await,
            }
        }
        Mesh::Admit { peer, admin, granted } => admit(common, &admin, &granted, &peer),
        Mesh::Accept { membership, remote } => accept(common, &remote, &membership).await,
        Mesh::Revoke { what, admin, print, remote } => {
            let revocation = revocation(common, &admin, &what)?;
            revoke(common, &remote, &revocation, print).await
        }
        Mesh::Members(remote) => members(common, &remote).await,
        Mesh::Show { admin } => show(common, &admin),
    }
}

impl AdminFolder {
    fn path(&self, common: &Common) -> anyhow::Result<PathBuf> {
        Ok(match &self.folder {
            Some(folder) => folder.clone(),
            None => common.settings()?.settings.data.join("admin"),
        })
    }

    fn open(&self, common: &Common) -> anyhow::Result<Admin> {
        Admin::open(&self.path(common)?)
    }
}

/// The key of a peer id that a person gave.
pub(super) fn key_of(peer: &str) -> anyhow::Result<PublicKey> {
    let peer: Option<PeerId> = peer.trim().parse().ok();
    let key = peer.as_ref().and_then(public_key);
    key.with_context(|| "this is no peer id such as 12D3KooW...; see `aether key show`")
}

#[derive(Serialize)]
struct Founded {
    name: String,
    mesh: String,
    admin: String,
    folder: PathBuf,
}

fn new(common: &Common, admin: &AdminFolder, name: &str, also: &[String]) -> anyhow::Result<()> {
    let folder = admin.path(common)?;
    let also = also.iter().map(|peer| key_of(peer)).collect::<anyhow::Result<Vec<_>>>()?;
    let founded = Admin::found(&folder, name, &also)?;
    let mesh = founded.genesis.mesh_id().to_string();
    if common.output == Output::Json {
        let admin = peer_id(&founded.key.public()).to_string();
        return Ok(output::json(&Founded { name: name.to_owned(), mesh, admin, folder })?);
    }
    output::line(&mesh)?;
    output::note(&format!(
        "\nfounded {}; its admin's key is in {}\n\
         Whoever has that key decides who is in: keep a copy, and keep it to yourself.\n\n\
         next       aether run --admin {}    a node that renews members\n\
         \x20          aether mesh invite          a token for each who is to join\n",
        output::plain(name),
        folder.display(),
        folder.display(),
    ));
    Ok(())
}

#[derive(Serialize)]
struct Invited {
    token: String,
    id: String,
    mesh: String,
    role: String,
    expires: u64,
    term_seconds: u64,
    seeds: Vec<String>,
}

async fn invite(
    common: &Common,
    admin: &AdminFolder,
    granted: &Granted,
    until: Wall,
    seeds: Vec<String>,
) -> anyhow::Result<()> {
    let admin = admin.open(common)?;
    let seeds = match seeds.is_empty() {
        true => seeds_here(common, &admin.genesis).await,
        false => seeds,
    };
    for seed in &seeds {
        crate::config::parse_address(seed).map_err(anyhow::Error::msg)?;
    }
    if seeds.is_empty() {
        output::note(
            "no node of this mesh runs here and no --seed is given, so the invite names no node \
             to begin with",
        );
    }
    let (issuer, key) = (admin.issuer()?, identity::generate()?);
    let (role, term) = (granted.role, granted.term);
    let invite = Invite::new(&issuer, key, role, wall_now(), until, term, seeds)?;
    print_invite(common, &invite)
}

fn narrow(common: &Common, granted: &Granted, until: Wall, from: &str) -> anyhow::Result<()> {
    let from = Invite::parse(from)?;
    // What isn't asked for is as long as it may be.
    let (until, term) = (until.min(from.grant().expires), granted.term.min(from.grant().term));
    let key = identity::generate()?;
    print_invite(common, &from.attenuate(key, granted.role, wall_now(), until, term)?)
}

fn print_invite(common: &Common, invite: &Invite) -> anyhow::Result<()> {
    let (token, grant) = (invite.to_text(), invite.grant());
    if common.output == Output::Json {
        return Ok(output::json(&Invited {
            token,
            id: peer_id(&invite.id()).to_string(),
            mesh: invite.genesis().mesh_id().to_string(),
            role: grant.role.to_string(),
            expires: grant.expires.as_secs(),
            term_seconds: grant.term.as_secs(),
            seeds: invite.addresses().to_vec(),
        })?);
    }
    output::line(&token)?;
    output::note(&format!(
        "\nlets whoever has it join {} as {} until {}; a secret\n\
         joins      AETHER_ACCESS__INVITE=... aether run\n\
         take back  aether mesh revoke {}\n\
         An admin's node (`aether run --admin FOLDER`) must be met before then, or membership ends \
         with the invite.\n",
        output::plain(invite.genesis().name()),
        grant.role,
        grant.expires,
        peer_id(&invite.id()),
    ));
    Ok(())
}

/// Addresses of the node that runs here, if it is of this mesh.
async fn seeds_here(common: &Common, genesis: &Genesis) -> Vec<String> {
    let Ok(loaded) = common.settings() else { return Vec::new() };
    let file = ApiFile::read(&loaded.settings.data).ok().flatten();
    let Some(client) = file.and_then(|file| file.client().ok()) else { return Vec::new() };
    match client.status().await {
        Ok(status) if status.mesh.id == genesis.mesh_id().to_string() => {
            status.addresses.iter().map(ToString::to_string).take(MAX_SEEDS).collect()
        }
        _ => Vec::new(),
    }
}

#[derive(Serialize)]
struct Admitted {
    token: String,
    peer: String,
    mesh: String,
    role: String,
    expires: u64,
}

fn admit(
    common: &Common,
    admin: &AdminFolder,
    granted: &Granted,
    peer: &str,
) -> anyhow::Result<()> {
    let (admin, key) = (admin.open(common)?, key_of(peer)?);
    let now = wall_now();
    let capability = admin.issuer()?.admit(key, granted.role, now, granted.term, None)?;
    let expires = now + granted.term;
    let membership = Membership { genesis: admin.genesis, capability, addresses: Vec::new() };
    let token = membership.to_text();
    if common.output == Output::Json {
        return Ok(output::json(&Admitted {
            token,
            peer: peer_id(&key).to_string(),
            mesh: membership.genesis.mesh_id().to_string(),
            role: granted.role.to_string(),
            expires: expires.as_secs(),
        })?);
    }
    output::line(&token)?;
    output::note(&format!(
        "\nlets that node alone be in {} as {} until {expires}; no secret\n\
         joins      aether run --invite TOKEN --seed ADDR\n\
         is renewed aether mesh accept TOKEN\n",
        output::plain(membership.genesis.name()),
        granted.role,
    ));
    Ok(())
}

async fn accept(common: &Common, remote: &Remote, membership: &str) -> anyhow::Result<()> {
    Membership::parse(membership)?;
    let node = Connected::new(common, remote)?;
    node.explain(node.client.accept(membership).await)?;
    output::note("accepted: the node shows this membership from now on");
    Ok(())
}

/// The revocation that a person means: of a peer, of an invite, or one that is there already.
fn revocation(common: &Common, admin: &AdminFolder, what: &str) -> anyhow::Result<Revocation> {
    use aether_mesh::access::TokenError;
    let key = match Invite::parse(what) {
        Ok(invite) => invite.id(),
        Err(TokenError::OtherKind { found: "a revocation", .. }) => {
            return Ok(Revocation::parse(what)?);
        }
        Err(TokenError::NoToken { .. }) => key_of(what).context(
            "what is to be revoked is a peer id, an invite or its id, or a printed revocation",
        )?,
        Err(error) => return Err(error.into()),
    };
    let admin = admin.open(common)?;
    anyhow::ensure!(
        !admin.genesis.admins().contains(&key) || admin.genesis.admins().len() > 1,
        "this is the only admin's key: without it nobody could be in the mesh"
    );
    Ok(Revocation::sign(&admin.issuer()?, key, wall_now())?)
}

#[derive(Serialize)]
struct Revoked {
    revoked: String,
    revocation: String,
}

async fn revoke(
    common: &Common,
    remote: &Remote,
    revocation: &Revocation,
    print: bool,
) -> anyhow::Result<()> {
    let text = revocation.to_text();
    if !print {
        let node = Connected::new(common, remote).context(
            "a running node spreads a revocation; with --print it can be carried to one",
        )?;
        node.explain(node.client.revoke(&text).await)?;
    }
    let revoked = peer_id(&revocation.key()).to_string();
    if common.output == Output::Json {
        return Ok(output::json(&Revoked { revoked, revocation: text })?);
    }
    if print {
        output::line(&text)?;
        output::note("give it to any running node: aether mesh revoke TEXT");
        return Ok(());
    }
    output::note(&format!(
        "revoked {revoked} for ever: every node that hears of it cuts it, and those who are away \
         hear of it when they are back"
    ));
    Ok(())
}

#[derive(Serialize)]
struct MemberRow {
    peer: String,
    role: String,
    expires: u64,
    agent: String,
}

async fn members(common: &Common, remote: &Remote) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    let status = node.explain(node.client.status().await)?;
    let Some(own) = status.access else {
        anyhow::bail!(
            "the mesh {} is open: everybody is in it; see `aether peers`",
            output::plain(&status.mesh.name)
        );
    };
    let (peer, agent) = (status.peer.to_string(), status.agent);
    let mut rows = vec![MemberRow { peer, role: own.role, expires: own.expires, agent }];
    for peer in node.explain(node.client.peers().await)? {
        if let Some(access) = peer.access {
            let (role, expires) = (access.role, access.expires);
            rows.push(MemberRow { peer: peer.peer.to_string(), role, expires, agent: peer.agent });
        }
    }
    if common.output == Output::Json {
        return Ok(output::json(&rows)?);
    }
    let mut table = output::table(&["PEER", "ROLE", "UNTIL", "AGENT"]);
    for row in rows {
        let until = Wall::from_secs(row.expires).to_string();
        let (role, agent) = (output::plain(&row.role), output::plain(&row.agent));
        table.add_row([row.peer, role, until, agent]);
    }
    Ok(output::line(&table.trim_fmt())?)
}

#[derive(Serialize)]
struct Shown {
    name: String,
    mesh: String,
    admins: Vec<String>,
    /// Whether the admin's key is here.
    admin: bool,
    role: Option<String>,
    expires: Option<u64>,
    trouble: Option<String>,
}

fn show(common: &Common, admin: &AdminFolder) -> anyhow::Result<()> {
    let data = common.settings()?.settings.data;
    let founded = Admin::genesis(&admin.path(common)?);
    let membership = remembered(&data)?;
    let genesis = membership.as_ref().map(|own| own.genesis.clone()).or(founded.clone());
    let genesis = genesis.with_context(|| {
        format!(
            "{} holds no membership and no admin's key; join with `aether run --invite TOKEN`, or \
             found a mesh with `aether mesh new NAME`",
            data.display()
        )
    })?;
    let verified = membership.map(|own| verify(&own.capability, &genesis));
    let (pass, trouble) = match verified {
        None => (None, None),
        Some(Ok(pass)) => (Some(pass), None),
        Some(Err(refusal)) => (None, Some(refusal)),
    };
    let shown = Shown {
        name: genesis.name().to_owned(),
        mesh: genesis.mesh_id().to_string(),
        admins: genesis.admins().iter().map(|key| peer_id(key).to_string()).collect(),
        admin: founded.is_some_and(|founded| founded == genesis),
        role: pass.map(|pass| pass.role.to_string()),
        expires: pass.map(|pass| pass.expires.as_secs()),
        trouble,
    };
    if common.output == Output::Json {
        return Ok(output::json(&shown)?);
    }
    let mut table = output::table(&["MESH", &output::plain(&shown.name)]);
    let own = match (pass, &shown.trouble) {
        (Some(pass), _) => format!("{} until {}", pass.role, pass.expires),
        (None, Some(trouble)) => trouble.clone(),
        (None, None) => "-".to_owned(),
    };
    for (name, value) in [
        ("id", shown.mesh),
        ("admins", shown.admins.join("\n")),
        ("key here", if shown.admin { "yes" } else { "no" }.to_owned()),
        ("this node", own),
    ] {
        table.add_row([name.to_owned(), value]);
    }
    Ok(output::line(&table.trim_fmt())?)
}

fn verify(capability: &Capability, genesis: &Genesis) -> Result<Pass, String> {
    let verified = capability.verify(genesis, wall_now(), &Revocations::default());
    verified.map_err(|refusal| refusal.to_string())
}
