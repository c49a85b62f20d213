//! What edits mean, said of edits and of who saw which: no dots, no totals, no entries.

use proptest::prelude::*;

use super::*;

/// An edit that was made, and the earlier ones that its author had seen.
#[derive(Clone, Debug)]
struct Event {
    feed: FeedId,
    edit: Edit,
    seen: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum Step {
    /// A replica makes edits, of collection, key and action, in entries of some limits.
    Edit(usize, Vec<(usize, usize, u8, i8)>, Limits),
    /// One gets all that the other has, in some order.
    Merge(usize, usize, Vec<u16>),
    /// One goes on in a new incarnation.
    Begin(usize),
}

const KEYS: [&[u8]; 2] = [b"k", b"\0"];

fn step() -> impl Strategy<Value = Step> {
    let edits = prop::collection::vec((0..4usize, 0..2usize, 0..4u8, any::<i8>()), 1..6);
    let limits = (240..500usize, 1..5usize, 1..6usize, 1..4usize)
        .prop_map(|(bytes, groups, ops, named)| Limits { bytes, groups, ops, named });
    let seed = prop::collection::vec(any::<u16>(), 1..9);
    prop_oneof![
        6 => (0..4usize, edits, limits).prop_map(|(who, all, limits)| Step::Edit(who, all, limits)),
        4 => (0..4usize, 0..4usize, seed).prop_map(|(to, from, seed)| Step::Merge(to, from, seed)),
        1 => (0..4usize).prop_map(Step::Begin),
    ]
}

/// One replica, its own feed, and which edits it has seen.
#[derive(Debug)]
struct Node {
    replica: Replica,
    feed: FeedId,
    seen: BTreeSet<usize>,
}

impl Node {
    fn make(&mut self, edits: &[Edit], limits: &Limits) {
        let mut rest = edits;
        for _ in 0..100 {
            let Replica { rows, known } = &self.replica;
            let found = draft_within(limits, rest, &self.feed, rows, known).unwrap();
            assert!(found.named.len() <= limits.named && found.ops.len() <= limits.ops);
            assert!(found.taken > 0 || !found.ops.is_empty(), "it comes to an end");
            fits(&found);
            rest = &rest[found.taken..];
            if !found.ops.is_empty() {
                self.commit(&found);
            }
            if rest.is_empty() {
                return;
            }
        }
        panic!("it comes to an end");
    }

    fn commit(&mut self, found: &Drafted) {
        let order = &self.replica.known.order;
        let last = order.iter().rfind(|said| said.id.feed == self.feed);
        let parent = last.map(|said| said.id);
        let next = id(self.feed, parent.map_or(1, |parent| parent.number + 1), 0);
        let ops = found.ops.clone();
        let time = at(order.len() as u64);
        self.replica.apply(&Said { id: next, parent, time, ops });
    }

    fn merge(&mut self, from: &[Said], seen: &BTreeSet<usize>, seed: &[u16]) {
        let new = from.iter().filter(|said| !self.replica.known.order.contains(said));
        let new: Vec<Said> = new.cloned().collect();
        for said in histories::shuffled(&new, seed) {
            self.replica.apply(&said);
        }
        self.seen.extend(seen);
    }

    fn begin(&mut self) {
        self.feed.incarnation += 1;
    }
}

fn action(kind: Kind, action: u8, value: i8, unique: usize) -> Action {
    match (kind, action) {
        (Kind::Counter, 0) => Action::Reset,
        (Kind::Counter, _) => Action::Add(value.into()),
        (_, 0) => Action::Remove,
        (Kind::Set, _) => Action::Put(vec![]),
        _ => Action::Put(unique.to_be_bytes().to_vec()),
    }
}

/// The edits that were seen, of one key and of some kind.
fn of<'a>(
    events: &'a [Event],
    seen: &'a BTreeSet<usize>,
    like: &'a Edit,
) -> impl Iterator<Item = (usize, &'a Event)> + Clone {
    let same = |edit: &Edit| (edit.collection(), edit.key()) == (like.collection(), like.key());
    seen.iter().map(|at| (*at, &events[*at])).filter(move |(_, event)| same(&event.edit))
}

/// Values whose edit no later edit of the key had seen.
fn values(events: &[Event], seen: &BTreeSet<usize>, like: &Edit) -> Vec<Vec<u8>> {
    let all = of(events, seen, like);
    let stands = |(at, _): &(usize, &Event)| !all.clone().any(|(_, later)| later.seen.contains(at));
    let put = |(_, event): (usize, &Event)| match event.edit.action() {
        Action::Put(value) => Some(value.clone()),
        _ => None,
    };
    all.clone().filter(stands).filter_map(put).collect()
}

/// The sum of what each feed has added since a reset saw its last addition.
fn counted(events: &[Event], seen: &BTreeSet<usize>, like: &Edit) -> i128 {
    let feeds: BTreeSet<FeedId> = of(events, seen, like).map(|(_, event)| event.feed).collect();
    feeds.iter().map(|feed| added(events, seen, like, feed)).sum()
}

fn added(events: &[Event], seen: &BTreeSet<usize>, like: &Edit, feed: &FeedId) -> i128 {
    let mut all = of(events, seen, like);
    let more = |event: &Event| match event.edit.action() {
        Action::Add(more) if event.feed == *feed => Some(i128::from(*more)),
        _ => None,
    };
    let last = all.clone().filter_map(|(at, event)| Some((at, more(event)?))).last();
    let Some((at, more)) = last else { return 0 };
    let reset = |event: &Event| *event.edit.action() == Action::Reset && event.seen.contains(&at);
    if all.any(|(_, event)| reset(event)) {
        return 0;
    }
    more + added(events, &events[at].seen, like, feed)
}

fn check(node: &Node, events: &[Event]) -> Result<(), TestCaseError> {
    for collection in collections() {
        for key in KEYS.into_iter().chain([&b""[..]]) {
            let Replica { rows, .. } = &node.replica;
            if collection.kind() == Kind::Counter {
                let like = edit(collection, key, Action::Reset);
                let value = counter::value(&collection, key, rows).unwrap();
                prop_assert_eq!(value, counted(events, &node.seen, &like));
                continue;
            }
            let Ok(like) = Edit::new(collection, key, Action::Remove) else { continue };
            let mut found = node.replica.values(&collection, key);
            let mut expected = values(events, &node.seen, &like);
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected, "{:?} {:?}", collection, key);
        }
    }
    prop_assert_eq!(node.replica.absent(), 0);
    Ok(())
}

proptest! {
    #[test]
    fn edits_made_anywhere_and_merged_in_any_order_are_what_their_authors_saw_and_meant(
        steps in prop::collection::vec(step(), 1..24),
        seed in prop::collection::vec(any::<u16>(), 9),
    ) {
        let mut events: Vec<Event> = Vec::new();
        let mut nodes: Vec<Node> = (1..5)
            .map(|author| Node {
                replica: Replica::new(u32::from(author) * 99, &[]),
                feed: feed(author, 1),
                seen: BTreeSet::new(),
            })
            .collect();
        for step in steps {
            match step {
                Step::Edit(who, wanted, limits) => {
                    let node = &mut nodes[who];
                    let first = events.len();
                    for (collection, key, act, value) in wanted {
                        let collection = collections()[collection];
                        let register = collection.kind() == Kind::Register;
                        let key = if register { b"" } else { KEYS[key] };
                        let action = action(collection.kind(), act, value, events.len());
                        let edit = edit(collection, key, action);
                        let seen = node.seen.clone();
                        node.seen.insert(events.len());
                        events.push(Event { feed: node.feed, edit, seen });
                    }
                    let edits: Vec<Edit> =
                        events[first..].iter().map(|event| event.edit.clone()).collect();
                    node.make(&edits, &limits);
                    check(node, &events)?;
                }
                Step::Merge(to, from, seed) => {
                    let Node { replica, seen, .. } = &nodes[from];
                    let (all, seen) = (replica.known.order.clone(), seen.clone());
                    nodes[to].merge(&all, &seen, &seed);
                    check(&nodes[to], &events)?;
                }
                Step::Begin(who) => nodes[who].begin(),
            }
        }
        // All meet in the end.
        for at in 0..6 {
            let (from, to) = (at % 4, (at + 1) % 4);
            let Node { replica, seen, .. } = &nodes[from];
            let (all, seen) = (replica.known.order.clone(), seen.clone());
            nodes[to].merge(&all, &seen, &seed);
        }
        for node in &nodes {
            check(node, &events)?;
            prop_assert_eq!(node.replica.hash(), nodes[0].replica.hash());
        }
    }
}
