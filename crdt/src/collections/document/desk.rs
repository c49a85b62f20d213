//! Desks: each has one document, and does one thing after the other with it.
//!
//! A desk opens its document when it is first asked for something, and lets go of it when nobody
//! listens and nothing was asked for a minute, or when the last handle is gone. There is one desk
//! for each document of a program, since two would write under one actor; a new one begins when the
//! one before has ended.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use aether_core::Time;
use aether_store::ReadError;
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        broadcast::{
            self,
            error::{RecvError, TryRecvError},
        },
        mpsc, oneshot,
    },
    task::JoinHandle,
};

use super::{
    ChangeError, DocumentError, Missed, PatchEvent, Told,
    lanes::Lanes,
    live::{Live, Place},
};
use crate::{
    Space,
    driver::{self, Request, WriteFailed, Written},
    proto::{
        book,
        document::{
            MAX_CHUNK,
            body::{Broken, Refused},
            edit::EditError,
            state::Output,
            template::Template,
        },
        entry::Collection,
        id::FeedId,
        time::Wall,
    },
};

/// Commands that wait for a desk.
const QUEUE: usize = 256;
/// Events that a reader of patches may be behind.
const EVENTS: usize = 1024;
/// How long a document stays open that nobody uses.
const IDLE: Duration = Duration::from_secs(60);
/// How long nobody uses one that was opened until it is made ready for edits, and when it is at the
/// latest, for who reads without a pause: until then a file that no node has written isn't found.
const QUIET: Duration = Duration::from_millis(100);
const READY: Duration = Duration::from_secs(1);
/// Memory for documents that are being loaded at a time on a node, in MiB: others wait. Who edits
/// one before it was made ready doesn't wait, and takes some of it beside.
pub(crate) const LOADING: usize = 512;
/// Bytes of memory that a load takes at its peak for each byte of the file, where each keystroke is
/// a change of its own: that is the worst that people's documents come to.
const PEAK: usize = 2_048;
/// Changes that are written as one entry, and their bytes.
const MAX_OPS: usize = 4096;
const MAX_BYTES: usize = MAX_CHUNK / 2;

/// What is done with a document that is open, or why it isn't.
pub(super) type Run = Box<dyn FnOnce(Result<&mut Live, DocumentError>) + Send>;

/// What handles ask of a desk.
pub(super) enum Command {
    Run(Run),
    /// Say when all that was edited until now is durable.
    Durable(Waiter),
}

type Waiter = oneshot::Sender<Result<(), ChangeError>>;

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run(_) => "Run",
            Self::Durable(_) => "Durable",
        })
    }
}

/// How a desk is talked to.
type Talk = (mpsc::Sender<Command>, broadcast::Sender<Told>);

#[derive(Debug)]
struct Seat {
    commands: mpsc::WeakSender<Command>,
    patches: broadcast::Sender<Told>,
    ended: Option<JoinHandle<()>>,
}

/// The desks of a space, by document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desks(Arc<Mutex<BTreeMap<Collection, Seat>>>);

impl Desks {
    /// The desk of a document; a new one, if there is none.
    pub(super) fn sit(&self, space: &Space, collection: Collection, template: Template) -> Talk {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seat = seats.remove(&collection);
        if let Some(seat) = seat {
            if let Some(commands) = seat.commands.upgrade() {
                let talk = (commands, seat.patches.clone());
                seats.insert(collection, seat);
                return talk;
            }
            return Self::begin(&mut seats, space, collection, template, seat.ended);
        }
        Self::begin(&mut seats, space, collection, template, None)
    }

    fn begin(
        seats: &mut BTreeMap<Collection, Seat>,
        space: &Space,
        collection: Collection,
        template: Template,
        before: Option<JoinHandle<()>>,
    ) -> Talk {
        // Seats of desks that have ended are of no use but to who comes next.
        seats.retain(|_, seat| seat.ended.as_ref().is_some_and(|ended| !ended.is_finished()));
        let (commands, asked) = mpsc::channel(QUEUE);
        let (patches, _) = broadcast::channel(EVENTS);
        let desk = Desk::new(space.clone(), collection, template, patches.clone());
        // It ends when the last handle is gone, and the next desk of the document waits for that.
        let ended = space.runtime().spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            desk.run(asked).await;
        });
        let weak = commands.downgrade();
        let seat = Seat { commands: weak, patches: patches.clone(), ended: Some(ended) };
        seats.insert(collection, seat);
        (commands, patches)
    }
}

/// Why edits that were shown are taken back.
#[derive(Clone, Debug)]
enum Lost {
    Write(WriteFailed),
    Refused(Refused),
    Broken,
}

impl From<Lost> for ChangeError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Write(why) => Self::Write(why),
            Lost::Refused(why) => Self::Refused(why),
            Lost::Broken => Self::Edit(EditError::Broken(Broken)),
        }
    }
}

/// A write that is under way: how many changes, and its answer.
type Writing = (u64, oneshot::Receiver<Result<Written, WriteFailed>>);

struct Desk {
    space: Space,
    collection: Collection,
    template: Template,
    patches: broadcast::Sender<Told>,
    told: broadcast::Receiver<driver::Told>,
    live: Option<Box<Live>>,
    lanes: Lanes,
    begun: Instant,
    /// When it was last used.
    used: Time,
    /// Changes of our own that aren't written, and how many there were and are durable.
    unwritten: VecDeque<Vec<u8>>,
    writing: Option<Writing>,
    appended: u64,
    durable: u64,
    waiters: VecDeque<(u64, Waiter)>,
    /// Why edits were taken back, until somebody is told who asks whether they are durable.
    lost: Option<Lost>,
    /// The feed that changes are written to.
    feed: Option<FeedId>,
    /// Its share of the [memory](LOADING) for loads.
    load: u32,
    /// By when it is made ready for edits, until it is.
    ready_by: Option<Time>,
    /// How often in a row Automerge has panicked.
    panics: u32,
}

/// The share of a load of a file with so many bytes, in MiB.
fn share(len: usize) -> u32 {
    let share = len.saturating_mul(PEAK).div_ceil(1 << 20).clamp(1, LOADING);
    u32::try_from(share).unwrap_or(1)
}

impl Desk {
    #[expect(clippy::disallowed_methods, reason = "a desk owns its clock")]
    fn new(
        space: Space,
        collection: Collection,
        template: Template,
        patches: broadcast::Sender<Told>,
    ) -> Self {
        Self {
            told: space.told(),
            space,
            collection,
            template,
            patches,
            live: None,
            lanes: Lanes::default(),
            begun: Instant::now(),
            used: Time::ZERO,
            unwritten: VecDeque::new(),
            writing: None,
            appended: 0,
            durable: 0,
            waiters: VecDeque::new(),
            lost: None,
            feed: None,
            load: 1,
            ready_by: None,
            panics: 0,
        }
    }

    fn now(&self) -> Time {
        let since = self.begun.elapsed();
        Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    async fn run(mut self, mut asked: mpsc::Receiver<Command>) {
        loop {
            let due = self.live.as_ref().and_then(|live| live.poll_timeout());
            let idle = self.used + IDLE;
            let mut until = due.unwrap_or(idle).min(idle.max(self.now()));
            if let Some(ready) = self.ready() {
                until = until.min(ready);
            }
            let wait = until.since(self.now());
            let is_open = self.live.is_some();
            tokio::select! {
                command = asked.recv() => match command {
                    None => break,
                    Some(command) => self.on_command(command).await,
                },
                told = self.told.recv(), if is_open => match told {
                    Ok(told) => self.on_told(told).await,
                    // A rebuilding may be among what was missed.
                    Err(RecvError::Lagged(_)) => self.recount().await,
                    Err(RecvError::Closed) => break,
                },
                written = written(&mut self.writing), if self.writing.is_some() => {
                    self.on_written(written);
                }
                () = tokio::time::sleep(wait), if is_open => self.on_timeout().await,
            }
            self.settle().await;
        }
        self.end().await;
    }

    async fn on_command(&mut self, command: Command) {
        self.used = self.now();
        match command {
            Command::Run(run) => match self.open().await {
                Ok(()) => self.with(move |live| run(Ok(live))).await,
                Err(error) => run(Err(error)),
            },
            Command::Durable(waiter) => {
                if self.live.is_some() {
                    self.with(Live::flush).await;
                    self.drain();
                }
                match self.lost.take() {
                    // Whoever asked and is gone needs no answer.
                    Some(lost) => drop(waiter.send(Err(lost.into()))),
                    None => self.waiters.push_back((self.appended, waiter)),
                }
            }
        }
    }

    /// Opens the document, if it isn't.
    async fn open(&mut self) -> Result<(), DocumentError> {
        if self.live.is_some() {
            return Ok(());
        }
        // What is being written would be read half.
        while self.writing.is_some() || !self.unwritten.is_empty() {
            self.write().await;
            let done = written(&mut self.writing).await;
            self.on_written(done);
        }
        if self.panics > 1 {
            return Err(DocumentError::Broken);
        }
        // From here on nothing is missed.
        self.told = self.space.told();
        let writer = self.space.ask(|space, reply| Request::Writer { space, reply }).await;
        let writer = writer.ok_or(DocumentError::Closed)?.ok_or(DocumentError::Left)?;
        let (space, collection) = (self.space.clone(), self.collection);
        let (template, lanes) = (self.template.clone(), self.lanes.clone());
        let place = Place { space, collection, template, writer, lanes };
        let (now, wall) = (self.now(), wall());
        let read = move || {
            Ok::<_, ReadError>((book::file(place.space.shelf(), &place.collection)?, place))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (mut stored, place) = read.map_err(|_| DocumentError::Closed)??;
        self.load = share(stored.as_ref().map_or(0, Vec::len));
        let room = self.room().await;
        if self.panics > 0 {
            // It may have been the file: what it was made of is in entries.
            stored = None;
        }
        let open = move || Live::open(&place, stored.as_deref(), now, wall);
        let opened = tokio::task::spawn_blocking(open).await;
        drop(room);
        let opened = opened.unwrap_or(Err(DocumentError::Broken));
        if matches!(opened, Err(DocumentError::Broken)) {
            self.panics += 1;
        }
        let mut live = opened?;
        // Readers hear of what changes once it is open.
        while let Some(output) = live.poll_output() {
            debug_assert!(!matches!(output, Output::Append(..)), "nothing was edited");
        }
        self.live = Some(Box::new(live));
        self.feed = Some(writer.feed);
        self.ready_by = Some(self.now() + READY);
        Ok(())
    }

    /// Waits until all documents that are being loaded on this node leave room for this one.
    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        self.space.loading().acquire_many_owned(self.load).await.ok()
    }

    /// When it is to be made ready for edits, if it isn't.
    fn ready(&self) -> Option<Time> {
        self.ready_by.map(|latest| latest.min(self.used + QUIET))
    }

    /// Makes what edits need, before the first comes.
    async fn make_ready(&mut self) {
        self.ready_by = None;
        let room = self.room().await;
        self.with(Live::make_ready).await;
        drop(room);
        if self.is_broken() {
            // Nothing was edited yet, or it would have been found then: so nothing is lost.
            self.drain();
            self.panics += 1;
            self.lose();
        }
    }

    fn is_broken(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.is_broken())
    }

    /// Does something with the open document, where it may take its time.
    async fn with(&mut self, what: impl FnOnce(&mut Live) + Send + 'static) {
        let Some(mut live) = self.live.take() else { return };
        live.tick(self.now(), wall());
        let run = move || {
            // A closure of the user's that panics leaves the document as it was before it.
            let _ = catch_unwind(AssertUnwindSafe(|| what(&mut live)));
            live
        };
        // A runtime that is being shut down runs nothing any more.
        self.live = tokio::task::spawn_blocking(run).await.ok();
    }

    /// What is held since was told in one go, if it came in one go.
    async fn on_told(&mut self, told: driver::Told) {
        let mut is_rebuilt = told == driver::Told::Rebuilt;
        let mut is_left = told == driver::Told::Left;
        loop {
            match self.told.try_recv() {
                Ok(told) => {
                    is_rebuilt |= told == driver::Told::Rebuilt;
                    is_left |= told == driver::Told::Left;
                }
                Err(TryRecvError::Lagged(_)) => is_rebuilt = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if is_left {
            return self.leave().await;
        }
        if is_rebuilt {
            return self.recount().await;
        }
        let now = self.now();
        self.read(move |live| live.catch_up(now)).await;
    }

    /// The space was left: nothing can be written or read any more.
    async fn leave(&mut self) {
        self.with(Live::flush).await;
        self.drain();
        if self.is_all_durable() && self.unwritten.is_empty() {
            return self.lose();
        }
        self.writing = None;
        self.unwritten.clear();
        self.durable = self.appended;
        self.give_up(Lost::Write(WriteFailed::Left));
    }

    async fn recount(&mut self) {
        let writer = self.space.ask(|space, reply| Request::Writer { space, reply }).await;
        let Some(writer) = writer.flatten() else { return };
        self.read(move |live| live.recount(writer)).await;
    }

    /// Reads what is stored. A document that can't be read is let go of: whoever uses it next is
    /// told.
    async fn read(
        &mut self,
        what: impl FnOnce(&mut Live) -> Result<(), DocumentError> + Send + 'static,
    ) {
        let (reply, mut answer) = oneshot::channel();
        self.with(move |live| drop(reply.send(what(live)))).await;
        if let Ok(Err(error)) = answer.try_recv() {
            tracing::error!(space = %self.space.id(), %error, "a document can't be read");
            self.lose();
        }
    }

    async fn on_timeout(&mut self) {
        if self.ready().is_some_and(|ready| self.now() >= ready) {
            self.make_ready().await;
        }
        self.with(Live::on_timeout).await;
        let is_idle = self.now() >= self.used + IDLE && self.patches.receiver_count() == 0;
        if is_idle && self.is_all_durable() {
            self.close().await;
        } else if self.now() >= self.used + IDLE {
            self.used = self.now();
        }
    }

    fn is_all_durable(&self) -> bool {
        self.durable == self.appended
    }

    /// Does what follows from what was done.
    async fn settle(&mut self) {
        self.drain();
        if self.is_broken() {
            self.panics += 1;
            self.give_up(Lost::Broken);
        }
        self.write().await;
        while let Some((until, _)) = self.waiters.front()
            && *until <= self.durable
            && let Some((_, waiter)) = self.waiters.pop_front()
        {
            let _ = waiter.send(Ok(()));
        }
    }

    fn drain(&mut self) {
        let Some(live) = &mut self.live else { return };
        let mut lost = None;
        while let Some(output) = live.poll_output() {
            match output {
                Output::Append(actor, change) => {
                    let op = live.op(&actor, &change.bytes);
                    live.note(op.len());
                    self.unwritten.push_back(op);
                    self.appended += 1;
                }
                Output::Patches(origin, patches) if !patches.is_empty() => {
                    // Without a reader nobody hears it.
                    let _ = self.patches.send(Ok(PatchEvent { origin, patches }));
                }
                Output::Patches(..) => {}
                Output::Void(change, why) => {
                    tracing::debug!(space = %self.space.id(), ?change, ?why, "a change is void");
                }
                Output::Lost(why) => {
                    tracing::error!(space = %self.space.id(), ?why, "edits are taken back");
                    lost = Some(Lost::Refused(why));
                }
                Output::Broken => {
                    tracing::error!(space = %self.space.id(), "Automerge panicked on a document");
                }
            }
        }
        if let Some(lost) = lost {
            self.tell_lost(&lost);
        }
    }

    /// Writes what is to be written, as one entry, if no other is under way.
    async fn write(&mut self) {
        if self.writing.is_some() || self.unwritten.is_empty() {
            return;
        }
        let Some(feed) = self.feed else { return };
        let (mut ops, mut bytes) = (Vec::new(), 0);
        while let Some(op) = self.unwritten.front() {
            bytes += op.len();
            if !ops.is_empty() && (bytes > MAX_BYTES || ops.len() == MAX_OPS) {
                break;
            }
            ops.extend(self.unwritten.pop_front());
        }
        let count = ops.len() as u64;
        let (reply, answer) = oneshot::channel();
        let (space, document) = (self.space.id(), self.collection);
        self.space.tell(Request::Append { space, document, feed, ops, reply }).await;
        self.writing = Some((count, answer));
    }

    fn on_written(&mut self, written: Result<Written, WriteFailed>) {
        let Some((count, _)) = self.writing.take() else { return };
        match written {
            Ok(_) => {
                self.durable += count;
                self.panics = 0;
            }
            Err(why) => {
                tracing::error!(space = %self.space.id(), %why, "edits can't be written");
                self.unwritten.clear();
                self.durable = self.appended;
                self.give_up(Lost::Write(why));
            }
        }
    }

    fn give_up(&mut self, why: Lost) {
        self.tell_lost(&why);
        self.lose();
    }

    /// Tells those who wait that edits are taken back; without any, whoever asks next.
    fn tell_lost(&mut self, why: &Lost) {
        if self.waiters.is_empty() {
            self.lost = Some(why.clone());
        }
        for (_, waiter) in self.waiters.drain(..) {
            let _ = waiter.send(Err(why.clone().into()));
        }
    }

    /// Forgets the document as it is in memory: it is opened anew when it is next used.
    fn lose(&mut self) {
        if self.live.take().is_some() {
            // Readers have to read it again.
            let _ = self.patches.send(Err(Missed));
        }
    }

    /// Lets go of the document, all of which is durable, and has its file kept.
    async fn close(&mut self) {
        let Some(live) = self.live.take() else { return };
        let writer = live.writer();
        let closed = tokio::task::spawn_blocking(move || live.close()).await;
        if let Ok(Some(file)) = closed {
            let (space, document) = (self.space.id(), self.collection);
            self.space.tell(Request::Keep { space, document, file, writer }).await;
        }
    }

    /// Nobody has the document any more: what was edited is written, and all of it let go of.
    async fn end(mut self) {
        self.with(Live::flush).await;
        self.drain();
        while self.writing.is_some() || !self.unwritten.is_empty() {
            self.write().await;
            if self.writing.is_none() {
                break;
            }
            let done = written(&mut self.writing).await;
            self.on_written(done);
        }
        self.settle().await;
        self.close().await;
    }
}

async fn written(writing: &mut Option<Writing>) -> Result<Written, WriteFailed> {
    match writing {
        Some((_, answer)) => answer.await.unwrap_or(Err(WriteFailed::Closed)),
        None => std::future::pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "a desk owns its clock")]
fn wall() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_documents_are_loaded_one_after_the_other_and_small_ones_together() {
        assert_eq!([0, 1, 512].map(share), [1; 3]);
        assert_eq!(share(129_138), 253);
        assert_eq!([1 << 20, usize::MAX].map(share), [512; 2]);
    }
}
