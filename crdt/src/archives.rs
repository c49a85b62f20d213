//! Exporting spaces to archives, and importing them.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read, Write},
    mem,
};

use aether_store::ReadError;
use tokio::sync::oneshot;

use crate::{
    Space, Spaces, WriteFailed,
    driver::Request,
    proto::{
        archive::{ArchiveError, Contents, Decoder, Export, Part, Record},
        id::SpaceId,
        replica::{Fault, Offered},
    },
    spaces::OpenError,
};

/// Bytes of an archive that are read at a time.
const PIECE: usize = 64 << 10;
/// Records that the driver is given at once, and their bytes, but for the last one.
const MAX_RECORDS: usize = 64;
const MAX_BYTES: usize = 256 << 10;
/// How often so many are on their way to the disk: they share its syncs.
const MAX_ON_WAY: usize = 16;

/// How far an export has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportProgress {
    /// Entries that were looked at, those that were evicted since among them.
    pub done: u64,
    /// Of how many.
    pub of: u64,
}

/// What became of what an archive holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Entries, and evidence of forks, that are new here.
    pub taken: u64,
    /// Those that were here before.
    pub known: u64,
    /// Those that can't be taken in, though nobody did wrong: another branch of a forked feed has
    /// their place, or the clock of this node is behind that of their author. Import the archive
    /// again to try again.
    pub left: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { taken, known, left, .. } = self;
        write!(f, "{taken} new, {known} known before, {left} that can't be taken in now")
    }
}

/// Why a space isn't exported. What was written of the archive is worth nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// What is stored of the space can't be read, or the space was left.
    #[error("what is stored of the space can't be read")]
    Read(#[from] ReadError),
    /// The archive can't be written.
    #[error("the archive can't be written")]
    Write(#[source] io::Error),
    /// The runtime is being shut down.
    #[error("the node has stopped")]
    Closed,
}

/// Why an archive isn't imported, or only in part: what stood before is taken in, and stays. So a
/// whole archive can be imported over a torn one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It can't be read.
    #[error("the archive can't be read to its end; of what stands before: {imported}")]
    Read {
        /// What came in.
        imported: Imported,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It isn't an archive, or isn't as it was written.
    #[error("the import has stopped; of what stands before: {imported}")]
    Archive {
        /// What came in.
        imported: Imported,
        /// Why.
        #[source]
        source: ArchiveError,
    },
    /// Whoever made it put in what no author signed, or what breaks the rules of spaces.
    #[error(
        "record {record} of the archive is none that a node exports ({fault:?}): don't trust who \
         made it; of what stands before: {imported}"
    )]
    Forged {
        /// What came in.
        imported: Imported,
        /// Which record, counted from 1.
        record: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// It can't be written down.
    #[error("the import has stopped; of what stands before: {imported}")]
    Write {
        /// What came in.
        imported: Imported,
        /// Why.
        #[source]
        source: WriteFailed,
    },
    /// The space can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Space {
    /// Writes an archive of all that is synced now, which [`Spaces::import`] reads, and tells how
    /// far it has come. [The layout](crate::proto::archive) is the same for ever. Nothing stops
    /// meanwhile: what is written later isn't in it.
    ///
    /// It reads each entry once, on a thread for blocking work, and has one in memory. The writer
    /// is flushed, and whoever made it syncs it. What was begun goes on though nobody waits for it,
    /// until the writer fails.
    ///
    /// # Errors
    /// The space can't be read, or the archive not be written.
    pub async fn export(
        &self,
        to: impl Write + Send + 'static,
        told: impl FnMut(ExportProgress) + Send + 'static,
    ) -> Result<Contents, ExportError> {
        let space = self.clone();
        let write = move || write(&space, to, told);
        tokio::task::spawn_blocking(write).await.map_err(|_| ExportError::Closed)?
    }
}

fn write(
    space: &Space,
    mut to: impl Write,
    mut told: impl FnMut(ExportProgress),
) -> Result<Contents, ExportError> {
    let still = space.shelf().still(space.store().snapshot())?;
    let mut export = Export::begin(space.genesis(), still)?;
    while let Some(bytes) = export.next_bytes()? {
        to.write_all(&bytes).map_err(ExportError::Write)?;
        let (of, done) = export.progress();
        told(ExportProgress { done: done.as_number(), of: of.as_number() });
    }
    to.flush().map_err(ExportError::Write)?;
    Ok(export.contents())
}

impl Spaces {
    /// Takes in an archive: opens its space, as [`join`](Self::join) does, and takes in what it
    /// holds as if a peer had sent it. All is checked, so whoever made the archive need not be
    /// trusted. Doing it twice does no harm.
    ///
    /// What this node writes afterwards begins a feed of its own, though an archive may hold what a
    /// node with the same key wrote: a backup that is brought back never forks its author.
    ///
    /// It reads on a thread for blocking work, and has some 20 MiB in memory at most. The disk sets
    /// the pace. What was begun goes on though nobody waits for it, until the reader fails or ends.
    ///
    /// # Errors
    /// See [`ImportError`]. Of an archive that isn't whole, what stands before the damage is taken
    /// in.
    pub async fn import(
        &self,
        from: impl Read + Send + 'static,
    ) -> Result<(Space, Imported), ImportError> {
        let (spaces, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let import = move || Import::new(spaces, runtime).run(from);
        tokio::task::spawn_blocking(import).await.map_err(|_| OpenError::Closed)?
    }
}

/// What became of records that the driver was given.
type Answer = oneshot::Receiver<Result<Offered, WriteFailed>>;

/// An import that goes on.
struct Import {
    spaces: Spaces,
    runtime: tokio::runtime::Handle,
    space: Option<Space>,
    decoder: Decoder,
    records: Vec<Record>,
    bytes: usize,
    /// What is on its way to the disk, and behind how many records.
    on_way: VecDeque<(u64, Answer)>,
    given: u64,
    imported: Imported,
}

impl Import {
    fn new(spaces: Spaces, runtime: tokio::runtime::Handle) -> Self {
        Self {
            spaces,
            runtime,
            space: None,
            decoder: Decoder::default(),
            records: Vec::new(),
            bytes: 0,
            on_way: VecDeque::new(),
            given: 0,
            imported: Imported::default(),
        }
    }

    fn run(mut self, mut from: impl Read) -> Result<(Space, Imported), ImportError> {
        let read = self.read(&mut from);
        // What stands before an error stays, so that is waited for too.
        let finished = self.finish();
        self.imported.bytes = self.decoder.contents().bytes;
        let imported = self.imported;
        match (finished.and(read), self.space) {
            (Ok(()), Some(space)) => Ok((space, imported)),
            (Ok(()), None) => Err(ImportError::Archive { imported, source: ArchiveError::Other }),
            (Err(stopped), _) => Err(stopped.at(imported)),
        }
    }

    fn read(&mut self, from: &mut impl Read) -> Result<(), Stopped> {
        let mut piece = vec![0; PIECE];
        loop {
            let len = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stopped::Read(error)),
            };
            self.decoder.push(piece.get(..len).unwrap_or_default());
            while let Some(part) = self.decoder.poll()? {
                self.on_part(part)?;
            }
        }
        self.decoder.end()?;
        Ok(())
    }

    fn on_part(&mut self, part: Part) -> Result<(), Stopped> {
        match part {
            Part::Genesis(genesis) => {
                self.space = Some(self.runtime.block_on(self.spaces.found(genesis))?);
            }
            Part::Record(record) => {
                self.bytes += match &record {
                    Record::Entry { header, payload } => header.len() + payload.len(),
                    Record::Evidence { first, second } => first.len() + second.len(),
                    Record::Credential { header } => header.len(),
                };
                self.records.push(record);
                if self.records.len() == MAX_RECORDS || self.bytes >= MAX_BYTES {
                    self.give()?;
                }
            }
        }
        Ok(())
    }

    /// Gives the driver what was gathered.
    fn give(&mut self) -> Result<(), Stopped> {
        while self.on_way.len() >= MAX_ON_WAY {
            self.hear()?;
        }
        let Some(space) = self.space.as_ref().map(Space::id) else { return Ok(()) };
        let records = mem::take(&mut self.records);
        self.bytes = 0;
        let (before, count) = (self.given, records.len() as u64);
        let answer = self.offer(space, records)?;
        self.given += count;
        self.on_way.push_back((before, answer));
        Ok(())
    }

    fn offer(&self, space: SpaceId, records: Vec<Record>) -> Result<Answer, Stopped> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Offer { space, records, reply };
        let sent = self.spaces.requests().blocking_send(request);
        sent.map_err(|_| Stopped::Write(WriteFailed::Closed))?;
        Ok(answer)
    }

    /// Hears what became of what was given first.
    fn hear(&mut self) -> Result<(), Stopped> {
        let Some((before, answer)) = self.on_way.pop_front() else { return Ok(()) };
        let offered = answer.blocking_recv().unwrap_or(Err(WriteFailed::Closed));
        let Offered { taken, known, left, fault } = offered.map_err(Stopped::Write)?;
        self.imported.taken += taken;
        self.imported.known += known;
        self.imported.left += left;
        match fault {
            Some((place, fault)) => {
                Err(Stopped::Forged { record: before + place as u64 + 1, fault })
            }
            None => Ok(()),
        }
    }

    /// Gives what is left, and hears of all.
    fn finish(&mut self) -> Result<(), Stopped> {
        let mut done = if self.records.is_empty() { Ok(()) } else { self.give() };
        while !self.on_way.is_empty() {
            let heard = self.hear();
            done = done.and(heard);
        }
        done
    }
}

/// Why an import has stopped.
enum Stopped {
    Read(io::Error),
    Archive(ArchiveError),
    Forged { record: u64, fault: Fault },
    Write(WriteFailed),
    Open(OpenError),
}

impl Stopped {
    fn at(self, imported: Imported) -> ImportError {
        match self {
            Self::Read(source) => ImportError::Read { imported, source },
            Self::Archive(source) => ImportError::Archive { imported, source },
            Self::Forged { record, fault } => ImportError::Forged { imported, record, fault },
            Self::Write(source) => ImportError::Write { imported, source },
            Self::Open(source) => ImportError::Open(source),
        }
    }
}

impl From<ArchiveError> for Stopped {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<OpenError> for Stopped {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}
