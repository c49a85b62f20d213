use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::FileExt as _,
    process::{Command, Stdio},
};

use super::*;

const SUFFIXES: [&str; 3] = [".part", ".tree", ".held"];

/// A copy of a store's folder, as it is now: what a kill at this moment leaves.
fn snapshot(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder, copy.path());
    copy
}

#[test]
fn a_kill_between_any_two_pieces_loses_at_most_one_group() {
    let size = 11 * GROUP + 9;
    let (from, id, content) = provider(size, 1);
    let encoded = encode(&from, &id, 0..12);
    let (folder, store) = fresh();
    let download = store.begin(id, size).unwrap();
    let mut writer = download.writer(0..12).unwrap();
    let mut dice = Dice(1);
    let mut pushed = 0;
    while pushed < encoded.len() {
        let end = encoded.len().min(pushed + 1 + dice.below(20_000) as usize);
        writer.push(&encoded[pushed..end]).unwrap();
        pushed = end;
        let crashed = snapshot(folder.path());
        let store = open(crashed.path());
        let count: u64 = held(&store, &id).iter().map(|run| run.end - run.start).sum();
        // Pairs come in between, so this is a bit more than what has arrived.
        let arrived = pushed as u64 / (GROUP + 64);
        assert!(count + 1 >= arrived, "{count} of {arrived} at {pushed}");
        only_right_bytes(&store, &id, &content);
        let after: u64 = held(&store, &id).iter().map(|run| run.end - run.start).sum();
        assert_eq!(after, count, "what is marked is right");
    }
}

#[test]
fn a_kill_in_the_middle_of_a_group_loses_that_group_alone() {
    let size = 9 * GROUP;
    let (from, id, content) = provider(size, 2);
    let (folder, store) = fresh();
    let download = store.begin(id, size).unwrap();
    let mut dice = Dice(2);
    for group in 0..8 {
        let before = snapshot(folder.path());
        let run = group..group + 1;
        receive(&download, run.clone(), &encode(&from, &id, run)).unwrap();
        let after = snapshot(folder.path());
        if group == 0 {
            // Before the first one there were no files.
            continue;
        }
        let place = |of: &TempDir, suffix| blob_file(of.path(), &id, suffix);
        // In this order: pairs, content, bit. Each may be torn; the next isn't begun then.
        for step in 0..3 {
            let torn = snapshot(before.path());
            for suffix in &SUFFIXES[..step.min(2)] {
                let done = if *suffix == ".part" { ".tree" } else { ".part" };
                fs::copy(place(&after, done), place(&torn, done)).unwrap();
            }
            if step < 2 {
                let suffix = [".tree", ".part"][step];
                let (old, new) =
                    [&before, &after].map(|of| fs::read(place(of, suffix)).unwrap()).into();
                let cut = dice.below(new.len() as u64) as usize;
                let mixed = [&new[..cut], old.get(cut..).unwrap_or_default()].concat();
                fs::write(place(&torn, suffix), mixed).unwrap();
            }
            let store = open(torn.path());
            assert_eq!(held(&store, &id), one(0..group), "torn at step {step}");
            assert_eq!(read_range(&store, &id, 0..group), content[..(group * GROUP) as usize]);
            complete(&store, &from, &id, &content);
        }
    }
}

fn read_range(store: &BlobStore, id: &BlobId, groups: Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; ((groups.end - groups.start) * GROUP) as usize];
    store.read_at(id, groups.start * GROUP, &mut bytes).unwrap();
    bytes
}

/// Damages a file as a power loss does: cut, grown, blocks of zeros, or of another time.
fn damage(path: &Path, older: Option<&Path>, dice: &mut Dice) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    match dice.below(4) {
        0 => file.set_len(dice.below(len + 1)).unwrap(),
        1 => file.set_len(len + dice.below(100_000)).unwrap(),
        2 => {
            for _ in 0..3 {
                let block = dice.below(len.div_ceil(512) + 1) * 512;
                let zeros = vec![0; len.saturating_sub(block).min(512) as usize];
                file.write_all_at(&zeros, block).unwrap();
            }
        }
        _ => {
            if let Some(older) = older.filter(|older| older.exists()) {
                fs::copy(older, path).unwrap();
            }
        }
    }
}

#[test]
fn after_a_power_loss_nothing_wrong_comes_out_and_the_download_goes_on() {
    let size = 40 * GROUP + 1234;
    let (from, id, content) = provider(size, 3);
    let (folder, store) = fresh();
    let download = store.begin(id, size).unwrap();
    let mut snapshots = Vec::new();
    for run in [0..5, 20..33, 7..9, 34..40, 9..14] {
        receive(&download, run.clone(), &encode(&from, &id, run)).unwrap();
        snapshots.push(snapshot(folder.path()));
    }
    let mut dice = Dice(3);
    for round in 0..24 {
        let crashed = snapshot(folder.path());
        let older = snapshots[dice.below(5) as usize].path();
        for suffix in SUFFIXES {
            if dice.below(2) == 0 {
                let path = blob_file(crashed.path(), &id, suffix);
                damage(&path, Some(&blob_file(older, &id, suffix)), &mut dice);
            }
        }
        let has_rebooted = round % 2 == 0;
        if has_rebooted {
            forget_boot(&blob_file(crashed.path(), &id, ".held"), size);
        }
        let store = open(crashed.path());
        if has_rebooted {
            // The check finds all that is wrong, so nothing is found by reading.
            drop(store.begin(id, size).unwrap());
            let before = held(&store, &id);
            only_right_bytes(&store, &id, &content);
            assert_eq!(held(&store, &id), before, "round {round}");
        } else {
            only_right_bytes(&store, &id, &content);
        }
        complete(&store, &from, &id, &content);
    }
}

/// Makes the header one of an earlier boot, if there is a header still.
fn forget_boot(path: &Path, size: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    if held::read(&file).unwrap().is_some() {
        held::Header { size, is_checked: false }.write(&file).unwrap();
    }
}

#[test]
fn a_crash_while_a_download_is_completed_is_mended() {
    let size = 9 * GROUP + 4;
    let (from, id, content) = provider(size, 4);
    let (folder, store) = fresh();
    let download = store.begin(id, size).unwrap();
    receive(&download, 0..9, &encode(&from, &id, 0..9)).unwrap();
    let before = snapshot(folder.path());
    receive(&download, 9..10, &encode(&from, &id, 9..10)).unwrap();
    let after = snapshot(folder.path());
    // All groups are there, and the name isn't changed yet; the outboard is half behind.
    let whole = fs::read(blob_file(after.path(), &id, "")).unwrap();
    let last = &whole[(9 * GROUP) as usize..size as usize];
    let outboard = &whole[size as usize..];
    for behind in [0, 1, 64, outboard.len()] {
        let crashed = snapshot(before.path());
        let part = fs::File::options().write(true).open(blob_file(crashed.path(), &id, ".part"));
        let part = part.unwrap();
        part.write_all_at(last, 9 * GROUP).unwrap();
        part.write_all_at(&outboard[..behind], size).unwrap();
        fs::write(blob_file(crashed.path(), &id, ".tree"), outboard).unwrap();
        let bits = blob_file(crashed.path(), &id, ".held");
        fs::File::options().write(true).open(bits).unwrap().write_all_at(&[0xff, 3], 48).unwrap();
        complete(&open(crashed.path()), &from, &id, &content);
    }
    // The name is changed, and the rest isn't removed yet.
    for suffix in [".tree", ".held"] {
        fs::copy(blob_file(before.path(), &id, suffix), blob_file(after.path(), &id, suffix))
            .unwrap();
    }
    let store = open(after.path());
    assert_eq!(read_all(&store, &id), content);
    assert_eq!(names(&after.path().join("blobs")), [id.to_string()]);
}

#[test]
fn files_without_their_fellows_are_leftovers() {
    let size = 9 * GROUP;
    let (from, id, content) = provider(size, 5);
    let (folder, store) = fresh();
    let download = store.begin(id, size).unwrap();
    receive(&download, 0..4, &encode(&from, &id, 0..4)).unwrap();
    for missing in SUFFIXES {
        let crashed = snapshot(folder.path());
        fs::remove_file(blob_file(crashed.path(), &id, missing)).unwrap();
        let store = open(crashed.path());
        assert_eq!(store.status(&id), BlobStatus::Absent, "without {missing}");
        assert_eq!(names(&crashed.path().join("blobs")), [""; 0]);
        complete(&store, &from, &id, &content);
    }
}

/// Where the child of the next test works; it does nothing without.
const CHILD: &str = "AETHER_BLOBS_KILLED";

#[test]
fn killing_the_process_loses_at_most_one_group() {
    let size = 300 * GROUP + 17;
    let (from, id, content) = provider(size, 6);
    if let Ok(path) = std::env::var(CHILD) {
        let store = open(Path::new(&path));
        let download = store.begin(id, size).unwrap();
        for run in download.missing() {
            let mut writer = download.writer(run.clone()).unwrap();
            let mut encoder = from.encode(&id, run).unwrap();
            while let Some(piece) = encoder.next_piece().unwrap() {
                for bytes in piece.chunks(5000) {
                    writer.push(bytes).unwrap();
                    let missing: u64 =
                        download.missing().iter().map(|run| run.end - run.start).sum();
                    println!("\nheld {}", groups(size) - missing);
                }
            }
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(6);
    for _ in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "blobs::store::tests::crash::killing_the_process_loses_at_most_one_group",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let counts =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("held ")?.parse().ok());
        let said: u64 = counts.take(20 + dice.below(200) as usize).last().unwrap_or(0);
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(folder.path());
        let count: u64 = held(&store, &id).iter().map(|run| run.end - run.start).sum();
        assert!(count >= said, "{count} groups are held, {said} were");
        only_right_bytes(&store, &id, &content);
        let after: u64 = held(&store, &id).iter().map(|run| run.end - run.start).sum();
        assert_eq!(after, count);
    }
    complete(&open(folder.path()), &from, &id, &content);
}
