//! Where the manager keeps its files.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

/// Names the directory.
const VARIABLE: &str = "CORELANE_HOME";
/// Its name below the user's home.
const DIRECTORY: &str = ".corelane";
/// A Unix socket's path has at most 107 bytes, and the longest name below the directory takes some.
const PATH_BYTES_MAX: usize = 80;

/// The directory of one manager: everything that it writes is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home(PathBuf);

/// Why there is no home. `Display` is one line, with a hint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HomeError {
    /// Nothing says where.
    #[error(
        "nobody says where the manager keeps its files; hint: set CORELANE_HOME to a directory"
    )]
    Unknown,
    /// The path is of no use.
    #[error("the manager cannot keep its files in {}: {problem}", path.display())]
    Useless {
        /// The path.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
}

impl Home {
    /// `$CORELANE_HOME`, else `~/.corelane`.
    pub(crate) fn of_environment() -> Result<Self, HomeError> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let path = match (set(VARIABLE), set("HOME")) {
            (Some(home), _) => PathBuf::from(home),
            (None, Some(home)) => Path::new(&home).join(DIRECTORY),
            (None, None) => return Err(HomeError::Unknown),
        };
        let useless = |error: io::Error| HomeError::Useless {
            path: path.clone(),
            problem: format!("{error}; hint: set CORELANE_HOME to another directory"),
        };
        Self::at(std::path::absolute(&path).map_err(useless)?)
    }

    /// This directory.
    pub(crate) fn at(path: PathBuf) -> Result<Self, HomeError> {
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Self(path));
        }
        let problem = format!(
            "its path is longer than {PATH_BYTES_MAX} bytes, too long for a socket in it; \
             hint: set CORELANE_HOME to another directory"
        );
        Err(HomeError::Useless { path, problem })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the manager answers.
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// Held by the manager as long as it lives; its pid is in it.
    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("manager.pid")
    }

    /// What the manager knows of its apps.
    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// What it knew before the last change.
    pub(crate) fn previous_state(&self) -> PathBuf {
        self.0.join("state.previous.json")
    }

    /// The apps that `save` has written down.
    pub(crate) fn saved(&self) -> PathBuf {
        self.0.join("saved.json")
    }

    /// The sockets of the programs.
    pub(crate) fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// What the apps write, unless they say where else.
    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// What lets a browser in.
    pub(crate) fn dashboard_token(&self) -> PathBuf {
        self.0.join("dashboard.token")
    }

    /// Where the programs tell the manager how they are: in the abstract namespace, so that no two
    /// managers have it, whatever becomes of the directory.
    pub(crate) fn hearing(&self) -> String {
        format!("corelane-{}", self.0.display())
    }

    /// What the manager itself writes.
    pub(crate) fn manager_log(&self) -> PathBuf {
        self.0.join("manager.log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_refused() {
        let home = Home::at("/home/ann/.corelane".into()).unwrap();
        assert_eq!(home.socket(), Path::new("/home/ann/.corelane/control.sock"));
        let error = Home::at(format!("/{}", "x".repeat(80)).into()).unwrap_err().to_string();
        assert!(error.contains("longer than 80 bytes") && error.contains("hint: "), "{error}");
    }
}
