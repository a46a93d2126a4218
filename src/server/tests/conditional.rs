//! Conditional requests and parts of answers, as they are on the wire.

use super::*;
use crate::app::{ByteRange, Conditional, ETag, IntoResponse as _, Unmet};

fn pages() -> App {
    App::new()
        .get("/page", async |conditional: Conditional| -> Result<Response, Unmet> {
            let etag = ETag::weak("7");
            conditional.evaluate(&etag, None)?;
            Ok("page".into_response().with_etag(&etag))
        })
        .get("/part", async |range: ByteRange| range.of("0123456789", None))
}

/// The answer, without the date.
fn ask(stream: &mut TcpStream, method: &str, path: &str, header: &str) -> String {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{header}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut lines: Vec<_> = answer(stream).split("\r\n").map(str::to_ascii_lowercase).collect();
    lines.retain(|line| !line.starts_with("date: "));
    lines[1..].sort();
    lines.retain(|line| !line.is_empty());
    lines.join("|")
}

#[test]
fn express_conditional_get() {
    let worker = Worker::new(pages);
    let mut stream = worker.connect();
    let page = "http/1.1 200 ok|content-length: 4|content-type: text/plain; charset=utf-8|\
                etag: w/\"7\"|page";
    let unchanged = "http/1.1 304 not modified|etag: w/\"7\"";
    let part = "http/1.1 206 partial content|234|accept-ranges: bytes|content-length: 3|\
                content-range: bytes 2-4/10|content-type: application/octet-stream";
    let table = [
        ("/page", "", page),
        ("/page", "If-None-Match: W/\"7\"\r\n", unchanged),
        ("/page", "If-None-Match: \"6\"\r\nIf-None-Match: \"7\"\r\n", unchanged),
        ("/page", "If-None-Match: W/\"8\"\r\n", page),
        ("/part", "Range: bytes=2-4\r\n", part),
    ];
    // One connection for all: a 304 that had a body, or a length, would be in the way of the next.
    for (path, header, expected) in table {
        assert_eq!(ask(&mut stream, "GET", path, header), expected, "{path} {header}");
    }
    let head = ask(&mut stream, "HEAD", "/page", "If-None-Match: W/\"7\"\r\n");
    assert_eq!(head, unchanged);
    assert_eq!(ask(&mut stream, "GET", "/page", ""), page);
}
