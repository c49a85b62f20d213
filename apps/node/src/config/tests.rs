use super::*;

fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Loads from a file with this text, variables and flags.
fn load_from(
    text: &str,
    variables: &[(&str, &str)],
    flags: Vec<Given>,
) -> Result<Loaded, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aether.toml");
    std::fs::write(&path, text).unwrap();
    load(Some(&path), environment(variables), flags)
}

fn error_from(text: &str, variables: &[(&str, &str)]) -> String {
    load_from(text, variables, Vec::new()).unwrap_err().to_string()
}

#[test]
fn later_sources_win_and_origins_are_known() {
    let file = "mesh = 'file'\npreset = 'local'\n[network]\nseeds = ['/ip4/10.0.0.1/tcp/1']\n";
    let variables = [("AETHER_MESH", "42"), ("AETHER_NETWORK__TARGET_PEERS", "7")];
    let flags = vec![Given::flag("--relay", "roles.relay", true)];
    let loaded = load_from(file, &variables, flags).unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.preset, Preset::Local);
    assert_eq!(settings.mesh, "42", "text stays text");
    assert_eq!(settings.network.target_peers, Some(7));
    assert!(settings.roles.relay);
    assert!(!settings.roles.rendezvous);
    assert!(loaded.origin("network.seeds").ends_with("aether.toml:4"));
    assert_eq!(loaded.origin("mesh"), "AETHER_MESH");
    assert_eq!(loaded.origin("roles.relay"), "--relay");
    assert_eq!(loaded.origin("api.listen"), "default");
}

#[test]
fn a_list_may_be_text() {
    let seeds = "/ip4/10.0.0.1/tcp/1, /ip4/10.0.0.2/tcp/2";
    let loaded = load_from("", &[("AETHER_NETWORK__SEEDS", seeds)], Vec::new()).unwrap();
    assert_eq!(loaded.settings.network.seeds.len(), 2);
    let loaded = load_from("", &[("AETHER_NETWORK__LISTEN", "")], Vec::new()).unwrap();
    assert_eq!(loaded.settings.network.listen, Some(Vec::new()), "only dials");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    let error = error_from("[network]\n\nseds = []\n", &[]);
    assert!(error.contains("aether.toml:3: unknown key `network.seds`"), "{error}");
    assert!(error.ends_with("did you mean `network.seeds`?"), "{error}");
    let error = error_from("seeds = []", &[]);
    assert!(error.ends_with("did you mean `network.seeds`?"), "{error}");
    let error = error_from("[netwrok]\nlisten = []", &[]);
    assert!(error.ends_with("did you mean `network.listen`?"), "{error}");
    let error = error_from("[rols]\n", &[]);
    assert!(error.contains("unknown key `rols`"), "{error}");
    let error = error_from("", &[("AETHER_NETWORK__SEDS", "x")]);
    assert!(error.starts_with("AETHER_NETWORK__SEDS: unknown key"), "{error}");
    assert!(error.ends_with("did you mean AETHER_NETWORK__SEEDS?"), "{error}");
}

#[test]
fn wrong_values_name_key_origin_and_value() {
    for (text, key, word) in [
        ("[network]\nseeds = ['nonsense']", "network.seeds", "\"nonsense\" is no multiaddress"),
        ("[network]\ntarget_peers = 'many'", "network.target_peers", "\"many\""),
        ("[network]\nrelays = ['/ip4/10.0.0.1/tcp/1']", "network.relays", "/p2p/<peer id>"),
        ("[network]\nmax_connections = -1", "network.max_connections", "-1"),
        ("network = 3", "network", "3"),
        ("preset = 'moon'", "preset", "moon"),
        ("[api]\nlisten = 'everywhere'", "api.listen", "everywhere"),
        ("[log]\nfilter = 'a=b=c'", "log.filter", "a=b=c"),
    ] {
        let error = error_from(text, &[]);
        assert!(error.contains("aether.toml:"), "{error}");
        assert!(error.contains(&format!("`{key}`")), "{error}");
        assert!(error.contains(word), "{error}");
    }
    let error = error_from("", &[("AETHER_NETWORK__RENDEZVOUS", "/ip4/10.0.0.1/tcp/1")]);
    let expected = "AETHER_NETWORK__RENDEZVOUS: `network.rendezvous`: /ip4/10.0.0.1/tcp/1 must end \
                    in /p2p/<peer id>";
    assert_eq!(error, expected);
    let error = error_from("mesh = \n", &[]);
    assert!(error.contains("aether.toml:1:"), "{error}");
}

#[test]
fn variables_of_others_are_left_alone() {
    let others = [
        ("AETHER_API", "http://127.0.0.1:1"),
        ("AETHER_CONFIG", "elsewhere"),
        ("AETHER_TOKEN", "secret"),
        ("AETHER_CA", "ca.pem"),
        ("AETHER_CERT", "client.pem"),
        ("AETHER_KEY", "client.key"),
        ("AETHER_SERVICE_HOST", "10.0.0.1"),
        ("AETHER_PORT_7070_TCP", "tcp://10.0.0.1:7070"),
        ("AETHERNET", "x"),
    ];
    assert!(load_from("", &others, Vec::new()).is_ok());
}

#[test]
fn the_table_lists_every_key_and_no_other() {
    let settings = serde_json::to_value(Settings::default()).unwrap();
    let mut names = Vec::new();
    for (name, value) in settings.as_object().unwrap() {
        match value.as_object() {
            Some(section) => names.extend(section.keys().map(|key| format!("{name}.{key}"))),
            None => names.push(name.clone()),
        }
    }
    names.sort();
    let mut table: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
    table.sort();
    assert_eq!(table, names);
}

#[test]
fn the_default_file_sets_nothing_and_its_examples_are_valid() {
    let loaded = load_from(&default_file(), &[], Vec::new()).unwrap();
    let default = Settings { data: loaded.settings.data.clone(), ..Settings::default() };
    assert_eq!(loaded.settings, default);
    // An example with dots stands for a peer id; all others must do when uncommented.
    let uncommented: String = default_file()
        .lines()
        .filter(|line| !line.starts_with("# ") && !line.contains("..."))
        .map(|line| format!("{}\n", line.trim_start_matches('#')))
        .collect();
    assert!(load_from(&uncommented, &[], Vec::new()).is_ok(), "{uncommented}");
}

#[test]
fn settings_reach_the_node() {
    let text = "mesh = ''";
    let loaded = load_from(text, &[], Vec::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(loaded.settings.builder().spawn()).unwrap_err();
    assert!(error.to_string().contains("a mesh's name"), "{error}");
}

#[test]
fn an_interface_that_others_reach_needs_tokens() {
    for listen in ["0.0.0.0:7070", "[::]:0", "192.0.2.1:7070", "[::ffff:127.0.0.1]:1"] {
        let error = error_from("", &[("AETHER_API__LISTEN", listen)]);
        assert!(error.starts_with("AETHER_API__LISTEN: `api.listen`: "), "{error}");
        assert!(error.contains("api.auth = \"token\""), "{error}");
        let token = [("AETHER_API__LISTEN", listen), ("AETHER_API__AUTH", "token")];
        assert_eq!(load_from("", &token, Vec::new()).unwrap().settings.api.auth, Auth::Token);
        let clients = "[api]\ntls = true\nclient_ca = 'ca.pem'\n";
        assert!(error_from(clients, &token[..1]).contains("api.auth"), "certificates aren't roles");
    }
    for listen in ["127.0.0.1:0", "127.1.2.3:1", "[::1]:1"] {
        assert!(load_from("", &[("AETHER_API__LISTEN", listen)], Vec::new()).is_ok());
    }
    let error = error_from("[api]\nauth = 'tokens'\n", &[]);
    assert!(error.contains("aether.toml:2: `api.auth`"), "{error}");
}

#[test]
fn an_interface_is_not_secured_by_halves() {
    for (text, key, word) in [
        ("[api]\ncertificate = 'c.pem'\n", "api.certificate", "go together"),
        ("[api]\nkey = 'k.pem'\n", "api.key", "go together"),
        ("[api]\nclient_ca = 'ca.pem'\n", "api.client_ca", "api.tls = true"),
    ] {
        let error = error_from(text, &[]);
        assert!(error.contains(&format!("aether.toml:2: `{key}`")), "{error}");
        assert!(error.contains(word), "{error}");
    }
    let both = "[api]\ncertificate = 'c.pem'\nkey = 'k.pem'\nclient_ca = 'ca.pem'\n";
    assert!(load_from(both, &[], Vec::new()).unwrap().settings.api.is_tls());
    let variable = [("AETHER_API__TLS", "true"), ("AETHER_API__CLIENT_CA", "ca.pem")];
    assert!(load_from("", &variable, Vec::new()).unwrap().settings.api.is_tls());
    assert!(!Api::default().is_tls());
    let names = |listen: &str| {
        let (listen, hosts) = (listen.parse().unwrap(), vec!["Node1.example".to_owned()]);
        Api { listen, hosts, ..Api::default() }.names().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(names("[::]:1"), ["127.0.0.1", "::1", "localhost", "node1.example"]);
    assert_eq!(names("192.0.2.1:1")[1], "192.0.2.1");
}
