//! Versions, as people name them.

use anyhow::bail;

use crate::{api::DocumentChange, cli::Paper, commands::Connected};

/// Digits of a whole hash.
const WHOLE: usize = 64;

/// The version that somebody means: one or more hashes of changes with commas, each whole or as
/// much of its beginning as no other change has.
pub(super) async fn found(
    node: &Connected,
    paper: &Paper,
    text: Option<&str>,
) -> anyhow::Result<Option<Vec<String>>> {
    let Some(text) = text else { return Ok(None) };
    let hashes: Vec<String> = text.split(',').map(|part| part.trim().to_lowercase()).collect();
    if hashes.iter().all(|hash| hash.len() == WHOLE) {
        return Ok(Some(hashes));
    }
    let changes = node.client.document_history(&paper.space, &paper.name).await;
    let changes = node.explain(changes)?;
    hashes.iter().map(|hash| whole(&changes, hash)).collect::<anyhow::Result<_>>().map(Some)
}

/// The change whose hash begins so. That with which documents begin is in no history, but those
/// after it name it.
fn whole(changes: &[DocumentChange], beginning: &str) -> anyhow::Result<String> {
    let all = changes.iter().flat_map(|change| change.deps.iter().chain([&change.change]));
    let mut fitting: Vec<&String> = all.filter(|hash| hash.starts_with(beginning)).collect();
    fitting.sort_unstable();
    fitting.dedup();
    match fitting[..] {
        _ if beginning.is_empty() => {
            bail!("a version is a hash of a change; `aether doc history` shows them")
        }
        [hash] => Ok(hash.clone()),
        [] => bail!("no change's hash begins with {beginning:?}; `aether doc history` shows them"),
        _ => bail!("the hashes of {} changes begin with {beginning:?}: give more", fitting.len()),
    }
}

#[cfg(test)]
mod tests {
    use aether_mesh::PeerId;

    use super::*;

    #[test]
    fn a_change_is_named_by_what_no_other_begins_with() {
        let change = |hash: &str, dep: &str| DocumentChange {
            change: hash.into(),
            author: PeerId::random(),
            time: String::new(),
            operations: 1,
            deps: vec![dep.into()],
            counts: true,
        };
        let changes = [change("ab12", "ff00"), change("ab34", "ab12")];
        let found = |beginning: &str| whole(&changes, beginning).map_err(|error| error.to_string());
        assert_eq!(found("ab1").unwrap(), "ab12");
        assert_eq!(found("f").unwrap(), "ff00");
        assert!(found("ab").unwrap_err().contains("2 changes"));
        for none in ["b", "ab123", ""] {
            assert!(found(none).unwrap_err().contains("aether doc history"), "{none}");
        }
    }
}
