//! One run: a history that is applied, typed or opened, or a node that joins many documents.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aether_core::{Protocol as _, PublicKey, SecretKey, Time};
use aether_crdt::{
    Spaces,
    proto::{
        book,
        document::{
            ActorId,
            body::{Body, Settings},
            content::{ObjId, TextUnit},
            edit::{Edit, EditError},
            op::{read_op, write_op},
            state::{Config, Document},
            template::{self, TEXT, Template},
            view::View,
            weight::DEFAULT_LIMIT,
        },
        entry::{Collection, Draft},
        id::{FeedId, Position},
        replica::{self, Input, Output, Replica},
        space::{Genesis, Mode},
        time::Wall,
    },
};
use aether_mesh::{Node, Preset};
use anyhow::{Context as _, ensure};
use automerge::{Automerge, ReadDoc as _, transaction::Transactable as _};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::history::{History, Splice};
use crate::{
    process::{cpu_time, fresh, memory},
    works::runs,
};

/// Changes of an entry.
const OPS: usize = 64;
/// Documents that are written at a time, and how long a new peer may take for them.
const WRITERS: usize = 256;
const PATIENCE: Duration = Duration::from_secs(120);

/// What one run does. The program writes it for its own fresh process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What is measured.
    pub subject: Subject,
    /// How many edits, or documents.
    pub count: usize,
    /// The file that the history is of; else it is generated.
    pub trace: Option<PathBuf>,
    /// Where what is to be opened goes.
    pub folder: Option<PathBuf>,
    /// What is drawn is drawn from it.
    pub seed: u64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A replica that receives a history.
    Apply,
    /// Automerge, given the same changes.
    ApplyAutomerge,
    /// A document that is typed into.
    Type,
    /// Automerge, typed into.
    TypeAutomerge,
    /// A document that is opened.
    Open,
    /// A document that is opened and made ready for edits.
    Ready,
    /// Automerge, opening the same file.
    OpenAutomerge,
    /// Writes that file; measured is nothing.
    Write,
    /// A node that joins.
    Many,
}

/// What one run measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Processor time, or time.
    pub seconds: f64,
    /// Memory.
    pub bytes: f64,
    /// Whether the text was the right one, or all documents there.
    pub is_right: bool,
}

impl runs::Sample for Sample {
    const TROUBLE: &'static str = "ended with another text";

    fn is_clean(&self) -> bool {
        self.is_right
    }

    fn summary(&self) -> String {
        format!("{:.2} s, {:.1} MiB", self.seconds, self.bytes / f64::from(1 << 20))
    }
}

/// Makes one run.
pub async fn run(trial: &Trial) -> anyhow::Result<Sample> {
    if trial.subject == Subject::Many {
        return many(trial.count).await;
    }
    let history = History::new(trial.trace.as_deref(), trial.count, trial.seed)?;
    match trial.subject {
        Subject::Apply => apply(&history),
        Subject::ApplyAutomerge => apply_automerge(&history),
        Subject::Type => type_all(&history),
        Subject::TypeAutomerge => type_automerge(&history),
        Subject::Write => write(&history, trial.folder.as_deref().context("no folder")?),
        Subject::Open | Subject::Ready | Subject::OpenAutomerge => {
            // Whoever writes the file has had all of it in memory.
            let folder = tempfile::tempdir()?;
            let path = folder.path().to_owned();
            let first = Trial { subject: Subject::Write, folder: Some(path), ..trial.clone() };
            let written: Sample = fresh(super::WORK, &first).await?;
            ensure!(written.is_right, "what was written isn't the history");
            open(&history, trial.subject, folder.path())
        }
        Subject::Many => unreachable!("done above"),
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn now() -> Instant {
    Instant::now()
}

fn letter() -> Collection {
    Template::text().document("letter")
}

fn settings(actor: ActorId) -> Settings {
    Settings { actor, unit: TextUnit::CodePoint, limit: DEFAULT_LIMIT }
}

fn splice(edit: &mut Edit<'_>, (at, delete, insert): &Splice) -> Result<(), EditError> {
    let text = edit.view()?.get(ObjId::Root, TEXT)?.and_then(|node| node.object());
    edit.splice_text(text.ok_or(EditError::NotFound)?, *at, *delete, insert)
}

fn text(view: &View<'_>) -> anyhow::Result<String> {
    let text = view.get(ObjId::Root, TEXT)?.and_then(|node| node.object());
    Ok(view.text(text.context("the document has no text")?)?)
}

fn text_of(document: &Automerge) -> anyhow::Result<String> {
    let (_, text) = document.get(automerge::ROOT, TEXT)?.context("the document has no text")?;
    Ok(document.text(&text)?)
}

/// Who writes, and a body with the template.
fn body(actor: ActorId) -> anyhow::Result<Body> {
    let (mut body, template) = (Body::new(settings(actor)), Template::text());
    let (_, chunk) = template.change().context("a text is made by a change")?;
    body.take(chunk, &template::ACTOR, |_| true)?;
    body.apply()?;
    Ok(body)
}

/// The changes that a history becomes, one for each edit.
fn changes(history: &History, actor: ActorId) -> anyhow::Result<Vec<Vec<u8>>> {
    let (mut body, mut all) = (body(actor)?, Vec::with_capacity(history.edits.len()));
    for edit in &history.edits {
        body.edit(|document| splice(document, edit))?;
        all.push(body.commit(0)?.context("an edit is a change")?.bytes);
    }
    Ok(all)
}

/// A replica whose disk is memory.
struct Side {
    key: PublicKey,
    replica: Replica<BTreeMap<Vec<u8>, Vec<u8>>>,
    said: Vec<Vec<u8>>,
}

impl Side {
    fn new(byte: u8) -> anyhow::Result<Self> {
        let key = SecretKey::from_bytes([byte; 32]);
        let owner = SecretKey::from_bytes([9; 32]).public();
        let genesis = Genesis::new(Mode::Open, [7; 16], "bench", [owner])?;
        let (public, config) = (key.public(), replica::Config::default());
        let replica =
            Replica::open(config, genesis, key.into(), [byte; 32], BTreeMap::new(), None)?;
        let mut side = Self { key: public, replica, said: Vec::new() };
        side.feed(Input::Wall(Wall::from_millis(1_800_000_000_000)))?;
        Ok(side)
    }

    fn feed(&mut self, input: Input) -> anyhow::Result<()> {
        let now = Time::from_millis(1);
        self.replica.handle(now, input);
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Persist { generation, changes, .. } => {
                    let disk = self.replica.base_mut();
                    for (row, value) in std::sync::Arc::unwrap_or_clone(changes) {
                        match value {
                            Some(value) => disk.insert(row, value),
                            None => disk.remove(&row),
                        };
                    }
                    self.replica.handle(now, Input::Persisted { generation });
                }
                Output::Send { message, .. } => self.said.push(message.encode()),
                Output::Refused { why, .. } => return Err(why.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

fn actor(feed: &FeedId, side: &Side) -> ActorId {
    ActorId::of(&side.replica.genesis().space_id(), &letter(), feed, 0)
}

fn apply(history: &History) -> anyhow::Result<Sample> {
    let (mut one, mut other) = (Side::new(1)?, Side::new(2)?);
    let feed = one.replica.own_feed(Time::ZERO);
    let writer = actor(&feed, &one);
    for some in changes(history, writer)?.chunks(OPS) {
        let mut draft = Draft::new();
        for change in some {
            draft.op(letter(), write_op(0, change))?;
        }
        one.feed(Input::Write { token: 1, draft, cites: Vec::new() })?;
    }
    let own = other.replica.own_feed(Time::ZERO);
    let mut document = Document::new(Config::new(settings(actor(&own, &other))));
    let template = Template::text();
    let (_, chunk) = template.change().context("a text is made by a change")?;
    document.receive(Time::ZERO, chunk, &template::ACTOR, |_| true)?;
    document.settle();

    let (mut spent, mut at) = (Duration::ZERO, Position::ZERO);
    one.feed(Input::Connected { peer: other.key, opens: true })?;
    other.feed(Input::Connected { peer: one.key, opens: false })?;
    loop {
        let said = std::mem::take(&mut one.said);
        let begun = cpu_time();
        for bytes in said {
            other.feed(Input::Message { from: one.key, bytes })?;
        }
        let rows = other.replica.book().rows();
        for found in book::changes(rows, &letter(), at) {
            let (position, local, tip) = found?;
            at = position;
            let entry = book::entry(rows, local, tip)?.context("what was taken in is there")?;
            for (_, op) in entry.payload().ops() {
                let (_, chunk) = read_op(op).context("an operation is a change")?;
                document.receive(Time::ZERO, chunk, &writer, |_| true)?;
            }
        }
        spent += cpu_time().saturating_sub(begun);
        let said = std::mem::take(&mut other.said);
        if said.is_empty() && one.said.is_empty() {
            break;
        }
        for bytes in said {
            one.feed(Input::Message { from: other.key, bytes })?;
        }
    }
    let begun = cpu_time();
    document.settle();
    let found = text(&document.view().context("the document broke")?)?;
    spent += cpu_time().saturating_sub(begun);
    let bytes = memory()?.resident as f64;
    Ok(Sample { seconds: spent.as_secs_f64(), bytes, is_right: found == history.end })
}

fn apply_automerge(history: &History) -> anyhow::Result<Sample> {
    let all = changes(history, ActorId([7; 16]))?;
    let mut document = automerge()?;
    let begun = cpu_time();
    for some in all.chunks(OPS) {
        let decoded = some.iter().map(|bytes| automerge::Change::try_from(&bytes[..]));
        document.apply_changes(decoded.collect::<Result<Vec<_>, _>>()?)?;
    }
    let found = text_of(&document)?;
    let spent = cpu_time().saturating_sub(begun);
    let bytes = memory()?.resident as f64;
    Ok(Sample { seconds: spent.as_secs_f64(), bytes, is_right: found == history.end })
}

/// An Automerge document with the same template.
fn automerge() -> anyhow::Result<Automerge> {
    let (mut document, template) = (Automerge::new(), Template::text());
    let (_, chunk) = template.change().context("a text is made by a change")?;
    document.apply_changes([automerge::Change::try_from(chunk)?])?;
    Ok(document)
}

fn type_all(history: &History) -> anyhow::Result<Sample> {
    let before = memory()?.resident;
    let (begun, time) = (cpu_time(), now());
    let mut document = Document::new(Config::new(settings(ActorId([7; 16]))));
    let template = Template::text();
    let (_, chunk) = template.change().context("a text is made by a change")?;
    document.receive(Time::ZERO, chunk, &template::ACTOR, |_| true)?;
    document.settle();
    let wall = Wall::from_millis(1_800_000_000_000);
    for edit in &history.edits {
        let micros = u64::try_from(time.elapsed().as_micros()).unwrap_or(u64::MAX);
        let now = Time::from_micros(micros);
        if document.poll_timeout().is_some_and(|due| due <= now) {
            document.on_timeout(now);
        }
        let done = document.edit(now, wall, |document| splice(document, edit));
        done.context("the document sleeps")??;
        while document.poll_output().is_some() {}
    }
    document.flush();
    while document.poll_output().is_some() {}
    let found = text(&document.view().context("the document broke")?)?;
    let spent = cpu_time().saturating_sub(begun);
    let bytes = memory()?.resident.saturating_sub(before) as f64;
    Ok(Sample { seconds: spent.as_secs_f64(), bytes, is_right: found == history.end })
}

fn type_automerge(history: &History) -> anyhow::Result<Sample> {
    let before = memory()?.resident;
    let begun = cpu_time();
    let mut document = automerge()?;
    let (_, id) = document.get(automerge::ROOT, TEXT)?.context("the document has no text")?;
    for (at, delete, insert) in &history.edits {
        let mut tx = document.transaction();
        tx.splice_text(&id, *at, delete.cast_signed(), insert)?;
        tx.commit();
    }
    let found = text_of(&document)?;
    let spent = cpu_time().saturating_sub(begun);
    let bytes = memory()?.resident.saturating_sub(before) as f64;
    Ok(Sample { seconds: spent.as_secs_f64(), bytes, is_right: found == history.end })
}

fn file(folder: &Path) -> PathBuf {
    folder.join("document")
}

fn write(history: &History, folder: &Path) -> anyhow::Result<Sample> {
    let mut body = body(ActorId([7; 16]))?;
    for edit in &history.edits {
        body.edit(|document| splice(document, edit))?;
        body.commit(0)?;
    }
    let is_right = text(&body.view()?)? == history.end;
    std::fs::write(file(folder), body.save()?)?;
    Ok(Sample { seconds: 0.0, bytes: 0.0, is_right })
}

fn open(history: &History, subject: Subject, folder: &Path) -> anyhow::Result<Sample> {
    let before = memory()?.resident;
    let begun = now();
    let bytes = std::fs::read(file(folder))?;
    let found = if subject == Subject::OpenAutomerge {
        text_of(&Automerge::load(&bytes)?)?
    } else {
        let mut document = Document::asleep(Config::new(settings(ActorId([8; 16]))));
        document.wake(&bytes)?;
        if subject == Subject::Ready {
            document.make_ready();
        }
        text(&document.view().context("the document broke")?)?
    };
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = memory()?.peak.saturating_sub(before) as f64;
    Ok(Sample { seconds, bytes, is_right: found == history.end })
}

async fn many(count: usize) -> anyhow::Result<Sample> {
    let folder = tempfile::tempdir_in(".")?;
    let node = |name: &str| {
        Node::builder(Preset::Local).mesh("bench").data(folder.path().join(name)).spawn()
    };
    let (one, other) = (node("one").await?, node("other").await?);
    let (here, there) = (Spaces::open(&one).await?, Spaces::open(&other).await?);
    let space = here.create("many").await?;
    let all = stream::iter(0..count).map(|number| {
        let document = space.document_from(&format!("document {number}"), &Template::text());
        async move {
            let line = (0, 0, format!("This is document {number}."));
            document.commit(move |edit| splice(edit, &line)).await
        }
    });
    all.buffer_unordered(WRITERS).try_collect::<Vec<()>>().await?;
    let ticket = space.ticket().await?;

    let begun = now();
    let joined = there.join(&ticket.to_string()).await?;
    let digest = space.status().await?.digest;
    while joined.status().await?.digest != digest {
        ensure!(begun.elapsed() < PATIENCE, "not all documents came in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let mut is_right = true;
    for number in (0..count).step_by((count / 50).max(1)) {
        let document = joined.document_from(&format!("document {number}"), &Template::text());
        let found = document.view(text).await??;
        is_right &= found == format!("This is document {number}.");
    }
    let bytes = memory()?.resident as f64;
    drop((here, there, space, joined));
    futures::join!(one.shutdown(), other.shutdown());
    Ok(Sample { seconds, bytes, is_right })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_measured_ends_with_the_right_text() {
        use Subject::{Apply, ApplyAutomerge, Type, TypeAutomerge};
        for subject in [Apply, ApplyAutomerge, Type, TypeAutomerge] {
            let trial = Trial { subject, count: 300, trace: None, folder: None, seed: 1 };
            let sample = run(&trial).await.unwrap();
            assert!(sample.is_right, "{subject:?}");
        }
    }
}
