//! What both `micro` and `instructions` measure: the hot paths of a request, in memory.

use std::hint::black_box;
use std::time::Duration;

use corelane::internals::{Heads, Latencies, Worker, decode_chunked, encode_answer, routes};
use corelane::{App, Json, Path, Response};
use http::{HeaderValue, header};
use serde::Serialize;

/// One of them.
pub(crate) struct Workload {
    /// What it is called: a group, a slash, a case.
    pub(crate) name: &'static str,
    /// Makes what does it once, having made sure that it does what it should.
    pub(crate) prepare: fn() -> Box<dyn FnMut()>,
}

/// All of them.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload { name: "head/small", prepare: || head(&small_head(), 3) },
    Workload { name: "head/browser", prepare: || head(&browser_head(), 15) },
    Workload { name: "head/100-headers", prepare: || head(&long_head(), 100) },
    Workload { name: "chunked/16-of-4KiB", prepare: || chunked(16, 4096) },
    Workload { name: "chunked/64-of-16B", prepare: || chunked(64, 16) },
    Workload { name: "router/10-routes", prepare: || router(10) },
    Workload { name: "router/200-routes", prepare: || router(200) },
    Workload { name: "router/2000-routes", prepare: || router(2000) },
    Workload { name: "answer/plain", prepare: || answer(plain_answer()) },
    Workload { name: "answer/headers", prepare: || answer(answer_with_headers()) },
    Workload { name: "histogram/record", prepare: histogram },
    Workload { name: "request/hello", prepare: || request(&get("/"), 15) },
    Workload { name: "request/json-1KiB", prepare: || request(&get("/r77/7/json/10"), 1024) },
    Workload { name: "request/json-10KiB", prepare: || request(&get("/r77/7/json/106"), 10_240) },
    Workload { name: "request/echo-4KiB", prepare: || request(&post("/echo", 4096), 4096) },
];

/// The lengths of JSON answers are met within so many bytes.
const JSON_SLACK: usize = 100;

fn small_head() -> String {
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n\r\n".into()
}

fn browser_head() -> String {
    let lines = [
        "GET /articles/1234?page=2&sort=newest HTTP/1.1",
        "Host: www.example.com",
        "Connection: keep-alive",
        "Cache-Control: max-age=0",
        "sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\", \"Google Chrome\";v=\"140\"",
        "sec-ch-ua-mobile: ?0",
        "sec-ch-ua-platform: \"Linux\"",
        "Upgrade-Insecure-Requests: 1",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/140.0.0.0 Safari/537.36",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
         */*;q=0.8",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Dest: document",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
        "Cookie: session=4f2c9d1e8b7a6053; theme=dark; _ga=GA1.1.1234567890.1700000000",
    ];
    lines.join("\r\n") + "\r\n\r\n"
}

fn long_head() -> String {
    let others = (1..100).map(|number| format!("X-Header-{number}: value number {number}\r\n"));
    let others: Vec<String> = others.collect();
    format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n{}\r\n", others.concat())
}

fn head(text: &str, headers: usize) -> Box<dyn FnMut()> {
    let (mut heads, bytes) = (Heads::default(), text.as_bytes().to_vec());
    assert_eq!(heads.decode(&bytes), Some(headers));
    Box::new(move || {
        black_box(heads.decode(black_box(&bytes)));
    })
}

fn chunked(chunks: usize, size: usize) -> Box<dyn FnMut()> {
    let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
    let body = (chunk.repeat(chunks) + "0\r\n\r\n").into_bytes();
    assert_eq!(decode_chunked(&body), Some(chunks * size));
    Box::new(move || {
        black_box(decode_chunked(black_box(&body)));
    })
}

/// An app of so many routes, half of them with parameters; all but four are there to be in the way.
fn app(routes: usize) -> App {
    let echo = async |bytes: bytes::Bytes| bytes;
    let mut app = App::new()
        .get("/", async || "Hello, Cluster!")
        .post("/echo", echo)
        .get("/r77/:id/json/:items", async |Path((id, items)): Path<(u64, u32)>| {
            Json(Record::some(id, items))
        })
        .get("/users/:id/posts/:post", async || "a post");
    for number in (0..routes.saturating_sub(4)).filter(|number| *number != 77) {
        let path = if number % 2 == 0 {
            format!("/r{number}/items")
        } else {
            format!("/r{number}/:id/json/:items")
        };
        app = app.get(&path, async || "in the way");
    }
    app
}

fn router(count: usize) -> Box<dyn FnMut()> {
    let app = app(count);
    let path = "/users/12345/posts/678";
    assert!(routes(&app, path) && !routes(&app, "/users/12345/posts"));
    Box::new(move || {
        black_box(routes(&app, black_box(path)));
    })
}

fn plain_answer() -> Response {
    const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
    Response::new("Hello, Cluster!").with_content_type(PLAIN)
}

fn answer_with_headers() -> Response {
    plain_answer()
        .with_header(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"))
        .with_header(header::ETAG, HeaderValue::from_static("\"33a64df551425fcc\""))
        .with_header(header::VARY, HeaderValue::from_static("Accept-Encoding"))
        .with_header(header::SERVER, HeaderValue::from_static("corelane"))
}

fn answer(response: Response) -> Box<dyn FnMut()> {
    let mut out = Vec::with_capacity(1024);
    encode_answer(&mut out, &response);
    assert!(out.starts_with(b"HTTP/1.1 200 OK\r\n") && out.ends_with(b"\r\n\r\n"));
    Box::new(move || {
        out.clear();
        encode_answer(&mut out, black_box(&response));
        black_box(&out);
    })
}

fn histogram() -> Box<dyn FnMut()> {
    let latencies = Latencies::default();
    let mut nanos = 0;
    Box::new(move || {
        // From a microsecond to a second, in steps that visit every octave alike.
        nanos = (nanos * 5 + 4321) & 0x3fff_ffff;
        latencies.record(black_box(Duration::from_nanos(nanos)));
    })
}

/// What handlers write as JSON.
#[derive(Serialize)]
struct Record {
    id: u64,
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    number: u32,
    name: &'static str,
    price: f64,
    tags: [&'static str; 2],
    stocked: bool,
}

impl Record {
    fn some(id: u64, items: u32) -> Self {
        let name = "a thing of some name";
        let item = |number| {
            let price = f64::from(number) + 0.25;
            Item { number, name, price, tags: ["red", "round"], stocked: number % 2 == 0 }
        };
        Self { id, items: (0..items).map(item).collect() }
    }
}

fn get(path: &str) -> Vec<u8> {
    small_head().replace("GET /", &format!("GET {path}")).into_bytes()
}

fn post(path: &str, length: usize) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nContent-Length: {length}");
    [head.as_bytes(), b"\r\n\r\n", &vec![b'x'; length]].concat()
}

/// A whole request: head, route among 200, handler, answer. The answer's body is about so long.
fn request(request: &[u8], length: usize) -> Box<dyn FnMut()> {
    let mut worker = Worker::new(app(200)).expect("the kernel gives a ring");
    let answer = worker.answer(request).expect("a whole request, answered at once");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(answer));
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
    let body = answer.len() - head;
    assert!(body.abs_diff(length) <= JSON_SLACK, "{body} bytes instead of {length}");
    let request = request.to_vec();
    Box::new(move || {
        black_box(worker.answer(black_box(&request)));
    })
}
