//! Server-sent events.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_lite::stream;

use super::*;
use crate::app::{LastEventId, Sse, SseEvent};

const HOST: &str = "Host: h\r\n\r\n";
/// No test waits for so long.
const NEVER: Duration = Duration::from_secs(3600);

static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// Counted as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

fn endless_silence(keep_alive: Duration) -> Sse {
    let begun = stream::once(SseEvent::data("begun").id("1"));
    Sse::new(stream::StreamExt::chain(begun, stream::pending())).keep_alive(keep_alive)
}

fn counted(keep_alive: Duration) -> Sse {
    let events = stream::unfold(Counted::new(), async |counted| {
        std::future::pending::<()>().await;
        Some((SseEvent::data("never"), counted))
    });
    Sse::new(events).keep_alive(keep_alive)
}

fn events() -> App {
    App::new()
        .get("/three", async || {
            Sse::new(stream::iter([
                SseEvent::data("one").id("1"),
                SseEvent::data("two\nlines").event("news"),
                SseEvent::comment("three"),
            ]))
        })
        .get("/silent", async || endless_silence(NEVER))
        .get("/busy", async || {
            Sse::new(stream::unfold((), async |()| {
                rt::sleep(Duration::from_millis(1)).await;
                Some((SseEvent::data("x"), ()))
            }))
        })
        .get("/kept", async || endless_silence(Duration::from_millis(1)))
        .get("/counted", async || counted(NEVER))
        .get("/counted/kept", async || counted(Duration::from_millis(1)))
        .get("/last", async |LastEventId(last): LastEventId| format!("{last:?}"))
}

fn open(worker: &Worker, path: &str) -> TcpStream {
    let mut stream = worker.connect();
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{HOST}").as_bytes()).unwrap();
    stream
}

/// Reads up to this text.
fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "it goes on: {bytes:?}");
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn express_streaming_server_sent_events() {
    let worker = Worker::new(events);
    let answer = worker.ask(&format!("GET /three HTTP/1.1\r\n{CLOSE}"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    for line in [
        "http/1.1 200 ok",
        "content-type: text/event-stream",
        "cache-control: no-cache",
        "x-accel-buffering: no",
        "transfer-encoding: chunked",
    ] {
        assert!(head.lines().any(|sent| sent == line), "{line}: {head}");
    }
    let frames = ["id: 1\ndata: one\n\n", "event: news\ndata: two\ndata: lines\n\n", ": three\n\n"];
    let chunks = frames.map(|frame| format!("{:x}\r\n{frame}\r\n", frame.len())).concat();
    assert_eq!(body, chunks + "0\r\n\r\n");
}

#[test]
fn the_client_says_where_it_was() {
    let worker = Worker::new(events);
    let table = [
        ("", "None"),
        ("Last-Event-ID: 7\r\n", "Some(\"7\")"),
        ("Last-Event-ID: é\r\n", "Some(\"é\")"),
    ];
    for (header, last) in table {
        let answer = worker.ask(&format!("GET /last HTTP/1.1\r\n{header}{CLOSE}"));
        assert!(answer.ends_with(&format!("\r\n\r\n{last}")), "{answer}");
    }
}

#[test]
fn an_event_is_sent_before_there_is_another() {
    let worker = Worker::new(events);
    let mut stream = open(&worker, "/silent");
    read_to(&mut stream, "id: 1\ndata: begun\n\n");
}

#[test]
fn silence_is_filled_with_comments() {
    let worker = Worker::new(events);
    let mut stream = open(&worker, "/kept");
    read_to(&mut stream, "data: begun\n\n");
    for _ in 0..3 {
        read_to(&mut stream, "3\r\n:\n\n\r\n");
    }
}

#[test]
fn a_client_that_goes_away_drops_the_stream() {
    // A client that has ended its side could still be reading. What shows that it does not is its
    // answer to the next thing that is sent, if only a comment.
    let leave = drop::<TcpStream>;
    let table =
        [("/counted", reset as fn(TcpStream)), ("/counted/kept", reset), ("/counted/kept", leave)];
    for (path, goes) in table {
        let mut worker = Worker::new(events);
        let mut streams = [open(&worker, path), open(&worker, path)];
        for stream in &mut streams {
            read_to(stream, "\r\n\r\n");
        }
        assert_eq!(ALIVE.load(Ordering::Relaxed), 2, "{path}");
        streams.into_iter().for_each(goes);
        until(|| ALIVE.load(Ordering::Relaxed) == 0);
        assert_eq!(worker.drain(), Served { cut: 0 });
    }
}

#[test]
fn events_end_when_the_worker_begins_to_drain() {
    for order in [|| Order::Drain, || Order::Retire] {
        let mut worker = Worker::new(events);
        let mut streams = ["/silent", "/busy", "/kept"].map(|path| open(&worker, path));
        for stream in &mut streams {
            read_to(stream, "\r\n\r\n");
            read_to(stream, "\n\n\r\n");
        }
        worker.orders.send(order()).ok().unwrap();
        assert_eq!(worker.join(), Served { cut: 0 });
        for stream in &mut streams {
            assert!(rest(stream).ends_with("0\r\n\r\n"), "the end is in order");
        }
    }
}
