//! What a manager must know of its apps should the one before be gone: a file, replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::{Home, Spec};

/// The version of the file's form.
const VERSION: u32 = 1;
/// Its permissions: there may be secrets in it.
const MODE: u32 = 0o600;

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) version: u32,
    pub(super) next_id: u32,
    pub(super) apps: Vec<RememberedApp>,
}

/// An app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RememberedApp {
    pub(super) id: u32,
    pub(super) spec: Spec,
    /// Whether it is meant to run.
    pub(super) wanted: bool,
    /// Whether `kill` has stopped it.
    pub(super) killed: bool,
    pub(super) restarts: u64,
    pub(super) embeds: Option<bool>,
    /// Why it is errored, if it is.
    #[serde(default)]
    pub(super) errored: Option<String>,
    /// Whether its program has ever said itself that it was ready.
    pub(super) notifies: bool,
    pub(super) slots_made: u32,
    /// Where it really listens, for each address of the description.
    pub(super) listens: Vec<String>,
    pub(super) processes: Vec<RememberedProcess>,
}

/// A process that runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RememberedProcess {
    pub(super) key: u32,
    pub(super) pid: u32,
    pub(super) born: u64,
    pub(super) role: RememberedRole,
    pub(super) phase: Phase,
    /// What it is a process of, if that is not the app's present description.
    pub(super) spec: Option<Spec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RememberedRole {
    Serving,
    Candidate,
    Retiring,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    Launching,
    Online,
    Stopping,
    /// It is being stopped to be started again.
    Restarting,
}

/// Keeps it.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    previous: PathBuf,
    /// What is in the file.
    kept: Option<Vec<u8>>,
    /// What is in the file is worth nothing, and is not to take the place of the one before.
    damaged: bool,
}

/// Why there is nothing to go by. `Display` is one line, with a hint.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("cannot read {}: {source}; hint: it must be readable for the manager", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{} is of a newer corelane (version {version} of its form, this one knows {VERSION}); \
         hint: run that one, or move the file away",
        path.display()
    )]
    Newer { path: PathBuf, version: u64 },
    #[error(
        "{} is damaged ({problem}), and so is the one before; \
         hint: move both away to begin with no app; apps that run are not found again",
        path.display()
    )]
    Damaged { path: PathBuf, problem: String },
}

impl Store {
    /// What is remembered in this home, and what the operator should know about that.
    pub(super) fn open(home: &Home) -> Result<(Self, Memory, Option<String>), StoreError> {
        let (path, previous) = (home.state(), home.previous_state());
        let (memory, warning) = match read(&path) {
            Ok(found) => (found, None),
            Err(StoreError::Damaged { path, problem }) => match read(&previous) {
                Ok(Some(found)) => {
                    let warning = format!(
                        "{} was damaged ({problem}): went by the one before",
                        path.display()
                    );
                    (Some(found), Some(warning))
                }
                Ok(None) | Err(StoreError::Damaged { .. }) => {
                    return Err(StoreError::Damaged { path, problem });
                }
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let damaged = warning.is_some();
        Ok((Self { path, previous, kept: None, damaged }, memory.unwrap_or_default(), warning))
    }

    /// Writes it down, unless it is there already.
    pub(super) fn keep(&mut self, mut memory: Memory) -> io::Result<()> {
        memory.version = VERSION;
        let bytes = serde_json::to_vec(&memory)?;
        if self.kept.as_ref() == Some(&bytes) {
            return Ok(());
        }
        let previous = (!self.damaged).then_some(self.previous.as_path());
        write(&self.path, &bytes, previous)?;
        self.damaged = false;
        self.kept = Some(bytes);
        Ok(())
    }
}

/// Writes a file so that there is always a whole one; what was there stays under the other name.
pub(super) fn write(path: &Path, bytes: &[u8], previous: Option<&Path>) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(MODE).open(&new)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    if let Some(previous) = previous {
        match fs::remove_file(previous).and_then(|()| fs::hard_link(path, previous)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) if path.exists() => fs::hard_link(path, previous)?,
            _ => {}
        }
    }
    fs::rename(new, path)
}

/// What is in a file, if it is there.
fn read(path: &Path) -> Result<Option<Memory>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Unreadable { path: path.to_owned(), source }),
    };
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        path: path.to_owned(),
        problem: if bytes.is_empty() { "it is empty".to_owned() } else { error.to_string() },
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    match value["version"].as_u64() {
        Some(version) if version > u64::from(VERSION) => {
            Err(StoreError::Newer { path: path.to_owned(), version })
        }
        _ => serde_json::from_value(value).map(Some).map_err(damaged),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::control::plain_spec;

    fn memory(name: &str) -> Memory {
        let app = RememberedApp {
            id: 3,
            spec: plain_spec(name),
            wanted: true,
            killed: false,
            restarts: 2,
            embeds: Some(true),
            errored: None,
            notifies: false,
            slots_made: 9,
            listens: Vec::new(),
            processes: Vec::new(),
        };
        Memory { version: VERSION, next_id: 4, apps: vec![app] }
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().into()).unwrap();
        let (mut store, found, warning) = Store::open(&home).unwrap();
        assert_eq!((found, warning), (Memory::default(), None));
        for name in ["a", "b", "b", "c"] {
            store.keep(memory(name)).unwrap();
            assert_eq!(Store::open(&home).unwrap().1, memory(name));
        }
        let mode = fs::metadata(home.state()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(fs::read_to_string(home.previous_state()).unwrap().contains("\"name\":\"b\""));
    }

    #[test]
    fn a_damaged_file_is_made_good_by_the_one_before_or_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().into()).unwrap();
        let (mut store, ..) = Store::open(&home).unwrap();
        store.keep(memory("a")).unwrap();
        store.keep(memory("b")).unwrap();
        let whole = fs::read(home.state()).unwrap();
        for torn in [&b""[..], &whole[..whole.len() / 2], b"null", b"{\"version\":1}"] {
            fs::write(home.state(), torn).unwrap();
            let (_, found, warning) = Store::open(&home).unwrap();
            assert_eq!(found, memory("a"));
            assert!(warning.unwrap().contains("was damaged"));
        }
        // What is written next does not make the damaged one the one before.
        let (mut store, ..) = Store::open(&home).unwrap();
        store.keep(memory("c")).unwrap();
        fs::write(home.state(), b"").unwrap();
        assert_eq!(Store::open(&home).unwrap().1, memory("a"));
        fs::write(home.previous_state(), b"").unwrap();
        let problem = Store::open(&home).unwrap_err().to_string();
        assert!(problem.contains("and so is the one before; hint: "), "{problem}");
        fs::write(home.state(), b"{\"version\":2}").unwrap();
        let problem = Store::open(&home).unwrap_err().to_string();
        assert!(problem.contains("is of a newer corelane (version 2"), "{problem}");
    }
}
