//! The `aether` program: runs a node of a mesh, and talks to it from scripts, browsers and shells.
//!
//! `aether run` starts a [node](aether_mesh::Node) with an HTTP [interface](api) on loopback; all
//! other commands are clients of it, as any program can be. The interface is described by an
//! OpenAPI document that the node serves, under `/v1`; what is there stays there.
//!
//! In reading order: [`config`], what can be set and where; [`api`], the types of the interface;
//! [`Client`], the same from Rust, with [`ClientOptions`] for nodes that ask who it is; [`cli`],
//! the command line and its exit codes.
//!
//! ```no_run
//! use aether_node::{Client, api::TopicEvent};
//! use futures::StreamExt as _;
//!
//! # async fn example() -> Result<(), aether_node::ClientError> {
//! let node = Client::new("http://127.0.0.1:7070")?;
//! println!("{} has {} peers", node.status().await?.peer, node.peers().await?.len());
//!
//! let mut messages = node.subscribe("greetings").await?;
//! while let Some(event) = messages.next().await {
//!     if let TopicEvent::Message { value, author, .. } = event? {
//!         println!("{author}: {value}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod admin;
pub mod api;
pub mod cli;
mod client;
mod commands;
pub mod config;
mod events;
mod interface;
mod output;
mod tls;

pub use self::{
    client::{ApiFile, Client, ClientError, ClientOptions, Events, PmapCall, ServiceCall},
    tls::TlsFileError,
};
