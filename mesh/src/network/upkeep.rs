//! What the network driver does by itself, on its tick: it looks for peers, settles on one
//! connection to each, and lets go of what it has no room for.

use super::*;

impl Network {
    #[tracing::instrument(level = "trace", skip(self))]
    pub(super) fn dial(&mut self) {
        for dial in self.dialer.due(self.clock.now()) {
            let result = match &dial {
                Dial::Peer(peer, addresses) => {
                    let options = DialOpts::peer_id(*peer).addresses(addresses.clone());
                    self.swarm.dial(options.build())
                }
                Dial::Address(address) => self.swarm.dial(address.clone()),
            };
            if let (Err(error), Dial::Peer(peer, _)) = (result, &dial) {
                tracing::debug!(%peer, %error, "not dialed");
                self.dialer.failed(self.clock.now(), *peer);
            }
        }
        let dialer = &self.dialer;
        self.swarm.behaviour_mut().streams.dial_found(|peer| dialer.addresses(peer));
    }

    pub(super) fn on_tick(&mut self) {
        let now = self.clock.now();
        self.budget.handle(now, budget::Input::Timeout);
        self.act_on_budget();
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        self.settle_connections(now);
        self.trim();
        self.swarm.behaviour_mut().streams.on_tick();
        self.listen_through_relays();
        if now >= self.next_ask {
            // Alone, a node asks more often.
            let alone = self.peers.is_empty();
            self.next_ask = now + if alone { ASK_INTERVAL / 10 } else { ASK_INTERVAL };
            self.ask_sources();
        }
        self.dial();
        self.metrics.peers.set(i64::try_from(self.peers.len()).unwrap_or(i64::MAX));
    }

    fn ask_sources(&mut self) {
        self.bootstrap();
        if let Some(dns) = &self.dns {
            for name in self.config.dns.clone() {
                let (dns, found) = (dns.clone(), self.found.0.clone());
                #[expect(clippy::disallowed_methods, reason = "ends by itself: lookups time out")]
                tokio::spawn(async move {
                    let addresses = dns.resolve(&name).await;
                    let _ = found.send(addresses).await;
                });
            }
        }
        for address in self.config.rendezvous.clone() {
            if let (_, Some(point)) = discovery::split_peer(address)
                && self.swarm.is_connected(&point)
            {
                self.meet_at(point);
            }
        }
    }

    /// Registers at a rendezvous node and asks it for others.
    pub(super) fn meet_at(&mut self, point: PeerId) {
        let namespace = crate::behaviour::namespace(&self.mesh);
        let client = &mut self.swarm.behaviour_mut().rendezvous_client;
        if let Err(error) = client.register(namespace.clone(), point, None) {
            tracing::debug!(%error, %point, "not registered at rendezvous");
        }
        client.discover(Some(namespace), None, None, point);
    }

    /// Walks through Kademlia for peers nearby, at most once a second.
    pub(super) fn bootstrap(&mut self) {
        let now = self.clock.now();
        if now >= self.next_bootstrap {
            self.next_bootstrap = now + Duration::from_secs(1);
            let _ = self.swarm.behaviour_mut().kad.bootstrap();
        }
    }

    fn listen_through_relays(&mut self) {
        for relay in std::mem::take(&mut self.relays_due) {
            match self.swarm.listen_on(relay.clone().with(Protocol::P2pCircuit)) {
                Ok(listener) => self.relays.push((listener, relay)),
                Err(error) => {
                    tracing::warn!(%relay, %error, "can't listen through the relay");
                }
            }
        }
    }

    /// Two nodes that dialed each other at once settle on one connection, the same on both ends:
    /// a direct one before a relayed one, then the one that the smaller peer id dialed, then the
    /// older.
    fn settle_connections(&mut self, now: Time) {
        let local = *self.swarm.local_peer_id();
        let mut surplus = Vec::new();
        for (peer, state) in &self.peers {
            let rank = |link: &Link| {
                let dialer_is_smaller = if link.dialed { local < *peer } else { *peer < local };
                (link.relayed, !dialer_is_smaller, link.since)
            };
            let settled = |link: &&Link| now >= link.since + SETTLE;
            if state.connections.len() < 2 || !state.connections.values().all(|l| settled(&l)) {
                continue;
            }
            let best = state.connections.iter().min_by_key(|(_, link)| rank(link));
            let best = best.map(|(id, _)| *id);
            // One that carries streams stays until they have ended.
            let streams = &self.swarm.behaviour().streams;
            let idle = |id: &ConnectionId| Some(*id) != best && streams.is_idle(peer, id);
            surplus.extend(state.connections.keys().copied().filter(idle));
        }
        for connection in surplus {
            tracing::debug!(%connection, "closing a second connection to one peer");
            self.swarm.close_connection(connection);
        }
    }

    /// Near the limit, peers that are in no gossip mesh and have no stream open are let go: others
    /// need the room.
    fn trim(&mut self) {
        let high = (self.config.limits.max_connections as usize) * 3 / 4;
        if self.peers.len() <= high {
            return;
        }
        let gossip = &self.swarm.behaviour().gossip;
        let needed: BTreeSet<PeerId> = gossip.all_mesh_peers().copied().collect();
        let low = high.saturating_sub(high / 4).max(self.config.limits.target_peers);
        let surplus = self.peers.len() - low.min(self.peers.len());
        let streams = &self.swarm.behaviour().streams;
        let is_idle = |peer: &&PeerId| !needed.contains(peer) && !streams.has_streams(peer);
        let idle: Vec<PeerId> = self.peers.keys().filter(is_idle).copied().collect();
        for peer in idle.into_iter().take(surplus) {
            tracing::debug!(%peer, "let go: near the limit of connections, and idle");
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }
}
