//! The peers that are linked, and what is said to them.

use std::collections::{BTreeMap, BTreeSet};

use aether_core::PublicKey;
use aether_mesh::PeerId;
use tokio::sync::mpsc;

use super::{
    Driver, Room,
    link::{Event, Frame, Front, Tag, front, tag},
};
use crate::proto::{
    id::SpaceId,
    replica::{Fault, Input},
};

/// Offers of a peer that are remembered, of spaces that this node may yet open.
const MAX_OFFERS: usize = 4096;

/// A peer that is linked.
#[derive(Debug)]
pub(super) struct Link {
    number: u64,
    key: PublicKey,
    frames: mpsc::Sender<Frame>,
    /// What it would say of each of our spaces, and how it names them later.
    expected: BTreeMap<Tag, SpaceId>,
    spaces: BTreeMap<Front, SpaceId>,
    /// What it said of spaces that aren't here.
    offers: BTreeSet<Tag>,
}

impl Driver {
    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::Up { peer, number, frames } => self.on_up(peer, number, frames),
            Event::Frame { peer, number, frame } => {
                if self.links.get(&peer).is_some_and(|link| link.number == number) {
                    self.on_frame(peer, frame);
                }
            }
            Event::Down { peer, number } => {
                if self.links.get(&peer).is_some_and(|link| link.number == number) {
                    self.drop_link(&peer);
                }
            }
        }
    }

    fn on_up(&mut self, peer: PeerId, number: u64, frames: mpsc::Sender<Frame>) {
        self.drop_link(&peer);
        let Some(key) = aether_mesh::identity::public_key(&peer) else { return };
        let link = Link {
            number,
            key,
            frames,
            expected: BTreeMap::new(),
            spaces: BTreeMap::new(),
            offers: BTreeSet::new(),
        };
        self.links.insert(peer, link);
        for space in self.rooms.keys().copied().collect::<Vec<_>>() {
            self.offer(&peer, space);
        }
    }

    /// Tells all peers of a space.
    pub(super) fn offer_to_all(&mut self, space: SpaceId) {
        for peer in self.links.keys().copied().collect::<Vec<_>>() {
            self.offer(&peer, space);
        }
    }

    /// Tells a peer of a space, without which it doesn't understand what is told.
    pub(super) fn offer(&mut self, peer: &PeerId, space: SpaceId) {
        let me = self.key.public();
        let is_staying = self.rooms.get(&space).is_some_and(Room::is_open);
        let Some(link) = self.links.get_mut(peer).filter(|_| is_staying) else { return };
        let theirs = tag(&space, &link.key, &me);
        link.expected.insert(theirs, space);
        let ours = tag(&space, &me, &link.key);
        if link.frames.try_send(Frame::Offer(ours)).is_err() {
            return self.drop_link(peer);
        }
        if link.offers.remove(&theirs) {
            self.join(peer, theirs);
        }
    }

    fn on_frame(&mut self, peer: PeerId, frame: Frame) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let key = link.key;
        match frame {
            Frame::Offer(tag) if link.expected.contains_key(&tag) => self.join(&peer, tag),
            Frame::Offer(tag) => {
                if link.offers.len() < MAX_OFFERS {
                    link.offers.insert(tag);
                }
            }
            Frame::End(named) => {
                // It may have been offered before this node had the space.
                link.offers.retain(|tag| front(tag) != named);
                if let Some(space) = link.spaces.remove(&named) {
                    self.feed(space, Input::Disconnected { peer: key });
                    self.offer(&peer, space);
                }
            }
            Frame::Message(front, bytes) => {
                if let Some(space) = link.spaces.get(&front).copied() {
                    self.feed(space, Input::Message { from: key, bytes: bytes.into() });
                }
            }
        }
    }

    /// Begins a session with a peer that has the space.
    fn join(&mut self, peer: &PeerId, theirs: Tag) {
        let me = self.key.public();
        let Some(link) = self.links.get_mut(peer) else { return };
        let Some(space) = link.expected.get(&theirs).copied() else { return };
        let key = link.key;
        if link.spaces.insert(front(&theirs), space).is_some() {
            self.feed(space, Input::Disconnected { peer: key });
        }
        self.feed(space, Input::Connected { peer: key, opens: me < key });
    }

    /// Takes a space back from all peers. They offer it again, which is remembered.
    pub(super) fn withdraw(&mut self, space: SpaceId) {
        let me = self.key.public();
        for peer in self.links.keys().copied().collect::<Vec<_>>() {
            let Some(link) = self.links.get_mut(&peer) else { continue };
            let key = link.key;
            let theirs = tag(&space, &key, &me);
            link.expected.remove(&theirs);
            let session = link.spaces.remove(&front(&theirs));
            let told = link.frames.try_send(Frame::End(front(&tag(&space, &me, &key))));
            if session.is_some() {
                self.feed(space, Input::Disconnected { peer: key });
            }
            if told.is_err() {
                self.drop_link(&peer);
            }
        }
    }

    fn drop_link(&mut self, peer: &PeerId) {
        let Some(link) = self.links.remove(peer) else { return };
        for space in link.spaces.into_values() {
            self.feed(space, Input::Disconnected { peer: link.key });
        }
    }

    fn link_of(&self, key: &PublicKey) -> Option<PeerId> {
        let peer = aether_mesh::identity::peer_id(key);
        self.links.contains_key(&peer).then_some(peer)
    }

    pub(super) fn send(&mut self, space: SpaceId, to: &PublicKey, message: Vec<u8>) {
        let Some(peer) = self.link_of(to) else { return };
        let ours = front(&tag(&space, &self.key.public(), to));
        let Some(link) = self.links.get(&peer) else { return };
        if link.frames.try_send(Frame::Message(ours, message.into())).is_err() {
            tracing::debug!(%peer, "a link of spaces is full, and ends");
            self.drop_link(&peer);
        }
    }

    /// A session has ended: in peace it begins again; by a peer's fault, the link ends.
    pub(super) fn close(&mut self, space: SpaceId, key: &PublicKey, fault: Option<Fault>) {
        let Some(peer) = self.link_of(key) else { return };
        if let Some(fault) = fault {
            tracing::warn!(%space, %peer, ?fault, "a peer broke the protocol of spaces");
            // Who redials it waits; if it is busy, it hears of another fault.
            let _ = self.faults.try_send(peer);
            return self.drop_link(&peer);
        }
        let ours = tag(&space, &self.key.public(), key);
        let theirs = front(&tag(&space, key, &self.key.public()));
        let Some(link) = self.links.get_mut(&peer) else { return };
        link.spaces.remove(&theirs);
        let told = link.frames.try_send(Frame::End(front(&ours)));
        if told.and_then(|()| link.frames.try_send(Frame::Offer(ours))).is_err() {
            self.drop_link(&peer);
        }
    }
}
