//! A to-do list for several people, with no server in the middle.
//!
//! One begins it, and tells the others the ticket that is printed:
//!
//! ```text
//! cargo run -p aether-examples --bin todo -- --data ada create
//! cargo run -p aether-examples --bin todo -- --data bob join TICKET
//! cargo run -p aether-examples --bin todo -- --data ada open
//! ```
//!
//! Each works on its own too, and what was done apart comes together when two meet.

use std::path::PathBuf;

use aether_crdt::{
    Document, Spaces,
    proto::document::{edit::EditError, template::Template, typed::Text},
};
use aether_mesh::{Multiaddr, Node, Preset};
use autosurgeon::{Hydrate, Reconcile};
use clap::{Parser, Subcommand};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const HELP: &str =
    "add TEXT, done N, move N M, remove N, edit N TEXT, undo, redo, list, ticket, quit";

/// Keep a list together.
#[derive(Parser)]
struct Args {
    /// Where the list is kept; everyone has an own folder.
    #[arg(long, default_value = "todo")]
    data: PathBuf,
    /// The mesh; only nodes of the same one meet.
    #[arg(long, default_value = "aether todo")]
    mesh: String,
    /// Where somebody with the list is, unless on the same network; may be given again.
    #[arg(long)]
    seed: Vec<Multiaddr>,
    /// Stay on this machine.
    #[arg(long)]
    local: bool,
    #[command(subcommand)]
    start: Start,
}

#[derive(Subcommand)]
enum Start {
    /// Begin a list.
    Create,
    /// Take part in somebody's list.
    Join { ticket: String },
    /// Go on with the list that is in the folder.
    Open,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { data, mesh, seed, local, start } = Args::parse();
    let preset = if local { Preset::Local } else { Preset::Lan };
    let node = Node::builder(preset).mesh(&mesh).seeds(seed).data(data).spawn().await?;
    let spaces = Spaces::open(&node).await?;
    let space = match start {
        Start::Create => spaces.create("todo").await?,
        Start::Join { ticket } => spaces.join(&ticket).await?,
        Start::Open => spaces.get("todo").await?,
    };
    // Everyone begins with the same empty list. If each made one, the list of one would hide that
    // of the other.
    let list = space.document_from("list", &Template::of(&List::default())?);

    println!("{HELP}\nothers: todo join {}", space.ticket().await?);
    let mut patches = list.patches().await?;
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    show(&list).await?;
    loop {
        tokio::select! {
            line = input.next_line() => match line?.as_deref().map(str::trim) {
                None | Some("quit") => break,
                Some("") => {}
                Some("list") => show(&list).await?,
                Some("ticket") => println!("others: todo join {}", space.ticket().await?),
                Some("undo") if !list.undo().await? => println!("nothing to undo"),
                Some("redo") if !list.redo().await? => println!("nothing to redo"),
                Some("undo" | "redo") => {}
                Some(line) => {
                    let line = line.to_owned();
                    let id = getrandom::u64()?;
                    match list.update(move |list: &mut List| list.obey(&line, id)).await {
                        Ok(()) => list.durable().await?,
                        Err(error) => println!("{error}"),
                    }
                }
            },
            // Here or elsewhere; what was missed is in what is shown now.
            Some(_) = patches.next() => show(&list).await?,
        }
    }
    list.durable().await?;
    node.shutdown().await;
    Ok(())
}

/// The list, as it is in the document.
#[derive(Default, Hydrate, Reconcile)]
struct List {
    items: Vec<Item>,
}

#[derive(Hydrate, Reconcile)]
struct Item {
    /// By it, two who change the list at once know which item the other means.
    #[key]
    id: u64,
    /// A text rather than a string: two who edit it at once keep what both have typed.
    text: Text,
    done: bool,
    /// Items are shown by it, ascending. An item that moves only gets another place, so what
    /// others do to it meanwhile isn't lost.
    place: u64,
}

impl List {
    /// The items' indices, as they are shown.
    fn shown(&self) -> Vec<usize> {
        let mut shown: Vec<usize> = (0..self.items.len()).collect();
        // Two who are apart give the same places; then the list's order decides, everywhere the
        // same.
        shown.sort_by_key(|index| self.items[*index].place);
        shown
    }

    /// Does what was typed; a new item gets the id.
    fn obey(&mut self, line: &str, id: u64) -> Result<(), EditError> {
        let mut shown = self.shown();
        let count = shown.len();
        let number = |word: &str| match word.parse::<usize>() {
            Ok(number) if (1..=count).contains(&number) => Ok(number - 1),
            _ => Err(EditError::Custom(format!("{word:?} is no item's number"))),
        };
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        match command {
            "add" => {
                let last = shown.last().map(|last| self.items[*last].place);
                let place = last.map_or(0, |last| last.saturating_add(1));
                self.items.push(Item { id, text: rest.into(), done: false, place });
            }
            "done" => self.items[shown[number(rest)?]].done = true,
            "remove" => drop(self.items.remove(shown[number(rest)?])),
            "edit" => self.items[shown[number(first)?]].text = second.into(),
            "move" => {
                let (from, to) = (number(first)?, number(second)?);
                let moved = shown.remove(from);
                shown.insert(to, moved);
                // What is the same as before isn't written.
                (0_u64..).zip(shown).for_each(|(place, item)| self.items[item].place = place);
            }
            _ => return Err(EditError::Custom(HELP.to_owned())),
        }
        Ok(())
    }
}

async fn show(list: &Document) -> anyhow::Result<()> {
    let list: List = list.read().await?;
    let done = list.items.iter().filter(|item| item.done).count();
    println!("\n{} to do, {done} done", list.items.len() - done);
    for (number, index) in (1..).zip(list.shown()) {
        let Item { text, done, .. } = &list.items[index];
        // What others write is shown as text, never obeyed as a terminal's control sequence.
        let text: String = text.chars().filter(|c| !c.is_control()).take(1000).collect();
        println!("{number:3}. [{}] {text}", if *done { 'x' } else { ' ' });
    }
    Ok(())
}
