//! What goes wrong most often, told so that it can be put right: each names the thing and the way
//! out, and exits with the documented code.

use std::{
    fs::{self, Permissions},
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Output,
};

use crate::support::{aether, data, failure, output};

fn run(home: &Path, flags: &[&str]) -> Output {
    let mut command = aether(home);
    command.args(["run", "--preset", "local"]).args(flags);
    if !flags.contains(&"--api") {
        command.args(["--api", "127.0.0.1:0"]);
    }
    output(&mut command)
}

#[test]
fn a_typo_in_the_config_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("aether.toml");
    fs::write(&file, "mesh = \"m\"\n\n[network]\nseds = []\n").unwrap();
    let message = failure(&run(home.path(), &["--config", "aether.toml"]), 2);
    assert!(message.contains("aether.toml:4: unknown key `network.seds`"), "{message}");
    assert!(message.contains("did you mean `network.seeds`?"), "{message}");
    assert!(!data(home.path()).exists(), "nothing was begun");
}

#[test]
fn a_config_file_that_is_not_there() {
    let home = tempfile::tempdir().unwrap();
    let message = failure(&run(home.path(), &["--config", "nowhere.toml"]), 2);
    assert!(message.contains("can't read the config file nowhere.toml"), "{message}");
    assert!(message.contains("No such file"), "{message}");
}

#[test]
fn a_wrong_flag() {
    let home = tempfile::tempdir().unwrap();
    let message = failure(&run(home.path(), &["--seed", "nonsense"]), 2);
    assert!(
        message.contains("--seed: `network.seeds`: \"nonsense\" is no multiaddress"),
        "{message}"
    );
    let message = failure(&run(home.path(), &["--seeed", "x"]), 2);
    assert!(message.contains("--seed"), "{message}");
}

#[test]
fn a_port_that_is_in_use() {
    let home = tempfile::tempdir().unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = tcp.local_addr().unwrap();
    let message = failure(&run(home.path(), &["--api", &taken.to_string()]), 1);
    assert!(message.contains(&format!("interface on {taken}")), "{message}");
    assert!(message.contains("--api") && message.contains("in use"), "{message}");

    let listen = format!("/ip4/127.0.0.1/tcp/{}", taken.port());
    let message = failure(&run(home.path(), &["--listen", &listen]), 1);
    assert!(message.contains(&format!("can't listen on {listen}")), "{message}");
    assert!(message.contains("in use"), "{message}");

    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = format!("/ip4/127.0.0.1/udp/{}/quic-v1", udp.local_addr().unwrap().port());
    let message = failure(&run(home.path(), &["--listen", &listen]), 1);
    assert!(message.contains(&format!("can't listen on {listen}")), "{message}");
    assert!(!data(home.path()).join("api.json").exists());
}

#[test]
fn a_data_folder_that_can_not_be_used() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    for folder in [file.clone(), file.join("below")] {
        let message = failure(&run(home.path(), &["--data", folder.to_str().unwrap()]), 1);
        let expected = format!("can't use the data folder {}", folder.display());
        assert!(message.contains(&expected) && message.contains("--data"), "{message}");
    }
    let closed = home.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o500)).unwrap();
    // Permissions don't hold root back: then /proc, where nobody can make a file, stands in.
    let folder = match fs::write(closed.join("trial"), "") {
        Err(_) => closed.to_str().unwrap(),
        Ok(()) => "/proc/aether",
    };
    let message = failure(&run(home.path(), &["--data", folder]), 1);
    assert!(message.contains(&format!("can't use the data folder {folder}")), "{message}");
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_key_file_of_another_program() {
    let home = tempfile::tempdir().unwrap();
    let data = data(home.path());
    fs::create_dir_all(&data).unwrap();
    let file = data.join("identity.key");
    let foreign = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
    fs::write(&file, foreign).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    for message in [
        failure(&run(home.path(), &[]), 1),
        failure(&output(aether(home.path()).args(["key", "show"])), 1),
    ] {
        assert!(message.contains(&file.display().to_string()), "{message}");
        assert!(message.contains("is not an Aether key file, and is left as it is"), "{message}");
    }
    let message = failure(&output(aether(home.path()).args(["key", "new"])), 1);
    assert!(message.contains("exists already"), "{message}");
    assert_eq!(fs::read_to_string(&file).unwrap(), foreign);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_on_the_same_folder() {
    let node = crate::support::Node::start("twice", &[]).await;
    let message = failure(&run(node.home.path(), &[]), 1);
    assert!(message.contains("is open already"), "{message}");
    assert!(node.data().join("api.json").exists(), "the first node's file stays");
    assert!(node.client.status().await.is_ok());
}

#[test]
fn no_node_at_that_address() {
    let home = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}");
    let message = failure(&output(aether(home.path()).args(["status", "--api", &url])), 3);
    assert!(message.contains(&url) && message.contains("aether run"), "{message}");
    let message = failure(&output(aether(home.path()).args(["status", "--api", "nonsense"])), 2);
    assert!(message.contains("is no URL"), "{message}");
}
