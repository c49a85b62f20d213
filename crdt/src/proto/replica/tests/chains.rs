//! Rule 13: chains that removals pin and that aren't kept.

use aether_core::{Domain, Signature};

use super::{
    members::{OWNER, after, change, first, give, grants, member, op, removed, talk},
    *,
};
use crate::proto::{entry::AccessOp, replica::Change as Access, space::Role, sync::MAX_UNACKED};

const MODE: Mode = Mode::Readable;
const LIAR: u8 = 3;
const GIVER: u8 = 9;

fn id(entry: &Entry) -> EntryId {
    entry.header().id()
}

/// The entry as its author signs it for another time.
fn signed_at(entry: &Entry, time: Hybrid) -> Entry {
    let mut header = entry.header().encode();
    header[114..122].copy_from_slice(&time.to_bits().to_be_bytes());
    let end = header.len() - Signature::LEN;
    let hash = Domain::new("aether 2026-11 feed header v1").hash(&header[..end]);
    header[end..].copy_from_slice(key(LIAR).sign(&hash).as_bytes());
    let header = Header::decode(&header).unwrap().verify().unwrap();
    Entry::new(header, entry.payload().clone()).unwrap()
}

/// A writer who signed four branches of one feed, of which everyone keeps two.
struct Scene {
    founder: Node,
    by: Authority,
    base: Entry,
    /// The entries behind the first, ascending by their hashes, and one behind each of those.
    heads: Vec<Entry>,
    tips: Vec<Entry>,
}

impl Scene {
    fn new() -> Self {
        let mut founder = member(MODE, 1, true);
        change(&mut founder, LIAR, Access::Grant(Role::Writer));
        let by = grants(&founder)[0];
        let base = first(MODE, feed(LIAR), LIAR, by, draft(0));
        let next = |parent: &Entry, salt| after(parent.header(), LIAR, by, draft(salt));
        let mut heads: Vec<Entry> = (0..4).map(|salt| next(&base, salt)).collect();
        heads.sort_by_key(|head| head.header().hash());
        let tips = heads.iter().map(|head| next(head, 9)).collect();
        Self { founder, by, base, heads, tips }
    }

    /// A replica that knows of the grant, and took in these of the writer's entries.
    fn node(&mut self, known: &[&Entry]) -> Node {
        let mut node = member(MODE, 2, false);
        talk([(1, &mut self.founder), (2, &mut node)]);
        give(&mut node, 8, known);
        node
    }

    /// The founder's removal of the writer, which leaves these ends standing.
    fn removal(&self, pins: &[&Entry]) -> Entry {
        let Authority::Grant(last) = self.by else { panic!("it is a grant") };
        let Ok(last) = self.founder.replica.book().header(&last);
        after(&last.unwrap(), OWNER, Authority::Genesis, op(removed(LIAR, pins)))
    }
}

/// What is asked of a peer that keeps this end of the writer's feed, in a session that stays.
fn asked(node: &mut Node, tip: &Entry) -> Vec<(EntryId, u64)> {
    node.handle(NOW, Input::Connected { peer: peer(GIVER), opens: false });
    node.say(NOW, GIVER, &hello(true, Hash::from_bytes([9; 32])));
    let EntryId { feed, number, hash } = id(tip);
    let outputs = node.say(NOW, GIVER, &rows(true, &[row(feed, &[(number, hash)])]));
    let ask = |message| match message {
        Message::Ask { entry, floor } => Some((entry.into(), floor)),
        _ => None,
    };
    sent(&outputs).into_iter().filter_map(ask).collect()
}

/// What is said of an entry that came, once it is synced.
fn said(node: &mut Node, n: u64, entry: &Entry) -> Vec<Message> {
    let mut outputs = node.say(NOW, GIVER, &offer(n, entry));
    outputs.extend(node.sync(NOW));
    sent(&outputs).into_iter().filter(|message| matches!(message, Message::Ack { .. })).collect()
}

#[test]
fn a_pinned_chain_that_was_evicted_is_asked_for_and_kept_once_it_is_whole() {
    let mut scene = Scene::new();
    let [smallest, second] = [0, 1].map(|at: usize| scene.heads[at].clone());
    let (head, tip) = (scene.heads[2].clone(), scene.tips[2].clone());
    let base = scene.base.clone();
    let mut node = scene.node(&[&base, &smallest, &second]);
    give(&mut node, 1, &[&scene.removal(&[&tip])]);
    assert!(node.holds(&smallest), "the removal doesn't count here yet");

    assert_eq!(asked(&mut node, &tip), [(id(&tip), 1)], "down to where its author forked");
    assert_eq!(said(&mut node, 1, &tip), [ack(1, &[])]);
    assert!(!node.holds(&tip) && node.holds(&smallest));
    assert_eq!(said(&mut node, 2, &head), [ack(2, &[])]);
    let kept = [&base, &smallest, &second, &head, &tip].map(|entry| node.holds(entry));
    assert_eq!(kept, [true, false, false, true, true]);
}

#[test]
fn chains_of_one_removal_are_kept_together() {
    let mut scene = Scene::new();
    let known = [scene.base.clone(), scene.heads[0].clone(), scene.heads[1].clone()];
    let chains = [2, 3].map(|at: usize| [scene.tips[at].clone(), scene.heads[at].clone()]);
    let mut node = scene.node(&known.each_ref());
    give(&mut node, 1, &[&scene.removal(&[&chains[0][0], &chains[1][0]])]);
    assert_eq!(asked(&mut node, &chains[0][0]).len(), 2);
    for (n, entry) in (1..).zip(chains.iter().flatten()) {
        assert!(!chains.iter().flatten().any(|entry| node.holds(entry)));
        assert_eq!(said(&mut node, n, entry), [ack(n, &[])]);
    }
    assert!(chains.iter().flatten().all(|entry| node.holds(entry)));
    assert!(!known[1..].iter().any(|entry| node.holds(entry)));
}

#[test]
fn a_chain_that_was_held_and_is_lost_is_asked_for_as_well() {
    let mut scene = Scene::new();
    let [smallest, second, held] = [0, 1, 2].map(|at: usize| scene.heads[at].clone());
    let (head, tip) = (scene.heads[3].clone(), scene.tips[3].clone());
    let base = scene.base.clone();
    let mut node = scene.node(&[&base, &second, &held]);
    give(&mut node, 1, &[&scene.removal(&[&held, &tip])]);
    assert!(node.holds(&held) && node.holds(&second), "one of the chains isn't here");
    give(&mut node, 8, &[&smallest]);
    assert!(!node.holds(&held), "a smaller hash took its place");
    let mut all = vec![(id(&held), 1), (id(&tip), 1)];
    all.sort_unstable();
    assert_eq!(asked(&mut node, &tip), all);
    assert_eq!(said(&mut node, 1, &tip), [ack(1, &[])]);
    assert_eq!(said(&mut node, 2, &head), [ack(2, &[])]);
    assert!(!node.holds(&tip), "the other isn't here again");
    assert_eq!(said(&mut node, 3, &held), [ack(3, &[])]);
    let kept = [&base, &smallest, &second, &held, &head, &tip].map(|entry| node.holds(entry));
    assert_eq!(kept, [true, false, false, true, true, true]);
}

#[test]
fn what_breaks_a_rule_is_not_staged_though_a_removal_pins_it() {
    // An end that isn't later than what it links to.
    let mut scene = Scene::new();
    let known = [scene.base.clone(), scene.heads[0].clone(), scene.heads[1].clone()];
    let head = scene.heads[2].clone();
    let end = after(head.header(), LIAR, scene.by, draft(5));
    let end = signed_at(&end, head.header().time());
    let mut node = scene.node(&known.each_ref());
    give(&mut node, 1, &[&scene.removal(&[&end])]);
    assert_eq!(asked(&mut node, &end), [(id(&end), 1)]);
    assert_eq!(said(&mut node, 1, &end), [ack(1, &[])]);
    assert_eq!(said(&mut node, 2, &head), [ack(2, &[2])]);
    assert!(!node.holds(&head) && node.holds(&known[1]));

    // A change of access that its author may not make.
    let grant = AccessOp::Grant { member: peer(7), role: Role::Writer, over: Vec::new() };
    let end = after(known[0].header(), LIAR, scene.by, op(grant));
    let mut node = scene.node(&known.each_ref());
    give(&mut node, 1, &[&scene.removal(&[&end])]);
    assert_eq!(asked(&mut node, &end), [(id(&end), 1)]);
    assert_eq!(said(&mut node, 1, &end), [ack(1, &[1])]);
    assert!(!node.holds(&end) && node.holds(&known[1]));
}

#[test]
fn what_is_staged_of_a_chain_goes_when_nobody_awaits_it() {
    let mut scene = Scene::new();
    let admin = FeedId { author: peer(4), incarnation: 1 };
    change(&mut scene.founder, 4, Access::Grant(Role::Admin));
    let by = grants(&scene.founder)[1];
    let known = [scene.base.clone(), scene.heads[0].clone(), scene.heads[1].clone()];
    let tip = scene.tips[2].clone();
    let mut node = scene.node(&known.each_ref());
    give(&mut node, 1, &[&first(MODE, admin, 4, by, op(removed(LIAR, &[&tip])))]);
    asked(&mut node, &tip);
    assert_eq!(said(&mut node, 1, &tip), [ack(1, &[])]);
    let is_staged = |node: &Node| {
        let Ok(staged) = node.replica.book().staged(&id(&tip));
        staged.is_some()
    };
    assert!(is_staged(&node));
    // The admin was removed before it removed anybody.
    change(&mut scene.founder, 4, Access::Remove);
    talk([(1, &mut scene.founder), (2, &mut node)]);
    assert!(!is_staged(&node) && node.holds(&known[1]));
}

/// A replica that took in so many entries of a feed, all of them synced.
fn keeper(count: u64) -> (Node, Vec<Entry>) {
    let mut node = Node::new();
    let mut chain: Vec<Entry> = Vec::new();
    for salt in 0..count {
        chain.push(entry(LIAR, chain.last(), salt));
    }
    give(&mut node, 8, &chain.iter().collect::<Vec<_>>());
    (node, chain)
}

fn ask(entry: &Entry, floor: u64) -> Message {
    Message::Ask { entry: id(entry).into(), floor }
}

#[test]
fn who_asks_is_sent_a_chain_from_its_end_down() {
    let (mut node, chain) = keeper(5);
    node.meet(NOW, 1);
    let numbers = |outputs: &[Output]| {
        let all = entries(outputs).into_iter();
        all.map(|(_, id)| id.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&node.say(NOW, 1, &ask(&chain[3], 1))), [4, 3, 2]);
    assert_eq!(numbers(&node.say(NOW, 1, &ask(&chain[1], 0))), [2, 1]);
    // What isn't kept, or isn't synced.
    let next = entry(LIAR, chain.last(), 9);
    assert_eq!(numbers(&node.say(NOW, 1, &ask(&next, 0))), [0u64; 0]);
    node.meet(NOW, 8);
    assert_eq!(node.say(NOW, 8, &offer(1, &next)), []);
    assert_eq!(numbers(&node.say(NOW, 1, &ask(&next, 5))), [0u64; 0]);
    node.sync(NOW);
    assert_eq!(numbers(&node.say(NOW, 1, &ask(&next, 5))), [6]);
}

#[test]
fn who_refuses_an_entry_of_a_chain_is_sent_no_more_of_it() {
    let (mut node, chain) = keeper(300);
    node.meet(NOW, 1);
    let last = chain.last().unwrap();
    assert_eq!(entries(&node.say(NOW, 1, &ask(last, 0))).len(), MAX_UNACKED);
    assert_eq!(entries(&node.say(NOW, 1, &ack(1, &[1]))), []);
}

#[test]
fn so_many_chains_wait_for_room_at_most() {
    let (mut node, chain) = keeper(300);
    node.meet(NOW, 1);
    let last = chain.last().unwrap();
    // The first, of which not all fits, waits as well.
    node.say(NOW, 1, &ask(last, 300 - MAX_UNACKED as u64 - 1));
    for entry in &chain[..100] {
        assert_eq!(node.say(NOW, 1, &ask(entry, id(entry).number - 1)), []);
    }
    let rest = entries(&node.say(NOW, 1, &ack(MAX_UNACKED as u64, &[])));
    assert_eq!(rest.len(), 64);
}
