//! Presence of several nodes that come, go and crash, over a network that loses and delays.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aether_core::{
    Protocol as _, PublicKey,
    wire::{Reader, Writer},
};
use aether_crdt::proto::presence::{Config, Heard, Input, Output, Presence};
use aether_sim::{At, Boot, Effects, Limits, NodeId, Runner, Scenario, Subject, World};

const NAME: &str = "notes";

/// A value, or none any more.
type Command = Option<u64>;

#[derive(Debug)]
struct Guests {
    nodes: usize,
}

fn key(node: NodeId) -> PublicKey {
    PublicKey::from_bytes([u8::try_from(node.0).expect("few nodes"); 32])
}

impl Subject for Guests {
    type Node = Presence;
    type Command = Command;
    type Event = ();

    fn boot(&self, boot: Boot<'_>) -> Presence {
        let mut presence = Presence::new(Config::default(), boot.seed);
        presence.handle(boot.at.now, Input::Reaches(true));
        presence
    }

    fn message(&self, _: At, from: NodeId, bytes: &[u8]) -> Option<Input> {
        let mut reader = Reader::new(bytes);
        let (life, number) = (reader.u64().ok()?, reader.u64().ok()?);
        let (author, bytes) = (key(from), reader.rest().to_vec());
        Some(Input::Heard(Heard { author, life, number, counts: true, bytes }))
    }

    fn timeout(&self, _: At) -> Input {
        Input::Timeout
    }

    fn command(&self, _: At, command: Command) -> Input {
        let name = NAME.to_owned();
        match command {
            Some(value) => Input::Set { name, value: value.to_be_bytes().to_vec(), lasts: None },
            None => Input::Clear { name },
        }
    }

    fn output(&self, at: At, output: Output, effects: &mut Effects<Self>) {
        match output {
            Output::Say(message) => {
                // No two messages of a life are said at one moment.
                let mut writer = Writer::with_capacity(16 + message.len());
                writer.u64(at.life.into()).u64(at.now.as_micros()).slice(&message);
                let bytes = writer.finish();
                for node in (0..self.nodes).map(NodeId).filter(|node| *node != at.node) {
                    effects.send(node, bytes.clone());
                }
                if at.life > 1 {
                    effects.sometimes("spoke after a crash");
                }
            }
            Output::Changed { value: Some(_), .. } => effects.sometimes("saw somebody"),
            Output::Changed { value: None, .. } => effects.sometimes("saw somebody go"),
        }
    }
}

/// Whether each node shows exactly what the others have.
fn all_show_the_same(world: &World<Guests>) -> bool {
    let own: BTreeMap<NodeId, Option<Vec<u8>>> =
        world.nodes().map(|(id, node)| (id, node.own(NAME).map(<[u8]>::to_vec))).collect();
    world.nodes().all(|(id, node)| {
        let shown: BTreeSet<_> =
            node.others(NAME).map(|(author, value)| (author, value.to_vec())).collect();
        let there = own.iter().filter(|(other, _)| **other != id);
        let there = there.filter_map(|(other, value)| Some((key(*other), value.clone()?)));
        shown == there.collect()
    })
}

#[test]
fn everybody_sees_who_is_there_and_nobody_else() {
    let names = ["spoke after a crash", "saw somebody", "saw somebody go"];
    Runner::new("aether-crdt", "everybody_sees_who_is_there_and_nobody_else")
        .seeds(20)
        .sometimes(&names)
        .run(|mut run| {
            let scenario = Scenario::draw(&mut run.draw, &Limits::default());
            let nodes = scenario.nodes;
            let mut world = World::new(run, scenario, Guests { nodes });
            world.invariant("nobody is there who isn't", |world| {
                let most = world.ids().len() - 1;
                let few = world.nodes().all(|(_, node)| node.len() <= most);
                few.then_some(()).ok_or_else(|| "more are remembered than there are".to_owned())
            });
            while world.now() < world.heals() {
                let some = world.draw().duration(Duration::ZERO..=Duration::from_secs(5));
                world.run_for(some);
                let ids: Vec<NodeId> = world.ids().collect();
                let node = *world.draw().pick(&ids).expect("there are nodes");
                let value = world.draw().number(0..=1_000);
                let clears = world.draw().chance(0.2);
                world.command(node, (!clears).then_some(value));
            }
            world.eventually("all show who is there", Duration::from_secs(60), all_show_the_same);
            world.finish()
        });
}
