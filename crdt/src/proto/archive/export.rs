//! Exporting: the records of an archive, of what a replica keeps.

use std::collections::{BTreeSet, VecDeque};

use super::{Contents, Encoder, Record};
use crate::proto::{
    book::{Book, Stored, Walker},
    entry::{Authority, Header},
    feed::Tip,
    id::{EntryId, FeedId, Position},
    map::Feeds as _,
    rows::{Base, Overlay},
    space::Genesis,
};

/// Names of entries that are read at a time.
const CHUNK: usize = 256;
/// How often those are gone through that wait: liars can make an order that needs many rounds, and
/// what is given too early can be taken when the archive is read again.
const MAX_ROUNDS: usize = 64;

/// An entry by its place and name.
type Named = (Position, u32, Tip);

/// What an export does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Owners' own feeds, which cite nothing and say what was discarded of others.
    Owners,
    /// Other entries in the order of intake.
    Order,
    /// Those that had to wait, of which so many are looked at until all were, and so many of them
    /// could be given since.
    Waiting {
        left: usize,
        given: usize,
    },
    /// Those that wait for what isn't kept: nothing is left out.
    Rest,
    Ended,
}

/// The bytes of an archive, piece by piece: of all that a base holds, which nobody writes
/// meanwhile. See the [order](super) of its records.
#[derive(Debug)]
pub struct Export<B: Base> {
    book: Book<Overlay<B>>,
    /// None when the end is written.
    encoder: Option<Encoder>,
    contents: Contents,
    stage: Stage,
    /// Up to where names were read, and those that were read and not looked at.
    at: Position,
    named: VecDeque<Named>,
    ready: VecDeque<Vec<u8>>,
    /// Owners' own feeds, by local numbers.
    owners: BTreeSet<u32>,
    /// Feeds of which something was given, by local numbers: so their evidence was.
    begun: BTreeSet<u32>,
    waiting: VecDeque<Named>,
    rounds: usize,
    /// The names of those.
    held_up: BTreeSet<EntryId>,
}

impl<B: Base> Export<B> {
    /// Exports what a base holds of a space. Reads what is known of its feeds.
    ///
    /// # Errors
    /// Of the base, as all that reads it.
    pub fn begin(genesis: &Genesis, base: B) -> Result<Self, B::Error> {
        let book = Book::open(Overlay::new(base))?;
        let (encoder, front) = Encoder::begin(genesis);
        let (named, owners) = owners(&book, genesis)?;
        Ok(Self {
            book,
            owners,
            contents: encoder.contents(),
            encoder: Some(encoder),
            stage: Stage::Owners,
            at: Position::ZERO,
            named,
            ready: [front].into(),
            begun: BTreeSet::new(),
            waiting: VecDeque::new(),
            rounds: 0,
            held_up: BTreeSet::new(),
        })
    }

    /// The bytes that come next, of at most one entry; `None` behind the end.
    pub fn next_bytes(&mut self) -> Result<Option<Vec<u8>>, B::Error> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            if !self.step()? {
                return Ok(None);
            }
        }
    }

    /// What the bytes so far hold.
    pub fn contents(&self) -> Contents {
        self.encoder.as_ref().map_or(self.contents, Encoder::contents)
    }

    /// The last place in the order of intake, and that of the entry that was looked at last: how
    /// far it has come.
    pub const fn progress(&self) -> (Position, Position) {
        (self.book.last(), self.at)
    }

    /// Looks at an entry. Tells whether there is anything left to do.
    fn step(&mut self) -> Result<bool, B::Error> {
        match self.stage {
            Stage::Owners => match self.named.pop_front() {
                Some(named) => drop(self.look(named, false)?),
                None => self.stage = Stage::Order,
            },
            Stage::Order => match self.name()? {
                Some((_, local, _)) if self.owners.contains(&local) => {}
                Some(named) => drop(self.look(named, true)?),
                None => {
                    // What came last may have been evicted.
                    self.at = self.book.last();
                    self.wait();
                }
            },
            Stage::Waiting { left: 0, given: 0 } => self.stage = Stage::Rest,
            Stage::Waiting { left: 0, .. } => self.wait(),
            Stage::Waiting { left, given } => {
                let Some(named) = self.waiting.pop_front() else { return Ok(true) };
                let is_given = self.look(named, true)?;
                self.stage =
                    Stage::Waiting { left: left - 1, given: given + usize::from(is_given) };
            }
            Stage::Rest => match self.waiting.pop_front() {
                Some(named) => drop(self.look(named, false)?),
                None => {
                    let Some(encoder) = self.encoder.take() else { return Ok(false) };
                    let (end, contents) = encoder.end();
                    self.contents = contents;
                    self.ready.push_back(end);
                    self.stage = Stage::Ended;
                }
            },
            Stage::Ended => return Ok(false),
        }
        Ok(true)
    }

    fn wait(&mut self) {
        self.rounds += 1;
        self.stage = match self.waiting.len() {
            _ if self.rounds > MAX_ROUNDS => Stage::Rest,
            0 => Stage::Rest,
            left => Stage::Waiting { left, given: 0 },
        };
    }

    /// The next entry in the order of intake.
    fn name(&mut self) -> Result<Option<Named>, B::Error> {
        if self.named.is_empty() {
            let some = self.book.order(self.at).take(CHUNK);
            let some = some.collect::<Result<VecDeque<_>, _>>()?;
            self.named = some;
        }
        let named = self.named.pop_front();
        if let Some((at, ..)) = named {
            self.at = at;
        }
        Ok(named)
    }

    /// Gives an entry, unless it has to wait. Tells whether it was given.
    fn look(&mut self, named: Named, may_wait: bool) -> Result<bool, B::Error> {
        let (_, local, tip) = named;
        let Some(stored) = self.book.stored(&Walker::new(local, tip, 0))? else {
            return Ok(false);
        };
        let header = Header::decode(&stored.header).expect("what was put is read back");
        if may_wait && self.awaits(&header, stored.position)? {
            self.held_up.insert(stored.id);
            self.waiting.push_back(named);
            return Ok(false);
        }
        self.held_up.remove(&stored.id);
        self.give_credentials(&header)?;
        let Stored { id, header, payload, .. } = stored;
        self.give(&Record::Entry { header, payload });
        if self.begun.insert(local)
            && let Some([first, second]) = self.book.witnesses(&id.feed)?
        {
            self.give(&Record::Evidence { first, second });
        }
        Ok(true)
    }

    fn give(&mut self, record: &Record) {
        if let Some(encoder) = &mut self.encoder {
            self.ready.push_back(encoder.record(record));
        }
    }

    /// Gives the credentials of feeds that an entry cites and of which nothing is kept.
    fn give_credentials(&mut self, header: &Header) -> Result<(), B::Error> {
        let feeds: BTreeSet<FeedId> = header.frontier().iter().map(|cited| cited.feed).collect();
        for feed in feeds {
            if self.is_void(&feed)
                && let Some(header) = self.book.credential(&feed)?
            {
                self.give(&Record::Credential { header });
            }
        }
        Ok(())
    }

    fn is_void(&self, feed: &FeedId) -> bool {
        self.book.known(feed).is_none_or(|known| known.feed().tips().is_empty())
    }

    /// Whether whoever reads the archive could not take an entry in yet.
    fn awaits(&self, header: &Header, at: Position) -> Result<bool, B::Error> {
        let grant = match header.authority() {
            Some(Authority::Grant(grant)) => Some(grant),
            _ => None,
        };
        if header.parent().iter().chain(&grant).any(|id| self.held_up.contains(id)) {
            return Ok(true);
        }
        for cited in header.frontier() {
            if self.held_up.contains(cited) {
                return Ok(true);
            }
            let is_before = self.book.position(cited)?.is_some_and(|place| place < at);
            if !is_before && !self.is_excused(cited) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether what was given excuses that a cited entry isn't kept. Of what a removal evicted only
    /// the end is sure to be behind the removal.
    fn is_excused(&self, cited: &EntryId) -> bool {
        if self.is_void(&cited.feed) {
            return self.stage != Stage::Order;
        }
        let local = self.book.catalog().local(&cited.feed);
        let is_shown = local.is_some_and(|local| self.begun.contains(&local));
        let evidence = self.book.evidence(&cited.feed);
        is_shown && evidence.is_some_and(|evidence| evidence.excuses(cited.number))
    }
}

/// The entries of owners' own feeds, parents before children, and those feeds.
fn owners<B: Base>(
    book: &Book<Overlay<B>>,
    genesis: &Genesis,
) -> Result<(VecDeque<Named>, BTreeSet<u32>), B::Error> {
    let (mut named, mut owners) = (VecDeque::new(), BTreeSet::new());
    for known in book.catalog().feeds() {
        let is_owners = genesis.is_owner(&known.id().author);
        let local = book.catalog().local(&known.id());
        let Some(local) = local.filter(|_| is_owners && known.authority() == Authority::Genesis)
        else {
            continue;
        };
        owners.insert(local);
        for mut way in book.ways(&known.id(), &[], false)? {
            while let Some((at, next)) = book.step(&way)? {
                named.push_back((at, local, next.behind()));
                way = next;
            }
        }
    }
    Ok((named, owners))
}

impl<B: Base> Iterator for Export<B> {
    type Item = Result<Vec<u8>, B::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_bytes().inspect_err(|_| self.stage = Stage::Ended).transpose()
    }
}
