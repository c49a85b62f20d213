//! What must hold after every event: nothing listed that nobody said, nobody blamed but liars, and
//! no bound passed.

use std::{cell::RefCell, collections::BTreeSet};

use aether_core::PublicKey;
use aether_mesh::proto::service::directory::{Announcement, Listed};
use aether_sim::World;

use super::{Event, Node, SERVICES, Services, member::Member};

/// What honest nodes have announced: node, life, and the instance in words.
pub(super) type Said = BTreeSet<(PublicKey, u64, String)>;

/// Only liars are blamed, and what is listed of an honest node is what it said.
pub(super) fn is_genuine(
    world: &World<Services>,
    subject: &Services,
    said: &RefCell<Said>,
) -> Result<(), String> {
    for (node, event) in world.observed() {
        match event {
            Event::Announced(bytes) => {
                let announcement = Announcement::decode(bytes.clone()).expect("it is honest");
                let (peer, life) = (announcement.peer(), announcement.life);
                let words = announcement.instances.iter().map(|each| format!("{each:?}"));
                said.borrow_mut().extend(words.map(|words| (peer, life, words)));
            }
            Event::Fault(by) => {
                if Some(*by) != subject.liar {
                    return Err(format!("{node} blames {by}"));
                }
            }
            Event::Changed(_) => {}
        }
    }
    for (node, event) in world.observed() {
        let Event::Changed(service) = event else { continue };
        let Some(member) = world.node(*node).and_then(Node::honest) else { continue };
        let me = subject.key(*node);
        for Listed { peer, life, instance } in member.directory.instances(service) {
            let honest = subject.ids.get(&peer).is_some_and(|id| Some(*id) != subject.liar);
            let words = (peer, life, format!("{instance:?}"));
            if honest && peer != me && !said.borrow().contains(&words) {
                return Err(format!("{node} lists what nobody said: {words:?}"));
            }
        }
    }
    Ok(())
}

pub(super) fn memory_is_bounded(world: &World<Services>) -> Result<(), String> {
    let node = world.touched().and_then(|node| world.node(node)).and_then(Node::honest);
    let Some(Member { directory, config, me, .. }) = node else { return Ok(()) };
    let of = |service| directory.instances(service).filter(|listed| listed.peer != *me).count();
    let held = [
        ("instances", SERVICES.into_iter().map(of).max().unwrap_or(0), config.max_instances),
        ("nodes", directory.len(), config.max_nodes),
        ("bytes", directory.bytes(), config.max_bytes),
        ("gone", directory.gone(), config.max_gone),
    ];
    if directory.stats().left_out > 0 {
        world.sometimes("announcement left out");
    }
    if directory.stats().stale > 0 {
        world.sometimes("stale announcement ignored");
    }
    let over = held.into_iter().find(|(_, held, most)| held > most);
    over.map_or(Ok(()), |over| Err(format!("too much is held: {over:?}")))
}
