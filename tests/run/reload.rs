//! HUP: another configuration, as a whole or not at all.

use super::*;

/// A request that keeps its connection.
const KEPT: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn app(name: &str, address: &str, more: &str, body: &str) -> String {
    let body = format!("{{ path = \"/\", respond = {{ body = \"{body}\" }} }}");
    format!("[[apps]]\nname = \"{name}\"\nlisten = [\"{address}\"]\n{more}\nroutes = [{body}]\n")
}

impl Running {
    fn write(&self, file: &str) {
        fs::write(self.dir.path().join("corelane.toml"), file).unwrap();
    }

    /// Has it read its file again; returns what it says until it is done with it.
    #[track_caller]
    fn reload(&self) -> Vec<String> {
        self.signal(Signal::HUP);
        let mut said = Vec::new();
        loop {
            said.push(self.line());
            if said.last().is_some_and(|line| line.contains("reloaded")) {
                return said;
            }
        }
    }
}

/// Asks until the answer is another. An old worker takes connections until it has been told.
#[track_caller]
fn until_it_answers(address: SocketAddr, body: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !ask(address, &get("/")).ends_with(body) {
        assert!(Instant::now() < deadline, "it never answers {body}");
    }
}

#[test]
fn a_reload_changes_what_is_served_and_cuts_nothing() {
    let running = Running::start(Some(&app("a", "127.0.0.1:0", "instances = 1", "old")), &[]);
    let address = running.one_worker();
    let mut busy = connect(address);
    // Once the first is answered, the worker has the beginning of the second, too.
    busy.write_all(format!("{KEPT}GET / HTTP/1.1\r\nHost:").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut busy), (false, "old".to_owned()));
    running.write(&app("a", "127.0.0.1:0", "instances = 3", "new"));
    let said = running.reload();
    assert!(said.contains(&"now 3 workers".to_owned()), "{said:?}");
    assert_eq!(said.last().unwrap(), "reloaded: 1 changed, 0 started, 0 stopped, 0 as before");
    until_it_answers(address, "new");
    // What was begun ends with the old worker, be it told by then or not.
    busy.write_all(b" x\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut busy).1, "old");
    let said = running.reload();
    assert_eq!(said, ["reloaded: 0 changed, 0 started, 0 stopped, 1 as before"]);
}

#[test]
fn connections_that_are_idle_outlive_a_reload() {
    let file = |body: &str| app("a", "127.0.0.1:0", "instances = 1", body);
    let running = Running::start(Some(&file("0")), &[]);
    let mut idle = connect(running.one_worker());
    let mut passed_on = 0;
    for round in 1..=20 {
        running.write(&file(&round.to_string()));
        running.reload();
        // The old worker answers as long as it has not been told.
        loop {
            idle.write_all(KEPT.as_bytes()).unwrap();
            let (close, body) = read_answer(&mut idle);
            if close {
                idle = connect(idle.peer_addr().unwrap());
                break;
            }
            if body == round.to_string() {
                passed_on += 1;
                break;
            }
        }
    }
    assert!(passed_on > 0);
}

/// Reads one answer with a `Content-Length`: whether it announces the close, and the body.
fn read_answer(stream: &mut TcpStream) -> (bool, String) {
    let mut reader = BufReader::new(stream);
    let (mut close, mut length, mut line) = (false, 0, String::new());
    while line != "\r\n" {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the head is whole");
        close |= line == "Connection: close\r\n";
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (close, String::from_utf8(body).unwrap())
}

#[test]
fn a_reload_that_cannot_be_whole_changes_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let one = |body| app("a", "127.0.0.1:0", "instances = 1", body);
    let running = Running::start(Some(&one("old")), &[]);
    let address = running.one_worker();
    for (file, why) in [
        ("[[apps]]\nname = 1\n".to_owned(), "corelane.toml:2:8"),
        (one("new") + &app("b", &taken, "", "b"), "b: cannot listen on"),
        (app("b", &taken, "", "b") + &one("new"), "b: cannot listen on"),
        (app("a", "127.0.0.1:0", "cpus = \"8191\"", "new"), "a: nothing has changed: cannot place"),
    ] {
        running.write(&file);
        running.signal(Signal::HUP);
        let mut said = String::new();
        while !said.contains(why) {
            said += &running.line();
            said.push('\n');
        }
        assert!(said.contains("not reloaded, everything is as it was:"), "{said}");
        assert!(ask(address, &get("/")).ends_with("old"), "{file}");
    }
    running.write(&one("new"));
    running.reload();
    until_it_answers(address, "new");
}

#[test]
fn a_reload_starts_and_stops_apps() {
    let a = app("a", "127.0.0.1:0", "instances = 1", "a");
    let mut running = Running::start(Some(&a), &[]);
    let address = running.one_worker();
    running.write(&(a.clone() + &app("b", "127.0.0.1:0", "instances = 1", "b")));
    let said = running.reload();
    assert_eq!(said.last().unwrap(), "reloaded: 0 changed, 1 started, 0 stopped, 1 as before");
    let banner = said.iter().find(|line| line.contains("http://")).unwrap();
    assert!(banner.starts_with("[b] "), "{banner}");
    let other: SocketAddr = banner.split_once("http://").unwrap().1.parse().unwrap();
    assert!(ask(other, &get("/")).ends_with('b'));
    running.write(&a);
    let said = running.reload();
    assert_eq!(said.last().unwrap(), "reloaded: 0 changed, 0 started, 1 stopped, 1 as before");
    // It may have been quicker than what is said of all.
    let stopped = said.iter().any(|line| line.contains("[b] stopped"));
    while !stopped && !running.line().contains("[b] stopped") {}
    assert!(ask(address, &get("/")).ends_with('a'));
    assert!(TcpStream::connect(other).is_err());
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
}

#[test]
fn a_service_manager_hears_of_a_reload() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let file = app("a", "127.0.0.1:0", "instances = 1", "old");
    let running = Running::prepared(Some(&file), &[], |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    let hear = || {
        let mut datagram = [0; 1024];
        let length = socket.recv(&mut datagram).unwrap();
        String::from_utf8(datagram[..length].to_vec()).unwrap()
    };
    assert!(hear().contains("READY=1"));
    running.write(&app("a", "127.0.0.1:0", "instances = 1", "new"));
    running.signal(Signal::HUP);
    let reloading = hear();
    assert!(reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="));
    while !hear().contains("READY=1") {}
}
