//! What the manager says of its apps.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::wire::WorkerReport;

/// The version of the JSON of `list`, `describe` and the verbs. It changes when a field goes or
/// changes its meaning, not when one is added.
pub(crate) const SCHEMA: u32 = 1;

/// All apps, as of one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Overview {
    pub schema: u32,
    pub manager: ManagerReport,
    pub apps: Vec<AppReport>,
}

/// The manager itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ManagerReport {
    pub pid: u32,
    pub version: String,
    pub home: PathBuf,
    pub uptime_ms: u64,
    pub memory_bytes: u64,
    #[serde(default)]
    pub machine: MachineReport,
    /// What the operator should know, such as that the state cannot be written.
    pub problems: Vec<String>,
}

/// What the apps have to share, as of the manager's start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MachineReport {
    /// CPUs of the machine.
    pub cpus: usize,
    /// Those that the manager may run on.
    pub allowed_cpus: usize,
    /// What its control groups allow, in hundredths of a CPU.
    pub cpu_quota_percent: Option<u64>,
    /// What they allow, in bytes.
    pub memory_max: Option<u64>,
    /// How many workers `max` is.
    pub workers_max: usize,
    /// In words: what may be used less of than there is.
    pub bounds: Option<String>,
}

/// One app.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AppReport {
    pub id: u32,
    pub name: String,
    /// `routes` or `program`.
    pub kind: String,
    pub status: Status,
    /// The process that serves; of several the first.
    pub pid: Option<u32>,
    /// All processes that serve or are about to.
    pub pids: Vec<u32>,
    pub uptime_ms: Option<u64>,
    /// Since it was started or `reset`, whoever asked for them.
    pub restarts: u64,
    /// What was asked for.
    pub instances: String,
    /// Percent of one CPU, of late.
    pub cpu_percent: f64,
    pub memory_bytes: u64,
    pub connections: u64,
    pub requests_per_second: f64,
    pub workers: Vec<WorkerReport>,
    /// Why it is not online, or what is the matter although it is.
    pub problem: Option<String>,
    /// How it ended last.
    pub last_exit: Option<String>,
    pub listen: Vec<String>,
    pub file: PathBuf,
    pub cwd: PathBuf,
    pub logs: LogFiles,
    /// Its attributes. The values of its environment only if they were asked for.
    pub definition: Map<String, Value>,
}

/// Where it writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogFiles {
    pub out: PathBuf,
    pub err: PathBuf,
}

/// How an app is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// It was told to stop, or has ended as it should.
    Stopped,
    /// It has been started, and is not ready yet.
    Launching,
    /// It is ready.
    Online,
    /// A new version of it is being started; the old one serves.
    Reloading,
    /// It was told to end.
    Stopping,
    /// It has ended, and will be started again in a moment.
    WaitingRestart,
    /// It has ended too often.
    Errored,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Launching => "launching",
            Self::Online => "online",
            Self::Reloading => "reloading",
            Self::Stopping => "stopping",
            Self::WaitingRestart => "waiting restart",
            Self::Errored => "errored",
        })
    }
}
