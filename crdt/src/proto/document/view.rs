//! Reading a document: now, with edits that are pending, or as it was.
//!
//! Every name of an object may be asked about, whoever sent it; one that names nothing is
//! [`ViewError::NotFound`]. Positions in texts count the document's [unit](TextUnit).
//!
//! *Cost*: `get`, `conflicts` and `length` take O(log document) steps on the document as it is;
//! `keys`, `items`, `text`, `spans` and `content` walk the object. On the document as it was, each
//! walks the object.

use std::collections::BTreeMap;

use automerge::{Automerge, AutomergeError, ReadDoc, transaction::OwnedTransaction};

use super::{
    ChangeHash, Kind,
    anchor::{Anchor, Bias},
    body::{Body, Broken, guarded},
    content::{Content, Mark, Node, ObjId, OpRef, Prop, Scalar, Span, TextUnit, tagged},
};

/// Why something can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// No object has that name.
    #[error("there is no such object")]
    NotFound,
    /// An object of another kind.
    #[error("the object is of another kind")]
    WrongType,
    /// See [`Broken`].
    #[error(transparent)]
    Broken(#[from] Broken),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    Document(&'a Automerge),
    Open(&'a OwnedTransaction),
}

/// Calls a method of `ReadDoc`, guarded.
macro_rules! read {
    ($view:expr, $doc:ident => $call:expr) => {
        match $view.source {
            Source::Document($doc) => guarded(|| $call),
            Source::Open($doc) => guarded(|| $call),
        }
    };
}

/// A document to read.
#[derive(Clone, Debug)]
pub struct View<'a> {
    source: Source<'a>,
    body: &'a Body,
    at: Option<Vec<automerge::ChangeHash>>,
}

/// Automerge's errors of reading: the object's kind has been looked at before.
fn wrong(_: AutomergeError) -> ViewError {
    ViewError::WrongType
}

impl<'a> View<'a> {
    pub(super) const fn new(
        source: Source<'a>,
        body: &'a Body,
        at: Option<Vec<automerge::ChangeHash>>,
    ) -> Self {
        Self { source, body, at }
    }

    pub(super) const fn source(&self) -> Source<'a> {
        self.source
    }

    pub(super) const fn body(&self) -> &'a Body {
        self.body
    }

    /// The version that is looked at, unless it is the document as it is.
    pub(super) fn heads(&self) -> Option<&[automerge::ChangeHash]> {
        self.at.as_deref()
    }

    /// What positions in texts count.
    pub const fn unit(&self) -> TextUnit {
        self.body.settings().unit
    }

    /// The kind of an object, which may have been deleted: it can still be looked into.
    pub fn kind(&self, object: ObjId) -> Result<Kind, ViewError> {
        if object == ObjId::Root {
            return Ok(Kind::Map);
        }
        let kind = read!(self, doc => doc.object_type(object.to_automerge()))?;
        kind.ok().and_then(Kind::of).ok_or(ViewError::NotFound)
    }

    fn is(&self, object: ObjId, kinds: &[Kind]) -> Result<Kind, ViewError> {
        let kind = self.kind(object)?;
        if kinds.contains(&kind) { Ok(kind) } else { Err(ViewError::WrongType) }
    }

    /// What is at a key or index; `None` if nothing is. Of several values that were put at once,
    /// the one that all replicas take.
    pub fn get(&self, object: ObjId, prop: impl Into<Prop>) -> Result<Option<Node>, ViewError> {
        Ok(self.winner(object, &prop.into())?.map(|(node, _)| node))
    }

    /// The same with its operation.
    pub(super) fn winner(
        &self,
        object: ObjId,
        prop: &Prop,
    ) -> Result<Option<(Node, OpRef)>, ViewError> {
        if !self.fits(object, prop)? {
            return Ok(None);
        }
        let (object, prop) = (object.to_automerge(), prop.to_automerge());
        let found = match self.heads() {
            None => read!(self, doc => doc.get(object, prop).map(|v| v.and_then(tagged)))?,
            Some(heads) => {
                read!(self, doc => doc.get_at(object, prop, heads).map(|v| v.and_then(tagged)))?
            }
        };
        found.map_err(wrong)
    }

    /// Whether the place goes with the object's kind and, if an index, isn't beyond the end.
    fn fits(&self, object: ObjId, prop: &Prop) -> Result<bool, ViewError> {
        match (self.kind(object)?, prop) {
            (Kind::Map, Prop::Key(_)) => Ok(true),
            (Kind::List | Kind::Text, Prop::Index(index)) => Ok(*index < self.length(object)?),
            _ => Err(ViewError::WrongType),
        }
    }

    /// All values that were put at once and not overwritten since, ascending by their operations:
    /// the last is the one that [`get`](Self::get) returns. A write overwrites them all.
    pub fn conflicts(
        &self,
        object: ObjId,
        prop: impl Into<Prop>,
    ) -> Result<Vec<(Node, OpRef)>, ViewError> {
        let prop = prop.into();
        if !self.fits(object, &prop)? {
            return Ok(Vec::new());
        }
        let (object, prop) = (object.to_automerge(), prop.to_automerge());
        let all = |values: Vec<_>| values.into_iter().filter_map(tagged).collect();
        let found = match self.heads() {
            None => read!(self, doc => doc.get_all(object, prop).map(all))?,
            Some(heads) => read!(self, doc => doc.get_all_at(object, prop, heads).map(all))?,
        };
        found.map_err(wrong)
    }

    /// The keys of a map, ascending.
    pub fn keys(&self, map: ObjId) -> Result<Vec<String>, ViewError> {
        self.is(map, &[Kind::Map])?;
        let map = map.to_automerge();
        let mut keys: Vec<String> = match self.heads() {
            None => read!(self, doc => doc.keys(map).collect())?,
            Some(heads) => read!(self, doc => doc.keys_at(map, heads).collect())?,
        };
        keys.sort_unstable();
        Ok(keys)
    }

    /// The elements of a list, in order.
    pub fn items(&self, list: ObjId) -> Result<Vec<Node>, ViewError> {
        Ok(self.tagged_items(list)?.into_iter().map(|(node, _)| node).collect())
    }

    pub(super) fn tagged_items(&self, list: ObjId) -> Result<Vec<(Node, OpRef)>, ViewError> {
        self.is(list, &[Kind::List])?;
        let list = list.to_automerge();
        Ok(match self.heads() {
            None => read!(self, doc => doc.list_range(list, ..).filter_map(item).collect())?,
            Some(heads) => {
                read!(self, doc => doc.list_range_at(list, .., heads).filter_map(item).collect())?
            }
        })
    }

    /// How many keys, elements or units of text an object has.
    pub fn length(&self, object: ObjId) -> Result<usize, ViewError> {
        let kind = self.kind(object)?;
        let object = object.to_automerge();
        Ok(match (kind, self.heads()) {
            (Kind::Map, None) => read!(self, doc => doc.keys(object).count())?,
            (Kind::Map, Some(heads)) => read!(self, doc => doc.keys_at(object, heads).count())?,
            (_, None) => read!(self, doc => doc.length(object))?,
            (_, Some(heads)) => read!(self, doc => doc.length_at(object, heads))?,
        })
    }

    /// The characters of a text, with a [`PLACEHOLDER`](super::content::PLACEHOLDER) for each
    /// block.
    pub fn text(&self, text: ObjId) -> Result<String, ViewError> {
        self.is(text, &[Kind::Text])?;
        let text = text.to_automerge();
        let found = match self.heads() {
            None => read!(self, doc => doc.text(text))?,
            Some(heads) => read!(self, doc => doc.text_at(text, heads))?,
        };
        found.map_err(wrong)
    }

    /// A text as it is shown: stretches with equal marks, and blocks.
    pub fn spans(&self, text: ObjId) -> Result<Vec<Span>, ViewError> {
        self.is(text, &[Kind::Text])?;
        let text = text.to_automerge();
        let found = match self.heads() {
            None => read!(self, doc => doc.spans(text).map(|s| s.map(Span::of).collect()))?,
            Some(heads) => {
                read!(self, doc => doc.spans_at(text, heads).map(|s| s.map(Span::of).collect()))?
            }
        };
        found.map_err(wrong)
    }

    /// The marks of a text: ranges by their names, and ascending for each name.
    pub fn marks(&self, text: ObjId) -> Result<Vec<Mark>, ViewError> {
        self.is(text, &[Kind::Text])?;
        let text = text.to_automerge();
        let found = match self.heads() {
            None => read!(self, doc => doc.marks(text))?,
            Some(heads) => read!(self, doc => doc.marks_at(text, heads))?,
        };
        Ok(found.map_err(wrong)?.iter().map(Mark::of).collect())
    }

    /// Names and values of the marks that a range of a text lies in as a whole.
    pub(super) fn marks_over(
        &self,
        text: ObjId,
        start: usize,
        end: usize,
    ) -> Result<BTreeMap<String, Scalar>, ViewError> {
        let over = self.marks(text)?.into_iter();
        let over = over.filter(|mark| mark.start <= start && end <= mark.end);
        Ok(over.map(|mark| (mark.name, mark.value)).collect())
    }

    /// An object with all that is in it.
    pub fn content(&self, object: ObjId) -> Result<Content, ViewError> {
        self.kind(object)?;
        let object = object.to_automerge();
        let found = read!(self, doc => ReadDoc::hydrate(doc, &object, self.heads()))?;
        found.map(|value| Content::of(&value)).map_err(|_| ViewError::NotFound)
    }

    /// The change that put what is at a key or index; `None` if nothing is there, or it is pending.
    pub fn blame(
        &self,
        object: ObjId,
        prop: impl Into<Prop>,
    ) -> Result<Option<ChangeHash>, ViewError> {
        let Some((_, op)) = self.winner(object, &prop.into())? else { return Ok(None) };
        if op.actor == self.body.settings().actor && self.body.pending_ref().holds(op.counter) {
            return Ok(None);
        }
        let hash = match self.source {
            Source::Document(doc) => guarded(|| doc.hash_for_opid(&op.to_automerge())),
            Source::Open(doc) => guarded(|| doc.hash_for_opid(&op.to_automerge())),
        };
        Ok(hash?.map(|hash| ChangeHash(hash.0)))
    }

    /// An anchor at a position, which moves with what is around it: `None` if that is beyond the
    /// end, or the document is looked at as it was.
    pub fn anchor(
        &self,
        object: ObjId,
        index: usize,
        bias: Bias,
    ) -> Result<Option<Anchor>, ViewError> {
        self.is(object, &[Kind::List, Kind::Text])?;
        let length = self.length(object)?;
        if index > length || self.at.is_some() {
            return Ok(None);
        }
        // An anchor is on the element behind it or before it; at the ends there is none.
        let beside = match bias {
            Bias::After => Some(index).filter(|index| *index < length),
            Bias::Before => index.checked_sub(1),
        };
        let Some(beside) = beside else { return Ok(Some(Anchor::at_end(object, bias))) };
        let Some((_, op)) = self.winner(object, &Prop::Index(beside))? else { return Ok(None) };
        let element = self.body.element(object, op);
        Ok(element.map(|element| Anchor::on(object, element, bias)))
    }

    /// The names of a list's elements, or of a text's characters and blocks, in order. They keep
    /// their names and their order in every version, so what was made of an older one can be done
    /// to this one: what is between two of them still is.
    pub fn elements(&self, object: ObjId) -> Result<Vec<OpRef>, ViewError> {
        self.is(object, &[Kind::List, Kind::Text])?;
        let id = object.to_automerge();
        let ops: Vec<Option<OpRef>> = match self.heads() {
            None => {
                read!(self, doc => doc.list_range(id, ..).map(|e| OpRef::of(&e.id())).collect())?
            }
            Some(heads) => read!(self, doc => {
                doc.list_range_at(id, .., heads).map(|e| OpRef::of(&e.id())).collect()
            })?,
        };
        // Automerge has marks among them, which are no elements.
        Ok(ops.into_iter().filter_map(|op| self.body.element(object, op?)).collect())
    }

    /// Where an anchor is now; `None` if it names nothing in this document, or the document is
    /// looked at as it was. Any bytes may have made the anchor.
    pub fn position(&self, anchor: &Anchor) -> Result<Option<usize>, ViewError> {
        let object = anchor.object();
        if self.at.is_some() || !matches!(self.kind(object), Ok(Kind::List | Kind::Text)) {
            return Ok(None);
        }
        let Some(element) = anchor.element() else {
            let end = if anchor.bias() == Bias::After { self.length(object)? } else { 0 };
            return Ok(Some(end));
        };
        let Some((index, there)) = self.locate(object, element)? else { return Ok(None) };
        // Before the element, or behind it if it is still there.
        let behind = anchor.bias() == Bias::Before && there;
        Ok(Some(if behind { index + self.width(object, index)? } else { index }))
    }

    /// How many units what is at an index takes: 1 in lists.
    pub(super) fn width(&self, object: ObjId, index: usize) -> Result<usize, ViewError> {
        match (self.kind(object)?, self.winner(object, &Prop::Index(index))?) {
            (Kind::Text, Some((Node::Scalar(Scalar::Str(text)), _))) => {
                Ok(self.unit().of_str(&text))
            }
            _ => Ok(1),
        }
    }

    /// Where an element begins, or would if it were there; and whether it is. `None` if it is no
    /// element of this object, which the index knows: Automerge would panic.
    pub(super) fn locate(
        &self,
        object: ObjId,
        element: OpRef,
    ) -> Result<Option<(usize, bool)>, ViewError> {
        if self.body.element(object, element).is_none() {
            return Ok(None);
        }
        let Some(cursor) = element.to_cursor() else { return Ok(None) };
        let id = object.to_automerge();
        let found = read!(self, doc => doc.get_cursor_position(&id, &cursor, None))?;
        let Ok(index) = found else { return Ok(None) };
        let there = match self.winner(object, &Prop::Index(index))? {
            Some((_, op)) => self.body.element(object, op) == self.body.element(object, element),
            None => false,
        };
        Ok(Some((index, there)))
    }

    /// Whether a character, block or element begins at an index, or the object ends there.
    pub(super) fn is_boundary(&self, object: ObjId, index: usize) -> Result<bool, ViewError> {
        let length = self.length(object)?;
        if index == 0 || index >= length {
            return Ok(index <= length);
        }
        let id = object.to_automerge();
        let start = read!(self, doc => {
            let cursor = doc.get_cursor(&id, index, None)?;
            doc.get_cursor_position(&id, &cursor, None)
        })?;
        Ok(start.is_ok_and(|start| start == index))
    }

    /// How one comes to an object from the root; `None` if it can't be seen.
    pub(super) fn path(&self, object: ObjId) -> Result<Option<Vec<(ObjId, Prop)>>, ViewError> {
        let path = read!(self, doc => {
            let parents = doc.parents(object.to_automerge()).ok()?;
            parents.visible_path()
        })?;
        Ok(path.and_then(|path| {
            let steps = path.into_iter();
            steps.map(|(object, prop)| Some((ObjId::of(&object)?, Prop::of(prop)))).collect()
        }))
    }
}

fn item(item: automerge::iter::ListRangeItem<'_>) -> Option<(Node, OpRef)> {
    tagged((item.value.clone().into_value(), item.id()))
}
