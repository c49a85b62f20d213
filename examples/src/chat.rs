//! A chat for the terminal, with no server in the middle.
//!
//! On one network, two people need nothing but the same room:
//!
//! ```text
//! cargo run -p aether-examples --bin chat -- --name ada --room tea
//! cargo run -p aether-examples --bin chat -- --name bob --room tea
//! ```
//!
//! Elsewhere one of them passes the other an address that the program prints, as `--seed`.
//! A line is a message; `/who` lists who is there; `/quit`, or the end of input, leaves.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
};

use aether_mesh::{Event, MemberEvent, Multiaddr, Node, PeerId, Preset};
use clap::Parser;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Talk with whoever is in the same room.
#[derive(Parser)]
struct Args {
    /// The name that others see.
    #[arg(long, env = "USER")]
    name: String,
    /// The room: everyone in it hears everyone.
    #[arg(long, default_value = "lobby")]
    room: String,
    /// Where somebody in the room is, unless on the same network; may be given again.
    #[arg(long)]
    seed: Vec<Multiaddr>,
    /// Stay on this machine.
    #[arg(long)]
    local: bool,
}

#[derive(Serialize, Deserialize)]
enum Line {
    /// Said once on joining, and again to each newcomer, so that everyone knows the names.
    Here {
        name: String,
    },
    Says {
        name: String,
        text: String,
    },
    Leaves {
        name: String,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { name, room, seed, local } = Args::parse();
    let preset = if local { Preset::Local } else { Preset::Lan };
    let node = Node::builder(preset).mesh("aether chat").seeds(seed).spawn().await?;
    // Express: a person types too slowly to share envelopes.
    let topic = node.topic::<Line>(&room).await?.express();
    let mut lines = topic.subscribe().await?;
    let mut members = node.member_events();
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let mut names = BTreeMap::<PeerId, String>::new();

    println!("You are {name} in {room}. Others can join you with");
    for address in node.addresses().await? {
        println!("  --seed {address}");
    }
    topic.publish(&Line::Here { name: name.clone() }).await?;
    loop {
        prompt(&name);
        tokio::select! {
            line = input.next_line() => match line?.as_deref().map(str::trim) {
                None | Some("/quit") => break,
                Some("") => {}
                Some("/who") => {
                    let others = names.values().cloned().collect::<Vec<_>>().join(", ");
                    print_line(&format!("* here: {name}, {others}"));
                }
                Some(text) => {
                    let says = Line::Says { name: name.clone(), text: text.to_owned() };
                    topic.publish(&says).await?;
                }
            },
            event = lines.next_event() => match event {
                None => break,
                Some(Event::Message(message)) => {
                    let newcomer = hear(&mut names, message.author, message.value);
                    if newcomer {
                        topic.publish(&Line::Here { name: name.clone() }).await?;
                    }
                }
                Some(Event::Missed(count)) => print_line(&format!("* {count} lines were lost")),
                Some(_) => {}
            },
            event = members.next() => match event {
                Some(MemberEvent::Failed(peer)) => {
                    if let Some(gone) = names.remove(&peer) {
                        print_line(&format!("* {gone} is out of reach"));
                    }
                }
                Some(_) => {}
                None => break,
            },
        }
    }
    topic.publish(&Line::Leaves { name }).await?;
    node.shutdown().await;
    Ok(())
}

/// Shows a line; whether it came from somebody who wasn't known.
fn hear(names: &mut BTreeMap<PeerId, String>, author: PeerId, line: Line) -> bool {
    match line {
        Line::Here { name } => {
            let name = plain(&name);
            let new = names.insert(author, name.clone()).is_none();
            if new {
                print_line(&format!("* {name} is here"));
            }
            new
        }
        Line::Says { name, text } => {
            let (name, text) = (plain(&name), plain(&text));
            print_line(&format!("{name}: {text}"));
            names.insert(author, name);
            false
        }
        Line::Leaves { name } => {
            names.remove(&author);
            print_line(&format!("* {} leaves", plain(&name)));
            false
        }
    }
}

/// What others send is shown as text, never obeyed as a terminal's control sequence.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(1000).collect()
}

fn print_line(line: &str) {
    let clear = if std::io::stdout().is_terminal() { "\r\x1b[K" } else { "" };
    println!("{clear}{line}");
}

fn prompt(name: &str) {
    if std::io::stdout().is_terminal() {
        print!("{name}> ");
        // A prompt that isn't shown harms nobody.
        let _ = std::io::stdout().flush();
    }
}
