//! CBOR as JSON, as RFC 8949, section 6.1 advises.

use ciborium::Value as Cbor;
use serde_json::{Map, Number, Value as Json};

/// What JSON can't say becomes what comes nearest: bytes are base64url without padding, keys are
/// text, tags are left out, numbers beyond JSON's are `null`.
pub(super) fn from_cbor(value: Cbor) -> Json {
    match value {
        Cbor::Bool(value) => Json::Bool(value),
        Cbor::Integer(value) => integer(value.into()),
        Cbor::Float(value) => Number::from_f64(value).map_or(Json::Null, Json::Number),
        Cbor::Text(text) => Json::String(text),
        Cbor::Bytes(bytes) => Json::String(data_encoding::BASE64URL_NOPAD.encode(&bytes)),
        Cbor::Array(values) => values.into_iter().map(from_cbor).collect(),
        Cbor::Map(entries) => {
            let entry = |(key, value)| (text(key), from_cbor(value));
            Json::Object(entries.into_iter().map(entry).collect::<Map<_, _>>())
        }
        Cbor::Tag(_, value) => from_cbor(*value),
        _ => Json::Null,
    }
}

fn integer(value: i128) -> Json {
    Number::from_i128(value).map_or(Json::Null, Json::Number)
}

fn text(key: Cbor) -> String {
    match from_cbor(key) {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_json_can_say_stays_as_it_is() {
        let value = json!({"a": [1, -2, 0.5, "b", true, null], "c": {"d": u64::MAX}});
        let mut bytes = Vec::new();
        ciborium::into_writer(&value, &mut bytes).unwrap();
        let cbor: Cbor = ciborium::from_reader(&bytes[..]).unwrap();
        assert_eq!(from_cbor(cbor), value);
    }

    #[test]
    fn what_json_can_not_say_comes_near() {
        let bytes = Cbor::Bytes(vec![0xff, 0xfe]);
        let entries = vec![(Cbor::Integer(7.into()), bytes), (Cbor::Null, Cbor::Float(f64::NAN))];
        let tagged = Cbor::Tag(1, Box::new(Cbor::Map(entries)));
        assert_eq!(from_cbor(tagged), json!({"7": "__4", "null": null}));
    }
}
