//! What users do.

use aether_core::Time;
use aether_crdt::proto::{
    entry::{Collection, Kind},
    map::{Action, Edit},
};
use aether_sim::{Draw, NodeId, World};

use super::{Command, Guests};

/// A set of keys that are added, each once, and never removed.
pub(super) fn log() -> Collection {
    Collection::new(Kind::Set, "log")
}

/// A counter of them.
pub(super) fn tally() -> Collection {
    Collection::new(Kind::Counter, "log")
}

/// All that users write to.
pub(super) fn collections() -> Vec<Collection> {
    let kinds = [Kind::Map, Kind::Set, Kind::Counter, Kind::Register];
    let all = kinds.map(|kind| Collection::new(kind, "all"));
    all.into_iter().chain([log(), tally()]).collect()
}

pub(super) fn draw_writes(world: &mut World<Guests>, guests: &Guests, until: Time) {
    let count = world.draw().below(60);
    for _ in 0..count {
        let at = Time::from_micros(world.draw().number(0..=until.as_micros()));
        let node = NodeId(world.draw().below(guests.keys.len()));
        let command = match world.draw().below(10) {
            0..=2 => Command::Write(1 + world.draw().below(2000)),
            3..=7 => {
                let edits = 1 + world.draw().below(8);
                Command::Edit((0..edits).map(|_| draw_edit(world.draw())).collect())
            }
            _ => add(world.draw(), guests),
        };
        world.command_at(at, node, command);
    }
}

/// Adds something that nobody adds again.
pub(super) fn add(draw: &mut Draw, guests: &Guests) -> Command {
    let key = draw.number(0..=u64::MAX).to_be_bytes().to_vec();
    guests.model.borrow_mut().attempted.insert(key.clone());
    let put = Edit::new(log(), key, Action::Put(Vec::new()));
    let count = Edit::new(tally(), [], Action::Add(1));
    Command::Edit(vec![put.expect("a set's element"), count.expect("a counter's key")])
}

/// Few keys, so that writers meet.
fn draw_edit(draw: &mut Draw) -> Edit {
    let key = vec![b'a' + u8::try_from(draw.below(6)).expect("a letter")];
    let value = draw.number(0..=u64::MAX).to_be_bytes().to_vec();
    let (kind, key, action) = match draw.below(8) {
        0 | 1 => (Kind::Map, key, Action::Put(value)),
        2 => (Kind::Map, key, Action::Remove),
        3 => (Kind::Set, key, Action::Put(Vec::new())),
        4 => (Kind::Set, key, Action::Remove),
        5 => (Kind::Counter, key, Action::Add(i64::from(value[0]) - 100)),
        6 => (Kind::Counter, key, Action::Reset),
        _ => (Kind::Register, Vec::new(), Action::Put(value)),
    };
    Edit::new(Collection::new(kind, "all"), key, action).expect("within the limits")
}
