//! News on its way: what rides on the next messages.

use std::collections::BTreeMap;

use aether_core::PublicKey;

use super::Update;

/// At most one update per member, with how often it was told.
#[derive(Debug, Default)]
pub(super) struct Updates {
    news: BTreeMap<PublicKey, (u32, Update)>,
}

impl Updates {
    /// Starts to tell; what was told of the same member is replaced. Over `max` updates the most
    /// told one is dropped.
    pub(super) fn tell(&mut self, update: Update, max: usize) {
        let about = match &update {
            Update::Card(card) => card.peer(),
            Update::Suspect { peer, .. } => PublicKey::from_bytes((*peer).into()),
        };
        self.news.insert(about, (0, update));
        if self.news.len() > max.max(1) {
            let most = self.news.iter().max_by_key(|(_, (told, _))| *told);
            if let Some(most) = most.map(|(about, _)| *about) {
                self.news.remove(&most);
            }
        }
    }

    /// The `room` least told updates; each is dropped once told `limit` times.
    pub(super) fn take(&mut self, room: usize, limit: u32) -> Vec<Update> {
        let mut order: Vec<(u32, PublicKey)> =
            self.news.iter().map(|(about, (told, _))| (*told, *about)).collect();
        order.sort_unstable();
        let mut taken = Vec::new();
        for (_, about) in order.into_iter().take(room) {
            let Some((told, update)) = self.news.get_mut(&about) else { continue };
            taken.push(update.clone());
            *told += 1;
            if *told >= limit {
                self.news.remove(&about);
            }
        }
        taken
    }
}
