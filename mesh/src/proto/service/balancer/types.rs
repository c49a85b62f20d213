//! What a balancer is told and what it says.

use std::time::Duration;

use aether_core::{Domain, Hash, PublicKey, Time};

use super::{breaker::BreakerConfig, budget::BudgetConfig};

const KEY: Domain = Domain::new("aether 2026-11 service owner key v1");
const RANK: Domain = Domain::new("aether 2026-11 service owner rank v1");

/// One of those that serve: a node, and which of its instances of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The node.
    pub peer: PublicKey,
    /// Which of the node's instances.
    pub number: u64,
}

impl InstanceId {
    /// The weight of this instance for a key: of several the one with the highest owns it
    /// (rendezvous hashing, Thaler and Ravishankar 1998).
    pub fn weight(&self, key: &OwnerKey) -> Hash {
        let mut hasher = RANK.hasher();
        hasher.update(key.0.as_bytes()).update(self.peer.as_bytes());
        hasher.update(&self.number.to_be_bytes()).finish()
    }
}

/// What an instance owns, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerKey(Hash);

impl OwnerKey {
    /// The key of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(KEY.hash(bytes))
    }
}

/// An instance as the directory lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub instance: InstanceId,
    /// Thousandths of its capacity that it says are in use.
    pub load: u32,
    /// Whether it finishes what it has and takes nothing new.
    pub draining: bool,
}

/// A call's number, chosen by the driver and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// An attempt's number, chosen by the balancer and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// Who is to answer a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Any one instance.
    Any,
    /// Every instance that isn't draining, each by an attempt of its own.
    Every,
    /// The instance that owns the key, or the next in rank if that one can't be asked.
    Owner(OwnerKey),
    /// The instance of this node and no other, by one attempt.
    Peer(PublicKey),
}

impl Target {
    /// Whether it says which instances are asked, each once.
    pub(super) const fn is_named(&self) -> bool {
        matches!(self, Self::Every | Self::Peer(_))
    }
}

/// When a second instance is asked while the first is still at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    /// Never.
    Never,
    /// After so long.
    After(Duration),
    /// After the 95th percentile of recent latencies, once there are enough of them.
    P95,
}

/// A call to balance.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number.
    pub id: CallId,
    /// When it has ended at the latest.
    pub deadline: Time,
    /// Whether it does the same when it is done twice. Only such a call is hedged, or retried after
    /// an attempt that may have been started.
    pub idempotent: bool,
    /// Who is to answer.
    pub target: Target,
    /// Whether and when it is hedged.
    pub hedge: Hedge,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an answer.
    Ok,
    /// With an error that the application gave: an answer to the caller, and a sign of health.
    ApplicationError,
    /// The instance refused it before it began, and wants to be left alone for so long.
    Overloaded {
        /// How long.
        retry_after: Duration,
    },
    /// It failed and certainly wasn't begun: no connection, or refused.
    NotStarted,
    /// It failed and may have been begun: the connection broke, the handler panicked, or it took
    /// too long.
    Failed,
}

impl Ended {
    /// Whether the handler may have run.
    pub(super) fn is_maybe_started(self) -> bool {
        match self {
            Self::Ok | Self::ApplicationError | Self::Failed => true,
            Self::Overloaded { .. } | Self::NotStarted => false,
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As this attempt did, the last one or the one that answered.
    Attempted {
        /// Which.
        attempt: AttemptId,
        /// How it ended.
        ended: Ended,
    },
    /// Every instance has answered or failed; see the [`Output::Answer`]s.
    Completed,
    /// The deadline passed. What hadn't ended by then was cancelled, and may have been done.
    DeadlineExceeded,
    /// The caller cancelled it.
    Cancelled,
    /// Nothing was sent, or is sent again: no instance is known that takes calls.
    NoInstance,
    /// Nothing was sent, or is sent again: all that could be asked are overloaded.
    Overloaded {
        /// When the first of them may be asked again.
        retry_after: Duration,
    },
    /// Nothing was sent, or is sent again: all instances failed of late, and another call is
    /// already trying whether one has recovered.
    Unavailable {
        /// When the next is tried at the latest.
        retry_after: Duration,
    },
    /// Nothing was sent: too many calls are under way.
    Busy,
}

/// What can happen to a balancer.
#[derive(Clone, Debug)]
pub enum Input {
    /// These instances serve now, and no others.
    Instances(Vec<Listed>),
    /// A call.
    Call(Call),
    /// An attempt has ended by itself.
    Ended {
        /// Which.
        attempt: AttemptId,
        /// How.
        ended: Ended,
    },
    /// The caller doesn't want the answer any more.
    Cancel(CallId),
    /// The time asked for has come.
    Timeout,
}

/// What a balancer wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the call to this instance, then say [`Input::Ended`], unless it is cancelled before.
    Attempt {
        /// The call.
        call: CallId,
        /// This attempt's number.
        attempt: AttemptId,
        /// To whom.
        instance: InstanceId,
        /// Time until the call's deadline, which travels with it.
        time_left: Duration,
    },
    /// Nobody waits for this attempt any more: tell the instance, and drop what still comes.
    Cancel {
        /// Which.
        attempt: AttemptId,
    },
    /// One instance's part of a call to every instance. Give the answer to the caller.
    Answer {
        /// The call.
        call: CallId,
        /// Which attempt.
        attempt: AttemptId,
        /// Whose.
        instance: InstanceId,
        /// How it ended.
        ended: Ended,
    },
    /// The call has ended, and no attempt of it is under way. Tell the caller.
    Done {
        /// The call.
        call: CallId,
        /// How.
        outcome: Outcome,
    },
    /// Something was decided: count it, and note it in the call's span.
    Decision(Decision),
}

/// Why an attempt goes to the instance it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The cheaper of two drawn at random, or the only one.
    Cheaper,
    /// To see whether it has recovered.
    Probe,
    /// It owns the key.
    Owner,
    /// All are asked.
    Every,
    /// The caller named its node.
    Named,
}

/// What a balancer decided, for metrics and spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// An instance was picked; the attempt follows.
    Picked {
        /// The call.
        call: CallId,
        /// The attempt.
        attempt: AttemptId,
        /// The instance.
        instance: InstanceId,
        /// Why it.
        why: Why,
    },
    /// Another attempt will follow.
    Retried {
        /// The call.
        call: CallId,
        /// The attempt that failed.
        attempt: AttemptId,
        /// In so long.
        wait: Duration,
    },
    /// A second attempt follows while the first is under way.
    Hedged {
        /// The call.
        call: CallId,
    },
    /// The budget doesn't allow a retry or hedge of this call.
    BudgetEmpty {
        /// The call.
        call: CallId,
    },
    /// An instance failed too often: it gets no calls.
    BreakerOpened {
        /// The instance.
        instance: InstanceId,
        /// For so long.
        length: Duration,
    },
    /// An attempt goes to an instance to see whether it has recovered.
    BreakerHalfOpened {
        /// The instance.
        instance: InstanceId,
    },
    /// An instance has recovered.
    BreakerClosed {
        /// The instance.
        instance: InstanceId,
    },
    /// More instances are listed than are kept.
    InstancesLeftOut {
        /// How many.
        count: usize,
    },
}

/// What a balancer may do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time constant with which an instance's old latencies fade when newer ones are lower. Longer
    /// remembers a slow answer longer.
    pub decay: Duration,
    /// Share of its latency that an idle instance is forgiven each time another is preferred for
    /// its cost. With 0.02 one that is slower by ten is tried at every 115th time.
    pub forgiveness: f64,
    /// Retries of one call.
    pub max_retries: u32,
    /// The first retry waits up to so long, the next up to twice as long, and so on.
    pub backoff: Duration,
    /// The longest that a retry waits.
    pub max_backoff: Duration,
    /// The longest that an instance is spared because it said so.
    pub max_retry_after: Duration,
    /// What retries and hedges may cost.
    pub budget: BudgetConfig,
    /// When instances are given up for a while.
    pub breaker: BreakerConfig,
    /// How long an idempotent call that is a probe waits, at least, before another instance is
    /// asked as well.
    pub probe_patience: Duration,
    /// Latencies that must be known before [`Hedge::P95`] hedges.
    pub min_samples: usize,
    /// Latencies kept for it.
    pub max_samples: usize,
    /// Calls under way; one to every instance counts once for each.
    pub max_calls: usize,
    /// Instances kept; at most `max_calls`.
    pub max_instances: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            decay: Duration::from_secs(10),
            forgiveness: 0.02,
            max_retries: 3,
            backoff: Duration::from_millis(25),
            max_backoff: Duration::from_secs(1),
            max_retry_after: Duration::from_secs(60),
            budget: BudgetConfig::default(),
            breaker: BreakerConfig::default(),
            probe_patience: Duration::from_millis(500),
            min_samples: 20,
            max_samples: 256,
            max_calls: 4096,
            max_instances: 1024,
        }
    }
}
