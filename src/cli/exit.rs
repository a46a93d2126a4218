//! How the program ends.

use std::io;
use std::process::ExitCode;

use crate::config::ConfigError;

/// What the program exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// It is done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was started.
    Usage = 2,
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
    /// The command line is wrong, in a way that only shows together with the configuration.
    #[error("{problem}\nhint: {hint}")]
    Usage {
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: &'static str,
    },
    /// The result could not be written.
    #[error("cannot write to stdout: {0}")]
    Output(io::Error),
}

impl Failure {
    /// What to exit with.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Config(_) | Self::Usage { .. } => Code::Usage,
            Self::Output(_) => Code::Failed,
        }
    }
}
