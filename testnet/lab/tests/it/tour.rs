//! A small tour with real processes, and that none outlives its lab.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use aether_lab::{Lab, Options, Stage, tour};

use crate::house::root;

const LEASH: &str = env!("CARGO_BIN_EXE_aether-lab");

/// The node's program: beside the lab's own, and built if no other test has done so.
fn aether() -> &'static Path {
    static AETHER: OnceLock<PathBuf> = OnceLock::new();
    AETHER.get_or_init(|| {
        let folder = Path::new(LEASH).parent().expect("a program is in a folder");
        let aether = folder.join("aether");
        if !aether.is_file() {
            let profile = match folder.file_name().and_then(|name| name.to_str()) {
                Some("debug") | None => "dev",
                Some(profile) => profile,
            };
            let target = folder.parent().expect("profiles are in the target folder");
            let status = Command::new(env!("CARGO"))
                .args(["build", "--package", "aether-node", "--profile", profile, "--target-dir"])
                .arg(target)
                .current_dir(root())
                .status();
            assert!(status.expect("cargo runs").success(), "aether-node doesn't build");
        }
        aether
    })
}

#[tokio::test]
async fn three_nodes_take_the_tour() {
    let options = Options {
        aether: aether().to_owned(),
        leash: LEASH.into(),
        nodes: 3,
        seed: 1,
        lines: ["one", "two", "", "vier ü"].map(str::to_owned).into(),
        data: None,
    };
    let mut lab = Lab::new(options).unwrap();
    let folder = lab.cluster.nodes()[0].data.clone();
    tour(&mut lab, &[Stage::Form, Stage::Publish]).await;
    let rows = lab.report.rows();
    assert!(lab.report.is_ok(), "{rows:#?}");
    let value = |metric: &str| rows.iter().find(|row| row.metric == metric).map(|row| row.value);
    assert_eq!(value("messages published"), Some(300.0), "{rows:#?}");
    assert_eq!(value("deliveries"), Some(600.0), "{rows:#?}");
    let table = lab.table().to_string();
    for node in lab.cluster.nodes() {
        assert!(table.contains(&node.name) && table.contains(&node.peer), "{table}");
    }
    let pids: Vec<u32> = lab.cluster.nodes().iter().filter_map(aether_lab::Node::pid).collect();
    assert_eq!(pids.len(), 3);
    drop(lab);
    assert!(!folder.exists(), "{} is left", folder.display());
    for pid in pids {
        assert!(!is_running(pid), "process {pid} is left");
    }
}

/// Whether a process is there, and no zombie.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if condition() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain for {what}");
}

/// A lab in a process of its own, and its folder.
struct Own(Child, tempfile::TempDir);

impl Own {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let input = folder.path().join("input");
        fs::write(&input, "line\n").expect("a file can be written");
        let mut command = Command::new(LEASH);
        command.args(["--nodes", "2", "--keep", "--stages", "form", "--input"]).arg(input);
        command.arg("--aether").arg(aether()).arg("--data").arg(folder.path().join("data"));
        let child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the lab starts");
        Self(child, folder)
    }

    /// The process ids of both nodes, once they run.
    fn nodes(&self) -> [u32; 2] {
        let pid = |node: &str| {
            let file = self.1.path().join("data").join(node).join("api.json");
            let text = fs::read(file).ok()?;
            let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
            u32::try_from(value["pid"].as_u64()?).ok()
        };
        let mut pids = None;
        until("two nodes to run", || {
            pids = pid("node0").zip(pid("node1"));
            pids.is_some()
        });
        pids.map(|(one, other)| [one, other]).expect("both run")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn no_node_outlives_a_lab_that_is_killed() {
    let mut lab = Own::start();
    let nodes = lab.nodes();
    assert!(nodes.into_iter().all(is_running));
    lab.0.kill().unwrap();
    lab.0.wait().unwrap();
    until("the nodes to end", || !nodes.into_iter().any(is_running));
}

#[test]
#[cfg(target_os = "linux")]
fn a_lab_that_is_told_to_stop_stops_its_nodes_first() {
    use rustix::process::{Pid, Signal, kill_process};
    let mut lab = Own::start();
    let nodes = lab.nodes();
    kill_process(Pid::from_child(&lab.0), Signal::TERM).unwrap();
    assert_eq!(lab.0.wait().unwrap().code(), Some(128 + 15));
    assert!(!nodes.into_iter().any(is_running));
}

#[test]
fn what_can_not_be_is_told() {
    let error = |args: &[&str]| {
        let output = Command::new(LEASH).args(args).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert!(error(&["--nodes", "1"]).contains("from 2 to 200"));
    let stages = "form, publish, restart, serve, spread, maps, type, kills, flood, churn";
    assert!(error(&["--stages", "dance"]).contains(stages));
    assert!(error(&["--input", "/nowhere"]).contains("name a text file with --input"));
    assert!(error(&["--aether", "/nowhere", "--input", manifest]).contains("build it first"));
    assert!(error(&["leash", "0", "/bin/true"]).contains("the lab is gone"));
}
