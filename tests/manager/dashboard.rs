//! The dashboard's server. What its page does in a browser is a suite of its own,
//! `tests/dashboard`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use super::world::{World, signal, until, web};

/// One that runs, and what it says one should open.
struct Dashboard {
    child: Child,
    host: String,
    token: String,
}

impl Dashboard {
    fn start(world: &World) -> Self {
        let mut command = world.command(&["dashboard", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let place = line.trim().strip_prefix("http://").unwrap_or_else(|| panic!("{line}"));
        let (host, token) = place.split_once("/?token=").unwrap();
        Self { child, host: host.to_owned(), token: token.to_owned() }
    }

    fn cookie(&self) -> String {
        format!("Cookie: corelane-{}={}\r\n", &self.token[..8], self.token)
    }

    /// Sends a request; its answer comes on what is returned.
    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let (host, length) = (&self.host, body.len());
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        let rest = format!("{headers}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all((head + &rest).as_bytes()).unwrap();
        stream
    }

    /// The whole answer.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut answer = String::new();
        self.send(method, path, headers, body).read_to_string(&mut answer).unwrap();
        answer
    }

    fn order(&self, headers: &str, body: &str) -> String {
        let headers = format!("Content-Type: application/json\r\n{headers}");
        self.ask("POST", "/api/verb", &headers, body)
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn nobody_looks_without_the_token() {
    let world = World::with(&web("one"));
    let dashboard = Dashboard::start(&world);
    let wrong = "Cookie: corelane-00000000=00000000000000000000000000000000\r\n";
    for headers in ["", wrong] {
        assert!(dashboard.ask("GET", "/", headers, "").starts_with("HTTP/1.1 401 "));
        let events = dashboard.ask("GET", "/api/events", headers, "");
        assert!(events.starts_with("HTTP/1.1 401 ") && !events.contains("web"), "{events}");
    }
    assert!(dashboard.ask("GET", "/?token=0", "", "").starts_with("HTTP/1.1 401 "));
    let entered = dashboard.ask("GET", &format!("/?token={}", dashboard.token), "", "");
    assert!(entered.starts_with("HTTP/1.1 303 "), "{entered}");
    assert!(entered.contains("HttpOnly; SameSite=Lax; Path=/\r\n"), "{entered}");
    let page = dashboard.ask("GET", "/", &dashboard.cookie(), "");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("default-src 'none'"), "{page}");
    assert!(!page.contains(&dashboard.token), "it is in no page");
}

#[test]
fn only_its_own_page_changes_something_and_only_apps() {
    let world = World::with(&web("one"));
    let dashboard = Dashboard::start(&world);
    let scale = r#"{"verb":"scale","apps":["web"],"instances":"3"}"#;
    let own = format!("{}Origin: http://{}\r\n", dashboard.cookie(), dashboard.host);
    for origin in ["", "Origin: null\r\n", "Origin: http://elsewhere.example\r\n"] {
        let answer = dashboard.order(&format!("{}{origin}", dashboard.cookie()), scale);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    for verb in [r#"{"verb":"kill"}"#, r#"{"verb":"apply","specs":[],"dry":false}"#] {
        assert!(dashboard.order(&own, verb).starts_with("HTTP/1.1 403 "), "{verb}");
    }
    assert_eq!(world.app("web")["workers"].as_array().unwrap().len(), 2);
    let answer = dashboard.order(&own, scale);
    assert!(answer.contains(r#""message":"scaled to 3""#), "{answer}");
    assert_eq!(world.app("web")["workers"].as_array().unwrap().len(), 3);
    let nobody = dashboard.order(&own, &scale.replace("web", "nobody"));
    assert!(nobody.contains(r#""code":"not-found""#), "{nobody}");
}

#[test]
fn events_go_on_until_it_is_told_to_end() {
    let world = World::with(&web("one"));
    let mut dashboard = Dashboard::start(&world);
    let stream = dashboard.send("GET", "/api/events?app=web", &dashboard.cookie(), "");
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut next = |part: &str| lines.find(|line| line.contains(part)).is_some();
    assert!(next("event: overview") && next(r#""name":"web""#), "how the apps are");
    assert!(next("event: log") && next("listening"), "what it writes");
    assert!(next("event: overview"), "and again");
    signal(world.list()["manager"]["pid"].as_u64().unwrap().try_into().unwrap(), Signal::KILL);
    assert!(next("event: problem") && next("no manager runs"));
    world.done(&["resurrect"]);
    assert!(next("event: overview"), "the next manager is found");
    signal(dashboard.child.id(), Signal::TERM);
    until("it ends", || dashboard.child.try_wait().unwrap().is_some());
    assert!(dashboard.child.wait().unwrap().success());
}

#[test]
fn what_is_wrong_is_said_before_anybody_looks() {
    let world = World::new();
    let called = world.exits(3, &["dashboard"]);
    assert!(called.err.contains("no manager runs"), "{}", called.err);
    world.apply(&web("one"));
    let token = world.home().join("dashboard.token");
    fs::write(&token, "half").unwrap();
    let called = world.exits(1, &["dashboard", "--listen", "127.0.0.1:0"]);
    assert!(called.err.contains("dashboard.token") && called.err.contains("hint: remove it"));
    fs::remove_file(&token).unwrap();
    let address = world.address("web").to_string();
    let called = world.exits(1, &["dashboard", "--listen", &address]);
    assert!(called.err.contains(&address) && called.err.contains("in use"), "{}", called.err);
    assert_eq!(world.call(&["dashboard", "--listen", "nowhere"]).code, 2);
}
