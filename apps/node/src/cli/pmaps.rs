//! What the command line says about partitioned maps.

use std::time::Duration;

use aether_mesh::PeerId;
use clap::{Args, Subcommand};

use super::{Remote, time};
use crate::{api::Level, client::PmapCall};

/// Which partitioned map.
#[derive(Debug, Args)]
pub(crate) struct Sheet {
    /// Its id, or its name
    pub(crate) map: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Which partitioned map, and how to use it.
#[derive(Debug, Args)]
pub(crate) struct Used {
    #[command(flatten)]
    pub(crate) sheet: Sheet,
    /// How many owners of a key must answer
    #[arg(long, value_enum, default_value = "quorum")]
    level: Level,
    /// How long an operation may take; without an answer this exits with 4
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    deadline: Duration,
}

impl Used {
    pub(crate) const fn call(&self) -> PmapCall {
        PmapCall { level: self.level, deadline: self.deadline }
    }
}

/// Commands of `aether pmap`.
#[derive(Debug, Subcommand)]
pub(crate) enum Pmap {
    /// Found a partitioned map; nodes that serve it hold it
    Create {
        /// Its name
        name: String,
        /// Into how many partitions it is split for good, 1 to 1,024 [default: 64]
        #[arg(long)]
        partitions: Option<u16>,
        /// How many members own each for good, 1 to 16 [default: 3]
        #[arg(long)]
        replicas: Option<u8>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take part in a map: to read and write it
    Join {
        /// The ticket; `-` reads it from the input, where nobody else on this machine sees it
        ticket: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show the partitioned maps that the node has
    List(Remote),
    /// Print the ticket that lets others read, write and serve a map
    Ticket(Sheet),
    /// Show what this node holds, fetches and hands over of a map
    Status(Sheet),
    /// Show the nodes that hold a map
    Members(Sheet),
    /// Have this node hold its share of a map from now on
    Serve(Sheet),
    /// Have this node hand over what it holds of a map; wait until that is done
    Retire {
        #[command(flatten)]
        sheet: Sheet,
        /// How long to wait; then it goes on by itself, and this exits with 4
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
        deadline: Duration,
    },
    /// Take a node out of the members that won't come back
    Expel {
        #[command(flatten)]
        sheet: Sheet,
        /// The node's peer id
        peer: PeerId,
    },
    /// Print the value of a key, as JSON
    Get {
        #[command(flatten)]
        used: Used,
        /// The key
        #[arg(id = "map-key", value_name = "KEY")]
        key: String,
        /// All values that were put without knowing of each other, one a line, the latest last
        #[arg(long = "all")]
        all: bool,
    },
    /// Give a key a value
    Put {
        #[command(flatten)]
        used: Used,
        /// The key
        #[arg(id = "map-key", value_name = "KEY")]
        key: String,
        /// The value as JSON; `-` reads it from the input
        value: String,
        /// The value is text, and no JSON
        #[arg(long)]
        text: bool,
    },
    /// Remove keys
    Remove {
        #[command(flatten)]
        used: Used,
        /// The keys
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Show keys and their values, partition by partition and sorted in each; as JSON a line for
    /// each
    Scan {
        #[command(flatten)]
        used: Used,
        /// At most so many
        #[arg(long, default_value_t = 1000, value_name = "KEYS")]
        limit: usize,
    },
}
