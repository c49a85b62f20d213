//! Archives of spaces: to a file, and from one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal as _, Read, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use aether_crdt::proto::archive::{ArchiveError, Contents, Decoder};
use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::Connected;
use crate::{
    api::SpaceImported,
    cli::{Common, Output, Remote},
    output,
};

/// Bytes of a file that are read at a time.
const PIECE: usize = 64 * 1024;

pub(super) async fn export(
    common: &Common,
    remote: &Remote,
    space: &str,
    file: &Path,
    force: bool,
) -> anyhow::Result<()> {
    // Said before the work, not after it.
    if !force && fs::symlink_metadata(file).is_ok() {
        bail!("{} is there already; choose a new name, or say --force", file.display());
    }
    let node = Connected::new(common, remote)?;
    let mut bytes = node.explain(node.client.export_space(space).await)?;
    let mut beside = Beside::new(file)?;
    let bar = spinner("exporting {bytes}, {bytes_per_sec}");
    let mut check = Check::default();
    while let Some(piece) = bytes.next().await {
        let piece = piece.context("the archive broke off, and nothing of it is kept")?;
        check.push(&piece)?;
        beside.file.write_all(&piece).with_context(|| beside.failed())?;
        bar.inc(piece.len() as u64);
    }
    let contents = check.0.end()?;
    beside.finish(force)?;
    bar.finish_and_clear();
    told(common, file, &contents)
}

fn told(common: &Common, file: &Path, contents: &Contents) -> anyhow::Result<()> {
    let Contents { entries, evidence, bytes, .. } = *contents;
    if common.output == Output::Json {
        let value = serde_json::json!({
            "file": file, "entries": entries, "evidence": evidence, "bytes": bytes,
        });
        return Ok(output::json(&value)?);
    }
    let size = HumanBytes(bytes);
    output::note(&format!("{entries} entries, {size}, written to {}", file.display()));
    Ok(())
}

/// What is looked at as it passes: whether it is whole.
#[derive(Default)]
struct Check(Decoder);

impl Check {
    fn push(&mut self, piece: &[u8]) -> Result<(), ArchiveError> {
        self.0.push(piece);
        while self.0.poll()?.is_some() {}
        Ok(())
    }
}

/// A file that gets its name when it is whole and synced, and goes if it doesn't come to that.
struct Beside {
    file: File,
    path: PathBuf,
    name: PathBuf,
    is_done: bool,
}

impl Beside {
    fn new(name: &Path) -> anyhow::Result<Self> {
        let mut path = name.as_os_str().to_owned();
        path.push(format!(".part-{}", std::process::id()));
        let path = PathBuf::from(path);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.with_context(|| format!("can't make {}", path.display()))?;
        Ok(Self { file, path, name: name.to_owned(), is_done: false })
    }

    fn failed(&self) -> String {
        format!("can't write {}, and nothing of it is kept", self.path.display())
    }

    fn finish(mut self, force: bool) -> anyhow::Result<()> {
        self.file.sync_all().with_context(|| self.failed())?;
        if !force && fs::symlink_metadata(&self.name).is_ok() {
            bail!("{} has come meanwhile; choose a new name", self.name.display());
        }
        fs::rename(&self.path, &self.name)
            .with_context(|| format!("can't name the archive {}", self.name.display()))?;
        self.is_done = true;
        let folder = self.name.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        folder.and_then(|folder| folder.sync_all()).with_context(|| self.failed())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub(super) async fn import(common: &Common, remote: &Remote, file: &Path) -> anyhow::Result<()> {
    let node = Connected::new(common, remote)?;
    let (from, size) = open(file)?;
    let bar = match size.filter(|_| io::stderr().is_terminal()) {
        Some(size) => {
            let style =
                "importing {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
            let style = ProgressStyle::with_template(style).expect("the template is sound");
            ProgressBar::new(size).with_style(style)
        }
        None => spinner("importing {bytes}, {bytes_per_sec}"),
    };
    let wrong = Arc::new(Mutex::new(None));
    let pieces = pieces(bar.wrap_read(from), wrong.clone());
    let imported = node.client.import_space(pieces).await;
    bar.finish_and_clear();
    let imported = match (imported, wrong.lock().unwrap_or_else(PoisonError::into_inner).take()) {
        (Err(crate::client::ClientError::Broken { .. }), Some(wrong)) => {
            return Err(
                anyhow::Error::from(wrong).context("what stands before the damage is taken in")
            );
        }
        (imported, _) => node.explain(imported)?,
    };
    if common.output == Output::Json {
        return Ok(output::json(&imported)?);
    }
    let SpaceImported { space, taken, known, left, .. } = imported;
    output::line(&space.id)?;
    output::note(&format!("{taken} entries taken in, {known} known before"));
    if left > 0 {
        output::note(&format!(
            "{left} can't be taken in now: something they build on isn't in the archive, or the \
             clock here is behind; import it again to try again"
        ));
    }
    Ok(())
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

/// A file as it is sent. The node may hang up when it comes to what is wrong, so that is looked for
/// here too.
fn pieces(
    from: impl Read + Send + 'static,
    wrong: Arc<Mutex<Option<ArchiveError>>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold((from, Check::default()), move |(mut from, mut check)| {
        let wrong = wrong.clone();
        async move {
            let read = move || {
                let mut piece = vec![0; PIECE];
                let len = from.read(&mut piece)?;
                piece.truncate(len);
                Ok::<_, io::Error>((from, piece))
            };
            let (from, piece) = tokio::task::spawn_blocking(read).await??;
            let found = match piece.is_empty() {
                true => check.0.end().map(drop),
                false => check.push(&piece),
            };
            if let Err(error) = found {
                *wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            Ok((!piece.is_empty()).then(|| (Bytes::from(piece), (from, check))))
        }
    })
}

/// What shows on a terminal that something goes on, and nothing elsewhere.
pub(super) fn spinner(style: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(style).expect("the template is sound");
    ProgressBar::new_spinner().with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_name_when_it_is_whole_and_goes_if_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("archive");
        let files = || fs::read_dir(folder.path()).unwrap().count();
        let mut beside = Beside::new(&name).unwrap();
        beside.file.write_all(b"half").unwrap();
        assert!(!name.exists() && files() == 1);
        drop(beside);
        assert_eq!(files(), 0);
        let mut beside = Beside::new(&name).unwrap();
        beside.file.write_all(b"whole").unwrap();
        beside.finish(false).unwrap();
        assert_eq!((fs::read(&name).unwrap(), files()), (b"whole".to_vec(), 1));
        // What has come meanwhile stays, unless it was said that it needn't.
        assert!(Beside::new(&name).unwrap().finish(false).is_err());
        assert_eq!((fs::read(&name).unwrap(), files()), (b"whole".to_vec(), 1));
        Beside::new(&name).unwrap().finish(true).unwrap();
        assert_eq!((fs::read(&name).unwrap(), files()), (Vec::new(), 1));
    }
}
