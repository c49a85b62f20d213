//! Values of maps and of presence, as JSON has them.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::api::json;

/// Any value: what JSON can say is written as it is, and what CBOR says beyond that is
/// read as what comes nearest.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(in crate::api) struct AnyJson(pub(in crate::api) Value);

impl<'de> Deserialize<'de> for AnyJson {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        ciborium::Value::deserialize(from).map(|value| Self(json::from_cbor(value)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(bytes: &[u8]) -> Value {
        let AnyJson(value) = ciborium::from_reader(bytes).unwrap();
        value
    }

    #[test]
    fn json_comes_back_as_it_was_and_what_is_none_comes_near() {
        let value = json!({"a": [1, -2, 0.5, "b", true, null], "c": {"d": u64::MAX}});
        let mut bytes = Vec::new();
        ciborium::into_writer(&AnyJson(value.clone()), &mut bytes).unwrap();
        assert_eq!(read(&bytes), value);
        bytes.clear();
        ciborium::into_writer(&ciborium::Value::Bytes(vec![0xff, 0xfe]), &mut bytes).unwrap();
        assert_eq!(read(&bytes), json!("__4"));
    }
}
