//! Parts of maps.

use std::ops::Bound;

use aether_crdt::{LookupError, Map};
use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Deserialize;

use super::{AnyJson, blocking, open};
use crate::api::{Api, MapEntry, MapPage, Problem};

/// Entries of a page, unless another number is asked for.
const ENTRIES: usize = 100;
/// Most entries of a page.
const MAX_ENTRIES: usize = 1000;
/// Bytes of keys and values in JSON, above which a page ends.
const MAX_BYTES: usize = 4 << 20;

/// Which part of a map.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::api) struct Part {
    prefix: String,
    after: Option<String>,
    limit: Option<usize>,
}

/// A part of a map, ascending by the bytes of the keys. It ends after 4 MiB, be it short of the
/// limit.
#[utoipa::path(get, path = "/v1/spaces/{space}/maps/{map}",
    params(
        ("space" = String, Path, description = "The space's id, or its name."),
        ("map" = String, Path, description = "The map's name."),
        ("prefix" = Option<String>, Query, description = "Only keys that begin so."),
        ("after" = Option<String>, Query,
            description = "Only keys behind this one: `next` of the page before."),
        ("limit" = Option<usize>, Query, description = "100 by default, 1,000 at most."),
    ),
    responses(
        (status = 200, body = MapPage),
        (status = 404, description = "No such space.", body = Problem),
        (status = 500, description = "What is stored can't be read.", body = Problem),
    ))]
pub(in crate::api) async fn page(
    State(api): State<Api>,
    Path((space, map)): Path<(String, String)>,
    Query(part): Query<Part>,
) -> Result<Json<MapPage>, Problem> {
    let map = open(&api, &space).await?.map(&map);
    blocking(move || read(&map, &part)).await.map(Json)
}

fn read(map: &Map<Vec<u8>, AnyJson>, part: &Part) -> Result<MapPage, LookupError> {
    let limit = part.limit.unwrap_or(ENTRIES).clamp(1, MAX_ENTRIES);
    let mut page = MapPage { entries: Vec::new(), next: None, unreadable: 0 };
    let Some(keys) = keys(&part.prefix, part.after.as_deref()) else { return Ok(page) };
    let mut bytes = 0;
    for item in map.range(keys) {
        let (key, AnyJson(value)) = match item {
            Ok((key, value)) => (String::from_utf8(key), value),
            Err(LookupError::Store(error)) => return Err(error.into()),
            // One value that somebody wrote badly doesn't hide the others.
            Err(_) => {
                page.unreadable += 1;
                continue;
            }
        };
        let Ok(key) = key else {
            page.unreadable += 1;
            continue;
        };
        bytes += key.len() + value.to_string().len();
        let is_full = page.entries.len() + 1 == limit || bytes >= MAX_BYTES;
        page.next = is_full.then(|| key.clone());
        page.entries.push(MapEntry { key, value });
        if is_full {
            break;
        }
    }
    Ok(page)
}

/// Where keys begin, and where they end.
type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The keys behind one that begin so; `None` if there can't be any.
fn keys(prefix: &str, after: Option<&str>) -> Option<Bounds> {
    let from = match after {
        Some(after) if after >= prefix && !after.starts_with(prefix) => return None,
        Some(after) if after >= prefix => Bound::Excluded(after.into()),
        _ => Bound::Included(prefix.into()),
    };
    // The least that begins otherwise and sorts behind. No byte of UTF-8 is the last there is.
    let mut below = Vec::from(prefix);
    let below = match below.last_mut() {
        Some(last) => {
            *last += 1;
            Bound::Excluded(below)
        }
        None => Bound::Unbounded,
    };
    Some((from, below))
}

#[cfg(test)]
mod tests {
    use std::ops::RangeBounds as _;

    use super::*;

    #[test]
    fn the_range_holds_what_begins_so_and_is_behind() {
        let all = ["", "a", "b", "b/", "b/1", "b/2", "b0", "c", "\u{10ffff}"];
        for prefix in ["", "b", "b/", "z", "\u{10ffff}"] {
            for after in all.map(Some).into_iter().chain([None]) {
                let range = keys(prefix, after);
                for key in all {
                    let expected = key.starts_with(prefix) && after.is_none_or(|a| key > a);
                    let bytes = Vec::from(key);
                    let found = range.as_ref().is_some_and(|range| range.contains(&bytes));
                    assert_eq!(found, expected, "{key:?} of {prefix:?} after {after:?}");
                }
            }
        }
    }
}
