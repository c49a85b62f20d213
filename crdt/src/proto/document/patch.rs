//! What became different, for who shows a document.
//!
//! The invariant: [`Content::apply`] of every patch, in order, makes what was
//! [read](super::view::View::content) before into what is read now. Patches of own edits are made
//! when the edit is; those of others by comparing what is shown before and after.

use std::collections::BTreeMap;

use super::{
    content::{Content, Mark, Node, ObjId, PLACEHOLDER, Prop, Scalar, TextUnit},
    rows::Kind,
};

/// A difference in one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// The object.
    pub object: ObjId,
    /// How one comes to it from the root: objects, and the places in them.
    pub path: Vec<(ObjId, Prop)>,
    /// What happened to it.
    pub action: PatchAction,
}

/// What happened to an object. A new object is empty; what is in it follows in patches of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum PatchAction {
    /// Something was put at a key, or replaced what was at an index.
    Put {
        /// Where.
        prop: Prop,
        /// What.
        node: Node,
        /// Whether other values were put at once: [`View::conflicts`](super::view::View::conflicts)
        /// has them.
        conflict: bool,
    },
    /// Elements were inserted into a list, or blocks into a text.
    Insert {
        /// The first one's index.
        index: usize,
        /// What was inserted, and whether there are conflicts in it.
        nodes: Vec<(Node, bool)>,
    },
    /// Characters were inserted into a text.
    Splice {
        /// The first one's index.
        index: usize,
        /// The characters.
        text: String,
        /// The marks that all of them have.
        marks: BTreeMap<String, Scalar>,
    },
    /// A key was deleted.
    DeleteKey {
        /// The key.
        key: String,
    },
    /// Elements or units of text were deleted.
    DeleteRange {
        /// The first one's index.
        index: usize,
        /// How many.
        length: usize,
    },
    /// Something was added to a counter.
    Increment {
        /// Where.
        prop: Prop,
        /// How much.
        by: i64,
    },
    /// Another value was put at once with the one that is there and stays.
    Conflict {
        /// Where.
        prop: Prop,
    },
    /// Marks were set; those whose value is null were taken away.
    Marks(Vec<Mark>),
}

/// A patch doesn't go with what it is applied to: it was made of something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the patch is of another content")]
pub struct Misfit;

impl Content {
    /// Does to the content of the root what the patch says happened. Marks, and what is in blocks,
    /// are no part of it. A text is walked from its beginning.
    pub fn apply(&mut self, patch: &Patch, unit: TextUnit) -> Result<(), Misfit> {
        let mut object = self;
        for (_, prop) in &patch.path {
            object = match (object, prop) {
                (Self::Map(map), Prop::Key(key)) => map.get_mut(key).ok_or(Misfit)?,
                (Self::List(list), Prop::Index(index)) => list.get_mut(*index).ok_or(Misfit)?,
                (Self::Text(_), Prop::Index(_)) => return Ok(()),
                _ => return Err(Misfit),
            };
        }
        match object {
            Self::Map(map) => in_map(map, &patch.action),
            Self::List(list) => in_list(list, &patch.action),
            Self::Text(text) => in_text(text, &patch.action, unit),
            Self::Scalar(_) => Err(Misfit),
        }
    }

    fn add(&mut self, by: i64) -> Result<(), Misfit> {
        let Self::Scalar(Scalar::Counter(counter)) = self else { return Err(Misfit) };
        *counter = counter.checked_add(by).ok_or(Misfit)?;
        Ok(())
    }

    /// The kind, if it is an object.
    pub const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Scalar(_) => None,
            Self::Map(_) => Some(Kind::Map),
            Self::List(_) => Some(Kind::List),
            Self::Text(_) => Some(Kind::Text),
        }
    }
}

fn in_map(map: &mut BTreeMap<String, Content>, action: &PatchAction) -> Result<(), Misfit> {
    match action {
        PatchAction::Put { prop: Prop::Key(key), node, .. } => {
            map.insert(key.clone(), node.bare());
        }
        PatchAction::DeleteKey { key } => {
            map.remove(key).ok_or(Misfit)?;
        }
        PatchAction::Increment { prop: Prop::Key(key), by } => {
            map.get_mut(key).ok_or(Misfit)?.add(*by)?;
        }
        PatchAction::Conflict { prop: Prop::Key(key) } if map.contains_key(key) => {}
        _ => return Err(Misfit),
    }
    Ok(())
}

fn in_list(list: &mut Vec<Content>, action: &PatchAction) -> Result<(), Misfit> {
    match action {
        PatchAction::Put { prop: Prop::Index(index), node, .. } => {
            *list.get_mut(*index).ok_or(Misfit)? = node.bare();
        }
        PatchAction::Insert { index, nodes } if *index <= list.len() => {
            list.splice(index..index, nodes.iter().map(|(node, _)| node.bare()));
        }
        PatchAction::DeleteRange { index, length } => {
            let end = index.checked_add(*length).filter(|end| *end <= list.len());
            list.drain(*index..end.ok_or(Misfit)?);
        }
        PatchAction::Increment { prop: Prop::Index(index), by } => {
            list.get_mut(*index).ok_or(Misfit)?.add(*by)?;
        }
        PatchAction::Conflict { prop: Prop::Index(index) } if *index < list.len() => {}
        _ => return Err(Misfit),
    }
    Ok(())
}

fn in_text(text: &mut String, action: &PatchAction, unit: TextUnit) -> Result<(), Misfit> {
    let byte = |text: &str, index| unit.to_byte(text, index).ok_or(Misfit);
    match action {
        PatchAction::Splice { index, text: more, .. } => {
            text.insert_str(byte(text, *index)?, more);
        }
        PatchAction::Insert { index, nodes } => {
            let blocks: String = nodes.iter().map(|_| PLACEHOLDER).collect();
            text.insert_str(byte(text, *index)?, &blocks);
        }
        PatchAction::DeleteRange { index, length } => {
            let end = index.checked_add(*length).ok_or(Misfit)?;
            let range = byte(text, *index)?..byte(text, end)?;
            text.replace_range(range, "");
        }
        PatchAction::Marks(_) | PatchAction::Conflict { .. } => {}
        _ => return Err(Misfit),
    }
    Ok(())
}
