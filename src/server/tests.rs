//! One worker over real sockets.

use std::future::pending;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::*;
use crate::app::{App, Path, echo, respond};
use crate::message::{Body, Request, Response};
use crate::net::Arming;
use crate::rt::{self, Options, Sender, mailbox};
use crate::stats::{Pulse, WorkerStats};

mod allocation;
mod client;
mod conditional;
mod drain;
mod events;
mod file_order;
mod files;
mod hostile;
mod layers;
mod life;
mod panics;
mod statistics;
mod streaming;
mod uploads;
mod websocket;

const PATIENCE: Duration = Duration::from_secs(10);
/// How long the slow handler takes: long enough for a test to act meanwhile.
const SLOW: Duration = Duration::from_millis(150);

/// A worker on a thread of its own; drained and joined when dropped.
struct Worker {
    address: SocketAddr,
    stats: Arc<WorkerStats>,
    pulse: Arc<Pulse>,
    orders: Sender<Order>,
    thread: Option<JoinHandle<Result<std::io::Result<Served>, rt::End>>>,
}

impl Worker {
    fn new(app: impl FnOnce() -> App + Send + 'static) -> Self {
        Self::with(app, |_, _| {})
    }

    fn with(
        app: impl FnOnce() -> App + Send + 'static,
        settings: fn(&mut Limits, &mut Timeouts),
    ) -> Self {
        Self::start(app, settings, OnPanic::Respond)
    }

    fn start(
        app: impl FnOnce() -> App + Send + 'static,
        settings: fn(&mut Limits, &mut Timeouts),
        on_panic: OnPanic,
    ) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), app, settings, on_panic)
    }

    fn on(
        listener: TcpListener,
        app: impl FnOnce() -> App + Send + 'static,
        settings: fn(&mut Limits, &mut Timeouts),
        on_panic: OnPanic,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (mut limits, mut timeouts) = (Limits::default(), Timeouts::default());
        timeouts.drain = Duration::from_secs(5);
        timeouts.idle_grace = Duration::from_millis(20);
        settings(&mut limits, &mut timeouts);
        let stats = Arc::<WorkerStats>::default();
        let (orders, inbox) = mailbox(4);
        let ((_door, visitors), (_post, letters)) = (mailbox(4), mailbox(4));
        let (listening, heard) = mpsc::channel();
        let pulse = Arc::new(Pulse::new());
        let (own, beating) = (Arc::clone(&stats), Arc::clone(&pulse));
        let thread = std::thread::spawn(move || {
            let options = Options { stats: Arc::clone(&own), ..Options::new("worker") };
            rt::run(&options, move || async move {
                let setup = Setup {
                    shares: vec![Share {
                        socket: 0,
                        descriptor: listener.into(),
                        arming: Arming::Accept,
                        rearm: false,
                    }],
                    app: app(),
                    limits,
                    timeouts,
                    on_panic,
                    stats: own,
                    pulse: beating,
                    balance: Balance::Least,
                    orders: inbox,
                    door: visitors,
                    post: letters,
                };
                serve(setup, |report| listening.send(report).unwrap_or(())).await
            })
        });
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(Report::Listening));
        Self { address, stats, pulse, orders, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends `request` on a new connection and reads until the worker closes it.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        rest(&mut stream)
    }

    fn drain(&mut self) -> Served {
        self.orders.send(Order::Drain).ok().unwrap();
        self.join()
    }

    fn join(&mut self) -> Served {
        let thread = self.thread.take().expect("joined once");
        thread.join().unwrap().expect("no panic outside handlers").unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.orders.send(Order::Drain);
            let _ = thread.join();
        }
    }
}

fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the answer arrives whole, without a reset");
    String::from_utf8(bytes).unwrap()
}

/// Reads one answer with a `Content-Length`, and no more.
fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the head is whole: {bytes:?}");
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "the condition never came true");
        std::thread::yield_now();
    }
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a bomb, on purpose");
    }
}

fn hello() -> App {
    let mut app = App::new()
        .get("/users/:id", async |Path(id): Path<u64>| if id == 7 { "seven" } else { "other" })
        .get("/large", async || "x".repeat(1 << 20))
        .get("/panic", async || -> &'static str { panic!("on purpose") })
        .get("/bomb", async || {
            let _bomb = Bomb;
            "never"
        })
        .get("/pending", async || -> &'static str {
            let _bomb = Bomb;
            pending().await
        })
        .get("/slow", async || {
            rt::sleep(SLOW).await;
            "slow"
        })
        .get("/nap", async || {
            rt::sleep(Duration::from_millis(1)).await;
            "rested"
        })
        .get("/stream", async || {
            let chunks = ["one", "", "two"].map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())));
            Response::new(Body::stream(futures_lite::stream::iter(chunks)))
        })
        .get("/broken", async || {
            let chunks = [Ok(Bytes::from_static(b"part")), Err(std::io::ErrorKind::Other.into())];
            Response::new(Body::stream(futures_lite::stream::iter(chunks)))
        })
        .post("/length", async |body: Bytes| body.len().to_string())
        .post("/mirror", async |body: Bytes| body)
        .post("/ignore", async |_request: Request| "ignored")
        .get("/upgrade", async || {
            Response::empty(StatusCode::OK)
                .with_header(header::UPGRADE, HeaderValue::from_static("echo"))
                .upgrade(async |mut io, leftover| {
                    use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
                    io.write_all(&leftover).await.unwrap();
                    let mut buffer = [0; 1024];
                    while let Ok(length @ 1..) = io.read(&mut buffer).await {
                        io.write_all(&buffer[..length]).await.unwrap();
                        io.flush().await.unwrap();
                    }
                    io.close().await.unwrap();
                })
        });
    let hello = respond(StatusCode::OK, HeaderMap::new(), b"Hello, Cluster!");
    app.try_endpoint(None, "/", &hello).unwrap();
    app.try_endpoint(Some(&[Method::POST]), "/echo", &echo()).unwrap();
    app
}

const CLOSE: &str = "Host: h\r\nConnection: close\r\n\r\n";

#[test]
fn answers_with_what_the_application_says() {
    let worker = Worker::new(hello);
    for (request, status, body) in [
        ("GET / HTTP/1.1", "200 OK", "Hello, Cluster!"),
        ("GET /users/7 HTTP/1.1", "200 OK", "seven"),
        ("GET /users/x HTTP/1.1", "400 Bad Request", ""),
        ("GET /nothing HTTP/1.1", "404 Not Found", ""),
        ("DELETE / HTTP/1.1", "405 Method Not Allowed", ""),
        ("GET /stream HTTP/1.1", "200 OK", "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
        ("GET /slow HTTP/1.1", "200 OK", "slow"),
    ] {
        let answer = worker.ask(&format!("{request}\r\n{CLOSE}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
        assert!(answer.ends_with(body), "{request}: {answer}");
        assert!(answer.contains("\r\nDate: "), "{request}: {answer}");
    }
    assert_eq!(worker.ask(&format!("HEAD / HTTP/1.1\r\n{CLOSE}")).matches("Hello").count(), 0);
}

#[test]
fn keeps_a_connection_and_answers_pipelined_requests_in_order() {
    let worker = Worker::new(hello);
    let mut stream = worker.connect();
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        assert!(answer(&mut stream).ends_with("Hello, Cluster!"));
    }
    let paths = ["/", "/nap", "/users/7", "/stream", "/users/1", "/large", "/"].repeat(30);
    let mut writer = stream.try_clone().unwrap();
    let requests = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
    let requests = requests.collect::<Vec<_>>().concat();
    let writing = std::thread::spawn(move || {
        writer.write_all(requests.as_bytes()).unwrap();
        writer.write_all(format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes()).unwrap();
    });
    let answers = rest(&mut stream);
    writing.join().unwrap();
    let got: Vec<&str> = answers.split("HTTP/1.1 200 OK\r\n").skip(1).collect();
    assert_eq!(got.len(), paths.len() + 1);
    for (path, answer) in paths.iter().zip(got) {
        let expected = match *path {
            "/" => "Hello, Cluster!",
            "/nap" => "rested",
            "/users/7" => "seven",
            "/stream" => "\r\n0\r\n\r\n",
            "/users/1" => "other",
            _ => "xxxx",
        };
        assert!(answer.ends_with(expected), "{path}: {answer}");
    }
}

#[test]
fn answers_a_request_however_it_is_cut() {
    let worker = Worker::new(hello);
    let request = format!("POST /length HTTP/1.1\r\nContent-Length: 5\r\n{CLOSE}hello");
    for cut in 1..request.len() {
        let mut stream = worker.connect();
        stream.write_all(&request.as_bytes()[..cut]).unwrap();
        // So that the two halves arrive apart.
        until(|| worker.stats.connections.get() > 0);
        std::thread::yield_now();
        stream.write_all(&request.as_bytes()[cut..]).unwrap();
        assert!(rest(&mut stream).ends_with("\r\n\r\n5"), "cut at {cut}");
    }
}

#[test]
fn reads_bodies_with_a_length_and_in_chunks() {
    let worker = Worker::new(hello);
    let big = "b".repeat(900_000);
    let chunked = |size: usize| {
        let chunks = big.as_bytes().chunks(size).map(|chunk| {
            format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap())
        });
        chunks.collect::<String>() + "0\r\nTrailer-Field: x\r\n\r\n"
    };
    for size in [1000, 40_000, 900_000] {
        let answer = worker.ask(&format!(
            "POST /length HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{CLOSE}{}",
            chunked(size)
        ));
        assert!(answer.ends_with("\r\n\r\n900000"), "{answer}");
    }
    let answer =
        worker.ask(&format!("POST /length HTTP/1.1\r\nContent-Length: 900000\r\n{CLOSE}{big}"));
    assert!(answer.ends_with("\r\n\r\n900000"), "{answer}");
    let echoed =
        worker.ask(&format!("POST /echo HTTP/1.1\r\nContent-Length: 900000\r\n{CLOSE}{big}"));
    assert!(echoed.ends_with(&big));
}

#[test]
fn large_bodies_follow_one_another_whole_whoever_reads_them() {
    let worker = Worker::with(hello, |limits, _| limits.body_bytes = 4 << 20);
    let mut stream = worker.connect();
    // About a block, about what is gathered, and more; each kind behind each.
    for size in [100, 65_536, 69_632, 200_000, 1 << 20, 65_536, 3 << 20, 1, 1 << 20, 2 << 20] {
        for path in ["/length", "/echo", "/mirror"] {
            let body: String = "abcdefghijklmnopqrstuvw".chars().cycle().take(size).collect();
            let request =
                format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n");
            let mut writer = stream.try_clone().unwrap();
            let sent = body.clone();
            let writing = std::thread::spawn(move || {
                // The next request comes with the end of the body.
                let next = "GET /users/7 HTTP/1.1\r\nHost: h\r\n\r\n";
                writer.write_all((request + &sent + next).as_bytes()).unwrap();
            });
            let expected = if path == "/length" { size.to_string() } else { body };
            let got = answer(&mut stream);
            let (head, got) = got.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{size} to {path}: {head}");
            assert!(got == expected, "{size} bytes to {path}: {} came back", got.len());
            assert!(answer(&mut stream).ends_with("seven"), "behind {size} to {path}");
            writing.join().unwrap();
        }
    }
}

#[test]
fn says_continue_only_to_a_reader_that_waits() {
    let worker = Worker::new(hello);
    let mut stream = worker.connect();
    let head = "Host: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(format!("POST /length HTTP/1.1\r\n{head}").as_bytes()).unwrap();
    assert_eq!(answer(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").unwrap();
    assert!(answer(&mut stream).ends_with("\r\n\r\n4"));
    let refused = worker.ask(&format!("POST /ignore HTTP/1.1\r\n{head}"));
    assert!(refused.starts_with("HTTP/1.1 200") && refused.contains("Connection: close"));
}

#[test]
fn a_panicking_handler_gets_500_and_nobody_else_notices() {
    let worker = Worker::new(hello);
    let mut other = worker.connect();
    for (count, path) in ["/panic", "/bomb"].iter().enumerate() {
        let answer = worker.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert_eq!(worker.stats.panics.get(), count as u64 + 1);
    }
    other.write_all(format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes()).unwrap();
    assert!(rest(&mut other).ends_with("Hello, Cluster!"));
}

#[test]
fn a_panicking_destructor_of_a_cancelled_handler_harms_nobody() {
    let mut worker = Worker::new(hello);
    let mut stream = worker.connect();
    stream.write_all(b"GET /pending HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    until(|| worker.stats.requests.get() == 1);
    reset(stream);
    until(|| worker.stats.connections.get() == 0);
    assert!(worker.ask(&format!("GET / HTTP/1.1\r\n{CLOSE}")).ends_with("Hello, Cluster!"));
    assert_eq!(worker.drain(), Served { cut: 0 });
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let worker = Worker::new(hello);
    let mut stream = worker.connect();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(rest(&mut stream).ends_with("slow"));
}

#[test]
fn a_broken_stream_cuts_the_answer_short() {
    let worker = Worker::new(hello);
    let answer = worker.ask("GET /broken HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.ends_with("4\r\npart\r\n"), "no last chunk: {answer}");
}

#[test]
fn the_client_reads_the_refusal_of_a_body_far_over_the_limit() {
    let worker = Worker::new(hello);
    let mut stream = worker.connect();
    stream
        .write_all(b"POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: 10485760\r\n\r\n")
        .unwrap();
    let chunk = vec![b'x'; 32 * 1024];
    stream.write_all(&chunk).unwrap();
    let answer = answer(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(rest(&mut stream).is_empty());
}

#[test]
fn the_client_reads_the_refusal_of_a_chunked_body_over_the_limit() {
    let worker = Worker::with(hello, |limits, _| limits.body_bytes = 1000);
    let mut stream = worker.connect();
    stream
        .write_all(b"POST /length HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    for _ in 0..20 {
        stream.write_all(b"64\r\n").unwrap();
        stream.write_all(&[b'x'; 100]).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    assert!(rest(&mut stream).starts_with("HTTP/1.1 413 "));
}

#[test]
fn the_client_reads_the_refusal_of_heads_over_the_limits() {
    let worker = Worker::new(hello);
    for (request, status) in [
        (format!("GET /{} HTTP/1.1\r\n{CLOSE}", "x".repeat(9000)), "414"),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n{CLOSE}", "x".repeat(40_000)), "431"),
        (format!("GET / HTTP/1.1\r\n{}{CLOSE}", "X: y\r\n".repeat(101)), "431"),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n".to_owned(), "505"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\nExpect: magic\r\n{CLOSE}"), "417"),
        (format!("POST /length HTTP/1.1\r\nTransfer-Encoding: gzip\r\n{CLOSE}"), "501"),
    ] {
        let answer = worker.ask(&request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
    }
    until(|| worker.stats.connections.get() == 0);
}

#[test]
fn beyond_the_connection_limit_a_client_reads_503() {
    let worker = Worker::with(hello, |limits, _| limits.connections = 2);
    let held: Vec<_> = (0..2).map(|_| worker.connect()).collect();
    until(|| worker.stats.connections.get() == 2);
    for count in 1..=5 {
        assert!(worker.ask(&format!("GET / HTTP/1.1\r\n{CLOSE}")).starts_with("HTTP/1.1 503 "));
        assert_eq!(worker.stats.overloaded.get(), count);
    }
    drop(held);
    until(|| worker.stats.connections.get() == 0);
    assert!(worker.ask(&format!("GET / HTTP/1.1\r\n{CLOSE}")).ends_with("Hello, Cluster!"));
}

#[test]
fn a_head_that_does_not_come_gets_408() {
    let worker = Worker::with(hello, |_, timeouts| timeouts.header = Duration::from_millis(80));
    assert!(worker.ask("").starts_with("HTTP/1.1 408 "));
    let mut stream = worker.connect();
    let begun = Instant::now();
    // One byte at a time never resets the deadline.
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
    for byte in request {
        if stream.write_all(&[*byte]).is_err() || begun.elapsed() > PATIENCE {
            break;
        }
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut answer = [0; 12];
        if matches!(stream.read(&mut answer), Ok(12)) {
            assert_eq!(&answer, b"HTTP/1.1 408");
            return;
        }
    }
    panic!("no 408 after {:?}", begun.elapsed());
}

#[test]
fn a_body_that_does_not_come_gets_408() {
    let worker = Worker::with(hello, |_, timeouts| timeouts.body_idle = Duration::from_millis(80));
    for size in [9, 1_000_000] {
        let head = format!("POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: {size}");
        let answer = worker.ask(&format!("{head}\r\n\r\nhalf"));
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}

#[test]
fn an_idle_connection_is_closed() {
    let worker = Worker::with(hello, |_, timeouts| timeouts.keep_alive = Duration::from_millis(80));
    let answer = worker.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.ends_with("Hello, Cluster!"), "and nothing behind it: {answer}");
}

#[test]
fn a_client_that_never_reads_is_cut_and_its_memory_bounded() {
    let worker =
        Worker::with(hello, |_, timeouts| timeouts.write_idle = Duration::from_millis(100));
    let mut stream = worker.connect();
    let requests = "GET /large HTTP/1.1\r\nHost: h\r\n\r\n".repeat(200);
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let _ = stream.write_all(requests.as_bytes());
    until(|| worker.stats.connections.get() == 0);
    let served = worker.stats.requests.get();
    assert!(served < 100, "reading stopped with the client's: {served}");
}

#[test]
fn an_upgraded_connection_is_handed_over_with_what_was_sent_behind_the_request() {
    let worker = Worker::new(hello);
    let mut stream = worker.connect();
    let request =
        "GET /upgrade HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly ";
    stream.write_all(request.as_bytes()).unwrap();
    let head = answer(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("\r\nupgrade: echo\r\n"), "{head}");
    stream.write_all(b"late").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), "early late");
    let refused = worker.ask(&format!("GET /upgrade HTTP/1.1\r\n{CLOSE}"));
    assert!(refused.starts_with("HTTP/1.1 426 "), "{refused}");
}

#[test]
fn draining_ends_what_was_begun_and_cuts_nothing() {
    let mut worker = Worker::new(hello);
    let mut begun = worker.connect();
    begun.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut idle = worker.connect();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    answer(&mut idle);
    until(|| worker.stats.requests.get() == 2);
    worker.orders.send(Order::Drain).ok().unwrap();
    let answer = rest(&mut begun);
    assert!(answer.ends_with("slow") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(rest(&mut idle), "", "an idle connection is closed");
    // The worker lingers until its clients have closed too.
    drop((begun, idle));
    assert_eq!(worker.join(), Served { cut: 0 });
}

#[test]
fn draining_answers_a_request_that_was_on_its_way() {
    let mut worker = Worker::with(hello, |_, timeouts| timeouts.idle_grace = PATIENCE);
    let mut idle = worker.connect();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    answer(&mut idle);
    let mut begun = worker.connect();
    begun.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    until(|| worker.stats.requests.get() == 2);
    worker.orders.send(Order::Drain).ok().unwrap();
    assert!(rest(&mut begun).contains("\r\nConnection: close\r\n"), "the worker drains");
    idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let answer = rest(&mut idle);
    assert!(answer.ends_with("Hello, Cluster!") && answer.contains("\r\nConnection: close\r\n"));
    drop((begun, idle));
    assert_eq!(worker.join(), Served { cut: 0 });
}

#[test]
fn draining_cuts_what_does_not_end() {
    let mut worker = Worker::with(hello, |_, timeouts| timeouts.drain = Duration::from_millis(50));
    let mut stream = worker.connect();
    stream.write_all(b"GET /pending HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    until(|| worker.stats.requests.get() == 1);
    worker.orders.send(Order::Drain).ok().unwrap();
    assert_eq!(rest(&mut stream), "");
    let thread = worker.thread.take().unwrap();
    let ended = thread.join().unwrap();
    // The bomb in the cancelled handler is contained.
    assert_eq!(ended.unwrap().unwrap(), Served { cut: 1 });
}
