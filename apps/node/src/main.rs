//! The `aether` program. Everything is in the library, so that tests can reach it.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A node's threads hand each other what they have allocated, at which the system's allocator is
/// slow.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    aether_node::cli::main()
}
