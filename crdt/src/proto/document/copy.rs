//! What a document shows, as another one can begin with it.
//!
//! Automerge keeps all of a document's history for ever, so the way to shrink a document is to copy
//! what it shows into a new one. A copy has every value, with what is in texts: blocks, and marks,
//! which from then on [expand](Expand) as marks do unless said otherwise. Of conflicting values it
//! has the winners, and of counters what they have come to. Nobody's edits of the old document
//! reach it.
//!
//! Under the key [`LINK`] of its root a copy says of what it is one: a map of `space`, `document`
//! and `version`, the hashes of the changes in hexadecimal digits. It is written last, so what is
//! there without it was broken off.

use std::collections::{BTreeMap, VecDeque};

use super::{
    ChangeHash, Kind,
    content::{Content, Expand, Mark, Node, ObjId, Prop, Scalar, Span},
    edit::{Edit, EditError},
    view::{View, ViewError},
};

/// The key under which a copy names its source.
pub const LINK: &str = "copied_from";

/// Operations but those of texts, bytes of values and marks that are written in one edit: a change
/// holds twice as much.
const MAX_STEPS: usize = 2_000;
/// Characters that are written in one step: of up to four bytes.
const MAX_CHARS: usize = 16_384;
const MAX_BYTES: usize = 128 << 10;
const MAX_MARKS: usize = 500;

/// Of what a document is a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The space's id.
    pub space: String,
    /// The document's name.
    pub document: String,
    /// Which version.
    pub version: Vec<String>,
}

impl Source {
    /// The source of this name, at a version.
    pub fn new(space: String, document: String, version: &[ChangeHash]) -> Self {
        let version = version.iter().map(|hash| format!("{hash:?}")).collect();
        Self { space, document, version }
    }

    /// What a document says it is a copy of; `None` if it says nothing that makes sense.
    ///
    /// # Errors
    /// The document can't be read.
    pub fn of(view: &View<'_>) -> Result<Option<Self>, ViewError> {
        let link = view.get(ObjId::Root, LINK)?;
        let Some(link) = link.as_ref().and_then(Node::object) else { return Ok(None) };
        let Content::Map(mut link) = view.content(link)? else { return Ok(None) };
        let string = |content: Option<Content>| match content {
            Some(Content::Scalar(Scalar::Str(text))) => Some(text),
            _ => None,
        };
        let (space, document) = (string(link.remove("space")), string(link.remove("document")));
        let Some(Content::List(version)) = link.remove("version") else { return Ok(None) };
        let version: Option<Vec<_>> = version.into_iter().map(|hash| string(Some(hash))).collect();
        let all = space.zip(document).zip(version);
        Ok(all.map(|((space, document), version)| Self { space, document, version }))
    }

    fn content(&self) -> Content {
        let version = self.version.iter().map(|hash| hash.clone().into()).collect();
        let (space, document) = (self.space.clone().into(), self.document.clone().into());
        let all = [("space", space), ("document", document), ("version", Content::List(version))];
        Content::Map(all.map(|(key, value)| (key.to_owned(), value)).into())
    }
}

/// A value, or an object with all that it shows.
#[derive(Clone, Debug, PartialEq)]
enum Shown {
    Scalar(Scalar),
    Map(BTreeMap<String, Self>),
    List(Vec<Self>),
    Text(Vec<Span>, Vec<Mark>),
}

impl Shown {
    /// Recursion ends, as objects lie at most [64](super::rules::MAX_DEPTH) deep.
    fn of(view: &View<'_>, node: Node) -> Result<Self, ViewError> {
        let (kind, object) = match node {
            Node::Scalar(value) => return Ok(Self::Scalar(value)),
            Node::Object(kind, object) => (kind, object),
        };
        Ok(match kind {
            Kind::Map => {
                let mut map = BTreeMap::new();
                for key in view.keys(object)? {
                    if let Some(node) = view.get(object, &key[..])? {
                        map.insert(key, Self::of(view, node)?);
                    }
                }
                Self::Map(map)
            }
            Kind::List => {
                let items = view.items(object)?.into_iter();
                Self::List(items.map(|node| Self::of(view, node)).collect::<Result<_, _>>()?)
            }
            Kind::Text => {
                let taken = |mark: &Mark| mark.value != Scalar::Null;
                let marks = view.marks(object)?.into_iter().filter(taken).collect();
                Self::Text(view.spans(object)?, marks)
            }
        })
    }

    const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Scalar(_) => None,
            Self::Map(_) => Some(Kind::Map),
            Self::List(_) => Some(Kind::List),
            Self::Text(..) => Some(Kind::Text),
        }
    }
}

/// What is to be written.
#[derive(Debug)]
enum Task {
    /// Under a key, or as the next element of a list.
    Put(ObjId, Option<String>, Shown),
    /// The next characters of a text.
    Type(ObjId, String),
    Block(ObjId, BTreeMap<String, Content>),
    Mark(ObjId, Mark),
    Link(Source),
}

/// A copy that is being written.
#[derive(Debug)]
pub struct Copy {
    root: Option<Shown>,
    tasks: VecDeque<Task>,
}

impl Copy {
    /// A copy of what a view shows.
    ///
    /// # Errors
    /// The document can't be read.
    pub fn new(view: &View<'_>, source: Source) -> Result<Self, ViewError> {
        let root = Shown::of(view, Node::Object(Kind::Map, ObjId::Root))?;
        let tasks = VecDeque::from([Task::Link(source)]);
        Ok(Self { root: Some(root), tasks })
    }

    /// Whether all of it is written.
    pub fn is_done(&self) -> bool {
        self.root.is_none() && self.tasks.is_empty()
    }

    /// Writes as much as goes into one change. The document that is written to shows what it began
    /// with, and nothing else: what is there of the same kind is filled, and all else replaced.
    ///
    /// # Errors
    /// The edit's: then nothing of this step is written, and the copy is of no use any more.
    pub fn step(&mut self, edit: &mut Edit<'_>) -> Result<(), EditError> {
        if let Some(root) = self.root.take() {
            self.fill(edit, ObjId::Root, root)?;
        }
        let (mut steps, mut bytes, mut marks) = (0, 0, 0);
        while steps < MAX_STEPS && bytes < MAX_BYTES && marks < MAX_MARKS {
            let Some(task) = self.tasks.pop_front() else { break };
            steps += 1;
            match task {
                Task::Put(object, key, shown) => {
                    bytes += key.as_ref().map_or(0, String::len);
                    if let Shown::Scalar(Scalar::Str(text)) = &shown {
                        bytes += text.len();
                    }
                    self.put(edit, object, key, shown)?;
                }
                Task::Type(text, mut run) => {
                    let chars = run.char_indices().nth(MAX_CHARS);
                    let end = chars.map_or(run.len(), |(byte, _)| byte);
                    let rest = run.split_off(end);
                    bytes += run.len();
                    let at = edit.view()?.length(text)?;
                    edit.splice_text(text, at, 0, &run)?;
                    if !rest.is_empty() {
                        self.tasks.push_front(Task::Type(text, rest));
                    }
                }
                Task::Block(text, attributes) => {
                    let at = edit.view()?.length(text)?;
                    let block = edit.split_block(text, at)?;
                    for (key, content) in &attributes {
                        edit.put_content(block, &key[..], content)?;
                    }
                    steps += attributes.len();
                }
                Task::Mark(text, mark) => {
                    marks += 1;
                    let Mark { start, end, name, value } = mark;
                    edit.mark(text, start..end, &name, value, Expand::default())?;
                }
                Task::Link(source) => {
                    edit.put_content(ObjId::Root, LINK, &source.content())?;
                }
            }
        }
        Ok(())
    }

    fn put(
        &mut self,
        edit: &mut Edit<'_>,
        object: ObjId,
        key: Option<String>,
        shown: Shown,
    ) -> Result<(), EditError> {
        let there = match &key {
            Some(key) => edit.view()?.get(object, &key[..])?,
            None => None,
        };
        let made = match (shown.kind(), there, key) {
            (Some(kind), Some(Node::Object(of, there)), _) if of == kind => there,
            (Some(kind), _, Some(key)) => edit.put_object(object, key, kind)?,
            (Some(kind), _, None) => {
                let end = edit.view()?.length(object)?;
                edit.insert_object(object, end, kind)?
            }
            (None, _, key) => {
                let Shown::Scalar(value) = shown else { return Ok(()) };
                return match key {
                    Some(key) => edit.put(object, key, value),
                    None => {
                        let end = edit.view()?.length(object)?;
                        edit.insert(object, end, value)
                    }
                };
            }
        };
        self.fill(edit, made, shown)
    }

    /// Fills an object with what it is to show, next of all.
    fn fill(&mut self, edit: &mut Edit<'_>, object: ObjId, shown: Shown) -> Result<(), EditError> {
        empty(edit, object, &shown)?;
        let next: Vec<Task> = match shown {
            Shown::Scalar(_) => Vec::new(),
            Shown::Map(map) => {
                let puts = map.into_iter().filter(|(key, _)| object != ObjId::Root || key != LINK);
                puts.map(|(key, shown)| Task::Put(object, Some(key), shown)).collect()
            }
            Shown::List(items) => {
                items.into_iter().map(|shown| Task::Put(object, None, shown)).collect()
            }
            Shown::Text(spans, marks) => {
                let spans = spans.into_iter().map(|span| match span {
                    Span::Text { text, .. } => Task::Type(object, text),
                    Span::Block(attributes) => Task::Block(object, attributes),
                });
                spans.chain(marks.into_iter().map(|mark| Task::Mark(object, mark))).collect()
            }
        };
        for task in next.into_iter().rev() {
            self.tasks.push_front(task);
        }
        Ok(())
    }
}

/// Takes out of an object what it began with and isn't to show.
fn empty(edit: &mut Edit<'_>, object: ObjId, shown: &Shown) -> Result<(), EditError> {
    match shown {
        Shown::Scalar(_) => Ok(()),
        Shown::Map(map) => {
            let keys = edit.view()?.keys(object)?.into_iter();
            keys.filter(|key| !map.contains_key(key)).try_for_each(|key| edit.delete(object, key))
        }
        Shown::List(_) => {
            let count = edit.view()?.length(object)?;
            (0..count).rev().try_for_each(|index| edit.delete(object, Prop::Index(index)))
        }
        Shown::Text(..) => {
            let length = edit.view()?.length(object)?;
            edit.splice_text(object, 0, length, "")
        }
    }
}
