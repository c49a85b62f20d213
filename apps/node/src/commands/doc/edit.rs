//! `aether doc edit`.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

use super::connected;
use crate::{
    api::DocumentVersion,
    cli::{Common, Output, Paper},
    output,
};

/// What edits texts when nobody says otherwise.
const EDITOR: &str = "vi";

pub(super) async fn edit(common: &Common, paper: &Paper) -> anyhow::Result<()> {
    let node = connected(common, paper)?;
    let document = node.client.document(&paper.space, &paper.name, None).await;
    let base = node.explain(document)?.version;
    let text = node.client.document_text(&paper.space, &paper.name, Some(&base)).await;
    let text = node.explain(text)?;
    let mut file = tempfile::Builder::new()
        .prefix("aether-")
        .suffix(&suffix(&paper.name))
        .tempfile()
        .context("can't make a file to edit")?;
    file.write_all(text.as_bytes()).context("can't write the file to edit")?;
    // Ctrl-C in an editor, or at its shell, is no reason to lose what was typed.
    let _caught = signal(SignalKind::interrupt())?;
    let ran = run(file.path()).await;
    let typed = read(file.path()).map(|typed| ended_as(&text, typed));
    let typed = match (ran, typed) {
        (Ok(()), Ok(typed)) => typed,
        (Err(error), Ok(typed)) if typed == text => return Err(error),
        (ran, typed) => {
            let error = ran.and(typed.map(drop)).expect_err("one of them failed");
            return Err(error.context(format!("nothing was written; {}", kept(file)?)));
        }
    };
    if typed == text {
        output::note("nothing was changed");
        return Ok(());
    }
    let writing = node.client.write_document(&paper.space, &paper.name, Some(&base), typed);
    let written = tokio::select! {
        written = writing => node.explain(written),
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("stopped before it was written")),
    };
    match written {
        Ok(written) => done(common, &written),
        Err(error) => {
            let (space, name) = (&paper.space, &paper.name);
            let again = format!("aether doc write {space} {name} FILE");
            Err(error.context(format!("{}; `{again}` writes it as it is", kept(file)?)))
        }
    }
}

fn done(common: &Common, written: &DocumentVersion) -> anyhow::Result<()> {
    match common.output {
        Output::Json => output::json(written)?,
        Output::Table => output::note("written"),
    }
    Ok(())
}

/// Keeps what was typed, and says where.
fn kept(file: NamedTempFile) -> anyhow::Result<String> {
    let path: PathBuf = file.into_temp_path().keep().context("can't keep the edited file")?;
    Ok(format!("what you typed is kept in {}", path.display()))
}

/// Editors go by the end of a name.
fn suffix(name: &str) -> String {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    let is_plain = |extension: &&str| extension.chars().all(|c| c.is_ascii_alphanumeric());
    format!(".{}", extension.filter(is_plain).unwrap_or("txt"))
}

/// Many editors end each file with a newline: one that wasn't there isn't meant.
fn ended_as(before: &str, mut typed: String) -> String {
    if !before.is_empty() && !before.ends_with('\n') && typed.ends_with('\n') {
        typed.pop();
    }
    typed
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).context("the edited file can't be read as UTF-8")
}

/// Runs the editor, which may be a command with arguments, as other programs do it.
async fn run(path: &Path) -> anyhow::Result<()> {
    let named = |name| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
    let editor = named("VISUAL").or_else(|| named("EDITOR"));
    let editor = editor.unwrap_or_else(|| EDITOR.to_owned());
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{editor} \"$@\"")).arg(&editor).arg(path);
    let status = command.status().await.with_context(|| format!("can't run {editor:?}"))?;
    if !status.success() {
        bail!("the editor {editor:?} failed ({status}); $VISUAL or $EDITOR names another");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_ends_as_the_document_is_named() {
        for (name, end) in [
            ("notes", ".txt"),
            ("a.md", ".md"),
            ("a b/c.rs", ".rs"),
            ("x.", ".txt"),
            ("a.b c", ".txt"),
        ] {
            assert_eq!(suffix(name), end, "{name}");
        }
    }

    #[test]
    fn a_newline_that_an_editor_adds_is_taken_away() {
        assert_eq!(ended_as("a", "ab\n".into()), "ab");
        assert_eq!(ended_as("a\n", "ab\n".into()), "ab\n");
        assert_eq!(ended_as("", "ab\n".into()), "ab\n");
    }
}
