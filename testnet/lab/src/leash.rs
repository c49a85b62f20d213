//! How a node is made to die with the lab.
//!
//! A lab that is killed with -9 can't stop its nodes. The kernel can: a process may ask for a
//! signal when its parent dies (Linux, `PR_SET_PDEATHSIG`), and keeps that wish when it turns into
//! another program. So the lab starts itself, with [`COMMAND`] as first argument; that process
//! puts itself on the leash and then becomes the node, under the same process id. Elsewhere than
//! on Linux there is no leash, and only a lab that ends by itself stops its nodes.

use std::{
    convert::Infallible,
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{self, Command},
};

/// The first argument that makes the lab's program a leash.
pub const COMMAND: &str = "leash";

/// A command that runs `program` on a leash held by this very thread: it must outlive the node.
pub fn command(leash: &Path, program: &Path) -> Command {
    let mut command = Command::new(leash);
    command.arg(COMMAND).arg(process::id().to_string()).arg(program);
    command
}

/// Becomes a node on a leash; `args` is what follows [`COMMAND`]. Returns only with an error.
pub fn run(mut args: impl Iterator<Item = OsString>) -> io::Result<Infallible> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "usage: leash PARENT PROGRAM ARGS");
    let parent = args.next().and_then(|id| id.to_str()?.parse().ok()).ok_or_else(wrong)?;
    let program = args.next().ok_or_else(wrong)?;
    tie(parent)?;
    Err(Command::new(program).args(args).exec())
}

#[cfg(target_os = "linux")]
fn tie(parent: i32) -> io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died just before: then nobody will ever pull the leash.
    if getppid().map(|id| id.as_raw_nonzero().get()) != Some(parent) {
        return Err(io::Error::other("the lab is gone"));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn tie(_parent: i32) -> io::Result<()> {
    Ok(())
}
