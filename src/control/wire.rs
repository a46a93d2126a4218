//! Between the manager and a program: a line of JSON for each question and each answer.
//!
//! The program accepts at a socket that it was started with ([`DESCRIPTOR`]). It answers in the
//! order of its own; the number of a question is in its answer. What it says unasked has none.

use serde::{Deserialize, Serialize};

/// The variable that says which descriptor the program is to accept questions at.
pub(crate) const DESCRIPTOR: &str = "CORELANE_CONTROL_FD";
/// The variable that says which process is meant: it may have children, which inherit it.
pub(crate) const PID: &str = "CORELANE_CONTROL_PID";
/// The variable that says how many workers are wanted.
pub(crate) const INSTANCES: &str = "CORELANE_INSTANCES";
/// The variable that is set if another process still accepts from the same sockets.
pub(crate) const SHARED: &str = "CORELANE_SHARED";
/// Said along with readiness by a program that answers such questions.
pub(crate) const EMBEDS: &str = "X_CORELANE=1";
/// The longest line.
pub(crate) const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A question to a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    pub number: u64,
    #[serde(flatten)]
    pub ask: Ask,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub(crate) enum Ask {
    /// How are you?
    Status,
    /// What do you count, for Prometheus?
    Metrics,
    /// Have so many workers.
    Scale { instances: String },
    /// Nobody else accepts from your sockets any more.
    Alone,
    /// Give me your listening sockets; they come with the answer.
    Sockets,
    /// Write to these two from now on, instead of stdout and stderr; they come with the question.
    Logs,
}

/// What a program says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Which question this answers; none if it was not asked.
    pub number: Option<u64>,
    #[serde(flatten)]
    pub tell: Tell,
}

/// What it says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "kebab-case")]
pub(crate) enum Tell {
    Status(ProgramReport),
    /// Said unasked as well, as its last word.
    Metrics {
        text: String,
    },
    /// The address of each descriptor that comes with it; `more` of them follow.
    Sockets {
        addresses: Vec<String>,
        more: bool,
    },
    /// It is done.
    Done,
    /// It is not, and why.
    Failed {
        problem: String,
    },
    /// It accepts no more connections. Said unasked, when it is so.
    Closed,
}

/// How a program is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ProgramReport {
    pub version: String,
    pub ready: bool,
    pub draining: bool,
    /// It accepts no more.
    pub closed: bool,
    pub addresses: Vec<String>,
    pub workers: Vec<WorkerReport>,
}

/// How a worker is, and what it has counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkerReport {
    pub worker: usize,
    pub cpu: usize,
    pub state: String,
    pub restarts: u64,
    pub last_exit: Option<String>,
    pub connections: u64,
    pub requests: u64,
    /// Of late; the manager fills it in.
    #[serde(default)]
    pub requests_per_second: f64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub server_errors: u64,
    pub panics: u64,
    /// In microseconds, since it began to count.
    pub latency_p50_us: u64,
    pub latency_p99_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_plain_json() {
        let question = Question { number: 7, ask: Ask::Scale { instances: "max".to_owned() } };
        let text = serde_json::to_string(&question).unwrap();
        assert_eq!(text, r#"{"number":7,"ask":"scale","instances":"max"}"#);
        assert_eq!(serde_json::from_str::<Question>(&text).unwrap(), question);
        let line = Line { number: None, tell: Tell::Closed };
        assert_eq!(serde_json::to_string(&line).unwrap(), r#"{"number":null,"tell":"closed"}"#);
        let status = Line { number: Some(1), tell: Tell::Status(ProgramReport::default()) };
        let text = serde_json::to_string(&status).unwrap();
        assert!(text.starts_with(r#"{"number":1,"tell":"status","version":"""#), "{text}");
        assert!(serde_json::from_str::<Line>(&text).is_ok());
    }
}
