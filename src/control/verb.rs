//! What is asked of the manager.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::spec::{Difference, Spec};

/// Which apps: by name, by number, or all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Selector(pub String);

impl Selector {
    /// Whether it means this app.
    pub(crate) fn is(&self, id: u32, name: &str) -> bool {
        // No name begins with a digit.
        self.0 == "all" || self.0 == name || self.0.parse() == Ok(id)
    }

    /// Whether it means whatever there is, even nothing.
    pub(crate) fn is_all(&self) -> bool {
        self.0 == "all"
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub(crate) enum Verb {
    /// These are to be as described; with `dry`, only say what that would change.
    Apply {
        specs: Vec<Spec>,
        dry: bool,
    },
    Start {
        apps: Vec<Selector>,
    },
    Stop {
        apps: Vec<Selector>,
    },
    Restart {
        apps: Vec<Selector>,
    },
    /// `force` even if connections may be lost.
    Reload {
        apps: Vec<Selector>,
        force: bool,
    },
    Delete {
        apps: Vec<Selector>,
    },
    /// `4`, `+2`, `-2` or `max`.
    Scale {
        apps: Vec<Selector>,
        instances: String,
    },
    /// Their counts of restarts are to begin anew.
    Reset {
        apps: Vec<Selector>,
    },
    /// Their logs are to be emptied.
    Flush {
        apps: Vec<Selector>,
    },
    /// Write down which apps there are.
    Save,
    /// Start again what `kill` has stopped, and what was saved and is no longer there.
    Resurrect,
    /// Stop everything, the manager as well.
    Kill,
    /// The manager is to become the program that is now in its place.
    Upgrade,
    Ping,
}

/// What has come of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub schema: u32,
    /// The manager.
    pub pid: u32,
    pub version: String,
    /// What the command line is to exit with.
    pub code: Code,
    /// For each app that was meant, in the order of their numbers.
    pub outcomes: Vec<Outcome>,
    /// If nothing could be done at all: why not, and what to do.
    pub error: Option<String>,
}

/// What a message of a failed start ends with if the app is started again.
pub(crate) const STARTED_AGAIN: &str = "; it is started again";

/// What has come of it for one app.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub app: String,
    pub code: Code,
    /// What was done, or why not.
    pub message: String,
    /// The last lines of its log, if it failed.
    pub log: Vec<String>,
    /// What has changed, or would.
    pub changes: Vec<Difference>,
}

/// What the command line exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Code {
    Done,
    Failed,
    Usage,
    RolledBack,
    NotFound,
    Errored,
}

impl Code {
    /// The number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::RolledBack => 4,
            Self::NotFound => 5,
            Self::Errored => 70,
        }
    }
}
