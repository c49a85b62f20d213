//! What a node is told before it starts, and why it doesn't start.

use std::{net::SocketAddr, path::PathBuf};

use aether_core::{Genesis, GenesisError, SecretKey};
use libp2p::Multiaddr;

use super::{Node, Opened, start};
use crate::{
    access::{self, EnterError, TokenError},
    config::{Config, Roles},
    identity::{self, IdentityError},
};

/// Why a node doesn't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The mesh's name can't be one.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// An address that isn't one.
    #[error("{text:?} is no multiaddress, such as /ip4/192.0.2.1/udp/4001/quic-v1")]
    Address {
        /// What was given.
        text: String,
    },
    /// Settings that can't work together.
    #[error("{0}")]
    Config(String),
    /// No identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// An invite that isn't one.
    #[error(transparent)]
    Token(TokenError),
    /// The mesh is closed, and the node isn't let in.
    #[error(transparent)]
    Access(#[from] EnterError),
    /// The data folder can't be used.
    #[error("can't use the data folder {}", path.display())]
    Store {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Can't listen where it should.
    #[error("can't listen on {address}; is the port in use, or the address not this machine's?")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system refuses something else.
    #[error("can't set up the network")]
    Network(#[from] std::io::Error),
}

/// Settings before the start. What isn't set is the preset's.
#[derive(Debug)]
pub struct Builder {
    config: Result<Config, SpawnError>,
    key: Option<SecretKey>,
    pub(super) given: access::Given,
}

impl Builder {
    /// Starts from settings that were put together otherwise.
    pub fn from_config(config: Config) -> Self {
        Self { config: Ok(config), key: None, given: access::Given::default() }
    }

    pub(super) fn change(
        mut self,
        change: impl FnOnce(&mut Config) -> Result<(), SpawnError>,
    ) -> Self {
        if let Ok(config) = &mut self.config
            && let Err(error) = change(config)
        {
            self.config = Err(error);
        }
        self
    }

    /// The open mesh of this name, instead of `aether`.
    #[must_use]
    pub fn mesh(self, name: &str) -> Self {
        self.change(|config| {
            config.genesis = Genesis::open(name)?;
            Ok(())
        })
    }

    /// Keeps identity, address book and counters in this folder.
    #[must_use]
    pub fn data(self, folder: impl Into<PathBuf>) -> Self {
        self.change(|config| {
            config.data = Some(folder.into());
            Ok(())
        })
    }

    /// This identity, instead of the data folder's or a fresh one.
    #[must_use]
    pub fn key(mut self, key: SecretKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Begins with this node: a multiaddress, best with a peer id at its end.
    #[must_use]
    pub fn seed(self, address: impl ToString) -> Self {
        self.change(|config| {
            config.seeds.push(parse(&address.to_string())?);
            Ok(())
        })
    }

    /// Begins with these nodes.
    #[must_use]
    pub fn seeds<A: ToString>(self, addresses: impl IntoIterator<Item = A>) -> Self {
        addresses.into_iter().fold(self, Self::seed)
    }

    /// Listens on these addresses, instead of the preset's.
    #[must_use]
    pub fn listen<A: ToString>(self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.change(|config| {
            let parsed = addresses.into_iter().map(|address| parse(&address.to_string()));
            config.listen = parsed.collect::<Result<_, _>>()?;
            Ok(())
        })
    }

    /// Asks DNS for nodes under this name: `_dnsaddr` TXT and `_aether._udp`/`_tcp` SRV records.
    #[must_use]
    pub fn dns(self, name: &str) -> Self {
        self.change(|config| {
            config.dns.push(name.to_owned());
            Ok(())
        })
    }

    /// Asks this DNS server, instead of the system's.
    #[must_use]
    pub fn dns_server(self, server: SocketAddr) -> Self {
        self.change(|config| {
            config.dns_server = Some(server);
            Ok(())
        })
    }

    /// What the node does for others.
    #[must_use]
    pub fn roles(self, roles: Roles) -> Self {
        self.change(|config| {
            config.roles = roles;
            Ok(())
        })
    }

    /// Any other setting.
    #[must_use]
    pub fn configure(self, change: impl FnOnce(&mut Config)) -> Self {
        self.change(|config| {
            change(config);
            Ok(())
        })
    }

    /// Speaks these versions of the link protocol: for tests of nodes that are a release apart.
    #[doc(hidden)]
    #[must_use]
    pub fn link_versions(self, versions: Vec<u32>) -> Self {
        self.configure(|config| config.link_versions = versions)
    }

    /// Starts the node. When this returns it listens.
    pub async fn spawn(self) -> Result<Node, SpawnError> {
        let mut config = self.config?;
        config.check().map_err(SpawnError::Config)?;
        let key = match (self.key, &config.data) {
            (Some(key), _) => key,
            (None, Some(data)) => identity::load_or_create(&data.join("identity.key"))?,
            (None, None) => identity::generate()?,
        };
        let entry = access::enter(&mut config, self.given, &key)?;
        let storage = config.clone();
        let opened = tokio::task::spawn_blocking(move || Opened::open(&storage));
        let opened = opened.await.map_err(std::io::Error::other)??;
        start(config, key, entry, opened).await
    }
}

fn parse(text: &str) -> Result<Multiaddr, SpawnError> {
    text.parse().map_err(|_| SpawnError::Address { text: text.to_owned() })
}
