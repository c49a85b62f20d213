//! What the interface says and hears about presence.

use aether_mesh::PeerId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What a node says of itself under a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Present {
    /// Which node.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// What it says.
    pub value: Value,
}

/// What becomes of presence; the data of an event of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum PresenceEvent {
    /// A node says something, or something else than before.
    Says(Present),
    /// A node says nothing any more, or isn't heard any more.
    Gone {
        /// Which node.
        #[schema(value_type = String)]
        peer: PeerId,
    },
    /// The reader was slow: ask who is there.
    Missed,
}

impl PresenceEvent {
    /// The event's name.
    pub(in crate::api) const fn name(&self) -> &'static str {
        match self {
            Self::Says(_) => "says",
            Self::Gone { .. } => "gone",
            Self::Missed => "missed",
        }
    }
}
