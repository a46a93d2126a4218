//! From one corelane to the one that is now in its place: by exec, in the same process.
//!
//! The apps do not notice. Their listening sockets stay open, the lock stays held, and all else is
//! found again as it is after a manager's death.

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::control::Home;
use crate::sys::inherit::{self, Label};

/// The variable that says what was kept.
const VARIABLE: &str = "CORELANE_KEPT";

/// What stays open: its numbers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    lock: Option<RawFd>,
    /// The listening sockets of each app.
    sockets: BTreeMap<u32, Vec<RawFd>>,
    /// Those of socket units, each with its name.
    #[serde(default)]
    units: Vec<(RawFd, Option<String>)>,
}

impl Kept {
    /// What the program that this process was before has kept; nothing if there was none.
    pub(super) fn of_process() -> Self {
        let text = env::var(VARIABLE).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The lock, if it was kept.
    pub(super) fn take_lock(&mut self) -> Option<File> {
        let number = self.lock.take()?;
        inherit::take_kept(number).ok().map(File::from)
    }

    /// The sockets of an app, if they were kept.
    pub(super) fn take_sockets(&mut self, app: u32) -> Vec<OwnedFd> {
        let numbers = self.sockets.remove(&app).unwrap_or_default();
        numbers.into_iter().filter_map(|number| inherit::take_kept(number).ok()).collect()
    }

    /// The sockets of socket units that were kept.
    pub(super) fn take_units(&mut self) -> Vec<(Label, OwnedFd)> {
        let units = std::mem::take(&mut self.units).into_iter();
        let take =
            |(number, name)| Some((Label { number, name }, inherit::take_kept(number).ok()?));
        units.filter_map(take).collect()
    }

    /// Keeps these as well.
    pub(super) fn keep_unit(&mut self, label: &Label, socket: impl AsFd) -> io::Result<()> {
        self.units.push((inherit::keep(socket)?, label.name.clone()));
        Ok(())
    }

    /// Keeps these as well.
    pub(super) fn keep_lock(&mut self, lock: &File) -> io::Result<()> {
        self.lock = Some(inherit::keep(lock)?);
        Ok(())
    }

    /// Keeps these as well.
    pub(super) fn keep_sockets<F: AsFd>(&mut self, app: u32, sockets: &[F]) -> io::Result<()> {
        let numbers = sockets.iter().map(inherit::keep).collect::<io::Result<_>>()?;
        self.sockets.insert(app, numbers);
        Ok(())
    }
}

/// Whether the program that is now there can go on where this one ends.
pub(super) fn check(corelane: &Path, home: &Home) -> Result<(), String> {
    let mut command = Command::new(corelane);
    command.args(["daemon", "--check"]).env("CORELANE_HOME", home.path()).stdin(Stdio::null());
    let failed = |error| format!("cannot run {}: {error}", corelane.display());
    let output = command.output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} refuses: {}", corelane.display(), said.trim()))
}

/// Becomes it. Returns only if that fails.
pub(super) fn exec(corelane: &Path, home: &Home, kept: &Kept) -> io::Error {
    let text = serde_json::to_string(kept).unwrap_or_default();
    let mut command = Command::new(corelane);
    command.args(["daemon", "--adopt"]).env("CORELANE_HOME", home.path()).env(VARIABLE, text);
    // They name this process, but what they speak of has been taken.
    for name in inherit::VARIABLES {
        command.env_remove(name);
    }
    command.exec()
}
