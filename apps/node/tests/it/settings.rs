//! `aether config` and `aether key`, and which source of settings wins.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use crate::support::{Node, aether, failure, output, stderr, stdout};

#[test]
fn every_setting_is_shown_with_its_origin() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".config/aether/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "mesh = \"file\"\npreset = \"local\"\n").unwrap();
    let mut command = aether(home.path());
    command.args(["config", "show", "-o", "json"]).env("AETHER_MESH", "variable");
    let rows: Value = serde_json::from_str(&stdout(&output(&mut command))).unwrap();
    let row = |key: &str| {
        let found = rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap();
        (found["value"].clone(), found["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(row("mesh"), ("variable".into(), "AETHER_MESH".to_owned()));
    assert_eq!(row("preset").0, "local");
    assert_eq!(row("preset").1, format!("{}:2", file.display()));
    assert_eq!(row("api.listen"), ("127.0.0.1:7070".into(), "default".to_owned()));
    let shown = stdout(&output(aether(home.path()).args(["config", "show"])));
    assert!(shown.contains("network.seeds") && shown.contains("config.toml:1"), "{shown}");
}

#[test]
fn settings_are_checked_without_a_start() {
    let home = tempfile::tempdir().unwrap();
    let checked = output(aether(home.path()).args(["config", "check"]));
    assert!(checked.status.success(), "{}", stderr(&checked));
    let default = stdout(&output(aether(home.path()).args(["config", "default"])));
    fs::write(home.path().join("default.toml"), default).unwrap();
    let mut command = aether(home.path());
    command.args(["config", "check", "--config", "default.toml"]);
    assert!(output(&mut command).status.success());
    let message = failure(&output(command.env("AETHER_NETWORK__SEDS", "x")), 2);
    assert!(message.contains("did you mean AETHER_NETWORK__SEEDS?"), "{message}");
    assert!(!crate::support::data(home.path()).exists(), "nothing was begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flag_wins_over_a_variable_over_the_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".config/aether/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "mesh = \"file\"\n[roles]\nrelay = true\n").unwrap();
    // The harness gives --mesh; the role is the file's.
    let node = Node::start_in(home, "flag", &["--rendezvous"]).await;
    let status = node.client.status().await.unwrap();
    assert_eq!(status.mesh.name, "flag");
    assert_eq!(status.roles, ["relay", "rendezvous"]);
}

#[test]
fn keys_are_made_once() {
    let home = tempfile::tempdir().unwrap();
    let made = output(aether(home.path()).args(["key", "new", "a.key", "-o", "json"]));
    let made: Value = serde_json::from_str(&stdout(&made)).unwrap();
    let mode = fs::metadata(home.path().join("a.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let shown = stdout(&output(aether(home.path()).args(["key", "show", "a.key"])));
    assert_eq!(shown.trim(), made["peer"].as_str().unwrap());
    failure(&output(aether(home.path()).args(["key", "new", "a.key"])), 1);
    let message = failure(&output(aether(home.path()).args(["key", "show"])), 1);
    assert!(message.contains("there is no key file at"), "{message}");
    let made = output(aether(home.path()).args(["key", "new"]));
    assert!(made.status.success(), "{}", stderr(&made));
}
