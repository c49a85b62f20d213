//! Where settings are given: files, variables and flags, each value with its origin.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use figment::{
    Metadata, Profile, Provider,
    util::nest,
    value::{Dict, Map, Value},
};
use toml::{Spanned, de::DeTable};

use super::keys;

/// Variables that say something else, to the program itself.
const OTHER_VARIABLES: [&str; 6] = ["API", "CA", "CERT", "CONFIG", "KEY", "TOKEN"];

/// One value, and where it was given.
#[derive(Clone, Debug)]
pub struct Given {
    /// A file and line, the name of a variable or a flag.
    pub origin: String,
    /// The full name of the key.
    pub key: String,
    value: Value,
}

impl Given {
    /// A value from a flag.
    pub fn flag(flag: &str, key: &str, value: impl Into<Value>) -> Self {
        Self { origin: flag.to_owned(), key: key.to_owned(), value: value.into() }
    }
}

impl Provider for Given {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = nest(&self.key, self.value.clone());
        Ok(nested.into_dict().map(|dict| (Profile::Default, dict)).into_iter().collect())
    }
}

/// Why settings aren't taken. Each message names the key, where it stands and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file can't be read.
    #[error("can't read the config file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file isn't TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// No such key.
    #[error("{origin}: unknown key `{key}`; did you mean {nearest}?")]
    UnknownKey {
        /// Where it stands.
        origin: String,
        /// The key.
        key: String,
        /// What was probably meant, in the words of the origin.
        nearest: String,
    },
    /// A variable that isn't text.
    #[error("the variable {name} is not UTF-8")]
    NotText {
        /// Its name.
        name: String,
    },
    /// A value that can't be used.
    #[error("{origin}: `{key}`: {message}")]
    Value {
        /// Where it stands.
        origin: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// There is no home folder to derive the data folder from.
    #[error("there is no HOME to keep data in; choose a folder with --data")]
    NoHome,
}

impl SettingsError {
    pub(super) fn value(error: figment::Error) -> Self {
        let origin = error.metadata.as_ref().map_or("settings", |metadata| &*metadata.name);
        Self::Value {
            origin: origin.to_owned(),
            key: error.path.join("."),
            message: error.kind.to_string(),
        }
    }
}

/// Refuses keys that don't exist. A section's name passes: its type is checked later.
pub(super) fn check_key(given: &Given) -> Result<(), SettingsError> {
    let key = given.key.as_str();
    if keys::KEYS.iter().any(|known| known.name == key) || keys::is_section(key) {
        return Ok(());
    }
    let nearest = keys::nearest(key);
    let nearest = match given.origin.starts_with("AETHER_") {
        true => keys::variable(nearest),
        false => format!("`{nearest}`"),
    };
    Err(SettingsError::UnknownKey { origin: given.origin.clone(), key: key.to_owned(), nearest })
}

/// The values of a file, each with its line.
pub(super) fn from_file(path: &Path) -> Result<Vec<Given>, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Read { path: path.to_path_buf(), source })?;
    let line_at = |offset: usize| 1 + text[..offset.min(text.len())].matches('\n').count();
    let syntax = |error: toml::de::Error| SettingsError::Syntax {
        path: path.to_path_buf(),
        line: line_at(error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    };
    let values: toml::Table = text.parse().map_err(syntax)?;
    let spans = DeTable::parse(&text).map_err(syntax)?;
    let mut given = Vec::new();
    let origin = |offset| format!("{}:{}", path.display(), line_at(offset));
    leaves(&values, spans.get_ref(), "", &origin, &mut given);
    Ok(given)
}

/// Walks a table and its positions side by side, down to what isn't a table or is an empty one.
fn leaves(
    values: &toml::Table,
    spans: &DeTable<'_>,
    prefix: &str,
    origin: &impl Fn(usize) -> String,
    given: &mut Vec<Given>,
) {
    for (name, value) in values {
        let key = format!("{prefix}{name}");
        let found = spans.get_key_value(name.as_str());
        let inner = found.and_then(|(_, span)| span.get_ref().as_table());
        match (value.as_table(), inner) {
            (Some(values), Some(spans)) if !values.is_empty() => {
                leaves(values, spans, &format!("{key}."), origin, given);
            }
            _ => {
                let offset = found.map_or(0, |(name, _)| Spanned::span(name).start);
                // A TOML value is always one of figment's, but for dates, which no key takes.
                let value = Value::serialize(value).unwrap_or_else(|_| value.to_string().into());
                given.push(Given { origin: origin(offset), key, value });
            }
        }
    }
}

/// The values of variables `AETHER_KEY` and `AETHER_SECTION__KEY`; their values stay text.
pub(super) fn from_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<Given>, SettingsError> {
    let mut given = Vec::new();
    for (name, value) in environment {
        let Some(name) = name.to_str() else { continue };
        let Some(rest) = name.strip_prefix("AETHER_") else { continue };
        if OTHER_VARIABLES.contains(&rest) || is_service_link(rest) {
            continue;
        }
        let value =
            value.into_string().map_err(|_| SettingsError::NotText { name: name.to_owned() })?;
        let key = rest.replace("__", ".").to_lowercase();
        given.push(Given { origin: name.to_owned(), key, value: value.into() });
    }
    given.sort_by(|a, b| a.origin.cmp(&b.origin));
    Ok(given)
}

/// Kubernetes sets these in every pod beside a service named `aether`; nobody meant them for us.
fn is_service_link(rest: &str) -> bool {
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}
