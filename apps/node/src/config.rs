//! Settings: what a file, the environment and flags say, checked and put together.
//!
//! A later source replaces what an earlier one said, whole lists too: defaults, then the file,
//! then variables `AETHER_KEY` or `AETHER_SECTION__KEY`, then flags. [`KEYS`] lists every key.
//! Unknown keys are errors in all of them, so that no typo is passed over in silence.

mod api;
mod keys;
mod layers;
mod values;

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use aether_mesh::{Builder, Config, Multiaddr};
use figment::Figment;
use serde::{Deserialize, Serialize};

pub(crate) use self::{api::TlsFiles, values::parse_address};
pub use self::{
    api::{Api, Auth, DEFAULT_API},
    keys::{KEYS, Key, default_file},
    layers::{Given, SettingsError},
};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of the node's identity and memory.
    pub data: PathBuf,
    /// Where the node lives.
    #[serde(deserialize_with = "values::word")]
    pub preset: Preset,
    /// Name of the mesh.
    pub mesh: String,
    /// How it is reached, and how it finds others.
    pub network: Network,
    /// What it does for others.
    pub roles: Roles,
    /// What it keeps of content.
    pub blobs: Blobs,
    /// What lets it into a closed mesh.
    pub access: Access,
    /// The local interface.
    pub api: Api,
    /// What it tells of itself.
    pub log: Log,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: PathBuf::new(),
            preset: Preset::Lan,
            mesh: "aether".to_owned(),
            network: Network::default(),
            roles: Roles::default(),
            blobs: Blobs::default(),
            access: Access::default(),
            api: Api::default(),
            log: Log::default(),
        }
    }
}

/// The node's surroundings; see [`aether_mesh::Preset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// One machine.
    Local,
    /// One network.
    Lan,
    /// The open Internet.
    Internet,
    /// The open Internet, and a closed mesh.
    Closed,
}

impl From<Preset> for aether_mesh::Preset {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::Local => Self::Local,
            Preset::Lan => Self::Lan,
            Preset::Internet => Self::Internet,
            Preset::Closed => Self::Closed,
        }
    }
}

/// Section `network`. What is `None` is the preset's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Addresses to listen on.
    #[serde(deserialize_with = "values::some_addresses")]
    pub listen: Option<Vec<Multiaddr>>,
    /// Addresses that others reach the node at.
    #[serde(deserialize_with = "values::addresses")]
    pub external: Vec<Multiaddr>,
    /// Nodes to begin with.
    #[serde(deserialize_with = "values::addresses")]
    pub seeds: Vec<Multiaddr>,
    /// Names to ask for nodes in DNS.
    #[serde(deserialize_with = "values::words")]
    pub dns: Vec<String>,
    /// The DNS server to ask.
    #[serde(deserialize_with = "values::some_word")]
    pub dns_server: Option<SocketAddr>,
    /// Look for nodes on the local network.
    #[serde(deserialize_with = "values::some_word")]
    pub mdns: Option<bool>,
    /// Rendezvous nodes.
    #[serde(deserialize_with = "values::addresses")]
    pub rendezvous: Vec<Multiaddr>,
    /// Relays.
    #[serde(deserialize_with = "values::addresses")]
    pub relays: Vec<Multiaddr>,
    /// Peers to look for.
    #[serde(deserialize_with = "values::some_word")]
    pub target_peers: Option<usize>,
    /// Connections to accept.
    #[serde(deserialize_with = "values::some_word")]
    pub max_connections: Option<u32>,
    /// Resident bytes above which no connection is accepted.
    #[serde(deserialize_with = "values::some_word")]
    pub max_memory: Option<usize>,
}

/// Section `roles`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Roles {
    /// Relay connections for nodes that can't be reached.
    #[serde(deserialize_with = "values::word")]
    pub relay: bool,
    /// Keep a list of nodes.
    #[serde(deserialize_with = "values::word")]
    pub rendezvous: bool,
}

/// Section `access`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// An invite or a membership, as text. Shown as what it is, never as it stands.
    #[serde(deserialize_with = "values::ticket", serialize_with = "values::hidden")]
    pub invite: Option<String>,
    /// The folder of an admin's key and genesis: the node renews members.
    pub admin: Option<PathBuf>,
}

/// Section `blobs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Blobs {
    /// Bytes on disk that blobs may take.
    #[serde(deserialize_with = "values::some_word")]
    pub quota: Option<u64>,
    /// What goes first when the quota is reached.
    #[serde(deserialize_with = "values::word")]
    pub eviction: Eviction,
}

/// What goes first; see [`aether_mesh::blobs::Eviction`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Eviction {
    /// What was used once, then what was used least recently.
    #[default]
    S3Fifo,
    /// What was used least recently.
    Lru,
}

/// Section `log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// For people or for programs.
    #[serde(deserialize_with = "values::word")]
    pub format: LogFormat,
    /// Which events are logged, as `level` and `module=level`.
    #[serde(deserialize_with = "values::filter")]
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Human, filter: "warn,aether=info".to_owned() }
    }
}

/// How a logged event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text.
    Human,
    /// A JSON object on a line.
    Json,
}

/// Settings with the knowledge where each comes from.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    figment: Figment,
}

impl Loaded {
    /// Where a key's value comes from: a file and line, a variable, a flag, or `default`.
    pub fn origin(&self, key: &str) -> String {
        match self.figment.find_metadata(key) {
            Some(metadata) => metadata.name.to_string(),
            None => "default".to_owned(),
        }
    }

    /// Says what is wrong with a key's value, and where it comes from.
    pub(crate) fn wrong(&self, key: &str, message: impl ToString) -> SettingsError {
        let (origin, key, message) = (self.origin(key), key.to_owned(), message.to_string());
        SettingsError::Value { origin, key, message }
    }

    /// Refuses what the node would refuse, here where it is known who said it.
    fn check(&self) -> Result<(), SettingsError> {
        self.check_api()?;
        self.settings.config().check().map_err(|error| {
            // The field that it names first is a key of this section.
            let (field, message) = error.split_once(": ").unwrap_or(("", error.as_str()));
            self.wrong(&format!("network.{field}"), message)
        })
    }
}

/// Reads the file, the environment and what flags gave, in this order.
///
/// Without `file`, [`default_path`] is read if it exists.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: Vec<Given>,
) -> Result<Loaded, SettingsError> {
    let file = match file {
        Some(file) => Some(file.to_path_buf()),
        None => default_path().filter(|path| path.exists()),
    };
    let mut given = match &file {
        Some(path) => layers::from_file(path)?,
        None => Vec::new(),
    };
    given.extend(layers::from_environment(environment)?);
    given.extend(flags);
    for one in &given {
        layers::check_key(one)?;
    }
    let figment = given.into_iter().fold(Figment::new(), Figment::merge);
    let mut settings: Settings = figment.extract().map_err(SettingsError::value)?;
    if settings.data.as_os_str().is_empty() {
        settings.data = default_data().ok_or(SettingsError::NoHome)?;
    }
    let loaded = Loaded { settings, file, figment };
    loaded.check()?;
    Ok(loaded)
}

/// `$XDG_CONFIG_HOME/aether/config.toml`, or under `~/.config`.
pub fn default_path() -> Option<PathBuf> {
    Some(xdg("XDG_CONFIG_HOME", ".config")?.join("aether/config.toml"))
}

/// `$XDG_DATA_HOME/aether`, or under `~/.local/share`.
pub fn default_data() -> Option<PathBuf> {
    Some(xdg("XDG_DATA_HOME", ".local/share")?.join("aether"))
}

/// XDG Base Directory Specification 0.8: a relative path there is to be ignored.
fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    set.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(below_home)))
        .filter(|path| path.is_absolute())
}

impl Settings {
    /// The node that these settings describe, ready to be spawned.
    pub fn builder(&self) -> Builder {
        let builder = Builder::from_config(self.config()).mesh(&self.mesh);
        match &self.access.invite {
            Some(token) => builder.invite(token),
            None => builder,
        }
    }

    /// All of that but the mesh, whose name the builder checks.
    fn config(&self) -> Config {
        let mut config = Config::new(self.preset.into());
        let network = &self.network;
        config.data = Some(self.data.clone());
        config.external = network.external.clone();
        config.seeds = network.seeds.clone();
        config.dns = network.dns.clone();
        config.dns_server = network.dns_server;
        config.rendezvous = network.rendezvous.clone();
        config.relays = network.relays.clone();
        config.roles =
            aether_mesh::Roles { relay: self.roles.relay, rendezvous: self.roles.rendezvous };
        if let Some(listen) = &network.listen {
            config.listen = listen.clone();
        }
        config.mdns = network.mdns.unwrap_or(config.mdns);
        let store = &mut config.blobs.store;
        store.quota = self.blobs.quota.unwrap_or(store.quota);
        store.eviction = match self.blobs.eviction {
            Eviction::S3Fifo => aether_mesh::blobs::Eviction::S3Fifo,
            Eviction::Lru => aether_mesh::blobs::Eviction::Lru,
        };
        let limits = &mut config.limits;
        limits.target_peers = network.target_peers.unwrap_or(limits.target_peers);
        limits.max_connections = network.max_connections.unwrap_or(limits.max_connections);
        limits.max_memory = network.max_memory.or(limits.max_memory);
        config
    }
}

#[cfg(test)]
mod tests;
