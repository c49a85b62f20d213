//! What the programs measure by, and print: one JSON object on standard output, as the bench reads
//! it.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rustix::{
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};
use serde::Serialize;

/// Bytes moved at a time.
pub const BLOCK: usize = 256 * 1024;

/// Calls of one program that another answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calls {
    /// Calls that came back with what was sent.
    pub calls: u64,
    /// Calls that didn't.
    pub failed: u64,
    /// From the end of the warm-up to the last reply, in seconds.
    pub seconds: f64,
    /// Half the calls took so long or less, in milliseconds.
    pub p50: f64,
    /// 99 of 100 took so long or less.
    pub p99: f64,
    /// Processor time that the load took, in seconds, of all processes.
    pub cpu_seconds: f64,
    /// The most resident memory of the whole run, of all processes, in bytes.
    pub peak: u64,
}

/// A file on its way from one side to the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Transfer {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes that the getter received, with the carrier's own framing and without the transport's.
    pub received: u64,
    /// Whether what came is what was sent.
    pub is_intact: bool,
    /// From the first request to the last byte in the getter's file.
    pub seconds: f64,
    /// Processor time of all processes meanwhile, in seconds.
    pub cpu_seconds: f64,
    /// The most resident memory of the whole run, of all processes, in bytes.
    pub peak: u64,
}

/// Prints a sample, which ends the program's work.
pub fn print(sample: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(sample)?);
    Ok(())
}

/// How long calls took.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// In nanoseconds.
    histogram: Histogram<u64>,
}

impl Latencies {
    /// Of no calls so far.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { histogram: Histogram::new(3).context("three digits are possible")? })
    }

    /// One more call.
    pub fn record(&mut self, took: Duration) -> anyhow::Result<()> {
        Ok(self.histogram.record(u64::try_from(took.as_nanos())?)?)
    }

    /// How many calls.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// So many milliseconds or less took this share of the calls.
    pub fn millis(&self, share: f64) -> f64 {
        self.histogram.value_at_quantile(share) as f64 / 1e6
    }
}

/// Now, for measuring.
#[expect(clippy::disallowed_methods, reason = "the programs measure time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Processor time that this process has used, in all threads, user and system together.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// Processor time that another process has used, as Linux tells it: in ticks of 10 ms or so.
pub fn cpu_time_of(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&stat).context("/proc/PID/stat has no utime or stime")?;
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// Fields 14 and 15 (proc(5)); the second one may hold spaces, but is the last in parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// The most memory that was resident at a time in a process, in bytes; `self` is this one.
pub fn peak_memory_of(pid: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes =
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kibibytes.context("/proc/PID/status has no VmHWM")? * 1024)
}

/// Writes a file of so many random bytes, and reads it once, so that it is in memory.
pub fn random_file(path: &Path, bytes: u64, seed: u64) -> anyhow::Result<()> {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut file = File::create_new(path)?;
    let mut block = vec![0; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        draw.fill_bytes(&mut block[..length]);
        file.write_all(&block[..length])?;
        left -= length as u64;
    }
    io::copy(&mut File::open(path)?, &mut io::sink())?;
    Ok(())
}

/// Writes so many bytes into a file, and removes it: what is measured next finds memory for its
/// own files that the system needn't take from a hypervisor first, which some machines pay for
/// more dearly than for the whole transfer.
pub fn warm(folder: &Path, bytes: u64) -> anyhow::Result<()> {
    let path = folder.join("warm");
    let copied = io::copy(&mut io::repeat(0).take(bytes), &mut File::create_new(&path)?);
    fs::remove_file(&path)?;
    copied?;
    Ok(())
}

/// Whether two files hold the same.
pub fn is_same(a: &Path, b: &Path) -> anyhow::Result<bool> {
    if fs::metadata(a)?.len() != fs::metadata(b)?.len() {
        return Ok(false);
    }
    let open = |path| File::open(path).map(|file| BufReader::with_capacity(BLOCK, file));
    let (mut a, mut b) = (open(a)?.bytes(), open(b)?.bytes());
    while let (Some(x), Some(y)) = (a.next(), b.next()) {
        if x? != y? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The bytes that each of so many providers serves: shares of one size, begun at a multiple of
/// `align`, without those that are empty.
pub fn shares(bytes: u64, providers: u64, align: u64) -> Vec<std::ops::Range<u64>> {
    let share = bytes.div_ceil(providers.max(1)).next_multiple_of(align).max(align);
    (0..bytes.div_ceil(share)).map(|n| n * share..bytes.min((n + 1) * share)).collect()
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a ) (b) S 1 2 3 4 5 6 7 8 9 10 40 2 0 0 20";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a) S 1"), None);
        assert!(cpu_time_of(std::process::id()).unwrap() < Duration::from_secs(60));
    }

    #[test]
    fn shares_are_the_whole_and_aligned() {
        assert_eq!(shares(100, 4, 16), [0..32, 32..64, 64..96, 96..100]);
        assert_eq!(shares(10, 4, 16), vec![Range { start: 0, end: 10 }]);
        assert_eq!(shares(0, 4, 16), []);
    }

    #[test]
    fn files_are_random_and_compared() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        random_file(&path("a"), BLOCK as u64 + 3, 1).unwrap();
        random_file(&path("b"), BLOCK as u64 + 3, 1).unwrap();
        random_file(&path("c"), BLOCK as u64 + 3, 2).unwrap();
        assert!(is_same(&path("a"), &path("b")).unwrap());
        assert!(!is_same(&path("a"), &path("c")).unwrap());
        assert!(peak_memory_of("self").unwrap() > 0);
    }
}
