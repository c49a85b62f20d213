//! Random edits, each of which is in order.

use aether_crdt::proto::document::{
    Kind,
    content::{Content, Expand, Node, ObjId, Scalar, TextUnit},
    edit::{Edit, EditError},
    rules::MAX_DEPTH,
    view::View,
};
use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha12Rng;

const KEYS: [&str; 5] = ["", "a", "b", "title", "größe"];
const TEXTS: [&str; 6] = ["x", "hello", "ä€", "👩‍👩‍👧 ok", "aaaa", "\n"];
const NAMES: [&str; 3] = ["bold", "link", "comment:7"];
const EXPAND: [Expand; 4] = [Expand::Before, Expand::After, Expand::Both, Expand::None];

/// All objects that can be seen, with their depths.
pub(crate) fn objects(view: &View<'_>) -> Vec<(Kind, ObjId, u32)> {
    let mut found = vec![(Kind::Map, ObjId::Root, 0)];
    let mut at = 0;
    while let Some((kind, object, depth)) = found.get(at).copied() {
        at += 1;
        let nodes: Vec<Node> = match kind {
            Kind::Map => {
                let keys = view.keys(object).unwrap();
                keys.into_iter().filter_map(|key| view.get(object, key).unwrap()).collect()
            }
            Kind::List => view.items(object).unwrap(),
            Kind::Text => {
                let places = 0..view.length(object).unwrap();
                places.filter_map(|index| view.get(object, index).unwrap()).collect()
            }
        };
        found.extend(nodes.into_iter().filter_map(|node| match node {
            Node::Object(kind, object) => Some((kind, object, depth + 1)),
            Node::Scalar(_) => None,
        }));
    }
    found
}

pub(crate) fn scalar(rng: &mut ChaCha12Rng) -> Scalar {
    match rng.random_range(0..10) {
        0 => Scalar::Null,
        1 => Scalar::Boolean(rng.random()),
        2 => Scalar::Uint(rng.random::<u64>() >> rng.random_range(0..64)),
        3 => Scalar::Int(rng.random::<i64>() >> rng.random_range(0..64)),
        4 => Scalar::F64(rng.random()),
        5 => Scalar::Str((*TEXTS.choose(rng).unwrap()).into()),
        6 => Scalar::Bytes(vec![rng.random(); rng.random_range(0..20)]),
        7 | 8 => Scalar::Counter(rng.random_range(-2..2)),
        _ => Scalar::Timestamp(rng.random()),
    }
}

fn kind(rng: &mut ChaCha12Rng) -> Kind {
    *[Kind::Map, Kind::List, Kind::Text].choose(rng).unwrap()
}

fn tree(rng: &mut ChaCha12Rng) -> Content {
    let text = Content::Text((*TEXTS.choose(rng).unwrap()).into());
    let list = Content::List(vec![Content::Scalar(scalar(rng)), text]);
    Content::Map([("a".to_owned(), list), ("n".to_owned(), Content::from(1_u64))].into())
}

fn counts(values: &[(Node, aether_crdt::proto::document::content::OpRef)]) -> bool {
    let counter = |node: &Node| matches!(node, Node::Scalar(Scalar::Counter(_)));
    !values.is_empty() && values.iter().all(|(node, _)| counter(node))
}

pub(crate) fn random_edit(rng: &mut ChaCha12Rng, edit: &mut Edit<'_>) -> Result<(), EditError> {
    let objects = objects(&edit.view()?);
    let (kind, object, depth) = *objects.choose(rng).unwrap();
    let deep = depth + 3 > MAX_DEPTH.min(6);
    match kind {
        Kind::Map => in_map(rng, edit, object, deep),
        Kind::List => in_list(rng, edit, object, deep),
        Kind::Text => in_text(rng, edit, object, deep),
    }
}

fn in_map(
    rng: &mut ChaCha12Rng,
    edit: &mut Edit<'_>,
    map: ObjId,
    deep: bool,
) -> Result<(), EditError> {
    let key = *KEYS.choose(rng).unwrap();
    match rng.random_range(0..8) {
        0 | 1 if !deep => edit.put_object(map, key, kind(rng)).map(drop),
        2 => edit.delete(map, key),
        3 if !deep => edit.put_content(map, key, &tree(rng)).map(drop),
        3 | 4 if counts(&edit.view()?.conflicts(map, key).unwrap()) => {
            edit.increment(map, key, rng.random_range(-5..5))
        }
        _ => edit.put(map, key, scalar(rng)),
    }
}

fn in_list(
    rng: &mut ChaCha12Rng,
    edit: &mut Edit<'_>,
    list: ObjId,
    deep: bool,
) -> Result<(), EditError> {
    let length = edit.view()?.length(list).unwrap();
    let index = rng.random_range(0..=length);
    let there = index < length;
    match rng.random_range(0..9) {
        0 if !deep => edit.insert_object(list, index, kind(rng)).map(drop),
        1 if there && !deep => edit.put_object(list, index, kind(rng)).map(drop),
        2 if there => edit.put(list, index, scalar(rng)),
        3 if there => edit.delete(list, index),
        4 | 5 if there && counts(&edit.view()?.conflicts(list, index).unwrap()) => {
            edit.increment(list, index, rng.random_range(-5..5))
        }
        6 if !deep => edit.insert_content(list, index, &tree(rng)).map(drop),
        _ => edit.insert(list, index, scalar(rng)),
    }
}

/// A place between two characters.
pub(crate) fn place(rng: &mut ChaCha12Rng, text: &str, unit: TextUnit) -> usize {
    let chars = text.chars().count();
    let chars = rng.random_range(0..=chars);
    text.chars().take(chars).map(|char| unit.of_char(char)).sum()
}

fn in_text(
    rng: &mut ChaCha12Rng,
    edit: &mut Edit<'_>,
    text: ObjId,
    deep: bool,
) -> Result<(), EditError> {
    let (now, unit) = (edit.view()?.text(text).unwrap(), edit.view()?.unit());
    let (one, other) = (place(rng, &now, unit), place(rng, &now, unit));
    let (start, end) = (one.min(other), one.max(other));
    let (name, expand) = (*NAMES.choose(rng).unwrap(), *EXPAND.choose(rng).unwrap());
    match rng.random_range(0..9) {
        0 | 1 if start < end => edit.mark(text, start..end, name, scalar(rng), expand),
        2 if start < end => edit.unmark(text, start..end, name, expand),
        3 if !deep => edit.split_block(text, start).map(drop),
        4 => edit.update_text(text, &(now.replace('a', "bé") + "!")),
        5 if end - start < 6 => edit.splice_text(text, start, end - start, ""),
        6 if end - start < 6 => {
            edit.splice_text(text, start, end - start, TEXTS.choose(rng).unwrap())
        }
        _ => edit.splice_text(text, start, 0, TEXTS.choose(rng).unwrap()),
    }
}
