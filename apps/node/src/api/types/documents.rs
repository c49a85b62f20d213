//! What the interface says and hears about documents.

use aether_mesh::PeerId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A document, at a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Document {
    /// The version: the changes on which no other builds, in hexadecimal digits. Equal ones mean
    /// equal documents.
    pub version: Vec<String>,
    /// All that is in it. Counters and timestamps are numbers, bytes base64url without padding; of
    /// values that were put at the same time the one is here that all nodes show.
    pub content: Value,
}

/// What a document is after it was written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentVersion {
    /// The version, which is durable here.
    pub version: Vec<String>,
}

/// Where a document is copied to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentCopy {
    /// The copy's name, under which nothing was written yet.
    pub to: String,
}

/// A place in a text, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentSplice {
    /// Where, in code points from the beginning.
    pub at: usize,
    /// How many code points behind it are deleted.
    #[serde(default)]
    pub delete: usize,
    /// What is inserted there.
    #[serde(default)]
    pub insert: String,
}

/// What became of a request to undo or redo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentTurn {
    /// Whether there was something to take back.
    pub done: bool,
}

/// A change of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentChange {
    /// Its hash, by which versions name it.
    pub change: String,
    /// Who wrote it.
    #[schema(value_type = String)]
    pub author: PeerId,
    /// When, as the author says (RFC 3339).
    #[schema(example = "2026-11-22T01:05:46.000Z")]
    pub time: String,
    /// How many operations it has.
    pub operations: usize,
    /// The changes that it builds on.
    pub deps: Vec<String>,
    /// Whether it is shown: one of an author who forked may not be.
    pub counts: bool,
}

/// What happens to a document; the data of an event of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum DocumentEvent {
    /// It became different.
    Patches {
        /// Who made it so.
        origin: DocumentOrigin,
        /// What to do, in this order, to the content as it was before.
        patches: Vec<DocumentPatch>,
    },
    /// The reader was slow, or edits were taken back: read the document anew.
    Missed,
}

impl DocumentEvent {
    /// The event's name.
    pub(in crate::api) const fn name(&self) -> &'static str {
        match self {
            Self::Patches { .. } => "patches",
            Self::Missed => "missed",
        }
    }
}

/// Who made a document different.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DocumentOrigin {
    /// An edit at this node.
    Local,
    /// An undo or redo at this node.
    Undo,
    /// Other nodes.
    Remote,
    /// An author forked, and changes were set aside.
    Rebuilt,
}

/// A difference in one object of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DocumentPatch {
    /// Keys and indices that lead to the object from the root.
    pub path: Vec<Value>,
    /// What happened to it.
    #[serde(flatten)]
    pub action: DocumentAction,
}

/// What happened to an object. A new object is empty; what is in it follows in patches of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum DocumentAction {
    /// Something was put at a key, or replaced what was at an index.
    Put {
        /// The key or index.
        at: Value,
        /// What is there now.
        value: Value,
    },
    /// Elements were inserted into a list.
    Insert {
        /// The first one's index.
        at: usize,
        /// What they are.
        values: Vec<Value>,
    },
    /// Characters were inserted into a text.
    Splice {
        /// The first one's index, in code points.
        at: usize,
        /// What they are.
        text: String,
    },
    /// A key was deleted.
    DeleteKey {
        /// The key.
        key: String,
    },
    /// Elements of a list, or code points of a text, were deleted.
    Delete {
        /// The first one's index.
        at: usize,
        /// How many.
        length: usize,
    },
    /// Something was added to a counter.
    Increment {
        /// The key or index.
        at: Value,
        /// How much.
        by: i64,
    },
}
