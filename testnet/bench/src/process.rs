//! Runs in fresh processes, so that one run's memory and crash are not the next one's, and what a
//! process knows about itself.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};
use serde::{Serialize, de::DeserializeOwned};
use tokio::process::Command;

/// How long a run may take, start and end included.
const DEADLINE: Duration = Duration::from_secs(180);

/// Runs `trial` in a fresh process of this program and reads what it measured.
///
/// A run that fails, crashes or hangs for 3 minutes is an error and no harm to the others; what it
/// says on its standard error goes to ours.
pub async fn fresh<T: Serialize, S: DeserializeOwned>(work: &str, trial: &T) -> anyhow::Result<S> {
    let program = std::env::current_exe().context("the program can't find itself")?;
    output(&program, &[work.to_owned(), "--trial".to_owned(), serde_json::to_string(trial)?]).await
}

/// The program of `testnet/peers` with this name, if it is built: in the folder that
/// `AETHER_PEERS` names, or where `testnet/peers/build.sh` puts it.
pub fn peer(name: &str) -> Option<PathBuf> {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/target/release");
    let folder = std::env::var_os("AETHER_PEERS").map_or_else(|| built.into(), PathBuf::from);
    Some(folder.join(name)).filter(|program| program.is_file())
}

/// Runs a program and reads the JSON that it prints. What was said of [`fresh`] holds here too.
pub async fn output<S: DeserializeOwned>(
    program: &Path,
    arguments: &[String],
) -> anyhow::Result<S> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("can't start a fresh process")?;
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output())
        .await
        .with_context(|| format!("the run hung for {DEADLINE:?} and was ended"))??;
    anyhow::ensure!(output.status.success(), "the run failed: {}", output.status);
    serde_json::from_slice(&output.stdout).context("the run printed no sample")
}

/// Processor time that this process has used, in all threads, user and system together.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// Memory of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident now, in bytes.
    pub resident: u64,
    /// The most that was resident at a time, in bytes.
    pub peak: u64,
}

/// Memory of this process, as Linux tells it.
pub fn memory() -> anyhow::Result<Memory> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("memory is read from /proc, so the bench needs Linux")?;
    parse_status(&status).context("/proc/self/status has no VmRSS or VmHWM")
}

fn parse_status(status: &str) -> Option<Memory> {
    let kibibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let (resident, peak) = (kibibytes("VmRSS:")?, kibibytes("VmHWM:")?);
    Some(Memory { resident: resident * 1024, peak: peak * 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let memory = Memory { resident: 1 << 20, peak: 2 << 20 };
        assert_eq!(parse_status(status), Some(memory));
        assert_eq!(parse_status("VmRSS:\t 1 kB\n"), None, "half of it is none of it");
    }

    #[test]
    fn processor_time_counts_work_and_memory_counts_pages() {
        let before = (cpu_time(), memory().unwrap());
        let pages = std::hint::black_box(vec![1u8; 32 << 20]);
        let sum: u64 = pages.iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(sum, 32 << 20);
        assert!(cpu_time() > before.0);
        assert!(memory().unwrap().peak >= before.1.resident + (24 << 20));
    }
}
