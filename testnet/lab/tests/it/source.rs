//! Rules that the source of all members must keep. They go by lines, and rely on rustfmt.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::house::workspace;

const MAX_FUNCTION: usize = 70;
const MAX_COLUMNS: usize = 100;

/// What a pure protocol has no business with.
const IMPURE: [&str; 6] = ["HashMap", "HashSet", "Instant", "SystemTime", "tokio", "libp2p"];

/// All source files of the members, each once.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for package in &workspace().packages {
        let folder = package.manifest_path.parent().expect("a manifest is in a folder");
        for part in ["src", "tests", "examples", "benches", "build.rs"] {
            collect(folder.join(part).as_std_path(), &mut files);
        }
    }
    assert!(files.len() > 20, "only {files:?} are found");
    files
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder can be read") {
            collect(&entry.expect("a folder can be read").path(), files);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") && path.is_file() {
        files.push(path.to_owned());
    }
}

/// Applies a rule to all files, and fails with all that it finds.
fn all_keep(rule: fn(&Path, &str) -> Vec<String>) {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).expect("source can be read");
        wrong.extend(rule(&file, &text).into_iter().map(|w| format!("{}:{w}", file.display())));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn wide_lines(_: &Path, text: &str) -> Vec<String> {
    // A row of a table in the docs can't be broken.
    let is_row =
        |line: &str| ["//! |", "/// |"].iter().any(|row| line.trim_start().starts_with(row));
    let is_wide = |line: &str| line.chars().count() > MAX_COLUMNS && !is_row(line);
    let wide = text.lines().enumerate().filter(|(_, line)| is_wide(line));
    wide.map(|(at, _)| format!("{} has more than {MAX_COLUMNS} columns", at + 1)).collect()
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    const BEFORE: [&str; 8] =
        ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"C\""];
    let mut words = line.split_whitespace().skip_while(|word| BEFORE.contains(word));
    (words.next()? == "fn").then(|| words.next())?
}

fn long_functions(_: &Path, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut wrong = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function(line) else { continue };
        // The signature ends where the body begins, or without one.
        let signature = lines[at..].iter().position(|line| line.ends_with(['{', '}', ';']));
        let Some(open) = signature.filter(|open| lines[at + open].ends_with('{')) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let is_end = |line: &&str| line.strip_prefix(indent) == Some("}");
        let length = lines[at + open..].iter().position(is_end).map_or(0, |body| open + body + 1);
        if length > MAX_FUNCTION {
            let name = name.split(['(', '<']).next().unwrap_or(name);
            wrong.push(format!("{} {name} has {length} lines, over {MAX_FUNCTION}", at + 1));
        }
    }
    wrong
}

/// Whether a file belongs to a pure protocol.
fn is_proto(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.windows(2).any(|two| two[0] == "src" && matches!(two[1].as_ref(), "proto" | "proto.rs"))
}

fn impurities(path: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|_| is_proto(path)) {
        // What a comment explains is no use of it.
        let code = line.split("//").next().unwrap_or_default();
        let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let impure = words.filter(|word| IMPURE.contains(word));
        wrong.extend(impure.map(|word| format!("{} a pure protocol names {word}", at + 1)));
    }
    wrong
}

#[test]
fn lines_fit() {
    all_keep(wide_lines);
}

#[test]
fn functions_are_short() {
    all_keep(long_functions);
}

#[test]
fn protocols_are_pure() {
    assert!(sources().iter().any(|file| is_proto(file)), "no protocol is found");
    all_keep(impurities);
}

#[test]
fn what_breaks_the_rules_is_found() {
    let file = Path::new("mesh/src/proto/x.rs");
    let line = |columns| "ä".repeat(columns);
    assert_eq!(wide_lines(file, &line(MAX_COLUMNS)).len(), 0);
    assert_eq!(wide_lines(file, &line(MAX_COLUMNS + 1)).len(), 1);
    assert_eq!(wide_lines(file, &format!("//! | {} |", line(MAX_COLUMNS))).len(), 0);

    let function = |body: usize| {
        let arguments = "        x: X,\n        y: Y,\n        z: Z,\n";
        let signature = format!("    pub(crate) async fn f(\n{arguments}    ) -> u8 {{\n");
        format!(
            "trait A {{\n    fn g(&self);\n}}\n{signature}{}    }}\n",
            "        1;\n".repeat(body)
        )
    };
    assert_eq!(long_functions(file, &function(MAX_FUNCTION - 6)).len(), 0);
    let found = long_functions(file, &function(MAX_FUNCTION - 5));
    assert_eq!(found, ["4 f has 71 lines, over 70"]);

    let impure = "use std::{collections::HashMap, time::Instant}; // tokio\nlet instant = 1;\n";
    assert_eq!(impurities(file, impure).len(), 2);
    assert_eq!(impurities(Path::new("mesh/src/node.rs"), impure).len(), 0);
    assert!(is_proto(Path::new("mesh/src/proto.rs")));
}
