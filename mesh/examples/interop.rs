//! The Rust side of `interop/js/run.sh`: a node for a program in another language to talk to.
//!
//! `interop <multiaddress to listen on>` prints the address it is reached at, waits for a greeting
//! on the topic `greetings` of the mesh `interop`, and answers until whoever greeted is gone. It
//! fails if that takes more than a minute.

use std::{error::Error, time::Duration};

use aether_mesh::{Message, Node, Preset};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).ok_or("usage: interop <multiaddress to listen on>")?;
    let node = Node::builder(Preset::Local).mesh("interop").listen([listen]).spawn().await?;
    tokio::time::timeout(PATIENCE, talk(&node)).await.map_err(|_| "no greeting in a minute")??;
    node.shutdown().await;
    Ok(())
}

async fn talk(node: &Node) -> Result<(), Box<dyn Error>> {
    let topic = node.topic::<String>("greetings").await?;
    let mut inbox = topic.subscribe().await?;
    let addresses = node.addresses().await?;
    println!("{}", addresses.first().ok_or("the node has no address")?);

    let Message { value, author, number, .. } = inbox.next().await.ok_or("the node stopped")?;
    eprintln!("{value:?}, message {number} of {author}");
    if value != "hello from JavaScript" {
        return Err(format!("another greeting was expected than {value:?}").into());
    }
    // Over and over: nobody repairs for a program that isn't a member what gossip loses.
    loop {
        topic.publish(&"hello from Rust".to_owned()).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if topic.neighbours() == 0 {
            return Ok(());
        }
    }
}
