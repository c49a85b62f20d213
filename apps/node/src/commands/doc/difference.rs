//! What differs between two texts, line by line.

use std::{fmt::Write as _, time::Duration};

use similar::{ChangeTag, TextDiff};

use crate::output;

/// How long a difference is looked for; then it is told as it is found.
const TIMEOUT: Duration = Duration::from_secs(2);

const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const CYAN: &str = "\u{1b}[36m";
const PLAIN: &str = "\u{1b}[0m";

/// The lines that differ, as a unified diff with so many lines around each; nothing if none do.
/// Control characters are escaped.
pub(super) fn difference(from: &str, to: &str, around: usize, is_coloured: bool) -> String {
    let diff = TextDiff::configure().timeout(TIMEOUT).diff_lines(from, to);
    let mut text = String::new();
    let mut line = |colour: &str, line: &str| {
        // Writing into a string never fails.
        let _ = match is_coloured && !colour.is_empty() {
            true => writeln!(text, "{colour}{line}{PLAIN}"),
            false => writeln!(text, "{line}"),
        };
    };
    for hunk in diff.unified_diff().context_radius(around).iter_hunks() {
        line(CYAN, &hunk.header().to_string());
        for change in hunk.iter_changes() {
            let (colour, sign) = match change.tag() {
                ChangeTag::Delete => (RED, '-'),
                ChangeTag::Insert => (GREEN, '+'),
                ChangeTag::Equal => ("", ' '),
            };
            let value = change.value();
            let end = value.strip_suffix('\n');
            line(colour, &format!("{sign}{}", output::plain(end.unwrap_or(value))));
            if end.is_none() {
                line("", "\\ No newline at end of file");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told_and_nothing_talks_to_the_terminal() {
        let (from, to) = ("a\nb\nc\nd\ne\n", "a\nb\nx\u{1b}[31m\nd\ne\nf");
        let expected =
            "@@ -3 +3 @@\n-c\n+x\\u{1b}[31m\n@@ -5,0 +6 @@\n+f\n\\ No newline at end of file\n";
        assert_eq!(difference(from, to, 0, false), expected);
        assert_eq!(difference(from, from, 3, true), "");
        let coloured = difference("a\n", "b\n", 3, true);
        assert!(
            coloured.contains("\u{1b}[31m-a\u{1b}[0m\n\u{1b}[32m+b\u{1b}[0m\n"),
            "{coloured:?}"
        );
    }
}
