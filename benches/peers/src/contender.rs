//! Who is measured, and how each is started.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use peers::BACKLOG;

use crate::SERVER_CPU;
use crate::launch;
use crate::workshop::Shop;

/// A server to be measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Contender {
    Uring,
    Epoll,
    CorelaneConfig,
    CorelaneLibrary,
    MayMinihttp,
    ActixWeb,
    Ntex,
    Axum,
    Glommio,
    Nginx,
    Node,
    Express,
}

use Contender as C;

impl Contender {
    /// All of them, in the order of the tables.
    pub(crate) const ALL: [C; 12] = [
        C::Uring,
        C::Epoll,
        C::CorelaneConfig,
        C::CorelaneLibrary,
        C::MayMinihttp,
        C::ActixWeb,
        C::Ntex,
        C::Axum,
        C::Glommio,
        C::Nginx,
        C::Node,
        C::Express,
    ];

    /// Both ways in which corelane serves.
    pub(crate) const CORELANE: [C; 2] = [C::CorelaneConfig, C::CorelaneLibrary];

    /// The Rust frameworks.
    pub(crate) const FRAMEWORKS: [C; 4] = [C::MayMinihttp, C::ActixWeb, C::Ntex, C::Axum];

    /// What it is called on the command line and in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            C::Uring => "uring",
            C::Epoll => "epoll",
            C::CorelaneConfig => "corelane-config",
            C::CorelaneLibrary => "corelane-library",
            C::MayMinihttp => "may-minihttp",
            C::ActixWeb => "actix-web",
            C::Ntex => "ntex",
            C::Axum => "axum",
            C::Glommio => "glommio",
            C::Nginx => "nginx",
            C::Node => "node",
            C::Express => "express",
        }
    }

    /// What it is, for people.
    pub(crate) fn what(self) -> &'static str {
        match self {
            C::Uring => "a bare io_uring loop with httparse and a fixed answer",
            C::Epoll => "a bare epoll loop with httparse and a fixed answer",
            C::CorelaneConfig => "`corelane run` with routes of its configuration file",
            C::CorelaneLibrary => "corelane as a library",
            C::MayMinihttp => "may_minihttp; matchit finds the routes, since it has no router",
            C::ActixWeb => "actix-web",
            C::Ntex => "ntex on its own runtime, over io_uring",
            C::Axum => "axum on tokio's current-thread runtime",
            C::Glommio => "`glommio::net` as first written: read, httparse, write; with matchit",
            C::Nginx => "nginx, `return 200`, access log off",
            C::Node => "Node's `http` in `cluster`; a map and one expression find the routes",
            C::Express => "Express in Node's `cluster`",
        }
    }

    /// The program of this package that it is, if it is one.
    pub(crate) fn own_program(self) -> Option<&'static str> {
        match self {
            C::Uring | C::Epoll => Some("floor"),
            C::CorelaneLibrary | C::MayMinihttp | C::ActixWeb | C::Ntex | C::Axum | C::Glommio => {
                Some(self.name())
            }
            C::CorelaneConfig | C::Nginx | C::Node | C::Express => None,
        }
    }

    /// The command that serves on `port` of 127.0.0.1, with its files in `directory`.
    pub(crate) fn command(
        self,
        shop: &Shop,
        port: u16,
        workers: usize,
        directory: &Path,
    ) -> io::Result<Command> {
        let mut command = launch::pinned(SERVER_CPU, shop.program(self));
        match self {
            C::Uring | C::Epoll => {
                command.arg(self.name());
            }
            C::CorelaneConfig => {
                let file = directory.join("corelane.toml");
                fs::write(&file, corelane_toml(port, workers))?;
                command.arg("run").arg(file);
                return Ok(command);
            }
            C::Nginx => {
                let file = directory.join("nginx.conf");
                fs::write(&file, nginx_conf(port, workers))?;
                command.arg("-p").arg(directory).arg("-c").arg(file).args(["-e", "stderr"]);
                return Ok(command);
            }
            C::Node => {
                command.arg(shop.scripts().join("http.js")).env("NODE_ENV", "production");
            }
            C::Express => {
                command.arg(shop.scripts().join("express.js")).env("NODE_ENV", "production");
            }
            _ => {}
        }
        command.args([port.to_string(), workers.to_string()]);
        Ok(command)
    }
}

fn corelane_toml(port: u16, workers: usize) -> String {
    format!(
        r#"[[apps]]
name = "bench"
listen = ["127.0.0.1:{port}"]
instances = {workers}
cpus = "{SERVER_CPU}"

[apps.limits]
body_bytes = "2MiB"

[[apps.routes]]
path = "/"
respond = {{ status = 200, body = "Hello, Cluster!" }}

[[apps.routes]]
path = "/echo"
echo = {{}}
"#
    )
}

fn nginx_conf(port: u16, workers: usize) -> String {
    format!(
        r#"daemon off;
pid nginx.pid;
worker_processes {workers};
events {{ worker_connections 20000; }}
http {{
    access_log off;
    server_tokens off;
    default_type "text/plain; charset=utf-8";
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    server {{
        listen 127.0.0.1:{port} backlog={BACKLOG} reuseport;
        location / {{ return 200 "Hello, Cluster!"; }}
    }}
}}
"#
    )
}
