//! Topics that stay joined between requests.
//!
//! A topic that is joined for one request would have no neighbours yet when its message is
//! published, and be left before the message is out. So the ones used last stay joined. Together
//! with the streams, each of which holds one topic, they stay below the node's own limit.

use std::collections::BTreeMap;

use aether_mesh::{Node, Topic, TopicError};
use tokio::sync::Mutex;

/// Topics kept at a time.
const MAX_KEPT: usize = 32;

/// The topics used last.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    uses: u64,
    topics: BTreeMap<String, (u64, Topic<String>)>,
}

impl Kept {
    /// Joins a topic, or uses it again; if it is one too many, the one unused for longest goes.
    pub(crate) async fn open(&self, node: &Node, name: &str) -> Result<Topic<String>, TopicError> {
        let mut inner = self.0.lock().await;
        inner.uses += 1;
        let now = inner.uses;
        if let Some((used, topic)) = inner.topics.get_mut(name) {
            *used = now;
            return Ok(topic.clone());
        }
        if inner.topics.len() >= MAX_KEPT {
            let oldest = inner.topics.iter().min_by_key(|(_, (used, _))| *used);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| inner.topics.remove(&name));
        }
        let topic = node.topic::<String>(name).await?;
        inner.topics.insert(name.to_owned(), (now, topic.clone()));
        Ok(topic)
    }
}

#[cfg(test)]
mod tests {
    use aether_mesh::Preset;

    use super::*;

    #[tokio::test]
    async fn the_ones_used_last_stay() {
        let node =
            Node::builder(Preset::Local).mesh("kept").listen::<&str>([]).spawn().await.unwrap();
        let kept = Kept::default();
        for number in 0..MAX_KEPT {
            kept.open(&node, &number.to_string()).await.unwrap();
        }
        kept.open(&node, "0").await.unwrap();
        kept.open(&node, "one more").await.unwrap();
        let inner = kept.0.lock().await;
        assert_eq!(inner.topics.len(), MAX_KEPT);
        assert!(inner.topics.contains_key("0"), "it was used again");
        assert!(!inner.topics.contains_key("1"), "it was unused for longest");
        node.shutdown().await;
    }
}
