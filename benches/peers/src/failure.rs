//! What can go wrong with a measurement.

use std::io;

use thiserror::Error;

/// Why nothing was measured, or no more.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The command line is wrong.
    #[error("{0}\nhint: the usage is on the first page of benches/peers/src/main.rs")]
    Usage(String),

    /// The system refused something.
    #[error("{doing}: {source}")]
    System { doing: String, source: io::Error },

    /// Something that all depends on could not be built.
    #[error("{0}")]
    Build(String),

    /// A contender did not start, gave another answer, or failed under load.
    #[error("{name}: {what}")]
    Contender { name: &'static str, what: String },

    /// The person who waits has had enough.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// The exit code: 2 if nothing could be begun, else 1.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Interrupted => 130,
            _ => 1,
        }
    }
}

/// Names what was tried when the system refuses it.
pub(crate) trait Doing<T> {
    /// Turns the error into a [`Failure::System`] that says what was being done.
    fn doing(self, what: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::System { doing: what.into(), source: error.into() })
    }
}
