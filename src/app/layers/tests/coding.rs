//! Layers that compress and decompress.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::task::Poll;

use bytes::Bytes;
use futures_lite::stream;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};

use super::*;
use crate::app::{Compression, Decompression, ETag, Json};

fn long() -> String {
    let numbers = (0..50_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_string());
    numbers.collect::<Vec<_>>().join(" ")
}

fn decode(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "zstd" => plain = zstd::stream::decode_all(body).unwrap(),
        "br" => drop(brotli::Decompressor::new(body, 4096).read_to_end(&mut plain).unwrap()),
        "gzip" => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap()),
        _ => plain = body.to_vec(),
    }
    plain
}

#[test]
fn express_ecosystem_compression() {
    let app = App::new().get("/", async || long()).wrap(Compression::new());
    let table = [
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("GZIP;q=0.5", "gzip"),
        ("gzip;q=1, br;q=0.9, zstd;q=0", "gzip"),
        ("*", "zstd"),
        ("zstd;q=0, *", "br"),
        ("gzip;q=0, *;q=0", ""),
        ("identity, gzip;q=0.5", ""),
        ("identity;q=0.5, gzip;q=0.6", "gzip"),
        ("identity;q=0, *;q=0", ""),
        ("gzip;q=2", ""),
        ("gzip;q=x", ""),
        ("gzip;q=0.001", "gzip"),
        ("deflate", ""),
        ("", ""),
    ];
    for (accepted, coding) in table {
        let response = get(&app, &[("Accept-Encoding", accepted)]);
        assert_eq!(list(&response, "content-encoding"), coding, "{accepted}");
        assert_eq!(list(&response, "vary"), "Accept-Encoding", "{accepted}");
        let body = bytes(response);
        assert!(coding.is_empty() || body.len() < long().len() * 2 / 3, "{coding}");
        assert!(decode(coding, &body) == long().as_bytes(), "{accepted}");
    }
}

#[test]
fn compresses_only_what_gains_by_it() {
    // Each line: a header, the media type, the status, the length; whether it is compressed.
    type Line = (&'static str, &'static str, &'static str, u16, usize, bool);
    let table: [Line; 20] = [
        ("x-a", "b", "text/html; charset=utf-8", 200, 2000, true),
        ("x-a", "b", "application/json", 404, 2000, true),
        ("x-a", "b", "Application/Problem+JSON", 500, 2000, true),
        ("x-a", "b", "image/svg+xml", 200, 2000, true),
        ("x-a", "b", "text/event-stream", 200, 2000, true),
        ("x-a", "b", "text/plain", 200, 1024, true),
        ("x-a", "b", "text/plain", 200, 1023, false),
        ("x-a", "b", "text/plain", 204, 0, false),
        ("x-a", "b", "text/plain", 304, 0, false),
        ("x-a", "b", "text/plain", 206, 2000, false),
        ("content-range", "bytes 0-1/2", "text/plain", 200, 2000, false),
        ("content-encoding", "br", "text/plain", 200, 2000, false),
        ("cache-control", "public, No-Transform", "text/plain", 200, 2000, false),
        ("cache-control", "public", "text/plain", 200, 2000, true),
        ("content-digest", "sha-256=:x:", "text/plain", 200, 2000, false),
        ("content-type", "image/png", "text/plain", 200, 2000, false),
        ("x-a", "b", "image/jpeg", 200, 2000, false),
        ("x-a", "b", "video/mp4", 200, 2000, false),
        ("x-a", "b", "application/zip", 200, 2000, false),
        ("x-a", "b", "nonsense", 200, 2000, false),
    ];
    for (name, value, media_type, status, length, compressed) in table {
        let handler = async move || {
            Response::new("x".repeat(length))
                .with_status(StatusCode::from_u16(status).unwrap())
                .with_content_type(HeaderValue::from_static(media_type))
                .with_header(HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let app = App::new().get("/", handler).wrap(Compression::new());
        let response = get(&app, &[("Accept-Encoding", "gzip")]);
        let line = format!("{name}: {value}, {media_type}, {status}, {length} bytes");
        assert_eq!(response.body().size().is_none(), compressed, "{line}");
        // A 304 says what the 200 would have said.
        let varies = compressed || status == 304;
        assert_eq!(header(&response, "vary") == "Accept-Encoding", varies, "{line}");
    }
}

#[test]
fn a_compressed_answer_is_another_representation() {
    let fields = [
        ("etag", "\"v1\""),
        ("content-length", "2000"),
        ("accept-ranges", "bytes"),
        ("vary", "Origin, accept-encoding"),
    ];
    let handler = async move || {
        let mut response = Response::text(StatusCode::OK, "x".repeat(2000));
        for (name, value) in fields {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    };
    let app = App::new().get("/", handler).wrap(Compression::new());
    let table = [("gzip", ["W/\"v1\"", "", ""]), ("", ["\"v1\"", "2000", "bytes"])];
    for (accepted, expected) in table {
        let response = get(&app, &[("Accept-Encoding", accepted)]);
        let names = ["etag", "content-length", "accept-ranges"];
        assert_eq!(names.map(|name| header(&response, name)), expected, "{accepted}");
        assert_eq!(list(&response, "vary"), "Origin, accept-encoding", "{accepted}");
    }
}

/// A stream that has nothing to give between its pieces.
fn halting(pieces: &'static [&'static str]) -> Body {
    let (next, halted) = (Cell::new(0), Cell::new(true));
    Body::stream(stream::poll_fn(move |cx| {
        if !halted.replace(!halted.get()) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = pieces.get(next.replace(next.get() + 1));
        Poll::Ready(piece.map(|piece| Ok(Bytes::from_static(piece.as_bytes()))))
    }))
}

#[test]
fn a_stream_is_flushed_when_it_halts() {
    for coding in ["zstd", "br", "gzip"] {
        let handler = async || {
            Response::new(halting(&["one\n", "two\n"]))
                .with_content_type(HeaderValue::from_static("text/event-stream"))
        };
        let app = App::new().get("/", handler).wrap(Compression::new());
        let mut response = get(&app, &[("Accept-Encoding", coding)]);
        let mut received = Vec::new();
        let mut seen = Vec::new();
        while let Some(chunk) = block_on(response.body_mut().chunk()) {
            received.extend_from_slice(&chunk.unwrap());
            seen.push(decoded_so_far(coding, &received));
        }
        assert!(seen.contains(&"one\n".to_owned()), "{coding}: {seen:?}");
        assert_eq!(decode(coding, &received), b"one\ntwo\n", "{coding}");
    }
}

fn decoded_so_far(coding: &str, received: &[u8]) -> String {
    let mut plain = vec![0; 100];
    let mut length = 0;
    let mut reader: Box<dyn std::io::Read> = match coding {
        "zstd" => Box::new(zstd::stream::read::Decoder::new(received).unwrap()),
        "br" => Box::new(brotli::Decompressor::new(received, 4096)),
        _ => Box::new(flate2::read::GzDecoder::new(received)),
    };
    while let Ok(count @ 1..) = reader.read(&mut plain[length..]) {
        length += count;
    }
    plain.truncate(length);
    String::from_utf8(plain).unwrap()
}

#[test]
fn a_large_body_leaves_others_their_turns() {
    // Many times what can be compressed within one turn.
    let app = App::new().get("/", async || "x".repeat(16 << 20)).wrap(Compression::new());
    let mut response = get(&app, &[("Accept-Encoding", "gzip")]);
    let waker =
        futures_lite::future::block_on(std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())));
    let mut turns = 0;
    let mut cx = std::task::Context::from_waker(&waker);
    loop {
        match response.body_mut().poll_chunk(&mut cx) {
            Poll::Pending => turns += 1,
            Poll::Ready(None) => break,
            Poll::Ready(Some(chunk)) => drop(chunk.unwrap()),
        }
    }
    assert!(turns > 1, "others had {turns} turns");
}

#[test]
fn a_stream_that_fails_fails_compressed_too() {
    let handler = async || {
        let pieces = [Ok(Bytes::from_static(b"part")), Err(std::io::ErrorKind::Other.into())];
        Response::text(StatusCode::OK, Body::stream(stream::iter(pieces)))
    };
    let app = App::new().get("/", handler).wrap(Compression::new());
    let mut response = get(&app, &[("Accept-Encoding", "gzip")]);
    let body = std::mem::take(response.body_mut());
    assert!(block_on(body.collect()).is_err());
}

fn encode(coding: &str, plain: &[u8]) -> Vec<u8> {
    let fast = flate2::Compression::fast();
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), fast);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), fast);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 4, 22);
            encoder.write_all(plain).unwrap();
            encoder.into_inner()
        }
        _ => plain.to_vec(),
    }
}

fn mirror(size_max: usize) -> App {
    let app = App::new().post("/", async |body: Bytes| body);
    let inner = app.wrap(Decompression::new().size_max(size_max));
    inner.wrap(Decompression::new().size_max(size_max))
}

/// In pieces of one byte, and in one.
fn both_ways(body: Vec<u8>) -> [Body; 2] {
    let single = body.clone().into_iter().map(|byte| Ok(Bytes::copy_from_slice(&[byte])));
    [Body::stream(stream::iter(single.collect::<Vec<_>>())), Body::from(body)]
}

#[test]
fn express_json_inflate() {
    let app = mirror(1 << 20);
    let plain = &long().into_bytes()[..100_000];
    for coding in ["gzip", "deflate", "br", "identity"] {
        for body in both_ways(encode(coding, plain)) {
            let response = ask(&app, "POST", &[("Content-Encoding", coding)], body);
            assert_eq!(response.status(), 200, "{coding}");
            assert!(bytes(response) == plain, "{coding}");
        }
    }
    let table = [("compress", 415), ("foo", 415), ("gzip, br", 415), ("X-GZIP", 200), ("", 200)];
    for (coding, status) in table {
        let body = if coding == "X-GZIP" { encode("gzip", b"hi") } else { b"hi".to_vec() };
        let response = ask(&app, "POST", &[("Content-Encoding", coding)], body);
        assert_eq!(response.status(), status, "{coding}");
        let offered = if status == 415 { "gzip, deflate, br" } else { "" };
        assert_eq!(header(&response, "accept-encoding"), offered, "{coding}");
    }
    assert_eq!(ask(&app, "POST", &[("Content-Encoding", "gzip")], "").status(), 200, "no body");
}

#[test]
fn what_has_been_decoded_is_read_as_any_other_body() {
    let app =
        || App::new().post("/", async |Json(numbers): Json<Vec<u32>>| numbers.len().to_string());
    let plain = app().wrap(Decompression::new());
    let headers = [("Content-Encoding", "gzip"), ("Content-Type", "application/json")];
    let response = ask(&plain, "POST", &headers, encode("gzip", b"[1,2,3]"));
    assert_eq!((response.status().as_u16(), bytes(response)), (200, b"3".into()));
    let response = ask(&app(), "POST", &headers, encode("gzip", b"[1,2,3]"));
    assert_eq!(response.status(), 415, "nobody has decoded it");
}

#[test]
fn a_bomb_goes_off_outside() {
    for coding in ["gzip", "deflate", "br"] {
        let bomb = encode(coding, &vec![0; 32 << 20]);
        for body in both_ways(bomb) {
            let response = ask(&mirror(1 << 16), "POST", &[("Content-Encoding", coding)], body);
            assert_eq!(response.status(), 413, "{coding}");
        }
        let exact = encode(coding, &vec![0; 1 << 16]);
        let response = ask(&mirror(1 << 16), "POST", &[("Content-Encoding", coding)], exact);
        assert_eq!(response.status(), 200, "{coding}: what just fits");
    }
}

#[test]
fn a_damaged_body_is_the_clients_mistake() {
    let plain = &long().into_bytes()[..10_000];
    for coding in ["gzip", "deflate", "br"] {
        let whole = encode(coding, plain);
        let cut = whole[..whole.len() - 5].to_vec();
        let behind = [&whole[..], b"behind"].concat();
        let other = b"this was never compressed, as anybody can see".to_vec();
        for damaged in [cut, behind, other] {
            for body in both_ways(damaged) {
                let response = ask(&mirror(1 << 20), "POST", &[("Content-Encoding", coding)], body);
                assert_eq!(response.status(), 400, "{coding}: {:?}", text(response));
            }
        }
    }
}

#[test]
fn a_304_has_the_tag_that_the_client_has() {
    let handler = async |request: Request| {
        let (tag, fits) = (ETag::strong("7"), request.header("if-none-match").is_some());
        let status = if fits { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        let body = if fits { String::new() } else { "x".repeat(2000) };
        Response::new(body)
            .with_status(status)
            .with_content_type(HeaderValue::from_static("text/plain"))
            .with_header(http::header::ETAG, tag.to_value())
    };
    let app = App::new().get("/", handler).wrap(Compression::new());
    let first = get(&app, &[("Accept-Encoding", "gzip")]);
    let tag = header(&first, "etag").to_owned();
    assert_eq!(tag, r#"W/"7""#);
    let again = get(&app, &[("Accept-Encoding", "gzip"), ("If-None-Match", &tag)]);
    assert_eq!((again.status(), header(&again, "etag")), (StatusCode::NOT_MODIFIED, &*tag));
    let plain = get(&app, &[("If-None-Match", r#""7""#)]);
    assert_eq!(header(&plain, "etag"), r#""7""#);
}
