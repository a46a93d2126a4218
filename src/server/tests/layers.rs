//! The built-in middleware, as clients see it.

use std::io::Read as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::app::{AccessLog, BodyLimit, Compression, Decompression, LogWriter, RequestTimeout};

static CANCELLED: AtomicBool = AtomicBool::new(false);
static ARRIVED: AtomicBool = AtomicBool::new(false);
static LOG: LazyLock<(tempfile::TempDir, LogWriter)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let log = LogWriter::file(folder.path().join("access.log")).unwrap();
    (folder, log)
});

struct Cancelled;

impl Drop for Cancelled {
    fn drop(&mut self) {
        CANCELLED.store(true, Ordering::Release);
    }
}

/// A line, and another one once the client says that it has the first.
fn events() -> Body {
    Body::stream(futures_lite::stream::unfold(0, async |index| {
        while index == 1 && !ARRIVED.load(Ordering::Acquire) {
            rt::sleep(Duration::from_millis(1)).await;
        }
        (index < 2).then(|| (Ok(Bytes::from(format!("event {index}\n"))), index + 1))
    }))
}

fn layered() -> App {
    let timeout = RequestTimeout::new(Duration::from_millis(20));
    let late = App::new().get("/", async || {
        let _cancelled = Cancelled;
        pending::<&str>().await
    });
    App::new()
        .mount("/late", late.wrap(timeout))
        .get("/events", async || {
            let media_type = HeaderValue::from_static("text/event-stream");
            Response::new(events()).with_content_type(media_type)
        })
        .get("/large", async || "0123456789".repeat(1 << 17))
        .post("/length", async |body: Bytes| body.len().to_string())
        .wrap(BodyLimit::new(1000))
        .wrap(Decompression::new().size_max(100_000))
        .wrap(Compression::new())
        .wrap(AccessLog::common(&LOG.1))
}

fn send_gzip(request: &str, body: &[u8]) -> Vec<u8> {
    let mut all = format!(
        "{request} HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n{CLOSE}",
        body.len()
    )
    .into_bytes();
    all.extend_from_slice(body);
    all
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// The head of an answer, and the bytes of its chunks.
fn dechunk(answer: &[u8]) -> (String, Vec<u8>) {
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let (head, mut rest) = (String::from_utf8(answer[..at].to_vec()).unwrap(), &answer[at + 4..]);
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 || rest.len() < end + 4 + size {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    (head, body)
}

fn gunzip_so_far(body: &[u8]) -> String {
    let (mut plain, mut buffer) = (Vec::new(), [0; 8192]);
    let mut decoder = flate2::read::GzDecoder::new(body);
    while let Ok(count @ 1..) = decoder.read(&mut buffer) {
        plain.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(plain).unwrap()
}

#[test]
fn express_ecosystem_timeout() {
    let worker = Worker::new(layered);
    let answer = worker.ask(&format!("GET /late HTTP/1.1\r\n{CLOSE}"));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(CANCELLED.load(Ordering::Acquire), "the handler's future is gone");
}

#[test]
fn a_compressed_event_arrives_before_the_next_one_happens() {
    let worker = Worker::new(layered);
    let mut stream = worker.connect();
    let request = format!("GET /events HTTP/1.1\r\nAccept-Encoding: gzip\r\n{CLOSE}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut received = Vec::new();
    until(|| {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the stream goes on: {received:?}");
        received.extend_from_slice(&buffer[..count]);
        gunzip_so_far(&dechunk(&received).1) == "event 0\n"
    });
    ARRIVED.store(true, Ordering::Release);
    stream.read_to_end(&mut received).unwrap();
    let (head, body) = dechunk(&received);
    assert!(head.to_ascii_lowercase().contains("content-encoding: gzip"), "{head}");
    assert_eq!(gunzip_so_far(&body), "event 0\nevent 1\n");
}

#[test]
fn a_large_answer_arrives_compressed_and_whole() {
    let worker = Worker::new(layered);
    let mut stream = worker.connect();
    let request = format!("GET /large HTTP/1.1\r\nAccept-Encoding: gzip\r\n{CLOSE}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    let (head, body) = dechunk(&received);
    assert!(!head.to_ascii_lowercase().contains("content-length"), "{head}");
    assert!(body.len() < 100_000, "{} bytes", body.len());
    assert!(gunzip_so_far(&body) == "0123456789".repeat(1 << 17));
}

#[test]
fn head_tells_of_the_coding_and_sends_nothing() {
    let worker = Worker::new(layered);
    let answer = worker.ask(&format!("HEAD /large HTTP/1.1\r\nAccept-Encoding: gzip\r\n{CLOSE}"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.contains("content-encoding: gzip") && !head.contains("content-length"), "{head}");
    assert_eq!(body, "");
}

#[test]
fn bodies_are_bounded_before_and_after_they_are_decompressed() {
    let worker = Worker::new(layered);
    let chunked = |length: usize| {
        let body = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length));
        format!("POST /length HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{CLOSE}{body}").into_bytes()
    };
    let known = |length: usize| {
        let body = "x".repeat(length);
        format!("POST /length HTTP/1.1\r\nContent-Length: {length}\r\n{CLOSE}{body}").into_bytes()
    };
    let table = [
        (known(1000), "HTTP/1.1 200 ", "1000"),
        (known(1001), "HTTP/1.1 413 ", ""),
        (chunked(1000), "HTTP/1.1 200 ", "1000"),
        (chunked(1001), "HTTP/1.1 413 ", ""),
        (send_gzip("POST /length", &gzip(&[b'x'; 900])), "HTTP/1.1 200 ", "900"),
        (send_gzip("POST /length", &gzip(&[b'x'; 1001])), "HTTP/1.1 413 ", ""),
        (send_gzip("POST /length", &gzip(&vec![0; 1 << 24])), "HTTP/1.1 413 ", ""),
        (send_gzip("POST /length", b"not gzip"), "HTTP/1.1 400 ", ""),
    ];
    for (number, (request, start, end)) in table.into_iter().enumerate() {
        let mut stream = worker.connect();
        stream.write_all(&request).unwrap();
        let answer = rest(&mut stream);
        assert!(answer.starts_with(start) && answer.ends_with(end), "line {number}: {answer}");
    }
}

#[test]
fn a_request_is_logged_to_the_file() {
    let worker = Worker::new(layered);
    worker.ask(&format!("GET /none?logged HTTP/1.1\r\n{CLOSE}"));
    let path = LOG.0.path().join("access.log");
    until(|| {
        let log = std::fs::read_to_string(&path).unwrap();
        let line = log.lines().find(|line| line.contains("/none?logged"));
        line.is_some_and(|line| {
            line.starts_with("127.0.0.1 - - [") && line.ends_with(r#"HTTP/1.1" 404 13"#)
        })
    });
}
