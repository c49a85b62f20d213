//! What a stage works with.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use comfy_table::{Table, presets};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use crate::{
    api::Peer,
    cluster::Cluster,
    report::{Report, float},
    settled::{bare, both_ways, components, wrong_members},
    traffic::{Outcome, Traffic},
};

/// The topic that a lab's nodes read.
pub const TOPIC: &str = "tour";

/// What a lab is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program that a node is.
    pub aether: PathBuf,
    /// The lab's own program, which becomes a node on a [leash](crate::leash).
    pub leash: PathBuf,
    /// How many nodes, two at least.
    pub nodes: usize,
    /// Decides whatever is drawn: which nodes are killed, and for how long.
    pub seed: u64,
    /// What the nodes publish, over and over.
    pub lines: Vec<String>,
    /// Where to keep data folders and logs, instead of in a temporary place.
    pub data: Option<PathBuf>,
}

/// A cluster with traffic through it, and the report on both.
#[derive(Debug)]
pub struct Lab {
    /// The nodes.
    pub cluster: Cluster,
    /// What they say to each other.
    pub traffic: Traffic,
    /// What was measured.
    pub report: Report,
    rng: ChaCha12Rng,
    lines: Vec<String>,
    next_line: usize,
}

impl Lab {
    /// A lab where nothing runs yet.
    pub fn new(options: Options) -> Result<Self> {
        let Options { aether, leash, nodes, seed, lines, data } = options;
        if nodes < 2 || lines.is_empty() {
            bail!("a lab needs two nodes and one line of input at least");
        }
        // Two labs with the same seed side by side must not meet.
        let mesh = format!("lab-{seed}-{}", std::process::id());
        Ok(Self {
            cluster: Cluster::new(nodes, &mesh, aether, leash, data.as_deref())?,
            traffic: Traffic::new(TOPIC, nodes),
            report: Report::default(),
            rng: ChaCha12Rng::seed_from_u64(seed),
            lines,
            next_line: 0,
        })
    }

    /// How long anything is waited for. Only a defect takes so long, on any machine that can run
    /// so many nodes at all.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(60 + 3 * u64::try_from(self.nodes()).unwrap_or(0))
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.cluster.len()
    }

    /// A number below `bound`, which is small, by the seed.
    pub fn draw(&mut self, bound: usize) -> usize {
        let drawn = usize::try_from(self.rng.next_u32()).expect("usize has 32 bits at least");
        drawn % bound.max(1)
    }

    /// So many different nodes, by the seed.
    pub fn draw_nodes(&mut self, count: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.nodes()).collect();
        let count = count.min(left.len());
        let mut drawn = Vec::with_capacity(count);
        while drawn.len() < count {
            let at = self.draw(left.len());
            drawn.push(left.swap_remove(at));
        }
        drawn
    }

    /// Kills nodes with -9.
    pub fn kill(&mut self, which: &[usize]) -> Result<()> {
        which.iter().for_each(|node| self.traffic.detach(*node));
        self.cluster.kill(which)
    }

    /// Waits until every node lists every other as an alive member, and nobody else, with the
    /// addresses of its present life.
    pub async fn wait_for_members(&mut self) -> Result<()> {
        self.until(async |lab| {
            for node in 0..lab.nodes() {
                let peers = lab.peers(node).await?;
                if let Some(wrong) = wrong_members(node, lab.cluster.nodes(), &peers) {
                    return Ok(Some(wrong));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Waits until these nodes hold none of those for members.
    pub async fn wait_for_deaths(&mut self, watchers: &[usize], dead: &[usize]) -> Result<()> {
        let dead: Vec<String> =
            dead.iter().map(|&i| self.cluster.nodes()[i].peer.clone()).collect();
        self.until(async |lab| {
            for &watcher in watchers {
                let peers = lab.peers(watcher).await?;
                if peers.iter().any(|peer| peer.is_member() && dead.contains(&peer.peer)) {
                    return Ok(Some(format!("node{watcher} still lists who is dead")));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Subscribes those nodes that don't read yet, and waits until gossip can go from each node to
    /// each. Gives the number of edges of the gossip graph.
    pub async fn wait_for_gossip(&mut self) -> Result<usize> {
        for node in 0..self.nodes() {
            if !self.traffic.is_reading(node) {
                let api = self.cluster.nodes()[node].api()?.clone();
                let attached = self.traffic.attach(node, &api).await;
                attached.with_context(|| format!("node{node} doesn't subscribe"))?;
            }
        }
        let mut edges = BTreeSet::new();
        self.until(async |lab| {
            edges = lab.gossip_graph().await?;
            let parts = components(lab.nodes(), &edges);
            Ok((parts > 1).then(|| format!("the gossip graph is in {parts} parts")))
        })
        .await?;
        Ok(edges.len())
    }

    /// Lets every node publish so many lines, and reports whether all others got them once.
    pub async fn exchange(&mut self, stage: &str, lines: usize) -> Result<Outcome> {
        let timeout = self.timeout();
        let (nodes, total) = (self.cluster.nodes(), self.lines.len());
        let mut batch = Vec::new();
        for (author, node) in nodes.iter().enumerate() {
            let from = self.next_line + author * lines;
            let lines = (from..from + lines).map(|at| self.lines[at % total].as_str()).collect();
            batch.push((author, node.api()?, lines));
        }
        let outcome = self.traffic.exchange(&batch, timeout).await?;
        self.next_line += nodes.len() * lines;
        self.cluster.check()?;
        self.report_exchange(stage, &outcome);
        Ok(outcome)
    }

    fn report_exchange(&mut self, stage: &str, outcome: &Outcome) {
        let report = &mut self.report;
        report.measure(stage, "messages published", float(outcome.messages), "");
        let delivered = outcome.expected - outcome.missing;
        let all = delivered == outcome.expected;
        report.check(stage, "deliveries", float(delivered), "", all);
        report.none(stage, "missing", outcome.missing);
        report.none(stage, "duplicates", outcome.duplicates);
        report.none(stage, "out of their author's order", outcome.reordered);
        report.none(stage, "that nobody published", outcome.foreign);
        report.none(stage, "reported as missed", outcome.reported);
        report.none(stage, "subscriptions broken", outcome.broken);
        let seconds = outcome.elapsed.as_secs_f64().max(0.001);
        report.measure(stage, "rate", float(delivered) / seconds, "deliveries/s");
    }

    /// Publishes a line through a node, and gives the time until the last reader had it.
    pub async fn time_one(&mut self, author: usize) -> Result<Option<Duration>> {
        let line = &self.lines[self.next_line % self.lines.len()];
        self.next_line += 1;
        let api = self.cluster.nodes()[author].api()?;
        self.traffic.time_one(author, api, line, self.timeout()).await
    }

    /// The nodes: name, peer id, addresses, API, process, log.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["NAME", "PEER ID", "ADDRESSES", "API", "PID", "LOG"]);
        for node in self.cluster.nodes() {
            let addresses: Vec<&str> = node.addresses.iter().map(|address| bare(address)).collect();
            table.add_row([
                node.name.clone(),
                node.peer.clone(),
                addresses.join("\n"),
                node.api().map_or_else(|_| "-".to_owned(), |api| api.url().to_owned()),
                node.pid().map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                node.log.display().to_string(),
            ]);
        }
        table
    }

    async fn peers(&self, node: usize) -> Result<Vec<Peer>> {
        let peers = self.cluster.nodes()[node].api()?.peers().await;
        peers.with_context(|| format!("node{node} doesn't tell its peers"))
    }

    /// Pairs of nodes, lower first, that gossip to each other. One that is heard and not listened
    /// to, or the other way round, is no pair.
    async fn gossip_graph(&self) -> Result<BTreeSet<(usize, usize)>> {
        let mut ways = BTreeSet::new();
        for node in 0..self.nodes() {
            for peer in self.peers(node).await?.iter().filter(|peer| peer.meshes > Some(0)) {
                let other = self.cluster.nodes().iter().position(|other| other.peer == peer.peer);
                ways.extend(other.map(|other| (node, other)));
            }
        }
        Ok(both_ways(&ways))
    }

    /// Asks again and again until `check` has nothing to say against it.
    async fn until(
        &mut self,
        mut check: impl AsyncFnMut(&Self) -> Result<Option<String>>,
    ) -> Result<()> {
        let (started, timeout) = (now(), self.timeout());
        // Fifty nodes take longer to be asked, and have less time to spare for it.
        let pause = Duration::from_millis(50 + 10 * u64::try_from(self.nodes())?);
        loop {
            self.cluster.check()?;
            let wrong = match check(self).await {
                Ok(None) => return Ok(()),
                Ok(Some(wrong)) => wrong,
                Err(error) => format!("{error:#}"),
            };
            if started.elapsed() > timeout {
                bail!("{wrong}, after {timeout:?}");
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// The time: a lab measures real processes.
#[expect(clippy::disallowed_methods, reason = "a lab runs in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(seed: u64) -> Lab {
        let sh = || PathBuf::from("/bin/sh");
        let lines = vec!["line".to_owned()];
        Lab::new(Options { aether: sh(), leash: sh(), nodes: 10, seed, lines, data: None }).unwrap()
    }

    #[test]
    fn the_seed_decides_what_is_drawn() {
        let draw = |seed| lab(seed).draw_nodes(4);
        assert_eq!(draw(1), draw(1));
        assert!((2..20).any(|seed| draw(seed) != draw(1)));
        let all: BTreeSet<usize> = lab(1).draw_nodes(99).into_iter().collect();
        assert_eq!(all.len(), 10, "each node once");
    }
}
