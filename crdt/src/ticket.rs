//! Tickets: what lets another node into a space.

use std::fmt;

use aether_core::{
    Domain,
    wire::{Reader, Writer},
};
use aether_mesh::Multiaddr;
use data_encoding::BASE32_NOPAD;

use crate::proto::space::Genesis;

const CHECK: Domain = Domain::new("aether 2026-11 space ticket v1");
const PREFIX: &str = "space-";
/// Most seeds in a ticket.
const MAX_SEEDS: usize = 8;

/// What lets another node into a space: its genesis, and addresses of a node that has it.
///
/// Whoever has the ticket of an open space may read it and write to it: show it to nobody else.
///
/// As text: `space-`, then base32 (RFC 4648, section 6, lower case, without padding) of
///
/// | bytes | field |
/// |---|---|
/// | 1 | version, 1 |
/// | 2 + n | length of the genesis, and the genesis |
/// | 1 | how many seeds follow, at most 8 |
/// | 2 + n each | length of a multiaddr, and the multiaddr as text |
/// | 4 | the first bytes of BLAKE3, context `aether 2026-11 space ticket v1`, of all before |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    genesis: Genesis,
    seeds: Vec<Multiaddr>,
}

impl Ticket {
    pub(crate) fn new(genesis: Genesis, seeds: impl IntoIterator<Item = Multiaddr>) -> Self {
        Self { genesis, seeds: seeds.into_iter().take(MAX_SEEDS).collect() }
    }

    /// What the space is founded on.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Addresses of a node that had the space when the ticket was made.
    pub fn seeds(&self) -> &[Multiaddr] {
        &self.seeds
    }

    /// Reads a ticket, as it is displayed; capital letters are as good.
    ///
    /// # Errors
    /// It isn't one, or isn't whole.
    pub fn decode(text: &str) -> Result<Self, TicketError> {
        let text = text.trim().to_ascii_lowercase();
        let text = text.strip_prefix(PREFIX).ok_or(TicketError::Other)?;
        let upper = text.to_ascii_uppercase();
        let bytes = BASE32_NOPAD.decode(upper.as_bytes()).map_err(|_| TicketError::Torn)?;
        let (front, check) = bytes.split_last_chunk::<4>().ok_or(TicketError::Torn)?;
        if CHECK.hash(front).as_bytes().first_chunk() != Some(check) {
            return Err(TicketError::Torn);
        }
        let mut reader = Reader::new(front);
        match reader.u8() {
            Ok(1) => {}
            Ok(version) => return Err(TicketError::Version { version }),
            Err(_) => return Err(TicketError::Torn),
        }
        read(&mut reader).ok_or(TicketError::Torn)
    }
}

fn read(reader: &mut Reader<'_>) -> Option<Ticket> {
    let genesis = Genesis::decode(reader.bytes16(usize::from(u16::MAX)).ok()?).ok()?;
    let count = usize::from(reader.u8().ok()?);
    let mut seeds = Vec::new();
    for _ in 0..count.min(MAX_SEEDS) {
        let text = std::str::from_utf8(reader.bytes16(1024).ok()?).ok()?;
        seeds.push(text.parse().ok()?);
    }
    Some(Ticket { genesis, seeds })
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = Writer::default();
        let field = |writer: &mut Writer, bytes: &[u8]| {
            writer.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX)).slice(bytes);
        };
        writer.u8(1);
        field(&mut writer, &self.genesis.encode());
        let seeds: Vec<String> = self.seeds.iter().map(ToString::to_string).collect();
        let seeds: Vec<&String> = seeds.iter().filter(|seed| seed.len() <= 1024).collect();
        writer.u8(u8::try_from(seeds.len()).unwrap_or_default());
        seeds.iter().for_each(|seed| field(&mut writer, seed.as_bytes()));
        let mut bytes = writer.finish();
        let check = CHECK.hash(&bytes);
        bytes.extend_from_slice(&check.as_bytes()[..4]);
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

/// Why text isn't a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It doesn't begin as tickets do.
    #[error("a ticket of a space begins with \"{PREFIX}\"")]
    Other,
    /// A part is missing or was changed.
    #[error("the ticket is not whole; copy all of it")]
    Torn,
    /// A newer release made it.
    #[error("the ticket has version {version}, which this release doesn't know; upgrade")]
    Version {
        /// Version found.
        version: u8,
    },
}

#[cfg(test)]
mod tests {
    use aether_core::SecretKey;

    use super::*;
    use crate::proto::space::Mode;

    fn ticket() -> Ticket {
        let owner = SecretKey::from_bytes([1; 32]).public();
        let genesis = Genesis::new(Mode::Open, [7; 16], "guests", [owner]).unwrap();
        Ticket::new(genesis, ["/ip4/127.0.0.1/tcp/4001".parse().unwrap()])
    }

    #[test]
    fn a_ticket_is_read_as_it_is_displayed() {
        let text = ticket().to_string();
        assert_eq!(Ticket::decode(&text), Ok(ticket()));
        assert_eq!(Ticket::decode(&format!(" {}\n", text.to_uppercase())), Ok(ticket()));
    }

    #[test]
    fn what_was_changed_or_cut_is_no_ticket() {
        let text = ticket().to_string();
        assert_eq!(Ticket::decode("hello"), Err(TicketError::Other));
        for cut in PREFIX.len()..text.len() {
            assert_eq!(Ticket::decode(&text[..cut]), Err(TicketError::Torn), "{cut}");
        }
        for at in PREFIX.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(Ticket::decode(&changed), Err(TicketError::Torn), "{at}");
        }
    }
}
