//! What must hold after every event: nobody blamed but liars, every wrong byte blamed on its
//! sender, nothing asked twice beyond the bound, and no bound passed.

use aether_mesh::proto::blob::fetch::{Blame, Reason};
use aether_sim::{NodeId, World};

use super::{Blobs, Event, Node, Role, liar::Lie};

pub(super) fn add(world: &mut World<Blobs>, subject: &Blobs) {
    let checked = subject.clone();
    world.invariant("only liars are blamed, and for what they did", move |world| {
        world.observed().iter().try_for_each(|(node, event)| match event {
            Event::Blamed(by, blame) => is_true_blame(world, &checked, *node, (*by, *blame)),
            _ => Ok(()),
        })
    });
    world.invariant("every wrong byte is blamed on its sender, at once", |world| {
        let blamed = |by: NodeId| {
            let is_blame = |event: &Event| {
                matches!(event, Event::Blamed(other, Blame::WrongBytes) if *other == by)
            };
            world.observed().iter().any(|(_, event)| is_blame(event))
        };
        for (node, event) in world.observed() {
            let Event::Wrong(by) = event else { continue };
            blamed(*by).then_some(()).ok_or(format!("{node} says nothing of {by}"))?;
        }
        Ok(())
    });
    let checked = subject.clone();
    world.invariant("who is done has all, and nobody gives up", move |world| {
        world.observed().iter().try_for_each(|(node, event)| match event {
            Event::Done => {
                let host = world.node(*node).and_then(Node::honest);
                let is_whole = host.is_some_and(|host| host.is_whole());
                is_whole.then_some(()).ok_or(format!("{node} lacks something"))
            }
            Event::Failed(reason) => {
                assert_ne!(*reason, Reason::Cancelled, "nobody cancels");
                Err(format!("{node} gave up: {reason}"))
            }
            _ => Ok(()),
        })?;
        is_bounded(world, &checked)
    });
}

fn is_true_blame(
    world: &World<Blobs>,
    subject: &Blobs,
    node: NodeId,
    (by, blame): (NodeId, Blame),
) -> Result<(), String> {
    let Role::Liar(lie) = &subject.roles[by.0] else {
        return Err(format!("{node} blames {by}, which is honest: {blame}"));
    };
    let is_true = match blame {
        // The proof of a false size is wrong bytes.
        Blame::WrongBytes => matches!(lie, Lie::Bytes | Lie::Size(_) | Lie::Garbage),
        Blame::FalseSize => matches!(lie, Lie::Size(_)),
        Blame::FalseClaim => *lie == Lie::Claim,
        _ => matches!(lie, Lie::Garbage | Lie::Size(_)),
    };
    world.sometimes(match blame {
        Blame::WrongBytes => "blamed: wrong bytes",
        Blame::FalseSize => "blamed: claimed a false size",
        Blame::FalseClaim => "blamed: claimed to hold what it does not",
        _ => "blamed: broke the protocol",
    });
    is_true.then_some(()).ok_or(format!("{node} blames {by} for {blame}, but it did {lie:?}"))
}

fn is_bounded(world: &World<Blobs>, subject: &Blobs) -> Result<(), String> {
    let Some(node) = world.touched().filter(|node| !subject.is_liar(*node)) else { return Ok(()) };
    let Some(host) = world.node(node).and_then(Node::honest) else { return Ok(()) };
    let stats = host.fetch.stats();
    let nodes = subject.roles.len() as u64;
    let held = [
        ("groups that came twice", stats.excess, stats.doubled),
        ("groups asked twice", stats.doubled, subject.fetch.max_excess + nodes),
        ("peers of a fetch", host.fetch.peers() as u64, subject.fetch.max_peers as u64),
        ("streams", host.serve.streams() as u64, subject.serve.max_streams as u64),
        ("asks", host.serve.asks() as u64, subject.serve.max_asks as u64),
    ];
    let over = held.into_iter().find(|(_, held, most)| held > most);
    over.map_or(Ok(()), |over| Err(format!("{node}: {over:?}")))
}
