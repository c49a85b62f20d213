//! The lists of mutants: each has to break a line that is there.

use std::{fs, path::Path};

use crate::house::workspace;

/// A paragraph of a list; what the lines mean says `testnet/mutants.sh`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mutant {
    name: String,
    file: String,
    old: Vec<String>,
    new: Vec<String>,
}

fn read(list: &str) -> Vec<Mutant> {
    let mut all: Vec<Mutant> = Vec::new();
    for line in list.lines() {
        if let Some(name) = line.strip_prefix("= ") {
            all.push(Mutant { name: name.to_owned(), ..Mutant::default() });
            continue;
        }
        let code = |sign| {
            let rest = line.strip_prefix(sign)?;
            Some(rest.strip_prefix(' ').unwrap_or(rest).to_owned())
        };
        let Some(mutant) = all.last_mut() else { continue };
        if let Some(old) = code('-') {
            mutant.old.push(old);
        } else if let Some(new) = code('+') {
            mutant.new.push(new);
        } else if !line.is_empty() && !line.starts_with(['#', '!']) {
            assert!(mutant.file.is_empty(), "{}: what is this line? {line}", mutant.name);
            mutant.file = line.to_owned();
        }
    }
    all
}

/// What is wrong with a mutant of a file with this text.
fn wrong(mutant: &Mutant, text: &str) -> Option<&'static str> {
    let old = mutant.old.join("\n");
    match text.matches(&old).count() {
        _ if old.is_empty() => Some("it says no line that it breaks"),
        _ if mutant.old == mutant.new => Some("it changes nothing"),
        0 => Some("its lines aren't there"),
        1 => None,
        _ => Some("its lines are there more than once"),
    }
}

fn check(folder: &Path) -> Option<Vec<String>> {
    let list = fs::read_to_string(folder.join("mutants.txt")).ok()?;
    let mutants = read(&list);
    let mut found = Vec::new();
    for (at, mutant) in mutants.iter().enumerate() {
        let file = folder.join(&mutant.file);
        let wrong = match fs::read_to_string(&file) {
            Ok(text) => wrong(mutant, &text),
            Err(_) => Some("its file isn't there"),
        };
        let is_twin = mutants[..at].iter().any(|other| other.name == mutant.name);
        let wrong = wrong.or(is_twin.then_some("another has its name"));
        found.extend(wrong.map(|why| format!("{}: {}: {why}", file.display(), mutant.name)));
    }
    Some(found)
}

#[test]
fn every_mutant_fits_the_code() {
    let workspace = workspace();
    let folders = workspace.packages.iter().map(|package| package.manifest_path.parent());
    let folders = folders.map(|folder| folder.expect("a manifest is in a folder").as_std_path());
    let lists: Vec<_> = folders.filter_map(check).collect();
    assert!(!lists.is_empty(), "no list is found");
    let found = lists.concat();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_mutant_that_does_not_fit_is_found() {
    let list = "# About.\n\n! --lib\n\n= one\nsrc/a.rs\n-     a;\n-\n-     b;\n+     c;\n";
    let mutants = read(list);
    let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    let one = Mutant {
        name: "one".to_owned(),
        file: "src/a.rs".to_owned(),
        old: lines(&["    a;", "", "    b;"]),
        new: lines(&["    c;"]),
    };
    assert_eq!(mutants, [one]);
    let mutant = &mutants[0];
    assert_eq!(wrong(mutant, "{\n    a;\n\n    b;\n}\n"), None);
    assert!(wrong(mutant, "{\n    a;\n}\n").is_some());
    assert!(wrong(mutant, "    a;\n\n    b;\n    a;\n\n    b;\n").is_some());
    let idle = Mutant { new: mutant.old.clone(), ..read(list).remove(0) };
    assert!(wrong(&idle, "    a;\n\n    b;\n").is_some());
}
