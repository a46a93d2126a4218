//! Static files, as they are on the wire.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path as FsPath;

use tempfile::TempDir;

use super::*;
use crate::app::{Files, State};

const INDEX: &str = "<h1>the index</h1>";
const LARGE: usize = 3 << 20;
const MIDDLE: usize = 100_000;

/// Bytes that differ at every offset that is likely to be mistaken for another.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect()
}

/// A directory with everything that can be asked for, and things around it that cannot.
fn site() -> TempDir {
    let around = tempfile::tempdir().unwrap();
    let root = around.path().join("public");
    fs::create_dir_all(root.join("sub/empty")).unwrap();
    fs::create_dir(root.join(".git")).unwrap();
    for (name, content) in [
        ("../secret.txt", "secret"),
        ("index.html", INDEX),
        ("a.txt", "0123456789"),
        ("empty.txt", ""),
        ("sp ace.txt", "space"),
        ("50%.txt", "half"),
        ("sub/index.html", "sub"),
        (".env", "secret"),
        (".git/config", "secret"),
        ("app.js", "plain"),
        ("app.js.br", "brotli"),
        ("app.js.gz", "gzip"),
    ] {
        fs::write(root.join(name), content).unwrap();
    }
    fs::write(root.join("middle.bin"), bytes(MIDDLE)).unwrap();
    fs::write(root.join("large.bin"), bytes(LARGE)).unwrap();
    symlink("a.txt", root.join("inside")).unwrap();
    symlink("../secret.txt", root.join("outside")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("/proc/self/cwd", root.join("magic")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    around
}

fn serve_files(site: &TempDir, options: fn(Files) -> Files) -> Worker {
    let root = site.path().join("public");
    Worker::new(move || {
        App::new()
            .get("/assets/taken", async || "taken")
            .files("/assets", options(Files::new(root)))
    })
}

/// Status, headers in lower case, and body.
struct Got {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// Asks on a connection of its own.
fn ask(worker: &Worker, method: &str, path: &str, headers: &str) -> Got {
    let mut stream = worker.connect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nAccept: text/plain\r\nConnection: close\r\n\
         {headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    Got { status: head[9..12].parse().unwrap(), head, body }
}

#[test]
fn every_trick_has_its_status() {
    let site = site();
    let worker = serve_files(&site, |files| files);
    let table = [
        ("/assets/", 200, INDEX),
        ("/assets/index.html", 200, INDEX),
        ("/assets/a.txt", 200, "0123456789"),
        ("/assets/a.txt?v=1", 200, "0123456789"),
        ("/assets/%61.txt", 200, "0123456789"),
        ("/assets/empty.txt", 200, ""),
        ("/assets/sp%20ace.txt", 200, "space"),
        ("/assets/50%25.txt", 200, "half"),
        ("/assets/sub/", 200, "sub"),
        ("/assets/inside", 200, "0123456789"),
        ("/assets/taken", 200, "taken"),
        // Directories.
        ("/assets", 301, ""),
        ("/assets/sub", 301, ""),
        ("/assets/sub/empty/", 404, "404 Not Found"),
        ("/assets/sub/index.html/", 404, "404 Not Found"),
        ("/assets/a.txt/", 404, "404 Not Found"),
        ("/assets/missing", 404, "404 Not Found"),
        // Out of the root.
        ("/assets/../secret.txt", 404, "404 Not Found"),
        ("/assets/sub/../../secret.txt", 404, "404 Not Found"),
        ("/assets/%2e%2e/secret.txt", 404, "404 Not Found"),
        ("/assets/..%2fsecret.txt", 404, "404 Not Found"),
        ("/assets/..%5csecret.txt", 404, "404 Not Found"),
        ("/assets/sub%2findex.html", 404, "404 Not Found"),
        ("/assets//etc/passwd", 404, "404 Not Found"),
        ("/assets//", 404, "404 Not Found"),
        ("/assets/outside", 404, "404 Not Found"),
        ("/assets/absolute", 404, "404 Not Found"),
        ("/assets/up/secret.txt", 404, "404 Not Found"),
        ("/assets/up/public/a.txt", 404, "404 Not Found"),
        ("/assets/magic/Cargo.toml", 404, "404 Not Found"),
        ("/assets/loop", 404, "404 Not Found"),
        // No file.
        ("/assets/pipe", 404, "404 Not Found"),
        // Hidden.
        ("/assets/.env", 404, "404 Not Found"),
        ("/assets/.git/config", 404, "404 Not Found"),
        ("/assets/%2egit/config", 404, "404 Not Found"),
        // Malformed.
        ("/assets/%", 400, "400 Bad Request"),
        ("/assets/a%2", 400, "400 Bad Request"),
        ("/assets/a%zz.txt", 400, "400 Bad Request"),
        ("/assets/a.txt%00.html", 400, "400 Bad Request"),
    ];
    // Twice: from the disk, and from what is kept.
    for (path, status, body) in table.iter().chain(&table) {
        let got = ask(&worker, "GET", path, "");
        let text = String::from_utf8_lossy(&got.body);
        assert_eq!((got.status, text.trim_end()), (*status, *body), "{path}");
    }
    let long = format!("/assets/{}", "a".repeat(5000));
    assert_eq!(ask(&worker, "GET", &long, "").status, 404);
    for method in ["POST", "PUT", "DELETE"] {
        let got = ask(&worker, method, "/assets/a.txt", "Content-Length: 0\r\n");
        assert_eq!((got.status, got.header("allow")), (405, Some("get, head, options")));
    }
    let dotted = serve_files(&site, Files::dotfiles);
    assert_eq!(ask(&dotted, "GET", "/assets/.env", "").status, 200);
    assert_eq!(ask(&dotted, "GET", "/assets/..", "").status, 404);
}

#[test]
fn a_directory_without_its_slash_is_redirected_within_the_host() {
    let site = site();
    fs::create_dir_all(site.path().join("public/example.org")).unwrap();
    let root = site.path().join("public");
    let worker = Worker::new(move || App::new().files("/", root));
    for (path, status, location) in [
        ("/sub", 301, Some("/sub/")),
        ("/sub?a=//b", 301, Some("/sub/?a=//b")),
        ("//example.org", 404, None),
        ("//example.org/..", 404, None),
        ("/", 200, None),
    ] {
        let got = ask(&worker, "GET", path, "");
        assert_eq!((got.status, got.header("location")), (status, location), "{path}");
    }
}

#[test]
fn a_file_says_what_it_is_and_how_long_it_lasts() {
    let site = site();
    let worker = serve_files(&site, |files| files.max_age(Duration::from_secs(3600)).immutable());
    for (path, media_type) in [
        ("a.txt", "text/plain; charset=utf-8"),
        ("", "text/html; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("large.bin", "application/octet-stream"),
        ("inside", "application/octet-stream"),
    ] {
        let got = ask(&worker, "GET", &format!("/assets/{path}"), "");
        assert_eq!(got.header("content-type"), Some(media_type), "{path}");
        let same = [
            ("cache-control", "public, max-age=3600, immutable"),
            ("accept-ranges", "bytes"),
            ("x-content-type-options", "nosniff"),
        ];
        for (name, value) in same {
            assert_eq!(got.header(name), Some(value), "{path}");
        }
        assert_eq!(got.header("content-length"), Some(&*got.body.len().to_string()), "{path}");
        assert!(got.header("etag").is_some() && got.header("last-modified").is_some(), "{path}");
        assert_eq!(got.header("vary"), None, "{path}");
        let head = ask(&worker, "HEAD", &format!("/assets/{path}"), "");
        assert_eq!((head.head, head.body.len()), (got.head, 0), "{path}");
    }
}

#[test]
fn conditions_and_ranges_are_met_whatever_the_size() {
    let site = site();
    let root = site.path().join("public");
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    for name in ["a.txt", "middle.bin", "large.bin"] {
        let file = fs::File::options().append(true).open(root.join(name)).unwrap();
        file.set_modified(old).unwrap();
    }
    wait_until_settled();
    let worker = serve_files(&site, |files| files);
    for (name, content) in [
        ("a.txt", b"0123456789".to_vec()),
        ("middle.bin", bytes(MIDDLE)),
        ("large.bin", bytes(LARGE)),
    ] {
        let path = format!("/assets/{name}");
        let got = ask(&worker, "GET", &path, "");
        assert!(got.body == content, "{name}: {} bytes", got.body.len());
        let etag = got.header("etag").unwrap().to_owned();
        let date = httpdate::fmt_http_date(old);
        assert!(!etag.starts_with("w/"), "{etag} is strong: the file has not just been changed");
        for (headers, status, range, body) in conditions(&content, &etag, &date) {
            // An entity tag has case.
            let got = ask(&worker, "GET", &path, &headers);
            assert_eq!(got.status, status, "{name} {headers}");
            assert_eq!(got.header("content-range"), range.as_deref(), "{name} {headers}");
            let trimmed = if status > 400 { got.body.trim_ascii_end() } else { &got.body };
            assert!(trimmed == body, "{name} {headers}: {} bytes", got.body.len());
        }
    }
}

/// Headers, and what comes of them: status, `Content-Range` and body.
fn conditions(
    content: &[u8],
    etag: &str,
    date: &str,
) -> Vec<(String, u16, Option<String>, Vec<u8>)> {
    let length = content.len();
    let unmet: &[u8] = b"412 Precondition Failed";
    let part = |range: std::ops::Range<usize>| content[range].to_vec();
    vec![
        (format!("If-None-Match: {etag}\r\n"), 304, None, Vec::new()),
        (format!("If-None-Match: W/{etag}\r\n"), 304, None, Vec::new()),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200, None, content.to_vec()),
        (format!("If-Modified-Since: {date}\r\n"), 304, None, Vec::new()),
        ("If-Match: \"x\"\r\n".to_owned(), 412, None, unmet.to_vec()),
        (format!("If-Match: {etag}\r\n"), 200, None, content.to_vec()),
        (
            "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:01 GMT\r\n".to_owned(),
            412,
            None,
            unmet.to_vec(),
        ),
        ("Range: bytes=2-4\r\n".to_owned(), 206, Some(format!("bytes 2-4/{length}")), part(2..5)),
        (
            "Range: bytes=-3\r\n".to_owned(),
            206,
            Some(format!("bytes {}-{}/{length}", length - 3, length - 1)),
            part(length - 3..length),
        ),
        (
            format!("Range: bytes=1-\r\nIf-Range: {etag}\r\n"),
            206,
            Some(format!("bytes 1-{}/{length}", length - 1)),
            part(1..length),
        ),
        ("Range: bytes=1-\r\nIf-Range: \"x\"\r\n".to_owned(), 200, None, content.to_vec()),
        ("Range: bytes=0-1,3-4\r\n".to_owned(), 200, None, content.to_vec()),
        ("Range: bytes=x\r\n".to_owned(), 200, None, content.to_vec()),
        (
            format!("Range: bytes={length}-\r\n"),
            416,
            Some(format!("bytes */{length}")),
            b"416 Range Not Satisfiable".to_vec(),
        ),
    ]
}

/// What has been changed within the last second has a weak tag.
fn wait_until_settled() {
    std::thread::sleep(Duration::from_millis(1100));
}

#[test]
fn a_variant_is_chosen_by_what_the_client_accepts() {
    let site = site();
    let worker = serve_files(&site, Files::precompressed);
    for (accepted, encoding, body) in [
        ("br, gzip, zstd", Some("br"), "brotli"),
        ("gzip", Some("gzip"), "gzip"),
        ("br;q=0.1, gzip", Some("gzip"), "gzip"),
        ("zstd", None, "plain"),
        ("br;q=0", None, "plain"),
        ("identity", None, "plain"),
        ("", None, "plain"),
    ] {
        let header = format!("Accept-Encoding: {accepted}\r\n");
        let got = ask(&worker, "GET", "/assets/app.js", &header);
        let text = String::from_utf8_lossy(&got.body);
        assert_eq!((got.header("content-encoding"), &*text), (encoding, body), "{accepted}");
        assert_eq!(got.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(got.header("vary"), Some("accept-encoding"));
    }
    let [plain, encoded] = ["identity", "br"].map(|coding| {
        let got = ask(&worker, "GET", "/assets/app.js", &format!("Accept-Encoding: {coding}\r\n"));
        got.header("etag").unwrap().to_owned()
    });
    assert_ne!(plain, encoded, "a variant is another representation");
}

/// Asks until the answer is as expected.
fn wait_for(worker: &Worker, path: &str, status: u16, body: &[u8]) {
    let begun = Instant::now();
    loop {
        let got = ask(worker, "GET", path, "");
        if got.status == status && (status != 200 || got.body == body) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{path}: {} {} bytes", got.status, got.body.len());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_change_is_noticed_and_so_is_another_root() {
    let site = site();
    let [current, first, second] = ["current", "public", "second"].map(|it| site.path().join(it));
    symlink(&first, &current).unwrap();
    let root = current.clone();
    let worker = Worker::new(move || App::new().files("/", root));
    wait_for(&worker, "/a.txt", 200, b"0123456789");
    let write = |name: &str, content: &[u8]| fs::write(first.join(name), content).unwrap();
    // In place, to the same length; to pages; to a stream; and back.
    for content in [b"9876543210".to_vec(), bytes(MIDDLE), bytes(LARGE), b"short".to_vec()] {
        write("a.txt", &content);
        wait_for(&worker, "/a.txt", 200, &content);
    }
    write("a.txt.new", b"replaced");
    fs::rename(first.join("a.txt.new"), first.join("a.txt")).unwrap();
    wait_for(&worker, "/a.txt", 200, b"replaced");
    fs::remove_file(first.join("a.txt")).unwrap();
    wait_for(&worker, "/a.txt", 404, b"");
    write("a.txt", b"again");
    wait_for(&worker, "/a.txt", 200, b"again");
    move_root(&current, &second);
    wait_for(&worker, "/a.txt", 200, b"second");
    wait_for(&worker, "/index.html", 404, b"");
}

/// A deployment: another directory takes the place of the one that the link names.
fn move_root(link: &FsPath, to: &FsPath) {
    fs::create_dir(to).unwrap();
    fs::write(to.join("a.txt"), "second").unwrap();
    let moved = link.with_extension("new");
    symlink(to, &moved).unwrap();
    fs::rename(moved, link).unwrap();
}

#[test]
fn a_file_that_becomes_shorter_while_it_is_sent_cuts_the_connection() {
    const LENGTH: u64 = 256 << 20;
    let site = site();
    let path = site.path().join("public/huge.bin");
    let file = fs::File::create(&path).unwrap();
    file.set_len(LENGTH).unwrap();
    let worker = serve_files(&site, |files| files);
    let mut stream = worker.connect();
    stream.write_all(b"GET /assets/huge.bin HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut start = [0; 1024];
    stream.read_exact(&mut start).unwrap();
    assert!(start.starts_with(b"HTTP/1.1 200 "));
    file.set_len(1 << 20).unwrap();
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest);
    assert!((rest.len() as u64) < LENGTH - 1024, "{} bytes, {end:?}", rest.len());
}

#[test]
fn who_reads_slowly_gets_all_of_it_and_holds_up_nobody() {
    let site = site();
    let worker = serve_files(&site, |files| files);
    fs::write(site.path().join("public/slow.bin"), bytes(2 << 20)).unwrap();
    let mut slow = worker.connect();
    let get = "GET /assets/slow.bin HTTP/1.1\r\nHost: h\r\n\r\n";
    // Three of them are more than any socket holds; the answers go out in their order.
    slow.write_all(get.repeat(3).as_bytes()).unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&worker, "GET", "/assets/a.txt", "").status, 200);
    }
    let content = bytes(2 << 20);
    for _ in 0..3 {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            slow.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
        let mut body = vec![0; content.len()];
        slow.read_exact(&mut body).unwrap();
        assert!(body == content);
    }
    slow.write_all(b"GET /assets/a.txt HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert!(answer(&mut slow).ends_with("0123456789"));
    let sent = worker.stats.bytes_sent.get();
    assert!(sent > 6 << 20, "{sent} bytes");
}

#[test]
fn a_handler_sends_one_file() {
    let site = site();
    let root = site.path().join("public");
    let worker = Worker::new(move || {
        let handler =
            async |State(files): State<Files>, Path(name): Path<String>, request: Request| {
                files.send(&request, &name).await.with_attachment("saved.bin")
            };
        App::new().state(Files::new(root)).get("/saved/*name", handler)
    });
    for (path, status, body) in [
        ("/saved/a.txt", 200, &b"0123456789"[..]),
        ("/saved/50%25.txt", 200, b"half"),
        ("/saved/../secret.txt", 404, b""),
        ("/saved/..%2fsecret.txt", 404, b""),
    ] {
        let got = ask(&worker, "GET", path, "");
        assert_eq!(got.status, status, "{path}");
        if status == 200 {
            assert_eq!(got.body, body, "{path}");
            let saved = got.header("content-disposition");
            assert_eq!(saved, Some("attachment; filename=\"saved.bin\""));
        }
    }
    let got = ask(&worker, "GET", "/saved/a.txt", "Range: bytes=1-2\r\n");
    assert_eq!((got.status, &*got.body), (206, &b"12"[..]));
}
