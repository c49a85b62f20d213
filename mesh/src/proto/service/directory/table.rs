//! The table: what other nodes serve, for how long that holds, and what must not come back.
//!
//! Rules 1, 3 and 7 of the [directory](super), as far as they are about memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aether_core::{PublicKey, Time};

use super::{Announcement, Config, Instance, Listed};

/// Life and revision.
type Version = (u64, u64);

#[derive(Debug, Default)]
pub(super) struct Table {
    nodes: BTreeMap<PublicKey, Node>,
    /// Bytes of all announcements.
    bytes: usize,
    /// Where the instances of a service are.
    services: BTreeMap<String, BTreeSet<(PublicKey, u64)>>,
    expiries: BTreeSet<(Time, PublicKey)>,
    /// Nodes in the order in which their announcements were learnt.
    learnt: BTreeMap<u64, PublicKey>,
    next_number: u64,
    /// Only what is newer than this is news of a node that isn't in `nodes`; and since when.
    floors: BTreeMap<PublicKey, (Version, Time)>,
    /// Services of which something changed since it was last asked.
    changed: BTreeSet<String>,
}

#[derive(Debug)]
struct Node {
    /// Without the instances that were left out.
    announcement: Announcement,
    /// When it was signed, as far as we can tell, and `ttl` more.
    expires: Time,
    number: u64,
}

impl Table {
    /// Whether an announcement is newer than what is known of its node.
    pub(super) fn is_news(&self, announcement: &Announcement) -> bool {
        let (peer, version) = (announcement.peer(), announcement.version());
        match self.nodes.get(&peer) {
            Some(node) => version > node.announcement.version(),
            None => version > self.floors.get(&peer).map_or((0, 0), |(floor, _)| *floor),
        }
    }

    /// Whether an announcement fits, in place of the one that it replaces.
    pub(super) fn has_room(&self, announcement: &Announcement, config: &Config) -> bool {
        let known = self.nodes.get(&announcement.peer());
        let nodes = self.nodes.len() - usize::from(known.is_some());
        let bytes = self.bytes - known.map_or(0, Node::bytes);
        nodes < config.max_nodes && bytes + announcement.bytes().len() <= config.max_bytes
    }

    pub(super) fn contains(&self, peer: &PublicKey) -> bool {
        self.nodes.contains_key(peer)
    }

    /// Takes in an announcement that is news, fits, and whose signature is good. Says how many of
    /// its instances were left out.
    pub(super) fn insert(
        &mut self,
        now: Time,
        mut announcement: Announcement,
        age: Duration,
        config: &Config,
    ) -> usize {
        let peer = announcement.peer();
        let before = self.take(&peer).map(|node| node.announcement.instances).unwrap_or_default();
        let count = announcement.instances.len();
        announcement.instances.retain(|instance| {
            let places = self.services.entry(instance.service.clone()).or_default();
            let fits = places.len() < config.max_instances;
            fits && places.insert((peer, instance.id))
        });
        let left_out = count - announcement.instances.len();
        self.note_changes(&before, &announcement.instances);
        self.bytes += announcement.bytes().len();
        let expires = now + config.ttl.saturating_sub(age);
        self.expiries.insert((expires, peer));
        let number = self.next_number;
        self.next_number += 1;
        self.learnt.insert(number, peer);
        self.floors.remove(&peer);
        self.nodes.insert(peer, Node { announcement, expires, number });
        left_out
    }

    /// Removes a node; what isn't newer than `floor` and what was known won't come back.
    pub(super) fn remove(&mut self, now: Time, peer: &PublicKey, floor: Version, max_gone: usize) {
        let removed = self.take(peer);
        let version = removed.as_ref().map_or((0, 0), |node| node.announcement.version());
        if let Some(node) = removed {
            self.note_changes(&node.announcement.instances, &[]);
        }
        let earlier = self.floors.get(peer).map_or((0, 0), |(floor, _)| *floor);
        let floor = floor.max(version).max(earlier);
        if floor == (0, 0) {
            return;
        }
        self.floors.insert(*peer, (floor, now));
        if self.floors.len() > max_gone {
            let oldest = self.floors.iter().min_by_key(|(_, (_, since))| *since);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.floors.remove(&oldest);
            }
        }
    }

    /// The last life of a node that is known.
    pub(super) fn life(&self, peer: &PublicKey) -> Option<u64> {
        let gone = || self.floors.get(peer).map(|((life, _), _)| *life);
        self.nodes.get(peer).map(|node| node.announcement.life).or_else(gone)
    }

    pub(super) fn remove_expired(&mut self, now: Time, max_gone: usize) {
        while let Some((expires, peer)) = self.expiries.first().copied() {
            if expires > now {
                break;
            }
            self.remove(now, &peer, (0, 0), max_gone);
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.expiries.first().map(|(expires, _)| *expires)
    }

    /// Services of which something changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }

    /// All instances of a service, whatever their health.
    pub(super) fn instances(&self, service: &str) -> impl Iterator<Item = Listed<'_>> + use<'_> {
        let found = self.services.get_key_value(service).into_iter();
        let places = found.flat_map(|(service, places)| places.iter().map(move |at| (service, at)));
        places.filter_map(|(service, (peer, id))| {
            let announcement = &self.nodes.get(peer)?.announcement;
            let place = (service.as_str(), *id);
            let found = announcement.instances.binary_search_by(|each| each.place().cmp(&place));
            let instance = &announcement.instances[found.ok()?];
            Some(Listed { peer: *peer, life: announcement.life, instance })
        })
    }

    /// All instances of all services.
    pub(super) fn all(&self) -> impl Iterator<Item = Listed<'_>> {
        self.nodes.iter().flat_map(|(peer, node)| {
            let life = node.announcement.life;
            let listed = move |instance| Listed { peer: *peer, life, instance };
            node.announcement.instances.iter().map(listed)
        })
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }

    /// What was learnt before the number `below`, the last first: number, announcement, and when
    /// it expires.
    pub(super) fn learnt_before(
        &self,
        below: u64,
    ) -> impl Iterator<Item = (u64, &Announcement, Time)> {
        self.learnt.range(..below).rev().filter_map(|(number, peer)| {
            let node = self.nodes.get(peer)?;
            Some((*number, &node.announcement, node.expires))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn gone(&self) -> usize {
        self.floors.len()
    }

    /// Takes a node out of every index.
    fn take(&mut self, peer: &PublicKey) -> Option<Node> {
        let node = self.nodes.remove(peer)?;
        self.bytes -= node.bytes();
        self.expiries.remove(&(node.expires, *peer));
        self.learnt.remove(&node.number);
        for instance in &node.announcement.instances {
            if let Some(places) = self.services.get_mut(&instance.service) {
                places.remove(&(*peer, instance.id));
                if places.is_empty() {
                    self.services.remove(&instance.service);
                }
            }
        }
        Some(node)
    }

    /// Notes the services whose instances on one node differ.
    fn note_changes(&mut self, before: &[Instance], after: &[Instance]) {
        fn of<'a>(all: &'a [Instance], service: &'a str) -> impl Iterator<Item = &'a Instance> {
            all.iter().filter(move |instance| instance.service == service)
        }
        for instance in before.iter().chain(after) {
            let service = &instance.service;
            if !self.changed.contains(service) && !of(before, service).eq(of(after, service)) {
                self.changed.insert(service.clone());
            }
        }
    }
}

impl Node {
    fn bytes(&self) -> usize {
        self.announcement.bytes().len()
    }
}
