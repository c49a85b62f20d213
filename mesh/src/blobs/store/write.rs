//! Downloads: verified content into a partial blob.

use std::ops::Range;

use aether_core::BlobId;
use blake3::Hash;

use super::{
    BlobStore,
    blob::{InUse, Part, State},
    change::PlacedPair,
    error::{BeginError, ProveError, QuotaExceeded, ReadError, WriteError},
    index::{Room, RoomError},
    tree::{self, GROUP, MAX_SIZE, PAIR, Step, Steps, Tree},
};

/// Groups whose bytes are reserved at once.
const STRIDE: u64 = 16;

/// Files and bits around a group's content, at most, when some are reserved.
const AROUND: u64 = 3 * 4096;

/// Takes a verified group: its number, its content, and the pairs on the way to it that are new.
type Store<'a> = &'a mut dyn FnMut(u64, &[u8], &mut Vec<PlacedPair>) -> Result<(), WriteError>;

/// Verifies an encoding as it comes in, cut anywhere.
#[derive(Debug)]
struct Decoder {
    tree: Tree,
    steps: Steps,
    next: Option<Step>,
    /// Hashes that are expected, the next on top.
    stack: Vec<Hash>,
    /// On the way to the next group.
    pairs: Vec<PlacedPair>,
    /// The beginning of an item whose end is still to come.
    carry: Vec<u8>,
}

impl Decoder {
    fn new(root: Hash, size: u64, groups: &Range<u64>) -> Self {
        let tree = Tree::new(size);
        let mut steps = tree.steps(groups);
        let next = steps.next();
        Self { tree, next, steps, stack: vec![root], pairs: Vec::new(), carry: Vec::new() }
    }

    fn push(&mut self, mut bytes: &[u8], store: Store<'_>) -> Result<(), WriteError> {
        while let Some(step) = &self.next {
            let len = match step {
                Step::Parent { .. } => PAIR as usize,
                Step::Leaf { len, .. } => *len,
            };
            let take = (len - self.carry.len()).min(bytes.len());
            let (head, rest) = bytes.split_at(take);
            bytes = rest;
            if self.carry.is_empty() && take == len {
                // All of it is here: no copy.
                self.item(head, store)?;
                continue;
            }
            self.carry.extend_from_slice(head);
            if self.carry.len() < len {
                return Ok(());
            }
            let mut item = std::mem::take(&mut self.carry);
            self.item(&item, store)?;
            item.clear();
            self.carry = item;
        }
        if bytes.is_empty() { Ok(()) } else { Err(WriteError::TooLong { excess: bytes.len() }) }
    }

    fn item(&mut self, bytes: &[u8], store: Store<'_>) -> Result<(), WriteError> {
        let expected = self.stack.pop().expect("a walk expects a hash for each step");
        match self.next.take().expect("an item belongs to a step") {
            Step::Parent { node, is_root, left, right } => {
                let pair = bytes.try_into().expect("a pair has 64 bytes");
                let (l, r) = tree::split_pair(pair);
                if tree::parent_hash(&l, &r, is_root) != expected {
                    return Err(WriteError::Wrong { groups: self.tree.groups_under(node) });
                }
                self.stack.extend(right.then_some(r));
                self.stack.extend(left.then_some(l));
                let (at, under) = (self.tree.pair_at(node), self.tree.groups_under(node));
                self.pairs.push(PlacedPair { at, pair: *pair, under });
            }
            Step::Leaf { group, is_root, .. } => {
                if tree::leaf_hash(group, bytes, is_root) != expected {
                    return Err(WriteError::Wrong { groups: group..group + 1 });
                }
                store(group, bytes, &mut self.pairs)?;
                self.pairs.clear();
            }
        }
        self.next = self.steps.next();
        Ok(())
    }
}

impl BlobStore {
    /// Begins, or goes on with, the download of a blob that somebody claims has this size. Nothing
    /// is reserved or evicted for a claim: room is made group by group, for what is verified.
    ///
    /// A false claim of nearly the right size can be found out as late as at the last group. So
    /// fetch that group first, or [`prove`](Self::prove) the size with it.
    ///
    /// **Cost.** After a restart of the machine, what is held is read and hashed.
    pub fn begin(&self, id: BlobId, size: u64) -> Result<Download, BeginError> {
        if size > MAX_SIZE {
            return Err(BeginError::TooLarge { size });
        }
        self.could_fit(&id, size)?;
        let in_use = InUse::any(&self.inner, id);
        let mut inside = in_use.blob.lock();
        let other = match &inside.state {
            State::Absent => None,
            State::Whole { size: held } => (*held != size).then_some((*held, true)),
            State::Part(part) => (part.size != size).then(|| (part.size, part.is_proved())),
        };
        if let Some((size, proved)) = other {
            return Err(BeginError::OtherSize { size, proved });
        }
        if matches!(inside.state, State::Absent) {
            inside.state = State::Part(Part::new(size));
        }
        drop(inside);
        in_use.check()?;
        // A crash may have come between the last group and the name.
        in_use.finish(&mut Room::new(self.inner.clone()))?;
        Ok(Download { in_use, size })
    }

    fn could_fit(&self, id: &BlobId, size: u64) -> Result<(), QuotaExceeded> {
        self.inner.index().could_fit(id, State::Whole { size }.charge())
    }

    /// Proves a size by the encoding of the last chunk group, which is stored. A partial blob with
    /// another size gets this one, and keeps what verifies; a writer for the other size fails with
    /// [`WriteError::Superseded`].
    pub fn prove(&self, id: BlobId, size: u64, encoded: &[u8]) -> Result<(), ProveError> {
        let wrong = ProveError::Wrong { size };
        if size > MAX_SIZE {
            return Err(wrong);
        }
        let end = tree::groups(size);
        let root = Hash::from_bytes(*id.as_bytes());
        let mut decoder = Decoder::new(root, size, &(end - 1..end));
        let mut proof = None;
        let pushed = decoder.push(encoded, &mut |_, data, pairs| {
            proof = Some((data.to_vec(), std::mem::take(pairs)));
            Ok(())
        });
        let (Ok(()), Some((last, pairs))) = (pushed, proof) else { return Err(wrong) };
        self.store_proof(id, size, &last, &pairs).map_err(ProveError::Write)
    }

    fn store_proof(
        &self,
        id: BlobId,
        size: u64,
        last: &[u8],
        pairs: &[PlacedPair],
    ) -> Result<(), WriteError> {
        self.could_fit(&id, size)?;
        let in_use = InUse::any(&self.inner, id);
        let mut room = Room::new(self.inner.clone());
        let is_other = match &mut in_use.blob.lock().state {
            State::Whole { .. } => return Ok(()),
            State::Part(part) => part.size != size,
            state @ State::Absent => {
                *state = State::Part(Part::new(size));
                false
            }
        };
        room.grow(GROUP + PAIR + AROUND)?;
        if tree::groups(size) == 1 {
            return Ok(self.install_bytes(&in_use, last, &mut room)?);
        }
        if is_other {
            in_use.replace_size(size, last, pairs, &mut room)?;
            in_use.check()?;
            return Ok(in_use.finish(&mut room)?);
        }
        let end = tree::groups(size);
        in_use.store_group(size, end - 1, last, pairs, &mut room)
    }
}

/// A blob that is being fetched. It is in use until this is dropped; what is held stays.
#[derive(Clone, Debug)]
pub struct Download {
    in_use: InUse,
    size: u64,
}

impl Download {
    /// The blob's id.
    pub fn id(&self) -> &BlobId {
        self.in_use.id()
    }

    /// The size in bytes that it was begun with.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The runs of chunk groups that are missing, ascending; none if the blob is complete, or about
    /// to be.
    pub fn missing(&self) -> Vec<Range<u64>> {
        let all = 0..tree::groups(self.size);
        match &self.in_use.blob.lock().state {
            State::Absent => vec![all],
            State::Part(part) => part.held.gaps(all),
            State::Whole { .. } => Vec::new(),
        }
    }

    /// Whether the last chunk group is held, which proves the size.
    pub fn is_proved(&self) -> bool {
        self.in_use.holds(tree::groups(self.size) - 1)
    }

    /// Whether all is held and synced, under its final name.
    pub fn is_complete(&self) -> bool {
        matches!(self.in_use.blob.lock().state, State::Whole { .. })
    }

    /// Takes the encoding of a range of chunk groups, as [`BlobStore::encode`] makes it. Several
    /// writers may be at work at once, from several senders.
    pub fn writer(&self, groups: Range<u64>) -> Result<Writer, ReadError> {
        if !tree::is_range(self.size, &groups) {
            return Err(ReadError::OutOfRange { size: self.size });
        }
        Ok(Writer {
            decoder: Decoder::new(self.in_use.root(), self.size, &groups),
            room: Room::new(self.in_use.store.clone()),
            in_use: self.in_use.clone(),
            size: self.size,
            end: groups.end,
            has_failed: false,
        })
    }
}

/// Takes an encoding piece by piece, and stores each chunk group as soon as it's verified.
#[derive(Debug)]
pub struct Writer {
    in_use: InUse,
    size: u64,
    end: u64,
    decoder: Decoder,
    room: Room,
    has_failed: bool,
}

impl Writer {
    /// Takes the next bytes, cut anywhere. A group that is whole and verified is stored before the
    /// next is looked at: killing the process doesn't lose it. After an error the writer is of no
    /// more use, and what verified before is stored.
    ///
    /// **Cost.** The call that brings the last missing group of the blob syncs all of it.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if self.has_failed {
            return Err(WriteError::TooShort);
        }
        let (in_use, size, end, room) = (&self.in_use, self.size, self.end, &mut self.room);
        let result =
            self.decoder.push(bytes, &mut |group, data, pairs| match in_use.holds(group) {
                true => Ok(()),
                false => store(in_use, size, group..end, data, pairs, room),
            });
        self.has_failed = result.is_err();
        result
    }

    /// Says that this was all. If the blob is whole by that, it is so when this returns, whoever
    /// brought the last group.
    pub fn finish(mut self) -> Result<(), WriteError> {
        // An empty blob's encoding is empty, and is looked at here.
        self.push(&[])?;
        if self.decoder.next.is_some() {
            return Err(WriteError::TooShort);
        }
        Ok(self.in_use.finish(&mut self.room)?)
    }
}

/// Stores a verified group, the first of those that are to come.
fn store(
    in_use: &InUse,
    size: u64,
    groups: Range<u64>,
    data: &[u8],
    pairs: &[PlacedPair],
    room: &mut Room,
) -> Result<(), WriteError> {
    let needed = |groups: u64| groups * (GROUP + PAIR) + AROUND;
    if room.left() < needed(1) {
        match room.grow(needed(STRIDE.min(groups.end - groups.start))) {
            // Where many don't fit, one may.
            Err(RoomError::Quota(_)) => room.grow(needed(1))?,
            grown => grown?,
        }
    }
    if tree::groups(size) == 1 {
        let store = BlobStore { inner: in_use.store.clone() };
        return Ok(store.install_bytes(in_use, data, room)?);
    }
    in_use.store_group(size, groups.start, data, pairs, room)
}
