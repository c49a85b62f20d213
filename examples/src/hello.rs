//! Three lines to the first message: two nodes in one program, no server.
//!
//! ```text
//! cargo run -p aether-examples --bin hello
//! ```

use aether_mesh::{Node, Preset};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Somebody who listens. Usually another program, on another machine.
    let bob = Node::spawn(Preset::Local).await?;
    let mut inbox = bob.topic::<String>("greetings").await?.subscribe().await?;

    // The three lines: start a node, join a topic, publish.
    let alice = Node::builder(Preset::Local).seeds(bob.addresses().await?).spawn().await?;
    let topic = alice.topic::<String>("greetings").await?;
    topic.publish(&"hello, world".to_owned()).await?;

    if let Some(message) = inbox.next().await {
        println!("{} says: {}", message.author, message.value);
    }
    alice.shutdown().await;
    bob.shutdown().await;
    Ok(())
}
