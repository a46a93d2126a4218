//! How the program ends.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cluster::StartError;
use crate::config::ConfigError;
use crate::control::{ClientError, HomeError};
use crate::loadgen::{RunError, UrlError};
use crate::manager::DaemonError;

/// What the program exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// It is done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was started.
    Usage = 2,
    /// No manager runs.
    NoManager = 3,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why a verb did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command line is wrong, in a way that only shows in its context.
    #[error("{problem}\nhint: {hint}")]
    Usage {
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: &'static str,
    },
    /// A server has no address.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A server could not be loaded.
    #[error("{error}\nhint: {hint}")]
    Load {
        /// What is wrong.
        error: RunError,
        /// What to do.
        hint: &'static str,
    },
    /// A server was loaded, and nothing came of it.
    #[error("no request to {target} succeeded{failed}")]
    NoSuccess {
        /// Which server.
        target: String,
        /// The errors, by kind; empty if there were none.
        failed: String,
    },
    /// A file could not be written.
    #[error("cannot write {}: {error}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Only root may write it.
    #[error("cannot write {}: permission denied\nhint: {call}", .path.display())]
    NotRoot {
        /// Which file.
        path: PathBuf,
        /// What to call.
        call: String,
    },
    /// The program could not be set up.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// The manager could not be asked.
    #[error(transparent)]
    Manager(#[from] ClientError),
    /// It has no home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// It could not be started.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// It did not start.
    #[error("the manager did not start: {problem}\nhint: see {}", .log.display())]
    NotStarted {
        /// What is known about that.
        problem: String,
        /// Where it writes.
        log: PathBuf,
    },
    /// A file of the home is of no use.
    #[error("cannot use {}: {problem}\nhint: remove it, and another is made", .path.display())]
    Kept {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A server could not be started.
    #[error(transparent)]
    Serve(StartError),
    /// The result could not be written.
    #[error("cannot write to stdout: {0}")]
    Output(io::Error),
}

impl Failure {
    /// What to exit with.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Config(_) | Self::Usage { .. } | Self::Url(_) | Self::Home(_) => Code::Usage,
            Self::Manager(ClientError::NoManager { .. } | ClientError::Died { .. }) => {
                Code::NoManager
            }
            Self::Load { .. }
            | Self::NoSuccess { .. }
            | Self::File { .. }
            | Self::NotRoot { .. }
            | Self::System { .. }
            | Self::Manager(_)
            | Self::Daemon(_)
            | Self::NotStarted { .. }
            | Self::Kept { .. }
            | Self::Serve(_)
            | Self::Output(_) => Code::Failed,
        }
    }
}
