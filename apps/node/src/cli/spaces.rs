//! What the command line says about spaces and their maps.

use std::{path::PathBuf, time::Duration};

use aether_mesh::PeerId;
use clap::{Args, Subcommand, ValueEnum};

use super::{Remote, time};
use crate::api::{SpaceAccess, SpaceRole};

/// Commands of `aether space`.
#[derive(Debug, Subcommand)]
pub(crate) enum Space {
    /// Found a space
    Create {
        /// Its name
        name: String,
        /// Who has access without being given a role
        #[arg(long, value_enum, default_value = "open")]
        access: SpaceAccess,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take part in a space
    Join {
        /// The ticket; `-` reads it from the input, where nobody else on this machine sees it
        ticket: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show the spaces that the node has
    List(Remote),
    /// Show a space, with a hash that is equal on nodes that hold the same
    Show {
        /// Its id, or its name
        space: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Print the ticket that lets others in
    Ticket {
        /// Its id, or its name
        space: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show who was given a role in a space
    Members {
        /// Its id, or its name
        space: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give a node a role in a space
    Grant {
        /// Its id, or its name
        space: String,
        /// The node's peer id
        peer: PeerId,
        /// What it may do
        #[arg(value_enum)]
        role: SpaceRole,
        #[command(flatten)]
        remote: Remote,
    },
    /// Remove a node from a space: what this node holds of its entries stays, and nothing else
    Expel {
        /// Its id, or its name
        space: String,
        /// The node's peer id
        peer: PeerId,
        #[command(flatten)]
        remote: Remote,
    },
    /// Write all of a space to a file: a backup, or a move to another node
    Export {
        /// Its id, or its name
        space: String,
        /// The file, where nothing is yet; it gets its name when it is whole
        file: PathBuf,
        /// Replace what is there
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take in what `export` wrote, here or on another node; to do it twice does no harm
    Import {
        /// The file; `-` is the input
        file: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give back the room of what was overwritten or removed, on all nodes; for owners
    ///
    /// What can be read stays the same, and so do documents with their histories. It can't be
    /// undone.
    Compact {
        /// Its id, or its name
        space: String,
        /// Only tell what would go
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take no part in a space any more, and keep what is stored of it
    Close {
        /// Its id, or its name
        space: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take part again in a space that was closed
    Open {
        /// Its id, or its name
        space: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete what this node has of a space, open or closed; other nodes keep theirs
    Delete {
        /// Its id, or its name
        space: String,
        /// Don't ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Which map.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The space's id, or its name
    pub(crate) space: String,
    /// The map's name; it is there once it is written to
    pub(crate) map: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Commands of `aether map`.
#[derive(Debug, Subcommand)]
pub(crate) enum Map {
    /// Print the value of a key, as JSON
    Get {
        #[command(flatten)]
        place: Place,
        /// The key
        #[arg(id = "map-key", value_name = "KEY")]
        key: String,
        /// All values that nodes put without knowing of each other, one a line, the latest last
        #[arg(long)]
        all: bool,
    },
    /// Give a key a value
    Put {
        #[command(flatten)]
        place: Place,
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
        place: Place,
        /// The keys
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Show keys and their values, sorted; as JSON a line for each
    Scan(Scanned),
    /// Print changes as they come; control characters are escaped
    Watch(Watched),
    /// Put what is in a file, in batches; doing it again does no harm
    Import(Imported),
    /// Write all keys and values to a file
    Export(Exported),
}

#[derive(Debug, Args)]
pub(crate) struct Scanned {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Only keys that begin so
    #[arg(long, default_value = "", value_name = "TEXT", hide_default_value = true)]
    pub(crate) prefix: String,
    /// At most so many
    #[arg(long, default_value_t = 1000, value_name = "KEYS")]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Watched {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Begin behind this position of an earlier event, and not now
    #[arg(long, value_name = "POSITION")]
    pub(crate) after: Option<u64>,
    /// Stop after so many changes
    #[arg(long, value_name = "CHANGES")]
    pub(crate) count: Option<u64>,
    /// Stop after so long; without all of --count this exits with 4
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Imported {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The file; `-` is the input
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) table: Table,
}

#[derive(Debug, Args)]
pub(crate) struct Exported {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The file, where nothing is yet; `-` is the output
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) table: Table,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Table {
    /// Its format [default: by its suffix: csv for .csv, and else jsonl]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Values in CSV are text, and no JSON
    #[arg(long)]
    pub(crate) text: bool,
}

/// How a file with keys and values is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// `{"key": "...", "value": ...}` on each line.
    Jsonl,
    /// A header with the columns `key` and `value`, then a record for each key (RFC 4180).
    Csv,
}

impl Table {
    /// The format of a file of this name.
    pub(crate) fn of(self, file: &std::path::Path) -> Format {
        let is_csv = file.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("csv"));
        self.format.unwrap_or(if is_csv { Format::Csv } else { Format::Jsonl })
    }
}
