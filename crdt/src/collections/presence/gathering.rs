//! Gatherings: each has the presence of one space, and is there as long as somebody has a handle.
//!
//! There is one for each space of a program: two would contradict each other in the node's name.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aether_core::{Domain, Protocol as _, PublicKey, Time};
use aether_mesh::{Event, Message, Subscription, Topic, identity};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinHandle,
};

use super::PresenceError;
use crate::{
    Space,
    driver::Request,
    proto::{
        id::SpaceId,
        presence::{Config, Heard, Input, MAX_BYTES, Output, Presence},
        space::{Mode, Role},
    },
};

/// Commands that wait for a gathering.
const QUEUE: usize = 256;
/// Events that a reader may be behind.
const EVENTS: usize = 1024;
/// How long whoever goes waits until that is said.
const FAREWELL: Duration = Duration::from_secs(1);

type Reply<T> = oneshot::Sender<Result<T, PresenceError>>;

/// What handles ask of a gathering.
#[derive(Debug)]
pub(super) enum Command {
    Set { name: String, value: Vec<u8>, lasts: Option<Duration>, reply: Reply<()> },
    Clear { name: String, reply: Reply<()> },
    Others { name: String, reply: Reply<Vec<(PublicKey, Vec<u8>)>> },
}

impl Command {
    fn refuse(self, error: PresenceError) {
        // Whoever asked and is gone needs no answer.
        match self {
            Self::Set { reply, .. } | Self::Clear { reply, .. } => drop(reply.send(Err(error))),
            Self::Others { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// What readers are told: what an author says under a name now.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) author: PublicKey,
    pub(super) name: String,
    pub(super) value: Option<Vec<u8>>,
}

type Talk = (mpsc::Sender<Command>, broadcast::Sender<Told>);

#[derive(Debug)]
struct Seat {
    commands: mpsc::WeakSender<Command>,
    told: broadcast::Sender<Told>,
    ended: JoinHandle<()>,
}

/// The gatherings of a node's spaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gatherings(Arc<Mutex<BTreeMap<SpaceId, Seat>>>);

impl Gatherings {
    /// The gathering of a space; a new one, if there is none.
    pub(super) fn join(&self, space: &Space) -> Talk {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = None;
        if let Some(seat) = seats.remove(&space.id()) {
            // That of a space which was left has ended, though handles of it are there.
            match seat.commands.upgrade().filter(|commands| !commands.is_closed()) {
                Some(commands) => {
                    let talk = (commands, seat.told.clone());
                    seats.insert(space.id(), seat);
                    return talk;
                }
                None => before = Some(seat.ended),
            }
        }
        seats.retain(|_, seat| !seat.ended.is_finished());
        let (commands, asked) = mpsc::channel(QUEUE);
        let (told, _) = broadcast::channel(EVENTS);
        let (gathering, tell) = (space.clone(), told.clone());
        // It ends when the last handle is gone.
        let ended = space.runtime().spawn(async move {
            // Whoever comes after another says nothing before that one has said that it goes.
            if let Some(before) = before {
                let _ = before.await;
            }
            gather(gathering, asked, tell).await;
        });
        let weak = commands.downgrade();
        seats.insert(space.id(), Seat { commands: weak, told: told.clone(), ended });
        (commands, told)
    }
}

/// A message of presence, as a topic carries it: one CBOR byte string.
#[derive(Debug)]
struct Frame(Vec<u8>);

impl Serialize for Frame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Frame;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a message of presence")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Frame, E> {
                Ok(Frame(bytes.to_vec()))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Frame, E> {
                Ok(Frame(bytes))
            }
        }

        deserializer.deserialize_bytes(Visitor)
    }
}

/// The topic of a space's presence, whose name doesn't tell the space's id to who doesn't know it.
fn topic_of(space: &SpaceId) -> String {
    const TOPIC: Domain = Domain::new("aether 2026-11 space presence topic v1");
    format!("space-presence/{}", TOPIC.hash(space.as_hash().as_bytes()))
}

async fn gather(space: Space, asked: mpsc::Receiver<Command>, told: broadcast::Sender<Told>) {
    let opened = async {
        let topic: Topic<Frame> = space.node().topic(&topic_of(&space.id())).await?;
        let heard = topic.subscribe().await.map_err(|_| PresenceError::Closed)?;
        // What says more than a message may is no message.
        Ok::<_, PresenceError>((topic, heard.pull_up_to(0)))
    };
    match opened.await {
        Ok((topic, heard)) => Gathering::new(space, topic, told).run(asked, heard).await,
        Err(error) => {
            let mut asked = asked;
            while let Some(command) = asked.recv().await {
                command.refuse(error.clone());
            }
        }
    }
}

struct Gathering {
    presence: Presence,
    space: Space,
    topic: Topic<Frame>,
    told: broadcast::Sender<Told>,
    reaches: bool,
    begun: Instant,
}

impl Gathering {
    #[expect(clippy::disallowed_methods, reason = "a gathering owns its clock and draws its seed")]
    fn new(space: Space, topic: Topic<Frame>, told: broadcast::Sender<Told>) -> Self {
        let presence = Presence::new(Config::default(), rand::random());
        Self { presence, space, topic, told, reaches: false, begun: Instant::now() }
    }

    fn now(&self) -> Time {
        let since = self.begun.elapsed();
        Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    async fn run(mut self, mut asked: mpsc::Receiver<Command>, mut heard: Subscription<Frame>) {
        let mut of_space = self.space.told();
        while !self.space.is_left() {
            let wait = self.presence.poll_timeout().unwrap_or(Time::MAX).since(self.now());
            let listener = self.topic.wait_for_neighbours(1);
            let input = tokio::select! {
                command = asked.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                event = heard.next_event() => match event {
                    Some(Event::Message(message)) => self.on_message(message).await,
                    Some(_) => None,
                    None => break,
                },
                () = listener, if !self.reaches => {
                    self.reaches = true;
                    Some(Input::Reaches(true))
                }
                // That it was left is seen above.
                told = of_space.recv() => match told {
                    Err(broadcast::error::RecvError::Closed) => break,
                    _ => None,
                },
                () = tokio::time::sleep(wait) => Some(Input::Timeout),
            };
            if let Some(input) = input {
                self.handle(input);
            }
        }
        self.leave().await;
    }

    fn on_command(&self, command: Command) -> Option<Input> {
        match command {
            Command::Set { name, value, lasts, reply } => {
                let admitted = self.presence.admits(&name, &value);
                let input = admitted.is_ok().then_some(Input::Set { name, value, lasts });
                let _ = reply.send(admitted.map_err(PresenceError::Set));
                input
            }
            Command::Clear { name, reply } => {
                let _ = reply.send(Ok(()));
                Some(Input::Clear { name })
            }
            Command::Others { name, reply } => {
                let others = self.presence.others(&name);
                let others = others.map(|(author, value)| (author, value.to_vec())).collect();
                let _ = reply.send(Ok(others));
                None
            }
        }
    }

    async fn on_message(&self, message: Message<Frame>) -> Option<Input> {
        let Message { value: Frame(bytes), author, life, number, .. } = message;
        let author = identity::public_key(&author).filter(|_| bytes.len() <= MAX_BYTES)?;
        let role = self.space.ask(|space, reply| Request::Role { space, member: author, reply });
        let role = role.await.flatten();
        let counts = match self.space.genesis().mode() {
            // Others aren't told what is in it.
            Mode::Granted => role.is_some(),
            // Anybody is a reader.
            _ => role >= Some(Role::Writer),
        };
        Some(Input::Heard(Heard { author, life, number, counts, bytes }))
    }

    fn handle(&mut self, input: Input) {
        self.presence.handle(self.now(), input);
        while let Some(output) = self.presence.poll_output() {
            match output {
                Output::Say(bytes) if self.topic.neighbours() > 0 => {
                    // A full outbox is a slow network, which is told the next time.
                    if let Err(error) = self.topic.try_publish(&Frame(bytes)) {
                        tracing::debug!(space = %self.space.id(), %error, "presence isn't said");
                    }
                }
                Output::Say(_) => {
                    self.reaches = false;
                    self.presence.handle(self.now(), Input::Reaches(false));
                }
                Output::Changed { author, name, value } => {
                    // Without a reader nobody hears it.
                    let _ = self.told.send(Told { author, name, value });
                }
            }
        }
    }

    /// Says that nothing is said any more.
    async fn leave(self) {
        let Some(bytes) = self.presence.farewell().filter(|_| self.topic.neighbours() > 0) else {
            return;
        };
        if let Ok(receipt) = self.topic.try_publish(&Frame(bytes)) {
            // Who doesn't hear it sees the values expire.
            let _ = tokio::time::timeout(FAREWELL, receipt.handed()).await;
        }
    }
}
