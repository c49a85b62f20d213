//! A pool of workers, with nothing in front of it.
//!
//! Start as many workers as you like, on one network or with `--seed`, and ask:
//!
//! ```text
//! cargo run -p aether-examples --bin pool -- work
//! cargo run -p aether-examples --bin pool -- work
//! cargo run -p aether-examples --bin pool -- ask --numbers 200
//! ```
//!
//! Kill workers, start others: as long as one is there, each number gets its answer, once.

use std::{collections::BTreeMap, time::Duration};

use aether_mesh::{Call, Failure, Multiaddr, Node, Preset, Service};
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};

/// Counts primes, together.
#[derive(Parser)]
struct Args {
    /// The mesh; only nodes of the same one meet.
    #[arg(long, global = true, default_value = "aether pool")]
    mesh: String,
    /// Where another node is, unless on the same network; may be given again.
    #[arg(long, global = true)]
    seed: Vec<Multiaddr>,
    /// Stay on this machine.
    #[arg(long, global = true)]
    local: bool,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Answer until Ctrl-C.
    Work {
        /// The name that answers carry.
        #[arg(long, default_value = "worker")]
        name: String,
        /// Take so many milliseconds longer over each answer.
        #[arg(long, default_value_t = 0)]
        slow: u64,
    },
    /// Ask how many primes are below 1, 2, 3 and so on.
    Ask {
        /// How many questions.
        #[arg(long, default_value_t = 100)]
        numbers: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Answer {
    primes: u64,
    by: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { mesh, seed, local, role } = Args::parse();
    let preset = if local { Preset::Local } else { Preset::Lan };
    let node = Node::builder(preset).mesh(&mesh).seeds(seed).spawn().await?;
    match role {
        Role::Work { name, slow } => {
            let count = move |call: Call<u64>| count(call.value, name.clone(), slow);
            let service = Service::new().version("1.0.0").endpoint("count", count);
            node.serve("primes", service).await?.detach();
            println!("working; others can join with");
            for address in node.addresses().await? {
                println!("  --seed {address}");
            }
            tokio::signal::ctrl_c().await?;
        }
        Role::Ask { numbers } => ask(&node, numbers).await?,
    }
    node.shutdown().await;
    Ok(())
}

async fn count(below: u64, by: String, slow: u64) -> Result<Answer, Failure> {
    if below > 1_000_000 {
        return Err(Failure::new(1, "ask for less than a million"));
    }
    tokio::time::sleep(Duration::from_millis(slow)).await;
    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    Ok(Answer { primes: (2..below).filter(is_prime).count() as u64, by })
}

async fn ask(node: &Node, numbers: u64) -> anyhow::Result<()> {
    let client = node.client("primes");
    let mut answered = BTreeMap::<String, u64>::new();
    let mut last = 0;
    for below in 1..=numbers {
        // It does no harm to count twice, so a worker that dies over it is no loss.
        let call = client.call::<Answer>("count", &below).idempotent();
        let answer = call.deadline(Duration::from_secs(60)).await?;
        *answered.entry(answer.by).or_default() += 1;
        last = answer.primes;
    }
    println!("{last} primes are below {numbers}; who said so:");
    for (worker, answers) in answered {
        println!("  {worker}: {answers} answers");
    }
    Ok(())
}
