//! Authors who edit one document at once and hand each other their changes as bytes.

use std::collections::BTreeSet;

use aether_crdt::proto::document::{
    ActorId, ChangeHash, Index,
    body::{Body, Committed, Settings},
    content::{Content, ObjId, TextUnit},
    edit::{Edit, EditError, Edited},
    patch::Patch,
    weight::DEFAULT_LIMIT,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::edits::random_edit;

pub(crate) const ROOT: ObjId = ObjId::Root;

/// An author, with what a reader makes of the patches alone.
pub(crate) struct Author {
    pub(crate) body: Body,
    mirror: Content,
}

impl Author {
    pub(crate) fn new(by: u8, unit: TextUnit) -> Self {
        let settings = Settings { actor: ActorId([by; 16]), unit, limit: DEFAULT_LIMIT };
        Self { body: Body::new(settings), mirror: Content::map() }
    }

    pub(crate) fn content(&self) -> Content {
        self.body.view().unwrap().content(ObjId::Root).unwrap()
    }

    /// Feeds the mirror, and asserts that it shows what the document holds.
    pub(crate) fn mirror(&mut self, patches: &[Patch]) {
        for patch in patches {
            let applied = self.mirror.apply(patch, self.body.settings().unit);
            applied.unwrap_or_else(|_| {
                panic!("{patch:?} onto {:?} for {:?}: {patches:?}", self.mirror, self.content())
            });
        }
        assert_eq!(self.mirror, self.content(), "{patches:?}");
    }

    pub(crate) fn edit<T>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, EditError>,
    ) -> Result<(T, Edited), EditError> {
        let before = self.content();
        let done = self.body.edit(edit);
        match &done {
            Ok((_, edited)) => self.mirror(&edited.patches),
            Err(_) => assert_eq!(self.content(), before, "a failed edit left something"),
        }
        done
    }

    pub(crate) fn commit(&mut self) -> Option<Committed> {
        let before = self.content();
        let change = self.body.commit(1).unwrap();
        assert_eq!(self.content(), before);
        change
    }

    pub(crate) fn receive(&mut self, changes: &[(ActorId, Committed)]) {
        for (actor, change) in changes {
            assert_eq!(self.body.take(&change.bytes, actor, |_| true).unwrap(), change.hash);
        }
        let patches = self.body.apply().unwrap();
        self.mirror(&patches);
    }
}

/// Several of them.
pub(crate) struct World {
    pub(crate) rng: ChaCha12Rng,
    pub(crate) authors: Vec<Author>,
    /// All changes, in the order in which they were made.
    pub(crate) log: Vec<(ActorId, Committed)>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let unit = if rng.random() { TextUnit::CodePoint } else { TextUnit::Utf16 };
        let count = rng.random_range(2..=5);
        Self { rng, authors: (1..=count).map(|by| Author::new(by, unit)).collect(), log: vec![] }
    }

    /// Makes a change of what an author has pending.
    pub(crate) fn commit(&mut self, at: usize) {
        let author = &mut self.authors[at];
        let change = author.commit();
        self.log.extend(change.map(|change| (author.body.settings().actor, change)));
    }

    /// Gives an author some changes that it lacks, each behind those it builds on.
    pub(crate) fn receive(&mut self, at: usize, most: usize) {
        self.commit(at);
        let mut there = self.known(at);
        let mut given = Vec::new();
        while given.len() < most {
            let ready: Vec<_> = self
                .log
                .iter()
                .filter(|(_, change)| !there.contains(&change.hash))
                .filter(|(actor, change)| deps(actor, change).iter().all(|dep| there.contains(dep)))
                .collect();
            if ready.is_empty() {
                break;
            }
            let next = ready[self.rng.random_range(0..ready.len())].clone();
            there.insert(next.1.hash);
            given.push(next);
        }
        self.authors[at].receive(&given);
    }

    fn known(&self, at: usize) -> BTreeSet<ChangeHash> {
        let index: &Index = self.authors[at].body.index();
        let known = self.log.iter().map(|(_, change)| change.hash);
        known.filter(|hash| index.contains(hash)).collect()
    }

    /// A few edits by one author, one change, or changes for one author.
    pub(crate) fn step(&mut self) {
        let at = self.rng.random_range(0..self.authors.len());
        match self.rng.random_range(0..10) {
            0..6 => {
                let fails = self.rng.random_ratio(1, 6);
                let edits = self.rng.random_range(1..6);
                let rng = &mut self.rng;
                let done = self.authors[at].edit(|edit| {
                    for _ in 0..edits {
                        random_edit(rng, edit)?;
                    }
                    if fails { Err(EditError::Custom("on purpose".into())) } else { Ok(()) }
                });
                assert_eq!(done.is_err(), fails, "{done:?}");
            }
            6..8 => self.commit(at),
            _ => {
                let most = self.rng.random_range(1..10);
                self.receive(at, most);
            }
        }
    }

    /// Everybody gets everything.
    pub(crate) fn settle(&mut self) {
        (0..self.authors.len()).for_each(|at| self.commit(at));
        (0..self.authors.len()).for_each(|at| self.receive(at, usize::MAX));
    }
}

fn deps(actor: &ActorId, change: &Committed) -> Vec<ChangeHash> {
    aether_crdt::proto::document::Change::decode(&change.bytes, actor).unwrap().deps
}
