//! Rude clients and careless handlers.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{Stream, stream};

use super::*;
use crate::rt::spawn_local;

const HOST: &str = "Host: h\r\n\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\nHost: h\r\n\r\n";

/// A stream that yields `chunks`, then what `end` says.
fn chunks(
    chunks: &'static [&'static str],
    end: fn() -> Option<std::io::Result<Bytes>>,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    let mut chunks = chunks.iter();
    stream::poll_fn(move |_| {
        let chunk = chunks.next().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())));
        Poll::Ready(chunk.or_else(end))
    })
}

/// A stream without an end whose destructor panics.
struct Mine;

impl Stream for Mine {
    type Item = std::io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        panic!("a mine, on purpose");
    }
}

/// As [`Mine`], but it ends.
struct Ending(Mine);

impl Stream for Ending {
    type Item = std::io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(None)
    }
}

thread_local! {
    static KEPT: Cell<Vec<Request>> = const { Cell::new(Vec::new()) };
}

fn careless() -> App {
    hello()
        .get("/fails", async || {
            let end = || Some(Err(std::io::ErrorKind::Other.into()));
            Response::new(Body::stream(chunks(&[], end)))
        })
        .get("/explodes", async || {
            Response::new(Body::stream(chunks(&[], || panic!("on purpose"))))
        })
        .get("/explodes-late", async || {
            Response::new(Body::stream(chunks(&["one", "two"], || panic!("on purpose"))))
        })
        .get("/mine", async || Response::new(Body::stream(Mine)))
        .get("/ending-mine", async || Response::new(Body::stream(Ending(Mine))))
        .get("/upgrade-mine", async || {
            let mine = Mine;
            Response::empty(StatusCode::OK).upgrade(async move |_, _| drop(mine))
        })
        .get("/payload", async || -> &'static str { std::panic::panic_any(Mine) })
        .get("/100", async || Response::empty(StatusCode::CONTINUE))
        .get("/101", async || Response::empty(StatusCode::SWITCHING_PROTOCOLS))
        .get("/204", async || Response::new("body").with_status(StatusCode::NO_CONTENT))
        .get("/304", async || Response::new("body").with_status(StatusCode::NOT_MODIFIED))
        .get("/close", async || {
            Response::new("bye").with_header(header::CONNECTION, HeaderValue::from_static("close"))
        })
        .post("/first", async |mut request: Request| {
            let first = request.body_mut().chunk().await;
            first.map_or(0, |chunk| chunk.unwrap().len()).to_string()
        })
        .post("/explodes", async |mut request: Request| -> &'static str {
            request.body_mut().chunk().await;
            panic!("on purpose")
        })
        .post("/spawned", async |mut request: Request| {
            let body = request.take_body();
            let read = spawn_local(async move {
                // So that the body's first bytes are there before anybody asks for them.
                futures_lite::future::yield_now().await;
                body.collect().await.map_or(0, |body| body.len())
            });
            read.await.to_string()
        })
        .post("/keeps", async |request: Request| {
            let mut kept = KEPT.take();
            kept.push(request);
            KEPT.set(kept);
            "kept"
        })
        .get("/kept", async || {
            let kept = KEPT.take();
            kept.iter().map(Request::path).collect::<String>()
        })
        .post("/upgrade", async |request: Request| {
            Response::empty(StatusCode::OK)
                .with_header(header::UPGRADE, HeaderValue::from_static("echo"))
                .upgrade(async move |mut io, leftover| {
                    use futures_lite::AsyncWriteExt as _;
                    let _request = request;
                    io.write_all(&leftover).await.unwrap();
                    io.close().await.unwrap();
                })
        })
}

/// What a worker answers to `bytes`, from which the client then shuts its sending side down.
fn converse(worker: &Worker, bytes: &str) -> String {
    let mut stream = worker.connect();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    rest(&mut stream)
}

/// The statuses of the answers, in order.
fn statuses(answers: &str) -> Vec<&str> {
    answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect()
}

/// Nobody else has noticed, and nothing is left.
fn unharmed(mut worker: Worker) {
    assert!(worker.ask(&format!("GET / HTTP/1.1\r\n{CLOSE}")).ends_with("Hello, Cluster!"));
    until(|| worker.stats.connections.get() == 0);
    assert_eq!(worker.drain(), Served { cut: 0 });
}

#[test]
fn pipelined_answers_keep_their_order_whatever_they_are() {
    let worker = Worker::new(careless);
    let mut requests = String::new();
    let cases = [
        ("GET / HTTP/1.1\r\n", HOST, "Hello, Cluster!"),
        ("HEAD /large HTTP/1.1\r\n", HOST, "\r\n\r\n"),
        ("POST /spawned HTTP/1.1\r\n", "Content-Length: 3\r\nHost: h\r\n\r\nabc", "\r\n\r\n3"),
        ("GET /large HTTP/1.1\r\n", HOST, "xxxx"),
        ("HEAD /stream HTTP/1.1\r\n", HOST, "\r\n\r\n"),
        ("GET /stream HTTP/1.1\r\n", HOST, "\r\n0\r\n\r\n"),
        ("GET /204 HTTP/1.1\r\n", HOST, "\r\n\r\n"),
        ("GET /304 HTTP/1.1\r\n", HOST, "\r\n\r\n"),
        ("POST /length HTTP/1.1\r\n", "Content-Length: 4\r\nHost: h\r\n\r\nabcd", "\r\n\r\n4"),
        ("GET /users/x HTTP/1.1\r\n", HOST, "x"),
        ("GET /100 HTTP/1.1\r\n", HOST, "error\n"),
        ("GET /101 HTTP/1.1\r\n", HOST, "error\n"),
        ("GET /upgrade HTTP/1.1\r\n", HOST, "connection\n"),
        ("GET /nothing HTTP/1.1\r\n", HOST, "404 Not Found"),
    ];
    for (line, more, _) in cases.iter().cycle().take(cases.len() * 10) {
        requests.push_str(line);
        requests.push_str(more);
    }
    requests.push_str("GET /panic HTTP/1.1\r\n");
    requests.push_str(HOST);
    requests.push_str("GET / HTTP/1.1\r\n");
    requests.push_str(HOST);
    let answers = converse(&worker, &requests);
    let mut answers: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(answers.len(), cases.len() * 10 + 1);
    assert!(answers.pop().unwrap().starts_with("500 "));
    for (answer, (line, _, end)) in answers.iter().zip(cases.iter().cycle()) {
        if !line.contains("/users/x") {
            assert!(answer.ends_with(end), "{line}: {answer}");
        }
    }
    unharmed(worker);
}

#[test]
fn answers_queued_before_a_broken_one_are_not_lost() {
    let worker = Worker::new(careless);
    let malformed = format!("POST /echo HTTP/1.1\r\n{CHUNKED}zz\r\n");
    for broken in ["GET /fails HTTP/1.1\r\nHost: h\r\n\r\n", &malformed, EXPLODES] {
        let answers =
            converse(&worker, &format!("GET / HTTP/1.1\r\n{HOST}GET / HTTP/1.1\r\n{HOST}{broken}"));
        assert_eq!(answers.matches("Hello, Cluster!").count(), 2, "{broken}: {answers}");
        assert!(!answers.ends_with("0\r\n\r\n"), "{broken}: {answers}");
    }
    unharmed(worker);
}

const EXPLODES: &str = "GET /explodes HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_panic_in_a_streamed_body_harms_nobody() {
    let worker = Worker::new(careless);
    for (path, end) in [("/explodes", ""), ("/explodes-late", "3\r\none\r\n3\r\ntwo\r\n")] {
        let answers = worker.ask(&format!("GET {path} HTTP/1.1\r\n{HOST}"));
        assert!(answers.ends_with(end) && !answers.contains("\r\n0\r\n"), "{answers}");
    }
    assert_eq!(worker.stats.panics.get(), 2);
    unharmed(worker);
}

#[test]
fn a_panic_in_the_destructor_of_an_answer_harms_nobody() {
    let worker = Worker::new(careless);
    for request in ["GET /ending-mine", "HEAD /mine", "GET /upgrade-mine"] {
        let answers = worker.ask(&format!("{request} HTTP/1.1\r\n{CLOSE}"));
        assert!(answers.starts_with("HTTP/1.1 "), "{request}: {answers}");
    }
    let mut stream = worker.connect();
    stream.write_all(format!("GET /mine HTTP/1.1\r\n{HOST}").as_bytes()).unwrap();
    until(|| worker.stats.requests.get() == 4);
    reset(stream);
    until(|| worker.stats.connections.get() == 0);
    unharmed(worker);
}

#[test]
fn a_panic_whose_payload_panics_harms_nobody() {
    let worker = Worker::new(careless);
    let answer = worker.ask(&format!("GET /payload HTTP/1.1\r\n{HOST}"));
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    unharmed(worker);
}

#[test]
fn a_panic_while_a_body_is_fed_gets_500() {
    let worker = Worker::new(careless);
    let head = "Content-Length: 9\r\nHost: h\r\n\r\nhalf";
    let answer = worker.ask(&format!("POST /explodes HTTP/1.1\r\n{head}"));
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    unharmed(worker);
}

#[test]
fn says_continue_before_an_answer_that_streams_the_request_back() {
    let worker = Worker::new(careless);
    let mut stream = worker.connect();
    let head = "Host: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(format!("POST /echo HTTP/1.1\r\n{head}").as_bytes()).unwrap();
    assert_eq!(answer(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").unwrap();
    let echoed = answer(&mut stream);
    assert!(echoed.starts_with("HTTP/1.1 200 OK\r\n") && echoed.ends_with("\r\n\r\nbody"));
    drop(stream);
    unharmed(worker);
}

#[test]
fn what_is_left_of_a_body_is_never_taken_for_a_request() {
    let worker = Worker::new(careless);
    let smuggled = format!("GET /users/7 HTTP/1.1\r\n{HOST}");
    let length = smuggled.len();
    let chunk = format!("{length:x}\r\n{smuggled}\r\n");
    for path in ["/ignore", "/first", "/length", "/explodes", "/nothing", "/keeps", "/spawned"] {
        for body in [
            // The body is whole, and a request follows.
            format!("Content-Length: {length}\r\n{HOST}{smuggled}"),
            format!("{CHUNKED}{chunk}0\r\n\r\n"),
            format!("{CHUNKED}{chunk}{chunk}{chunk}0\r\n\r\n"),
            // The body is not whole.
            format!("Content-Length: {}\r\n{HOST}{smuggled}", 3 * length),
            format!("{CHUNKED}{chunk}{chunk}"),
            // It is malformed.
            format!("{CHUNKED}{chunk}x{smuggled}"),
            // It is too long.
            format!("Content-Length: 99999999\r\n{HOST}{smuggled}"),
            format!("{CHUNKED}{chunk}9999999\r\n{smuggled}"),
            // It is not awaited.
            format!("Expect: 100-continue\r\nContent-Length: {}\r\n{HOST}{smuggled}", 3 * length),
        ] {
            let answers = converse(&worker, &format!("POST {path} HTTP/1.1\r\n{body}"));
            assert!(!answers.contains("seven"), "{path} {body}: {answers}");
            let finals = statuses(&answers).iter().filter(|status| **status != "100").count();
            assert_eq!(finals, 1, "{path} {body}: {answers}");
        }
    }
    unharmed(worker);
}

#[test]
fn more_bodies_are_announced_than_memory_is_claimed_for_and_all_arrive() {
    const LENGTH: usize = 1 << 20;
    const CLIENTS: usize = 64;
    let worker = Worker::new(hello);
    let head = format!("POST /length HTTP/1.1\r\nContent-Length: {LENGTH}\r\n{HOST}");
    let announce = |_| {
        let mut stream = worker.connect();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let clients: Vec<_> = (0..CLIENTS).map(announce).collect();
    until(|| worker.stats.requests.get() == CLIENTS as u64);
    let body = vec![b'x'; LENGTH];
    // Twice, so that what some have claimed others can.
    for mut stream in clients {
        stream.write_all(&body).unwrap();
        assert!(answer(&mut stream).ends_with(&format!("\r\n\r\n{LENGTH}")));
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        assert!(answer(&mut stream).ends_with(&format!("\r\n\r\n{LENGTH}")));
    }
}

#[test]
fn memory_is_not_taken_on_the_word_of_a_client() {
    let worker = Worker::with(hello, |limits, _| limits.body_bytes = 1 << 50);
    let mut stream = worker.connect();
    let head = format!("POST /length HTTP/1.1\r\nContent-Length: {}\r\n{HOST}", 1_u64 << 50);
    stream.write_all(head.as_bytes()).unwrap();
    // In two pieces at least, whose reader waits for all.
    for received in 1..=4 {
        stream.write_all(b"x").unwrap();
        until(|| worker.stats.bytes_received.get() == head.len() as u64 + received);
    }
    let answer = worker.ask(&format!("GET /users/7 HTTP/1.1\r\n{CLOSE}"));
    assert!(answer.ends_with("seven"), "{answer}");
}

#[test]
fn the_request_behind_a_body_that_was_received_is_answered() {
    let worker = Worker::new(careless);
    for path in ["/ignore", "/first", "/length", "/keeps", "/echo", "/spawned"] {
        for body in
            [format!("Content-Length: 4\r\n{HOST}body"), format!("{CHUNKED}4\r\nbody\r\n0\r\n\r\n")]
        {
            let answers = converse(
                &worker,
                &format!("POST {path} HTTP/1.1\r\n{body}GET /users/7 HTTP/1.1\r\n{HOST}"),
            );
            assert_eq!(statuses(&answers), ["200", "200"], "{path} {body}: {answers}");
            assert!(answers.ends_with("seven"), "{path} {body}: {answers}");
        }
    }
    unharmed(worker);
}

#[test]
fn a_body_is_fed_to_a_task_that_reads_it_for_the_handler() {
    let worker = Worker::new(careless);
    let chunk = "3\r\nabc\r\n".repeat(1000);
    let answer = worker.ask(&format!(
        "POST /spawned HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{CLOSE}{chunk}0\r\n\r\n"
    ));
    assert!(answer.ends_with("\r\n\r\n3000"), "{answer}");
    unharmed(worker);
}

#[test]
fn an_answer_to_a_body_that_nobody_will_read_says_that_the_connection_closes() {
    let worker = Worker::new(careless);
    let answer = worker.ask(&format!("POST /keeps HTTP/1.1\r\nContent-Length: 9\r\n{HOST}half"));
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    unharmed(worker);
}

#[test]
fn requests_that_a_handler_keeps_stay_as_they_were() {
    let worker = Worker::new(careless);
    let mut requests = format!("POST /keeps HTTP/1.1\r\n{HOST}").repeat(3);
    requests += "GET /kept HTTP/1.1\r\n";
    requests += CLOSE;
    assert!(worker.ask(&requests).ends_with("\r\n\r\n/keeps/keeps/keeps"));
    unharmed(worker);
}

#[test]
fn a_body_is_never_handed_over_as_bytes_of_the_next_protocol() {
    let worker = Worker::new(careless);
    let head = "Connection: upgrade\r\nUpgrade: echo\r\nHost: h\r\n";
    let whole =
        worker.ask(&format!("POST /upgrade HTTP/1.1\r\nContent-Length: 4\r\n{head}\r\nbodynext"));
    assert!(whole.starts_with("HTTP/1.1 101 ") && whole.ends_with("\r\n\r\nnext"), "{whole}");
    let part =
        worker.ask(&format!("POST /upgrade HTTP/1.1\r\nContent-Length: 9\r\n{head}\r\nbody"));
    assert!(part.starts_with("HTTP/1.1 500 "), "{part}");
    assert!(part.contains("\r\nConnection: close\r\n"), "{part}");
    unharmed(worker);
}

#[test]
fn what_follows_a_refused_connect_is_not_taken_for_a_request() {
    let worker = Worker::new(careless);
    let answers = converse(
        &worker,
        &format!("CONNECT h:1 HTTP/1.1\r\n{HOST}GET /users/7 HTTP/1.1\r\n{HOST}"),
    );
    assert_eq!(statuses(&answers), ["501"], "{answers}");
    unharmed(worker);
}

#[test]
fn connections_persist_as_both_sides_say() {
    let worker = Worker::new(careless);
    let keep = "Connection: keep-alive\r\n\r\n";
    for (first, persists) in [
        (format!("GET / HTTP/1.1\r\n{HOST}"), true),
        (format!("GET / HTTP/1.1\r\n{CLOSE}"), false),
        (format!("GET /close HTTP/1.1\r\n{HOST}"), false),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), false),
        (format!("GET / HTTP/1.0\r\n{keep}"), true),
        (format!("HEAD /stream HTTP/1.0\r\n{keep}"), true),
        (format!("GET /stream HTTP/1.0\r\n{keep}"), false),
    ] {
        let answers = converse(&worker, &format!("{first}GET /users/7 HTTP/1.1\r\n{HOST}"));
        assert_eq!(answers.ends_with("seven"), persists, "{first}: {answers}");
        assert_eq!(answers.contains("Connection: close\r\n"), !persists, "{first}: {answers}");
    }
    unharmed(worker);
}
