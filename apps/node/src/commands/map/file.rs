//! Maps from files, and to files: JSON lines, or CSV.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, IsTerminal as _, Read, Write},
    path::Path,
};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::{Connected, PAGE, page, warn_of};
use crate::{
    api::{MapBatch, MapEntry},
    cli::{Common, Exported, Format, Imported, Output, Table},
    output,
};

/// Keys that are put at once.
const BATCH: usize = 1000;
/// Bytes of JSON that are put at once, about; the interface takes 4 MiB.
const BATCH_BYTES: usize = 1 << 20;

pub(super) async fn import(common: &Common, imported: &Imported) -> anyhow::Result<()> {
    let Imported { place, file, table } = imported;
    let node = Connected::new(common, &place.remote)?;
    let (from, size) = open(file)?;
    let bar = bar(size);
    let mut entries = entries(Box::new(bar.wrap_read(from)), table.of(file), *table);
    let (mut done, mut number) = (0, 0);
    loop {
        let mut batch = MapBatch::default();
        let mut bytes = 0;
        while batch.put.len() < BATCH && bytes < BATCH_BYTES {
            let Some(entry) = entries.next() else { break };
            number += 1;
            let MapEntry { key, value } = entry.with_context(|| {
                format!("record {number} of {} is no key and value", file.display())
            })?;
            bytes += key.len() + value.to_string().len();
            // Of several values of a key the last counts, as if they were put one by one.
            batch.put.insert(key, value);
        }
        if batch.put.is_empty() {
            break;
        }
        let written = node.client.write_map(&place.space, &place.map, &batch).await;
        node.explain(written).with_context(|| format!("stopped after {done} keys"))?;
        done += batch.put.len();
    }
    bar.finish_and_clear();
    match common.output {
        Output::Json => Ok(output::json(&serde_json::json!({ "put": done }))?),
        Output::Table => {
            output::note(&format!("{done} keys put"));
            Ok(())
        }
    }
}

/// The file, and its size if it has one.
fn open(file: &Path) -> anyhow::Result<(Box<dyn Read + Send>, Option<u64>)> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let opened = File::open(file).with_context(|| format!("can't read {}", file.display()))?;
    let size = opened.metadata().ok().map(|metadata| metadata.len());
    Ok((Box::new(opened), size))
}

/// A bar on a terminal, and nothing elsewhere.
fn bar(size: Option<u64>) -> ProgressBar {
    let Some(size) = size.filter(|_| io::stderr().is_terminal()) else {
        return ProgressBar::hidden();
    };
    const STYLE: &str =
        "importing {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(STYLE).expect("the template is sound");
    ProgressBar::new(size).with_style(style)
}

type Entries = Box<dyn Iterator<Item = anyhow::Result<MapEntry>> + Send>;

/// What a file holds, read as it is asked for.
fn entries(from: Box<dyn Read + Send>, format: Format, table: Table) -> Entries {
    match format {
        Format::Jsonl => Box::new(lines(BufReader::new(from))),
        Format::Csv => {
            let mut records = csv::Reader::from_reader(from).into_records();
            let mut columns = None;
            Box::new(std::iter::from_fn(move || {
                let columns = match columns {
                    Some(columns) => columns,
                    None => match find(records.reader_mut()) {
                        Ok(found) => *columns.insert(found),
                        Err(error) => return Some(Err(error)),
                    },
                };
                let record = records.next()?;
                Some(record.map_err(Into::into).and_then(|record| read(&record, columns, table)))
            }))
        }
    }
}

fn lines(from: impl BufRead + Send) -> impl Iterator<Item = anyhow::Result<MapEntry>> + Send {
    let lines =
        from.lines().filter(|line| line.as_ref().map_or(true, |line| !line.trim().is_empty()));
    lines.map(|line| Ok(serde_json::from_str(&line?)?))
}

/// Where the columns of keys and values are.
fn find(records: &mut csv::Reader<Box<dyn Read + Send>>) -> anyhow::Result<(usize, usize)> {
    let header = records.headers()?;
    let place = |name: &str| header.iter().position(|column| column.trim() == name);
    place("key").zip(place("value")).context("the header has no columns named key and value")
}

fn read(
    record: &csv::StringRecord,
    (key, value): (usize, usize),
    table: Table,
) -> anyhow::Result<MapEntry> {
    // The reader has seen to it that all records are as long as the header.
    let field = |place| record.get(place).unwrap_or_default();
    let value = match table.text {
        true => Value::String(field(value).to_owned()),
        false => serde_json::from_str(field(value))
            .context("the value is no JSON; if all are text, say --text")?,
    };
    Ok(MapEntry { key: field(key).to_owned(), value })
}

pub(super) async fn export(common: &Common, exported: &Exported) -> anyhow::Result<()> {
    let Exported { place, file, table } = exported;
    let node = Connected::new(common, &place.remote)?;
    let out: Box<dyn Write + Send> = match file == Path::new("-") {
        true => Box::new(io::stdout()),
        false => Box::new(BufWriter::new(File::create_new(file).with_context(|| {
            format!("can't make {}, where nothing may be yet", file.display())
        })?)),
    };
    let mut sink = Sink::new(out, table.of(file), *table)?;
    let (mut after, mut done, mut unreadable) = (None::<String>, 0, 0);
    loop {
        let page = page(&node, place, "", after.as_deref(), PAGE).await?;
        unreadable += page.unreadable;
        done += page.entries.len();
        page.entries.iter().try_for_each(|entry| sink.write(entry))?;
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    sink.finish()?;
    warn_of(unreadable);
    if file != Path::new("-") {
        output::note(&format!("{done} keys written to {}", file.display()));
    }
    Ok(())
}

/// A file that is written.
enum Sink {
    Jsonl(Box<dyn Write + Send>),
    Csv(Box<csv::Writer<Box<dyn Write + Send>>>, Table),
}

impl Sink {
    fn new(out: Box<dyn Write + Send>, format: Format, table: Table) -> anyhow::Result<Self> {
        if format == Format::Jsonl {
            return Ok(Self::Jsonl(out));
        }
        let mut out = csv::Writer::from_writer(out);
        out.write_record(["key", "value"]).map_err(plain)?;
        Ok(Self::Csv(Box::new(out), table))
    }

    fn write(&mut self, entry: &MapEntry) -> anyhow::Result<()> {
        match self {
            Self::Jsonl(out) => Ok(writeln!(out, "{}", serde_json::to_string(entry)?)?),
            Self::Csv(out, table) => {
                let value = match (&entry.value, table.text) {
                    (Value::String(text), true) => text.clone(),
                    (_, true) => {
                        bail!("the value of {:?} is no text: leave --text out", entry.key)
                    }
                    (value, false) => value.to_string(),
                };
                Ok(out.write_record([&entry.key, &value]).map_err(plain)?)
            }
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Jsonl(out) => out.flush(),
            Self::Csv(out, _) => out.flush(),
        }
    }
}

/// What the system said, so that a reader of the output who is gone is known for that.
fn plain(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use serde_json::json;

    use super::*;

    fn table(text: bool) -> Table {
        Table { format: None, text }
    }

    fn import(text: &str, format: Format, is_text: bool) -> anyhow::Result<Vec<MapEntry>> {
        let from = Box::new(Cursor::new(text.to_owned()));
        entries(from, format, table(is_text)).collect()
    }

    #[test]
    fn csv_has_columns_by_their_names_and_values_as_json_or_text() {
        let csv = "value, key\n\"{\"\"a\"\": 1}\",one\n7,\"t\nwo\"\n";
        let found = import(csv, Format::Csv, false).unwrap();
        let one = MapEntry { key: "one".into(), value: json!({"a": 1}) };
        assert_eq!(found, [one, MapEntry { key: "t\nwo".into(), value: json!(7) }]);
        let text = import("key,value\na,7\n", Format::Csv, true).unwrap();
        assert_eq!(text, [MapEntry { key: "a".into(), value: json!("7") }]);
        for wrong in ["key,worth\na,1\n", "key,value\na\n", "key,value\na,text\n"] {
            assert!(import(wrong, Format::Csv, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_exported_is_imported_as_it_was() {
        let all = [("", json!(null)), ("a,\"b\"\nc", json!(["x", 1.5])), ("ü", json!("text"))];
        let all = all.map(|(key, value)| MapEntry { key: key.into(), value });
        for format in [Format::Jsonl, Format::Csv] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let out = Box::new(file.reopen().unwrap());
            let mut sink = Sink::new(out, format, table(false)).unwrap();
            all.iter().for_each(|entry| sink.write(entry).unwrap());
            sink.finish().unwrap();
            let text = std::fs::read_to_string(file.path()).unwrap();
            assert_eq!(import(&text, format, false).unwrap(), all, "{text}");
        }
    }
}
