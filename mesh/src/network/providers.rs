//! Provider records: who has or does something, by Kademlia.

use libp2p::{
    PeerId,
    kad::{GetProvidersOk, QueryId, QueryResult, RecordKey},
};
use tokio::sync::oneshot;

use super::Network;

/// What is provided: a hash that says of what kind it is, too.
pub(crate) type ProviderKey = aether_core::Hash;

/// Searches under way at a time.
const MAX_SEARCHES: usize = 64;

/// Providers taken from one search.
const MAX_FOUND: usize = 64;

/// Searches under way: few, and their ids have no order.
#[derive(Debug, Default)]
pub(super) struct Searches(Vec<Search>);

#[derive(Debug)]
struct Search {
    query: QueryId,
    found: Vec<PeerId>,
    reply: oneshot::Sender<Vec<PeerId>>,
}

fn record_key(key: &ProviderKey) -> RecordKey {
    RecordKey::new(key.as_bytes())
}

impl Network {
    pub(super) fn provide(&mut self, key: &ProviderKey) {
        // Kademlia repeats it by itself, and lets go of the records of others after a day.
        if let Err(error) = self.swarm.behaviour_mut().kad.start_providing(record_key(key)) {
            tracing::warn!(%error, "no provider record: others find this only by gossip");
        }
    }

    pub(super) fn stop_providing(&mut self, key: &ProviderKey) {
        self.swarm.behaviour_mut().kad.stop_providing(&record_key(key));
    }

    pub(super) fn find_providers(
        &mut self,
        key: &ProviderKey,
        reply: oneshot::Sender<Vec<PeerId>>,
    ) {
        if self.searches.0.len() < MAX_SEARCHES {
            let query = self.swarm.behaviour_mut().kad.get_providers(record_key(key));
            self.searches.0.push(Search { query, found: Vec::new(), reply });
        }
    }

    pub(super) fn on_query(&mut self, id: QueryId, result: QueryResult, is_last: bool) {
        let Some(at) = self.searches.0.iter().position(|search| search.query == id) else { return };
        let search = &mut self.searches.0[at];
        if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) =
            result
        {
            let local = self.swarm.local_peer_id();
            for peer in providers.into_iter().filter(|peer| peer != local) {
                if search.found.len() < MAX_FOUND && !search.found.contains(&peer) {
                    search.found.push(peer);
                }
            }
        }
        if is_last {
            let search = self.searches.0.swap_remove(at);
            let _ = search.reply.send(search.found);
        }
    }
}
