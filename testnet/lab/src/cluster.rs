//! The processes: started, killed, restarted, and ended whatever happens.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tempfile::TempDir;

use crate::{api::Api, leash};

/// How often a file or a node is asked again.
const POLL: Duration = Duration::from_millis(50);
/// How much of a dead node's log is shown, in lines.
const LOG_LINES: usize = 15;

/// The file in a data folder that says where the node's API is.
#[derive(Debug, Deserialize)]
struct ApiFile {
    api: String,
    pid: u32,
}

/// One node of the cluster.
#[derive(Debug)]
pub struct Node {
    /// `node0`, `node1`, and so on.
    pub name: String,
    /// Its data folder, kept over restarts.
    pub data: PathBuf,
    /// What it logged, over all its lives.
    pub log: PathBuf,
    /// Its peer id.
    pub peer: String,
    /// Where it listens in this life, each with its peer id.
    pub addresses: Vec<String>,
    settings: Vec<(String, String)>,
    api: Option<Api>,
    child: Option<Child>,
}

impl Node {
    pub(crate) fn new(folder: &Path, index: usize) -> Result<Self> {
        let name = format!("node{index}");
        let data = folder.join(&name);
        let log = folder.join(format!("{name}.log"));
        fs::create_dir_all(&data).with_context(|| format!("can't make {}", data.display()))?;
        let (peer, addresses, settings) = (String::new(), Vec::new(), Vec::new());
        Ok(Self { name, data, log, peer, addresses, settings, api: None, child: None })
    }

    /// Its API.
    pub fn api(&self) -> Result<&Api> {
        self.api.as_ref().with_context(|| format!("{} isn't running", self.name))
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Fails if the process ended though nobody killed it, and shows why.
    fn check(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let Some(status) = child.try_wait()? else { return Ok(()) };
        bail!("{} ended by itself ({status}); it logged:\n{}", self.name, tail(&self.log))
    }

    /// Kills the process with -9, and waits until it is gone.
    fn kill(&mut self) -> io::Result<()> {
        self.api = None;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill()?;
        child.wait().map(drop)
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// Nodes in processes of their own. Dropping it kills them with -9, and removes their folders
/// unless they were given a place.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    aether: PathBuf,
    leash: PathBuf,
    mesh: String,
    http: reqwest::Client,
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Err(error) = node.kill() {
                let _ = writeln!(io::stderr(), "can't kill {}: {error}", node.name);
            }
        }
    }
}

impl Cluster {
    /// Makes folders for so many nodes: in `data`, where they stay, or in a temporary place.
    ///
    /// `aether` is the program that a node is, `leash` the lab's own (see [`leash`](mod@leash)),
    /// and `mesh` the name of the mesh, which must be nobody else's.
    pub fn new(
        count: usize,
        mesh: &str,
        aether: PathBuf,
        leash: PathBuf,
        data: Option<&Path>,
    ) -> Result<Self> {
        for program in [&aether, &leash] {
            if !program.is_file() {
                bail!("there is no program {}; build it first", program.display());
            }
        }
        let temporary = match data {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("aether-lab-").tempdir()?),
        };
        let folder = data.or(temporary.as_ref().map(TempDir::path)).context("there is a folder")?;
        let folder = std::path::absolute(folder)?;
        let nodes = (0..count).map(|index| Node::new(&folder, index)).collect::<Result<_>>()?;
        let (http, mesh) = (Api::client()?, mesh.to_owned());
        Ok(Self { nodes, aether, leash, mesh, http, folder, _temporary: temporary })
    }

    /// The nodes, the first of which is the seed of the others.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The program that a node is.
    pub fn aether(&self) -> &Path {
        &self.aether
    }

    /// The lab's own program.
    pub(crate) fn leash(&self) -> &Path {
        &self.leash
    }

    /// The name of the mesh.
    pub(crate) fn mesh(&self) -> &str {
        &self.mesh
    }

    /// Where data and logs are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Gives a node these settings, by their names in the environment, and none else, from its next
    /// start on.
    pub fn configure(&mut self, node: usize, settings: &[(&str, String)]) {
        let owned = settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        self.nodes[node].settings = owned.collect();
    }

    /// Starts all nodes: the first, and when it listens the others at once.
    pub async fn start(&mut self, timeout: Duration) -> Result<()> {
        let all: Vec<usize> = (0..self.len()).collect();
        self.launch(&all[..1], timeout).await?;
        self.launch(&all[1..], timeout).await
    }

    /// Kills these nodes with -9, all at once, and waits until they are gone.
    pub fn kill(&mut self, which: &[usize]) -> Result<()> {
        for &index in which {
            let node = &mut self.nodes[index];
            node.check()?;
            if let Some(child) = &mut node.child {
                child.kill().with_context(|| format!("can't kill {}", node.name))?;
            }
        }
        for &index in which {
            self.nodes[index].kill()?;
        }
        Ok(())
    }

    /// Starts nodes that don't run, with the data that they have, and waits until they answer.
    /// Each is told the address that the first node has by now, and none other.
    pub async fn launch(&mut self, which: &[usize], timeout: Duration) -> Result<()> {
        for &index in which {
            self.spawn(index).with_context(|| format!("can't start {}", self.nodes[index].name))?;
        }
        let answers = async {
            for &index in which {
                self.answers(index).await?;
            }
            Ok(())
        };
        match tokio::time::timeout(timeout, answers).await {
            Ok(result) => result,
            Err(_) => bail!("not all nodes answered within {timeout:?} of their start"),
        }
    }

    /// Starts a node that doesn't run, and kills it with -9 after a time, be it ready or not.
    pub async fn launch_briefly(&mut self, index: usize, time: Duration) -> Result<()> {
        self.spawn(index).with_context(|| format!("can't start {}", self.nodes[index].name))?;
        tokio::time::sleep(time).await;
        self.kill(&[index])
    }

    fn spawn(&mut self, index: usize) -> Result<()> {
        let seed = if index == 0 { None } else { self.nodes[0].addresses.first().cloned() };
        let node = &self.nodes[index];
        let log = File::options().create(true).append(true).open(&node.log)?;
        let mut command = leash::command(&self.leash, &self.aether);
        command.args(["run", "--preset", "local", "--api", "127.0.0.1:0", "--mesh", &self.mesh]);
        command.args(["--log-format", "json", "--data"]).arg(&node.data);
        command.args(seed.iter().flat_map(|seed| ["--seed", seed]));
        // What the user has configured for a node of their own is none of ours.
        for (key, _) in std::env::vars_os() {
            if key.as_encoded_bytes().starts_with(b"AETHER_") {
                command.env_remove(key);
            }
        }
        command.envs(node.settings.iter().map(|(key, value)| (key, value)));
        command.env("XDG_CONFIG_HOME", &node.data);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A Ctrl-C is for the lab, which ends its nodes in its own way.
        command.process_group(0);
        self.nodes[index].child = Some(command.spawn()?);
        Ok(())
    }

    /// Waits until a node that was started has written where its API is, and says who it is.
    async fn answers(&mut self, index: usize) -> Result<()> {
        let node = &mut self.nodes[index];
        let file = node.data.join("api.json");
        let url = loop {
            node.check()?;
            // The file of an earlier life names another process.
            let found = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
            match found {
                Some(ApiFile { api, pid }) if Some(pid) == node.pid() => break api,
                _ => tokio::time::sleep(POLL).await,
            }
        };
        let api = Api::new(self.http.clone(), url);
        let status = api.status().await.with_context(|| format!("{} says nothing", node.name))?;
        (node.peer, node.addresses) = (status.peer, status.addresses);
        node.api = Some(api);
        Ok(())
    }

    /// Fails if a node ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = Cluster::new(2, "m", "/nowhere/aether".into(), "/bin/sh".into(), None);
        assert!(error.unwrap_err().to_string().contains("/nowhere/aether"));
    }

    #[test]
    fn folders_go_with_the_cluster_unless_they_were_given() {
        let place = tempfile::tempdir().unwrap();
        let sh = || PathBuf::from("/bin/sh");
        let given = Cluster::new(2, "m", sh(), sh(), Some(place.path())).unwrap();
        let temporary = Cluster::new(2, "m", sh(), sh(), None).unwrap();
        let folders = [given.nodes[1].data.clone(), temporary.nodes[1].data.clone()];
        assert!(folders.iter().all(|folder| folder.is_dir()));
        drop((given, temporary));
        assert_eq!(folders.map(|folder| folder.is_dir()), [true, false]);
    }

    #[test]
    fn the_end_of_a_log_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert_eq!(tail(&log), "");
        let lines: Vec<String> = (0..40).map(|line| line.to_string()).collect();
        fs::write(&log, lines.join("\n")).unwrap();
        assert_eq!(tail(&log), lines[25..].join("\n"));
    }
}
