//! Edits of collections, and two replicas that talk to each other.

use super::*;
use crate::proto::map;

fn edit(kind: Kind, key: &str, action: Action) -> Edit {
    Edit::new(Collection::new(kind, "all"), key, action).unwrap()
}

fn put(key: &str, bytes: usize) -> Edit {
    edit(Kind::Map, key, Action::Put(vec![1; bytes]))
}

fn keys(node: &Node) -> usize {
    let book = node.replica.book();
    let all = Collection::new(Kind::Map, "all");
    map::scan(&all, map::Keys::All, book.rows()).count()
}

#[test]
fn edits_of_one_input_are_seen_and_synced_together() {
    let mut node = Node::new();
    let edits = vec![put("a", 1), put("b", 1), edit(Kind::Counter, "c", Action::Add(3))];
    assert_eq!(node.handle(NOW, Input::Edit { token: 1, edits }), []);
    assert_eq!((keys(&node), node.unsynced.len(), node.last()), (2, 1, Position::from_number(1)));

    // Those that don't fit into one entry too.
    let edits = (0..9).map(|key| put(&key.to_string(), 300_000)).collect();
    assert_eq!(node.handle(NOW, Input::Edit { token: 2, edits }), []);
    assert_eq!((keys(&node), node.unsynced.len()), (11, 2));
    assert_eq!(node.last(), Position::from_number(4), "three entries more");
    let outputs = node.sync(NOW);
    let written = |output: &&Output| matches!(output, Output::Written { .. });
    let written: Vec<Output> = outputs.iter().filter(written).cloned().collect();
    assert_eq!(written.len(), 2);
    assert_eq!(written[1], Output::Written { token: 2, id: node.own });
    assert_eq!(node.own.unwrap().number, 4, "the last of them");
}

#[test]
fn edits_that_change_nothing_write_nothing_and_wait_for_what_was_before() {
    let mut node = Node::new();
    let nothing = |token| {
        let edits = vec![edit(Kind::Set, "x", Action::Remove)];
        Input::Edit { token, edits }
    };
    let written = |token| Output::Written { token, id: None };
    assert_eq!(node.handle(NOW, nothing(1)), [written(1)]);
    node.write(NOW, 2);
    assert_eq!(node.handle(NOW, nothing(3)), []);
    assert_eq!((node.unsynced.len(), node.last()), (1, Position::from_number(1)));
    assert_eq!(node.sync(NOW).last(), Some(&written(3)));
}

#[test]
fn of_edits_that_overflow_a_counter_none_is_done_in_whichever_entry() {
    let mut node = Node::new();
    let add = |more| edit(Kind::Counter, "c", Action::Add(more));
    let large = |key: &str| put(key, 600_000);
    let overflow = Output::Refused { token: 1, why: WriteError::Overflow };
    for edits in [
        vec![add(i64::MAX), add(1)],
        vec![add(i64::MAX), large("a"), large("b"), add(1)],
        vec![large("a"), large("b"), add(i64::MIN), large("c"), add(-1)],
    ] {
        let outputs = node.handle(NOW, Input::Edit { token: 1, edits });
        assert_eq!(outputs, std::slice::from_ref(&overflow));
        assert!(node.unsynced.is_empty() && node.last() == Position::ZERO);
    }
    let edits = vec![
        add(i64::MAX),
        large("a"),
        large("b"),
        edit(Kind::Counter, "c", Action::Reset),
        add(1),
    ];
    assert_eq!(node.handle(NOW, Input::Edit { token: 1, edits }), []);
    node.sync(NOW);
}

#[test]
fn what_is_removed_is_cited() {
    let mut node = Node::new();
    node.meet(NOW, 1);
    let theirs = entry(1, None, 1);
    node.say(NOW, 1, &offer(1, &theirs));
    node.sync(NOW);
    let edits = vec![Edit::new(Collection::new(Kind::Map, "all"), *b"k", Action::Remove).unwrap()];
    node.handle(NOW, Input::Edit { token: 1, edits });
    assert_eq!(keys(&node), 0);
    let Ok(header) = node.replica.book().header(&node.own.unwrap());
    assert_eq!(header.unwrap().frontier(), [theirs.header().id()]);
}

/// Replicas whose disks are synced at once and whose streams lose nothing.
struct Net {
    nodes: Vec<(u8, Node)>,
    /// Sender, receiver and bytes.
    on_their_way: VecDeque<(u8, PublicKey, Vec<u8>)>,
    messages: usize,
}

impl Net {
    fn new(seeds: &[u8]) -> Self {
        let open = |seed: &u8| (*seed, Node::open(*seed, Config::default(), Memory::new(), None));
        let nodes = seeds.iter().map(open).collect();
        Self { nodes, on_their_way: VecDeque::new(), messages: 0 }
    }

    fn handle(&mut self, now: Time, at: usize, input: Input) {
        let (seed, node) = &mut self.nodes[at];
        let mut outputs = node.handle(now, input);
        outputs.extend(node.sync(now));
        for output in outputs {
            match output {
                Output::Send { to, message } => {
                    self.on_their_way.push_back((*seed, to, message.encode()));
                }
                Output::Close { .. } | Output::Outrun { .. } | Output::Forked { .. } => {
                    panic!("{output:?} at {seed}")
                }
                _ => {}
            }
        }
    }

    /// Delivers all messages.
    fn settle(&mut self, now: Time) {
        while let Some((from, to, bytes)) = self.on_their_way.pop_front() {
            self.messages += 1;
            let at = self.nodes.iter().position(|(seed, _)| peer(*seed) == to).unwrap();
            self.handle(now, at, Input::Message { from: peer(from), bytes });
        }
    }

    fn write(&mut self, now: Time, at: usize, key: &str) {
        let edits = vec![put(key, 5)];
        self.handle(now, at, Input::Edit { token: 1, edits });
    }

    fn connect(&mut self, now: Time, at: usize, with: usize, opens: bool) {
        let peer = peer(self.nodes[with].0);
        self.handle(now, at, Input::Connected { peer, opens });
    }

    fn agree(&mut self) {
        let digests: BTreeSet<Hash> =
            self.nodes.iter_mut().map(|(_, node)| node.replica.digest()).collect();
        assert_eq!(digests.len(), 1);
        let states = self.nodes.iter().map(|(_, node)| {
            let book = node.replica.book();
            let Ok(hash) = map::state_hash(book.rows(), book.catalog());
            hash
        });
        assert_eq!(states.collect::<BTreeSet<_>>().len(), 1);
    }
}

#[test]
fn who_met_exchange_what_they_lack_and_then_push() {
    let mut net = Net::new(&[1, 2]);
    (0..3).for_each(|n| net.write(NOW, 0, &n.to_string()));
    net.write(NOW, 1, "x");
    net.connect(NOW, 1, 0, false);
    net.connect(NOW, 0, 1, true);
    net.settle(NOW);
    net.agree();
    assert_eq!(keys(&net.nodes[0].1), 4);
    let before = net.messages;
    net.write(NOW, 0, "y");
    net.settle(NOW);
    net.agree();
    assert_eq!(net.messages - before, 2, "the entry and its acknowledgement");
}

#[test]
fn both_may_ask_at_once() {
    let mut net = Net::new(&[1, 2]);
    net.write(NOW, 0, "a");
    net.write(NOW, 1, "b");
    // Both hellos are on their way before either arrives.
    net.connect(NOW, 0, 1, true);
    net.connect(NOW, 1, 0, true);
    net.settle(NOW);
    net.agree();
    assert_eq!(keys(&net.nodes[0].1), 2);
    net.write(NOW, 0, "c");
    net.write(NOW, 1, "d");
    net.settle(NOW);
    net.agree();
}

#[test]
fn news_travel_over_who_is_in_between_in_a_second_or_two() {
    let mut net = Net::new(&[1, 2, 3]);
    for (at, with) in [(0, 1), (1, 2)] {
        net.connect(NOW, with, at, false);
        net.connect(NOW, at, with, true);
    }
    net.settle(NOW);
    net.write(NOW, 0, "a");
    net.settle(NOW);
    assert_eq!((keys(&net.nodes[1].1), keys(&net.nodes[2].1)), (1, 0));
    let due = net.nodes[1].1.replica.poll_timeout().unwrap();
    assert!((NOW + seconds(1)..=NOW + seconds(2)).contains(&due), "{due:?}");
    for _ in 0..2 {
        let due = net.nodes[1].1.replica.poll_timeout().unwrap();
        net.handle(due, 1, Input::Timeout);
        net.settle(due);
    }
    net.agree();
}
