//! Who is linked: a stream to every other member that has spaces.

use std::{collections::BTreeMap, time::Duration};

use aether_mesh::{Incoming, MemberEvent, Node, PeerId};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use super::link::{self, Event};

/// The name of the streams.
pub(crate) const STREAM: &str = "spaces/1";

/// Most links.
const MAX_LINKS: usize = 256;
/// How long after a link has ended, or wasn't had, it is tried again.
const AGAIN: Duration = Duration::from_secs(3);
/// How long nothing is said to a peer that broke the protocol.
const BLAMED: Duration = Duration::from_secs(60);
/// How often the list of members is looked at, should an event have been missed.
const LOOK: Duration = Duration::from_secs(10);

/// Opens streams to the members whose keys are larger, and takes those of the others.
pub(crate) struct Links {
    node: Node,
    events: mpsc::Sender<Event>,
    tasks: JoinSet<(PeerId, u64)>,
    /// By the number of their latest link.
    linked: BTreeMap<PeerId, u64>,
    /// When to try again.
    again: BTreeMap<PeerId, Instant>,
    /// Who broke the protocol, and until when nothing is said to it.
    blamed: BTreeMap<PeerId, Instant>,
    number: u64,
}

impl Links {
    pub(crate) fn new(node: Node, events: mpsc::Sender<Event>) -> Self {
        Self {
            node,
            events,
            tasks: JoinSet::new(),
            linked: BTreeMap::new(),
            again: BTreeMap::new(),
            blamed: BTreeMap::new(),
            number: 0,
        }
    }

    /// Runs until the node or the driver is gone.
    #[expect(clippy::disallowed_methods, reason = "a driver owns the clock")]
    pub(crate) async fn run(mut self, mut incoming: Incoming, mut faults: mpsc::Receiver<PeerId>) {
        let mut members = self.node.member_events();
        let mut next = Instant::now();
        loop {
            tokio::select! {
                stream = incoming.next() => match stream {
                    None => return,
                    Some(stream) => {
                        let peer = stream.peer();
                        // A peer that comes anew has lost the link before.
                        let is_room = self.has_room() || self.linked.contains_key(&peer);
                        let is_blamed =
                            self.blamed.get(&peer).is_some_and(|until| *until > Instant::now());
                        if is_room && !is_blamed && peer < self.node.id() {
                            let (number, events) = (self.number(peer), self.events.clone());
                            self.tasks.spawn(async move {
                                link::run(stream, number, events).await;
                                (peer, number)
                            });
                        }
                    }
                },
                event = members.next() => match event {
                    None => return,
                    Some(MemberEvent::Joined(peer) | MemberEvent::Updated(peer)) => {
                        self.open(peer, Instant::now());
                    }
                    Some(_) => {}
                },
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Ok((peer, number)) = ended
                        && self.linked.get(&peer) == Some(&number)
                    {
                        self.linked.remove(&peer);
                        let again = Instant::now() + AGAIN;
                        let at = self.again.entry(peer).or_insert(again);
                        *at = again.max(*at);
                        next = next.min(*at);
                    }
                }
                fault = faults.recv() => match fault {
                    None => return,
                    Some(peer) => drop(self.blamed.insert(peer, Instant::now() + BLAMED)),
                },
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + LOOK;
                    let Ok(members) = self.node.members().await else { return };
                    let now = Instant::now();
                    for member in members {
                        self.open(member.peer, now);
                    }
                    self.again.retain(|_, at| *at > now);
                    self.blamed.retain(|_, until| *until > now);
                    next = self.again.values().copied().fold(next, Instant::min);
                }
                () = self.events.closed() => return,
            }
        }
    }

    fn has_room(&self) -> bool {
        self.linked.len() < MAX_LINKS
    }

    /// The number of a new link.
    fn number(&mut self, peer: PeerId) -> u64 {
        self.number += 1;
        self.linked.insert(peer, self.number);
        self.number
    }

    /// Opens a stream, if that is this end's part and nothing speaks against it now.
    fn open(&mut self, peer: PeerId, now: Instant) {
        let is_early = [&self.again, &self.blamed]
            .into_iter()
            .any(|from| from.get(&peer).is_some_and(|at| *at > now));
        let is_linked = self.linked.contains_key(&peer);
        if is_early || is_linked || self.node.id() > peer || !self.has_room() {
            return;
        }
        let number = self.number(peer);
        let (node, events) = (self.node.clone(), self.events.clone());
        self.tasks.spawn(async move {
            match node.open_stream(peer, STREAM).await {
                Ok(stream) => link::run(stream, number, events).await,
                Err(error) => tracing::debug!(%peer, %error, "no link of spaces"),
            }
            (peer, number)
        });
    }
}
