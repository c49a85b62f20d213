//! Forks: evidence, a peer's lanes (rule 7), and rebuilding (rule 8).

use super::*;

fn evidence(entries: &[Entry]) -> Message {
    let [first, second] = [0, 1].map(|at: usize| entries[at].header().encode().into());
    Message::Evidence { first, second }
}

#[test]
fn a_fork_is_told_to_all_once_it_is_synced() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    node.meet(NOW, 2);
    let heads = siblings(3, None, 2);
    node.say(NOW, 1, &offer(1, &heads[0]));
    assert_eq!(node.say(NOW, 1, &offer(2, &heads[1])), []);
    let outputs = node.sync(NOW);
    let told: Vec<Message> =
        sent(&outputs).into_iter().filter(|message| *message == evidence(&heads)).collect();
    assert_eq!(told.len(), 2);
    let forked =
        |output: &&Output| matches!(output, Output::Forked { feed: of, .. } if *of == feed(3));
    assert_eq!(outputs.iter().filter(forked).count(), 1);
    // What is known already is no news.
    assert_eq!(node.say(NOW, 2, &evidence(&heads)), []);
    assert!(node.unsynced.is_empty());
}

#[test]
fn evidence_is_two_authentic_headers_of_one_place() {
    let heads = siblings(3, None, 2);
    let other = entry(4, None, 1);
    let swapped = [heads[1].clone(), heads[0].clone()];
    let above = entry(3, Some(&heads[0]), 1);
    let mut forged = heads[1].header().encode();
    *forged.last_mut().unwrap() ^= 1;
    let forged =
        Message::Evidence { first: heads[0].header().encode().into(), second: forged.into() };
    for (what, message, fault) in [
        ("two feeds", evidence(&[heads[0].clone(), other]), Fault::Malformed),
        ("out of order", evidence(&swapped), Fault::Malformed),
        ("two numbers", evidence(&[heads[0].clone(), above]), Fault::Malformed),
        ("one header", evidence(&[heads[0].clone(), heads[0].clone()]), Fault::Malformed),
        ("forged", forged, Fault::Forged),
    ] {
        let mut node = Node::new();
        node.meet(NOW, 1);
        node.say(NOW, 1, &offer(1, &heads[0]));
        node.sync(NOW);
        assert_eq!(node.say(NOW, 1, &message), closed(1, fault), "{what}");
        assert_eq!(node.replica.book().evidence(&feed(3)), None, "{what}");
    }
    // Of a feed that isn't known, it says nothing.
    let mut node = Node::new();
    node.meet(NOW, 1);
    assert_eq!(node.say(NOW, 1, &evidence(&heads)), []);
}

#[test]
fn a_withheld_entry_that_loses_is_evidence() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let heads = siblings(3, None, 3);
    node.say(NOW, 1, &offer(1, &heads[0]));
    node.say(NOW, 1, &offer(2, &heads[1]));
    node.sync(NOW);
    assert_eq!(sent(&node.say(NOW, 1, &offer(3, &heads[2]))), [ack(3, &[3])], "it loses");
    assert!(node.unsynced.is_empty(), "and two smaller ones are known");
    // A fork at a lower number is news even if its payload is missing.
    let mut node = Node::new();
    node.meet(NOW, 1);
    let above = siblings(3, Some(&heads[2]), 3);
    for (n, entry) in (1..).zip([&heads[2], &above[0], &above[1]]) {
        node.say(NOW, 1, &offer(n, entry));
    }
    node.sync(NOW);
    let [first, second] = [&above[1], &above[2]].map(|entry| entry.header().encode().into());
    node.say(NOW, 1, &Message::Evidence { first, second });
    assert!(node.unsynced.is_empty(), "larger headers show nothing new");
    let [first, second] = [&heads[1], &heads[2]].map(|entry| entry.header().encode().into());
    node.say(NOW, 1, &Message::Evidence { first, second });
    node.sync(NOW);
    assert_eq!(node.replica.book().evidence(&feed(3)).unwrap().number(), 1);
}

/// Offers branches, the largest first; tells which are taken.
fn branches(node: &mut Node, now: Time, from: u8, n: &mut u64, heads: &[Entry]) -> Vec<bool> {
    let mut taken = Vec::new();
    for head in heads.iter().rev() {
        *n += 1;
        node.say(now, from, &offer(*n, head));
        taken.push(node.holds(head));
        node.sync(now);
    }
    taken
}

#[test]
fn a_peer_changes_lanes_of_a_feed_sixteen_times_a_minute() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let heads = siblings(3, None, 60);
    let mut n = 0;
    let taken = branches(&mut node, NOW, 1, &mut n, &heads[30..]);
    assert!(taken[..18].iter().all(|taken| *taken), "two lanes, and sixteen changes");
    assert!(!taken[18..].iter().any(|taken| *taken));

    // A new session is no new minute; another peer has its own.
    node.meet(NOW, 1);
    assert_eq!(branches(&mut node, NOW, 1, &mut 0, &heads[29..30]), [false]);
    node.meet(NOW, 2);
    assert_eq!(branches(&mut node, NOW, 2, &mut 0, &heads[29..30]), [true]);
    // What doesn't change a lane isn't refused: neither another feed nor the next of a lane.
    let above = entry(3, Some(&heads[29]), 1);
    assert_eq!(branches(&mut node, NOW, 1, &mut 1, &[above]), [true]);
    let others = siblings(4, None, 3);
    assert_eq!(branches(&mut node, NOW, 1, &mut 2, &others), [true, true, true]);
    let later = NOW + seconds(60);
    assert_eq!(branches(&mut node, later, 1, &mut 5, &heads[..1]), [true]);
}

#[test]
fn collections_are_made_anew_at_once_and_then_ever_less_often() {
    let mut node = Node::new();
    let heads = siblings(3, None, 40);
    let mut now = NOW;
    let mut waited = Vec::new();
    for (from, pair) in (1u8..).zip(heads.rchunks(2)).take(12) {
        node.meet(now, from);
        let mut n = 0;
        branches(&mut node, now, from, &mut n, pair);
        if node.replica.book().stale().is_empty() {
            continue;
        }
        let due = node.replica.rebuild_due().unwrap().max(now);
        waited.push(due.since(now).as_secs());
        node.handle(due, Input::Timeout);
        assert!(node.replica.book().stale().is_empty());
        node.sync(due);
        now = due;
    }
    assert_eq!(waited[..9], [0, 10, 20, 40, 80, 160, 320, 600, 600]);
}

#[test]
fn after_a_calm_while_collections_are_made_anew_at_once() {
    let mut node = Node::new();
    let heads = siblings(3, None, 12);
    let (mut now, mut waited) = (NOW, Vec::new());
    for (from, (wait, pair)) in (1u8..).zip([0, 0, 80, 0].into_iter().zip(heads.rchunks(3))) {
        now = now + seconds(wait);
        node.meet(now, from);
        branches(&mut node, now, from, &mut 0, pair);
        let due = node.replica.rebuild_due().unwrap().max(now);
        waited.push(due.since(now).as_secs());
        node.handle(due, Input::Timeout);
        node.sync(due);
        now = due;
    }
    assert_eq!(waited, [0, 10, 0, 10], "the gap of twenty seconds was forgotten");
}
