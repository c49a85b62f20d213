//! Worlds: what owners, admins, writers and strangers sign, honest and not.

use rand::seq::IndexedRandom as _;

use super::*;

/// All that was signed in a space, parents before children.
#[derive(Debug)]
pub(super) struct World {
    pub(super) scene: Scene,
    pub(super) signed: Vec<Signed>,
}

impl World {
    /// A space in which up to `size` more entries follow the first grants.
    pub(super) fn new(rng: &mut ChaCha12Rng, size: usize) -> Self {
        let mode = match rng.random_range(0..10) {
            0 => Mode::Readable,
            1 | 2 => Mode::Open,
            _ => Mode::Granted,
        };
        let mut scene = Scene::new(mode);
        let mut signed = scene.grants(&[(3, Role::Admin), (4, Role::Admin), (6, Role::Writer)]);
        let authority = granted(&signed[0]);
        signed.push(scene.begin(3, 1, authority, to(7, Role::Writer, &[])));
        let mut world = Self { scene, signed };
        for _ in 0..rng.random_range(0..=size) {
            let next = world.next(rng);
            world.signed.push(next);
        }
        world
    }

    fn next(&mut self, rng: &mut ChaCha12Rng) -> Signed {
        if rng.random_bool(0.25) {
            let seed = rng.random_range(1..=*MEMBERS.end());
            let authority = self.authority(rng, seed);
            let fresh = feed(seed, rng.random_range(1..=3));
            if !self.signed.iter().any(|signed| signed.feed() == fresh) {
                let change = self.change(rng, seed, authority);
                return self.scene.begin(seed, fresh.incarnation, authority, change);
            }
        }
        let any = self.signed.choose(rng).unwrap().clone();
        let mut of_feed = self.signed.iter().filter(|signed| signed.feed() == any.feed());
        let parent = match rng.random_bool(0.8) {
            true => of_feed.next_back().unwrap().clone(),
            false => any,
        };
        if let Some(AccessOp::Remove { member, more: true, .. }) = parent.header.access()
            && rng.random_bool(0.7)
        {
            let change = self.removal(rng, *member);
            return self.scene.after(&parent, change);
        }
        // A second first entry: the feed forks at number 1.
        if parent.header.number() == 1 && rng.random_bool(0.1) {
            let change = self.change(rng, parent.seed, parent.authority);
            let incarnation = parent.feed().incarnation;
            return self.scene.begin(parent.seed, incarnation, parent.authority, change);
        }
        let change = self.change(rng, parent.seed, parent.authority);
        self.scene.after(&parent, change)
    }

    fn authority(&self, rng: &mut ChaCha12Rng, seed: u8) -> Authority {
        let member = public(seed);
        let own = |signed: &&Signed| {
            let change = signed.header.access();
            matches!(change, Some(AccessOp::Grant { member: to, .. }) if *to == member)
        };
        let grants: Vec<&Signed> = self.signed.iter().filter(own).collect();
        match rng.random_range(0..10) {
            0 => Authority::Genesis,
            1 => granted(self.signed.choose(rng).unwrap()),
            _ if OWNERS.contains(&seed) => Authority::Genesis,
            _ => grants.last().map_or(Authority::Genesis, |grant| granted(grant)),
        }
    }

    /// What an author may come to say of access, allowed or not.
    fn change(&self, rng: &mut ChaCha12Rng, seed: u8, authority: Authority) -> Option<AccessOp> {
        let owners = authority == Authority::Genesis && OWNERS.contains(&seed);
        let often = if owners || [3, 4, 5].contains(&seed) { 0.8 } else { 0.1 };
        if !rng.random_bool(often) {
            return None;
        }
        let member = public(rng.random_range(MEMBERS));
        Some(match rng.random_range(0..20) {
            0 if owners => discard(self.signed.choose(rng).unwrap().id()),
            0..10 => self.removal(rng, member),
            _ => {
                let role = [Role::Reader, Role::Writer, Role::Writer, Role::Admin];
                // An admin rarely tries what it may not.
                let role = *role[..if owners || rng.random_bool(0.1) { 4 } else { 3 }]
                    .choose(rng)
                    .unwrap();
                AccessOp::Grant { member, role, over: self.over(rng, member) }
            }
        })
    }

    fn over(&self, rng: &mut ChaCha12Rng, member: PublicKey) -> Vec<Hash> {
        let knows = rng.random_bool(0.6);
        let removals = self.signed.iter().filter(|signed| {
            let change = signed.header.access();
            matches!(change, Some(AccessOp::Remove { member: of, .. }) if *of == member)
        });
        let mut over: Vec<Hash> = removals.map(|signed| signed.header.hash()).collect();
        over.retain(|_| knows && rng.random_bool(0.9));
        over.truncate(16);
        over.sort();
        over
    }

    fn removal(&self, rng: &mut ChaCha12Rng, member: PublicKey) -> AccessOp {
        let of = self.signed.iter().filter(|signed| signed.feed().author == member);
        let mut pins: Vec<FeedPin> = of.map(Signed::pin).collect();
        let share = rng.random_range(0.0..1.0);
        pins.retain(|_| rng.random_bool(share));
        pins.shuffle(rng);
        pins.truncate(4);
        if rng.random_bool(0.1) {
            // It names nothing.
            let hash = Hash::from_bytes(rng.random());
            pins.push(FeedPin { incarnation: rng.random_range(1..=3), number: 1, hash });
        }
        pins.sort();
        AccessOp::Remove { member, pins, more: rng.random_bool(0.15) }
    }
}
