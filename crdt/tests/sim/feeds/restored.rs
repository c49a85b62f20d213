//! A node that starts from an old copy of its disk.

use aether_core::Time;
use aether_crdt::proto::book::Book;
use aether_sim::Fault;

use super::*;

/// Users lose what nobody else has: the model forgets it.
fn forget(world: &World<Guests>, guests: &Guests, node: NodeId) {
    let others = (0..guests.keys.len()).map(NodeId).filter(|other| *other != node);
    let books: Vec<Book<Rows>> = others
        .map(|other| {
            let rows = world.disk(other).iter().filter(|(key, _)| *key != OWN);
            let rows = rows.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            let Ok(book) = Book::open(rows);
            book
        })
        .collect();
    let held =
        |id: &EntryId| books.iter().any(|book| book.position(id).is_ok_and(|at| at.is_some()));
    guests.model.borrow_mut().written.retain(|id, _| held(id));
}

/// The log of own tips lies elsewhere and isn't restored, so it tells that the disk is old. The
/// node then begins a new feed, and nobody ever has evidence against it.
#[test]
fn a_restored_disk_makes_nobody_fork() {
    let demanded = ["old disk begins a new feed", "copy was current"];
    let runner =
        Runner::new(env!("CARGO_PKG_NAME"), "feeds::restored::a_restored_disk_makes_nobody_fork");
    runner.seeds(24).sometimes(&demanded[..1]).run(|mut run| {
        let limits = Limits { nodes: 2..=4, ..Limits::streams() };
        let scenario = Scenario::draw(&mut run.draw, &limits);
        let guests = Guests::new(scenario.nodes, None);
        let node = NodeId(run.draw.below(scenario.nodes));
        let mut world = world(run, scenario, &guests);
        let heals = world.heals();
        draw_writes(&mut world, &guests, heals);
        let third = heals.as_micros() / 3;
        let copied = Time::from_micros(world.draw().number(0..=2 * third));
        let restored = Time::from_micros(world.draw().number(copied.as_micros()..=3 * third));
        world.run_until(copied);
        world.fault(Fault::Copy(node));
        world.run_until(restored);
        world.fault(Fault::Crash(node));
        let before = world.disk(node).get(&OWN).map(<[u8]>::to_vec);
        world.fault(Fault::Restore { node, but: OWN.to_vec() });
        assert_eq!(world.disk(node).get(&OWN).map(<[u8]>::to_vec), before);
        forget(&world, &guests, node);
        world.fault(Fault::Start { node, wiped: false });
        let host = world.node(node).and_then(Mixed::honest).expect("it was started");
        let name = match (host.replica.own(), &before) {
            (None, Some(_)) => "old disk begins a new feed",
            (Some(_), _) => "copy was current",
            (None, None) => "nothing was written yet",
        };
        world.sometimes(name);
        world.run_until(heals);
        world.eventually("all hold the same", Duration::from_secs(120), |world| {
            all_agree(world, &guests)
        });
        check_written(&world, &guests);
        check_state(&world, &guests);
        world.finish()
    });
}
