//! `corelane check FILE`: is this file right?

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::exit::{Code, Failure};
use crate::cluster::Address;
use crate::config::{AppConfig, Config};

const COLUMNS: [&str; 4] = ["NAME", "LISTEN", "INSTANCES", "ROUTES"];

/// Prints a file's apps, if nothing is wrong with it.
pub(super) fn check(file: &Path, json: bool) -> Result<ExitCode, Failure> {
    let config = Config::load(file)?;
    let text = if json { as_json(file, &config) } else { as_table(file, &config) };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Code::Done.into()),
        Err(error) => Err(Failure::Output(error)),
        Ok(()) => Ok(Code::Done.into()),
    }
}

fn as_table(file: &Path, config: &Config) -> String {
    let count = config.apps.len();
    let noun = if count == 1 { "app" } else { "apps" };
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(config.apps.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(width);
    let mut text = format!("{}: ok, {count} {noun}\n", file.display());
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(app: &AppConfig) -> [String; COLUMNS.len()] {
    let listen: Vec<_> = app.listen.iter().map(Address::to_string).collect();
    let (instances, routes) = (app.instances.to_string(), app.routes.len().to_string());
    [app.name.clone(), listen.join(", "), instances, routes]
}

fn as_json(file: &Path, config: &Config) -> String {
    let apps: Vec<_> = config.apps.iter().map(app_as_json).collect();
    format!("{:#}\n", json!({ "file": file.display().to_string(), "apps": apps }))
}

fn app_as_json(app: &AppConfig) -> Value {
    let listen: Vec<_> = app.listen.iter().map(Address::to_string).collect();
    let instances = app.instances.to_string();
    let instances = instances.parse::<i64>().map_or(Value::from(instances), Value::from);
    json!({
        "name": app.name,
        "listen": listen,
        "instances": instances,
        "routes": app.routes.len(),
    })
}
