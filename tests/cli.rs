//! The real program: what it prints where, and what it exits with.
#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const GOOD: &str = r#"
[defaults]
instances = 2

[[apps]]
name = "shop"
listen = ["127.0.0.1:3000", "unix:/run/shop.sock"]
routes = [{ path = "/", respond = { body = "shop" } }, { path = "/echo", echo = {} }]

[[apps]]
name = "admin"
listen = ["127.0.0.1:3001"]
instances = -1
routes = [{ path = "/", redirect = { to = "/login" } }]
"#;

/// Every key that there is, but for those of routes.
const WHOLE: &str = r#"
[defaults]
on_panic = "restart"

[[apps]]
name = "whole"
listen = ["127.0.0.1:3000"]
instances = "max"
cpus = "0"
balance = "kernel"
on_panic = "500"
metrics = "127.0.0.1:9100"
routes = [{ path = "/", echo = {} }]

[apps.restart]
policy = "on-failure"
backoff = "50ms"
backoff_max = "1s"
max_restarts = 5
within = "30s"
stalled_max = 1

[apps.timeouts]
header = "10s"
body_idle = "30s"
keep_alive = "75s"
write_idle = "30s"
drain = "30s"
idle_grace = "1s"
stall = "5s"

[apps.limits]
request_line_bytes = "8KiB"
head_bytes = "16KiB"
headers = 100
body_bytes = "1MiB"
connections = 65536
pipeline = 64
"#;

const BAD: &str = "[[apps]]\nname = \"a\"\nlisten = []\ninstanecs = 2\n";

/// The program in a directory of its own, which holds only these files.
fn corelane(files: &[(&str, &str)], args: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a fresh directory");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("a file in it");
    }
    command(dir.path(), args).output().expect("the program starts")
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command.args(args).current_dir(dir).env_clear().stdin(Stdio::null());
    command
}

#[track_caller]
fn check(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert_eq!(output.status.code(), Some(code), "stdout:\n{out}\nstderr:\n{err}");
    for (found, expected) in [(out, stdout), (err, stderr)] {
        assert!(found.contains(expected), "{expected:?} in {found:?}");
        assert_eq!(found.is_empty(), expected.is_empty(), "{found:?}");
    }
}

#[test]
fn check_lists_the_apps_of_a_good_file() {
    let table = "a.toml: ok, 2 apps\n\
        NAME   LISTEN                               INSTANCES  ROUTES\n\
        shop   127.0.0.1:3000, unix:/run/shop.sock  2          2\n\
        admin  127.0.0.1:3001                       -1         1\n";
    let output = corelane(&[("a.toml", GOOD)], &["check", "a.toml"]);
    check(&output, 0, table, "");
    assert_eq!(output.stdout, table.as_bytes());
}

#[test]
fn check_accepts_every_key() {
    let output = corelane(&[("a.toml", WHOLE)], &["check", "a.toml"]);
    check(&output, 0, "a.toml: ok, 1 app\n", "");
}

#[test]
fn check_prints_json_when_asked() {
    let output = corelane(&[("a.toml", GOOD)], &["check", "--json", "a.toml"]);
    assert_eq!(output.status.code(), Some(0));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!({ "file": "a.toml", "apps": [
        {
            "name": "shop",
            "listen": ["127.0.0.1:3000", "unix:/run/shop.sock"],
            "instances": 2,
            "routes": 2,
        },
        { "name": "admin", "listen": ["127.0.0.1:3001"], "instances": -1, "routes": 1 },
    ]});
    assert_eq!(found, expected);
}

#[test]
fn check_says_all_that_is_wrong_on_stderr() {
    let output = corelane(&[("a.toml", BAD)], &["check", "a.toml"]);
    let expected = "a.toml:1:1: `routes` is missing: \
        add an [[apps.routes]] table, there is nothing to serve\n  |\n\
        1 | [[apps]]\n  | ^^^^^^^^\n\n\
        a.toml:3:10: `listen` is empty: write a list such as [\"127.0.0.1:3000\"]\n  |\n\
        3 | listen = []\n  |          ^^\n\n\
        a.toml:4:1: unknown key `instanecs` (did you mean `instances`?)\n  |\n\
        4 | instanecs = 2\n  | ^^^^^^^^^\n\n\
        a.toml: 3 errors, nothing was applied\n";
    check(&output, 2, "", expected);
}

#[test]
fn files_that_cannot_be_read_exit_2() {
    for verb in ["check", "run"] {
        let expected = "error: cannot read none.toml: there is no such file\n";
        check(&corelane(&[], &[verb, "none.toml"]), 2, "", expected);
        check(&corelane(&[], &[verb, "."]), 2, "", "error: cannot read .: it is a directory");
    }
}

#[test]
fn version_and_help_go_to_stdout() {
    let version = concat!("corelane ", env!("CARGO_PKG_VERSION"), "\n");
    check(&corelane(&[], &["--version"]), 0, version, "");
    check(&corelane(&[], &["--help"]), 0, "Usage: corelane", "");
    check(&corelane(&[], &["run", "--help"]), 0, "Usage: corelane run", "");
}

#[test]
fn usage_errors_exit_2_on_stderr() {
    let cases: [(&[&str], &str); 12] = [
        (&["chekc"], "unrecognized subcommand"),
        (&["--port", "80"], "unexpected argument '--port'"),
        (&["check"], "<FILE>"),
        (&["check", "a", "b"], "unexpected argument 'b'"),
        (&["run", "--listen"], "a value is required"),
        (&["run", "--listen", "3000"], "the port is missing"),
        (&["run", "--listen", "127.0.0.1:99999"], "bad address `127.0.0.1:99999`"),
        (&["--listen", "example.com:80"], "the host must be an IP address or localhost"),
        (&["run", "--listen", "[::1]:1", "--listen", "[::1]:1"], "--listen [::1]:1 is given twice"),
        (&["run", "--instances", "0"], "bad number of instances `0`"),
        (&["run", "--instances", "many"], "bad number of instances `many`"),
        (&["--instances", "-2000"], "at most 1024 workers"),
    ];
    for (args, problem) in cases {
        check(&corelane(&[], args), 2, "", problem);
    }
}

#[test]
fn run_refuses_overrides_for_several_apps() {
    let problem = "error: --listen and --instances are for a file with a single app\nhint: ";
    for over in [["--listen", "127.0.0.1:0"], ["--instances", "1"]] {
        let named = [&["run", "a.toml"], over.as_slice()].concat();
        check(&corelane(&[("a.toml", GOOD)], &named), 2, "", problem);
        check(&corelane(&[("corelane.toml", GOOD)], &over), 2, "", problem);
    }
}

#[test]
fn run_starts_nothing_if_the_file_is_wrong() {
    for args in [&[][..], &["run"], &["run", "corelane.toml"], &["--instances", "1"]] {
        let output = corelane(&[("corelane.toml", BAD)], args);
        check(&output, 2, "", "corelane.toml:4:1: unknown key `instanecs`");
    }
}

#[test]
fn run_does_not_pass_over_a_default_file_it_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("gone", dir.path().join("corelane.toml")).unwrap();
    let output = command(dir.path(), &[]).output().unwrap();
    check(&output, 2, "", "error: cannot read corelane.toml: there is no such file");
}

#[test]
fn a_closed_stdout_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.toml"), GOOD).unwrap();
    for args in [&["check", "a.toml"][..], &["--version"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(dir.path(), args).stdout(writer).output().unwrap();
        check(&output, 0, "", "");
    }
}

#[test]
fn a_full_stdout_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.toml"), GOOD).unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command(dir.path(), &["check", "a.toml"]).stdout(full).output().unwrap();
    check(&output, 1, "", "error: cannot write to stdout: ");
}
