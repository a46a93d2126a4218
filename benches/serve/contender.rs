//! Who is measured, and how each is started.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::SERVER_CPU;
use crate::launch;

/// The corelane binary that cargo built along with this bench, if it built one.
const CORELANE: Option<&str> = option_env!("CARGO_BIN_EXE_corelane");

/// The example that serves through the library.
const EXAMPLE: &str = "bench_hello";

/// Directories for programs that a user's `PATH` may lack.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A server to be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contender {
    Uring,
    Epoll,
    CorelaneConfig,
    CorelaneLibrary,
    Nginx,
}

impl Contender {
    /// All of them, in the order in which they take turns.
    pub(crate) const ALL: [Contender; 5] = [
        Contender::Uring,
        Contender::Epoll,
        Contender::CorelaneConfig,
        Contender::CorelaneLibrary,
        Contender::Nginx,
    ];

    /// The one that the others are compared with.
    pub(crate) const FLOOR: Contender = Contender::Uring;

    /// What it is called on the command line and in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Uring => "uring",
            Contender::Epoll => "epoll",
            Contender::CorelaneConfig => "corelane-config",
            Contender::CorelaneLibrary => "corelane-library",
            Contender::Nginx => "nginx",
        }
    }

    /// Why it cannot be started on this machine, if it cannot.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            Contender::Uring | Contender::Epoll => None,
            Contender::CorelaneConfig if CORELANE.is_some() => None,
            Contender::CorelaneConfig => Some("built without the feature `cli`".into()),
            Contender::CorelaneLibrary => build_example().err().map(|error| error.to_string()),
            Contender::Nginx if find("nginx").is_some() => None,
            Contender::Nginx => Some("not installed; hint: apt-get install nginx-light".into()),
        }
    }

    /// The command that serves on `port` of 127.0.0.1, with its files in `directory`.
    pub(crate) fn command(self, port: u16, directory: &Path) -> io::Result<Command> {
        match self {
            Contender::Uring | Contender::Epoll => {
                let mut command = launch::pinned(SERVER_CPU, std::env::current_exe()?)?;
                let place = [SERVER_CPU.to_string(), port.to_string()];
                command.args(["floor", self.name()]).args(place);
                Ok(command)
            }
            Contender::CorelaneConfig => {
                let file = directory.join("corelane.toml");
                fs::write(&file, corelane_toml(port))?;
                let program = CORELANE.ok_or(io::ErrorKind::NotFound)?;
                let mut command = launch::pinned(SERVER_CPU, program)?;
                command.arg("run").arg(file);
                Ok(command)
            }
            Contender::CorelaneLibrary => {
                let mut command = launch::pinned(SERVER_CPU, example()?)?;
                command.arg(format!("127.0.0.1:{port}"));
                Ok(command)
            }
            Contender::Nginx => {
                let file = directory.join("nginx.conf");
                fs::write(&file, nginx_conf(port))?;
                let program = find("nginx").ok_or(io::ErrorKind::NotFound)?;
                let mut command = launch::pinned(SERVER_CPU, program)?;
                command.arg("-p").arg(directory).arg("-c").arg(file).args(["-e", "stderr"]);
                Ok(command)
            }
        }
    }
}

fn corelane_toml(port: u16) -> String {
    format!(
        r#"[[apps]]
name = "bench"
listen = ["127.0.0.1:{port}"]
instances = 1
cpus = "{SERVER_CPU}"

[[apps.routes]]
path = "/"
respond = {{ status = 200, body = "Hello, Cluster!" }}
"#
    )
}

fn nginx_conf(port: u16) -> String {
    format!(
        r#"daemon off;
pid nginx.pid;
worker_processes 1;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    default_type "text/plain; charset=utf-8";
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 "Hello, Cluster!"; }}
    }}
}}
"#
    )
}

/// Builds the example as a user would, so that it is not older than the library.
fn build_example() -> io::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--example", EXAMPLE])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()?;
    if built.status.success() && example()?.is_file() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&built.stderr);
    let line = said.lines().next().unwrap_or("it is not where it was expected").trim();
    Err(io::Error::other(format!("the example {EXAMPLE} was not built: {line}")))
}

/// Where cargo puts the example: this bench is `deps/serve-...` of the same directory.
fn example() -> io::Result<PathBuf> {
    let bench = std::env::current_exe()?;
    let profile = bench.ancestors().nth(2).ok_or(io::ErrorKind::NotFound)?;
    Ok(profile.join("examples").join(EXAMPLE))
}

/// Where a program is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories =
        std::env::split_paths(&path).chain(SYSTEM_DIRECTORIES.iter().map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|file| file.is_file())
}
