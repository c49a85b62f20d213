//! Keys and values of partitioned maps.

use aether_crdt::{ScanCursor, ScanPage};
use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::Value;

use super::{open_at, undone};
use crate::api::{Api, Level, MapEntry, PmapPage, Problem, spaces::AnyJson};

/// Entries of a page, unless another number is asked for.
const ENTRIES: usize = 100;

/// How to write.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::api) struct Writing {
    level: Level,
    deadline_seconds: Option<f64>,
}

/// How to read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::api) struct Reading {
    level: Level,
    deadline_seconds: Option<f64>,
    all: bool,
}

/// Which part to read, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::api) struct Scanning {
    level: Level,
    deadline_seconds: Option<f64>,
    from: Option<String>,
    limit: Option<usize>,
}

/// The value of a key, read from as many of its owners as the level says.
///
/// Writes that don't know of each other leave several values: this is the latest by hybrid time,
/// and with `all` an array of all of them, the latest last. The next put resolves them.
#[utoipa::path(get, path = "/v1/pmaps/{map}/items/{key}",
    params(
        ("map" = String, Path, description = "The map's id, or its name."),
        ("key" = String, Path, description = "The key, percent-encoded, at most 1,024 bytes."),
        ("level" = Option<Level>, Query, description = "How many owners must answer."),
        ("deadline_seconds" = Option<f64>, Query, description = "10 by default, a day at most."),
        ("all" = Option<bool>, Query, description = "All values, as an array."),
    ),
    responses(
        (status = 200, body = Value),
        (status = 404, description = "No such map, or nothing at the key.", body = Problem),
        (status = 409, description = "Several have the name, or it is closed or no partitioned \
            map.", body = Problem),
        (status = 503, description = "It has no members yet, as far as is known here.",
            body = Problem),
        (status = 504, description = "Too few owners answered in time.", body = Problem),
    ))]
pub(in crate::api) async fn value(
    State(api): State<Api>,
    Path((map, key)): Path<(String, String)>,
    Query(reading): Query<Reading>,
) -> Result<Json<Value>, Problem> {
    let map = open_at(&api, &map, reading.level, reading.deadline_seconds).await?;
    let found = if reading.all {
        let all = map.all(&key).await.map_err(undone)?;
        let all: Vec<Value> = all.into_iter().map(|AnyJson(value)| value).collect();
        (!all.is_empty()).then_some(Value::Array(all))
    } else {
        map.get(&key).await.map_err(undone)?.map(|AnyJson(value)| value)
    };
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("nothing is at the key {key:?}"));
    found.map(Json).ok_or_else(missing)
}

/// Gives a key a value, which is any JSON. As many of its owners as the level says hold it, synced,
/// when this answers. One that isn't confirmed in time may be done all the same.
#[utoipa::path(put, path = "/v1/pmaps/{map}/items/{key}",
    params(
        ("map" = String, Path, description = "The map's id, or its name."),
        ("key" = String, Path, description = "The key, percent-encoded, at most 1,024 bytes."),
        ("level" = Option<Level>, Query, description = "How many owners must hold it."),
        ("deadline_seconds" = Option<f64>, Query, description = "10 by default, a day at most."),
    ),
    request_body = Value,
    responses(
        (status = 204),
        (status = 404, description = "No such map.", body = Problem),
        (status = 409, description = "Several have the name, or it is closed or no partitioned \
            map.", body = Problem),
        (status = 413, description = "The key or the value is too large.", body = Problem),
        (status = 503, description = "It has no members yet, as far as is known here.",
            body = Problem),
        (status = 504, description = "Too few owners confirmed it in time.", body = Problem),
    ))]
pub(in crate::api) async fn put(
    State(api): State<Api>,
    Path((map, key)): Path<(String, String)>,
    Query(writing): Query<Writing>,
    Json(value): Json<Value>,
) -> Result<StatusCode, Problem> {
    let map = open_at(&api, &map, writing.level, writing.deadline_seconds).await?;
    map.put(&key, &AnyJson(value)).await.map_err(undone)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes what an owner holds at a key. That nothing is there is no error.
#[utoipa::path(delete, path = "/v1/pmaps/{map}/items/{key}",
    params(
        ("map" = String, Path, description = "The map's id, or its name."),
        ("key" = String, Path, description = "The key, percent-encoded, at most 1,024 bytes."),
        ("level" = Option<Level>, Query, description = "How many owners must know."),
        ("deadline_seconds" = Option<f64>, Query, description = "10 by default, a day at most."),
    ),
    responses(
        (status = 204),
        (status = 404, description = "No such map.", body = Problem),
        (status = 409, description = "Several have the name, or it is closed or no partitioned \
            map.", body = Problem),
        (status = 503, description = "It has no members yet, as far as is known here.",
            body = Problem),
        (status = 504, description = "Too few owners confirmed it in time.", body = Problem),
    ))]
pub(in crate::api) async fn remove(
    State(api): State<Api>,
    Path((map, key)): Path<(String, String)>,
    Query(writing): Query<Writing>,
) -> Result<StatusCode, Problem> {
    let map = open_at::<String>(&api, &map, writing.level, writing.deadline_seconds).await?;
    map.remove(&key).await.map_err(undone)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Some keys of one partition with their values. Page by page come all keys, partition by partition
/// and in each ascending; what is written meanwhile may be among them or not.
#[utoipa::path(get, path = "/v1/pmaps/{map}/items",
    params(
        ("map" = String, Path, description = "The map's id, or its name."),
        ("level" = Option<Level>, Query, description = "How many owners must answer."),
        ("deadline_seconds" = Option<f64>, Query, description = "10 by default, a day at most."),
        ("from" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<usize>, Query, description = "100 by default, 1,024 at most."),
    ),
    responses(
        (status = 200, body = PmapPage),
        (status = 404, description = "No such map.", body = Problem),
        (status = 409, description = "Several have the name, or it is closed or no partitioned \
            map.", body = Problem),
        (status = 422, description = "`from` is no page's `next`.", body = Problem),
        (status = 503, description = "It has no members yet, as far as is known here.",
            body = Problem),
        (status = 504, description = "Too few owners answered in time.", body = Problem),
    ))]
pub(in crate::api) async fn page(
    State(api): State<Api>,
    Path(map): Path<String>,
    Query(scanning): Query<Scanning>,
) -> Result<Json<PmapPage>, Problem> {
    let Scanning { level, deadline_seconds, from, limit } = scanning;
    let wrong = |error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error);
    let from: Option<ScanCursor> = from.map(|from| from.parse().map_err(wrong)).transpose()?;
    let map = open_at::<Vec<u8>>(&api, &map, level, deadline_seconds).await?;
    let page = map.scan(from, limit.unwrap_or(ENTRIES)).await.map_err(undone)?;
    Ok(Json(described(page)))
}

fn described(page: ScanPage<Vec<u8>, AnyJson>) -> PmapPage {
    let ScanPage { items, mut unreadable, next } = page;
    let mut entries = Vec::with_capacity(items.len());
    for (key, AnyJson(value)) in items {
        match String::from_utf8(key) {
            Ok(key) => entries.push(MapEntry { key, value }),
            Err(_) => unreadable += 1,
        }
    }
    let next = next.map(|next| next.to_string());
    PmapPage { entries, next, unreadable: unreadable as u64 }
}
