//! `corelane startup` and `unstartup`: a systemd unit that runs the manager at boot.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::answer;
use super::args::StartupOptions;
use super::exit::{Code, Failure};
use crate::sys::user::Identity;

/// Where an administrator's units are.
const UNITS: &str = "/etc/systemd/system";
/// There only while systemd runs.
const RUNNING: &str = "/run/systemd/system";
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
    let path = unit.path(options);
    fs::write(&path, unit.text()).map_err(|error| Failure::File { path: path.clone(), error })?;
    answer::say(&format!("{} is written", path.display()));
    let name = unit.name();
    systemctl(options, &[&["daemon-reload"], &["enable", &name]])
}

/// Removes the unit, and nothing else.
pub(super) fn unstartup(options: &StartupOptions) -> Result<ExitCode, Failure> {
    let unit = Unit::new(options)?;
    let (path, name) = (unit.path(options), unit.name());
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
        let identity = match &options.user {
            Some(user) => Identity::of(user, None),
            None => Identity::current(),
        };
        let hint = "--user names whom the manager runs as";
        let user = identity.map_err(|error| usage(error.to_string(), hint))?;
        let home = match (&options.home, env::var_os("CORELANE_HOME")) {
            (Some(home), _) => home.clone(),
            (None, Some(home)) if options.user.is_none() => home.into(),
            _ => user.home.join(".corelane"),
        };
        let corelane = env::current_exe()
            .map_err(|error| Failure::System { what: "find this program's file", error })?;
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

    fn name(&self) -> String {
        format!("corelane-{}.service", self.user.name)
    }

    fn path(&self, options: &StartupOptions) -> PathBuf {
        options.units.as_deref().unwrap_or(Path::new(UNITS)).join(self.name())
    }

    fn text(&self) -> String {
        let Self { user, home, corelane } = self;
        let (user, home, corelane) = (&user.name, home.display(), corelane.display());
        let mut text = String::new();
        let lines = [
            "[Unit]".to_owned(),
            format!("Description=corelane, the manager of {user}'s apps"),
            "Wants=network-online.target".to_owned(),
            "After=network-online.target".to_owned(),
            String::new(),
            "[Service]".to_owned(),
            "# Ready when it answers and has taken over what still runs.".to_owned(),
            "Type=notify".to_owned(),
            format!("User={user}"),
            format!("Environment=\"CORELANE_HOME={home}\""),
            format!("ExecStart=\"{corelane}\" daemon"),
            "# The version that is now installed, in the same process; the apps run on.".to_owned(),
            format!("ExecReload=\"{corelane}\" upgrade"),
            format!("ExecStop=\"{corelane}\" kill"),
            "# Should it die, the apps serve on, and the next manager takes them over.".to_owned(),
            "KillMode=process".to_owned(),
            "Restart=always".to_owned(),
            "RestartSec=100ms".to_owned(),
            "WatchdogSec=30".to_owned(),
            "TimeoutStartSec=90".to_owned(),
            "TimeoutStopSec=90".to_owned(),
            "# A descriptor for each connection; memory for the rings of each worker.".to_owned(),
            "LimitNOFILE=1048576".to_owned(),
            "LimitMEMLOCK=infinity".to_owned(),
            String::new(),
            "[Install]".to_owned(),
            "WantedBy=multi-user.target".to_owned(),
        ];
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

/// A home that is there must be its user's.
fn check_owner(home: &Path, user: &Identity) -> Result<(), String> {
    match fs::metadata(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("cannot look at {}: {error}", home.display())),
        Ok(about) if !about.is_dir() => Err(format!("{} is no directory", home.display())),
        Ok(about) if about.uid() != user.uid => {
            Err(format!("{} does not belong to {}", home.display(), user.name))
        }
        Ok(_) => Ok(()),
    }
}
