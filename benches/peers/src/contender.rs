//! Who is measured, and how each is started.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use peers::{BACKLOG, GZIP_LEVEL, HELLO};

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
    Tungstenite,
    ExampleCluster,
    OriginalCluster,
    ExampleExpress,
    OriginalExpress,
}

use Contender as C;

impl Contender {
    /// All of them, in the order of the tables.
    pub(crate) const ALL: [C; 17] = [
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
        C::Tungstenite,
        C::ExampleCluster,
        C::OriginalCluster,
        C::ExampleExpress,
        C::OriginalExpress,
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
            C::Tungstenite => "tokio-tungstenite",
            C::ExampleCluster => "example-cluster",
            C::OriginalCluster => "original-cluster",
            C::ExampleExpress => "example-express",
            C::OriginalExpress => "original-express",
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
            C::Tungstenite => "tokio-tungstenite alone, on tokio's current-thread runtime",
            C::ExampleCluster => "corelane's example `cluster`",
            C::OriginalCluster => "the program that Node's `cluster` is first met by",
            C::ExampleExpress => "corelane's example `express`",
            C::OriginalExpress => "the program that Express on `cluster` is first met by",
        }
    }

    /// The program of this package that it is, if it is one.
    pub(crate) fn own_program(self) -> Option<&'static str> {
        match self {
            C::Uring | C::Epoll => Some("floor"),
            C::CorelaneLibrary
            | C::MayMinihttp
            | C::ActixWeb
            | C::Ntex
            | C::Axum
            | C::Glommio
            | C::Tungstenite => Some(self.name()),
            _ => None,
        }
    }

    /// The one workload that it is there for, if it is not there for most.
    pub(crate) fn only(self) -> Option<&'static str> {
        match self {
            C::Tungstenite => Some("ws-128"),
            C::ExampleCluster | C::OriginalCluster => Some("example-cluster"),
            C::ExampleExpress | C::OriginalExpress => Some("example-express"),
            _ => None,
        }
    }

    /// What it answers to `GET /`.
    pub(crate) fn hello(self) -> &'static str {
        match self {
            C::ExampleExpress | C::OriginalExpress => "Hello, Express with Cluster!",
            _ => HELLO,
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
        let files = directory.join("files");
        command.env("PEERS_FILES", &files);
        match self {
            C::Uring | C::Epoll => {
                command.arg(self.name());
            }
            C::CorelaneConfig => {
                let file = directory.join("corelane.toml");
                fs::write(&file, corelane_toml(port, workers, &files))?;
                command.arg("run").arg(file);
                return Ok(command);
            }
            C::Nginx => {
                let file = directory.join("nginx.conf");
                fs::write(&file, nginx_conf(port, workers, &files))?;
                command.arg("-p").arg(directory).arg("-c").arg(file).args(["-e", "stderr"]);
                return Ok(command);
            }
            C::Node => {
                command.arg(shop.scripts().join("http.js")).env("NODE_ENV", "production");
            }
            C::Express => {
                command.arg(shop.scripts().join("express.js")).env("NODE_ENV", "production");
            }
            C::OriginalCluster | C::OriginalExpress => {
                let script = shop.scripts().join(format!("{}.js", self.name()));
                command.arg(script).env("NODE_ENV", "production").env("PORT", port.to_string());
                return Ok(command);
            }
            C::ExampleCluster | C::ExampleExpress => {
                command.arg(format!("127.0.0.1:{port}"));
                return Ok(command);
            }
            _ => {}
        }
        command.args([port.to_string(), workers.to_string()]);
        Ok(command)
    }
}

fn corelane_toml(port: u16, workers: usize, files: &Path) -> String {
    let files = files.display();
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

[[apps.routes]]
path = "/files/*path"
files = {{ root = "{files}" }}
"#
    )
}

fn nginx_conf(port: u16, workers: usize, files: &Path) -> String {
    let files = files.display();
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
        sendfile on;
        tcp_nopush on;
        open_file_cache max=100;
        location = / {{ return 200 "Hello, Cluster!"; }}
        location /files/ {{ alias {files}/; default_type application/octet-stream; }}
        location = /page {{
            alias {files}/page.txt;
            gzip on;
            gzip_comp_level {GZIP_LEVEL};
            gzip_types *;
        }}
    }}
}}
"#
    )
}
