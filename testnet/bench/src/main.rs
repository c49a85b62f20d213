//! `aether-bench NAME [--json FILE]`: see the library's documentation.

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

/// That of the `aether` program, for all that is measured.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    aether_bench::run(aether_bench::Options::parse())
}
