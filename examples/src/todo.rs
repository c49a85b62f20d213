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
    proto::document::{
        Kind,
        content::{Content, Node as Value, ObjId, Scalar},
        edit::{Edit, EditError},
        template::Template,
        view::{View, ViewError},
    },
};
use aether_mesh::{Multiaddr, Node, Preset};
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
    let template =
        Template::new(|edit| edit.put_object(ObjId::Root, "items", Kind::List).map(drop))?;
    let list = space.document_from("list", &template);

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
                    if let Err(error) = list.commit(move |edit| obey(edit, &line)).await {
                        println!("{error}");
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

/// An item of the list: a map with the keys `text`, `done` and `place`.
struct Item {
    object: ObjId,
    /// Its index in the list.
    index: usize,
    /// A text rather than a string: two who edit it at once keep what both have typed.
    text: ObjId,
    done: bool,
    /// Items are shown by it, ascending. An item that moves only gets another place, so what
    /// others do to it meanwhile isn't lost.
    place: u64,
}

fn items(view: &View<'_>) -> Result<ObjId, ViewError> {
    let items = view.get(ObjId::Root, "items")?.and_then(|items| items.object());
    items.ok_or(ViewError::NotFound)
}

fn read(view: &View<'_>) -> Result<Vec<Item>, ViewError> {
    let mut found = Vec::new();
    for (index, item) in view.items(items(view)?)?.iter().enumerate() {
        let Some(object) = item.object() else { continue };
        let Some(text) = view.get(object, "text")?.and_then(|text| text.object()) else { continue };
        let done = view.get(object, "done")? == Some(Value::Scalar(true.into()));
        let Some(Value::Scalar(Scalar::Uint(place))) = view.get(object, "place")? else { continue };
        found.push(Item { object, index, text, done, place });
    }
    // Two who are apart give the same places; then the list's order decides, everywhere the same.
    found.sort_by_key(|item| item.place);
    Ok(found)
}

fn obey(edit: &mut Edit<'_>, line: &str) -> Result<(), EditError> {
    let list = items(&edit.view()?)?;
    let mut shown = read(&edit.view()?)?;
    let count = shown.len();
    let number = |word: &str| match word.parse::<usize>() {
        Ok(number) if (1..=count).contains(&number) => Ok(number - 1),
        _ => Err(EditError::Custom(format!("{word:?} is no item's number"))),
    };
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    match command {
        "add" => {
            let place = shown.last().map_or(0, |last| last.place.saturating_add(1));
            let text = Content::Text(rest.to_owned());
            let item = [("text", text), ("done", false.into()), ("place", place.into())];
            let item = Content::Map(item.map(|(key, value)| (key.to_owned(), value)).into());
            let end = edit.view()?.length(list)?;
            edit.insert_content(list, end, &item).map(drop)
        }
        "done" => edit.put(shown[number(rest)?].object, "done", true),
        "remove" => edit.delete(list, shown[number(rest)?].index),
        "edit" => edit.update_text(shown[number(first)?].text, second),
        "move" => {
            let (from, to) = (number(first)?, number(second)?);
            let moved = shown.remove(from);
            shown.insert(to, moved);
            // To put what is there already writes nothing.
            let mut places = (0_u64..).zip(shown);
            places.try_for_each(|(place, item)| edit.put(item.object, "place", place))
        }
        _ => Err(EditError::Custom(HELP.to_owned())),
    }
}

async fn show(list: &Document) -> anyhow::Result<()> {
    let items = list.view(|view| {
        let items = read(view)?.into_iter();
        items
            .map(|item| Ok((item.done, view.text(item.text)?)))
            .collect::<Result<Vec<_>, ViewError>>()
    });
    let items = items.await??;
    let done = items.iter().filter(|(done, _)| *done).count();
    println!("\n{} to do, {done} done", items.len() - done);
    for (number, (done, text)) in (1..).zip(items) {
        // What others write is shown as text, never obeyed as a terminal's control sequence.
        let text: String = text.chars().filter(|c| !c.is_control()).take(1000).collect();
        println!("{number:3}. [{}] {text}", if done { 'x' } else { ' ' });
    }
    Ok(())
}
