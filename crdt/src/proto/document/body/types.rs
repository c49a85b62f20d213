//! What bodies are opened with, hand out, and fail with.

use crate::proto::document::{ActorId, ChangeHash, DecodeError, Rule, Why, content::TextUnit};

/// Automerge panicked: what it holds can't be trusted any more.
///
/// The body answers nothing but this from now on. Its changes are as valid as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document in memory is broken")]
pub struct Broken;

/// Why a change isn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its bytes break a rule A: nobody takes its entry.
    #[error("the change is malformed")]
    Malformed(#[source] DecodeError),
    /// It is void.
    #[error("the change is void")]
    Void(#[source] Why),
    /// It can't be told, as the body is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl Refused {
    /// The rule that is broken, if it can be told.
    pub const fn rule(&self) -> Option<Rule> {
        match self {
            Self::Malformed(error) => Some(error.rule()),
            Self::Void(why) => Some(why.rule()),
            Self::Broken(Broken) => None,
        }
    }
}

/// Why pending edits didn't become a change. They are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Every replica would refuse it, and so do we.
    #[error("others would refuse the change")]
    Refused(#[source] Refused),
    /// See [`Broken`].
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// A saved document can't be opened: Automerge can't read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file is damaged")]
pub struct LoadError;

/// A change of our own, as others will get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What others name it by.
    pub hash: ChangeHash,
    /// The chunk.
    pub bytes: Vec<u8>,
}

/// What a body is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whose changes its edits become: [`ActorId::of`].
    pub actor: ActorId,
    /// What positions in texts count.
    pub unit: TextUnit,
    /// Most that the document may weigh (B9).
    pub limit: u64,
}
