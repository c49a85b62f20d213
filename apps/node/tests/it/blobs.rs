//! `aether blob` and the routes behind it.

use std::io::Write as _;

use crate::support::{Node, data, failure, output, stdout, within};

#[tokio::test]
async fn a_file_goes_from_node_to_node() {
    let (first, second) = Node::pair("blobs").await;
    let path = first.home.path().join("file.bin");
    let content: Vec<u8> = (0..500_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&path, &content).unwrap();
    let path = path.to_str().unwrap();
    let added = output(&mut first.aether(&["blob", "add", path, "--pin", "mine"]));
    assert!(added.status.success(), "{added:?}");
    let id = stdout(&added).trim().to_owned();
    assert_eq!(id.len(), 64);

    let target = second.home.path().join("copy.bin");
    let got = output(&mut second.aether(&["blob", "get", &id, target.to_str().unwrap()]));
    assert!(got.status.success(), "{got:?}");
    assert_eq!(std::fs::read(&target).unwrap(), content);
    let cat = output(&mut second.aether(&["blob", "cat", &id]));
    assert_eq!(cat.stdout, content);

    let list = stdout(&output(&mut first.aether(&["blob", "list"])));
    assert!(list.contains(&id) && list.contains("mine"), "{list}");
    let pinned = failure(&output(&mut first.aether(&["blob", "remove", &id])), 1);
    assert!(pinned.contains("unpin it first"), "{pinned}");
    for command in [&["blob", "unpin", &id, "--name", "mine"][..], &["blob", "remove", &id]] {
        let done = output(&mut first.aether(command));
        assert!(done.status.success(), "{done:?}");
    }
    let there =
        failure(&output(&mut second.aether(&["blob", "get", &id, target.to_str().unwrap()])), 1);
    assert!(there.contains("is there already"), "{there}");
    let wrong = failure(&output(&mut second.aether(&["blob", "get", "abc"])), 1);
    assert!(wrong.contains("64 lower-case hexadecimal digits"), "{wrong}");
}

#[tokio::test]
async fn a_folder_goes_from_node_to_node() {
    let (first, second) = Node::pair("blob folders").await;
    let folder = first.home.path().join("folder");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::write(folder.join("one.txt"), "one").unwrap();
    std::fs::write(folder.join("sub/two.txt"), "two").unwrap();
    let added = output(&mut first.aether(&["blob", "add", folder.to_str().unwrap()]));
    let id = stdout(&added).trim().to_owned();
    let target = second.home.path().join("copy");
    let got = output(&mut second.aether(&["blob", "get", &id, target.to_str().unwrap()]));
    assert!(got.status.success(), "{got:?}");
    assert_eq!(std::fs::read_to_string(target.join("sub/two.txt")).unwrap(), "two");
}

#[tokio::test]
async fn the_interface_takes_content_and_gives_ranges_of_it() {
    let node = Node::start("blob ranges", &[]).await;
    let http = crate::support::http();
    let url = format!("{}/v1/blobs", node.client.url());
    let content = vec![7u8; 100_000];
    let added = http.post(&url).body(content.clone()).send().await.unwrap();
    let added: serde_json::Value = serde_json::from_slice(&added.bytes().await.unwrap()).unwrap();
    let id = added["id"].as_str().unwrap();
    assert_eq!(added["size"], 100_000);
    let part = http.get(format!("{url}/{id}")).header("range", "bytes=99990-").send().await;
    let part = part.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 99990-99999/100000");
    assert_eq!(part.bytes().await.unwrap(), vec![7u8; 10]);
    let beyond = http.get(format!("{url}/{id}")).header("range", "bytes=200000-").send().await;
    assert_eq!(beyond.unwrap().status(), 416);
    let all = http.get(format!("{url}/{id}")).send().await.unwrap();
    assert_eq!(all.bytes().await.unwrap(), content);
}

#[tokio::test]
async fn a_folder_of_another_program_is_not_taken_for_the_store() {
    let home = tempfile::tempdir().unwrap();
    let blobs = data(home.path()).join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let mut file = std::fs::File::create(blobs.join("somebody's.txt")).unwrap();
    file.write_all(b"precious").unwrap();
    let mut command = crate::support::aether(home.path());
    command.args(["run", "--preset", "local", "--api", "127.0.0.1:0"]);
    let ended = within("the refusal", async {
        tokio::task::spawn_blocking(move || output(&mut command)).await.unwrap()
    })
    .await;
    let message = failure(&ended, 1);
    assert!(message.contains("blobs"), "{message}");
    assert_eq!(std::fs::read(blobs.join("somebody's.txt")).unwrap(), b"precious");
}
