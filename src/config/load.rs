//! From a file to a [`Config`].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Map, Value};
use toml::de::DeTable;

use super::error::{ConfigError, Mistake};
use super::model::Config;
use super::report::Report;
use super::schema;
use crate::cluster::Address;

/// The largest file that is taken for a configuration.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or with everything that is wrong with it.
    pub(crate) fn load(file: &Path) -> Result<Self, ConfigError> {
        let bytes = read(file)
            .map_err(|problem| ConfigError::Unreadable { file: file.to_owned(), problem })?;
        let name = file.display().to_string();
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let mistake = not_utf8(&bytes, error.valid_up_to(), &name);
            ConfigError::Wrong { mistakes: vec![mistake] }
        })?;
        Self::parse(text, &name)
    }

    /// Reads and checks what comes in at stdin.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or with everything that is wrong with it.
    pub(crate) fn load_stdin() -> Result<Self, ConfigError> {
        let mut text = String::new();
        io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| {
            ConfigError::Unreadable { file: "stdin".into(), problem: explain(&error) }
        })?;
        Self::parse(&text, "stdin")
    }

    /// Checks a text; `file` is what mistakes name.
    ///
    /// # Errors
    ///
    /// With everything that is wrong with it.
    pub(crate) fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let mut report = Report::new(file, text);
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let at = error.span().unwrap_or(text.len()..text.len());
            report.garbled(&at, error.message());
        }
        let config = schema::read(root.get_ref(), &mut report);
        let mistakes = report.finish();
        if !mistakes.is_empty() {
            return Err(ConfigError::Wrong { mistakes });
        }
        Ok(define(config, text))
    }

    /// What is served without a file.
    pub(crate) fn embedded() -> Self {
        let parsed = Self::parse(include_str!("default.toml"), "default.toml");
        parsed.expect("invariant: a test parses the embedded text")
    }

    /// Whether two addresses are one socket.
    pub(crate) fn clash(one: &Address, other: &Address) -> bool {
        schema::clash(one, other)
    }

    /// The first of these addresses that is listed twice.
    pub(crate) fn duplicate(addresses: &[Address]) -> Option<&Address> {
        schema::duplicate(addresses)
    }
}

/// Adds to each app what the file says of it, as it stands there, with the defaults.
fn define(mut config: Config, text: &str) -> Config {
    // It has just been parsed.
    let Ok(root) = toml::from_str::<Value>(text) else { return config };
    let defaults = root["defaults"].as_object().cloned().unwrap_or_default();
    let tables = root["apps"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (app, table) in config.apps.iter_mut().zip(tables) {
        app.definition.clone_from(&defaults);
        for (key, value) in table.as_object().into_iter().flatten() {
            merge(&mut app.definition, key, value);
        }
    }
    config
}

/// A table of the app adds to that of the defaults; anything else takes its place.
fn merge(definition: &mut Map<String, Value>, key: &str, value: &Value) {
    match (definition.get_mut(key), value) {
        (Some(Value::Object(base)), Value::Object(own)) => {
            base.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        _ => drop(definition.insert(key.to_owned(), value.clone())),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let opened = File::open(file).map_err(|error| explain(&error))?;
    if opened.metadata().is_ok_and(|about| about.is_dir()) {
        return Err("it is a directory; name the file in it".to_owned());
    }
    let mut bytes = Vec::new();
    let mut bounded = opened.take(FILE_BYTES_MAX + 1);
    bounded.read_to_end(&mut bytes).map_err(|error| explain(&error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("it is larger than 1 MiB, which no configuration is".to_owned());
    }
    Ok(bytes)
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn not_utf8(bytes: &[u8], at: usize, file: &str) -> Mistake {
    let before = String::from_utf8_lossy(&bytes[..at]);
    let (line, rest) = before.split('\n').enumerate().last().unwrap_or_default();
    let (line, column) = (line + 1, rest.chars().count() + 1);
    let message = "this byte is no UTF-8: save the file in that encoding".to_owned();
    Mistake { file: file.to_owned(), line, column, message, excerpt: None }
}
