//! What libp2p tells, and what is made of it.

use libp2p::{
    PeerId,
    core::ConnectedPoint,
    gossipsub, identify, kad, rendezvous,
    request_response::{self, Message},
    swarm::{ConnectionId, DialError, SwarmEvent},
};

use super::*;
use crate::{
    behaviour::{BehaviourEvent, identify_protocol, link_protocol},
    discovery::mdns::Seen,
    metrics::Reason,
    proto::{budget::Channel, link::FrameError},
    streams,
};

impl Network {
    pub(super) fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        use libp2p::metrics::Recorder as _;
        self.libp2p_metrics.record(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                let cause = cause.map_or_else(|| "closed".to_owned(), |cause| cause.to_string());
                tracing::debug!(peer = %peer_id, %connection_id, cause, "connection closed");
                self.on_closed(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                self.on_dial_failed(peer_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => self.on_listening(address),
            SwarmEvent::ExternalAddrConfirmed { .. }
            | SwarmEvent::ExternalAddrExpired { .. }
            | SwarmEvent::ExpiredListenAddr { .. } => self.announce(),
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                let relay = self.relays.iter().position(|(listener, _)| *listener == listener_id);
                if let Some(at) = relay {
                    let (_, relay) = self.relays.swap_remove(at);
                    tracing::info!(%relay, ?reason, "lost the relay; trying again");
                    self.relays_due.push(relay);
                } else {
                    tracing::warn!(?reason, "stopped listening");
                }
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            event => tracing::trace!(?event, "swarm"),
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        use libp2p::metrics::Recorder as _;
        match event {
            BehaviourEvent::Gossip(event) => {
                self.libp2p_metrics.record(&event);
                self.on_gossip(event);
            }
            BehaviourEvent::Link(event) => self.on_link(event),
            BehaviourEvent::Streams(streams::Event::Untaken) => {
                self.metrics.drop_for("stream_queue");
            }
            BehaviourEvent::Streams(streams::Event::OverLimit) => {
                self.metrics.over_budget.get_or_create(&Reason { reason: "streams" }).inc();
            }
            BehaviourEvent::Identify(event) => {
                self.libp2p_metrics.record(&event);
                if let identify::Event::Received { peer_id, info, connection_id } = event {
                    self.on_identified(peer_id, connection_id, info);
                }
            }
            BehaviourEvent::Kad(event) => {
                self.libp2p_metrics.record(&event);
                self.on_kad(event);
            }
            BehaviourEvent::Ping(event) => self.libp2p_metrics.record(&event),
            BehaviourEvent::Mdns(Seen(seen)) => self.on_found(seen.into_iter()),
            BehaviourEvent::RendezvousClient(event) => self.on_rendezvous(event),
            BehaviourEvent::Relay(event) => self.libp2p_metrics.record(&event),
            BehaviourEvent::Dcutr(event) => self.libp2p_metrics.record(&event),
            event => tracing::debug!(?event, "behaviour"),
        }
    }

    fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::RoutingUpdated { peer, addresses, .. } => {
                self.on_found(addresses.iter().map(|address| (peer, address.clone())));
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.on_query(id, result, step.last);
            }
            _ => {}
        }
    }

    fn on_found(&mut self, found: impl Iterator<Item = (PeerId, Multiaddr)>) {
        for (peer, address) in found {
            let bare = discovery::split_peer(address).0;
            if self.is_useful(&bare) {
                self.dialer.found(peer, bare);
            }
        }
        self.dial();
    }

    fn on_rendezvous(&mut self, event: rendezvous::client::Event) {
        match event {
            rendezvous::client::Event::Discovered { registrations, .. } => {
                let found: Vec<(PeerId, Multiaddr)> = registrations
                    .iter()
                    .flat_map(|registration| {
                        let record = &registration.record;
                        let peer = record.peer_id();
                        record.addresses().iter().map(move |address| (peer, address.clone()))
                    })
                    .collect();
                self.on_found(found.into_iter());
            }
            event => tracing::debug!(?event, "rendezvous"),
        }
    }

    pub(super) fn on_listening(&mut self, address: Multiaddr) {
        tracing::info!(%address, "listening");
        if !self.config.preset.is_internet() && self.is_useful(&address) {
            // Without NAT in between, what we listen on is what others reach us at.
            self.swarm.add_external_address(address);
        }
        self.announce();
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%peer))]
    fn on_established(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let Some(key) = public_key(&peer) else {
            tracing::info!(%peer, "closed: every member has an Ed25519 key, this one hasn't");
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        };
        tracing::debug!(%peer, connection = %id, ?endpoint, "connected");
        let link = Link {
            address: endpoint.get_remote_address().clone(),
            dialed: endpoint.is_dialer(),
            relayed: endpoint.is_relayed(),
            since: self.clock.now(),
        };
        let state = self.peers.entry(peer).or_insert_with(|| Peer {
            key,
            connections: BTreeMap::new(),
            topics: BTreeSet::new(),
            linked: false,
            agent: String::new(),
        });
        state.connections.insert(id, link);
        self.dialer.connected(peer);
        self.tell_access(AccessEvent::Connected { peer: key });
    }

    fn on_closed(&mut self, peer: PeerId, id: ConnectionId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.connections.remove(&id);
        if !state.connections.is_empty() {
            return;
        }
        let Some(state) = self.peers.remove(&peer) else { return };
        self.dialer.disconnected(peer);
        let key = state.key;
        self.tell_access(AccessEvent::Disconnected { peer: key });
        self.to_topics.tell(TopicsEvent::Left { peer: key });
        for topic in state.topics {
            let count = self.readers(&topic);
            self.to_topics.tell(TopicsEvent::Readers { topic, count });
        }
        if state.linked {
            self.to_roster.tell(RosterEvent::Disconnected { peer: key });
            self.to_services.tell(ServicesEvent::Disconnected { peer: key });
        }
        self.dial();
    }

    fn on_dial_failed(&mut self, peer: Option<PeerId>, error: &DialError) {
        match error {
            DialError::LocalPeerId { address } => self.dialer.is_self(address),
            DialError::WrongPeerId { obtained, address } => {
                tracing::debug!(%obtained, %address, "another node than expected answers there");
            }
            error => tracing::debug!(?peer, %error, "dial failed"),
        }
        if let Some(peer) = peer {
            self.dialer.failed(self.clock.now(), peer);
        }
    }

    #[tracing::instrument(level = "debug", skip_all, fields(%peer))]
    fn on_identified(&mut self, peer: PeerId, connection: ConnectionId, info: identify::Info) {
        let theirs = &info.protocol_version;
        if theirs.starts_with("/aether/") && *theirs != identify_protocol(&self.mesh) {
            tracing::info!(%peer, theirs, "closed: a node of another mesh");
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let speaks_link = self
            .config
            .link_versions
            .iter()
            .any(|version| info.protocols.contains(&link_protocol(&self.mesh, *version)));
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let key = state.key;
        state.agent = info.agent_version.chars().take(64).collect();
        let seen = state.connections.get(&connection).map(|link| discovery::reach(&link.address));
        let newly = speaks_link && !state.linked;
        state.linked |= speaks_link;
        let topics: Vec<TopicId> = state.topics.iter().copied().collect();
        // An address on the other's own machine means nothing to us if it came from elsewhere.
        let elsewhere = seen.is_some_and(|reach| reach > Reach::Machine);
        let useful = info.listen_addrs.into_iter().take(16).filter(|address| {
            self.is_useful(address) && !(elsewhere && discovery::reach(address) == Reach::Machine)
        });
        for address in useful.collect::<Vec<_>>() {
            let bare = discovery::split_peer(address).0;
            if speaks_link {
                self.swarm.behaviour_mut().kad.add_address(&peer, bare.clone());
                self.book.remember(peer, &bare);
            }
            self.dialer.found(peer, bare);
        }
        if newly {
            self.to_roster.tell(RosterEvent::Connected { peer: key });
            self.to_services.tell(ServicesEvent::Connected { peer: key });
            self.tell_access(AccessEvent::Linked { peer: key });
            for topic in topics {
                self.to_topics.tell(TopicsEvent::Neighbour { topic, peer: key });
            }
            self.bootstrap();
            if self
                .config
                .rendezvous
                .iter()
                .any(|a| discovery::split_peer(a.clone()).1 == Some(peer))
            {
                self.meet_at(peer);
            }
        }
    }

    pub(super) fn on_subscribed(&mut self, peer: PeerId, topic: TopicId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if !state.topics.insert(topic) {
            return;
        }
        let (linked, key) = (state.linked, state.key);
        let count = self.readers(&topic);
        self.to_topics.tell(TopicsEvent::Readers { topic, count });
        if linked {
            self.to_topics.tell(TopicsEvent::Neighbour { topic, peer: key });
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.on_gossip_message(propagation_source, &message_id, message);
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                if let Some(topic) = known_topic(&self.topics, &topic) {
                    self.on_subscribed(peer_id, topic);
                }
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                let Some(topic) = known_topic(&self.topics, &topic) else { return };
                let Some(state) = self.peers.get_mut(&peer_id) else { return };
                state.topics.remove(&topic);
                let key = state.key;
                let count = self.readers(&topic);
                self.to_topics.tell(TopicsEvent::Readers { topic, count });
                self.to_topics.tell(TopicsEvent::NotNeighbour { topic, peer: key });
            }
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::debug!(peer = %peer_id, "doesn't speak gossipsub");
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                self.metrics.slow_peers.inc();
                tracing::debug!(peer = %peer_id, ?failed_messages, "slow peer");
            }
        }
    }

    #[tracing::instrument(level = "trace", skip_all, fields(%peer))]
    fn on_gossip_message(&mut self, peer: PeerId, id: &MessageId, message: gossipsub::Message) {
        let topic = known_topic(&self.topics, &message.topic);
        let (Some(from), Some(topic), Some(id)) = (self.key_of(&peer), topic, gossip_id(id)) else {
            return;
        };
        let now = self.clock.now();
        if !self.budget.admit(now, from, Channel::Gossip, message.data.len()) {
            self.metrics.over_budget.get_or_create(&Reason { reason: "gossip" }).inc();
            return self.report(id, from, Verdict::Ignore);
        }
        let bytes = message.data.into();
        let event = TopicsEvent::Gossip { topic, id, from, bytes };
        if !self.to_topics.offer(event) {
            self.metrics.drop_for("gossip_queue");
            self.report(id, from, Verdict::Ignore);
        }
    }

    fn on_link(&mut self, event: request_response::Event<Vec<u8>, ()>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request { request, channel, .. } => {
                    // Acknowledged as received, whatever is made of it.
                    let _ = self.swarm.behaviour_mut().link.send_response(channel, ());
                    self.on_frame(peer, &request);
                }
                Message::Response { request_id, .. } => {
                    self.requests.remove(&request_id);
                }
            },
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, %error, "frame not delivered");
                self.requests.remove(&request_id);
            }
            request_response::Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "frame not received");
                // The codec's word for a frame over the limit.
                if let request_response::InboundFailure::Io(error) = error
                    && error.kind() == std::io::ErrorKind::InvalidData
                    && let Some(key) = self.key_of(&peer)
                {
                    self.penalize(key, Fault::Oversized);
                }
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }

    #[tracing::instrument(level = "trace", skip_all, fields(%peer, len = bytes.len()))]
    fn on_frame(&mut self, peer: PeerId, bytes: &[u8]) {
        let Some(from) = self.key_of(&peer) else { return };
        if !self.budget.admit(self.clock.now(), from, Channel::Link, bytes.len()) {
            self.metrics.over_budget.get_or_create(&Reason { reason: "link" }).inc();
            return;
        }
        match Frame::decode(bytes) {
            Ok(Frame::Roster(message)) => {
                let event = RosterEvent::Message { from, message };
                if !self.to_roster.offer(event) {
                    self.metrics.drop_for("roster_queue");
                }
            }
            Ok(Frame::Services(message)) => {
                if !self.to_services.offer(ServicesEvent::Message { from, message }) {
                    self.metrics.drop_for("services_queue");
                }
            }
            Ok(Frame::Blobs(here)) => {
                if !self.to_blobs.offer(BlobsEvent::Here { from, here }) {
                    self.metrics.drop_for("blobs_queue");
                }
            }
            Ok(Frame::Access(message)) => {
                let event = AccessEvent::Message { from, message };
                if self.to_access.as_ref().is_some_and(|access| !access.offer(event)) {
                    self.metrics.drop_for("access_queue");
                }
            }
            Ok(frame) => {
                if !self.to_topics.offer(TopicsEvent::Frame { from, frame }) {
                    self.metrics.drop_for("link_queue");
                }
            }
            Err(FrameError::UnknownKind { kind }) => {
                tracing::debug!(%peer, kind, "ignored a frame of a later release");
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "malformed frame");
                self.penalize(from, Fault::Malformed);
            }
        }
    }
}
