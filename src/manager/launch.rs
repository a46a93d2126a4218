//! From the description of an app to a process of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use serde_json::{Map, Value, json};

use crate::cluster::Address;
use crate::control::{Kind, Spec, wire};
use crate::sys::spawn::{Program, SpawnError};
use crate::sys::user::{Identity, IdentityError};

/// Where programs are looked for, if nothing else is said.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The first descriptor that is passed.
const FIRST_PASSED: usize = 3;
/// Tells a process of a manager's from any other: home, app and slot.
pub(super) const MARK: &str = "CORELANE_UNIT";
/// What the manager alone obeys; a built-in app is not told of it.
const MANAGERS_KEYS: &[&str] = &[
    "cwd",
    "env",
    "env_file",
    "env_inherit",
    "stop_signal",
    "user",
    "group",
    "after",
    "memory_max",
    "health",
    "metrics",
];

/// All that a launch takes beside the description.
pub(super) struct Setting<'a> {
    /// corelane itself.
    pub(super) corelane: &'a Path,
    pub(super) mark: &'a str,
    /// What to put into `NOTIFY_SOCKET`.
    pub(super) notify: &'a str,
    /// Where the program accepts the manager's questions.
    pub(super) control: BorrowedFd<'a>,
    /// The listening sockets, and where they listen: those of `spec.listen`, address by address.
    pub(super) sockets: Vec<BorrowedFd<'a>>,
    pub(super) addresses: Vec<Address>,
    pub(super) output: [BorrowedFd<'a>; 2],
    /// Which of the app's processes it is, from 0.
    pub(super) instance: usize,
    /// Another process accepts from the same sockets.
    pub(super) shared: bool,
    /// It is to end with the thread that starts it.
    pub(super) tied: bool,
}

/// Why an app cannot be launched. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("there is no program `{name}` in {path}; hint: give its whole path")]
    NotFound { name: String, path: String },
    #[error("cannot read {}: {problem}", file.display())]
    EnvFile { file: PathBuf, problem: String },
    #[error("{path}: {source}")]
    Spawn { path: String, source: SpawnError },
    #[error("cannot prepare its description: {0}")]
    Definition(io::Error),
}

/// Starts a process, and returns its pid.
pub(super) fn launch(spec: &Spec, setting: &Setting<'_>) -> Result<u32, LaunchError> {
    let identity = identity(spec)?;
    let mut env = environment(spec, identity.as_ref())?;
    let path = program(spec, setting.corelane, &env)?;
    let stdin = match spec.kind {
        Kind::Routes => definition(spec, &setting.addresses),
        Kind::Program { .. } => File::open("/dev/null").map(OwnedFd::from),
    };
    let stdin = stdin.map_err(LaunchError::Definition)?;
    let (name, args) = match &spec.kind {
        Kind::Routes => (format!("corelane: {}", spec.name), vec!["run".into(), "-".into()]),
        Kind::Program { path, args } => {
            (path.clone(), args.iter().map(OsString::from).collect::<Vec<_>>())
        }
    };
    let pid_env = passed(spec, setting, &mut env);
    let passed = setting.sockets.iter().copied().chain([setting.control]).collect();
    let program = Program {
        path: path.clone(),
        name: name.into(),
        args,
        env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        pid_env,
        cwd: spec.cwd.clone(),
        identity,
        stdio: [stdin.as_fd(), setting.output[0], setting.output[1]],
        passed,
        tied: setting.tied,
    };
    let spawned = program.spawn();
    spawned.map_err(|source| LaunchError::Spawn { path: path.display().to_string(), source })
}

/// Whether it could be launched, as far as that can be known before.
pub(super) fn check(spec: &Spec, corelane: &Path) -> Result<(), LaunchError> {
    let identity = identity(spec)?;
    let env = environment(spec, identity.as_ref())?;
    program(spec, corelane, &env).map(drop)
}

fn identity(spec: &Spec) -> Result<Option<Identity>, IdentityError> {
    match (&spec.user, &spec.group) {
        (None, None) => Ok(None),
        (Some(user), group) => Identity::of(user, group.as_deref()).map(Some),
        (None, group) => {
            let own = rustix::process::geteuid().as_raw().to_string();
            Identity::of(&own, group.as_deref()).map(Some)
        }
    }
}

/// The variables of a program, but for those that the manager adds: exactly what the description
/// says, and who it is.
fn environment(
    spec: &Spec,
    identity: Option<&Identity>,
) -> Result<BTreeMap<String, String>, LaunchError> {
    let mut env = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    let current = identity.is_none().then(Identity::current).and_then(Result::ok);
    if let Some(identity) = identity.or(current.as_ref()) {
        let home = identity.home.display().to_string();
        let name = &identity.name;
        env.extend([("HOME", &home), ("USER", name), ("LOGNAME", name)].map(owned));
    }
    env.extend(spec.inherited.clone());
    if let Some(file) = &spec.env_file {
        let wrong = |error: dotenvy::Error| LaunchError::EnvFile {
            file: file.clone(),
            problem: error.to_string(),
        };
        for pair in dotenvy::from_path_iter(file).map_err(wrong)? {
            let (name, value) = pair.map_err(wrong)?;
            env.insert(name, value);
        }
    }
    env.extend(spec.env.clone());
    Ok(env)
}

fn owned((name, value): (&str, &String)) -> (String, String) {
    (name.to_owned(), value.clone())
}

/// The file to be executed.
fn program(
    spec: &Spec,
    corelane: &Path,
    env: &BTreeMap<String, String>,
) -> Result<PathBuf, LaunchError> {
    let Kind::Program { path: name, .. } = &spec.kind else { return Ok(corelane.to_owned()) };
    let executable = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        let path = spec.cwd.join(name);
        if executable(&path) {
            return Ok(path);
        }
        let path = spec.cwd.display().to_string();
        return Err(LaunchError::NotFound { name: name.clone(), path });
    }
    let path = env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    let found =
        std::env::split_paths(path).map(|dir| spec.cwd.join(dir).join(name)).find(executable);
    found.ok_or_else(|| LaunchError::NotFound { name: name.clone(), path: path.to_owned() })
}

/// Adds what the manager says; returns the variables that say whom it says it to.
fn passed(
    spec: &Spec,
    setting: &Setting<'_>,
    env: &mut BTreeMap<String, String>,
) -> Vec<&'static str> {
    let mut set = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
    let sockets = setting.sockets.len();
    set(MARK, setting.mark.to_owned());
    set("CORELANE_APP", spec.name.clone());
    set("CORELANE_INSTANCE", setting.instance.to_string());
    set("NOTIFY_SOCKET", setting.notify.to_owned());
    set(wire::DESCRIPTOR, (FIRST_PASSED + sockets).to_string());
    if spec.definition.contains_key("instances") || spec.kind == Kind::Routes {
        set(wire::INSTANCES, spec.instances.clone());
    }
    if setting.shared {
        set(wire::SHARED, "1".to_owned());
    }
    if sockets == 0 {
        return vec![wire::PID];
    }
    set("LISTEN_FDS", sockets.to_string());
    set("LISTEN_FDNAMES", vec![spec.name.as_str(); sockets].join(":"));
    vec![wire::PID, "LISTEN_PID"]
}

/// A file of one built-in app, as it is to be read by a process that has its sockets already.
fn definition(spec: &Spec, addresses: &[Address]) -> io::Result<OwnedFd> {
    let mut definition: Map<String, Value> = spec.definition.clone();
    for key in MANAGERS_KEYS {
        definition.remove(*key);
    }
    strip(&mut definition, "restart", &["min_uptime", "stop_exit_codes"]);
    strip(&mut definition, "timeouts", &["ready", "stop"]);
    strip(&mut definition, "logs", &["dir", "rotate_bytes", "keep"]);
    let mut listen: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    if spec.definition.contains_key("metrics") {
        definition.insert("metrics".to_owned(), json!(listen.pop()));
    }
    definition.insert("listen".to_owned(), json!(listen));
    let file = json!({ "apps": [definition] });
    let text = toml::to_string(&file).map_err(io::Error::other)?;
    let memory = memfd_create("corelane-definition", MemfdFlags::CLOEXEC)?;
    let mut memory = File::from(memory);
    memory.write_all(text.as_bytes())?;
    seek(&memory, SeekFrom::Start(0))?;
    Ok(memory.into())
}

fn strip(definition: &mut Map<String, Value>, table: &str, keys: &[&str]) {
    if let Some(table) = definition.get_mut(table).and_then(Value::as_object_mut) {
        for key in keys {
            table.remove(*key);
        }
    }
}
