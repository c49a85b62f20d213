//! The judge against the specification, and against itself, in random worlds.

use super::*;

/// What happened at least once, in all worlds together.
#[derive(Debug, Default)]
struct Seen {
    kept_more_than_counts: usize,
    dropped: usize,
    pinned: usize,
    pending: usize,
    admitted_again: usize,
    banned: usize,
    third_round: usize,
}

impl Seen {
    fn note(&mut self, replica: &Replica) {
        let spec = Spec::new(&replica.access.genesis, replica.seen());
        for signed in replica.seen() {
            let standing = replica.access.standing(signed.feed(), signed.authority);
            let counted = replica.counted(signed);
            self.kept_more_than_counts += usize::from(counted != replica.kept(signed.feed()));
            self.pinned += usize::from(spec.standing_removals(signed.feed()) > 1);
            match standing {
                Standing::Void(Void::Removed { .. }) if signed.authority == Authority::Genesis => {
                    self.banned += 1;
                }
                Standing::Void(Void::Removed { .. }) => self.dropped += 1,
                _ => {}
            }
        }
        for key in MEMBERS.map(public) {
            self.pending += replica.access.pending(&key).len();
            let removed = replica.access.removals(key, Role::Writer).next().is_some();
            self.admitted_again +=
                usize::from(removed && replica.access.role_of(&key) >= Some(Role::Writer));
        }
        self.third_round += usize::from(replica.rounds >= 3);
    }

    fn all_happened(&self) {
        let all = [self.kept_more_than_counts, self.dropped, self.pinned, self.pending];
        let more = [self.admitted_again, self.banned, self.third_round];
        assert!(all.iter().chain(&more).all(|count| *count > 0), "{self:?}");
    }
}

#[test]
fn after_every_entry_the_judge_is_the_specification_in_whatever_order_they_come() {
    let mut happened = Seen::default();
    for_seeds(250, |rng| {
        let world = World::new(rng, 30);
        let mut ends = Vec::new();
        for _ in 0..2 {
            let mut order = world.signed.clone();
            order.shuffle(rng);
            let mut replica = Replica::new(&world.scene.genesis);
            for signed in &order {
                replica.see(signed);
                replica.check();
            }
            happened.note(&replica);
            ends.push(replica);
        }
        let mut at_once = Replica::new(&world.scene.genesis);
        at_once.see_all(&world.signed);
        at_once.check();
        happened.note(&at_once);
        ends.push(at_once);
        for replica in &ends {
            assert!(replica.rounds <= 5, "authority flows down: {} rounds", replica.rounds);
            for signed in &world.signed {
                let [one, first] = [replica, &ends[0]]
                    .map(|end| end.access.standing(signed.feed(), signed.authority));
                assert_eq!(one, first);
            }
        }
    });
    happened.all_happened();
}

/// What a judge was told.
#[derive(Clone, Debug, Default)]
struct Told {
    ops: BTreeMap<EntryId, Signed>,
    held: BTreeMap<EntryId, Vec<Tip>>,
}

/// All that a judge answers.
#[derive(Debug, PartialEq)]
struct Answers {
    feeds: BTreeMap<(FeedId, Authority), (Standing, Result<Role, Void>)>,
    members: BTreeMap<PublicKey, (Option<Role>, Vec<Pending>)>,
}

impl Answers {
    fn of(access: &Access, world: &World) -> Self {
        let mut feeds = BTreeMap::new();
        for signed in &world.signed {
            let (feed, authority) = (signed.feed(), signed.authority);
            let answer = (access.standing(feed, authority), access.rank(feed, authority));
            feeds.insert((feed, authority), answer);
        }
        let members = MEMBERS.map(public);
        let members = members.map(|key| (key, (access.role_of(&key), access.pending(&key))));
        Self { feeds, members: members.collect() }
    }

    /// What isn't about these members.
    fn but(mut self, affected: &BTreeSet<PublicKey>) -> Self {
        self.feeds.retain(|(feed, _), _| !affected.contains(&feed.author));
        self.members.retain(|key, _| !affected.contains(key));
        self
    }
}

/// The operations on the way to an entry.
fn ops_to(tip: &Signed, world: &World) -> Vec<Tip> {
    let of_feed = world.signed.iter().filter(|signed| signed.feed() == tip.feed());
    let tree: BTreeMap<Tip, Signed> =
        of_feed.map(|signed| (signed.tip(), signed.clone())).collect();
    let way = spec::way(&tree, tip.tip()).unwrap();
    way.into_iter().filter(|tip| tree[tip].header.access().is_some()).collect()
}

/// Tells the judge one thing, and notes it.
fn tell(
    rng: &mut ChaCha12Rng,
    world: &World,
    access: &mut Access,
    told: &mut Told,
) -> BTreeSet<PublicKey> {
    let signed = &world.signed[rng.random_range(0..world.signed.len())];
    let id = signed.id();
    match rng.random_range(0..10) {
        0..5 if signed.header.access().is_some() => {
            told.ops.insert(id, signed.clone());
            access.insert(&signed.header, signed.authority).unwrap()
        }
        5 => {
            told.ops.remove(&id);
            access.remove(&id)
        }
        6 => {
            told.held.remove(&id);
            access.release(&id)
        }
        _ => {
            told.held.insert(id, ops_to(signed, world));
            access.hold(&id, ops_to(signed, world))
        }
    }
}

#[test]
fn the_judge_is_a_function_of_what_it_was_told_and_tells_whom_it_affects() {
    for_seeds(150, |rng| {
        let world = World::new(rng, 40);
        let (mut access, mut told) = (world.scene.access(), Told::default());
        let mut answers = Answers::of(&access, &world);
        for _ in 0..80 {
            let affected = tell(rng, &world, &mut access, &mut told);
            let now = Answers::of(&access, &world);
            assert_eq!(answers.but(&affected), Answers::of(&access, &world).but(&affected));
            answers = now;

            let mut again = world.scene.access();
            let mut ops: Vec<&Signed> = told.ops.values().collect();
            ops.shuffle(rng);
            let half = ops.len() / 2;
            ops[..half].iter().for_each(|op| drop(again.insert(&op.header, op.authority)));
            told.held.iter().for_each(|(pin, ops)| drop(again.hold(pin, ops.iter().copied())));
            ops[half..].iter().for_each(|op| drop(again.insert(&op.header, op.authority)));
            assert_eq!(answers, Answers::of(&again, &world));
            assert_eq!(access.len(), told.ops.len());
        }
        for id in told.ops.keys() {
            access.remove(id);
        }
        told.held.keys().for_each(|pin| drop(access.release(pin)));
        let empty = access.is_empty() && access.names == 0 && access.about.is_empty();
        assert!(empty && access.held.is_empty() && access.counted.is_empty(), "nothing stays");
    });
}

#[test]
fn what_a_release_leaves_of_held_chains_is_what_their_pins_reach() {
    for_seeds(100, |rng| {
        let world = World::new(rng, 40);
        let mut held = Held::default();
        let first = world.signed[0].feed();
        let of_feed: Vec<_> = world.signed.iter().filter(|of| of.feed() == first).collect();
        let mut pins = BTreeSet::new();
        for _ in 0..20 {
            let signed = of_feed[rng.random_range(0..of_feed.len())];
            if rng.random() {
                held.insert(signed.tip(), ops_to(signed, &world));
                pins.insert(signed.tip());
            } else {
                assert_eq!(held.remove(signed.tip()), pins.remove(&signed.tip()));
            }
            let mut fresh = Held::default();
            for signed in of_feed.iter().filter(|of| pins.contains(&of.tip())) {
                fresh.insert(signed.tip(), ops_to(signed, &world));
            }
            assert_eq!(format!("{held:?}"), format!("{fresh:?}"));
        }
    });
}
