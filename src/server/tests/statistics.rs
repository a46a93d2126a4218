//! What a worker counts.

use super::*;
use crate::stats::Figures;

fn figures(worker: &Worker) -> Figures {
    Figures::read(&worker.stats)
}

/// Waits until so many latencies have been recorded: the client may have the answer before that.
fn settled(worker: &Worker, requests: u64) -> Figures {
    until(|| worker.stats.latency.snapshot().count() >= requests);
    figures(worker)
}

#[test]
fn counts_every_byte_of_a_connection() {
    let worker = Worker::new(hello);
    let body = "b".repeat(200_000);
    let requests = [
        format!("GET / HTTP/1.1\r\n{CLOSE}"),
        format!("GET /large HTTP/1.1\r\n{CLOSE}"),
        format!("GET /stream HTTP/1.1\r\n{CLOSE}"),
        format!("POST /echo HTTP/1.1\r\nContent-Length: {}\r\n{CLOSE}{body}", body.len()),
        "GET /upgrade HTTP/2.0\r\n\r\n".to_owned(),
    ];
    let (mut sent, mut received) = (0, 0);
    for request in &requests {
        sent += request.len() as u64;
        received += worker.ask(request).len() as u64;
    }
    until(|| worker.stats.connections.get() == 0);
    let figures = figures(&worker);
    assert_eq!((figures.bytes_received, figures.bytes_sent), (sent, received));
}

#[test]
fn counts_the_bytes_of_an_upgraded_connection() {
    let worker = Worker::new(hello);
    let mut stream = worker.connect();
    let request =
        "GET /upgrade HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly ";
    stream.write_all(request.as_bytes()).unwrap();
    let head = answer(&mut stream).len() as u64;
    stream.write_all(b"late").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), "early late");
    until(|| worker.stats.connections.get() == 0);
    let figures = figures(&worker);
    assert_eq!(figures.bytes_received, request.len() as u64 + 4);
    assert_eq!(figures.bytes_sent, head + 10);
    assert_eq!(figures.statuses.informational, 1);
    assert_eq!(figures.latency.count(), 1);
}

#[test]
fn counts_answers_and_refusals_by_the_class_of_their_status() {
    let worker = Worker::with(hello, |limits, timeouts| {
        limits.connections = 1;
        timeouts.header = Duration::from_millis(50);
    });
    let ask = |request: &str| {
        until(|| worker.stats.connections.get() == 0);
        worker.ask(request)
    };
    ask(&format!("GET / HTTP/1.1\r\n{CLOSE}"));
    ask(&format!("GET /stream HTTP/1.1\r\n{CLOSE}"));
    ask(&format!("GET /nothing HTTP/1.1\r\n{CLOSE}"));
    ask(&format!("GET /panic HTTP/1.1\r\n{CLOSE}"));
    assert!(ask("GET / HTTP/1.1\r\nno head\r\n\r\n").starts_with("HTTP/1.1 400"));
    assert!(ask("").starts_with("HTTP/1.1 408"));
    until(|| worker.stats.connections.get() == 0);
    let held = worker.connect();
    until(|| worker.stats.connections.get() == 1);
    assert!(worker.ask(&format!("GET / HTTP/1.1\r\n{CLOSE}")).starts_with("HTTP/1.1 503"));
    drop(held);
    let statuses = figures(&worker).statuses;
    assert_eq!((statuses.informational, statuses.success, statuses.redirection), (0, 2, 0));
    assert_eq!((statuses.client_error, statuses.server_error), (3, 2));
}

#[test]
fn a_latency_begins_with_the_first_byte_and_ends_with_the_answer() {
    let worker = Worker::new(hello);
    let mut stream = worker.connect();
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    until(|| figures(&worker).bytes_received > 0);
    std::thread::sleep(SLOW);
    stream.write_all(b"Host: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    answer(&mut stream);
    answer(&mut stream);
    let latency = settled(&worker, 2).latency;
    assert!(latency.max() >= SLOW, "the head's first part counts: {latency:?}");
    assert!(latency.percentile(50.0) < SLOW, "it is not that of the next request: {latency:?}");
    std::thread::sleep(SLOW);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    answer(&mut stream);
    let latency = settled(&worker, 3).latency;
    assert!(latency.percentile(60.0) < SLOW, "the time between requests counts not: {latency:?}");
    worker.ask(&format!("GET /slow HTTP/1.1\r\n{CLOSE}"));
    let latency = settled(&worker, 4).latency;
    assert!(latency.percentile(75.0) >= SLOW, "the handler's time counts: {latency:?}");
}

#[test]
fn each_pipelined_request_has_a_latency_of_its_own() {
    let worker = Worker::new(hello);
    let mut stream = worker.connect();
    let quick = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let slow = "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n";
    // What comes before the slow one is sent while it waits, and does not wait with it.
    stream.write_all(format!("{}{slow}", quick.repeat(9)).as_bytes()).unwrap();
    for _ in 0..10 {
        answer(&mut stream);
    }
    let latency = settled(&worker, 10).latency;
    assert_eq!(latency.count(), 10);
    assert!(latency.percentile(90.0) < SLOW && latency.max() >= SLOW, "{latency:?}");
}

#[test]
fn an_answer_that_could_not_be_sent_has_no_latency() {
    let worker = Worker::new(hello);
    let mut stream = worker.connect();
    stream.write_all(b"GET /pending HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    until(|| worker.stats.requests.get() == 1);
    reset(stream);
    worker.ask("GET /broken HTTP/1.1\r\nHost: h\r\n\r\n");
    until(|| worker.stats.connections.get() == 0);
    assert_eq!((figures(&worker).requests, figures(&worker).latency.count()), (2, 0));
    // More than fits into the buffers of a client that does not read.
    let mut stream = worker.connect();
    let requests = "GET /large HTTP/1.1\r\nHost: h\r\n\r\n".repeat(30);
    stream.write_all(requests.as_bytes()).unwrap();
    until(|| worker.stats.requests.get() > 4);
    reset(stream);
    until(|| worker.stats.connections.get() == 0);
    let (requests, sent) = (figures(&worker).requests - 2, figures(&worker).latency.count());
    assert_eq!(sent, requests - 1, "the last one failed");
}

/// An app whose handlers stay where the test wants to see them.
fn stuck() -> App {
    fn hold() {
        std::thread::sleep(SLOW);
    }
    App::new()
        .get("/quick", async || "quick")
        .get("/first/:id", async || hold())
        .get("/later", async || {
            rt::sleep(Duration::from_millis(1)).await;
            hold();
        })
        .get("/stream/:id", async || {
            let held = std::iter::once_with(|| {
                hold();
                Ok(Bytes::from_static(b"held"))
            });
            Response::new(Body::stream(futures_lite::stream::iter(held)))
        })
        .get("/upgrade", async || {
            Response::empty(StatusCode::OK)
                .with_header(header::UPGRADE, HeaderValue::from_static("echo"))
                .upgrade(async |_io, _leftover| hold())
        })
        .mount("/inner", App::new().fallback(async || hold()))
}

#[test]
fn the_pulse_names_the_route_whose_code_runs() {
    let worker = Worker::new(stuck);
    assert_eq!(worker.pulse.route(), None);
    for (path, pattern) in [
        ("/first/7", "/first/:id"),
        ("/later", "/later"),
        ("/stream/1", "/stream/:id"),
        ("/upgrade", "/upgrade"),
        ("/inner/x/y", "/inner/*rest"),
    ] {
        let mut stream = worker.connect();
        let head = "Host: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(format!("GET {path} HTTP/1.1\r\n{head}").as_bytes()).unwrap();
        until(|| worker.pulse.route().is_some());
        assert_eq!(worker.pulse.route(), Some(pattern));
        until(|| worker.pulse.route().is_none());
        drop(stream);
        until(|| worker.stats.connections.get() == 0);
        assert_eq!(worker.pulse.route(), None);
    }
}
