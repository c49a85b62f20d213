//! Who may use the interface, and how it is kept from others.

mod tls;
mod tokens;

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use crate::support::{aether, data, output, stderr, stdout};

/// A token of the interface of the node in this home, as text.
pub(crate) fn token(home: &Path, role: &str) -> String {
    let made = output(aether(home).args(["api", "token", "--role", role]));
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(stderr(&made).contains("take back  aether api revoke 12D3KooW"), "{}", stderr(&made));
    stdout(&made).trim().to_owned()
}

/// What a command says that is run elsewhere, and knows of the node what these flags say.
fn elsewhere(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("there is room");
    output(aether(home.path()).args(arguments))
}

/// The file in which a node keeps the certificate that it made itself.
fn own_certificate(home: &Path) -> PathBuf {
    data(home).join("api-tls.pem")
}
