//! How single values are read: typed or as text from a file, as text from variables and flags.

use aether_mesh::Multiaddr;
use figment::value::Value;
use serde::{
    Deserialize, Deserializer, Serialize as _,
    de::{DeserializeOwned, Error},
};

/// A number, a truth value or a name; text that spells one counts as it.
pub(super) fn word<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let given = <Value as Deserialize>::deserialize(deserializer)?;
    let text = given.as_str().map(|text| text.trim().to_owned());
    let value = match &text {
        Some(text) => match (text.parse::<i64>(), text.parse::<bool>()) {
            (Ok(number), _) => number.into(),
            (_, Ok(truth)) => truth.into(),
            _ => text.clone().into(),
        },
        None => given,
    };
    value.deserialize().map_err(|error: figment::Error| match text {
        Some(text) => D::Error::custom(format!("{text:?}: {}", error.kind)),
        None => D::Error::custom(error.kind),
    })
}

pub(super) fn some_word<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    word(deserializer).map(Some)
}

/// A list, or text with commas or spaces between its parts.
pub(super) fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let given = <Value as Deserialize>::deserialize(deserializer)?;
    if let Some(text) = given.as_str() {
        let parts = text.split(|c: char| c == ',' || c.is_whitespace());
        return Ok(parts.filter(|part| !part.is_empty()).map(str::to_owned).collect());
    }
    given.deserialize().map_err(|error: figment::Error| D::Error::custom(error.kind))
}

/// Reads an address, or says what is wrong with it.
pub(crate) fn parse_address(text: &str) -> Result<Multiaddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is no multiaddress, such as /ip4/192.0.2.1/udp/4001/quic-v1")
    })
}

pub(super) fn addresses<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Multiaddr>, D::Error> {
    let parse = |text: String| parse_address(&text).map_err(D::Error::custom);
    words(deserializer)?.into_iter().map(parse).collect()
}

pub(super) fn some_addresses<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Multiaddr>>, D::Error> {
    addresses(deserializer).map(Some)
}

/// What `tracing_subscriber`'s filter understands.
pub(super) fn filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match tracing_subscriber::EnvFilter::try_new(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(D::Error::custom(format!("{text:?}: {error}"))),
    }
}

/// An invite or a membership. A wrong one is refused here, where it is known who gave it.
pub(super) fn ticket<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match aether_mesh::access::Ticket::parse(&text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(D::Error::custom(error)),
    }
}

/// A secret is shown as there or not.
#[expect(clippy::ref_option, reason = "the signature is serde's")]
pub(super) fn hidden<S: serde::Serializer>(
    secret: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| "(hidden)").serialize(serializer)
}
