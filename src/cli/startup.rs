//! `corelane startup` and `unstartup`: a systemd unit that runs the manager at boot.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::answer;
use super::args::StartupOptions;
use super::exit::{Code, Failure};
use crate::sys::child::Child;
use crate::sys::user::Identity;

/// Where an administrator's units are.
const UNITS: &str = "/etc/systemd/system";
/// There only while systemd runs.
const RUNNING: &str = "/run/systemd/system";
/// The permissions of a unit.
const MODE: u32 = 0o644;
/// Characters that mean something to systemd or to nobody.
const AWKWARD: &[char] = &['"', '\\', '%', '$', '\n', '\''];

/// Whose manager is started at boot, and how.
#[derive(Debug)]
struct Unit {
    user: Identity,
    home: PathBuf,
    corelane: PathBuf,
}

/// Prints the unit, or writes it.
pub(super) fn startup(options: &StartupOptions) -> Result<ExitCode, Failure> {
    let unit = Unit::new(options)?;
    if !options.install {
        answer::print(&unit.text())?;
        answer::say(&format!(
            "hint: `corelane startup --install` writes this to {}",
            unit.path(options).display()
        ));
        return Ok(Code::Done.into());
    }
    let (path, name) = (unit.path(options), unit.name());
    write(&path, &unit.text()).map_err(|error| unit.refused(&path, error))?;
    answer::say(&format!("{} is written", path.display()));
    systemctl(options, &[&["daemon-reload"], &["enable", &name]])?;
    if let Some(pid) = manager(&unit.home) {
        answer::say(&format!(
            "next: a manager runs already; `kill {pid}` ends it, and its apps run on"
        ));
    }
    answer::say(&format!("next: `systemctl start {name}` starts the manager"));
    Ok(Code::Done.into())
}

/// The manager that runs in a home.
fn manager(home: &Path) -> Option<u32> {
    let pid = fs::read_to_string(home.join("manager.pid")).ok()?.trim().parse().ok()?;
    Child::of(pid).is_ok_and(|it| !it.has_ended()).then_some(pid)
}

/// Writes a file so that systemd sees the one before or the whole new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(MODE).open(&new)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let done = written.and_then(|()| fs::rename(&new, path));
    // Half a unit is nothing to leave behind.
    done.inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Removes the unit, and nothing else.
pub(super) fn unstartup(options: &StartupOptions) -> Result<ExitCode, Failure> {
    let user = match &options.user {
        // Also of a user who is no more.
        Some(user) => Identity::of(user, None).map_or_else(|_| user.clone(), |user| user.name),
        None => user(options)?.name,
    };
    let name = unit_name(&user);
    let path = units(options).join(&name);
    if !path.exists() {
        answer::say(&format!("there is no {}, nothing to do", path.display()));
        return Ok(Code::Done.into());
    }
    let disabled = systemctl(options, &[&["disable", &name]])?;
    fs::remove_file(&path).map_err(|error| Failure::File { path: path.clone(), error })?;
    answer::say(&format!("{} is removed; the manager and its apps run on", path.display()));
    systemctl(options, &[&["daemon-reload"]])?;
    Ok(disabled)
}

/// Calls systemctl, or says what to call.
fn systemctl(options: &StartupOptions, calls: &[&[&str]]) -> Result<ExitCode, Failure> {
    if options.units.is_some() || !Path::new(RUNNING).exists() {
        let calls: Vec<_> =
            calls.iter().map(|call| format!("`systemctl {}`", call.join(" "))).collect();
        answer::say(&format!(
            "systemd does not run here; where it does, call {}",
            calls.join(", ")
        ));
        return Ok(Code::Done.into());
    }
    for call in calls {
        let status = Command::new("systemctl").args(*call).status();
        let status = status.map_err(|error| Failure::System { what: "call systemctl", error })?;
        if !status.success() {
            let error = io::Error::other(format!("`systemctl {}`: {status}", call.join(" ")));
            return Err(Failure::System { what: "tell systemd", error });
        }
    }
    Ok(Code::Done.into())
}

impl Unit {
    fn new(options: &StartupOptions) -> Result<Self, Failure> {
        let usage = |problem: String, hint| Failure::Usage { problem, hint };
        let user = user(options)?;
        let home = match (&options.home, env::var_os("CORELANE_HOME")) {
            (Some(home), _) => home.clone(),
            (None, Some(home)) if options.user.is_none() => home.into(),
            _ => user.home.join(".corelane"),
        };
        let corelane = env::current_exe()
            .map_err(|error| Failure::System { what: "find this program's file", error })?;
        if !corelane.exists() {
            let problem = format!("this program's file is gone: {}", corelane.display());
            return Err(usage(problem, "call the corelane that is installed now"));
        }
        for path in [&home, &corelane] {
            let text = path.to_str().filter(|text| !text.contains(AWKWARD));
            if text.is_none() || !path.is_absolute() {
                let problem = format!("a unit cannot name {}", path.display());
                return Err(usage(problem, "it must be absolute, without quotes, % or $"));
            }
        }
        check_owner(&home, &user).map_err(|problem| {
            usage(problem, "--home names a directory of that user's, --user another user")
        })?;
        Ok(Self { user, home, corelane })
    }

    /// Why it is not written; whoever may not is told what to call instead.
    fn refused(&self, path: &Path, error: io::Error) -> Failure {
        if error.kind() != io::ErrorKind::PermissionDenied {
            return Failure::File { path: path.to_owned(), error };
        }
        let (corelane, user) = (self.corelane.display(), &self.user.name);
        let call =
            format!("{corelane} startup --install --user {user} --home {}", self.home.display());
        Failure::NotRoot { path: path.to_owned(), call: format!("sudo {call}") }
    }

    fn name(&self) -> String {
        unit_name(&self.user.name)
    }

    fn path(&self, options: &StartupOptions) -> PathBuf {
        units(options).join(self.name())
    }

    fn text(&self) -> String {
        let Self { user, home, corelane } = self;
        let (user, home, corelane) = (&user.name, home.display(), corelane.display());
        format!(
            r#"[Unit]
Description=corelane, the manager of {user}'s apps
Wants=network-online.target
After=network-online.target
# One that dies is started again however often it is killed; one that cannot start is given up.
StartLimitIntervalSec=10
StartLimitBurst=50

[Service]
# Ready when the apps are up, or have failed. Until then it asks for more time.
Type=notify
User={user}
Environment="CORELANE_HOME={home}"
ExecStart="{corelane}" daemon
# The version that is now installed, in the same process; the apps run on.
ExecReload="{corelane}" upgrade
ExecStop="{corelane}" kill
# Should it die, the apps serve on, and the next manager takes them over.
KillMode=process
# Not after `corelane kill`, which is meant.
Restart=on-failure
RestartSec=100ms
# One that is stuck, or stopped, hears no other signal.
WatchdogSec=30
WatchdogSignal=SIGKILL
# Keeps the apps' listening sockets from one manager to the next.
FileDescriptorStoreMax=4096
TimeoutStartSec=90
TimeoutStopSec=90
# A descriptor for each connection; memory for the rings of each worker.
LimitNOFILE=1048576
LimitMEMLOCK=infinity

[Install]
WantedBy=multi-user.target
"#
        )
    }
}

/// Whom the manager runs as.
fn user(options: &StartupOptions) -> Result<Identity, Failure> {
    let identity = match &options.user {
        Some(user) => Identity::of(user, None),
        None => Identity::current(),
    };
    let hint = "--user names whom the manager runs as";
    identity.map_err(|error| Failure::Usage { problem: error.to_string(), hint })
}

fn unit_name(user: &str) -> String {
    format!("corelane-{user}.service")
}

/// The directory of the units.
fn units(options: &StartupOptions) -> &Path {
    options.units.as_deref().unwrap_or(Path::new(UNITS))
}

/// A home that is there must be its user's, and one that is not must be the user's to make.
fn check_owner(home: &Path, user: &Identity) -> Result<(), String> {
    match fs::metadata(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => check_parent(home, user),
        Err(error) => Err(format!("cannot look at {}: {error}", home.display())),
        Ok(about) if !about.is_dir() => Err(format!("{} is no directory", home.display())),
        Ok(about) if about.uid() != user.uid => {
            Err(format!("{} does not belong to {}", home.display(), user.name))
        }
        Ok(_) => Ok(()),
    }
}

/// Whether the user could make it: in the nearest directory that there is.
fn check_parent(home: &Path, user: &Identity) -> Result<(), String> {
    let is_there = |dir: &&Path| dir.exists();
    let dir = home.ancestors().find(is_there).unwrap_or(Path::new("/"));
    let about =
        fs::metadata(dir).map_err(|error| format!("cannot look at {}: {error}", dir.display()))?;
    let (mode, name) = (about.mode(), &user.name);
    let writes = (about.uid() == user.uid && mode & 0o200 != 0)
        || (user.groups.contains(&about.gid()) && mode & 0o020 != 0)
        || mode & 0o002 != 0;
    if about.is_dir() && (writes || user.uid == 0) {
        return Ok(());
    }
    let (home, dir) = (home.display(), dir.display());
    Err(format!("there is no {home}, and {name} cannot make it in {dir}"))
}
