//! What somebody types.

use std::{fs::File, io::Read as _, path::Path, process::Command};

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

/// One edit: from where, how many characters go, and what comes.
pub(super) type Splice = (usize, usize, String);

/// Edits, and the text that they end with.
pub(super) struct History {
    pub(super) edits: Vec<Splice>,
    pub(super) end: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    start_content: String,
    end_content: String,
    txns: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    patches: Vec<Splice>,
}

impl History {
    /// At most so many edits: of a file, or generated.
    pub(super) fn new(trace: Option<&Path>, count: usize, seed: u64) -> anyhow::Result<Self> {
        match trace {
            Some(path) => Self::read(path, count),
            None => Ok(Self::generate(count, seed)),
        }
    }

    fn read(path: &Path, count: usize) -> anyhow::Result<Self> {
        let what = || format!("{} is no sequential trace", path.display());
        let mut bytes = Vec::new();
        if path.extension().is_some_and(|ending| ending == "gz") {
            let unpacked = Command::new("gzip").arg("-dc").arg(path).output();
            bytes = unpacked.context("gzip is needed to read what ends with .gz")?.stdout;
        } else {
            let file = File::open(path);
            file.with_context(|| format!("can't open {}", path.display()))?
                .read_to_end(&mut bytes)?;
        }
        let trace: Trace = serde_json::from_slice(&bytes).with_context(what)?;
        anyhow::ensure!(trace.start_content.is_empty(), what());
        let mut edits: Vec<Splice> = trace.txns.into_iter().flat_map(|txn| txn.patches).collect();
        if edits.len() <= count {
            return Ok(Self { edits, end: trace.end_content });
        }
        edits.truncate(count);
        let mut text = Vec::new();
        for (at, delete, insert) in &edits {
            text.splice(*at..at + delete, insert.chars());
        }
        Ok(Self { edits, end: text.into_iter().collect() })
    }

    /// Runs of letters, typed here and there, and one in eight edits a deletion.
    fn generate(count: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut text, mut edits, mut at): (Vec<u8>, _, usize) = (Vec::new(), Vec::new(), 0);
        while edits.len() < count {
            if rng.random_ratio(1, 50) {
                at = rng.random_range(0..=text.len());
            }
            if at > 0 && rng.random_ratio(1, 8) {
                at -= 1;
                text.remove(at);
                edits.push((at, 1, String::new()));
            } else {
                let letter = b"etaoin shrdlu"[rng.random_range(0..13)];
                text.insert(at, letter);
                edits.push((at, 0, char::from(letter).to_string()));
                at += 1;
            }
        }
        Self { edits, end: text.into_iter().map(char::from).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_history_ends_with_its_text_and_is_the_same_for_a_seed() {
        let (one, other) = (History::generate(500, 1), History::generate(500, 1));
        assert_eq!((one.edits.len(), &one.edits), (500, &other.edits));
        let mut text = Vec::new();
        for (at, delete, insert) in &one.edits {
            text.splice(*at..at + delete, insert.chars());
        }
        assert_eq!(text.into_iter().collect::<String>(), one.end);
        assert_ne!(History::generate(500, 2).end, one.end);
    }

    #[test]
    fn a_trace_is_read_and_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        let trace = r#"{"startContent":"","endContent":"ac","txns":[
            {"patches":[[0,0,"a"],[1,0,"b"]]},{"patches":[[1,1,"c"]]}]}"#;
        std::fs::write(&path, trace).unwrap();
        let all = History::new(Some(&path), 9, 0).unwrap();
        assert_eq!((all.edits.len(), &*all.end), (3, "ac"));
        assert_eq!(History::new(Some(&path), 2, 0).unwrap().end, "ab");
        std::fs::write(&path, "{}").unwrap();
        assert!(History::new(Some(&path), 2, 0).is_err());
    }
}
