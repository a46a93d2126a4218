//! Answers whose body comes piece by piece.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_lite::stream::{self, StreamExt as _};

use super::*;

/// More than the kernel takes for a client that does not read.
const PIECE: usize = 32 << 20;

static POLLED: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// Counted when it goes.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

fn piece(index: usize, length: usize) -> Bytes {
    let letter = b'a' + u8::try_from(index % 26).unwrap();
    vec![letter; length].into()
}

/// Pieces of all sizes, some of which take waiting, and then as it is said.
fn pieces(end: Option<std::io::Error>) -> Response {
    let pieces = futures_lite::stream::unfold((0, end), async |(index, mut end)| {
        if index % 3 == 1 {
            rt::sleep(Duration::from_millis(1)).await;
        }
        match index {
            0..12 => Some((Ok(piece(index, 1 << (2 * index % 21))), (index + 1, end))),
            _ => end.take().map(|error| (Err(error), (index, None))),
        }
    });
    Response::new(Body::stream(pieces))
}

fn expected() -> String {
    let chunks = (0..12).map(|index| {
        let piece = piece(index, 1 << (2 * index % 21));
        format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(&piece).unwrap())
    });
    chunks.collect()
}

fn streams() -> App {
    App::new()
        .get("/pieces", async || pieces(None))
        .get("/fails", async || pieces(Some(std::io::ErrorKind::Other.into())))
        .get("/endless", async || {
            let large = piece(0, PIECE);
            let endless = futures_lite::stream::repeat_with(move || {
                POLLED.fetch_add(1, Ordering::Relaxed);
                Ok(large.clone())
            });
            Response::new(Body::stream(endless))
        })
        .get("/panics", async || {
            let mut large = Some(piece(0, PIECE));
            let panics = futures_lite::stream::repeat_with(move || {
                Ok(large.take().expect("no second piece, on purpose"))
            });
            Response::new(Body::stream(panics))
        })
        .get("/held", async || {
            let begun = stream::once(Ok(piece(0, 1)));
            let held = stream::unfold(Counted, async |_held| pending().await);
            Response::new(Body::stream(begun.chain(held)))
        })
        .get("/busy", async || {
            let busy = stream::unfold(Counted, async |counted| {
                rt::sleep(Duration::from_millis(1)).await;
                Some((Ok(piece(0, 1)), counted))
            });
            Response::new(Body::stream(busy))
        })
        .get("/sent-off", async || "x".repeat(100_000))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn pieces_arrive_in_order_while_the_next_is_made() {
    let worker = Worker::new(streams);
    let answer = worker.ask(&format!("GET /pieces HTTP/1.1\r\n{CLOSE}"));
    assert!(body(&answer) == expected() + "0\r\n\r\n", "{} bytes", answer.len());
}

#[test]
fn a_body_that_fails_behind_a_piece_in_flight_cuts_the_connection_behind_that_piece() {
    let worker = Worker::new(streams);
    let answer = worker.ask("GET /fails HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(body(&answer) == expected(), "all pieces and no end: {} bytes", answer.len());
}

#[test]
fn a_body_that_panics_behind_a_piece_in_flight_cuts_the_connection_behind_that_piece() {
    let worker = Worker::new(streams);
    let mut stream = worker.connect();
    stream.write_all(b"GET /panics HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    // The piece cannot have left yet.
    until(|| worker.stats.panics.get() == 1);
    let answer = rest(&mut stream);
    let body = body(&answer).strip_prefix("2000000\r\n").unwrap();
    assert_eq!(body.len(), PIECE + 2, "the whole piece, and no end");
}

#[test]
fn a_client_that_does_not_read_has_one_piece_in_flight_and_one_waiting() {
    let worker =
        Worker::with(streams, |_, timeouts| timeouts.write_idle = Duration::from_millis(100));
    let mut stream = worker.connect();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    until(|| worker.stats.requests.get() == 1);
    until(|| worker.stats.connections.get() == 0);
    assert_eq!(POLLED.load(Ordering::Relaxed), 2);
}

#[test]
fn express_streaming_ends_when_the_client_goes_away() {
    // Who has ended its side alone may still read; it shows when the next piece is sent.
    let leave = drop::<TcpStream>;
    let table = [("/held", reset as fn(TcpStream)), ("/busy", reset), ("/busy", leave)];
    for (dropped, (path, goes)) in table.into_iter().enumerate() {
        let mut worker = Worker::new(streams);
        let mut stream = worker.connect();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
        answer(&mut stream);
        stream.read_exact(&mut [0; 6]).unwrap();
        assert_eq!(DROPPED.load(Ordering::Relaxed), dropped, "{path}");
        goes(stream);
        until(|| DROPPED.load(Ordering::Relaxed) == dropped + 1);
        assert_eq!(worker.drain(), Served { cut: 0 });
    }
}

#[test]
fn draining_cuts_no_piece_in_flight() {
    let mut worker = Worker::new(streams);
    let mut stream = worker.connect();
    stream.write_all(b"GET /panics HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    until(|| worker.stats.panics.get() == 1);
    worker.orders.send(Order::Drain).ok().unwrap();
    assert!(rest(&mut stream).len() > PIECE);
    drop(stream);
    assert_eq!(worker.join(), Served { cut: 0 });
}

#[test]
fn an_answer_of_two_pieces_that_was_sent_off_is_whole_and_counted() {
    let mut worker = Worker::new(streams);
    let mut stream = worker.connect();
    for _ in 0..20 {
        stream.write_all(b"GET /sent-off HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        assert!(body(&answer(&mut stream)) == "x".repeat(100_000));
    }
    // What is pipelined behind it comes behind it.
    stream.write_all(b"GET /sent-off HTTP/1.1\r\nHost: h\r\n\r\n".repeat(3).as_slice()).unwrap();
    for _ in 0..3 {
        assert!(body(&answer(&mut stream)) == "x".repeat(100_000));
    }
    until(|| worker.stats.latency.snapshot().count() == 23);
    stream.write_all(b"GET /sent-off HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    until(|| worker.stats.requests.get() == 24);
    worker.orders.send(Order::Drain).ok().unwrap();
    assert!(body(&rest(&mut stream)) == "x".repeat(100_000), "draining does not cut it");
    drop(stream);
    assert_eq!(worker.join(), Served { cut: 0 });
}
