//! Requests through apps that are wrapped in layers.

use futures_lite::future::block_on;

use crate::app::App;
use crate::app::tests::{answer as send, header, request, request_from};
use crate::message::{Body, Peer, Request, Response};

mod coding;
mod gates;
mod log;
mod plain;

fn ask(app: &App, method: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    send(app, request(method, "/", headers, body.into()))
}

fn get(app: &App, headers: &[(&str, &str)]) -> Response {
    ask(app, "GET", headers, "")
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
