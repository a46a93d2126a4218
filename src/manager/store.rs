//! What a manager must know of its apps should the one before be gone: a file, replaced as a whole.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::control::{Home, Spec};

/// The version of the file's form.
const VERSION: u32 = 1;
/// Its permissions: there may be secrets in it.
const MODE: u32 = 0o600;
/// Room that it always has, in bytes, for what happens by itself.
const ROOM: usize = 4 * 1024;
/// It grows by so many bytes.
const UNIT: usize = 16 * 1024;

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
    /// What is written next goes there.
    spare: PathBuf,
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
        let spare = path.with_extension("new");
        Ok((
            Self { path, previous, spare, kept: None, damaged },
            memory.unwrap_or_default(),
            warning,
        ))
    }

    /// Sees to it that so much can be written down, whatever becomes of the disk.
    ///
    /// # Errors
    /// It could not be, and nothing should be begun that would have to be.
    pub(super) fn make_room(&self, bytes: usize) -> io::Result<()> {
        let size = padded(bytes.max(self.kept.as_ref().map_or(0, Vec::len)));
        for (path, create) in [(&self.spare, true), (&self.previous, true), (&self.path, false)] {
            let named = |error: io::Error| in_words(path, &error);
            let mut options = File::options();
            let file = options.append(true).create(create).mode(MODE).open(path);
            let mut file = file.map_err(named)?;
            let present = file.metadata().map_err(named)?.len();
            let lacks = size.saturating_sub(usize::try_from(present).unwrap_or(usize::MAX));
            // Blanks at its end are nothing to a reader.
            file.write_all(&vec![b' '; lacks]).map_err(named)?;
        }
        Ok(())
    }

    /// Writes it down, unless it is there already.
    ///
    /// Three files take turns, and each is written over in its place: whoever fills the disk can
    /// take nothing from them.
    pub(super) fn keep(&mut self, mut memory: Memory) -> io::Result<()> {
        memory.version = VERSION;
        let bytes = serde_json::to_vec(&memory)?;
        if self.kept.as_ref() == Some(&bytes) {
            return Ok(());
        }
        let mut text = bytes.clone();
        // The room that there is is kept.
        let present = fs::metadata(&self.spare).map_or(0, |file| file.len());
        let size = padded(bytes.len()).max(usize::try_from(present).unwrap_or(0));
        text.resize(size, b' ');
        fill(&self.spare, &text)?;
        self.turn()?;
        self.damaged = false;
        self.kept = Some(bytes);
        Ok(())
    }

    /// What is in the file may not be there any more.
    pub(super) fn distrust(&mut self) {
        self.kept = None;
    }

    /// The spare file becomes the state, that the one before, and that the spare one.
    fn turn(&self) -> io::Result<()> {
        if self.damaged {
            return fs::rename(&self.spare, &self.path);
        }
        match renameat_with(CWD, &self.spare, CWD, &self.path, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::NOENT) => return fs::rename(&self.spare, &self.path),
            // A file system that cannot.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                match fs::remove_file(&self.previous) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => fs::hard_link(&self.path, &self.previous)?,
                }
                return fs::rename(&self.spare, &self.path);
            }
            Err(errno) => return Err(errno.into()),
        }
        match renameat_with(CWD, &self.spare, CWD, &self.previous, RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => fs::rename(&self.spare, &self.previous),
            turned => turned.map_err(io::Error::from),
        }
    }
}

/// How long a file is that holds so much.
fn padded(bytes: usize) -> usize {
    (bytes + ROOM).next_multiple_of(UNIT)
}

/// Writes a file over, in its place.
fn fill(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    let mut file = options.write(true).create(true).truncate(false).mode(MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_data()
}

/// Writes a file as a whole: it is what it was, or this.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let written = fill(&new, bytes).and_then(|()| fs::rename(&new, path));
    written.inspect_err(|_| drop(fs::remove_file(&new)))
}

fn in_words(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
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
    use std::os::unix::fs::MetadataExt;

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
        let whole = whole.trim_ascii_end();
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

    #[test]
    fn what_there_is_room_for_is_written_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().into()).unwrap();
        let (mut store, ..) = Store::open(&home).unwrap();
        store.keep(memory("a")).unwrap();
        let missing = home.path().join("missing");
        let (gone, ..) = Store::open(&Home::at(missing.clone()).unwrap()).unwrap();
        let problem = gone.make_room(1).unwrap_err().to_string();
        assert!(problem.starts_with(missing.to_str().unwrap()), "{problem}");
        store.make_room(6 * UNIT).unwrap();
        let files = || {
            let paths = [home.state(), home.previous_state(), home.state().with_extension("new")];
            let about = paths.map(|path| fs::metadata(path).unwrap());
            assert!(about.iter().all(|file| file.mode() & 0o777 == MODE));
            let mut files = about.map(|file| (file.ino(), file.len()));
            files.sort_unstable();
            files
        };
        let before = files();
        for name in ["b", "c", "d", "e"] {
            let long = name.repeat(2 * UNIT);
            store.keep(memory(&long)).unwrap();
            assert_eq!(Store::open(&home).unwrap().1, memory(&long));
            assert_eq!(files(), before, "no other file, and none shorter or longer");
        }
    }
}
