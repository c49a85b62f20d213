//! Random batches, random faults, several lives: what is found after each must be what some prefix
//! of the batches made, and no shorter one than was acknowledged.

use std::{collections::BTreeMap, env, fs, path::Path};

use aether_store::{Batch, Durability, Faults, Keyspace, Log, Options, Store, Ticket};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

type State = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

/// What may be found: the states after each batch, and how many batches must be in it.
struct Model {
    states: Vec<State>,
    least: usize,
}

struct Life<'a> {
    store: Store,
    faults: Faults,
    keyspaces: [Keyspace; 2],
    log: Log,
    rng: &'a mut ChaCha8Rng,
}

#[test]
fn acknowledged_survives_and_nothing_is_found_in_part() {
    let seed = env::var("AETHER_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = env::var("AETHER_SEEDS").map_or(40, |seeds| seeds.parse().unwrap());
    let mut seen = [0; 4];
    for seed in seed.map_or(0..seeds, |seed| seed..seed + 1) {
        println!("replay: AETHER_SEED={seed} cargo test -p aether-store --test it crash::");
        let folder = tempfile::tempdir().unwrap();
        live(folder.path(), &mut ChaCha8Rng::seed_from_u64(seed), &mut seen);
    }
    // Each way to end a life was taken.
    assert!(seed.is_some() || seeds < 40 || seen.iter().all(|count| *count > 0), "{seen:?}");
}

fn live(folder: &Path, rng: &mut ChaCha8Rng, seen: &mut [u32; 4]) {
    let mut model = Model { states: vec![State::new()], least: 0 };
    // A small buffer, which a keyspace keeps for ever, makes the engine write tables. It may write
    // what isn't acknowledged yet, which a crash on order can't undo, so then all commits are
    // synced and none fails.
    let small = rng.random_bool(0.3);
    for _ in 0..4 {
        let faults = Faults::new();
        let options = Options {
            write_buffer: if small { 2 << 10 } else { 8 << 20 },
            faults: Some(faults.clone()),
            ..Options::default()
        };
        let store = Store::open(folder, options).unwrap();
        let keyspaces = ["a", "b"].map(|name| store.keyspace(name).unwrap());
        let opened = store.log("log").unwrap();
        model.found(&keyspaces, &opened.records);
        let life = Life { store, faults, keyspaces, log: opened.log, rng };
        let end =
            if small { [0, 3][life.rng.random_range(0..2)] } else { life.rng.random_range(0..4) };
        seen[end] += 1;
        life.write(&mut model, small, end);
    }
    let store = Store::open(folder, Options::default()).unwrap();
    let keyspaces = ["a", "b"].map(|name| store.keyspace(name).unwrap());
    model.found(&keyspaces, &store.log("log").unwrap().records);
    assert!(fs::read_dir(folder).unwrap().count() == 4);
}

impl Model {
    /// Checks what a life begins with, which is then all that there is.
    fn found(&mut self, keyspaces: &[Keyspace; 2], records: &[Vec<u8>]) {
        let mut state = State::new();
        for (index, keyspace) in keyspaces.iter().enumerate() {
            for item in keyspace.range::<&[u8]>(..) {
                let (key, value) = item.unwrap();
                state.insert((index, key.to_vec()), value.to_vec());
            }
        }
        let prefix = self.states.iter().rposition(|known| *known == state);
        let prefix = prefix.expect("what is found is what a prefix of the batches made");
        assert!(prefix >= self.least, "{prefix} batches are found of {} acknowledged", self.least);
        // Each batch puts its number under one key and appends it to the log.
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
        let last = records.last().map_or(0, |record| number(record));
        for (record, expected) in records.iter().rev().zip((0..=last).rev()) {
            assert_eq!(number(record), expected, "a record is missing or twice in the log");
        }
        let first = self.states.first().and_then(|state| state.get(&(0, b"number".to_vec())));
        let first = first.map_or(0, |bytes| number(bytes));
        assert!(last >= first + self.least as u64, "the log lost what was acknowledged");
        self.states = vec![state];
        self.least = 0;
    }
}

impl Life<'_> {
    fn write(mut self, model: &mut Model, small: bool, end: usize) {
        let number = model.states[0].get(&(0, b"number".to_vec()));
        let number =
            number.map_or(0, |bytes| u64::from_be_bytes(bytes.as_slice().try_into().unwrap()));
        let mut batch = Batch::new();
        // The log may be ahead by what was never acknowledged.
        batch.rewrite(&self.log, vec![number.to_be_bytes().to_vec()]);
        self.store.commit(batch, Durability::Buffered).wait().unwrap();
        let count = self.rng.random_range(1..40);
        let mut tickets: Vec<(usize, Durability, Ticket)> = Vec::new();
        for n in 1..=count {
            let synced = small || self.rng.random_bool(0.5);
            let durability = if synced { Durability::Synced } else { Durability::Buffered };
            let (batch, state) = self.batch(model.states.last().unwrap(), number + n as u64);
            model.states.push(state);
            if n == count {
                self.order(end);
            }
            tickets.push((n, durability, self.store.commit(batch, durability)));
            if self.rng.random_bool(0.3) {
                self.acknowledged(&mut tickets, model);
            }
        }
        self.acknowledged(&mut tickets, model);
        if end == 0 {
            model.least = count;
        }
        if end == 3 {
            let keep = self.keep();
            self.faults.crash(keep);
        }
    }

    /// A batch that puts its number and random keys, and the state that it makes.
    fn batch(&mut self, state: &State, number: u64) -> (Batch, State) {
        let (mut batch, mut state) = (Batch::new(), state.clone());
        batch.append(&self.log, &number.to_be_bytes());
        let keyspace = &self.keyspaces[0];
        batch.put(keyspace, b"number", &number.to_be_bytes());
        state.insert((0, b"number".to_vec()), number.to_be_bytes().to_vec());
        for _ in 0..self.rng.random_range(0..6) {
            let index = self.rng.random_range(0..2);
            let key = vec![self.rng.random_range(0..20)];
            if self.rng.random_bool(0.7) {
                let value = vec![self.rng.random(); self.rng.random_range(0..300)];
                batch.put(&self.keyspaces[index], &key[..], &value);
                state.insert((index, key), value);
            } else {
                batch.remove(&self.keyspaces[index], &key[..]);
                state.remove(&(index, key));
            }
        }
        (batch, state)
    }

    /// Orders how the life ends: 0 in order, 1 by a failed sync, 2 by a torn write, 3 by a crash.
    fn order(&mut self, end: usize) {
        let keep = self.keep();
        match end {
            1 => self.faults.fail_next_sync(),
            2 => self.faults.tear_next_write(keep),
            _ => {}
        }
    }

    fn keep(&mut self) -> u64 {
        [0, self.rng.random_range(0..2000), u64::MAX][self.rng.random_range(0..3)]
    }

    fn acknowledged(&mut self, tickets: &mut Vec<(usize, Durability, Ticket)>, model: &mut Model) {
        for (n, durability, ticket) in tickets.drain(..) {
            if ticket.wait().is_ok() && durability == Durability::Synced {
                model.least = n;
            }
        }
    }
}
