//! `aether-bench NAME [--json FILE]`: see the library's documentation.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> anyhow::Result<ExitCode> {
    aether_bench::run(aether_bench::Options::parse())
}
