//! `aether service` and the routes behind it.

use aether_mesh::{Call, Failure, Items, Preset, Service};
use serde_json::{Value, json};

use crate::support::{Node, failure, output, stdout, until};

/// A program that serves, in the node's mesh.
async fn serving(mesh: &str, node: &Node) -> aether_mesh::Node {
    let seed = &node.client.status().await.expect("it runs").addresses[0];
    let program = aether_mesh::Node::builder(Preset::Local).mesh(mesh).seed(seed);
    let program = program.spawn().await.expect("it runs");
    let add = |call: Call<(u64, u64)>| async move {
        call.value.0.checked_add(call.value.1).ok_or_else(|| Failure::new(1, "too much"))
    };
    let count = |call: Call<u64>, mut items: Items<u64>| async move {
        for n in 0..call.value {
            items.send(&n).await?;
        }
        Ok(())
    };
    let service = Service::new().version("2.0.0").endpoint("add", add).stream("count", count);
    program.serve("math", service).await.expect("it runs").detach();
    until("the service to be known", || async {
        !node.client.services().await.expect("it runs").instances.is_empty()
    })
    .await;
    program
}

// The program's node goes on while commands are waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_are_listed_and_called() {
    let node = Node::start("service calls", &[]).await;
    let program = serving("service calls", &node).await;
    let list = stdout(&output(&mut node.aether(&["service", "list"])));
    assert!(list.contains("math") && list.contains("2.0.0") && list.contains("add count"));
    let run = |arguments: &[&str]| output(&mut node.aether(arguments));
    let sum = run(&["service", "call", "math", "add", "[1, 2]", "--idempotent"]);
    assert_eq!(stdout(&sum).trim(), "3", "{sum:?}");
    let every: Value = serde_json::from_str(&stdout(&run(&[
        "service", "call", "math", "add", "[2, 2]", "--every", "-o", "json",
    ])))
    .unwrap();
    assert_eq!(every, json!([{ "peer": program.id().to_string(), "reply": 4 }]));
    let items = run(&["service", "call", "math", "count", "3", "--items"]);
    assert_eq!(stdout(&items), "0\n1\n2\n");
    let overflow = format!("[{}, 1]", u64::MAX);
    let failed = failure(&run(&["service", "call", "math", "add", &overflow]), 1);
    assert!(failed.contains("too much"), "{failed}");
    let missing = failure(&run(&["service", "call", "math", "sub", "[1, 2]"]), 1);
    assert!(missing.contains("no endpoint"), "{missing}");
    let nobody = ["service", "call", "nobody", "add", "--deadline", "100ms"];
    let nobody = failure(&run(&nobody), 1);
    assert!(nobody.contains("is its name right"), "{nobody}");
    let text = failure(&run(&["service", "call", "math", "add", "one"]), 1);
    assert!(text.contains("no JSON"), "{text}");
    program.shutdown().await;
}
