//! The access log, through whole apps.

use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_lite::stream;
use serde_json::Value;

use super::*;
use crate::app::Answer;
use crate::app::{AccessLog, LogWriter, SetRequestId};
use crate::stats::Pulse;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

type Wrap = fn(App, &LogWriter) -> App;

/// The lines that these requests leave in the log.
fn logged(wrap: Wrap, requests: impl FnOnce(&App)) -> Vec<String> {
    let memory = Memory::default();
    let log = LogWriter::to(memory.clone()).unwrap();
    let app = App::new()
        .get("/", async || "hello")
        .get("/panic", async || -> &'static str { panic!("on purpose") })
        .get("/pending", async || -> &'static str { std::future::pending().await })
        .get("/stream", async || {
            let pieces = ["one", "three"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
            Response::new(Body::stream(stream::iter(pieces)))
        });
    let app = wrap(app, &log);
    drop(log);
    requests(&app);
    drop(app);
    let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn at(method: &str, target: &str) -> Request {
    let headers = [("User-Agent", "a\"b"), ("Referer", "http://r"), ("X-Request-Id", "r-1")];
    let peer = Peer::Tcp("10.0.0.1:9".parse().unwrap());
    request_from(peer, method, target, &headers, Body::empty())
}

#[test]
fn express_ecosystem_access_log() {
    let wrap = |app: App, log: &LogWriter| app.wrap(SetRequestId::new()).wrap(AccessLog::json(log));
    let lines = logged(wrap, |app| {
        for (method, target) in [("GET", "/"), ("HEAD", "/"), ("GET", "/none"), ("GET", "/stream")]
        {
            let response = send(app, at(method, target));
            assert_eq!(response.body().size().is_none(), target == "/stream");
            bytes(response);
        }
        // A client that goes away in the middle of a stream, and one before there is an answer.
        let mut response = send(app, at("GET", "/stream"));
        block_on(response.body_mut().chunk()).unwrap().unwrap();
        drop(response);
        drop(app.dispatch(at("GET", "/pending"), &Pulse::new()));
        let Answer::Pending(mut future) = app.dispatch(at("GET", "/pending"), &Pulse::new()).answer
        else {
            panic!("it takes waiting");
        };
        assert!(block_on(futures_lite::future::poll_once(&mut future)).is_none());
        drop(future);
    });
    let table = [
        ("GET", "/", Some(200), 5),
        ("HEAD", "/", Some(200), 0),
        ("GET", "/none", Some(404), 13),
        ("GET", "/stream", Some(200), 8),
        ("GET", "/stream", Some(200), 3),
        ("GET", "/pending", None, 0),
    ];
    assert_eq!(lines.len(), table.len(), "{lines:#?}");
    for (line, (method, target, status, bytes)) in lines.iter().zip(table) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["method"], method, "{line}");
        assert_eq!(line["target"], target, "{line}");
        assert_eq!(line["status"].as_u64(), status, "{line}");
        assert_eq!(line["bytes"], bytes, "{line}");
        assert_eq!(line["client"], "10.0.0.1", "{line}");
        assert_eq!(line["user_agent"], "a\"b", "{line}");
        assert_eq!(line["referer"], "http://r", "{line}");
        let id = status.map(|_| "r-1");
        assert_eq!(line["request_id"].as_str(), id, "{line}");
        assert!(line["duration_us"].is_u64() && line["time"].is_string(), "{line}");
    }
}

#[test]
fn the_notations_of_other_servers() {
    let wraps: [(Wrap, &str); 2] = [
        (|app, log| app.wrap(AccessLog::common(log)), r#"] "GET / HTTP/1.1" 200 5"#),
        (
            |app, log| app.wrap(AccessLog::combined(log)),
            r#"] "GET / HTTP/1.1" 200 5 "http://r" "a\"b""#,
        ),
    ];
    for (wrap, end) in wraps {
        let lines = logged(wrap, |app| drop(send(app, at("GET", "/"))));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("10.0.0.1 - - [") && lines[0].ends_with(end), "{lines:?}");
    }
}

#[test]
fn a_panic_is_logged_as_what_it_is_answered_with() {
    let wrap = |app: App, log: &LogWriter| app.wrap(AccessLog::common(log));
    let lines = logged(wrap, |app| {
        let panics = std::panic::AssertUnwindSafe(|| drop(send(app, at("GET", "/panic"))));
        assert!(std::panic::catch_unwind(panics).is_err());
    });
    assert!(lines[0].ends_with(r#""GET /panic HTTP/1.1" 500 -"#), "{lines:?}");
}
