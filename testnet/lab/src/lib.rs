//! Real `aether` processes on one machine, and a tour of what they must do together.
//!
//! A lab starts the program itself, as many times as asked, and knows of it only what everyone
//! may: the command line, `api.json` in the data folder, and the HTTP API. It promises to leave
//! nothing behind, neither processes nor folders, however it ends.
//!
//! In reading order:
//!
//! - [`Options`] and [`tour`]: a whole run, from nothing to a [`Report`].
//! - [`Stage`]: what is tried, one module each. This is where a new stage is added.
//! - [`Lab`]: what a stage works with. [`Cluster`] starts, kills and restarts nodes; [`Traffic`]
//!   publishes through them and counts what arrives where.
//!   [`Workers`] serve beside the nodes.
//! - [`flood`](mod@flood): the stranger who attacks one of them; [`memory`](mod@memory): what that
//!   costs it.
//! - [`Api`]: the client of one node's API.
//! - [`leash`]: how a node is made to die with the lab.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! use aether_lab::{Lab, Options, Stage, tour};
//!
//! let options = Options {
//!     aether: "target/debug/aether".into(),
//!     leash: "target/debug/aether-lab".into(),
//!     nodes: 3,
//!     seed: 7,
//!     lines: vec!["one".to_owned(), "two".to_owned()],
//!     data: None,
//! };
//! let mut lab = Lab::new(options)?;
//! tour(&mut lab, &[Stage::Form, Stage::Publish]).await;
//! assert!(lab.report.is_ok());
//! # Ok(())
//! # }
//! ```

mod api;
mod cluster;
pub mod flood;
mod lab;
pub mod leash;
pub mod memory;
mod report;
mod settled;
mod sse;
mod stages;
mod traffic;
mod workers;

pub use self::{
    api::{Answer, Api, CallError, Document, Events, MapPage, Mesh, Peer, SpaceState, Status},
    cluster::{Cluster, Node},
    lab::{Lab, Options, TOPIC},
    report::{Report, Row, percentile},
    sse::{SseEvent, SseParser},
    stages::{Stage, tour},
    traffic::{Outcome, Traffic},
    workers::Workers,
};
