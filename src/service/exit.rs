//! How a program that serves has ended.

use std::io::{self, Write};
use std::process::{ExitCode, Termination};

use crate::cluster::{Failure, StartError, Stopped, SupervisorPanic};

const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const ERRORED: u8 = 70;

/// How [`Cluster::run`](crate::Cluster::run) ended. Return it from `main`: an error is printed to
/// stderr, with its hint, and becomes the exit code.
///
/// | code | meaning |
/// |---|---|
/// | 0 | it was told to end, and did |
/// | 1 | it failed: an address is taken, `io_uring` is refused, a worker did not start or end |
/// | 2 | it was asked for something that makes no sense, such as a bad address |
/// | 70 | a worker ended more often than [`Restart`](crate::Restart) allows |
/// | 128 + n | a second signal, number n, ended it at once |
///
/// ```no_run
/// use corelane::{App, Cluster, Exit};
///
/// fn main() -> Exit {
///     Cluster::new(App::new).listen("127.0.0.1:3000").run()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "return it from `main`: it carries the exit code"]
pub struct Exit {
    code: u8,
    error: Option<String>,
}

impl Exit {
    /// What the process will exit with.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }

    /// What went wrong, if anything did.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// With this code, and what is to be said of it.
    pub(crate) fn with(code: u8, error: Option<String>) -> Self {
        Self { code, error }
    }

    /// After a program beside the clusters was given up.
    pub(super) fn errored(problem: String) -> Self {
        Self { code: ERRORED, error: Some(problem) }
    }

    pub(super) fn failed(error: &impl ToString) -> Self {
        Self { code: FAILED, error: Some(error.to_string()) }
    }

    /// After the end of all clusters.
    pub(super) fn after(ends: impl IntoIterator<Item = Result<Stopped, SupervisorPanic>>) -> Self {
        let mut exit = Self { code: DONE, error: None };
        for end in ends {
            match end {
                Ok(Stopped { failure: Some(failure), .. }) => exit = failure.into(),
                Ok(Stopped { abandoned, .. }) if abandoned.is_empty() => {}
                // The operator has read which.
                Ok(_) => exit.code = exit.code.max(FAILED),
                Err(panic) => exit = Self::failed(&panic),
            }
        }
        exit
    }
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Self {
        let code = match failure {
            Failure::Errored { .. } => ERRORED,
            Failure::Stalled { .. } => FAILED,
        };
        Self { code, error: Some(failure.to_string()) }
    }
}

impl From<StartError> for Exit {
    fn from(error: StartError) -> Self {
        if matches!(error, StartError::Drained) {
            return Self { code: DONE, error: None };
        }
        let code = match error {
            StartError::Address(_) | StartError::NoAddress | StartError::Placement(_) => USAGE,
            _ => FAILED,
        };
        Self { code, error: Some(error.to_string()) }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        if let Some(error) = self.error {
            // With stderr closed, the exit code still tells.
            let _closed = writeln!(io::stderr().lock(), "error: {error}");
        }
        self.code.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cluster, ExitReason};

    #[test]
    fn codes_tell_what_was_asked_wrongly_from_what_failed() {
        let cluster = || Cluster::new(crate::app::App::new);
        for (cluster, code) in [
            (cluster(), USAGE),
            (cluster().listen("3000"), USAGE),
            (cluster().listen("127.0.0.1:0").cpus([9999]), USAGE),
            (cluster().listen("unix:/proc/none/a.sock"), FAILED),
        ] {
            let exit = Exit::from(cluster.spawn().unwrap_err());
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn a_worker_that_did_not_end_is_a_failure() {
        let mut stopped = Stopped::default();
        assert_eq!(Exit::after([Ok(stopped.clone())]).code(), DONE);
        stopped.abandoned.push(1);
        assert_eq!(Exit::after([Ok(stopped.clone()), Ok(Stopped::default())]).code(), FAILED);
        // Told apart from what one worker's repeated end comes to.
        let reason = ExitReason::Failed { problem: "no luck".to_owned() };
        stopped.failure = Some(Failure::Errored { worker: 1, reason });
        let exit = Exit::after([Ok(stopped.clone())]);
        assert_eq!(exit.code(), ERRORED);
        assert_eq!(exit.error(), Some("worker 1 ends again and again, at last by: no luck"));
        stopped.failure = Some(Failure::Stalled { workers: 3 });
        assert_eq!(Exit::after([Ok(stopped)]).code(), FAILED);
    }
}
