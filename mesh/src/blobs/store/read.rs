//! Reading and serving: everything is verified on the way from the disk.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::FileExt as _,
};

use aether_core::BlobId;
use blake3::Hash;
use bytes::Bytes;

use super::{
    BlobStore,
    blob::{InUse, Source, read_or_zeros},
    error::{FileError, ReadError},
    tree::{self, Builder, GROUP, PAIR, Step, Steps, Tree},
};

/// Pairs are read so many bytes at a time, up to the one that is needed: in post-order, what is
/// under a node comes right before it.
const WINDOW: u64 = 4096;

/// Content that a reader verifies at once: 1 MiB.
const READ_AHEAD: u64 = 64;

/// Content in one piece of an encoding: 256 KiB.
const PIECE: usize = 256 * 1024;

/// Why a walk ended.
pub(super) enum WalkError {
    /// These groups don't verify.
    Damaged(Range<u64>),
    File(FileError),
}

/// What a walk comes by.
pub(super) enum Item<'a> {
    Pair(&'a [u8]),
    /// The first byte's place, and the content.
    Leaf(u64, &'a [u8]),
}

/// Goes through a range of groups in the order of bao's encoding, from the root on, and verifies
/// each pair and each group before it shows it.
#[derive(Debug)]
pub(super) struct Walk {
    source: Source,
    tree: Tree,
    steps: Steps,
    /// Hashes that are expected, the next on top.
    stack: Vec<Hash>,
    window: Vec<u8>,
    /// Where the window is in the outboard.
    window_at: u64,
    leaf: Vec<u8>,
}

impl Walk {
    /// The range must be one that the blob has.
    pub(super) fn new(source: Source, groups: &Range<u64>) -> Self {
        let tree = Tree::new(source.size);
        Self {
            steps: tree.steps(groups),
            stack: vec![source.root],
            tree,
            source,
            window: Vec::new(),
            window_at: 0,
            leaf: Vec::new(),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Item<'_>>, WalkError> {
        match self.steps.next() {
            None => Ok(None),
            Some(Step::Parent { node, is_root, left, right }) => {
                let expected = self.stack.pop().expect("a walk expects a hash for each node");
                let at = self.tree.pair_at(node);
                if !self.load_pair(at, &expected, is_root).map_err(|e| self.failed(e))? {
                    let groups = self.tree.groups_under(node);
                    let mended = self.mend(&groups, at, &expected, is_root);
                    if !mended.map_err(|e| self.failed(e))? {
                        return Err(WalkError::Damaged(groups));
                    }
                }
                let pair = &self.window[self.place(at)];
                let (l, r) = split(pair);
                self.stack.extend(right.then_some(r));
                self.stack.extend(left.then_some(l));
                Ok(Some(Item::Pair(pair)))
            }
            Some(Step::Leaf { group, len, is_root }) => {
                let at = group * GROUP;
                self.leaf.resize(len, 0);
                let expected = self.stack.pop().expect("a walk expects a hash for each group");
                let read = match self.source.files.data.read_exact_at(&mut self.leaf, at) {
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
                    read => read.map(|()| true).map_err(|e| self.failed(e))?,
                };
                if !read || tree::leaf_hash(group, &self.leaf, is_root) != expected {
                    return Err(WalkError::Damaged(group..group + 1));
                }
                Ok(Some(Item::Leaf(at, &self.leaf)))
            }
        }
    }

    /// Where in the window the pair is that has this place in the outboard.
    fn place(&self, at: u64) -> Range<usize> {
        let start = usize::try_from(at - self.window_at).expect("a window fits in memory");
        start..start + PAIR as usize
    }

    /// Sees to it that a pair is in the window, and answers whether it's right.
    fn load_pair(&mut self, at: u64, expected: &Hash, is_root: bool) -> io::Result<bool> {
        let end = self.window_at + self.window.len() as u64;
        if at < self.window_at || at + PAIR > end {
            self.window_at = (at + PAIR).saturating_sub(WINDOW);
            let len = at + PAIR - self.window_at;
            self.window.resize(usize::try_from(len).expect("a window fits in memory"), 0);
            self.source.files.read_pairs(self.source.size, &mut self.window, self.window_at)?;
        }
        let (left, right) = split(&self.window[self.place(at)]);
        Ok(tree::parent_hash(&left, &right, is_root) == *expected)
    }

    /// Makes the hashes under a damaged pair of a whole blob anew from its content: so a flipped
    /// bit in the outboard doesn't cost all that is under it. Answers whether they are right now.
    fn mend(
        &mut self,
        groups: &Range<u64>,
        at: u64,
        expected: &Hash,
        is_root: bool,
    ) -> io::Result<bool> {
        let Source { files, size, tmp, .. } = &self.source;
        if files.part.is_some() {
            return Ok(false);
        }
        let mut builder = Builder::new(groups.start, tmp);
        for group in groups.clone() {
            let len = tree::run_len(*size, &(group..group + 1));
            self.leaf.resize(usize::try_from(len).expect("a group fits in memory"), 0);
            read_or_zeros(&files.data, &mut self.leaf, group * GROUP)?;
            builder.push(&self.leaf, false)?;
        }
        let (hash, mut pairs) = builder.finish(is_root)?;
        if hash != *expected {
            return Ok(false);
        }
        // In post-order, a subtree's pairs are in a row, and its own is the last.
        let mut place = size + at + PAIR - (groups.end - groups.start - 1) * PAIR;
        let mut bytes = vec![0; WINDOW as usize];
        loop {
            let len = pairs.read(&mut bytes)?;
            if len == 0 {
                break;
            }
            files.data.write_all_at(&bytes[..len], place)?;
            place += len as u64;
        }
        tracing::warn!(file = %files.path.display(), ?groups, "mended damaged hashes");
        self.window.clear();
        self.load_pair(at, expected, is_root)
    }

    fn failed(&self, error: io::Error) -> WalkError {
        WalkError::File(self.source.files.error()(error))
    }
}

fn split(pair: &[u8]) -> (Hash, Hash) {
    tree::split_pair(pair.try_into().expect("a pair has 64 bytes"))
}

impl InUse {
    /// Sees to it that damage is fetched again.
    fn explain(&self, error: WalkError, source: &Source) -> ReadError {
        match error {
            WalkError::File(error) => error.into(),
            WalkError::Damaged(groups) => match self.drop_groups(&groups, &source.files) {
                Ok(()) => ReadError::Damaged { groups },
                Err(error) => error.into(),
            },
        }
    }

    /// Hands out content in order, each piece with its place.
    fn read_groups(
        &self,
        groups: &Range<u64>,
        mut each: impl FnMut(u64, &[u8]),
    ) -> Result<(), ReadError> {
        let source = self.source(groups)?;
        let mut walk = Walk::new(source.clone(), groups);
        while let Some(item) = walk.next().map_err(|error| self.explain(error, &source))? {
            if let Item::Leaf(at, data) = item {
                each(at, data);
            }
        }
        Ok(())
    }

    /// Fills the buffer from `offset` on, up to the blob's end. Answers with how much it was.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let size = self.size()?;
        if offset > size {
            return Err(ReadError::OutOfRange { size });
        }
        let end = offset.saturating_add(buffer.len() as u64).min(size);
        let len = usize::try_from(end - offset).expect("a buffer fits in memory");
        if len == 0 {
            return Ok(0);
        }
        let buffer = &mut buffer[..len];
        self.read_groups(&(offset / GROUP..end.div_ceil(GROUP)), |at, data| {
            let (from, to) = (at.max(offset), (at + data.len() as u64).min(end));
            let place = |byte: u64, base: u64| (byte - base) as usize;
            let data = &data[place(from, at)..place(to, at)];
            buffer[place(from, offset)..place(to, offset)].copy_from_slice(data);
        })?;
        Ok(len)
    }
}

impl BlobStore {
    /// Reads bytes from `offset` on into a buffer, up to its length or the blob's end, and answers
    /// how many. The groups that they are in must be held.
    ///
    /// **Cost.** Whole groups of 16 KiB are read and hashed, and the pairs of hashes up to the
    /// root.
    pub fn read_at(&self, id: &BlobId, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        InUse::existing(&self.inner, id).ok_or(ReadError::Absent)?.read_at(offset, buffer)
    }

    /// Reads a blob from its start. It's in use until the reader is dropped.
    pub fn reader(&self, id: &BlobId) -> Result<Reader, ReadError> {
        let in_use = InUse::existing(&self.inner, id).ok_or(ReadError::Absent)?;
        Reader::new(in_use)
    }

    /// Encodes a range of chunk groups for another node: bao's encoding with groups of 16 KiB
    /// (the pairs of hashes from the root on and the content, in pre-order), without the length.
    /// All of the range must be held.
    pub fn encode(&self, id: &BlobId, groups: Range<u64>) -> Result<Encoder, ReadError> {
        let in_use = InUse::existing(&self.inner, id).ok_or(ReadError::Absent)?;
        let source = in_use.source(&groups)?;
        let walk = Walk::new(source.clone(), &groups);
        Ok(Encoder { in_use, source, walk })
    }
}

/// Reads a blob's verified content from front to back, 1 MiB at a time, from memory in between.
///
/// As [`Read`], a [`ReadError`] is the source of the error.
#[derive(Debug)]
pub struct Reader {
    in_use: InUse,
    size: u64,
    /// The next byte.
    at: u64,
    /// Where the buffer is.
    buffer_at: u64,
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn new(in_use: InUse) -> Result<Self, ReadError> {
        let size = in_use.size()?;
        Ok(Self { in_use, size, at: 0, buffer_at: 0, buffer: Vec::new() })
    }

    /// The blob's size in bytes, or the size claimed.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes, at most 1 MiB; none at the end.
    pub fn next_bytes(&mut self) -> Result<&[u8], ReadError> {
        let buffered = self.buffer_at..self.buffer_at + self.buffer.len() as u64;
        if !buffered.contains(&self.at) {
            self.fill()?;
        }
        let from = usize::try_from(self.at - self.buffer_at).expect("a buffer fits in memory");
        self.at = self.buffer_at + self.buffer.len() as u64;
        Ok(&self.buffer[from..])
    }

    fn fill(&mut self) -> Result<(), ReadError> {
        let group = self.at.min(self.size) / GROUP;
        self.buffer.clear();
        self.buffer_at = self.at;
        if self.at >= self.size {
            return Ok(());
        }
        let groups = group..tree::groups(self.size).min(group + READ_AHEAD);
        let buffer = &mut self.buffer;
        self.in_use.read_groups(&groups, |_, data| buffer.extend_from_slice(data))?;
        self.buffer_at = group * GROUP;
        Ok(())
    }

    /// All of a blob that has no more than `max` bytes; of a larger one, `max + 1` at least.
    pub(super) fn read_up_to(&mut self, max: usize) -> Result<Vec<u8>, ReadError> {
        let mut all = Vec::new();
        while all.len() <= max {
            let next = self.next_bytes()?;
            if next.is_empty() {
                break;
            }
            all.extend_from_slice(next);
        }
        Ok(all)
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.at;
        let bytes = self.next_bytes()?;
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        self.at = at + len as u64;
        Ok(len)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// A range of chunk groups on its way to another node, verified as it's read from the disk.
///
/// An error ends it: what came before is right, and what was damaged isn't held any more.
#[derive(Debug)]
pub struct Encoder {
    in_use: InUse,
    source: Source,
    walk: Walk,
}

impl Encoder {
    /// The blob's size in bytes, or the size claimed.
    pub fn size(&self) -> u64 {
        self.source.size
    }

    /// The next piece of the encoding, of about 256 KiB; `None` at the end. Pieces may be cut
    /// anywhere.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>, ReadError> {
        let mut piece = Vec::with_capacity(PIECE + PIECE / 8);
        while piece.len() < PIECE {
            match self.walk.next() {
                Ok(None) => break,
                Ok(Some(Item::Pair(bytes) | Item::Leaf(_, bytes))) => {
                    piece.extend_from_slice(bytes);
                }
                Err(error) => return Err(self.in_use.explain(error, &self.source)),
            }
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }

    /// Writes the rest of the encoding.
    pub fn write_to(mut self, writer: &mut dyn Write) -> io::Result<()> {
        loop {
            match self.walk.next() {
                Ok(None) => return Ok(()),
                Ok(Some(Item::Pair(bytes) | Item::Leaf(_, bytes))) => writer.write_all(bytes)?,
                Err(error) => return Err(self.in_use.explain(error, &self.source).into()),
            }
        }
    }
}
