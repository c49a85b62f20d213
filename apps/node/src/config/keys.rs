//! The table of keys: what help, suggestions and the default file are made of.

use std::fmt::Write as _;

/// A key that can be set.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its full name, `section.key`.
    pub name: &'static str,
    /// What it is for.
    pub help: &'static str,
    /// A value as it stands in a file: the default, or an example where the default depends.
    pub example: &'static str,
}

const fn key(name: &'static str, help: &'static str, example: &'static str) -> Key {
    Key { name, help, example }
}

/// Every key, in the order of the file.
pub const KEYS: &[Key] = &[
    key(
        "data",
        "Folder of key and memory. Default: $XDG_DATA_HOME/aether or ~/.local/share/aether.",
        "\"/var/lib/aether\"",
    ),
    key(
        "preset",
        "Where the node lives: local (one machine), lan, internet, or closed (internet, and no \
         open mesh).",
        "\"lan\"",
    ),
    key(
        "mesh",
        "The mesh's name. Nodes with the same name meet. A closed mesh's need not be given.",
        "\"aether\"",
    ),
    key(
        "network.listen",
        "Addresses to listen on. Default: the preset's. [] only dials.",
        "[\"/ip4/0.0.0.0/udp/4001/quic-v1\", \"/ip4/0.0.0.0/tcp/4001\"]",
    ),
    key(
        "network.external",
        "Addresses that others reach this node at, when it can't see them itself.",
        "[\"/ip4/203.0.113.5/udp/4001/quic-v1\"]",
    ),
    key(
        "network.seeds",
        "Nodes to begin with, best with peer ids. /dnsaddr/NAME is all that the name leads to.",
        "[\"/ip4/192.0.2.1/udp/4001/quic-v1\"]",
    ),
    key(
        "network.dns",
        "Names to ask for nodes in DNS: _dnsaddr TXT and _aether._udp/_tcp SRV records.",
        "[\"mesh.example.org\"]",
    ),
    key("network.dns_server", "The DNS server to ask. Default: the system's.", "\"192.0.2.53:53\""),
    key("network.mdns", "Look for nodes on the local network. Default: the preset's.", "true"),
    key(
        "network.rendezvous",
        "Rendezvous nodes, with peer ids: register there and ask there.",
        "[\"/ip4/192.0.2.2/tcp/4001/p2p/12D3KooW...\"]",
    ),
    key(
        "network.relays",
        "Relays, with peer ids, to be reachable through.",
        "[\"/ip4/192.0.2.3/tcp/4001/p2p/12D3KooW...\"]",
    ),
    key("network.target_peers", "Peers to look for. Default: the preset's.", "16"),
    key("network.max_connections", "Connections, all peers together.", "256"),
    key(
        "network.max_memory",
        "Bytes of memory above which no connection is accepted. Default: no limit.",
        "536870912",
    ),
    key("roles.relay", "Relay connections for nodes that can't be reached.", "false"),
    key("roles.rendezvous", "Keep a list of nodes for others.", "false"),
    key(
        "access.invite",
        "What lets the node into a closed mesh, as `aether mesh invite` or `aether mesh admit` \
         printed it. Needed until it is a member. A secret.",
        "\"aether_invite1_...\"",
    ),
    key(
        "access.admin",
        "The folder that `aether mesh new` made: the node holds the admin's key, and renews \
         members.",
        "\"/var/lib/aether/admin\"",
    ),
    key(
        "blobs.quota",
        "Bytes on disk that blobs may take; what isn't pinned is evicted. Default: no limit.",
        "10737418240",
    ),
    key("blobs.eviction", "What is evicted first: s3fifo or lru.", "\"s3fifo\""),
    key(
        "api.listen",
        "Where the HTTP interface listens; port 0 is any free one. Beyond loopback it needs \
         api.auth = \"token\".",
        "\"127.0.0.1:7070\"",
    ),
    key(
        "api.hosts",
        "Host names, besides localhost and addresses, that requests to the interface may carry.",
        "[\"node1.example.org\"]",
    ),
    key(
        "api.auth",
        "Who may use the interface: none (whoever reaches it) or token (whoever sends one that \
         `aether api token` printed, or an invite to this node's closed mesh).",
        "\"none\"",
    ),
    key(
        "api.tls",
        "Speak TLS at the interface, with a certificate that the node makes once for localhost, \
         its address and api.hosts.",
        "false",
    ),
    key(
        "api.certificate",
        "PEM file with a certificate to use instead, and those that lead up to it. Read at the \
         start. Implies api.tls.",
        "\"/etc/aether/api.pem\"",
    ),
    key("api.key", "PEM file with that certificate's key.", "\"/etc/aether/api.key\""),
    key(
        "api.client_ca",
        "PEM file with certificates: clients must show one that these vouch for, besides a token \
         if api.auth asks for one. Needs TLS.",
        "\"/etc/aether/clients.pem\"",
    ),
    key("log.format", "human or json.", "\"human\""),
    key("log.filter", "What is logged: a level, and levels by module.", "\"warn,aether=info\""),
];

/// A file that sets nothing, and shows everything.
pub fn default_file() -> String {
    let mut text = String::from(
        "# Settings of an Aether node. What is commented out has its default, or is not set.\n\
         # Also: variables such as AETHER_NETWORK__SEEDS, and flags of `aether run`; they win.\n",
    );
    let mut section = "";
    for key in KEYS {
        let (of, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        if of != section {
            section = of;
            writeln!(text, "\n[{section}]").expect("writing to memory does not fail");
        }
        writeln!(text, "\n# {}\n#{name} = {}", key.help, key.example)
            .expect("writing to memory does not fail");
    }
    text
}

/// Whether a name is a section of the file.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.rsplit_once('.').is_some_and(|(section, _)| section == name))
}

/// The key that was probably meant: likeness of the whole counts, and of the last part alone, so
/// that a key in the wrong section is found too.
pub(super) fn nearest(name: &str) -> &'static str {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |key: &Key| {
        strsim::normalized_damerau_levenshtein(name, key.name)
            + strsim::normalized_damerau_levenshtein(&last(name), &last(key.name))
    };
    let nearest = KEYS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    nearest.expect("there are keys").name
}

/// The variable that sets a key.
pub(super) fn variable(key: &str) -> String {
    format!("AETHER_{}", key.replace('.', "__").to_uppercase())
}
