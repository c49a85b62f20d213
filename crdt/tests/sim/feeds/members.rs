//! A space whose members are granted their roles: by its owner's node, and by admins that are cut
//! off from each other, among whom may be a liar.

use aether_core::Time;
use aether_crdt::proto::{
    access::{Access, Standing},
    feed::Shape,
    map,
    replica::Change,
    space::Role,
};

use super::*;

/// Whose key owns the space, and where it is.
const FOUNDER: NodeId = NodeId(0);

/// The first grants, and then others and removals, by whoever thinks of it.
fn draw_changes(world: &mut World<Guests>, guests: &Guests, until: Time) {
    let nodes = guests.keys.len();
    for node in 0..nodes {
        let role = match node {
            0 => Role::Admin,
            _ => *world.draw().pick(&[Role::Admin, Role::Writer, Role::Writer]).expect("some"),
        };
        let soon = Time::from_micros(world.draw().number(0..=until.as_micros() / 8));
        let at = if node == 0 { Time::from_micros(1) } else { soon };
        let member = guests.key(NodeId(node));
        world.command_at(at, FOUNDER, Command::Change(member, Change::Grant(role)));
    }
    for _ in 0..world.draw().below(16) {
        let at = Time::from_micros(world.draw().number(until.as_micros() / 8..=until.as_micros()));
        let node = NodeId(if world.draw().chance(0.4) { 0 } else { world.draw().below(nodes) });
        let member = guests.key(NodeId(world.draw().below(nodes)));
        let change = match world.draw().below(8) {
            0..=3 => Change::Remove,
            4 => Change::Grant(Role::Reader),
            5 | 6 => Change::Grant(Role::Writer),
            _ => Change::Grant(Role::Admin),
        };
        world.command_at(at, node, Command::Change(member, change));
    }
}

/// The owner compacts the space now and then, and in one of four stories lies about it.
fn draw_discards(world: &mut World<Guests>, until: Time) {
    let is_liar = world.draw().chance(0.25);
    for _ in 0..world.draw().below(6) {
        let at = Time::from_micros(world.draw().number(until.as_micros() / 4..=until.as_micros()));
        let salt = world.draw().number(0..=u64::MAX);
        world.command_at(at, FOUNDER, Command::Discard(is_liar.then_some(salt)));
    }
}

/// What each replica keeps is what access says, found anew from the operations that it keeps.
fn check_access(world: &World<Guests>, guests: &Guests) {
    for host in guests.honest(world) {
        let book = host.replica.book();
        let mut access = Access::new(guests.genesis.clone()).expect("a mode that is offered");
        for header in book.operations() {
            let Ok(header) = header;
            let known = book.known(&header.feed()).expect("what is kept is known");
            access.insert(&header, known.authority()).expect("there is room");
        }
        let mut members: Vec<PublicKey> = guests.keys.iter().map(SecretKey::public).collect();
        while let Some(member) = members.pop() {
            for pending in access.pending(&member) {
                let Ok(operations) = book.operations_to(&pending.pin);
                let Some(operations) = operations else { continue };
                members.extend(access.hold(&pending.pin, operations));
            }
        }
        for known in book.catalog().feeds() {
            let standing = access.standing(known.id(), known.authority());
            let (shape, tips) = (known.feed().shape(), known.feed().tips());
            match standing {
                Standing::Void(why) => {
                    assert_eq!(tips, [], "{why}");
                    world.sometimes("feed void");
                }
                Standing::Open => assert!(matches!(shape, Shape::Open(_)), "it stands"),
                Standing::Pinned(pinned) => {
                    assert!(matches!(shape, Shape::Pinned(_)), "{:?} was removed", known.id());
                    let all = pinned.tips();
                    assert!(tips.iter().all(|tip| all.contains(tip)), "nothing else is kept");
                    world.sometimes("feed pinned");
                    if tips.len() > 1 {
                        world.sometimes("two chains pinned");
                    }
                    if pinned.removals().len() > 1 {
                        world.sometimes("several removals of one feed");
                    }
                }
            }
        }
    }
}

/// What users were told is written is held by all, unless its writer was removed or lost its grant.
fn check_kept(world: &World<Guests>, guests: &Guests) {
    let model = guests.model.borrow();
    for host in guests.honest(world) {
        let (held, replica) = (checks::entries(host), &host.replica);
        for (id, (node, _)) in &model.written {
            let of = |host: &Host| Some(host.replica.book().known(&id.feed)?.authority());
            let authority = guests.honest(world).find_map(of).expect("its writer knows it");
            let standing = replica.access().standing(id.feed, authority);
            if standing == Standing::Open {
                assert!(held.contains(id), "{node} wrote {id:?}, which is lost");
            } else if !held.contains(id) {
                world.sometimes("written and void");
            }
        }
    }
}

/// Collections are what they are if they are made anew, and the same on all.
fn check_collections(world: &World<Guests>, guests: &Guests) {
    let mut states = std::collections::BTreeSet::new();
    for host in guests.honest(world) {
        let mut book = host.replica.book().clone();
        let Ok(state) = map::state_hash(book.rows(), book.catalog());
        states.insert(state);
        for collection in workload::collections() {
            let Ok(()) = book.rebuild(&collection);
        }
        let Ok(anew) = map::state_hash(book.rows(), book.catalog());
        assert_eq!(state, anew, "made anew, the collections are others");
    }
    assert_eq!(states.len(), 1, "replicas with the same entries show different collections");
}

/// When the story is at its end, after all is healed.
const END: Duration = Duration::from_secs(200);

/// The liar goes, who else might remove others for ever; and all others may read in the end: who
/// was removed is told nothing before, not even that. A liar with several grants may make a removal
/// pending again, so the owner looks after it, and removes it once more.
fn end(world: &mut World<Guests>, guests: &Guests, heals: Time) {
    let honest = (0..guests.keys.len()).map(NodeId).filter(|node| guests.liar != Some(*node));
    let honest: Vec<NodeId> = honest.collect();
    for after in [30, 70, 110, 150] {
        if let Some(liar) = guests.liar {
            let change = Command::Change(guests.key(liar), Change::Remove);
            world.command_at(heals + Duration::from_secs(after), FOUNDER, change);
        }
        for node in &honest {
            let change = Command::Change(guests.key(*node), Change::Grant(Role::Reader));
            world.command_at(heals + Duration::from_secs(after + 20), FOUNDER, change);
        }
    }
}

fn members_come_and_go(name: &str, with_liar: bool, demanded: &[&'static str]) {
    let runner = Runner::new(env!("CARGO_PKG_NAME"), name);
    runner.seeds(24).sometimes(demanded).run(|mut run| {
        let limits = Limits { nodes: 3..=6, ..Limits::streams() };
        let scenario = Scenario::draw(&mut run.draw, &limits);
        let liar = with_liar.then(|| NodeId(1 + run.draw.below(scenario.nodes - 1)));
        let guests = Guests::granted(scenario.nodes, liar);
        let mut world = world(run, scenario, &guests);
        let heals = world.heals();
        draw_changes(&mut world, &guests, heals);
        draw_writes(&mut world, &guests, heals);
        draw_discards(&mut world, heals);
        world.run_until(heals);
        end(&mut world, &guests, heals);
        world.run_until(heals + END);
        world.eventually("all hold the same", Duration::from_secs(1200), |world| {
            all_agree(world, &guests)
        });
        check_access(&world, &guests);
        check_kept(&world, &guests);
        check_collections(&world, &guests);
        world.finish()
    });
}

/// Grants and removals that don't know of each other, writers who are removed while they write, and
/// admins who are, with all they admitted.
#[test]
fn replicas_agree_while_members_come_and_go() {
    let demanded = [
        "feed void",
        "feed pinned",
        "written and void",
        "change refused",
        "writer without a grant",
        "discarded payloads dropped",
    ];
    let name = "feeds::members::replicas_agree_while_members_come_and_go";
    members_come_and_go(name, false, &demanded);
}

/// And one of them, who may be made an admin, forks and lies, about access too.
#[test]
fn replicas_agree_though_a_member_forks_and_lies() {
    let demanded = ["feed void", "feed pinned", "two chains pinned"];
    let name = "feeds::members::replicas_agree_though_a_member_forks_and_lies";
    members_come_and_go(name, true, &demanded);
}
