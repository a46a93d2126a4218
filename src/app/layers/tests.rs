//! Requests through apps that are wrapped in layers.

use std::rc::Rc;

use futures_lite::future::block_on;
use http::Method;

use crate::app::{Answer, App};
use crate::message::{Body, Field, Head, Peer, Request, Response, Span};
use crate::stats::Pulse;

mod coding;
mod gates;
mod log;
mod plain;

/// A request as the decoder would make it.
fn request(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Body,
    peer: Peer,
) -> Request {
    let mut head = Head { method: method.parse::<Method>().unwrap(), ..Head::default() };
    let append = |bytes: &mut Vec<u8>, text: &str| {
        let start = u32::try_from(bytes.len()).unwrap();
        bytes.extend_from_slice(text.as_bytes());
        Span { start, end: u32::try_from(bytes.len()).unwrap() }
    };
    head.target = append(&mut head.bytes, target);
    head.path = head.target;
    for (name, value) in headers {
        let name = append(&mut head.bytes, name);
        let value = append(&mut head.bytes, value);
        head.fields.push(Field { name, value });
    }
    Request::new(Rc::new(head), peer, body)
}

fn send(app: &App, request: Request) -> Response {
    match app.dispatch(request, &Pulse::new()).answer {
        Answer::Ready(response) => response,
        Answer::Pending(future) => block_on(future),
    }
}

fn ask(app: &App, method: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    send(app, request(method, "/", headers, body.into(), Peer::Unix))
}

fn get(app: &App, headers: &[(&str, &str)]) -> Response {
    ask(app, "GET", headers, "")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// Every value of a header, as one list.
fn list(response: &Response, name: &str) -> String {
    let values = response.headers().get_all(name).iter();
    values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(", ")
}

fn bytes(mut response: Response) -> Vec<u8> {
    block_on(std::mem::take(response.body_mut()).collect()).unwrap().to_vec()
}

fn text(response: Response) -> String {
    String::from_utf8(bytes(response)).unwrap()
}
