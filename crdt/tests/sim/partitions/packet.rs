//! What travels between two nodes: offers of spaces, what their replicas say, questions, answers.

use aether_core::wire::{Reader, Writer};
use aether_crdt::proto::partitions::{Ask, Said};

use super::node::Place;
use crate::feeds::host;

#[derive(Clone, Debug)]
pub(super) enum Packet {
    /// I have a space, and begin a session in it.
    Offer(Place),
    /// I take that back.
    Withdraw(Place),
    Space(Place, host::Packet),
    Ask(u64, Ask),
    Said(u64, Said),
}

impl Packet {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Offer(place) => writer.u8(0).u16(place.0),
            Self::Withdraw(place) => writer.u8(1).u16(place.0),
            Self::Space(place, packet) => writer.u8(2).u16(place.0).slice(&packet.encode()),
            Self::Ask(id, ask) => writer.u8(3).u64(*id).slice(&ask.encode()),
            Self::Said(id, said) => writer.u8(4).u64(*id).slice(&said.encode()),
        };
        writer.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8().ok()?;
        if kind < 3 {
            let place = Place(reader.u16().ok()?);
            return Some(match kind {
                0 => Self::Offer(place),
                1 => Self::Withdraw(place),
                _ => Self::Space(place, host::Packet::decode(reader.rest())?),
            });
        }
        let id = reader.u64().ok()?;
        Some(match kind {
            3 => Self::Ask(id, Ask::decode(reader.rest()).ok()?),
            _ => Self::Said(id, Said::decode(reader.rest()).ok()?),
        })
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::Offer(place) => format!("offer {place:?}"),
            Self::Withdraw(place) => format!("withdraw {place:?}"),
            Self::Space(place, packet) => format!("{place:?} {}", packet.encode().len()),
            Self::Ask(id, ask) => format!("{id} {ask:?}"),
            Self::Said(id, said) => format!("{id} {said:?}"),
        }
    }
}
