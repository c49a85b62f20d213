//! What was published and what was delivered, and whether the one follows from the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aether_core::{Domain, Hash, Time};
use aether_mesh::proto::envelope::Envelope;
use aether_sim::{NodeId, World};

use super::{Event, Topics};

const TOLD: Domain = Domain::new("aether tests sim told");

/// Below this number the beginning of a stream may be missing untold: whoever comes late looks back
/// no further.
const LOOKBACK: u64 = 32;

/// An envelope in short.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Told {
    topic: usize,
    author: NodeId,
    incarnation: u64,
    number: u64,
    first: u64,
    count: u64,
    hash: Hash,
}

impl Told {
    pub(crate) fn new(topic: usize, author: NodeId, envelope: &Envelope) -> Self {
        let Envelope { incarnation, number, first, count, .. } = *envelope;
        let hash = TOLD.hash(envelope.bytes());
        Self { topic, author, incarnation, number, first, count, hash }
    }

    pub(crate) fn author(&self) -> NodeId {
        self.author
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, author, incarnation, number, first, count, .. } = self;
        write!(f, "{author}/{topic}/{incarnation}/{number} with {first}+{count}")
    }
}

/// Topic, author, incarnation.
type Stream = (usize, NodeId, u64);

#[derive(Debug)]
struct Record {
    told: Told,
    at: Time,
    delivered_to: BTreeSet<NodeId>,
}

/// The last delivery of one author's envelopes on one topic in one life of a reader.
#[derive(Debug, Default)]
struct Last {
    incarnation: u64,
    number: u64,
    /// The first message that it doesn't hold; none if there was no delivery.
    next: Option<u64>,
}

/// Every message between two deliveries is told as missed. Before the first delivery some may be
/// that lie between envelopes from before the subscription.
fn counted(before: Last, told: &Told, missed: u64) -> Result<(), String> {
    let lacking = told.first.saturating_sub(before.next.unwrap_or(1));
    let exact = before.next.is_some() && told.number > LOOKBACK;
    if missed == lacking || missed < lacking && !exact {
        return Ok(());
    }
    Err(format!("told of {missed} missed messages before {told:?}, after {before:?}"))
}

#[derive(Debug)]
pub(crate) struct Book {
    liar: Option<NodeId>,
    published: BTreeMap<Stream, Vec<Record>>,
    last: BTreeMap<(NodeId, u32, usize, NodeId), Last>,
}

impl Book {
    pub(crate) fn new(liar: Option<NodeId>) -> Self {
        Self { liar, published: BTreeMap::new(), last: BTreeMap::new() }
    }

    /// Reads what happened in the last step.
    pub(crate) fn read(&mut self, world: &World<Topics>) -> Result<(), String> {
        for (node, event) in world.observed() {
            match event {
                Event::Published(told) => self.published(world.now(), told)?,
                Event::Delivered(told, missed) => {
                    let before = self.in_order((*node, world.life(*node)), told)?;
                    // A liar may sign and number whatever it likes.
                    if Some(told.author) != self.liar {
                        self.genuine(*node, told)?;
                        counted(before, told, *missed)
                            .map_err(|error| format!("{node}: {error}"))?;
                    }
                }
                Event::Banned(_) => {}
            }
        }
        Ok(())
    }

    /// An author numbers envelopes and messages from one, without holes.
    fn published(&mut self, at: Time, told: &Told) -> Result<(), String> {
        let stream = self.published.entry((told.topic, told.author, told.incarnation)).or_default();
        let next = stream
            .last()
            .map_or((1, 1), |Record { told, .. }| (told.number + 1, told.first + told.count));
        if (told.number, told.first) != next {
            return Err(format!("{told:?} is published where {next:?} is due"));
        }
        stream.push(Record { told: told.clone(), at, delivered_to: BTreeSet::new() });
        Ok(())
    }

    /// What is delivered was published, byte for byte.
    fn genuine(&mut self, reader: NodeId, told: &Told) -> Result<(), String> {
        let stream = self.published.get_mut(&(told.topic, told.author, told.incarnation));
        let index = usize::try_from(told.number - 1).unwrap_or(usize::MAX);
        let record = stream.and_then(|stream| stream.get_mut(index));
        match record.filter(|record| record.told == *told) {
            Some(record) => {
                record.delivered_to.insert(reader);
                Ok(())
            }
            None => Err(format!("{reader} delivers {told:?}, which nobody published")),
        }
    }

    /// Lives and numbers only grow. Answers what was delivered before in the same life.
    fn in_order(&mut self, (reader, life): (NodeId, u32), told: &Told) -> Result<Last, String> {
        let key = (reader, life, told.topic, told.author);
        let Told { incarnation, number, first, count, .. } = *told;
        let last = Last { incarnation, number, next: Some(first + count) };
        let before = self.last.insert(key, last).unwrap_or_default();
        if (before.incarnation, before.number) >= (incarnation, number) {
            return Err(format!("{reader} delivers {told:?} after {before:?}"));
        }
        Ok(if before.incarnation == incarnation { before } else { Last::default() })
    }

    /// What was published at or after a time and isn't delivered to all others of `readers`.
    pub(crate) fn lost(&self, since: Time, readers: &[NodeId]) -> Vec<String> {
        let records = self.published.values().flatten().filter(|record| record.at >= since);
        let lost = records.flat_map(|record| {
            let lacks = |reader: &&NodeId| {
                **reader != record.told.author && !record.delivered_to.contains(reader)
            };
            readers.iter().filter(lacks).map(|reader| format!("{:?} to {reader}", record.told))
        });
        lost.collect()
    }
}
