//! Tokens: which are good for what, and for how long.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use aether_node::{ApiFile, Client, ClientError, ClientOptions, api::Problem};
use reqwest::{Method, Response, header};
use serde_json::Value;

use super::{elsewhere, token};
use crate::support::{
    Node, Running, aether, data, failure, http, output, stderr, stdout, until, within,
};

const ROLES: [&str; 3] = ["reader", "writer", "admin"];

/// What a denied request is answered.
async fn denied(response: Response, status: u16) -> (String, Problem) {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let challenge = response.headers()[header::WWW_AUTHENTICATE].to_str().expect("it is ASCII");
    let challenge = challenge.to_owned();
    assert!(challenge.starts_with("Bearer realm=\"aether\""), "{challenge}");
    let problem: Problem = response.json().await.expect("a problem document");
    assert!(problem.detail.contains("aether api token"), "what next: {problem:?}");
    (challenge, problem)
}

/// What the OpenAPI document says of each route: method, path, and the role that it needs.
async fn routes(node: &Node) -> Vec<(Method, String, Option<&'static str>)> {
    let document = http().get(format!("{}/v1/openapi.json", node.client.url())).send().await;
    let document: Value = document.expect("it runs").json().await.expect("it is JSON");
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().expect("there are paths") {
        for (method, operation) in item.as_object().expect("a path has operations") {
            let method = method.to_uppercase().parse().expect("a method");
            let text = operation["description"].as_str().unwrap_or_default();
            let needs = |role: &&str| text.contains(&format!("a token of the role `{role}`"));
            let role = ROLES.into_iter().find(needs);
            assert_eq!(operation.get("security").is_some(), role.is_some(), "{method} {path}");
            assert_eq!(operation["responses"].get("401").is_some(), role.is_some());
            let path = path.replace("{name}", "t").replace("{id}", "i");
            let path = path.replace("{service}", "s").replace("{endpoint}", "e");
            let path = path.replace("{space}", "s").replace("{map}", "m").replace("{key}", "k");
            let path = path.replace("{document}", "d");
            routes.push((method, path, role));
        }
    }
    routes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_needs_its_role() {
    let node = Node::start("roles", &["--api-auth", "token"]).await;
    let (base, http) = (node.client.url(), http());
    let routes = routes(&node).await;
    assert!(routes.len() >= 25, "{routes:?}");
    let open: Vec<_> = routes.iter().filter(|route| route.2.is_none()).collect();
    let open: Vec<_> = open.into_iter().map(|(_, path, _)| path.as_str()).collect();
    assert_eq!(open, ["/health", "/health/live", "/health/ready", "/v1/openapi.json"]);
    for (method, path, _) in &routes {
        let response = http.request(method.clone(), format!("{base}{path}")).send().await.unwrap();
        if open.contains(&path.as_str()) {
            assert_eq!(response.status(), 200, "{method} {path}");
            continue;
        }
        let (challenge, problem) = denied(response, 401).await;
        assert!(!challenge.contains("error"), "nothing was sent: {challenge}");
        assert!(problem.detail.contains("AETHER_TOKEN"), "{problem:?}");
    }
    for (rank, role) in ROLES.into_iter().enumerate() {
        let token = token(node.home.path(), role);
        for (method, path, needs) in &routes {
            let request = http.request(method.clone(), format!("{base}{path}"));
            let response = request.bearer_auth(&token).send().await.unwrap();
            let needs = needs.map_or(0, |role| ROLES.iter().position(|r| *r == role).unwrap());
            if needs <= rank {
                let status = response.status().as_u16();
                assert!(status != 401 && status != 403, "{role} {method} {path}: {status}");
                continue;
            }
            let (challenge, problem) = denied(response, 403).await;
            let scope = format!("error=\"insufficient_scope\", scope=\"{}\"", ROLES[needs]);
            assert!(challenge.ends_with(&scope), "{role} {method} {path}: {challenge}");
            assert!(problem.detail.contains(ROLES[needs]), "{problem:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_is_told_from_none_and_never_repeated() {
    let node = Node::start("wrong tokens", &["--api-auth", "token"]).await;
    let status = format!("{}/v1/status", node.client.url());
    let other = tempfile::tempdir().unwrap();
    assert!(output(aether(other.path()).args(["key", "new"])).status.success());
    let good = token(node.home.path(), "reader");
    let others = token(other.path(), "admin");
    let brief = ["api", "token", "--expires", "1s"];
    let brief = stdout(&output(aether(node.home.path()).args(brief))).trim().to_owned();
    until("a token to expire", || async {
        let request = http().get(&status).bearer_auth(&brief).send();
        request.await.expect("it runs").status() == 401
    })
    .await;
    let swapped = good.replace("aether_invite1_", "aether_membership1_");
    for (token, word) in [
        ("nonsense", "begins with aether_invite1_"),
        (&good[..good.len() - 9], "copy it again"),
        (&swapped, "a membership, not an invite"),
        (&others, "another node's"),
        (&brief, "expired at"),
    ] {
        let response = http().get(&status).bearer_auth(token).send().await.unwrap();
        let (challenge, problem) = denied(response, 401).await;
        assert!(challenge.ends_with("error=\"invalid_token\""), "{challenge}");
        assert!(problem.detail.contains(word), "{word}: {problem:?}");
        assert!(!problem.detail.contains(token), "{problem:?}");
    }
    let basic = http().get(&status).basic_auth("a", Some("b")).send().await.unwrap();
    assert!(!denied(basic, 401).await.0.contains("error"));
    let response = http().get(&status).bearer_auth(&good).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_the_same_user_need_no_flag_and_others_a_token() {
    let node = Node::start("flags", &["--api-auth", "token"]).await;
    assert!(output(&mut node.aether(&["status"])).status.success());
    let mode = fs::metadata(node.data().join("api.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (url, reader) = (node.client.url(), token(node.home.path(), "reader"));
    let message = failure(&elsewhere(&["status", "--api", url]), 1);
    assert!(message.contains("--token") && message.contains("aether api token"), "{message}");
    let shown = elsewhere(&["status", "--api", url, "--token", &reader]);
    assert!(shown.status.success(), "{}", stderr(&shown));
    let home = tempfile::tempdir().unwrap();
    let mut command = aether(home.path());
    command.args(["peers", "--api", url]).env("AETHER_TOKEN", &reader);
    assert!(output(&mut command).status.success());
    let remove = ["blob", "remove", "0", "--api", url, "--token", &reader];
    let message = failure(&elsewhere(&remove), 1);
    assert!(message.contains("the role admin") && message.contains("403"), "{message}");
    // A flag wins over the file.
    let message =
        failure(&output(&mut node.aether(&["topic", "publish", "t", "--token", &reader])), 1);
    assert!(message.contains("the role writer"), "{message}");
    let torn = ["status", "--api", url, "--token", &reader[..90]];
    let message = failure(&elsewhere(&torn), 2);
    assert!(message.contains("copy it again") && !message.contains(&reader[20..90]), "{message}");
    let message = failure(&elsewhere(&["api", "token"]), 1);
    assert!(message.contains("where the node runs"), "{message}");
    let long = output(&mut node.aether(&["api", "token", "--expires", "2y"]));
    assert!(failure(&long, 1).contains("366 days"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_no_good_and_stays_so() {
    let node = Node::start("revoked", &["--api-auth", "token"]).await;
    let made: Value = serde_json::from_str(&stdout(&output(&mut node.aether(&[
        "api",
        "token",
        "-o",
        "json",
        "--expires",
        "1d",
    ]))))
    .unwrap();
    assert_eq!(made["role"], "reader", "the narrowest is the default");
    let (one, one_id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let [two, three] = ["writer", "admin"].map(|role| token(node.home.path(), role));
    let check = async |node: &Node, token: &str| {
        let client = ClientOptions::default().token(token);
        let client = Client::with(node.client.url(), &client).unwrap();
        match client.status().await {
            Ok(_) => true,
            Err(ClientError::Refused(problem)) => {
                assert!(problem.status == 401 && problem.detail.contains("was revoked"));
                false
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!(check(&node, one).await && check(&node, &two).await);
    let revoked = output(&mut node.aether(&["api", "revoke", one_id]));
    assert!(revoked.status.success() && stderr(&revoked).contains(one_id), "{revoked:?}");
    assert!(!check(&node, one).await, "at once");
    assert!(check(&node, &two).await && output(&mut node.aether(&["status"])).status.success());
    let peer = node.client.status().await.unwrap().peer.to_string();
    let message = failure(&output(&mut node.aether(&["api", "revoke", &peer])), 1);
    assert!(message.contains("the node's own id"), "{message}");
    let message = failure(&output(&mut node.aether(&["api", "revoke", "x"])), 1);
    assert!(message.contains("a token, or its id"), "{message}");

    // One revoked while no node runs, in order or not, is so too.
    let Node { mut program, home, .. } = node;
    program.signal("KILL");
    program.ended().await;
    assert!(data(home.path()).join("api.json").exists());
    assert!(output(aether(home.path()).args(["api", "revoke", &two])).status.success());
    fs::remove_file(data(home.path()).join("api.json")).unwrap();
    assert!(output(aether(home.path()).args(["api", "revoke", &two])).status.success());
    let node = Node::start_in(home, "revoked", &["--api-auth", "token"]).await;
    assert!(!check(&node, one).await && !check(&node, &two).await);
    assert!(check(&node, &three).await);
    let kept = fs::read_to_string(node.data().join("api-revocations")).unwrap();
    assert_eq!(kept.lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_to_the_mesh_is_good_at_its_nodes_until_it_is_revoked() {
    let home = tempfile::tempdir().unwrap();
    let founded = |home: &std::path::Path| {
        let done = output(aether(home).args(["mesh", "new", "house"]));
        assert!(done.status.success(), "{}", stderr(&done));
    };
    founded(home.path());
    let folder = data(home.path()).join("admin");
    let flags = ["--admin", folder.to_str().unwrap(), "--api-auth", "token"];
    let node = Node::start_in(home, "house", &flags).await;
    let invite = |role| {
        let invited = output(&mut node.aether(&["mesh", "invite", "--role", role]));
        assert!(invited.status.success(), "{}", stderr(&invited));
        stdout(&invited).trim().to_owned()
    };
    let (writer, validator) = (invite("writer"), invite("validator"));
    let client = |token: &str| {
        Client::with(node.client.url(), &ClientOptions::default().token(token)).unwrap()
    };
    let refusal = async |client: &Client| match client.dial("/ip4/127.0.0.1/tcp/1").await {
        Err(ClientError::Refused(problem)) => problem,
        other => panic!("{other:?}"),
    };
    for token in [&writer, &validator] {
        client(token).status().await.unwrap();
        let one = futures::stream::iter([Ok::<_, std::io::Error>("one".to_owned())]);
        let published =
            client(token).publish("t", one, 0, std::time::Duration::from_secs(10)).await;
        assert_eq!(published.unwrap().published, 1);
        let problem = refusal(&client(token)).await;
        assert!(problem.status == 403 && problem.detail.contains("admin"), "{problem:?}");
    }
    // Another mesh of the same name.
    let other = tempfile::tempdir().unwrap();
    founded(other.path());
    let foreign = stdout(&output(aether(other.path()).args(["mesh", "invite"])));
    let problem = refusal(&client(foreign.trim())).await;
    assert!(problem.status == 401 && problem.detail.contains("another mesh"), "{problem:?}");
    // The interface's own tokens are good here too, and are none of the mesh.
    let own = token(node.home.path(), "admin");
    client(&own).dial("/ip4/127.0.0.1/tcp/1").await.unwrap();
    let message = failure(&output(&mut node.aether(&["api", "revoke", &writer])), 1);
    assert!(message.contains("aether mesh revoke"), "{message}");

    let revoked = output(&mut node.aether(&["mesh", "revoke", &writer]));
    assert!(revoked.status.success(), "{}", stderr(&revoked));
    until("the revocation", || async { client(&writer).status().await.is_err() }).await;
    let problem = refusal(&client(&writer)).await;
    assert!(problem.status == 401 && problem.detail.contains("was revoked"), "{problem:?}");
    client(&validator).status().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_not_logged_nor_shown() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("log");
    let mut command = aether(home.path());
    command.args(["run", "--preset", "local", "--api", "127.0.0.1:0", "--api-auth", "token"]);
    command.args(["--api-tls", "--log", "trace,rustls=trace"]);
    let mut node = Running::start(command.stderr(Stdio::from(fs::File::create(&log).unwrap())));
    until("the interface", || async {
        ApiFile::read(&data(home.path())).is_ok_and(|f| f.is_some())
    })
    .await;
    let file = ApiFile::read(&data(home.path())).unwrap().unwrap();
    let admin = file.token.clone().unwrap();
    let reader = token(home.path(), "reader");
    file.client().unwrap().status().await.unwrap();
    let narrow = Client::with(&file.api, &file.options().token(&reader)).unwrap();
    narrow.status().await.unwrap();
    let refused = narrow.dial("/ip4/127.0.0.1/tcp/1").await.unwrap_err();
    let revoked = output(aether(home.path()).args(["api", "revoke", &reader]));
    assert!(revoked.status.success(), "{}", stderr(&revoked));
    let void = narrow.status().await.unwrap_err();
    node.signal("TERM");
    assert!(within("the node to end", node.ended()).await.success());
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("denied at the interface"), "what happened is logged");
    let mut help = aether(home.path());
    let help = stdout(&output(help.args(["status", "--help"]).env("AETHER_TOKEN", &reader)));
    let mut config = aether(home.path());
    config.args(["config", "show", "-o", "json"]).env("AETHER_TOKEN", &reader);
    let config = stdout(&output(&mut config));
    let texts = [
        log,
        help,
        config,
        stderr(&revoked),
        format!("{file:?} {:?} {narrow:?} {refused:?} {void:?}", file.options()),
    ];
    let key = fs::read_to_string(data(home.path()).join("api-tls.key")).unwrap();
    let key = key.lines().nth(1).unwrap();
    for text in texts {
        for secret in [&admin, &reader] {
            // All tokens of this node begin alike; what is secret comes late.
            assert!(!text.contains(&secret[secret.len() - 60..]), "{text}");
        }
        assert!(!text.contains(key));
    }
}
