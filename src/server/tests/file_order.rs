//! Files among other answers of a connection, and what a client can be told about them wrongly.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::app::{Files, State};

/// Older than this, a file is taken for settled.
const SETTLED: Duration = Duration::from_millis(1100);

struct Got {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn ask(worker: &Worker, path: &str, headers: &str) -> Got {
    let mut stream = worker.connect();
    let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut head = Vec::new();
    stream.read_to_end(&mut head).unwrap();
    let end = head.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let body = head.split_off(end + 4);
    let head = String::from_utf8(head).unwrap();
    Got { status: head[9..12].parse().unwrap(), head, body }
}

/// Of a directory with these files.
fn serving(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Worker) {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let root = dir.path().to_owned();
    let worker = Worker::new(move || App::new().files("/", root));
    (dir, worker)
}

fn position(all: &[u8], what: &[u8]) -> Option<usize> {
    all.windows(what.len()).position(|window| window == what)
}

#[test]
fn a_file_that_a_handler_sends_late_does_not_overtake_the_answer_before_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("middle.bin"), vec![b'M'; 100_000]).unwrap();
    for yields in 0..6 {
        let root = dir.path().to_owned();
        let worker = Worker::new(move || {
            let later = async move |State(files): State<Files>, request: Request| {
                for _ in 0..yields {
                    futures_lite::future::yield_now().await;
                }
                files.send(&request, "middle.bin").await
            };
            App::new().state(Files::new(root)).get("/small", async || "small").get("/later", later)
        });
        assert_eq!(ask(&worker, "/later", "").body.len(), 100_000);
        let both = "GET /small HTTP/1.1\r\nHost: h\r\n\r\n\
             GET /later HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let all = worker.ask(both);
        let (small, middle) = (all.find("small"), all.find("MMMM"));
        assert!(small.is_some() && small < middle, "{yields} yields");
    }
}

#[test]
fn a_file_that_must_be_loaded_does_not_overtake_one_that_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.txt"), "0123456789").unwrap();
    fs::write(dir.path().join("big.bin"), vec![b'B'; 2 << 20]).unwrap();
    for at in 0..40 {
        fs::write(dir.path().join(format!("m{at}.bin")), vec![b'M'; 17_000]).unwrap();
    }
    let root = dir.path().to_owned();
    let worker = Worker::new(move || App::new().files("/", root));
    for at in 0..40 {
        ask(&worker, "/a.txt", "");
        ask(&worker, "/big.bin", "");
        let get = |path: &str, last: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n{last}\r\n");
        let mut stream = worker.connect();
        let mut pipeline = get("/big.bin", "").repeat(3) + &get("/a.txt", "");
        pipeline += &get(&format!("/m{at}.bin"), "Connection: close\r\n");
        stream.write_all(pipeline.as_bytes()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let (small, middle) = (position(&all, b"0123456789"), position(&all, b"MMMM"));
        assert!(small.is_some() && small < middle, "{at}: {small:?} {middle:?}");
    }
}

#[test]
fn the_root_of_a_mounted_app_is_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("index.html"), "root").unwrap();
    let root = dir.path().to_owned();
    let worker = Worker::new(move || App::new().mount("/t", App::new().files("/", root)));
    let redirect = ask(&worker, "/t", "");
    assert_eq!((redirect.status, redirect.header("location")), (301, Some("/t/")));
    assert_eq!(ask(&worker, "/t/", "").body, b"root");
    assert_eq!(ask(&worker, "/t/index.html", "").body, b"root");
}

#[test]
fn no_redirect_leads_to_another_host_or_in_circles() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("2024")).unwrap();
    let root = dir.path().to_owned();
    let worker = Worker::new(move || {
        let send =
            async |State(files): State<Files>, request: Request| files.send(&request, "2024").await;
        let tenants = App::new().files("/", &root);
        let app = App::new().state(Files::new(&root)).get("/reports/*any", send);
        app.mount("/:tenant", tenants)
    });
    let away = ask(&worker, "/\\evil.example/2024", "");
    assert_eq!(away.header("location"), Some("/evil.example/2024/"));
    assert_eq!(ask(&worker, "/reports/now", "").status, 301);
    assert_eq!(ask(&worker, "/reports/now/", "").status, 404);
}

#[test]
fn two_files_of_one_size_and_time_have_different_tags() {
    let (dir, worker) = serving(&[("v1", b"version 1"), ("v2", b"version 2")]);
    let now = std::time::SystemTime::now() - Duration::from_secs(60);
    for name in ["v1", "v2"] {
        let file = fs::File::options().append(true).open(dir.path().join(name)).unwrap();
        file.set_modified(now).unwrap();
    }
    symlink("v1", dir.path().join("current")).unwrap();
    std::thread::sleep(SETTLED);
    let tag = ask(&worker, "/current", "").header("etag").unwrap().to_owned();
    symlink("v2", dir.path().join("new")).unwrap();
    fs::rename(dir.path().join("new"), dir.path().join("current")).unwrap();
    std::thread::sleep(SETTLED);
    let again = ask(&worker, "/current", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((again.status, again.body.as_slice()), (200, &b"version 2"[..]));
}

#[test]
fn a_file_from_the_future_was_modified_now_at_the_latest() {
    let (dir, worker) = serving(&[("a", b"x")]);
    let later = std::time::SystemTime::now() + Duration::from_secs(86_400);
    let file = fs::File::options().append(true).open(dir.path().join("a")).unwrap();
    file.set_modified(later).unwrap();
    let got = ask(&worker, "/a", "");
    let time = |name| httpdate::parse_http_date(got.header(name).unwrap()).unwrap();
    assert!(time("last-modified") <= time("date"), "{}", got.head);
}

#[test]
fn the_last_bytes_of_an_empty_file_are_none() {
    let (_dir, worker) = serving(&[("empty", b"")]);
    assert_eq!(ask(&worker, "/empty", "Range: bytes=-5\r\n").status, 200);
}

/// What somebody renames elsewhere keeps nobody from a file: the kernel asks to try again.
#[test]
fn a_link_through_the_parent_is_followed_whatever_is_renamed_meanwhile() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (dir, worker) = serving(&[("a.txt", b"0123456789")]);
    fs::create_dir(dir.path().join("sub")).unwrap();
    for at in 0..400 {
        symlink("../a.txt", dir.path().join(format!("sub/{at}"))).unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let renaming = std::thread::spawn(move || {
        let elsewhere = tempfile::tempdir().unwrap();
        let [one, other] = ["a", "b"].map(|name| elsewhere.path().join(name));
        fs::write(&one, "").unwrap();
        while !stopped.load(Ordering::Relaxed) {
            fs::rename(&one, &other).unwrap();
            fs::rename(&other, &one).unwrap();
        }
    });
    let failed = (0..400).filter(|at| ask(&worker, &format!("/sub/{at}"), "").status != 200);
    let failed: Vec<_> = failed.collect();
    stop.store(true, Ordering::Relaxed);
    renaming.join().unwrap();
    assert!(failed.is_empty(), "{failed:?}");
}
