//! Messages through all nodes, and the count of what arrived where.
//!
//! Each message begins with a number of its own, so that every copy can be told from every other;
//! the rest is a line of the input, and is compared.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::future;
use serde::Deserialize;
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
};

use crate::{
    api::{Api, Events},
    lab::now,
};

/// How long copies too many are waited for.
const SETTLE: Duration = Duration::from_millis(500);

/// What became of a batch of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Messages published.
    pub messages: usize,
    /// Deliveries that this makes: one to each reader but the author.
    pub expected: usize,
    /// Of these, how many didn't come in time.
    pub missing: usize,
    /// Deliveries of what was delivered already.
    pub duplicates: usize,
    /// Deliveries of an author's message after a later one of the same author.
    pub reordered: usize,
    /// Deliveries of what nobody published, or of a node's own messages to itself.
    pub foreign: usize,
    /// Messages that nodes reported as missed or undecodable.
    pub reported: usize,
    /// Subscriptions that ended before their time.
    pub broken: usize,
    /// From the first publication to the last delivery.
    pub elapsed: Duration,
}

#[derive(Debug)]
struct Sent {
    author: usize,
    text: String,
}

/// A node that reads.
#[derive(Clone, Debug, Default)]
struct Reader {
    /// The first message that it must get: the subscription began before that.
    since: Option<usize>,
    /// How often each message came.
    counts: Vec<u8>,
    /// The last message of each author.
    last: Vec<usize>,
}

/// The books: what was sent, and what came.
#[derive(Debug)]
struct Ledger {
    sent: Vec<Sent>,
    readers: Vec<Reader>,
    /// The first message of the present batch.
    batch: usize,
    last_delivery: Option<Instant>,
    outcome: Outcome,
}

impl Ledger {
    fn new(nodes: usize) -> Self {
        let reader = Reader { last: vec![0; nodes], ..Reader::default() };
        let (sent, readers) = (Vec::new(), vec![reader; nodes]);
        Self { sent, readers, batch: 0, last_delivery: None, outcome: Outcome::default() }
    }

    /// Begins a batch of these messages, by author, and gives their texts.
    fn begin<'a>(&mut self, lines: impl IntoIterator<Item = (usize, &'a str)>) -> Vec<String> {
        self.batch = self.sent.len();
        self.outcome = Outcome::default();
        self.last_delivery = None;
        let mut texts = Vec::new();
        for (author, line) in lines {
            let text = format!("{} {line}", self.sent.len());
            texts.push(text.clone());
            self.sent.push(Sent { author, text });
            let readers = (0..self.readers.len()).filter(|&i| self.readers[i].since.is_some());
            self.outcome.expected += readers.filter(|&reader| reader != author).count();
        }
        self.outcome.messages = texts.len();
        self.outcome.missing = self.outcome.expected;
        texts
    }

    /// Books a delivery. True if it was the last that the batch lacked.
    fn deliver(&mut self, reader: usize, text: &str, at: Instant) -> bool {
        let number = text.split_once(' ').and_then(|(number, _)| number.parse::<usize>().ok());
        let sent = number.and_then(|number| Some((number, self.sent.get(number)?)));
        let Some((number, sent)) = sent.filter(|(_, s)| s.text == text && s.author != reader)
        else {
            self.outcome.foreign += 1;
            return false;
        };
        let Reader { since, counts, last } = &mut self.readers[reader];
        if since.is_none_or(|since| number < since) {
            // From before the subscription: nothing is promised of that, and it is no copy.
            return false;
        }
        counts.resize(self.sent.len(), 0);
        counts[number] = counts[number].saturating_add(1);
        if counts[number] > 1 {
            self.outcome.duplicates += 1;
            return false;
        }
        // Numbers of one author ascend, also over its restarts.
        self.outcome.reordered += usize::from(number < last[sent.author]);
        last[sent.author] = last[sent.author].max(number);
        if number < self.batch {
            return false;
        }
        self.last_delivery = Some(at);
        self.outcome.missing -= 1;
        self.outcome.missing == 0
    }
}

/// The data of a `message`.
#[derive(Deserialize)]
struct Said {
    value: String,
}

/// The data of a `missed`.
#[derive(Deserialize)]
struct Missed {
    count: usize,
}

#[derive(Debug)]
struct Shared {
    ledger: Mutex<Ledger>,
    complete: Notify,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Subscriptions of all nodes to one topic, and batches of messages through it. Dropping it ends
/// the subscriptions.
#[derive(Debug)]
pub struct Traffic {
    topic: String,
    shared: Arc<Shared>,
    readers: Vec<Option<AbortHandle>>,
    tasks: JoinSet<()>,
}

impl Traffic {
    /// Traffic between so many nodes, none of which reads yet.
    pub fn new(topic: &str, nodes: usize) -> Self {
        let shared = Shared { ledger: Mutex::new(Ledger::new(nodes)), complete: Notify::new() };
        let readers = vec![None; nodes];
        Self { topic: topic.to_owned(), shared: Arc::new(shared), readers, tasks: JoinSet::new() }
    }

    /// Whether a node reads.
    pub fn is_reading(&self, node: usize) -> bool {
        self.readers[node].is_some()
    }

    /// Subscribes a node. It must get what is published after this.
    pub async fn attach(&mut self, node: usize, api: &Api) -> Result<()> {
        self.detach(node);
        let events = api.subscribe(&self.topic).await?;
        let mut ledger = self.shared.ledger();
        let sent = ledger.sent.len();
        ledger.readers[node].since = Some(sent);
        drop(ledger);
        self.readers[node] = Some(self.tasks.spawn(read(self.shared.clone(), node, events)));
        Ok(())
    }

    /// Forgets a node's subscription: the node is about to be killed.
    pub fn detach(&mut self, node: usize) {
        if let Some(reader) = self.readers[node].take() {
            reader.abort();
        }
        self.shared.ledger().readers[node].since = None;
    }

    /// Publishes lines, through all authors at once, and waits for the deliveries, and a little
    /// longer for those that mustn't come.
    pub async fn exchange(
        &self,
        lines: &[(usize, &Api, Vec<&str>)],
        timeout: Duration,
    ) -> Result<Outcome> {
        let outcome = self.send(lines, timeout).await?;
        tokio::time::sleep(SETTLE).await;
        let ledger = self.shared.ledger();
        Ok(Outcome { elapsed: outcome.elapsed, ..ledger.outcome })
    }

    /// Publishes one line, and gives the time until the last reader had it, if all had it.
    pub async fn time_one(
        &self,
        author: usize,
        api: &Api,
        line: &str,
        timeout: Duration,
    ) -> Result<Option<Duration>> {
        let outcome = self.send(&[(author, api, vec![line])], timeout).await?;
        Ok((outcome.missing == 0).then_some(outcome.elapsed))
    }

    async fn send(&self, lines: &[(usize, &Api, Vec<&str>)], timeout: Duration) -> Result<Outcome> {
        let batch = lines.iter().flat_map(|(author, _, lines)| lines.iter().map(|l| (*author, *l)));
        let complete = self.shared.complete.notified();
        let mut texts = self.shared.ledger().begin(batch).into_iter();
        let started = now();
        let calls = lines.iter().map(|(author, api, lines)| {
            let texts: Vec<String> = texts.by_ref().take(lines.len()).collect();
            async move {
                let call = api.publish(&self.topic, &texts).await;
                call.with_context(|| format!("node{author} doesn't publish"))
            }
        });
        let calls: Vec<_> = calls.collect();
        future::try_join_all(calls).await?;
        if self.shared.ledger().outcome.missing > 0 {
            // What is still missing when time is up is in the outcome.
            let _ = tokio::time::timeout(timeout, complete).await;
        }
        let ledger = self.shared.ledger();
        let last = ledger.last_delivery.unwrap_or(started);
        Ok(Outcome { elapsed: last.saturating_duration_since(started), ..ledger.outcome })
    }
}

/// Reads one subscription to its end, which should not come.
async fn read(shared: Arc<Shared>, node: usize, mut events: Events) {
    while let Ok(Some(event)) = events.next().await {
        let at = now();
        let mut ledger = shared.ledger();
        match event.event.as_str() {
            "message" => {
                let said: Result<Said, _> = serde_json::from_str(&event.data);
                let text = said.map_or(String::new(), |said| said.value);
                if ledger.deliver(node, &text, at) {
                    shared.complete.notify_waiters();
                }
            }
            "missed" => {
                let count = serde_json::from_str(&event.data).map_or(1, |m: Missed| m.count);
                ledger.outcome.reported += count;
            }
            _ => ledger.outcome.reported += 1,
        }
    }
    shared.ledger().outcome.broken += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three nodes, of which the first two read, and two messages by the first and one by the last.
    fn ledger() -> (Ledger, Vec<String>) {
        let mut ledger = Ledger::new(3);
        ledger.readers[0].since = Some(0);
        ledger.readers[1].since = Some(0);
        let texts = ledger.begin([(0, "a"), (0, "a"), (2, "b")]);
        (ledger, texts)
    }

    #[test]
    fn each_reader_but_the_author_gets_each_message_once() {
        let (mut ledger, texts) = ledger();
        assert_eq!(ledger.outcome.expected, 1 + 1 + 2);
        assert!(!ledger.deliver(1, &texts[0], now()));
        assert!(!ledger.deliver(1, &texts[1], now()));
        assert!(!ledger.deliver(0, &texts[2], now()));
        assert!(ledger.deliver(1, &texts[2], now()));
        let expected = Outcome { messages: 3, expected: 4, ..Outcome::default() };
        assert_eq!(ledger.outcome, expected);
    }

    #[test]
    fn copies_strangers_and_disorder_are_counted() {
        let (mut ledger, texts) = ledger();
        for text in [&texts[1], &texts[0], &texts[0], "1 other", "9 a", "", "x"] {
            assert!(!ledger.deliver(1, text, now()));
        }
        assert!(!ledger.deliver(0, &texts[0], now()), "nobody gets what they said themselves");
        let Outcome { missing, duplicates, reordered, foreign, .. } = ledger.outcome;
        assert_eq!((missing, duplicates, reordered, foreign), (2, 1, 1, 5));
    }

    #[test]
    fn a_reader_that_comes_back_need_not_get_what_was_before() {
        let (mut ledger, texts) = ledger();
        ledger.deliver(1, &texts[0], now());
        ledger.readers[1].since = Some(3);
        let later = ledger.begin([(0, "c")]);
        assert!(!ledger.deliver(1, &texts[0], now()));
        assert!(!ledger.deliver(1, &texts[1], now()));
        assert!(ledger.deliver(1, &later[0], now()));
        assert_eq!(ledger.outcome, Outcome { messages: 1, expected: 1, ..Outcome::default() });
    }
}
