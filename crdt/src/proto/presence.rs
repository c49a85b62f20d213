//! Presence: what those who are here now say of themselves, such as where their cursors are.
//!
//! Each node has a few named values in a space, which the others see while it is there, and no
//! longer: nothing of it is stored, and whoever falls silent is forgotten. What is said travels as
//! messages of a topic of the mesh, which are signed and numbered by their authors.
//!
//! The invariants: who listens shows of each author what the newest message said that came, by the
//! author's life and the message's number; an author is shown for [`Config::expiry`] after its last
//! message, at most; and no author, or number of them, makes a listener hold more than
//! [`MAX_AUTHORS`] times [`MAX_BYTES`].
//!
//! # Rhythm
//!
//! - Who has values says all of them when one changes, and each [`Config::beat`]. Changes that come
//!   within [`Config::pause`] are one message.
//! - Who begins to listen asks the others what they have. They answer within [`Config::answer`], at
//!   a random moment, and however many ask, once.
//! - Who has no values any more says that once. While nobody listens, nothing is said.
//! - Of more authors than there is room for, those are shown who came first: one who invents
//!   authors displaces nobody.
//!
//! # A message: version 1
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version: 1 |
//! | 1 | 1 if others are asked what they have, else 0 |
//! | 1 | how many values: 16 at most |
//! | 1, n | for each, ascending by name: the length of the name in bytes, at least 1, and the name in UTF-8 |
//! | 2, n | the value's length, at most 4,096, and the value |
//!
//! Integers are big endian. A message has at most 16 KiB. One that is anything else is ignored.

mod message;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use aether_core::{Protocol, PublicKey, Time};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

pub use self::message::Message;

/// Authors that are shown at a time.
pub const MAX_AUTHORS: usize = 256;
/// Values of an author.
pub const MAX_VALUES: usize = 16;
/// Bytes of a value's name.
pub const MAX_NAME: usize = 255;
/// Bytes of a value.
pub const MAX_VALUE: usize = 4_096;
/// Bytes of a message: all that an author says.
pub const MAX_BYTES: usize = 16 << 10;

/// The rhythm of presence. Those who listen and those who speak must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often is said again what didn't change.
    pub beat: Duration,
    /// How long an author is shown after its last message: some beats, as messages may be lost.
    pub expiry: Duration,
    /// The least time between two messages: what is shown of a moving cursor is so much behind.
    pub pause: Duration,
    /// Within which time those who ask are answered.
    pub answer: Duration,
}

impl Default for Config {
    /// A beat of 15 s, an expiry of 45 s, a pause of 50 ms, and answers within a second.
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(15),
            expiry: Duration::from_secs(45),
            pause: Duration::from_millis(50),
            answer: Duration::from_secs(1),
        }
    }
}

/// Why a value isn't set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// The name is empty or too long.
    #[error("a name of presence has 1 to {MAX_NAME} bytes, not {len}")]
    Name {
        /// Its length in bytes.
        len: usize,
    },
    /// The value is too large.
    #[error("a value of presence has at most {MAX_VALUE} bytes encoded, and this one has {len}")]
    Value {
        /// Its length in bytes.
        len: usize,
    },
    /// There are too many values, or all of them together are too large.
    #[error(
        "a node has at most {MAX_VALUES} values of presence in a space, of {MAX_BYTES} bytes \
         together: clear one first"
    )]
    Full,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum Input {
    /// A value of our own, for so long; until it is cleared, if that isn't said. What
    /// [`Presence::admits`] refuses is ignored.
    Set {
        /// Its name.
        name: String,
        /// What it is.
        value: Vec<u8>,
        /// How long it stays.
        lasts: Option<Duration>,
    },
    /// We have no value of that name any more.
    Clear {
        /// Its name.
        name: String,
    },
    /// Whether anybody listens.
    Reaches(bool),
    /// A message came.
    Heard(Heard),
    /// Time passed.
    Timeout,
}

/// A message of somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who signed it.
    pub author: PublicKey,
    /// In which life, later ones having larger numbers.
    pub life: u64,
    /// Its number in that life.
    pub number: u64,
    /// Whether the author is one whose presence counts. If not, it isn't shown any more.
    pub counts: bool,
    /// The message.
    pub bytes: Vec<u8>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Publish this.
    Say(Vec<u8>),
    /// Tell users: what an author has under a name is another value now, or none.
    Changed {
        /// Whose.
        author: PublicKey,
        /// Its name.
        name: String,
        /// What it is now.
        value: Option<Vec<u8>>,
    },
}

/// A value of our own.
#[derive(Clone, Debug)]
struct Own {
    value: Vec<u8>,
    until: Option<Time>,
}

/// What is known of an author. One who has no values any more is remembered until it expires, so
/// that an older message doesn't bring them back.
#[derive(Clone, Debug)]
struct Other {
    newest: (u64, u64),
    expires: Time,
    values: BTreeMap<String, Vec<u8>>,
}

/// The presence of a node and of others in a space. See the [module](self).
#[derive(Debug)]
pub struct Presence {
    config: Config,
    rng: ChaCha12Rng,
    own: BTreeMap<String, Own>,
    others: BTreeMap<PublicKey, Other>,
    reaches: bool,
    /// Whether the next message asks.
    asks: bool,
    said: Option<Time>,
    /// When something is to be said.
    due: Option<Time>,
    outputs: VecDeque<Output>,
}

impl Presence {
    /// Nobody is here yet. `seed` spreads answers over time.
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        Self {
            config,
            rng: ChaCha12Rng::from_seed(seed),
            own: BTreeMap::new(),
            others: BTreeMap::new(),
            reaches: false,
            asks: false,
            said: None,
            due: None,
            outputs: VecDeque::new(),
        }
    }

    /// Whether a value can be set.
    ///
    /// # Errors
    /// It, or all of them together, are too large.
    pub fn admits(&self, name: &str, value: &[u8]) -> Result<(), SetError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(SetError::Name { len: name.len() });
        }
        if value.len() > MAX_VALUE {
            return Err(SetError::Value { len: value.len() });
        }
        let others = self.own.iter().filter(|(other, _)| *other != name);
        let others = others.map(|(name, own)| (&name[..], &own.value[..]));
        let all = others.chain([(name, value)]);
        if Message::size(all.clone()) > MAX_BYTES || all.count() > MAX_VALUES {
            return Err(SetError::Full);
        }
        Ok(())
    }

    /// What others have under a name, by author.
    pub fn others<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (PublicKey, &'a [u8])> {
        let others = self.others.iter();
        others.filter_map(move |(author, other)| Some((*author, &other.values.get(name)?[..])))
    }

    /// What we have under a name.
    pub fn own(&self, name: &str) -> Option<&[u8]> {
        self.own.get(name).map(|own| &own.value[..])
    }

    /// What is to be said by who goes: that there is nothing any more.
    pub fn farewell(&self) -> Option<Vec<u8>> {
        let has_said = self.said.is_some() && !self.own.is_empty();
        has_said.then(|| Message::default().encode())
    }

    /// How many authors are remembered.
    pub fn len(&self) -> usize {
        self.others.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.others.is_empty()
    }

    fn set(&mut self, now: Time, name: String, value: Vec<u8>, lasts: Option<Duration>) {
        if self.admits(&name, &value).is_err() {
            return;
        }
        let is_new = self.own(&name) != Some(&value);
        self.own.insert(name, Own { value, until: lasts.map(|lasts| now + lasts) });
        if is_new {
            self.say_soon(now);
        }
    }

    /// Says what there is, when enough time has passed since the last message.
    fn say_soon(&mut self, now: Time) {
        let at = self.said.map_or(now, |said| now.max(said + self.config.pause));
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Says what there is, at a random moment.
    fn answer(&mut self, now: Time) {
        let within = u64::try_from(self.config.answer.as_micros()).unwrap_or(u64::MAX).max(1);
        let wait = Duration::from_micros(self.rng.next_u64() % within);
        let least = self.said.map_or(now, |said| now.max(said + self.config.answer));
        let at = least.max(now + wait);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn hear(&mut self, now: Time, heard: Heard) {
        let Heard { author, life, number, counts, bytes } = heard;
        if !counts {
            if let Some(gone) = self.others.remove(&author) {
                self.tell_gone(author, gone.values);
            }
            return;
        }
        let Some(Message { asks, values }) = Message::decode(&bytes) else { return };
        let newest = (life, number);
        let known = self.others.get(&author).map(|other| other.newest);
        if known.is_some_and(|known| known >= newest) {
            return;
        }
        if asks && !self.own.is_empty() {
            self.answer(now);
        }
        if known.is_none() && (values.is_empty() || self.others.len() >= MAX_AUTHORS) {
            return;
        }
        let expires = now + self.config.expiry;
        let other = Other { newest, expires, values: values.clone() };
        let before = self.others.insert(author, other).map(|other| other.values);
        let before = before.unwrap_or_default();
        let gone = before.keys().filter(|name| !values.contains_key(*name));
        for name in gone.cloned() {
            self.outputs.push_back(Output::Changed { author, name, value: None });
        }
        let changed = values.into_iter().filter(|(name, value)| before.get(name) != Some(value));
        for (name, value) in changed {
            self.outputs.push_back(Output::Changed { author, name, value: Some(value) });
        }
    }

    fn tell_gone(&mut self, author: PublicKey, values: BTreeMap<String, Vec<u8>>) {
        let gone = values.into_keys().map(|name| Output::Changed { author, name, value: None });
        self.outputs.extend(gone);
    }

    fn on_time(&mut self, now: Time) {
        let expired = self.others.iter().filter(|(_, other)| other.expires <= now);
        for author in expired.map(|(author, _)| *author).collect::<Vec<_>>() {
            let gone = self.others.remove(&author).map(|other| other.values);
            self.tell_gone(author, gone.unwrap_or_default());
        }
        let count = self.own.len();
        self.own.retain(|_, own| own.until.is_none_or(|until| until > now));
        if self.own.len() < count {
            self.say_soon(now);
        }
        if self.reaches && self.next_say().is_some_and(|at| at <= now) {
            let values = self.own.iter().map(|(name, own)| (name.clone(), own.value.clone()));
            let message = Message { asks: self.asks, values: values.collect() };
            self.outputs.push_back(Output::Say(message.encode()));
            (self.asks, self.due, self.said) = (false, None, Some(now));
        }
    }

    fn next_say(&self) -> Option<Time> {
        let beat = self.said.filter(|_| !self.own.is_empty()).map(|said| said + self.config.beat);
        self.due.into_iter().chain(beat).min()
    }
}

impl Protocol for Presence {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Set { name, value, lasts } => self.set(now, name, value, lasts),
            Input::Clear { name } => {
                if self.own.remove(&name).is_some() {
                    self.say_soon(now);
                }
            }
            Input::Reaches(reaches) => {
                if reaches && !self.reaches {
                    self.asks = true;
                    self.say_soon(now);
                }
                self.reaches = reaches;
            }
            Input::Heard(heard) => self.hear(now, heard),
            Input::Timeout => {}
        }
        self.on_time(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let expiries = self.others.values().map(|other| other.expires);
        let ends = self.own.values().filter_map(|own| own.until);
        let say = self.next_say().filter(|_| self.reaches);
        expiries.chain(ends).chain(say).min()
    }
}

#[cfg(test)]
mod tests;
