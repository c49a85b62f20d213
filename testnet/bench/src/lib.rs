//! Aether measured side by side with what it stands on, in one run, against goals with fixed names.
//!
//! ```text
//! cargo run --release -p aether-bench -- gossip --json rows.json
//! cargo run --release -p aether-bench -- service --quick
//! cargo run --release -p aether-bench -- all
//! ```
//!
//! **Promise.** Payloads are random, transports are real, subjects take turns (Aether, plain,
//! Aether, plain ...), each run is a fresh process, and the median is quoted. A run that loses a
//! message or delivers one twice, or in which a call fails, doesn't count, and its row says so.
//! Every [goal](report::GOALS) of a work has a row or the program exits with status 1; a goal that
//! is measured and not met is shown as such, with status 0.
//!
//! In reading order:
//!
//! - [`report`]: rows, goals, the table and the JSON.
//! - [`works::gossip`], [`works::service`], [`works::blob`], [`works::crdt`],
//!   [`works::documents`]: what is measured, and how.
//! - [`subjects`]: whose topics are measured.
//! - [`process`]: fresh processes, their processor time and memory.
//!
//! What a ratio means: both subjects ran on this machine, within seconds of each other, under the
//! same load. The figures themselves are this machine's.
//!
//! ```
//! use aether_bench::report::{GOALS, Report, Row};
//!
//! let plain = Row::new("gossip", "plain", "throughput-32k/tcp", "deliveries/s", Some(900.0));
//! let aether = Row::new("gossip", "aether", "throughput-32k/tcp", "deliveries/s", Some(1800.0));
//! let aether = aether.against(&plain);
//! assert_eq!((aether.ratio, aether.met), (Some(2.0), Some(true)));
//!
//! let mut report = Report::default();
//! report.push(plain);
//! report.push(aether);
//! let missing = report.complete(&["gossip", "service", "blob", "crdt", "documents"]);
//! assert_eq!(missing.len(), GOALS.len() - 1, "all others have no row");
//! ```

mod options;
pub mod process;
pub mod report;
pub mod subjects;
pub mod works;

pub use options::{Name, Options, run};
