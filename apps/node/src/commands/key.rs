//! `aether key`.

use std::path::PathBuf;

use aether_mesh::identity;
use serde::Serialize;

use crate::{
    cli::{Common, Key, Output},
    output,
};

#[derive(Serialize)]
struct Shown {
    peer: String,
    file: PathBuf,
}

pub(crate) fn key(common: &Common, key: Key) -> anyhow::Result<()> {
    let place = |file: Option<PathBuf>| match file {
        Some(file) => Ok(file),
        None => common.settings().map(|loaded| loaded.settings.data.join("identity.key")),
    };
    let (file, key) = match key {
        Key::New { file } => {
            let file = place(file)?;
            let key = identity::generate()?;
            identity::save(&file, &key)?;
            (file, key)
        }
        Key::Show { file } => {
            let file = place(file)?;
            let key = identity::load(&file)?;
            (file, key)
        }
    };
    let peer = identity::peer_id(&key.public()).to_string();
    match common.output {
        Output::Json => output::json(&Shown { peer, file })?,
        Output::Table => output::line(&peer)?,
    }
    Ok(())
}
