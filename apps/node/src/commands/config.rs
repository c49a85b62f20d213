//! `aether config`.

use serde::Serialize;
use serde_json::Value;

use crate::{
    cli::{Common, Config, Output},
    config::{KEYS, Loaded, default_file},
    output,
};

#[derive(Serialize)]
struct Row {
    key: &'static str,
    value: Value,
    origin: String,
}

pub(crate) fn config(common: &Common, command: &Config) -> anyhow::Result<()> {
    if matches!(command, Config::Default) {
        return Ok(output::line(default_file().trim_end())?);
    }
    let loaded = common.settings()?;
    if matches!(command, Config::Show) {
        return show(common, &loaded);
    }
    loaded.tls_files()?;
    output::note(&match &loaded.file {
        Some(file) => format!("{} and the environment are fine", file.display()),
        None => "there is no config file, and the environment is fine".to_owned(),
    });
    Ok(())
}

fn show(common: &Common, loaded: &Loaded) -> anyhow::Result<()> {
    let settings = serde_json::to_value(&loaded.settings)?;
    let row = |name: &'static str| {
        let pointer = format!("/{}", name.replace('.', "/"));
        let value = settings.pointer(&pointer).cloned().unwrap_or(Value::Null);
        Row { key: name, value, origin: loaded.origin(name) }
    };
    let rows: Vec<_> = KEYS.iter().map(|key| row(key.name)).collect();
    if common.output == Output::Json {
        return Ok(output::json(&rows)?);
    }
    let mut table = output::table(&["KEY", "VALUE", "FROM"]);
    for row in rows {
        let value = match row.value {
            Value::Null => "-".to_owned(),
            value => output::plain(&value.to_string()),
        };
        table.add_row([row.key.to_owned(), value, output::plain(&row.origin)]);
    }
    Ok(output::line(&table.trim_fmt())?)
}
