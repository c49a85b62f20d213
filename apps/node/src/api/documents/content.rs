//! What is in documents, as JSON has it.

use aether_crdt::proto::document::{
    Kind,
    content::{Content, Node, Prop, Scalar},
    patch::{Patch, PatchAction},
};
use serde_json::{Number, Value};

use crate::api::{DocumentAction, DocumentPatch};

/// An object with all that is in it.
pub(super) fn whole(content: &Content) -> Value {
    match content {
        Content::Scalar(value) => scalar(value),
        Content::Map(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), whole(value))).collect())
        }
        Content::List(list) => list.iter().map(whole).collect(),
        Content::Text(text) => Value::from(text.as_str()),
    }
}

fn scalar(value: &Scalar) -> Value {
    match value {
        Scalar::Null => Value::Null,
        Scalar::Boolean(value) => Value::Bool(*value),
        Scalar::Uint(value) => Value::from(*value),
        Scalar::Int(value) | Scalar::Counter(value) | Scalar::Timestamp(value) => {
            Value::from(*value)
        }
        // JSON has no infinity, and nothing that is no number.
        Scalar::F64(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
        Scalar::Str(value) => Value::from(value.as_str()),
        Scalar::Bytes(bytes) => Value::from(data_encoding::BASE64URL_NOPAD.encode(bytes)),
    }
}

/// What stands at one place: of an object, the empty one.
fn node(node: &Node) -> Value {
    match node {
        Node::Scalar(value) => scalar(value),
        Node::Object(Kind::Map, _) => Value::Object(serde_json::Map::new()),
        Node::Object(Kind::List, _) => Value::Array(Vec::new()),
        Node::Object(Kind::Text, _) => Value::from(""),
    }
}

fn place(prop: &Prop) -> Value {
    match prop {
        Prop::Key(key) => Value::from(key.as_str()),
        Prop::Index(index) => Value::from(*index),
    }
}

/// A patch; `None` if nothing of what is shown here became different, but marks or conflicts did.
pub(super) fn patch(patch: &Patch) -> Option<DocumentPatch> {
    let action = match &patch.action {
        PatchAction::Put { prop, node: put, .. } => {
            DocumentAction::Put { at: place(prop), value: node(put) }
        }
        PatchAction::Insert { index, nodes } => {
            let values = nodes.iter().map(|(inserted, _)| node(inserted)).collect();
            DocumentAction::Insert { at: *index, values }
        }
        PatchAction::Splice { index, text, .. } => {
            DocumentAction::Splice { at: *index, text: text.clone() }
        }
        PatchAction::DeleteKey { key } => DocumentAction::DeleteKey { key: key.clone() },
        PatchAction::DeleteRange { index, length } => {
            DocumentAction::Delete { at: *index, length: *length }
        }
        PatchAction::Increment { prop, by } => {
            DocumentAction::Increment { at: place(prop), by: *by }
        }
        PatchAction::Conflict { .. } | PatchAction::Marks(_) => return None,
    };
    let path = patch.path.iter().map(|(_, prop)| place(prop)).collect();
    Some(DocumentPatch { path, action })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aether_crdt::proto::document::content::ObjId;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_json_can_say_is_said_and_the_rest_comes_near() {
        let list = [
            Scalar::Null,
            Scalar::Boolean(true),
            Scalar::Uint(u64::MAX),
            Scalar::Int(-1),
            Scalar::F64(0.5),
            Scalar::F64(f64::NAN),
            Scalar::Bytes(vec![0xff, 0xfe]),
            Scalar::Counter(7),
            Scalar::Timestamp(1_000),
        ];
        let list = Content::List(list.into_iter().map(Content::Scalar).collect());
        let text = Content::Text("ü\n".into());
        let all = Content::Map(BTreeMap::from([("a".into(), list), ("b".into(), text)]));
        let expected = json!({
            "a": [null, true, u64::MAX, -1, 0.5, null, "__4", 7, 1_000],
            "b": "ü\n",
        });
        assert_eq!(whole(&all), expected);
    }

    #[test]
    fn patches_say_where_and_what() {
        let of = |action| Patch {
            object: ObjId::Root,
            path: vec![(ObjId::Root, "a".into()), (ObjId::Root, 3.into())],
            action,
        };
        let said = |action| serde_json::to_value(patch(&of(action))).unwrap();
        let delete = said(PatchAction::DeleteRange { index: 1, length: 2 });
        assert_eq!(delete, json!({"path": ["a", 3], "action": "delete", "at": 1, "length": 2}));
        let made = Node::Object(Kind::List, ObjId::Root);
        let put = said(PatchAction::Put { prop: "k".into(), node: made, conflict: false });
        assert_eq!(put, json!({"path": ["a", 3], "action": "put", "at": "k", "value": []}));
        assert_eq!(said(PatchAction::Marks(Vec::new())), Value::Null);
    }
}
