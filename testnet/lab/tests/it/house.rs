//! Rules of the workspace that its manifests must keep.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, Package};

pub(crate) fn workspace() -> Metadata {
    let mut command = MetadataCommand::new();
    command.cargo_path(env!("CARGO")).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.no_deps().exec().expect("cargo metadata works on the workspace")
}

fn folder(metadata: &Metadata, package: &Package) -> String {
    let folder = package.manifest_path.parent().expect("a manifest is in a folder");
    folder.strip_prefix(&metadata.workspace_root).expect("a member is in the workspace").to_string()
}

/// Where a package stands: what is lower may be used, what is as high or higher may not.
fn rank(folder: &str) -> Option<usize> {
    const LADDER: [&str; 5] = ["mesh/core", "mesh/store", "mesh", "crdt", "consensus"];
    match folder.split_once('/') {
        Some(("apps", _)) => Some(LADDER.len()),
        Some(("testnet", _)) => Some(LADDER.len() + 1),
        None if folder == "examples" => Some(LADDER.len() + 1),
        _ => LADDER.iter().position(|place| *place == folder),
    }
}

/// Dependencies of a package on other members, by name.
fn inner<'a>(
    metadata: &'a Metadata,
    package: &'a Package,
) -> impl Iterator<Item = (&'a Dependency, &'a Package)> {
    package.dependencies.iter().filter_map(|dependency| {
        let target = metadata.packages.iter().find(|other| *other.name == dependency.name)?;
        dependency.path.as_ref()?;
        Some((dependency, target))
    })
}

/// What is wrong with the direction of dependencies, one line each.
fn wrong_dependencies(metadata: &Metadata) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let from = folder(metadata, package);
        let Some(height) = rank(&from) else {
            wrong
                .push(format!("{from} has no place; give it one in testnet/lab/tests/it/house.rs"));
            continue;
        };
        for (dependency, target) in inner(metadata, package) {
            let to = folder(metadata, target);
            let develops = dependency.kind == DependencyKind::Development;
            let tool = matches!(to.as_str(), "testnet/lab" | "testnet/bench");
            let outer =
                from.starts_with("apps/") || from.starts_with("testnet/") || from == "examples";
            let allowed = match to.as_str() {
                _ if tool => outer && rank(&to) <= Some(height),
                // The simulator is everyone's, for tests.
                "testnet/sim" => develops || from.starts_with("testnet/"),
                _ if from == "testnet/sim" => to == "mesh/core",
                _ => rank(&to) < Some(height),
            };
            if !allowed {
                wrong.push(format!("{from} must not depend on {to}"));
            }
        }
    }
    wrong
}

#[test]
fn dependencies_point_down_only() {
    let wrong = wrong_dependencies(&workspace());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_dependency_that_points_up_is_found() {
    let mut metadata = workspace();
    let of = |metadata: &Metadata, name: &str| {
        metadata.packages.iter().position(|package| *package.name == name).expect(name)
    };
    let (core, lab) = (of(&metadata, "aether-core"), of(&metadata, "aether-lab"));
    let (mesh, sim) = (of(&metadata, "aether-mesh"), of(&metadata, "aether-sim"));
    let down = metadata.packages[mesh].dependencies.iter();
    let mut edge = down.clone().find(|d| d.name == "aether-core").expect("mesh uses core").clone();
    edge.kind = DependencyKind::Normal;
    for (from, to) in [(core, "aether-mesh"), (mesh, "aether-lab"), (sim, "aether-store")] {
        edge.name = to.to_owned();
        metadata.packages[from].dependencies.push(edge.clone());
    }
    edge.name = "aether-sim".to_owned();
    metadata.packages[core].dependencies.push(edge.clone());
    metadata.packages[lab].dependencies.push(edge);
    let wrong = wrong_dependencies(&metadata);
    let expected = [
        "mesh must not depend on testnet/lab",
        "mesh/core must not depend on mesh",
        "mesh/core must not depend on testnet/sim",
        "testnet/sim must not depend on mesh/store",
    ];
    assert_eq!(wrong.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected.into());
}

#[test]
fn protocols_build_without_the_network() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "aether-mesh", "--no-default-features", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}", "--offline", "--locked"])
        .current_dir(workspace().workspace_root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains("aether-core"), "this is no tree:\n{tree}");
    for name in names {
        assert!(!name.starts_with("libp2p") && name != "tokio", "aether-mesh's proto needs {name}");
    }
}

/// What is wrong with the dependencies in a manifest, each named.
fn own_versions(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().expect("cargo has read it");
    let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flatten();
    let targets = targets.filter_map(|(_, target)| target.as_table());
    let mut wrong = Vec::new();
    for table in targets.chain([&manifest]) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let dependencies =
                table.get(kind).and_then(toml::Value::as_table).into_iter().flatten();
            let own = dependencies.filter(|(_, dependency)| {
                dependency.get("workspace").and_then(toml::Value::as_bool) != Some(true)
            });
            wrong.extend(own.map(|(name, _)| name.clone()));
        }
    }
    wrong
}

#[test]
fn every_version_stands_once_in_the_workspace() {
    let metadata = workspace();
    for package in &metadata.packages {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        let wrong = own_versions(&manifest);
        assert_eq!(wrong, [""; 0], "{}: say `workspace = true` of these", package.manifest_path);
    }
}

#[test]
fn a_version_of_its_own_is_found() {
    let manifest = r#"
        [dependencies]
        a.workspace = true
        b = { workspace = true, optional = true }
        c = "1"
        [dev-dependencies]
        d = { path = "../d" }
        [target.'cfg(unix)'.build-dependencies]
        e = { version = "1" }
    "#;
    let wrong: BTreeSet<String> = own_versions(manifest).into_iter().collect();
    assert_eq!(wrong, ["c", "d", "e"].map(str::to_owned).into());
}

/// The folder that all members are in.
pub(crate) fn root() -> PathBuf {
    workspace().workspace_root.into()
}
