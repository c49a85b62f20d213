//! Searches: for a service of which no live instance is known.
//!
//! Rule 8 of the [directory](super).

use std::time::Duration;

use aether_core::{PublicKey, Time};
use rand_chacha::rand_core::Rng as _;

use super::{Directory, MAX_NAME, Output};

#[derive(Debug)]
pub(super) struct Search {
    pub(super) next: Time,
    wait: Duration,
    /// When somebody last looked for the service.
    looked: Time,
}

impl Directory {
    pub(super) fn look(&mut self, service: String) {
        if self.is_live(&service) || service.len() > MAX_NAME {
            return;
        }
        if let Some(search) = self.searches.get_mut(&service) {
            search.looked = self.now;
        } else if self.searches.len() < self.config.max_searches {
            let wait = self.config.find_interval;
            let search = Search { next: self.now + wait, wait, looked: self.now };
            self.searches.insert(service.clone(), search);
            self.outputs.push_back(Output::Find { service });
        } else {
            self.stats.left_out += 1;
        }
    }

    pub(super) fn search_again(&mut self) {
        let due = self.searches.iter().filter(|(_, search)| search.next <= self.now);
        let due: Vec<String> = due.map(|(service, _)| service.clone()).collect();
        for service in due {
            let live = self.is_live(&service);
            let wait = self.searches.get(&service).map_or(Duration::ZERO, |search| search.wait);
            let wait = (wait * 2).min(self.config.max_find_interval);
            let next = self.now + self.jittered(wait);
            let Some(search) = self.searches.get_mut(&service) else { continue };
            if live || self.now >= search.looked + self.config.find_patience {
                self.searches.remove(&service);
            } else {
                (search.wait, search.next) = (wait, next);
                self.outputs.push_back(Output::Find { service });
            }
        }
    }

    pub(super) fn on_found(&mut self, service: &str, mut peers: Vec<PublicKey>) {
        if !self.searches.contains_key(service) || self.is_live(service) {
            return;
        }
        peers.retain(|peer| *peer != self.me);
        // Records can name anybody. Which of them are asked is for nobody else to say.
        for _ in 0..self.config.max_found.min(peers.len()) {
            let chosen = (self.rng.next_u64() % peers.len() as u64) as usize;
            self.ask(peers.swap_remove(chosen));
        }
    }

    fn is_live(&self, service: &str) -> bool {
        self.instances(service).next().is_some()
    }
}
