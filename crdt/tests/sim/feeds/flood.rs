//! A liar that does nothing but sign branches, each smaller than the one before.

use aether_core::Time;
use aether_crdt::proto::id::Position;

use super::{checks::entries, *};

/// How many branches.
const BRANCHES: usize = 10_000;

fn rows(world: &World<Guests>, node: NodeId) -> usize {
    world.disk(node).iter().count()
}

/// What a node took in altogether, be it kept or not.
fn taken(world: &World<Guests>, node: NodeId) -> Position {
    world.node(node).and_then(Mixed::honest).map(|host| host.replica.book().last()).expect("up")
}

#[test]
fn ten_thousand_branches_change_few_lanes_and_hold_up_nobody() {
    let liar = NodeId(2);
    let runner = Runner::new(
        env!("CARGO_PKG_NAME"),
        "feeds::flood::ten_thousand_branches_change_few_lanes_and_hold_up_nobody",
    );
    runner.seeds(1).sometimes(&["fork seen"]).run(|run| {
        let mut scenario = Scenario::calm(3);
        scenario.connections = Some(Duration::from_secs(1));
        let mut guests = Guests::new(3, Some(liar));
        guests.branches = BRANCHES;
        let mut world = world(run, scenario, &guests);
        let minutes = 2;
        world.run_until(Time::from_millis(5_000));
        let (honest, mut most) = ([NodeId(0), NodeId(1)], 0);
        for second in (10..minutes * 60).step_by(10) {
            for node in honest {
                let command = workload::add(world.draw(), &guests);
                assert!(world.command(node, command));
            }
            world.run_until(Time::from_millis(second * 1000));
            let model = guests.model.borrow();
            for host in guests.honest(&world) {
                let held = entries(host);
                assert!(model.written.keys().all(|id| held.contains(id)), "{second} s: held up");
            }
            most = honest.into_iter().map(|node| rows(&world, node)).max().unwrap_or(0).max(most);
        }
        let offered = world.node(liar).and_then(Mixed::liar).map_or(0, Liar::offered);
        assert!(offered >= 2 * BRANCHES, "it offered {offered} in all");
        let own = guests.model.borrow().written.len();
        for node in honest {
            // Two lanes, and sixteen changes a minute of each of the two who may give them.
            let changes = usize::try_from(taken(&world, node).as_number()).expect("few") - own;
            assert!(changes <= 2 + 2 * 16 * (minutes as usize + 1), "{changes} branches taken");
            assert!(changes >= 18, "{changes} branches taken");
        }
        // Of each own entry four rows and two of collections; of the liar's two entries and two
        // witnesses.
        assert!(most <= own * 6 + 32, "{most} rows after {own} writes");
        world.eventually("all hold the same", Duration::from_secs(300), |world| {
            all_agree(world, &guests)
        });
        check_written(&world, &guests);
        check_state(&world, &guests);
        world.finish()
    });
}
