//! Each rule by itself.

mod answers;
mod gathering;
mod keeping;
mod messages;
mod placing;

use std::time::Duration;

use aether_core::{Hash, Protocol, PublicKey, SecretKey, Time};

use super::*;
use crate::proto::id::SpaceId;

fn peer(n: u8) -> PublicKey {
    SecretKey::from_bytes([n; 32]).public()
}

fn control() -> SpaceId {
    SpaceId::from_hash(Hash::from_bytes([7; 32]))
}

fn joined(members: impl IntoIterator<Item = u8>) -> Vec<(PublicKey, Standing)> {
    members.into_iter().map(|n| (peer(n), Standing::Joined)).collect()
}

fn placement(partitions: u16, replicas: u8, members: Vec<(PublicKey, Standing)>) -> Placement {
    Placement::new(control(), Partitioning::new(partitions, replicas).unwrap(), members)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// All that a protocol puts out after an input.
fn outputs<P: Protocol>(protocol: &mut P, now: Time, input: P::Input) -> Vec<P::Output> {
    protocol.handle(now, input);
    std::iter::from_fn(|| protocol.poll_output()).collect()
}
