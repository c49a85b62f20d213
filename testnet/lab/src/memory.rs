//! What a process has in memory, as Linux tells it.

use std::fs;

use anyhow::{Context as _, Result};

/// Resident bytes of a process, now.
pub fn resident(pid: u32) -> Result<u64> {
    field(pid, "VmRSS")
}

/// The most that was resident since [`forget_peak`], or since the process began where that isn't
/// allowed.
pub fn peak(pid: u32) -> Result<u64> {
    field(pid, "VmHWM")
}

/// Begins a new peak. False where it isn't allowed.
pub fn forget_peak(pid: u32) -> bool {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

fn field(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path);
    let status = status.with_context(|| format!("can't read {path}, which needs Linux"))?;
    parse(&status, name).with_context(|| format!("{path} has no {name}"))
}

/// A field of the file, which says it in KiB.
fn parse(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t     512 kB\n";
        assert_eq!(parse(status, "VmRSS"), Some(512 * 1024));
        assert_eq!(parse(status, "VmHWM"), Some(2048 * 1024));
        assert_eq!(parse(status, "Vm"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_has_something_in_memory() {
        let me = std::process::id();
        assert!(resident(me).unwrap() > 0 && peak(me).unwrap() > 0);
    }
}
