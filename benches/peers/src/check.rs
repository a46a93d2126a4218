//! Whether all give the same answers, before any is measured.

use std::io;

use peers::{BYTES, FILES, HELLO, JSON, Listing, PAGE_BYTES, TEXT};
use serde_json::Value;

use crate::client::Client;
use crate::contender::Contender;
use crate::failure::Failure;
use crate::launch::{Stop, interrupted};
use crate::load;
use crate::note;
use crate::results::{Check, Results};
use crate::server::Server;
use crate::websocket;
use crate::workload::{Ask, Kind, Load, Workload};
use crate::workshop::Shop;

/// How much larger than the smallest head any other may be.
const HEAD_BYTES_APART: usize = 40;
const PIPELINED: usize = 16;

/// Checks every contender. One that answers otherwise is left out, because nothing that is measured
/// of it could be compared.
pub(crate) fn all(shop: &mut Shop, results: &mut Results, stop: &Stop) -> Result<(), Failure> {
    for contender in shop.contenders() {
        if interrupted(stop) {
            return Ok(());
        }
        let checked = Server::start(contender, 1, shop)
            .and_then(|server| check(contender, &server).map_err(|error| server.failed(error)));
        match checked {
            Ok(check) => results.checks.push(check),
            Err(failure) => shop.leave_out(contender, failure.to_string()),
        }
    }
    let heads = results.checks.iter().filter_map(|check| check.head_bytes);
    let (least, most) = (heads.clone().min().unwrap_or(0), heads.max().unwrap_or(0));
    if most - least > HEAD_BYTES_APART {
        let what = format!("heads of {least} to {most} bytes are not alike");
        return Err(Failure::Contender { name: "check", what });
    }
    note(&format!("{} answer alike, heads of {least} to {most} bytes", results.checks.len()));
    Ok(())
}

fn check(contender: Contender, server: &Server) -> io::Result<Check> {
    if contender.only().is_some() {
        let name = contender.name().to_owned();
        let right = special(contender, server)?.to_owned();
        return Ok(Check { contender: name, head_bytes: None, right: vec![right] });
    }
    let head_bytes = Some(hello(server)?);
    let mut right = vec!["hello".to_owned(), "keep-alive".to_owned()];
    pipelined(server)?;
    right.push("pipelining".to_owned());
    for workload in Workload::all().iter().filter(|it| it.applies(contender)) {
        let ask = match workload.kind {
            Kind::Load(Load { ask, .. }) => ask,
            Kind::WebSocket { .. } => {
                websocket::check(server.address())?;
                right.push(workload.id.clone());
                continue;
            }
            _ => continue,
        };
        match ask {
            Ask::Hello => continue,
            Ask::Listing { items } => listing(server, items)?,
            Ask::Echo { bytes } => echo(server, bytes)?,
            Ask::Store { items } => store(server, items)?,
            Ask::File { name } => file(server, name)?,
            Ask::Page => page(server)?,
        }
        right.push(workload.id.clone());
    }
    Ok(Check { contender: contender.name().to_owned(), head_bytes, right })
}

/// Those that are there for one workload only answer nothing else.
fn special(contender: Contender, server: &Server) -> io::Result<&'static str> {
    if contender == Contender::Tungstenite {
        websocket::check(server.address())?;
        return Ok("ws-128");
    }
    Client::connect(server.address())?.hello_of(contender.hello())?;
    Ok("hello")
}

/// Asks twice over one connection; returns the size of the head.
fn hello(server: &Server) -> io::Result<usize> {
    let mut client = Client::connect(server.address())?;
    let first = client.hello()?;
    first.must(first.header("content-type") == TEXT, "the type")?;
    first.must(first.header("date").ends_with("GMT"), "the date")?;
    client.hello()?;
    Ok(first.head_bytes)
}

fn pipelined(server: &Server) -> io::Result<()> {
    let mut client = Client::connect(server.address())?;
    for _ in 0..PIPELINED {
        client.send("GET", "/", b"")?;
    }
    for _ in 0..PIPELINED {
        let answer = client.receive()?;
        answer.must(answer.body == HELLO.as_bytes(), "a pipelined answer")?;
    }
    Ok(())
}

fn listing(server: &Server, items: usize) -> io::Result<()> {
    let answer = Client::connect(server.address())?.ask("GET", &load::listing_path(items), b"")?;
    let expected = Listing::new(load::RESOURCE, load::ID, items);
    let expected = serde_json::to_value(expected).map_err(io::Error::other)?;
    let found: Option<Value> = serde_json::from_slice(&answer.body).ok();
    answer.must(answer.status == 200 && found == Some(expected), "the JSON")?;
    answer.must(answer.header("content-type").starts_with(JSON), "the type")
}

fn echo(server: &Server, bytes: usize) -> io::Result<()> {
    let body = load::body(bytes);
    let answer = Client::connect(server.address())?.ask("POST", "/echo", &body)?;
    answer.must(answer.status == 200 && answer.body == body, "the echo")?;
    answer.must(answer.header("content-type") == BYTES, "the type")
}

fn store(server: &Server, items: usize) -> io::Result<()> {
    let sent = load::listing(items).map_err(|failure| io::Error::other(failure.to_string()))?;
    let mut client = Client::connect(server.address())?;
    client.send_with("POST", "/store", &format!("Content-Type: {JSON}\r\n"), &sent)?;
    let answer = client.receive()?;
    answer.must(answer.status == 200 && answer.body == sent, "the listing that comes back")?;
    answer.must(answer.header("content-type").starts_with(JSON), "the type")
}

fn file(server: &Server, name: &str) -> io::Result<()> {
    let bytes = FILES.iter().find(|(known, _)| *known == name).map_or(0, |(_, bytes)| *bytes);
    let answer = Client::connect(server.address())?.ask("GET", &format!("/files/{name}"), b"")?;
    answer.must(answer.status == 200 && answer.body == load::body(bytes), "the file")?;
    answer.must(!answer.header("last-modified").is_empty(), "the time of its last change")
}

/// Compressed, the answer may come in chunks, so its length is what an uncompressed one has.
fn page(server: &Server) -> io::Result<()> {
    let answer = Client::connect(server.address())?.ask("GET", "/page", b"")?;
    answer.must(answer.status == 200 && answer.body.len() == PAGE_BYTES, "the page")?;
    let mut client = Client::connect(server.address())?;
    client.send_with("GET", "/page", "Accept-Encoding: gzip\r\nConnection: close\r\n", b"")?;
    let all = client.everything()?;
    let head = String::from_utf8_lossy(&all[..all.len().min(1024)]).to_ascii_lowercase();
    if head.contains("content-encoding: gzip") && all.len() < PAGE_BYTES / 2 {
        return Ok(());
    }
    Err(io::Error::other(format!("the page is not compressed: {} bytes, {head}", all.len())))
}
