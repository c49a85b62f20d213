//! What the command line says about documents.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{Remote, time};

/// Which document.
#[derive(Debug, Args)]
pub(crate) struct Paper {
    /// The space's id, or its name
    pub(crate) space: String,
    /// The document's name; it is there once it is written to
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Commands of `aether doc`.
#[derive(Debug, Subcommand)]
pub(crate) enum Doc {
    /// Print the text; as JSON the version, with all that is in the document
    Show {
        #[command(flatten)]
        paper: Paper,
        /// As it was at this version: a hash that `aether doc history` shows, or its beginning
        #[arg(long, value_name = "VERSION")]
        at: Option<String>,
    },
    /// Open the text in $VISUAL or $EDITOR, and merge what becomes of it with what others wrote
    Edit(Paper),
    /// Make the text that of a file, by what differs
    Write {
        #[command(flatten)]
        paper: Paper,
        /// The file; `-` is the input
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Print what changes as it comes; control characters are escaped
    Watch(Watching),
    /// Show all changes, the newest last
    History(Paper),
    /// Show what differs between the texts of two versions; as JSON both texts
    Diff {
        #[command(flatten)]
        paper: Paper,
        /// A hash that `aether doc history` shows, or its beginning
        from: String,
        /// Another one [default: the text as it is]
        to: Option<String>,
    },
    /// Take back the last edit that was made at this node
    ///
    /// What others wrote stays. Edits are remembered until nobody has used the document for a
    /// minute.
    Undo(Paper),
    /// Take back the last undo
    Redo(Paper),
    /// Make a new document of what this one shows, without its history
    ///
    /// A document keeps all that was ever written, so this is the way to shrink it. Let everybody
    /// know that the copy is where they go on: nothing tells them, and what is written to the old
    /// document isn't in it.
    Copy {
        #[command(flatten)]
        paper: Paper,
        /// The name of the new document
        to: String,
    },
    /// Print who is there, as nodes come, say something else, and go
    ///
    /// As JSON one event a line. Control characters are escaped.
    Presence(Attending),
}

#[derive(Debug, Args)]
pub(crate) struct Watching {
    #[command(flatten)]
    pub(crate) paper: Paper,
    /// Stop after so many changes
    #[arg(long, value_name = "CHANGES")]
    pub(crate) count: Option<u64>,
    /// Stop after so long; without all of --count this exits with 4
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Attending {
    #[command(flatten)]
    pub(crate) paper: Paper,
    /// What this node says of itself meanwhile: JSON, or else text
    #[arg(long, value_name = "VALUE")]
    pub(crate) say: Option<String>,
    /// Stop after so many lines
    #[arg(long, value_name = "LINES")]
    pub(crate) count: Option<u64>,
    /// Stop after so long; without all of --count this exits with 4
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
}
