//! Members: who is alive, by the roster.

use std::time::Duration;

use aether_core::{Protocol as _, Time};
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{
    clock::Clock,
    identity::peer_id,
    metrics::Metrics,
    network::{BlobsEvent, Command, RosterEvent, ServicesEvent},
    proto::{
        budget::Fault,
        link::Frame,
        roster::{self, Card, Roster},
    },
};

/// Events that a slow reader may leave unread.
pub(crate) const MAX_UNREAD: usize = 1024;

/// Another node of the mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub peer: PeerId,
    /// Where it says it can be reached.
    pub addresses: Vec<Multiaddr>,
    /// The program and its version, as it says.
    pub agent: String,
    /// What it does for others, as it says: `relay`, `rendezvous`.
    pub roles: Vec<String>,
    /// Smoothed round trip time of our probes, if it was probed yet.
    pub latency: Option<Duration>,
    /// How long ago it was last heard of.
    pub last_seen: Duration,
    /// Whether our probes of it fail at present.
    pub suspect: bool,
}

/// A change among the members.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MemberEvent {
    /// A member is there that wasn't.
    Joined(PeerId),
    /// A member told something new of itself: addresses, roles, a new life.
    Updated(PeerId),
    /// A member said farewell.
    Left(PeerId),
    /// A member no longer answers.
    Failed(PeerId),
    /// The reader was slow: so many events are lost. Ask for the whole list again.
    Missed(u64),
}

/// A stream of changes. Ends when the node stops.
#[derive(Debug)]
pub struct MemberEvents(pub(crate) broadcast::Receiver<MemberEvent>);

impl MemberEvents {
    /// The next change; `None` when the node has stopped. Cancel safe.
    pub async fn next(&mut self) -> Option<MemberEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(MemberEvent::Missed(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Request {
    List { reply: oneshot::Sender<Vec<Member>> },
    Leave { reply: oneshot::Sender<()> },
}

/// The roster driver: owns the roster, and passes its frames to the network.
pub(crate) struct Members {
    pub(crate) roster: Roster,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) network: mpsc::Sender<Command>,
    pub(crate) events: broadcast::Sender<MemberEvent>,
    pub(crate) services: mpsc::Sender<ServicesEvent>,
    pub(crate) blobs: mpsc::Sender<BlobsEvent>,
}

/// What the roster wants done.
#[derive(Debug, Default)]
struct Due {
    commands: Vec<Command>,
    news: Vec<ServicesEvent>,
}

impl Members {
    /// Runs until the network is gone or no handle is left.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut told: mpsc::Receiver<RosterEvent>,
    ) {
        loop {
            let wake = self.roster.poll_timeout();
            // What has arrived is heard before a timeout is believed.
            let due = tokio::select! {
                biased;
                event = told.recv() => match event {
                    None => return,
                    Some(event) => self.drive(input(event)),
                },
                request = requests.recv() => match request {
                    None => return,
                    Some(Request::List { reply }) => {
                        let _ = reply.send(self.list());
                        continue;
                    }
                    Some(Request::Leave { reply }) => {
                        let due = self.drive(roster::Input::Leave);
                        self.send(due).await;
                        let _ = reply.send(());
                        continue;
                    }
                },
                () = self.clock.sleep_until(wake) => self.drive(roster::Input::Timeout),
            };
            if !self.send(due).await {
                return;
            }
        }
    }

    async fn send(&self, due: Due) -> bool {
        // The drivers of services and blobs end before this one in a shutdown.
        if !due.news.is_empty() {
            let nodes = self.roster.members().len() + 1;
            let _ = self.blobs.send(BlobsEvent::Nodes(nodes)).await;
        }
        for event in due.news {
            let _ = self.services.send(event).await;
        }
        for command in due.commands {
            if self.network.send(command).await.is_err() {
                return false;
            }
        }
        true
    }

    #[tracing::instrument(level = "trace", skip_all)]
    fn drive(&mut self, input: roster::Input) -> Due {
        self.roster.handle(self.clock.now(), input);
        let mut due = Due::default();
        while let Some(output) = self.roster.poll_output() {
            match output {
                roster::Output::Send { to, message } => {
                    due.commands.push(Command::Send { to, frame: Frame::Roster(message) });
                }
                roster::Output::Joined(card) => {
                    tracing::info!(peer = %peer_id(&card.peer()), "member joined");
                    let _ = self.events.send(MemberEvent::Joined(peer_id(&card.peer())));
                    due.learn(card);
                }
                roster::Output::Updated(card) => {
                    let _ = self.events.send(MemberEvent::Updated(peer_id(&card.peer())));
                    due.learn(card);
                }
                roster::Output::Left { peer, farewell } => {
                    due.news.push(ServicesEvent::MemberLeft { peer, farewell });
                    let peer = peer_id(&peer);
                    tracing::info!(%peer, farewell, "member gone");
                    let event = match farewell {
                        true => MemberEvent::Left(peer),
                        false => MemberEvent::Failed(peer),
                    };
                    let _ = self.events.send(event);
                }
                roster::Output::Forged { from } => {
                    due.commands.push(Command::Penalize { peer: from, fault: Fault::Forged });
                }
            }
        }
        let members = self.roster.members().len();
        self.metrics.members.set(i64::try_from(members).unwrap_or(i64::MAX));
        self.metrics.doubt.set(self.roster.doubt().into());
        due
    }

    fn list(&self) -> Vec<Member> {
        let now: Time = self.clock.now();
        let member = |(peer, member): (_, &roster::Member)| Member {
            peer: peer_id(peer),
            addresses: member
                .card
                .profile
                .addresses
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            agent: member.card.profile.agent.clone(),
            roles: member.card.profile.roles.clone(),
            latency: member.latency,
            last_seen: now.since(member.last_seen),
            suspect: member.suspect_since.is_some(),
        };
        self.roster.members().iter().map(member).collect()
    }
}

impl Due {
    fn learn(&mut self, card: Card) {
        let (peer, life) = (card.peer(), card.life);
        self.news.push(ServicesEvent::Member { peer, life });
        self.commands.push(Command::Card { peer, life, addresses: card.profile.addresses });
    }
}

fn input(event: RosterEvent) -> roster::Input {
    match event {
        RosterEvent::Message { from, message } => roster::Input::Message { from, message },
        RosterEvent::Connected { peer } => roster::Input::Connected { peer },
        RosterEvent::Disconnected { peer } => roster::Input::Disconnected { peer },
        RosterEvent::Profile(profile) => roster::Input::Profile(profile),
    }
}
