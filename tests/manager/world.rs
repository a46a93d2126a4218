//! A home of its own, what is called in it, and its end.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Whatever takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a world may take to end in order.
const KILL_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const FILE: &str = "corelane.toml";

/// A manager and its apps, or what is left of them: all of it ends when it is dropped.
pub(crate) struct World {
    dir: TempDir,
}

/// What a verb has come to.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A verb that is under way.
pub(crate) struct Begun {
    pub(crate) pid: u32,
    output: Receiver<Output>,
    what: String,
}

impl World {
    /// One in which nothing runs.
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// One in which the apps of this file run.
    #[track_caller]
    pub(crate) fn with(config: &str) -> Self {
        let world = Self::new();
        world.apply(config);
        world
    }

    /// Has the apps of this file run.
    #[track_caller]
    pub(crate) fn apply(&self, config: &str) -> Called {
        self.describe(config);
        self.done(&["start", FILE])
    }

    /// Only writes the file.
    pub(crate) fn describe(&self, config: &str) {
        self.write(FILE, config);
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path("h")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// What is in a file, nothing if it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
        command.args(args).current_dir(self.dir()).env_clear();
        command.env("CORELANE_HOME", self.home());
        command
    }

    #[track_caller]
    pub(crate) fn call(&self, args: &[&str]) -> Called {
        self.begin(args).end()
    }

    /// Calls what is to exit with this.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32, args: &[&str]) -> Called {
        let called = self.call(args);
        assert_eq!(called.code, code, "{args:?}: {}{}", called.out, called.err);
        called
    }

    #[track_caller]
    pub(crate) fn done(&self, args: &[&str]) -> Called {
        self.exits(0, args)
    }

    pub(crate) fn begin(&self, args: &[&str]) -> Begun {
        begin(&mut self.command(args))
    }

    /// What `list --json` says.
    #[track_caller]
    pub(crate) fn list(&self) -> Value {
        serde_json::from_str(&self.done(&["list", "--json"]).out).unwrap()
    }

    /// What it says of one app; null if there is none.
    #[track_caller]
    pub(crate) fn app(&self, name: &str) -> Value {
        let mut list = self.list();
        let apps = list["apps"].as_array_mut().unwrap();
        apps.iter_mut().find(|app| app["name"] == *name).map_or(Value::Null, Value::take)
    }

    /// The pid of an app's only process, or its first.
    #[track_caller]
    pub(crate) fn pid(&self, name: &str) -> u32 {
        let app = self.app(name);
        number(&app["pid"]).unwrap_or_else(|| panic!("{app:#}"))
    }

    #[track_caller]
    pub(crate) fn pids(&self, name: &str) -> Vec<u32> {
        self.app(name)["pids"].as_array().unwrap().iter().filter_map(number).collect()
    }

    /// Where an app listens first.
    #[track_caller]
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        let app = self.app(name);
        let text = app["listen"][0].as_str();
        text.unwrap_or_else(|| panic!("{app:#}")).parse().unwrap()
    }

    /// Waits until an app is as described.
    #[track_caller]
    pub(crate) fn await_status(&self, name: &str, status: &str) {
        let is = || self.app(name)["status"] == *status;
        until(&format!("{name} is {status}"), is);
    }

    pub(crate) fn manager(&self) -> u32 {
        self.read("h/manager.pid").trim().parse().unwrap()
    }

    /// Ends the manager without a warning.
    pub(crate) fn kill_manager(&self) {
        let pid = self.manager();
        signal(pid, Signal::KILL);
        until("the manager is gone", || !lives(pid));
    }

    /// The processes of the apps: those that lead a group and have the mark.
    pub(crate) fn units(&self) -> Vec<u32> {
        let mark = format!("CORELANE_UNIT={}:", self.home().display());
        processes(&mark).into_iter().filter(|pid| group(*pid) == Some(*pid)).collect()
    }

    /// Lets other users in: into the directory, not into the home.
    pub(crate) fn open_to_all(&self) {
        fs::set_permissions(self.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.home().join("control.sock").exists() {
            let _late = self.begin(&["kill"]).output.recv_timeout(KILL_MAX);
        }
        let home = self.home();
        for mark in ["CORELANE_HOME", "CORELANE_UNIT"] {
            let mark = format!("{mark}={}", home.display());
            let end = Instant::now() + KILL_MAX;
            loop {
                let left = processes(&mark);
                if left.is_empty() || Instant::now() > end {
                    break;
                }
                for pid in left {
                    signal(pid, Signal::KILL);
                }
                thread::sleep(LOOK_EVERY);
            }
        }
    }
}

impl Begun {
    #[track_caller]
    pub(crate) fn end(self) -> Called {
        let Ok(output) = self.output.recv_timeout(PATIENCE) else {
            signal(self.pid, Signal::KILL);
            panic!("{} does not end", self.what);
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(!err.contains("panicked"), "{}: {err}", self.what);
        let code = output.status.code();
        let code = code.unwrap_or_else(|| panic!("{}: {}", self.what, output.status));
        Called { code, out, err }
    }
}

/// Starts a command whose end is waited for later, if at all.
pub(crate) fn begin(command: &mut Command) -> Begun {
    let what = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    let pid = child.id();
    let (sender, output) = channel();
    thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    Begun { pid, output, what }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "not in time: {what}");
        thread::sleep(LOOK_EVERY);
    }
}

pub(crate) fn number(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may have ended.
    let _gone = kill_process(pid, signal);
}

/// Whether there is such a process, and not only what is left of it.
pub(crate) fn lives(pid: u32) -> bool {
    !matches!(
        stat(pid).as_deref().and_then(|fields| fields.first()?.chars().next()),
        None | Some('Z' | 'X')
    )
}

/// Stops a process, and waits until none of its threads runs any more.
pub(crate) fn stop(pid: u32) {
    signal(pid, Signal::STOP);
    let stopped = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        text.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    };
    let tasks = || fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    until("it is stopped", || tasks().all(stopped));
}

/// The fields of a process's `stat` from the third on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn group(pid: u32) -> Option<u32> {
    stat(pid)?.get(2)?.parse().ok()
}

/// The processes with a variable that begins so.
fn processes(mark: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| lives(*pid) && environment(*pid).iter().any(|it| it.starts_with(mark)))
        .collect()
}

/// The variables that a process was started with; none if it has ended.
pub(crate) fn environment(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let variables = bytes.split(|byte| *byte == 0).filter(|variable| !variable.is_empty());
    variables.map(|variable| String::from_utf8_lossy(variable).into_owned()).collect()
}

/// A built-in app with two workers that answers with this.
pub(crate) fn web(body: &str) -> String {
    format!(
        r#"
[[apps]]
name = "web"
listen = ["127.0.0.1:0"]
instances = 2
timeouts = {{ drain = "2s", stop = "3s", idle_grace = "50ms" }}
routes = [{{ path = "/", respond = {{ body = "{body}" }} }}]
"#
    )
}

/// A shell that runs this, ready after a moment unless `more` says otherwise.
pub(crate) fn shell(name: &str, script: &str, more: &str) -> String {
    let ready = if more.contains("restart") { "" } else { "restart = { min_uptime = \"50ms\" }" };
    format!(
        "\n[[apps]]\nname = \"{name}\"\nprogram = \"/bin/sh\"\n\
         args = [\"-c\", '''{script}''']\n{ready}\n{more}\n"
    )
}
