//! Damage to any file: it is found, and what it left is saved.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use aether_store::{Batch, Durability, OpenError, Options, Store, Wreck};

/// Where the tables of the keyspace are, which is made first.
const TABLES: &str = "engine/keyspaces/1/tables";
const ROUNDS: u32 = 12;
const ROUNDS_OF_LIFE: usize = 40;

/// All values that a key had, the last of them last.
type Rows = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// Writes until there are tables, and something in the journal; rewrites some of it.
fn fill(store: &Store) -> Rows {
    let (keyspace, log) = (store.keyspace("k").unwrap(), store.log("log").unwrap().log);
    let mut rows = Rows::new();
    for round in 0.. {
        if round >= ROUNDS && files(&store.path().join(TABLES)).len() > 1 {
            break;
        }
        let mut batch = Batch::new();
        for at in (0..1500_u32).filter(|at| round == 0 || at % 7 == round % 7) {
            let key = [&b"rows/"[..], &at.to_be_bytes(), b"/tail"].concat();
            let value: Vec<u8> =
                (0..40).flat_map(|i| (at * 31 + round * 7 + i).to_be_bytes()).collect();
            batch.put(&keyspace, &key[..], &value);
            rows.entry(key).or_default().push(value);
        }
        batch.append(&log, &round.to_be_bytes());
        store.commit(batch, Durability::Synced).wait().unwrap();
    }
    rows
}

fn options() -> Options {
    Options { write_buffer: 64 << 10, ..Options::default() }
}

/// A folder that was filled and closed, and what is in it.
fn filled(folder: &Path) -> Rows {
    let store = Store::open(folder, options()).unwrap();
    let rows = fill(&store);
    drop(store);
    // Journals end with many zeros, which to copy takes long.
    for journal in files(&folder.join("engine")).iter().filter(|file| file.ends_with("0.jnl")) {
        let end = fs::read(journal).unwrap().iter().rposition(|byte| *byte > 0).unwrap() + 1;
        fs::File::options().write(true).open(journal).unwrap().set_len(end as u64).unwrap();
    }
    rows
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let new = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(new.parent().unwrap()).unwrap();
        fs::copy(file, new).unwrap();
    }
}

/// What a store reads: whether it is all right, or a read failed. What is missing or other without
/// a word is none of both.
fn is_all_there(store: &Store, rows: &Rows) -> Result<bool, String> {
    let read = store.keyspace("k").unwrap().range::<&[u8]>(..).collect::<Result<Vec<_>, _>>();
    let Ok(read) = read else { return Ok(false) };
    let read = read.iter().map(|(key, value)| (&key[..], &value[..]));
    let last = rows.iter().map(|(key, values)| (&key[..], &values.last().unwrap()[..]));
    if read.clone().eq(last) { Ok(true) } else { Err(format!("{} of {}", read.len(), rows.len())) }
}

/// Salvages a folder: how many rows were saved, all of which were written so, once.
fn salvage(damaged: &Path, rows: &Rows, about: &str) -> usize {
    let all = || files(damaged).into_iter().map(|file| (fs::read(&file).unwrap(), file));
    let before: Vec<_> = all().collect();
    let wreck = Wreck::open(damaged, &options()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), options()).unwrap();
    let copied = wreck.copy(&store, &[]).unwrap();
    let found: Vec<_> =
        store.keyspace("k").unwrap().range::<&[u8]>(..).map(Result::unwrap).collect();
    for (key, value) in &found {
        let is_own = rows.get(&key[..]).is_some_and(|all| all.iter().any(|own| *own == **value));
        assert!(is_own, "{about}: {}", key.escape_ascii());
    }
    let lost = copied.iter().map(|copied| copied.lost).sum::<u64>();
    let is_cut = wreck.store().is_none_or(|store| store.trimmed() > 0);
    let is_named = lost > 0 || wreck.journals() > 0 || is_cut;
    assert!(found.len() == rows.len() || is_named, "{about}: {} of {}", found.len(), rows.len());
    let log = copied.iter().find(|copied| copied.name == "log").unwrap();
    assert_eq!(store.log("log").unwrap().records.len() as u64, log.copied);
    drop((wreck, store));
    assert!(all().eq(before), "{about}: nothing of it is changed");
    let mut beside = damaged.as_os_str().to_owned();
    beside.push(".salvage");
    assert!(!Path::new(&beside).exists());
    found.len()
}

/// Opens a folder as a program does: whether the damage is found.
fn is_found(damaged: &Path, rows: &Rows, about: &str) -> bool {
    match Store::open(damaged, options()) {
        Err(OpenError::Damaged { .. }) => true,
        Err(error) => panic!("{about}: {error}"),
        Ok(store) => match is_all_there(&store, rows) {
            Ok(is_whole) => !is_whole || store.log("log").is_err(),
            Err(missing) => panic!("{about}: {missing} without a word"),
        },
    }
}

#[test]
fn a_flipped_bit_of_any_file_is_found_and_what_it_leaves_is_saved() {
    let (whole, trial) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rows = filled(whole.path());
    let mut tables = 0;
    for file in files(whole.path()) {
        let name = file.strip_prefix(whole.path()).unwrap().to_str().unwrap();
        let bytes = fs::read(&file).unwrap();
        let len = bytes.len();
        // A folder whose format can't be read is nobody's, and isn't touched.
        if name == "FORMAT" {
            continue;
        }
        for at in (0..len).step_by((len / 9).max(1)) {
            let about = format!("byte {at} of {name}");
            let damaged = trial.path().join("damaged");
            copy(whole.path(), &damaged);
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            fs::write(damaged.join(name), bytes).unwrap();
            assert!(is_found(&damaged, &rows, &about), "{about}");
            let saved = salvage(&damaged, &rows, &about);
            // With its first bytes a table can't be opened, nor the engine.
            if name.starts_with(TABLES) && at > 0 {
                assert!(saved > rows.len() * 9 / 10, "{about}: {saved} of {}", rows.len());
                tables += 1;
            }
            // All keys are in the first half of the journal.
            let is_late = name.ends_with(".jnl") && at > len / 2;
            if is_late || name.starts_with("logs/") || name == "CLOSED" {
                assert_eq!(saved, rows.len(), "{about}");
            }
            fs::remove_dir_all(&damaged).unwrap();
        }
    }
    assert!(tables > 5, "there are tables to damage");
}

#[test]
fn around_each_of_several_bad_blocks_there_is_a_way() {
    let (folder, trial) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rows = filled(folder.path());
    let tables = files(&folder.path().join(TABLES));
    for table in &tables {
        let mut bytes = fs::read(table).unwrap();
        let len = bytes.len();
        for part in 1..6 {
            bytes[len / 8 * part] ^= 1;
        }
        fs::write(table, bytes).unwrap();
    }
    copy(folder.path(), trial.path());
    let saved = salvage(trial.path(), &rows, "five blocks of each table");
    assert!(saved > rows.len() / 4, "{saved} of {}", rows.len());
}

#[test]
fn no_orderly_end_is_taken_for_damage() {
    let folder = tempfile::tempdir().unwrap();
    // What was written last is being written to tables, and those are merged, when each life ends.
    for round in 0..ROUNDS_OF_LIFE {
        let store = Store::open(folder.path(), options()).unwrap();
        let keyspace = store.keyspace(["a", "b", "c"][round % 3]).unwrap();
        for part in 0..8_u32 {
            let mut batch = Batch::new();
            for at in 0..100_u32 {
                let key = (at * 8 + part).wrapping_mul(2_654_435_761).to_be_bytes();
                batch.put(&keyspace, key, &[u8::try_from(round % 256).unwrap(); 400]);
            }
            drop(store.commit(batch, Durability::Buffered));
        }
    }
}

#[test]
fn a_folder_that_is_none_is_not_made_one() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none");
    let error = Wreck::open(&none, &options()).unwrap_err();
    assert!(matches!(error, OpenError::Missing { path } if path == none));
    assert!(!none.exists());
    fs::write(folder.path().join("letter"), "").unwrap();
    let error = Wreck::open(folder.path(), &options()).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }));
}

#[test]
fn a_copy_leaves_out_what_is_to_be_left() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rows = filled(old.path());
    let store = Store::open(new.path(), options()).unwrap();
    let wreck = Wreck::open(old.path(), &options()).unwrap();
    let copied = wreck.copy(&store, &["k"]).unwrap();
    assert_eq!(copied.iter().map(|copied| &copied.name[..]).collect::<Vec<_>>(), ["log"]);
    assert!(copied[0].copied >= u64::from(ROUNDS) && copied[0].lost == 0);
    assert_eq!(store.keyspaces(), Vec::<String>::new());
    let copied = wreck.copy(&store, &[]).unwrap();
    assert_eq!(copied[0].copied, rows.len() as u64);
    assert!(is_all_there(&store, &rows).unwrap());
}
