//! What is wrong is found out before anything is sent.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::{bench, check, finish};

/// Runs against a server that nobody may connect to: what is refused has exit code 2, tells what
/// is wrong and what to do, and leaves the server alone.
#[track_caller]
fn refuses(args: &[&str], parts: &[&str]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    check(&bench(&[args, &[&url]].concat()), 2, &[], &[&["error: "], parts].concat());
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "{args:?}");
}

#[test]
fn bad_urls_are_refused() {
    for (url, parts) in [
        ("https://127.0.0.1:3000/", &["TLS is not spoken here", "hint: name the address"][..]),
        ("ftp://a/", &["`ftp` is not a known scheme", "hint: write http://"]),
        ("http://me@a/", &["hint: send it as a header"]),
        ("http://a:99999/", &["the port must be a number from 1 to 65535"]),
        ("http://no-such-host.invalid/", &["has no address", "hint: check the name"]),
        ("unix:", &["the path of the socket is missing"]),
    ] {
        check(&bench(&[url]), 2, &[], &[&["error: ", url], parts].concat());
        refuses(&["--vs", url], parts);
    }
    check(&bench(&[]), 2, &[], &["<URL>"]);
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for (args, part) in [
        (&["-d", "10"][..], "`10` has no unit: use a duration such as \"10s\""),
        (&["-d", "0s"], "--duration must not be zero"),
        (&["-n", "0"], "--requests must not be zero"),
        (&["--timeout", "0ms"], "--timeout must not be zero"),
        (&["-c", "0"], "--connections must not be zero"),
        (&["--threads", "0"], "--threads must not be zero"),
        (&["--pipeline", "0"], "--pipeline must not be zero"),
        (&["--threads", "2", "-c", "1"], "--connections 1 are too few for 2 threads"),
        (&["--threads", "4096", "-c", "4096"], "--threads 4096 are more than the "),
        (&["--rate", "0"], "--rate 0 is no number of requests per second"),
        (&["--rate=-1"], "--rate -1 is no number of requests per second"),
        (&["--rate", "inf"], "--rate inf is no number of requests per second"),
        (&["--rate", "nan"], "--rate NaN is no number of requests per second"),
        (&["--expect", "99"], "invalid status code"),
        (&["-X", "GE T"], "invalid HTTP method"),
        (&["--pid", "4194305"], "there is no process 4194305\nhint: "),
        (&["--vs", "http://a/", "--rounds", "1"], "--rounds 1 are too few\nhint: "),
    ] {
        refuses(args, &[part]);
    }
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    for (args, part) in [
        (&["-n", "1", "-d", "1s"][..], "cannot be used with"),
        (&["--body", "a", "--body-file", "b"], "cannot be used with"),
        (
            &["--pipeline", "2", "--no-keepalive"],
            "--pipeline and --no-keepalive exclude each other",
        ),
        (&["--vs-pid", "1"], "--vs <URL>"),
        (&["--rounds", "3"], "--vs <URL>"),
        (&["--hgrm", "a", "--vs", "http://a/"], "cannot be used with"),
        (&["--plot", "a", "--vs", "http://a/"], "cannot be used with"),
    ] {
        refuses(args, &[part]);
    }
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused() {
    for (args, part) in [
        (&["-H", "X"][..], "bad header `X`: there is no colon in it"),
        (&["-H", "X: a\r\nY: b"], "its value may hold no line break"),
        (&["--body", "abc", "-H", "Content-Length: 4"], "contradicts the body of 3 bytes\nhint: "),
        (&["-H", "Transfer-Encoding: chunked"], "`Transfer-Encoding` contradicts"),
        (&["-H", "Connection: close"], "hint: leave it out, and say --no-keepalive"),
        (&["-X", "CONNECT"], "CONNECT asks for a tunnel"),
    ] {
        refuses(args, &[part]);
    }
}

#[test]
fn files_that_cannot_be_read_or_written_are_refused() {
    for (args, part) in [
        (["--hgrm", "none/a.hgrm"], "cannot write none/a.hgrm: No such file or directory"),
        (["--plot", "."], "cannot write .: is a directory"),
        (["--body-file", "none"], "--body-file none: No such file or directory"),
    ] {
        refuses(&args, &[part, "\nhint: "]);
    }
}

#[test]
fn too_few_open_files_are_told_of_before_the_run() {
    let program = env!("CARGO_BIN_EXE_corelane");
    let mut command = Command::new("/bin/sh");
    let script = format!("ulimit -n 100; exec '{program}' bench -c 500 http://127.0.0.1:9/");
    command.args(["-c", &script]).stdin(Stdio::null());
    let parts = ["--connections 500 takes 596 open files, and the limit is 100\nhint: raise"];
    check(&finish(command), 2, &[], &parts);
}
