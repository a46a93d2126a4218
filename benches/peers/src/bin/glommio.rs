//! `glommio::net` as one would first write it: read, parse with httparse, write; one task per
//! connection. It has no router: `matchit` finds the routes.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::SystemTime;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};
use matchit::Router;
use peers::{BYTES, HELLO, JSON, Listing, ROUTES, TEXT, pattern};

const READ_BYTES: usize = 16 * 1024;
const HEADERS: usize = 64;

/// A request's head: how long it is, whom it asks, how much body follows.
struct Head {
    bytes: usize,
    path: String,
    body_bytes: usize,
}

fn decode(input: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(input).map_err(io::Error::other)?;
    let httparse::Status::Complete(bytes) = parsed else { return Ok(None) };
    let mut fields = request.headers.iter();
    let length = fields.find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|field| str::from_utf8(field.value).ok()?.parse().ok());
    let path = request.path.unwrap_or_default().to_owned();
    Ok(Some(Head { bytes, path, body_bytes: length.unwrap_or(0) }))
}

fn answer(head: &Head, body: &[u8], routes: &Router<usize>, output: &mut Vec<u8>) {
    match head.path.as_str() {
        "/" => encode(TEXT, HELLO.as_bytes(), output),
        "/echo" => encode(BYTES, body, output),
        path => {
            let json = listing(path, routes).and_then(|it| serde_json::to_vec(&it).ok());
            encode(JSON, &json.unwrap_or_default(), output);
        }
    }
}

fn listing(path: &str, routes: &Router<usize>) -> Option<Listing> {
    let found = routes.at(path).ok()?;
    let id = found.params.get("id")?.parse().ok()?;
    let count = found.params.get("count")?.parse().ok()?;
    Some(Listing::new(*found.value, id, count))
}

fn encode(kind: &str, body: &[u8], output: &mut Vec<u8>) {
    let (date, length) = (httpdate::fmt_http_date(SystemTime::now()), body.len());
    let mut head = String::new();
    // A String takes whatever is written to it.
    let _ = write!(
        head,
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\ncontent-type: {kind}\r\n\
         date: {date}\r\n\r\n"
    );
    output.extend_from_slice(head.as_bytes());
    output.extend_from_slice(body);
}

async fn connection(mut stream: TcpStream, routes: Rc<Router<usize>>) -> io::Result<()> {
    let (mut input, mut output) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        input.extend_from_slice(&buffer[..read]);
        let mut taken = 0;
        while let Some(head) = decode(&input[taken..])? {
            let begin = taken + head.bytes;
            let Some(body) = input.get(begin..begin + head.body_bytes) else { break };
            answer(&head, body, &routes, &mut output);
            taken = begin + head.body_bytes;
        }
        input.drain(..taken);
        if !output.is_empty() {
            stream.write_all(&output).await?;
            output.clear();
        }
    }
}

async fn work(port: u16) -> io::Result<()> {
    let mut routes = Router::new();
    for resource in 0..ROUTES {
        routes.insert(pattern(resource), resource).map_err(io::Error::other)?;
    }
    let (routes, listener) = (Rc::new(routes), TcpListener::bind(("127.0.0.1", port))?);
    loop {
        let stream = listener.accept().await?;
        stream.set_nodelay(true)?;
        // How a connection ends is its client's business.
        glommio::spawn_local(connection(stream, Rc::clone(&routes))).detach();
    }
}

fn main() -> ExitCode {
    peers::serve(|port, workers| {
        peers::on_threads(workers, move || {
            let executor = LocalExecutorBuilder::new(Placement::Unbound).make()?;
            executor.run(work(port))
        })
    })
}
