//! What a batch of others' changes made different.
//!
//! Automerge keeps a log of a batch, but a mirror fed with it went astray: where several changes of
//! one batch met at a place, behind counters that were added to, and with blocks of texts. So what
//! is shown before and after is compared, at the places that the batch writes to. That takes O(log
//! document) steps for each key of a map and O(object) for each list and text, as applying the
//! batch does.
//!
//! An object that comes into sight, new or not, is told of with all that is in it.

mod text;

use std::collections::{BTreeMap, BTreeSet};

use text::{Element, Text, marks};

use super::{Body, Broken};
use crate::proto::document::{
    Action, Change, Key, Kind, ObjectId, OpId,
    content::{Node, ObjId, OpRef, PLACEHOLDER, Prop, Scalar},
    differ::{self, Step},
    patch::{Patch, PatchAction},
    view::{View, ViewError},
};

/// The places that changes write to.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    maps: BTreeMap<ObjId, BTreeSet<String>>,
    /// Lists and texts, with the elements of lists that are written into.
    sequences: BTreeMap<ObjId, BTreeSet<OpRef>>,
}

impl Touched {
    pub(super) fn add(&mut self, change: &Change<'_>) {
        let name = |op: OpId| OpRef { counter: op.counter, actor: change.actor_of(op) };
        for row in &change.rows {
            let object = match row.object {
                ObjectId::Root => ObjId::Root,
                ObjectId::Made(made) => ObjId::Made(name(made)),
            };
            match (row.key, row.action) {
                (Key::Map(key), _) => {
                    let keys = self.maps.entry(object).or_default();
                    if !keys.contains(key) {
                        keys.insert(key.into());
                    }
                }
                (
                    Key::Element(element),
                    Action::Set(_) | Action::Make(_) | Action::Increment(_),
                ) if !row.insert => {
                    self.sequences.entry(object).or_default().insert(name(element));
                }
                (Key::Head | Key::Element(_), _) => {
                    self.sequences.entry(object).or_default();
                }
            }
        }
    }
}

/// All places that can be seen in either of two versions of a document.
pub(super) fn everywhere(one: &View<'_>, other: &View<'_>) -> Result<Touched, Broken> {
    let mut touched = Touched::default();
    for view in [one, other] {
        let mut open = vec![ObjId::Root];
        while let Some(object) = open.pop() {
            let mut nodes = Vec::new();
            match or_nothing(view.kind(object).map(Some))? {
                Some(Kind::Map) => {
                    let keys = touched.maps.entry(object).or_default();
                    for key in or_nothing(view.keys(object))? {
                        nodes.extend(or_nothing(view.get(object, key.as_str()))?);
                        keys.insert(key);
                    }
                }
                Some(Kind::List) => {
                    let items = or_nothing(view.tagged_items(object))?;
                    let elements = touched.sequences.entry(object).or_default();
                    elements.extend(items.iter().map(|(_, op)| *op));
                    nodes.extend(items.into_iter().map(|(node, _)| node));
                }
                Some(Kind::Text) => {
                    touched.sequences.entry(object).or_default();
                    let text = Text::of(view, object)?;
                    let blocks = text.elements.iter().filter_map(Element::block);
                    nodes.extend(blocks.map(|block| Node::Object(Kind::Map, block)));
                }
                None => {}
            }
            open.extend(nodes.iter().filter_map(Node::object));
        }
    }
    Ok(touched)
}

/// What stands at a place, by which operation, and whether it conflicts with other values.
#[derive(Clone, Debug, PartialEq)]
struct There {
    node: Node,
    op: OpRef,
    conflict: bool,
}

/// What is in a list, and by which operations.
type Items = Vec<(Node, OpRef)>;

/// What was shown before a batch, at the places that it writes to.
pub(super) struct Before {
    maps: BTreeMap<ObjId, BTreeMap<String, Option<There>>>,
    lists: BTreeMap<ObjId, (Items, BTreeSet<OpRef>)>,
    texts: BTreeMap<ObjId, Text>,
}

/// What isn't in sight is like nothing.
fn or_nothing<T: Default>(read: Result<T, ViewError>) -> Result<T, Broken> {
    match read {
        Err(ViewError::Broken(broken)) => Err(broken),
        other => Ok(other.unwrap_or_default()),
    }
}

fn there(view: &View<'_>, object: ObjId, prop: Prop) -> Result<Option<There>, Broken> {
    let all = or_nothing(view.conflicts(object, prop))?;
    let conflict = all.len() > 1;
    Ok(all.into_iter().next_back().map(|(node, op)| There { node, op, conflict }))
}

impl Before {
    pub(super) fn of(body: &Body, touched: Touched) -> Result<Self, Broken> {
        Self::in_view(&body.view()?, touched)
    }

    pub(super) fn in_view(view: &View<'_>, touched: Touched) -> Result<Self, Broken> {
        let (mut maps, mut lists, mut texts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (map, keys) in touched.maps {
            let keys = keys.into_iter().map(|key| {
                let found = there(view, map, Prop::Key(key.clone()))?;
                Ok((key, found))
            });
            maps.insert(map, keys.collect::<Result<_, _>>()?);
        }
        for (object, elements) in touched.sequences {
            match or_nothing(view.kind(object).map(Some))? {
                Some(Kind::List) => {
                    lists.insert(object, (or_nothing(view.tagged_items(object))?, elements));
                }
                Some(Kind::Text) => {
                    texts.insert(object, Text::of(view, object)?);
                }
                // It was made since, and comes into sight as a whole.
                Some(Kind::Map) | None => {}
            }
        }
        Ok(Self { maps, lists, texts })
    }

    /// Says what is different now.
    pub(super) fn tell(&self, body: &Body) -> Result<Vec<Patch>, Broken> {
        let view = body.view()?;
        let mut teller = Teller { view, patches: Vec::new(), told: BTreeSet::new() };
        // An object's name is larger than that of the one around it, so that comes first, and paths
        // are right when they are followed.
        let sequences = self.lists.keys().chain(self.texts.keys());
        let objects: BTreeSet<ObjId> = self.maps.keys().chain(sequences).copied().collect();
        for object in objects {
            let Some(path) = teller.path(object)? else { continue };
            if let Some(keys) = self.maps.get(&object) {
                teller.map(object, &path, keys)?;
            } else if let Some((items, elements)) = self.lists.get(&object) {
                teller.list(object, &path, items, elements)?;
            } else if let Some(before) = self.texts.get(&object) {
                teller.text(object, &path, before)?;
            }
        }
        Ok(teller.patches)
    }
}

type Path = Vec<(ObjId, Prop)>;

struct Teller<'a> {
    view: View<'a>,
    patches: Vec<Patch>,
    /// Objects that were told of with all that is in them.
    told: BTreeSet<ObjId>,
}

impl Teller<'_> {
    /// The path to an object that can be seen, and isn't told of yet.
    fn path(&self, object: ObjId) -> Result<Option<Path>, Broken> {
        let path = or_nothing(self.view.path(object))?;
        let told = |path: &Path| path.iter().any(|(around, _)| self.told.contains(around));
        Ok(path.filter(|path| !told(path) && !self.told.contains(&object)))
    }

    fn map(
        &mut self,
        map: ObjId,
        path: &Path,
        keys: &BTreeMap<String, Option<There>>,
    ) -> Result<(), Broken> {
        for (key, before) in keys {
            let now = there(&self.view, map, Prop::Key(key.clone()))?;
            let tell = |action| Patch { object: map, path: path.clone(), action };
            match (before, now) {
                (None, None) => {}
                (Some(_), None) => {
                    self.patches.push(tell(PatchAction::DeleteKey { key: key.clone() }));
                }
                (Some(before), Some(now)) if before.op == now.op => {
                    self.patches.extend(same(before, &now, Prop::Key(key.clone())).map(tell));
                }
                (_, Some(There { node, conflict, .. })) => {
                    let (prop, seen) = (Prop::Key(key.clone()), node.clone());
                    self.patches.push(tell(PatchAction::Put { prop, node, conflict }));
                    self.seen(&seen)?;
                }
            }
        }
        Ok(())
    }

    fn list(
        &mut self,
        list: ObjId,
        path: &Path,
        before: &[(Node, OpRef)],
        elements: &BTreeSet<OpRef>,
    ) -> Result<(), Broken> {
        let after = or_nothing(self.view.tagged_items(list))?;
        let ids = |items: &[(Node, OpRef)]| items.iter().map(|(_, op)| *op).collect::<Vec<_>>();
        let steps = differ::diff(&ids(before), &ids(&after));
        let tell = |action| Patch { object: list, path: path.clone(), action };
        // Back to front, so that places before stay.
        for step in steps.iter().rev() {
            let index = step.old.start;
            if !step.old.is_empty() {
                let length = step.old.len();
                self.patches.push(tell(PatchAction::DeleteRange { index, length }));
            }
            if !step.new.is_empty() {
                let nodes = after[step.new.clone()].iter().map(|(node, _)| (node.clone(), false));
                let nodes = nodes.collect();
                self.patches.push(tell(PatchAction::Insert { index, nodes }));
            }
        }
        let was: BTreeMap<OpRef, &Node> = before.iter().map(|(node, op)| (*op, node)).collect();
        for element in elements {
            let found = or_nothing(self.view.locate(list, *element))?;
            let Some((index, true)) = found else { continue };
            let prop = Prop::Index(index);
            let Some(now) = there(&self.view, list, prop.clone())? else { continue };
            let node = was.get(&now.op).map_or(&now.node, |node| *node).clone();
            let before = There { node, op: now.op, conflict: false };
            self.patches.extend(same(&before, &now, prop).map(tell));
        }
        let new = steps.into_iter().flat_map(|step| step.new);
        new.map(|index| &after[index].0).try_for_each(|node| self.seen(node))
    }

    fn text(&mut self, text: ObjId, path: &Path, before: &Text) -> Result<(), Broken> {
        let after = Text::of(&self.view, text)?;
        let unit = self.view.unit();
        let units = |elements: &[Element]| elements.iter().map(|e| e.units(unit)).sum::<usize>();
        let steps = differ::diff(&before.elements, &after.elements);
        let tell = |action| Patch { object: text, path: path.clone(), action };
        let mut blocks = Vec::new();
        // Back to front, so that places before stay.
        for Step { old, new } in steps.iter().rev() {
            let index = units(&before.elements[..old.start]);
            let length = units(&before.elements[old.clone()]);
            if length > 0 {
                self.patches.push(tell(PatchAction::DeleteRange { index, length }));
            }
            let mut at = index;
            let is_block = |element: &Element| element.block().is_some();
            for run in after.elements[new.clone()].chunk_by(|a, b| is_block(a) == is_block(b)) {
                let nodes: Vec<_> = run.iter().filter_map(Element::block).collect();
                let node = |block: &ObjId| (Node::Object(Kind::Map, *block), false);
                self.patches.push(tell(if nodes.is_empty() {
                    let char = |element: &Element| match element {
                        Element::Char(char) => *char,
                        Element::Block(_) => PLACEHOLDER,
                    };
                    let text = run.iter().map(char).collect();
                    // Their marks are told of below.
                    PatchAction::Splice { index: at, text, marks: BTreeMap::new() }
                } else {
                    PatchAction::Insert { index: at, nodes: nodes.iter().map(node).collect() }
                }));
                blocks.extend(nodes);
                at += units(run);
            }
        }
        let marks = marks(before, &after, &steps, unit);
        if !marks.is_empty() {
            self.patches.push(tell(PatchAction::Marks(marks)));
        }
        blocks.iter().try_for_each(|block| self.seen(&Node::Object(Kind::Map, *block)))
    }

    /// Tells of what came into sight, if it is an object, with all that is in it. Depth is bounded
    /// as objects' is.
    fn seen(&mut self, node: &Node) -> Result<(), Broken> {
        let Some(object) = node.object() else { return Ok(()) };
        let path = or_nothing(self.view.path(object))?;
        self.told.insert(object);
        let (Some(path), Node::Object(kind, _)) = (path, node) else { return Ok(()) };
        match kind {
            Kind::Map => {
                let keys = or_nothing(self.view.keys(object))?;
                let nothing = keys.into_iter().map(|key| (key, None)).collect();
                self.map(object, &path, &nothing)
            }
            Kind::List => self.list(object, &path, &[], &BTreeSet::new()),
            Kind::Text => self.text(object, &path, &Text::default()),
        }
    }
}

/// What became different where the same operation is shown as before.
fn same(before: &There, now: &There, prop: Prop) -> Option<PatchAction> {
    match (&before.node, &now.node) {
        (Node::Scalar(Scalar::Counter(was)), Node::Scalar(Scalar::Counter(is))) if was != is => {
            Some(PatchAction::Increment { prop, by: is.wrapping_sub(*was) })
        }
        _ if now.conflict && !before.conflict => Some(PatchAction::Conflict { prop }),
        _ => None,
    }
}
