//! What people and programs read.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use serde::Serialize;

/// Prints an error with its causes, and a hint if one of them has one.
pub(crate) fn report(error: &anyhow::Error) {
    let mut text = String::from("error: ");
    for (depth, cause) in error.chain().enumerate() {
        let cause = cause.to_string();
        // Some libraries repeat their source.
        if depth > 0 && !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        } else if depth == 0 {
            text.push_str(&cause);
        }
    }
    note(&text);
}

/// An error with what caused it, on one line.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", told(source)),
        None => error.to_string(),
    }
}

/// Tells a person something beside the output. That nobody listens is no reason to stop.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints a line.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints a value as JSON, on one line or, for people that look at it, on several.
pub(crate) fn json<T: Serialize>(value: &T) -> io::Result<()> {
    let text = match io::stdout().is_terminal() {
        true => serde_json::to_string_pretty(value)?,
        false => serde_json::to_string(value)?,
    };
    line(&text)
}

/// Whether `NO_COLOR` is set (no-color.org).
pub(crate) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether what is printed may have colours: on a terminal, unless `NO_COLOR` is set.
pub(crate) fn is_coloured() -> bool {
    io::stdout().is_terminal() && !no_color()
}

/// A table without lines, with this header.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if no_color() {
        table.force_no_tty();
    }
    table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    table
}

/// Text from elsewhere, with control characters escaped: it can't break a line, nor talk to the
/// terminal.
pub(crate) fn plain(text: &str) -> String {
    let escape = |c: char| match c {
        '\t' => "\t".to_owned(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// A time in its two largest units.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let text = humantime::format_duration(Duration::from_secs(whole)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_its_line() {
        assert_eq!(plain("a\tb ä"), "a\tb ä");
        assert_eq!(plain("a\nb\u{1b}[31m\u{9b}"), "a\\nb\\u{1b}[31m\\u{9b}");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(0.4), "0s");
        assert_eq!(duration(3_725.9), "1h 2m");
        assert_eq!(duration(f64::NAN), "0s");
    }
}
