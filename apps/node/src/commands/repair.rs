//! `aether repair`.
//!
//! The store is made anew beside the damaged one, and takes its place once it is whole and synced.
//! Between the two renamings there is none: a node doesn't start then, and the command goes on.

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use aether_crdt::{REPAIRED, Repaired, repair_spaces};
use aether_mesh::{access::SecretKey, identity};
use aether_store::{Copied, Options, Store, Wreck};
use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    cli::{Common, Output},
    output,
};

const STORE: &str = "store";
/// The new store in the making, and when it is whole.
const NEW: &str = "store.repairing";
const WHOLE: &str = "store.repaired";
/// What the damaged one is called in the end; a number follows, if there is one already.
const DAMAGED: &str = "store.damaged";

#[derive(Serialize)]
struct Report {
    /// Where the damaged store is now; none of a dry run.
    damaged: Option<PathBuf>,
    /// Whether the engine could be opened: else only logs are left.
    engine: bool,
    /// Of how many of the engine's journals an end was left out.
    journals: usize,
    rows: Vec<Rows>,
    spaces: Vec<Space>,
}

/// What was copied as it is.
#[derive(Serialize)]
struct Rows {
    name: String,
    kept: u64,
    lost: u64,
}

#[derive(Serialize)]
struct Space {
    id: String,
    name: String,
    kept: u64,
    lost: u64,
    waiting: u64,
}

impl From<Copied> for Rows {
    fn from(Copied { name, copied, lost }: Copied) -> Self {
        Self { name, kept: copied, lost }
    }
}

impl From<Repaired> for Space {
    fn from(Repaired { space, name, entries, lost, left }: Repaired) -> Self {
        Self { id: space.to_string(), name, kept: entries, lost, waiting: left }
    }
}

/// Whether a repair was interrupted at the moment when there is no store.
pub(crate) fn is_interrupted(data: &Path) -> bool {
    !data.join(STORE).exists() && data.join(WHOLE).exists()
}

pub(crate) fn repair(common: &Common, is_dry: bool) -> anyhow::Result<()> {
    let data = common.settings()?.settings.data;
    let key = data.join("identity.key");
    let (old, new, whole) = (data.join(STORE), data.join(NEW), data.join(WHOLE));
    if is_interrupted(&data) {
        rename(&whole, &old)?;
        output::note("a repair that was interrupted is finished now; run it again to repair more");
        return Ok(());
    }
    ensure!(old.exists(), "there is nothing to repair: {} isn't there", old.display());
    let key = identity::load(&key)?;
    // The damaged store is locked until the other is in its place.
    let wreck = Wreck::open(&old, &Options::default())?;
    for left in [&new, &whole] {
        remove(left)?;
    }
    let made = make(&wreck, &new, &key);
    if is_dry || made.is_err() {
        let removed = remove(&new);
        let report = made?;
        removed?;
        return show(common, &report);
    }
    let damaged = free(&data);
    rename(&new, &whole)?;
    rename(&old, &damaged)?;
    rename(&whole, &old)?;
    show(common, &Report { damaged: Some(damaged), ..made? })
}

/// Removes a folder, if it is there.
fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("can't remove {}", folder.display())),
    }
}

fn make(wreck: &Wreck, new: &Path, key: &SecretKey) -> anyhow::Result<Report> {
    let failed = || format!("can't make the new store in {}", new.display());
    let store = Store::open(new, Options::default()).with_context(failed)?;
    let rows = wreck.copy(&store, &REPAIRED).with_context(failed)?;
    let bar = bar();
    let spaces = repair_spaces(wreck.store(), &store, key, |progress| {
        if progress.done % 256 == 0 {
            bar.set_length(progress.of);
            bar.set_position(progress.done);
            bar.set_message(output::plain(progress.name));
        }
    });
    bar.finish_and_clear();
    let spaces = spaces.with_context(failed)?;
    let engine = wreck.store().is_some();
    let journals = wreck.journals();
    Ok(Report {
        damaged: None,
        engine,
        journals,
        rows: rows.into_iter().map(Rows::from).collect(),
        spaces: spaces.into_iter().map(Space::from).collect(),
    })
}

fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "repairing {msg} {wide_bar} {pos} of {len} entries, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template is sound");
    ProgressBar::new(0).with_style(style)
}

/// A name that nothing has yet.
fn free(data: &Path) -> PathBuf {
    let names = (1_u32..).map(|number| match number {
        1 => DAMAGED.to_owned(),
        _ => format!("{DAMAGED}-{number}"),
    });
    let mut paths = names.map(|name| data.join(name));
    paths.find(|path| !path.exists()).expect("there are more numbers than files")
}

/// Renames a folder, for good.
fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    let parent = to.parent().unwrap_or(Path::new("."));
    let renamed = fs::rename(from, to).and_then(|()| File::open(parent)?.sync_all());
    renamed.with_context(|| format!("can't rename {} to {}", from.display(), to.display()))
}

fn show(common: &Common, report: &Report) -> anyhow::Result<()> {
    if common.output == Output::Json {
        return Ok(output::json(report)?);
    }
    let mut table = output::table(&["WHAT", "KEPT", "LOST", "WAITING"]);
    for Rows { name, kept, lost } in &report.rows {
        table.add_row([&format!("rows of {name}"), &kept.to_string(), &lost.to_string(), ""]);
    }
    for Space { name, kept, lost, waiting, .. } in &report.spaces {
        let what = format!("entries of space {}", output::plain(name));
        table.add_row([&what, &kept.to_string(), &lost.to_string(), &waiting.to_string()]);
    }
    output::line(&table.to_string())?;
    if !report.engine {
        output::note("the engine's files can't be read at all: what isn't in logs is lost");
    } else if report.journals > 0 {
        output::note("a journal is damaged: what was written last may be lost");
    }
    let Some(damaged) = &report.damaged else {
        output::note("nothing was changed; without --dry-run this is what a repair keeps");
        return Ok(());
    };
    output::note(&format!(
        "what is lost of spaces, and what waits for it, comes from their other members once the \
         node runs; the damaged store is in {}, to be deleted when nothing is missed",
        damaged.display()
    ));
    Ok(())
}

/// Whether an error is one that a repair may help.
pub(crate) fn may_help(error: &anyhow::Error) -> bool {
    use aether_store::{LogError, OpenError, ReadError};
    error.chain().any(|cause| {
        matches!(
            cause.downcast_ref::<OpenError>(),
            Some(OpenError::Damaged { .. } | OpenError::Engine { .. } | OpenError::Missing { .. })
        ) || matches!(cause.downcast_ref::<LogError>(), Some(LogError::Corrupt { .. }))
            || matches!(
                cause.downcast_ref::<ReadError>(),
                Some(ReadError::Corrupt { .. } | ReadError::Engine { .. })
            )
    })
}
