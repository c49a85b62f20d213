//! What documents begin with.
//!
//! Two people who both begin an empty document would make its lists and texts twice, and of two
//! under one key one hides the other. So what a document begins with is part of what it is: a
//! template, from which every replica makes the same first change, which no entry carries.

use super::{
    ActorId, ChangeHash, Kind as Object,
    body::{Body, CommitError, Settings},
    content::{ObjId, TextUnit},
    edit::{Edit, EditError},
    weight::DEFAULT_LIMIT,
};
use crate::proto::entry::{Collection, Kind};

/// The actor of every template: no author's, since those are hashes.
pub const ACTOR: ActorId = ActorId([0; 16]);

/// The key under which a [text](Template::text) is.
pub const TEXT: &str = "text";

/// What a document begins with. See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    change: Option<(ChangeHash, Vec<u8>)>,
}

impl Template {
    /// An empty document.
    pub const fn empty() -> Self {
        Self { change: None }
    }

    /// A text, under the key [`TEXT`].
    pub fn text() -> Self {
        let made = Self::new(|edit| edit.put_object(ObjId::Root, TEXT, Object::Text).map(drop));
        made.expect("a text is a small document")
    }

    /// What an edit of an empty document makes. It must do the same on every node: another template
    /// makes another document of the same name.
    ///
    /// # Errors
    /// The edit's; [`EditError::TooLarge`], if no change holds it.
    pub fn new(
        edit: impl FnOnce(&mut Edit<'_>) -> Result<(), EditError>,
    ) -> Result<Self, EditError> {
        let settings = Settings { actor: ACTOR, unit: TextUnit::default(), limit: DEFAULT_LIMIT };
        let mut body = Body::new(settings);
        body.edit(edit)?;
        match body.commit(0) {
            Ok(change) => Ok(Self { change: change.map(|change| (change.hash, change.bytes)) }),
            Err(CommitError::Refused(_)) => Err(EditError::TooLarge),
            Err(CommitError::Broken(broken)) => Err(broken.into()),
        }
    }

    /// The document of this name that begins with it.
    pub fn document(&self, name: &str) -> Collection {
        match &self.change {
            None => Collection::new(Kind::Document, name),
            Some((hash, _)) => Collection::new(Kind::Document, &format!("{name}\0{hash:?}")),
        }
    }

    /// The first change of the document, unless it begins empty.
    pub fn change(&self) -> Option<(&ChangeHash, &[u8])> {
        self.change.as_ref().map(|(hash, bytes)| (hash, &bytes[..]))
    }
}
