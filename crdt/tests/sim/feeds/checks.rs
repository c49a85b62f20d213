//! What must hold at every moment, and in the end.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use aether_core::Hash;
use aether_crdt::proto::{
    book::Book,
    id::{EntryId, FeedId, Position},
    map,
    replica::Replica,
    sync::{Row, digest},
};
use aether_sim::{Mixed, NodeId, Run, Scenario, World};

use super::{
    Event, Guests,
    host::{Host, Rows},
};

/// What users asked to be added, and were told is added.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) attempted: BTreeSet<Vec<u8>>,
    /// What users were told is written, by whom, and which keys with it were added to the log.
    pub(super) written: BTreeMap<EntryId, (NodeId, Vec<Vec<u8>>)>,
}

impl Model {
    fn acknowledged(&self) -> BTreeSet<Vec<u8>> {
        self.written.values().flat_map(|(_, keys)| keys.iter().cloned()).collect()
    }
}

/// A world in which nobody honest is blamed or framed, and nothing is said that isn't synced.
pub(super) fn world(run: Run, scenario: Scenario, guests: &Guests) -> World<Guests> {
    let mut world = World::new(run, scenario, guests.clone());
    let (subject, model) = (guests.clone(), Rc::clone(&guests.model));
    let mut outrun = BTreeSet::new();
    world.invariant("nobody honest is blamed, and what is said is synced", move |world| {
        for (node, event) in world.observed() {
            let life = (*node, world.life(*node));
            look(world, &subject, *node, event, &model)?;
            if matches!(event, Event::Outrun) && !outrun.insert(life) {
                return Err(format!("{node} takes its disk for an old copy twice in one life"));
            }
        }
        Ok(())
    });
    // What each node held when it had synced something, by its digest.
    let mut known: BTreeMap<Hash, BTreeSet<EntryId>> = BTreeMap::new();
    let mut last: BTreeMap<NodeId, (Position, Hash)> = BTreeMap::new();
    world.invariant("equal digests mean equal entries", move |world| {
        let Some(node) = world.touched() else { return Ok(()) };
        let Some(host) = world.node(node).and_then(Mixed::honest) else { return Ok(()) };
        let synced = host.replica.synced();
        let is_still = host.replica.is_synced();
        let digest = digest(host.replica.rows().values());
        let now = (synced, digest);
        if !is_still || last.insert(node, now) == Some(now) {
            return Ok(());
        }
        let kept = host.replica.book().catalog().feeds().iter();
        let kept = kept.map(|known| (known.id(), Row::of(known.id(), known.feed())));
        let kept: BTreeMap<FeedId, Row> = kept.filter(|(_, row)| !row.is_empty()).collect();
        if kept != *host.replica.rows() {
            return Err(format!("{node} says other rows than those of what it keeps"));
        }
        let entries = entries(host);
        let first = known.entry(digest).or_insert_with(|| entries.clone());
        match first.symmetric_difference(&entries).next() {
            None => Ok(()),
            Some(id) => Err(format!("{node}: one digest, and different entries, as {id:?}")),
        }
    });
    world
}

fn look(
    world: &World<Guests>,
    guests: &Guests,
    node: NodeId,
    event: &Event,
    model: &RefCell<Model>,
) -> Result<(), String> {
    match event {
        Event::Violated(what) => return Err(format!("{node}: {what}, which isn't synced")),
        Event::Faulted(by, fault) if guests.liar != Some(*by) => {
            return Err(format!("{node} blames {by} for {fault:?}"));
        }
        Event::Faulted(..) => world.sometimes("liar found out"),
        Event::Forked(feed, evidence) => {
            let author = guests.ids[&feed.author];
            if guests.liar != Some(author) {
                return Err(format!("{node} says that {author} forked its feed"));
            }
            world.sometimes("fork seen");
            if evidence.number() == 1 {
                world.sometimes("fork at number 1 seen");
            }
        }
        Event::Outrun if guests.liar.is_none() => {
            return Err(format!("{node} takes its disk for an old copy"));
        }
        Event::Outrun => world.sometimes("liar ended a feed"),
        Event::Written(id, keys) => {
            model.borrow_mut().written.insert(*id, (node, keys.clone()));
        }
    }
    Ok(())
}

/// All that a replica keeps.
pub(super) fn entries(host: &Host) -> BTreeSet<EntryId> {
    let book = host.replica.book();
    let all = book.order(Position::ZERO).map(|row| {
        let Ok((_, local, tip)) = row;
        EntryId { feed: book.catalog().at(local).id(), number: tip.number, hash: tip.hash }
    });
    all.collect()
}

pub(super) fn all_agree(world: &World<Guests>, guests: &Guests) -> bool {
    // Rows speak of what is synced, and collections show what isn't yet, too.
    let is_still = |replica: &Replica<Rows>| {
        let book = replica.book();
        replica.is_synced() && book.stale().is_empty() && !book.is_dropping()
    };
    let mut all = guests.honest(world).map(|host| &host.replica);
    let Some(first) = all.next() else { return true };
    is_still(first) && all.all(|other| other.rows() == first.rows() && is_still(other))
}

/// What a replica's collections show.
fn state(host: &Host) -> Hash {
    let book = host.replica.book();
    let Ok(hash) = map::state_hash(book.rows(), book.catalog());
    hash
}

/// Collections are a function of which entries are kept: the same on all, and the same as on one
/// that takes them in one after the other.
pub(super) fn check_state(world: &World<Guests>, guests: &Guests) {
    let states: BTreeSet<Hash> = guests.honest(world).map(state).collect();
    assert_eq!(states.len(), 1, "replicas with the same entries show different collections");
    for host in guests.honest(world) {
        let Ok(mut fresh) = Book::open(Rows::new());
        let book = host.replica.book();
        for row in book.order(Position::ZERO) {
            let Ok((_, local, tip)) = row;
            let Ok(entry) = book.entry(local, tip);
            let entry = entry.expect("what has a place is kept");
            let Ok(taken) = fresh.take(&entry, book.catalog().at(local).authority());
            assert!(taken.placed.is_kept(), "{:?} is {:?}", entry.header().id(), taken.placed);
        }
        for collection in fresh.stale().clone() {
            let Ok(()) = fresh.rebuild(&collection);
        }
        let Ok(hash) = map::state_hash(fresh.rows(), fresh.catalog());
        assert!(states.contains(&hash), "a fresh replica shows other collections");
    }
}

/// What was acknowledged is final, and what is final was attempted.
pub(super) fn check_written(world: &World<Guests>, guests: &Guests) {
    let model = guests.model.borrow();
    for host in guests.honest(world) {
        let held = entries(host);
        for (id, (node, _)) in &model.written {
            assert!(held.contains(id), "{node} wrote {id:?}, which is lost");
        }
        for known in host.replica.book().catalog().feeds() {
            // A liar's forks are known to all: that is part of the rows, and so of the digest.
            if known.feed().tips().len() > 1 {
                world.sometimes("both lanes of a fork kept");
            }
        }
        let book = host.replica.book();
        let all = map::scan(&super::workload::log(), map::Keys::All, book.rows());
        let last: BTreeSet<Vec<u8>> = all
            .map(|row| {
                let Ok((key, _)) = row;
                key
            })
            .collect();
        assert!(model.acknowledged().is_subset(&last), "what users were told is added is gone");
        assert!(last.is_subset(&model.attempted), "something is there that nobody added");
        check_tally(host, &model);
    }
}

/// Beside each key that is added, one is added to a counter, in the same write.
fn check_tally(host: &Host, model: &Model) {
    let book = host.replica.book();
    let tally = super::workload::tally();
    let Ok(sum) = map::counter::value(&tally, b"", book.rows());
    let count = |keys: &BTreeSet<Vec<u8>>| i128::try_from(keys.len()).expect("few");
    let bounds = count(&model.acknowledged())..=count(&model.attempted);
    assert!(bounds.contains(&sum), "{sum} is counted, and not within {bounds:?}");
}
