//! Operations of users: puts and reads, gathered as handles gather them.

use std::{collections::BTreeSet, time::Duration};

use aether_core::{Hash, Protocol as _, PublicKey, Time};
use aether_crdt::proto::{
    id::EntryId,
    partitions::{
        Answer, Ask, Gather, Level, Placement, Said,
        gather::{Config, Input, Output},
        join,
    },
};
use minicbor::bytes::{ByteArray, ByteVec};

use super::{
    Event,
    node::{self, From, Node, Place, Waiting},
};

const DEADLINE: Duration = Duration::from_secs(10);

/// Who is told of a write.
#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    Peer(PublicKey, u64),
    Own(u64),
}

/// A write that this node coordinates.
#[derive(Clone, Debug)]
pub(super) struct Coordinated {
    pub(super) partition: u16,
    pub(super) level: Level,
    pub(super) entry: Option<EntryId>,
    /// Who said that it holds it.
    pub(super) held: BTreeSet<PublicKey>,
    pub(super) to: To,
}

#[derive(Debug)]
pub(super) struct Operation {
    key: u32,
    level: Level,
    partition: u16,
    ask: Ask,
    view: Hash,
    deadline: Time,
    what: What,
}

#[derive(Debug)]
enum What {
    Put(Gather<()>),
    /// A hint, for which a copy is being opened.
    Hint,
    Get(Gather<Answer>),
}

impl Operation {
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        match &self.what {
            What::Put(gather) => gather.poll_timeout(),
            What::Hint => None,
            What::Get(gather) => gather.poll_timeout(),
        }
    }
}

fn bytes(key: u32) -> Vec<u8> {
    key.to_be_bytes().to_vec()
}

impl Node {
    pub(super) fn put(&mut self, now: Time, key: u32, level: Level) {
        let Some((placement, partition, owners)) = self.owners(key) else { return };
        let deadline = now + DEADLINE;
        let config = Config {
            need: 1,
            patience: DEADLINE / 3,
            pause: Duration::from_millis(200),
            rounds: (level == Level::One).then_some(1),
            deadline,
        };
        let ask = Ask::Write {
            partition,
            key: ByteVec::from(bytes(key)),
            value: Some(ByteVec::from(bytes(key))),
            level: level.to_byte(),
        };
        let (view, what) = (placement.view(), What::Put(Gather::new(config, owners)));
        self.begin_operation(now, Operation { key, level, partition, ask, view, deadline, what });
    }

    pub(super) fn read(&mut self, now: Time, key: u32, level: Level) {
        let Some((placement, partition, owners)) = self.owners(key) else { return };
        let deadline = now + DEADLINE;
        let config = Config {
            need: placement.need(partition, level),
            patience: Duration::from_millis(500),
            pause: Duration::from_millis(200),
            rounds: None,
            deadline,
        };
        let ask = Ask::Get { partition, key: ByteVec::from(bytes(key)) };
        let (view, what) = (placement.view(), What::Get(Gather::new(config, owners)));
        let operation = Operation { key, level, partition, ask, view, deadline, what };
        self.begin_operation(now, operation);
    }

    fn owners(&self, key: u32) -> Option<(Placement, u16, Vec<PublicKey>)> {
        let placement = self.keeper.placement()?.clone();
        let partition = placement.partition_of(&bytes(key));
        let mut owners = placement.owners(partition).to_vec();
        owners.sort_by_key(|owner| *owner != self.me);
        Some((placement, partition, owners))
    }

    fn begin_operation(&mut self, now: Time, operation: Operation) {
        let id = self.new_operation(operation);
        self.turn(now, id, None);
    }

    /// Somebody has answered, or declined.
    pub(super) fn operation_heard(
        &mut self,
        now: Time,
        id: u64,
        from: PublicKey,
        said: Option<Said>,
    ) {
        self.turn(now, id, Some((from, said)));
    }

    pub(super) fn tick_operations(&mut self, now: Time) {
        let due = self
            .operations
            .iter()
            .filter(|(_, operation)| operation.poll_timeout().is_some_and(|at| at <= now));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.turn(now, id, None);
        }
    }

    fn turn(&mut self, now: Time, id: u64, mut heard: Option<(PublicKey, Option<Said>)>) {
        loop {
            let Some(mut operation) = self.operations.remove(&id) else { return };
            let ask = match &mut operation.what {
                What::Hint => None,
                What::Put(gather) => {
                    let input = heard.take().map_or(Input::Timeout, |(from, said)| match said {
                        Some(Said::Written { .. }) => Input::Said(from, ()),
                        _ => Input::Declined(from),
                    });
                    gather.handle(now, input);
                    match gather.poll_output() {
                        Some(Output::Ask(peer)) => Some(peer),
                        Some(Output::Done(_)) => {
                            return self.observe(Event::Put(operation.key, operation.level));
                        }
                        Some(Output::Short(_)) if operation.level == Level::One => {
                            operation.what = What::Hint;
                            let place = Place::of(operation.partition);
                            self.operations.insert(id, operation);
                            return self.hint(now, place);
                        }
                        Some(Output::Short(_)) => return,
                        None => None,
                    }
                }
                What::Get(gather) => {
                    let view = operation.view;
                    let input = heard.take().map_or(Input::Timeout, |(from, said)| {
                        match said.as_ref().and_then(Said::answer) {
                            Some((theirs, true, answer)) if theirs == view => {
                                Input::Said(from, answer)
                            }
                            _ => Input::Declined(from),
                        }
                    });
                    gather.handle(now, input);
                    match gather.poll_output() {
                        Some(Output::Ask(peer)) => Some(peer),
                        Some(Output::Done(answers)) => {
                            return self.got(now, id, &operation, &answers);
                        }
                        Some(Output::Short(_)) => {
                            return self.sometimes("read at quorum refused");
                        }
                        None => None,
                    }
                }
            };
            let (question, until) = (operation.ask.clone(), operation.deadline);
            self.operations.insert(id, operation);
            let Some(peer) = ask else { return };
            if peer != self.me {
                self.ask(until, peer, question, id);
                // More may be to be asked.
                continue;
            }
            if let Some(said) = self.answer(now, From(self.me), question, To::Own(id)) {
                heard = Some((self.me, Some(said)));
            }
        }
    }

    fn got(&mut self, now: Time, id: u64, operation: &Operation, answers: &[(PublicKey, Answer)]) {
        let joined =
            join(answers.iter().map(|(_, answer)| (&answer.context, &answer.elements[..])));
        for place in &joined.stale {
            self.sometimes("read repaired");
            for (with, _) in answers.iter().filter(|(with, _)| *with != answers[*place].0) {
                let peer = ByteArray::from(*with.as_bytes());
                let ask = Ask::Hasten { partition: operation.partition, peer };
                if answers[*place].0 == self.me {
                    self.answer(now, From(self.me), ask, To::Own(0));
                } else {
                    // Nobody waits for what comes of it.
                    self.ask(now, answers[*place].0, ask, 0);
                }
            }
        }
        self.observe(Event::Got(id, operation.key, !joined.elements.is_empty()));
    }

    /// Takes a write for owners who can't be reached.
    fn hint(&mut self, now: Time, place: Place) {
        let partition = place.partition().expect("keys are of partitions");
        match self.hosts.contains_key(&place) {
            true => self.take_hints(now, partition),
            false => self.open(place),
        }
    }

    /// A copy is open: what waits for that is written to it.
    pub(super) fn take_hints(&mut self, now: Time, partition: u16) {
        let waits = |operation: &Operation| {
            operation.partition == partition && matches!(operation.what, What::Hint)
        };
        let ids = self.operations.iter().filter(|(_, operation)| waits(operation));
        for id in ids.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(operation) = self.operations.remove(&id) else { continue };
            // What is frozen takes nothing, and the user is told that it failed.
            if self.is_frozen(Place::of(partition)) {
                continue;
            }
            let (key, value) = (bytes(operation.key), Some(bytes(operation.key)));
            self.edit(now, partition, key, value, Waiting::Hint(operation.key));
        }
    }
}

/// What the node does for operations.
impl Node {
    fn observe(&mut self, event: Event) {
        self.push(node::Output::Observed(event));
    }

    fn sometimes(&mut self, name: &'static str) {
        self.push(node::Output::Sometimes(name));
    }

    fn open(&mut self, place: Place) {
        self.push(node::Output::Open(place));
    }

    fn new_operation(&mut self, operation: Operation) -> u64 {
        let (id, key) = (self.number(), operation.key);
        if matches!(operation.what, What::Get(_)) {
            self.observe(Event::Asked(id, key));
        }
        self.operations.insert(id, operation);
        id
    }
}
