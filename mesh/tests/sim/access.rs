//! Access: nodes of a closed mesh that hear of revocations and are renewed, with and without a liar
//! among them.

mod liar;

use std::{collections::BTreeMap, time::Duration};

use aether_core::{Genesis, PublicKey, SecretKey, Time};
use aether_mesh::proto::{
    access::{
        Capability, Config, Input, Invite, Issuer, Keeper, Membership, Message, Output, Revocation,
        Revocations, Role, Wall,
    },
    link::Frame,
};
use aether_sim::{At, Boot, Effects, Limits, Mixed, NodeId, Run, Runner, Scenario, Subject, World};

use self::liar::Liar;

type Node = Mixed<Keeper, Liar>;

/// When the simulation begins.
const BEGIN: Wall = Wall::from_secs(1_800_000_000);
const TERM: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long the invites of the simulation hold.
const INVITED: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
enum Command {
    /// An admin's word reaches this node.
    Revoke(NodeId),
}

#[derive(Debug)]
enum Event {
    Cut(NodeId),
    Fault(NodeId),
    Kept(PublicKey),
}

/// Node 0 holds the admin's key, node 1 was made an admin; the others came by an invite.
#[derive(Clone, Debug)]
struct Mesh {
    genesis: Genesis,
    admin: SecretKey,
    keys: Vec<SecretKey>,
    ids: BTreeMap<PublicKey, NodeId>,
    liar: Option<NodeId>,
}

impl Mesh {
    fn new(nodes: usize, liar: Option<NodeId>) -> Self {
        let admin = SecretKey::from_bytes([200; 32]);
        let genesis = Genesis::closed("sim", [admin.public()]).expect("a name and a key");
        let keys = (1u8..).take(nodes).map(|n| SecretKey::from_bytes([n; 32]));
        let keys: Vec<SecretKey> = keys.collect();
        let ids = keys.iter().enumerate().map(|(n, key)| (key.public(), NodeId(n))).collect();
        Self { genesis, admin, keys, ids, liar }
    }

    fn root(&self) -> Issuer {
        Issuer::root(&self.genesis, self.admin.clone()).expect("it is the admin's key")
    }

    fn key(&self, node: NodeId) -> PublicKey {
        self.keys[node.0].public()
    }

    /// What a node has when it is started for the first time.
    fn first(&self, node: NodeId) -> Capability {
        if node.0 < 2 {
            let admitted = self.root().admit(self.key(node), Role::Admin, BEGIN, TERM, None);
            return admitted.expect("within the rules");
        }
        let key = SecretKey::from_bytes([201; 32]);
        let until = BEGIN + INVITED;
        let invite = Invite::new(&self.root(), key, Role::Writer, BEGIN, until, TERM, Vec::new());
        let joined = invite.expect("within the rules").join(self.key(node), BEGIN);
        let Membership { capability, .. } = joined.expect("it hasn't expired");
        capability
    }

    fn revocation(&self, node: NodeId) -> Revocation {
        Revocation::sign(&self.root(), self.key(node), BEGIN).expect("an admin may")
    }

    fn is_honest(&self, node: NodeId) -> bool {
        Some(node) != self.liar
    }

    fn wall(at: At) -> Wall {
        BEGIN + Duration::from_micros(at.wall.as_micros())
    }
}

impl Subject for Mesh {
    type Node = Node;
    type Command = Command;
    type Event = Event;

    fn boot(&self, boot: Boot<'_>) -> Node {
        let (at, key) = (boot.at, self.keys[boot.at.node.0].clone());
        let kept = boot.disk.get(b"own").and_then(|bytes| Capability::decode(bytes).ok());
        let own = kept.unwrap_or_else(|| self.first(at.node));
        let mut revocations = Revocations::default();
        for node in (0..boot.nodes).map(NodeId) {
            if let Some(bytes) = boot.disk.get(self.key(node).as_bytes()) {
                let revocation = Revocation::decode(bytes).expect("it was kept");
                revocations.insert(revocation, Self::wall(at));
            }
        }
        let root = (at.node.0 == 0).then(|| self.root());
        let clock = (at.now, Self::wall(at));
        let config = Config::default();
        let keeper =
            Keeper::new(config, self.genesis.clone(), key.clone(), root, own, revocations, clock);
        let keeper = keeper.expect("its own capability is in order");
        if self.is_honest(at.node) {
            return Node::Honest(Box::new(keeper));
        }
        let seed = u64::from_le_bytes(*boot.seed.first_chunk().expect("32 bytes"));
        Node::Liar(Box::new(Liar::new(keeper, self.root(), key, at.now, seed)))
    }

    fn message(&self, _: At, from: NodeId, bytes: &[u8]) -> Option<Input> {
        match Frame::decode(bytes) {
            Ok(Frame::Access(message)) => Some(Input::Message { from: self.key(from), message }),
            _ => None,
        }
    }

    fn timeout(&self, _: At) -> Input {
        Input::Timeout
    }

    fn command(&self, _: At, Command::Revoke(node): Command) -> Input {
        Input::Revoke(self.revocation(node))
    }

    /// What is shown here is the oldest that the peer can have: it sends a newer one if it has one.
    fn connection(&self, _: At, peer: NodeId, up: bool) -> Option<Input> {
        let (key, capability) = (self.key(peer), Box::new(self.first(peer)));
        Some(match up {
            true => Input::Connected { peer: key, capability },
            false => Input::Disconnected { peer: key },
        })
    }

    fn output(&self, _: At, output: Output, effects: &mut Effects<Self>) {
        match output {
            Output::Send { to, message } => {
                effects.send(self.ids[&to], Frame::Access(message).encode());
            }
            Output::Cut { peer, .. } => effects.observe(Event::Cut(self.ids[&peer])),
            Output::Admitted(pass) => {
                // The connection can be spoken on at once.
                effects.input(Input::Linked { peer: pass.peer });
                if !pass.provisional {
                    effects.sometimes("full member seen");
                }
            }
            Output::Adopted { capability, .. } => {
                effects.put(b"own", capability.encode());
                effects.sometimes("capability renewed");
            }
            Output::Keep(revocation) => {
                effects.put(*revocation.key().as_bytes(), revocation.encode());
                effects.observe(Event::Kept(revocation.key()));
            }
            Output::Fault { from } => effects.observe(Event::Fault(self.ids[&from])),
            Output::LockedOut(_) => effects.sometimes("node locked out"),
            Output::Forget(_) | Output::Full => effects.observe(Event::Kept(self.key(NodeId(0)))),
        }
    }

    fn describe(&self, bytes: &[u8]) -> String {
        let Ok(Frame::Access(message)) = Frame::decode(bytes) else { return "nonsense".into() };
        match message {
            Message::State { revocations, .. } => format!("state {:02x?}", &revocations[..4]),
            Message::Want { held } => format!("want, holding {}", held.len() / 16),
            Message::Revocations { statements } => format!("{} revocations", statements.len()),
            Message::Ask => "ask".into(),
            Message::Show { .. } => "show".into(),
            Message::Renew => "renew".into(),
            Message::Renewed { .. } => "renewed".into(),
        }
    }
}

/// A world in which nobody is cut but the revoked, nobody blamed but the liar, and nothing revoked
/// but by the admin.
fn world(mut run: Run, limits: &Limits, lying: bool) -> (World<Mesh>, Mesh, NodeId) {
    let scenario = Scenario::draw(&mut run.draw, limits);
    let nodes = scenario.nodes;
    // Neither the admins nor the first of the members.
    let liar = lying.then(|| NodeId(3 + run.draw.below(nodes - 3)));
    let revoked = NodeId(2);
    let mesh = Mesh::new(nodes, liar);
    let mut world = World::new(run, scenario, mesh.clone());
    let subject = mesh.clone();
    world.invariant("only what an admin revoked is cut", move |world| {
        for (node, event) in world.observed() {
            match event {
                // The revoked one hears of no renewal.
                Event::Cut(peer) if *peer != revoked && *node != revoked => {
                    return Err(format!("{node} cuts {peer}, which nobody revoked"));
                }
                Event::Cut(_) => world.sometimes("revoked peer cut"),
                Event::Kept(key) if *key != subject.key(revoked) => {
                    return Err(format!("{node} takes in what no admin said"));
                }
                Event::Kept(_) => world.sometimes("revocation taken in"),
                Event::Fault(by) if subject.is_honest(*by) => {
                    return Err(format!("{node} takes {by} for a liar"));
                }
                Event::Fault(_) => world.sometimes("liar found out"),
            }
        }
        Ok(())
    });
    (world, mesh, revoked)
}

impl Mesh {
    fn honest<'a>(&self, world: &'a World<Self>) -> impl Iterator<Item = &'a Keeper> {
        let nodes = (0..self.keys.len()).map(NodeId);
        nodes.filter_map(|node| world.node(node)?.honest())
    }

    /// Whether every other honest node knows that one node is revoked, and none has it for a
    /// neighbour. The revoked one itself may not know: nobody talks to it.
    fn all_have_cut(&self, world: &World<Self>, revoked: NodeId) -> bool {
        let key = self.key(revoked);
        self.honest(world).filter(|keeper| keeper.own().1.peer != key).all(|keeper| {
            let is_here = keeper.neighbours().any(|pass| pass.peer == key);
            keeper.revocations().holds(&key) && !is_here
        })
    }

    /// Whether every honest node but one is a member in full, and known as such to all others.
    fn all_are_renewed(&self, world: &World<Self>, but: NodeId) -> bool {
        let but = self.key(but);
        let nodes = || self.honest(world).filter(|keeper| keeper.own().1.peer != but);
        nodes().all(|keeper| {
            let own = keeper.own().1;
            let seen = |other: &Keeper| {
                let mut known = other.neighbours().filter(|pass| pass.peer == own.peer);
                known.all(|pass| pass == own)
            };
            !own.provisional && nodes().all(seen)
        })
    }
}

/// A partition, crashes and a liar: once all is healed everybody has heard of the revocation, and
/// whoever came by an invite has become a member in full.
#[test]
fn revocations_reach_everybody_and_members_are_renewed() {
    let demanded = [
        "capability renewed",
        "full member seen",
        "liar found out",
        "node locked out",
        "revocation taken in",
        "revoked peer cut",
    ];
    let runner = Runner::new(
        env!("CARGO_PKG_NAME"),
        "access::revocations_reach_everybody_and_members_are_renewed",
    );
    runner.seeds(24).sometimes(&demanded).run(|mut run| {
        let heals = Time::from_millis(60_000);
        let limits = Limits { nodes: 4..=8, heals, ..Limits::streams() };
        let lying = run.draw.chance(0.5);
        let at = run.draw.duration(Duration::ZERO..=Duration::from_secs(60));
        let (mut world, mesh, revoked) = world(run, &limits, lying);
        let honest: Vec<NodeId> =
            (0..mesh.keys.len()).map(NodeId).filter(|node| mesh.is_honest(*node)).collect();
        world.run_for(at);
        // To one that is up, or it is lost with it.
        let told = honest.iter().copied().find(|node| world.node(*node).is_some());
        world.command(told.expect("one is down at a time"), Command::Revoke(revoked));
        world.run_until(heals + Duration::from_secs(10));
        let told = honest[0];
        world.command(told, Command::Revoke(revoked));
        world.eventually("all have cut the revoked", Duration::from_secs(90), |world| {
            mesh.all_have_cut(world, revoked)
        });
        world.eventually("all are members in full", Duration::from_secs(120), |world| {
            mesh.all_are_renewed(world, revoked)
        });
        // The invite expires, and nobody is cut for it.
        world.run_for(INVITED + Duration::from_secs(600));
        world.finish()
    });
}
