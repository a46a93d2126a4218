//! Answers, byte for byte.

use bytes::Bytes;
use futures_lite::stream;
use http::header::{self, HeaderName, HeaderValue};
use http::{StatusCode, Version};

use crate::h1::answer::AskedMethod;
use crate::h1::encode::{CHUNK_END, encode_chunk_head};
use crate::h1::{
    After, AnswerLength, Asked, Framing, LAST_CHUNK, Refusal, encode_chunk, encode_head,
    encode_refusal,
};
use crate::message::{Body, Response};

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

const GET: Asked = Asked {
    method: AskedMethod::Other,
    version: Version::HTTP_11,
    keep_alive: true,
    upgrade: false,
};
const HEAD: Asked = Asked { method: AskedMethod::Head, ..GET };
const CONNECT: Asked = Asked { method: AskedMethod::Connect, ..GET };
const UPGRADE: Asked = Asked { upgrade: true, ..GET };

fn old(asked: Asked) -> Asked {
    Asked { version: Version::HTTP_10, ..asked }
}

fn closing(asked: Asked) -> Asked {
    Asked { keep_alive: false, ..asked }
}

fn endless() -> Response {
    Response::new(Body::stream(stream::empty::<std::io::Result<Bytes>>()))
}

fn status(status: u16) -> Response {
    Response::empty(StatusCode::from_u16(status).unwrap())
}

fn switching(response: Response) -> Response {
    response.upgrade(|_, _| async {})
}

fn header(name: HeaderName, value: &'static str) -> impl Fn(Response) -> Response {
    move |response| response.with_header(name.clone(), HeaderValue::from_static(value))
}

fn encode(asked: Asked, response: &Response) -> String {
    let mut out = b"before".to_vec();
    encode_head(&mut out, response, &Framing::of(asked, response), DATE);
    let text = String::from_utf8(out).unwrap();
    text.strip_prefix("before").unwrap().to_owned()
}

/// The head, less its `Date` and the line ends.
#[track_caller]
fn check(asked: Asked, response: &Response, expected: &[&str]) {
    let text = encode(asked, response);
    let head = text.strip_suffix("\r\n\r\n").unwrap();
    let lines: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with("Date:")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn the_usual_answer_byte_for_byte() {
    let response = Response::text(StatusCode::OK, "Hello");
    assert_eq!(
        encode(GET, &response),
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n\r\n"
    );
}

#[test]
fn the_framing_table() {
    use After::{Close, HandOver, Persist};
    use AnswerLength::{Absent, Chunked, Known, UntilClose};
    let five = || Response::new("12345");
    let tunnel = || switching(status(200));
    let table = [
        (GET, five(), Known(5), true, Persist),
        (closing(GET), five(), Known(5), true, Close),
        (old(GET), five(), Known(5), true, Persist),
        (closing(old(GET)), five(), Known(5), true, Close),
        (GET, status(200), Known(0), true, Persist),
        (GET, status(404), Known(0), true, Persist),
        (GET, endless(), Chunked, true, Persist),
        (closing(GET), endless(), Chunked, true, Close),
        (old(GET), endless(), UntilClose, true, Close),
        (HEAD, five(), Known(5), false, Persist),
        (HEAD, endless(), Chunked, false, Persist),
        (old(HEAD), endless(), Absent, false, Persist),
        (GET, five().with_status(StatusCode::NO_CONTENT), Absent, false, Persist),
        (GET, five().with_status(StatusCode::NOT_MODIFIED), Absent, false, Persist),
        (GET, endless().with_status(StatusCode::NOT_MODIFIED), Absent, false, Persist),
        (GET, five().with_status(StatusCode::RESET_CONTENT), Known(0), false, Persist),
        (old(GET), endless().with_status(StatusCode::NO_CONTENT), Absent, false, Persist),
        // A 1xx answer is not final: nothing may follow it on this connection.
        (GET, status(100), Absent, false, Close),
        (GET, status(101), Absent, false, Close),
        (GET, status(103), Absent, false, Close),
        (UPGRADE, switching(status(200)), Absent, false, HandOver),
        (UPGRADE, five(), Known(5), true, Persist),
        // Nobody asked for it.
        (GET, switching(status(200)), Absent, false, Close),
        (CONNECT, tunnel(), Absent, false, HandOver),
        (CONNECT, switching(status(201)), Absent, false, HandOver),
        (CONNECT, status(200), Absent, false, Close),
        (CONNECT, five().with_status(StatusCode::FORBIDDEN), Known(5), true, Close),
    ];
    for (asked, response, length, sends_body, after) in table {
        let framing = Framing::of(asked, &response);
        let row = (framing.length, framing.sends_body, framing.after);
        assert_eq!(row, (length, sends_body, after), "{asked:?} {response:?}");
    }
}

#[test]
fn the_connection_line_is_written_where_the_default_does_not_hold() {
    let ok = "HTTP/1.1 200 OK";
    let length = "Content-Length: 0";
    check(GET, &status(200), &[ok, length]);
    check(closing(GET), &status(200), &[ok, length, "Connection: close"]);
    check(old(GET), &status(200), &[ok, length, "Connection: keep-alive"]);
    check(closing(old(GET)), &status(200), &[ok, length, "Connection: close"]);
    check(old(GET), &endless(), &[ok, "Connection: close"]);
    check(GET, &endless(), &[ok, "Transfer-Encoding: chunked"]);
}

#[test]
fn an_answer_without_a_body_says_so_as_its_status_demands() {
    let text = |status| Response::new("text").with_status(status);
    check(GET, &text(StatusCode::NO_CONTENT), &["HTTP/1.1 204 No Content"]);
    check(GET, &text(StatusCode::NOT_MODIFIED), &["HTTP/1.1 304 Not Modified"]);
    let reset = ["HTTP/1.1 205 Reset Content", "Content-Length: 0"];
    check(GET, &text(StatusCode::RESET_CONTENT), &reset);
    check(HEAD, &text(StatusCode::OK), &["HTTP/1.1 200 OK", "Content-Length: 4"]);
}

#[test]
fn the_server_owns_the_framing_headers() {
    let length = header(header::CONTENT_LENGTH, "99");
    let coding = header(header::TRANSFER_ENCODING, "chunked");
    let close = header(header::CONNECTION, "x, Close");
    let keep = header(header::CONNECTION, "keep-alive");
    let ok = "HTTP/1.1 200 OK";
    let five = "Content-Length: 5";
    check(GET, &length(Response::new("12345")), &[ok, five]);
    check(GET, &coding(Response::new("12345")), &[ok, five]);
    check(GET, &length(coding(endless())), &[ok, "Transfer-Encoding: chunked"]);
    check(old(GET), &length(coding(endless())), &[ok, "Connection: close"]);
    check(GET, &length(coding(status(204))), &["HTTP/1.1 204 No Content"]);
    check(GET, &close(Response::new("12345")), &[ok, five, "Connection: close"]);
    check(closing(GET), &keep(Response::new("12345")), &[ok, five, "Connection: close"]);
    // Where no body is sent, the length is the handler's to know.
    check(HEAD, &length(status(200)), &[ok, "Content-Length: 99"]);
    check(HEAD, &length(Response::new("12345")), &[ok, five]);
    check(GET, &length(status(304)), &["HTTP/1.1 304 Not Modified", "Content-Length: 99"]);
    let nonsense = header(header::CONTENT_LENGTH, "9x");
    check(HEAD, &nonsense(status(200)), &[ok, "Content-Length: 0"]);
}

#[test]
fn an_upgrade_is_announced() {
    let upgrade = header(header::UPGRADE, "echo");
    let switch = "HTTP/1.1 101 Switching Protocols";
    let response = upgrade(switching(status(200)));
    check(UPGRADE, &response, &[switch, "upgrade: echo", "Connection: upgrade"]);
    check(CONNECT, &switching(status(200)), &["HTTP/1.1 200 OK"]);
    assert!(UPGRADE.allows_handover() && CONNECT.allows_handover() && !GET.allows_handover());
    let required = "HTTP/1.1 426 Upgrade Required";
    let lines = [required, "upgrade: echo", "Content-Length: 0", "Connection: upgrade"];
    check(GET, &upgrade(status(426)), &lines);
    let lines = [required, "upgrade: echo", "Content-Length: 0", "Connection: close, upgrade"];
    check(closing(GET), &upgrade(status(426)), &lines);
}

#[test]
fn a_handlers_headers_are_kept_in_order_and_win_over_defaults() {
    let mut response = Response::text(StatusCode::OK, "x");
    let headers = response.headers_mut();
    headers.append("set-cookie", HeaderValue::from_static("a=1"));
    headers.append("set-cookie", HeaderValue::from_static("b=2"));
    headers.insert("content-type", HeaderValue::from_static("text/html"));
    headers.insert("date", HeaderValue::from_static("yesterday"));
    let text = encode(GET, &response);
    assert!(text.contains("set-cookie: a=1\r\nset-cookie: b=2\r\n"), "{text}");
    assert_eq!(text.to_lowercase().matches("content-type:").count(), 1, "{text}");
    assert_eq!(text.to_lowercase().matches("date:").count(), 1, "{text}");
}

#[test]
fn a_status_without_a_reason_keeps_its_space() {
    check(GET, &status(299), &["HTTP/1.1 299 ", "Content-Length: 0"]);
}

#[test]
fn names_and_values_cannot_inject_a_line() {
    let hostile = ["a\r\nInjected: 1", "a\nInjected: 1", "a\rInjected: 1", "a\0", "\r\n\r\n<html>"];
    for text in hostile {
        assert!(HeaderName::from_bytes(text.as_bytes()).is_err(), "{text:?}");
        assert!(HeaderValue::from_bytes(text.as_bytes()).is_err(), "{text:?}");
    }
    // Whatever gets into a header takes exactly one line.
    for byte in 0..=255 {
        let Ok(value) = HeaderValue::from_bytes(&[b'a', byte, b'b']) else { continue };
        let response = status(200).with_header(HeaderName::from_static("x"), value);
        let mut out = Vec::new();
        encode_head(&mut out, &response, &Framing::of(GET, &response), DATE);
        let ends = |byte: u8| memchr::memchr_iter(byte, &out).count();
        assert_eq!((ends(b'\r'), ends(b'\n')), (5, 5), "{byte}");
    }
}

#[test]
fn a_refusal_is_a_whole_answer() {
    let mut out = Vec::new();
    encode_refusal(&mut out, Refusal::OVERLOADED, DATE);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 21\r\nConnection: close\r\n\r\n\
         too many connections\n"
    );
}

#[test]
fn chunks_are_written_in_hexadecimal_and_never_empty() {
    for length in [1, 9, 10, 15, 16, 255, 4096, 65_535, usize::MAX] {
        let mut out = Vec::new();
        encode_chunk_head(&mut out, length);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{length:x}\r\n"));
    }
    let mut out = Vec::new();
    encode_chunk(&mut out, b"hello");
    encode_chunk(&mut out, b"");
    out.extend_from_slice(LAST_CHUNK);
    assert_eq!(out, b"5\r\nhello\r\n0\r\n\r\n");
    assert!(LAST_CHUNK.ends_with(CHUNK_END));
}
