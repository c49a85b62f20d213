//! What must hold at every moment, and in the end.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use aether_crdt::proto::{
    book::Book,
    id::{EntryId, Position},
    map,
    partitions::{Level, Placement, placement::items},
};
use aether_sim::{NodeId, Run, Scenario, World};

use super::{
    Event, Guests,
    node::{Place, entries},
};
use crate::feeds::host::{OWN, Rows};

/// What users asked for, and were told.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) attempted: BTreeSet<u32>,
    /// Whether the list of members stays, so that quorums meet.
    pub(super) is_strict: bool,
    acknowledged: BTreeSet<u32>,
    /// Those of them that a quorum held.
    at_quorum: BTreeSet<u32>,
    /// Entries that their writers were told are held, and by how many.
    held: BTreeMap<EntryId, (u16, usize)>,
    /// Reads under way that have to show what was acknowledged before.
    reads: BTreeSet<(NodeId, u32, u64)>,
}

pub(super) fn world(run: Run, scenario: Scenario, guests: &Guests) -> World<Guests> {
    let mut world = World::new(run, scenario, guests.clone());
    let (subject, model) = (guests.clone(), Rc::clone(&guests.model));
    world.invariant("what was acknowledged is held, and shown", move |world| {
        for (node, event) in world.observed() {
            look(world, &subject, *node, event, &model)?;
        }
        Ok(())
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
    let mut model = model.borrow_mut();
    match event {
        Event::Violated(what) => return Err(format!("{node}: {what}")),
        Event::Held(partition, entry, count) => {
            let holders = holders(world, *partition, entry);
            if holders < *count {
                return Err(format!("{entry:?} is said to be held by {count}, not {holders}"));
            }
            model.held.insert(*entry, (*partition, *count));
        }
        Event::Put(key, level) => {
            model.acknowledged.insert(*key);
            if *level >= Level::Quorum {
                model.at_quorum.insert(*key);
            }
        }
        Event::Asked(id, key) => {
            if model.at_quorum.contains(key) {
                model.reads.insert((node, world.life(node), *id));
            }
        }
        Event::Got(id, key, is_there) => {
            let is_due = model.reads.contains(&(node, world.life(node), *id));
            if is_due {
                world.sometimes("read after a write");
            }
            if is_due && model.is_strict && !is_there {
                return Err(format!("{node} doesn't see key {key}, which a quorum held before"));
            }
        }
        Event::Dropped(partition, owners, dropped) => {
            for entry in dropped {
                for owner in owners {
                    let owner = guests.ids[owner];
                    if !held_by(world, owner, *partition).contains(entry) {
                        return Err(format!("{node} drops {entry:?}, which {owner} lacks"));
                    }
                }
            }
            // A copy that is dropped was one too many. Fewer members hold what fewer can.
            for (entry, (_, count)) in model.held.iter().filter(|(_, (of, _))| of == partition) {
                let holders = holders(world, *partition, entry);
                if holders < owners.len().min(*count) {
                    let what = "was acknowledged as held by";
                    return Err(format!("{entry:?} {what} {count}, and is by {holders}"));
                }
            }
        }
    }
    Ok(())
}

/// What a node holds of a partition, and keeps if it crashes now.
fn held_by(world: &World<Guests>, node: NodeId, partition: u16) -> BTreeSet<EntryId> {
    let place = Place::of(partition);
    if let Some(up) = world.node(node) {
        let host = up.hosts.get(&place);
        return host.map(|host| entries(&host.replica)).unwrap_or_default().into_iter().collect();
    }
    let rows = world.disk(node).iter().filter_map(|(key, value)| {
        let (of, row) = Place::split(key);
        let is_row = of == place && !row.is_empty() && row != OWN;
        is_row.then(|| (row.to_vec(), value.to_vec()))
    });
    let rows: Rows = rows.collect();
    let Ok(book) = Book::open(rows);
    let all = book.order(Position::ZERO).map(|row| {
        let Ok((_, local, tip)) = row;
        EntryId { feed: book.catalog().at(local).id(), number: tip.number, hash: tip.hash }
    });
    all.collect()
}

/// How many nodes hold an entry.
fn holders(world: &World<Guests>, partition: u16, entry: &EntryId) -> usize {
    world.ids().filter(|node| held_by(world, *node, partition).contains(entry)).count()
}

/// Whether all agree on the members, each holds what it owns, wholly, and nothing else, and the
/// owners of a partition hold the same.
pub(super) fn is_settled(world: &World<Guests>, guests: &Guests) -> bool {
    let placements: Option<Vec<&Placement>> =
        world.nodes().map(|(_, node)| node.keeper.placement()).collect();
    let Some(placement) = placements.as_ref().and_then(|all| all.first()) else { return false };
    let agree = placements.iter().flatten().all(|other| other == placement);
    let is_kept = world.nodes().all(|(_, node)| {
        let progress = node.keeper.progress();
        progress.whole == progress.owned && progress.parting == 0 && node.operations.is_empty()
    });
    agree
        && is_kept
        && placement.partitions().all(|partition| {
            let place = Place::of(partition);
            let owners = placement.owners(partition).iter().map(|owner| guests.ids[owner]);
            let hosts = owners.map(|owner| world.node(owner)?.hosts.get(&place));
            let rows: Option<Vec<_>> = hosts
                .map(|host| {
                    let replica = &host?.replica;
                    replica.is_synced().then(|| replica.rows())
                })
                .collect();
            rows.is_some_and(|rows| rows.windows(2).all(|pair| pair[0] == pair[1]))
        })
}

/// What was acknowledged is there in the end, and what is there was attempted.
pub(super) fn check_end(world: &World<Guests>, guests: &Guests) {
    let model = guests.model.borrow();
    let mut found = BTreeSet::new();
    for (_, node) in world.nodes() {
        for (place, host) in node.hosts.iter().filter(|(place, _)| place.partition().is_some()) {
            let book = host.replica.book();
            let placement = node.keeper.placement().expect("all have one");
            for item in map::scan(&items(), map::Keys::All, book.rows()) {
                let Ok((key, alive)) = item;
                let Ok(elements) = alive.elements(book.rows(), book.catalog());
                assert_eq!(Some(placement.partition_of(&key)), place.partition());
                assert!(elements.iter().all(|element| element.value == key));
                found.insert(u32::from_be_bytes(key.try_into().expect("four bytes")));
            }
        }
    }
    assert!(model.acknowledged.is_subset(&found), "what users were told is written is gone");
    assert!(found.is_subset(&model.attempted), "something is there that nobody wrote");
}
