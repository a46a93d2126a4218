//! What a panic of application code ends.

use super::*;

fn app() -> App {
    hello()
        .get("/late", async || -> &'static str {
            rt::sleep(Duration::from_millis(1)).await;
            panic!("late, on purpose")
        })
        .get("/stream-panic", async || {
            let chunks = std::iter::once(Ok(Bytes::from_static(b"part")));
            let chunks = chunks.chain(std::iter::from_fn(|| panic!("streamed, on purpose")));
            Response::new(Body::stream(futures_lite::stream::iter(chunks)))
        })
        .get("/upgrade-panic", async || {
            Response::empty(StatusCode::OK)
                .with_header(header::UPGRADE, HeaderValue::from_static("echo"))
                .upgrade(async |_io, _leftover| {
                    rt::sleep(Duration::from_millis(1)).await;
                    panic!("upgraded, on purpose")
                })
        })
        .get("/thrower", async || -> &'static str { std::panic::panic_any(Bomb) })
}

/// Each request, and what the panic that it causes says.
const PANICS: [(&str, &str); 5] = [
    ("/panic", "on purpose"),
    ("/late", "late, on purpose"),
    ("/stream-panic", "streamed, on purpose"),
    ("/upgrade-panic", "upgraded, on purpose"),
    ("/thrower", "a panic without a message"),
];

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
}

/// All that comes until the connection closes, in whatever way.
fn all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_panic_ends_only_its_connection() {
    let worker = Worker::new(app);
    let mut other = worker.connect();
    for (count, (path, _)) in (1..).zip(PANICS) {
        let answer = worker.ask(&request(path));
        let begun = ["/stream-panic", "/upgrade-panic"].contains(&path);
        assert_eq!(answer.starts_with("HTTP/1.1 500 "), !begun, "{path}: {answer}");
        until(|| worker.stats.panics.get() == count);
    }
    other.write_all(format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes()).unwrap();
    assert!(rest(&mut other).ends_with("Hello, Cluster!"));
}

#[test]
fn a_panic_ends_its_worker_where_that_is_wanted() {
    for (path, message) in PANICS {
        let mut worker = Worker::start(app, |_, _| {}, OnPanic::Restart);
        let idle = worker.connect();
        until(|| worker.stats.connections.get() == 1);
        let mut stream = worker.connect();
        stream.write_all(request(path).as_bytes()).unwrap();
        let answer = all(stream);
        assert!(!answer.starts_with("HTTP/1.1 500 "), "{path}: {answer}");
        assert_eq!(all(idle), "", "{path}: the others are closed too");
        let ended = worker.thread.take().unwrap().join().unwrap();
        let Err(rt::End::Panic(fault)) = ended else { panic!("{path}: {ended:?}") };
        assert_eq!(fault.message, message, "{path}");
        assert_eq!(worker.stats.panics.get(), 1);
    }
}

#[test]
fn a_panic_is_told_in_json_to_who_prefers_it() {
    let worker = Worker::new(hello);
    for (accept, body) in [
        ("*/*", "500 Internal Server Error"),
        ("application/json", r#"{"status":500,"error":"Internal Server Error"}"#),
    ] {
        let request = format!("GET /panic HTTP/1.1\r\nHost: h\r\nAccept: {accept}\r\n\r\n");
        let answer = worker.ask(&request);
        assert!(answer.starts_with("HTTP/1.1 500 ") && answer.ends_with(body), "{answer}");
    }
}
