//! Peers that find each other and talk, with no server in the middle.
//!
//! A program embeds a [`Node`]. Nodes of one mesh discover each other, know who is alive, and
//! publish typed, signed messages on [`Topic`]s, offer and call [`Service`]s, fetch [`Blobs`] from
//! whoever holds them, and open [`Stream`]s to each other.
//!
//! ```
//! # #[cfg(feature = "net")]
//! # mod doctest {
//! use aether_mesh::{Node, Preset};
//!
//! # pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let alice = Node::spawn(Preset::Local).await?;
//! let bob = Node::builder(Preset::Local).seeds(alice.addresses().await?).spawn().await?;
//!
//! let mut inbox = bob.topic::<String>("greetings").await?.subscribe().await?;
//! alice.topic("greetings").await?.publish(&"hello".to_owned()).await?;
//!
//! let message = inbox.next().await.expect("bob is running");
//! assert_eq!(message.value, "hello");
//! assert_eq!(message.author, alice.id());
//! # Ok(())
//! # }
//! # }
//! # #[cfg(feature = "net")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
//! #     .block_on(doctest::main()).unwrap();
//! ```
//!
//! In reading order:
//!
//! - [`Node`], [`Preset`], [`Builder`] and [`Config`]: start and stop.
//! - [`Topic`], [`Receipt`], [`Subscription`], [`Message`]: talk.
//! - [`Service`], [`Call`], [`Serving`]: answer. [`Client`], [`Calling`]: ask.
//! - [`Blobs`], [`BlobId`]: content by its hash.
//! - [`Stream`], [`Incoming`]: bytes in both directions between two nodes.
//! - [`Member`], [`MemberEvents`]: who is there.
//! - [`NetworkStatus`] and [`MetricsRegistry`]: what is going on.
//! - [`identity`]: key files.
//! - [`access`]: closed meshes, where only members connect.
//! - [`proto`]: the protocols themselves, pure; what is on the wire is written there.
//!
//! What is on the wire: libp2p's own protocols, gossipsub among them; Aether's signed
//! [envelope](proto::envelope) inside gossipsub's messages; the [link](proto::link) between two
//! nodes, for repair and membership; [sessions](proto::service::frame) for calls of services; and
//! [streams](proto::blob::frame) of blobs. A program in another language needs libp2p and the
//! envelope to take part in a topic.
//!
//! What isn't promised: messages are not stored beyond some megabytes of recent ones, so a node
//! that was away for long doesn't get what it missed; an open mesh is open to everyone who knows
//! its name (a [closed](access) one is not).

pub mod proto;

#[cfg(feature = "net")]
pub mod access;
#[cfg(feature = "net")]
mod behaviour;
#[cfg(feature = "net")]
pub mod blobs;
#[cfg(feature = "net")]
mod clock;
#[cfg(feature = "net")]
mod config;
#[cfg(feature = "net")]
mod discovery;
#[cfg(feature = "net")]
mod framed;
#[cfg(feature = "net")]
mod gossip;
#[cfg(feature = "net")]
pub mod identity;
#[cfg(feature = "net")]
mod link;
#[cfg(feature = "net")]
mod members;
#[cfg(feature = "net")]
mod metrics;
#[cfg(feature = "net")]
mod network;
#[cfg(feature = "net")]
mod node;
#[cfg(feature = "net")]
pub mod services;
#[cfg(feature = "net")]
mod streams;
#[cfg(feature = "net")]
mod topic;
#[cfg(feature = "net")]
mod topics;
#[cfg(feature = "net")]
mod transport;

#[cfg(feature = "net")]
pub use self::{
    blobs::{BlobStore, Blobs, GetError},
    config::{Config, Limits, Preset, Roles},
    members::{Member, MemberEvent, MemberEvents},
    metrics::MetricsRegistry,
    network::{Connection, Direction, NetworkStatus},
    node::{AccessError, BlockError, Builder, Closed, Node, SpawnError},
    services::{
        Announced, Call, CallFailed, Calling, Client, Context, Failure, Hedge, Items, Replies,
        ServeError, Service, Serving,
    },
    streams::{AcceptError, Incoming, MAX_STREAM_NAME, OpenError, Stream},
    topic::{
        Event, MAX_INLINE, MAX_MESSAGE, MAX_TOPIC_NAME, Message, PublishError, PullError, Receipt,
        Subscription, Topic, TopicError,
    },
};
pub use aether_core::BlobId;
#[cfg(feature = "net")]
pub use libp2p::{Multiaddr, PeerId};
