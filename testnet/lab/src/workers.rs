//! Workers: programs of a user's own beside the nodes, that serve.

use std::{
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{cluster::Cluster, leash};

/// Processes of the example `pool`. Dropping it kills them with -9.
#[derive(Debug)]
pub struct Workers {
    program: PathBuf,
    running: Vec<(String, Child)>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        for (_, worker) in &mut self.running {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

impl Workers {
    /// None yet. The program is found beside the node's.
    pub fn new(cluster: &Cluster) -> Result<Self> {
        let program = cluster.aether().with_file_name("pool");
        if !program.is_file() {
            let program = program.display();
            bail!("there is no program {program}: cargo build -p aether-examples --bin pool");
        }
        Ok(Self { program, running: Vec::new() })
    }

    /// Starts a worker that takes so many milliseconds longer over each answer.
    pub fn start(&mut self, cluster: &Cluster, name: &str, slow: u64) -> Result<()> {
        self.start_at(cluster, 0, name, slow)
    }

    /// The same, with the address of this node and none other to begin with.
    pub fn start_at(
        &mut self,
        cluster: &Cluster,
        node: usize,
        name: &str,
        slow: u64,
    ) -> Result<()> {
        let seed = cluster.nodes()[node].addresses.first().context("the node listens")?;
        let log = File::create(cluster.folder().join(format!("{name}.log")))?;
        let mut command = leash::command(cluster.leash(), &self.program);
        command.args(["--local", "--mesh", cluster.mesh(), "--seed", seed, "work"]);
        command.args(["--name", name, "--slow", &slow.to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A Ctrl-C is for the lab, which ends its workers in its own way.
        command.process_group(0);
        self.running.push((name.to_owned(), command.spawn()?));
        Ok(())
    }

    /// The process id of one that runs.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.running.iter().find(|(other, _)| other == name).map(|(_, worker)| worker.id())
    }

    /// Kills one with -9.
    pub fn kill(&mut self, name: &str) -> io::Result<()> {
        if let Some(at) = self.running.iter().position(|(other, _)| other == name) {
            let (_, mut worker) = self.running.swap_remove(at);
            worker.kill()?;
            worker.wait()?;
        }
        Ok(())
    }

    /// Has all stop in order, and waits for it.
    pub fn stop(&mut self) -> io::Result<()> {
        for (_, worker) in &self.running {
            let kill = format!("kill -INT {}", worker.id());
            Command::new("sh").args(["-c", &kill]).status()?;
        }
        for (_, mut worker) in self.running.drain(..) {
            worker.wait()?;
        }
        Ok(())
    }
}
