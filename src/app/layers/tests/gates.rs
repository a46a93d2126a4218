//! Layers that refuse requests.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::{StreamExt as _, stream};
use http::{Method, StatusCode};

use super::*;
use crate::app::{
    BasicAuth, BearerAuth, BodyLimit, Cors, Decompression, RateLimit, RequestTimeout,
    TrustedProxies, same_secret,
};

/// A preflight's question.
const ASK: (&str, &str) = ("Access-Control-Request-Method", "PUT");
/// What it is answered by default.
const ALL: &str = "GET, HEAD, PUT, PATCH, POST, DELETE";
const VARY: &str = "Origin, Access-Control-Request-Headers";

/// The app, method, headers; status, allowed origin, credentials, exposed, `Vary`.
type Line<'a> = (App, &'a str, Vec<(&'a str, &'a str)>, u16, [&'a str; 4]);

fn hello() -> App {
    App::new().get("/", async || "hi").put("/", async || "put").options("/", async || "options")
}

#[test]
fn express_ecosystem_cors() {
    let list = || hello().wrap(Cors::origins(["https://a.example", "null"]).credentials());
    let any = || hello().wrap(Cors::any().expose(["x-a", "x-b"]));
    let if_b = || hello().wrap(Cors::origins_if(|origin| origin == "https://b.example"));
    let (a, b) = (("Origin", "https://a.example"), ("Origin", "https://b.example"));
    let table: Vec<Line> = vec![
        (list(), "GET", vec![a], 200, ["https://a.example", "true", "", "Origin"]),
        (list(), "GET", vec![b], 200, ["", "", "", "Origin"]),
        (list(), "GET", vec![], 200, ["", "", "", "Origin"]),
        (list(), "GET", vec![("Origin", "null")], 200, ["null", "true", "", "Origin"]),
        (list(), "GET", vec![("Origin", "https://a.example.evil")], 200, ["", "", "", "Origin"]),
        (any(), "GET", vec![a], 200, ["*", "", "x-a, x-b", ""]),
        (any(), "GET", vec![], 200, ["*", "", "x-a, x-b", ""]),
        (any(), "OPTIONS", vec![a], 200, ["*", "", "x-a, x-b", ""]),
        (any(), "OPTIONS", vec![ASK], 200, ["*", "", "x-a, x-b", ""]),
        (if_b(), "PUT", vec![b], 200, ["https://b.example", "", "", "Origin"]),
        (if_b(), "PUT", vec![a], 200, ["", "", "", "Origin"]),
    ];
    for (app, method, headers, status, expected) in table {
        let response = ask(&app, method, &headers, "");
        assert_eq!(response.status(), status, "{method} {headers:?}");
        let names = ["allow-origin", "allow-credentials", "expose-headers"];
        let mut got = names.map(|name| super::list(&response, &format!("access-control-{name}")));
        assert_eq!(got.iter_mut().map(|text| &**text).collect::<Vec<_>>(), expected[..3]);
        assert_eq!(super::list(&response, "vary"), expected[3], "{method} {headers:?}");
    }
}

#[test]
fn express_ecosystem_cors_preflight() {
    let open = hello().wrap(Cors::origins(["https://a.example"]).max_age(Duration::from_secs(9)));
    let fixed = hello().wrap(Cors::any().methods([Method::PUT]).headers(["X-Key", "x-other"]));
    let wanted = ("Access-Control-Request-Headers", "authorization,x-any");
    let (a, b) = (("Origin", "https://a.example"), ("Origin", "https://b.example"));
    let table = [
        (&open, vec![a, ASK], 204, ["https://a.example", ALL, "", "9", VARY]),
        (&open, vec![a, ASK, wanted], 204, ["https://a.example", ALL, wanted.1, "9", VARY]),
        (&open, vec![b, ASK, wanted], 403, ["", "", "", "", VARY]),
        (&fixed, vec![b, ASK, wanted], 204, ["*", "PUT", "x-key, x-other", "", ""]),
    ];
    for (app, headers, status, expected) in table {
        let response = ask(app, "OPTIONS", &headers, "");
        assert_eq!(response.status(), status, "{headers:?}");
        let names = ["allow-origin", "allow-methods", "allow-headers", "max-age"];
        for (name, value) in names.iter().zip(expected) {
            assert_eq!(list(&response, &format!("access-control-{name}")), value, "{name}");
        }
        assert_eq!(list(&response, "vary"), expected[4], "{headers:?}");
    }
}

#[test]
#[should_panic(expected = "credentials need named origins")]
fn cors_for_any_origin_takes_no_credentials() {
    let _ = Cors::any().credentials();
}

#[test]
#[should_panic(expected = "no browser sends the origin `https://a.example/`")]
fn cors_says_which_origin_can_never_match() {
    let _ = Cors::origins(["https://a.example/"]);
}

#[test]
fn basic_auth_lets_in_who_knows_the_password() {
    let app = hello().wrap(BasicAuth::new("a \"b\" \\", |name, password| async move {
        same_secret(name, "ann") & same_secret(password, "a:b")
    }));
    let table: [(&[&str], u16); 9] = [
        (&["Basic YW5uOmE6Yg=="], 200),
        (&["bAsIc   YW5uOmE6Yg=="], 200),
        (&["Basic YW5uOmE6YQ=="], 401),
        (&["Basic YW5u"], 401),
        (&["Basic !"], 401),
        (&["Basic "], 401),
        (&["Bearer YW5uOmE6Yg=="], 401),
        (&[], 401),
        (&["Basic YW5uOmE6Yg==", "Basic YW5uOmE6Yg=="], 401),
    ];
    for (values, status) in table {
        let headers: Vec<_> = values.iter().map(|value| ("Authorization", *value)).collect();
        let response = get(&app, &headers);
        assert_eq!(response.status(), status, "{values:?}");
        let expected = r#"Basic realm="a \"b\" \\", charset="UTF-8""#;
        let expected = if status == 401 { expected } else { "" };
        assert_eq!(header(&response, "www-authenticate"), expected);
    }
}

#[test]
fn bearer_auth_lets_in_who_has_the_token() {
    let app =
        hello().wrap(BearerAuth::new("api", |token| async move { same_secret(token, "6f1e0d") }));
    let table = [
        ("Bearer 6f1e0d", 200, ""),
        ("bearer 6f1e0d", 200, ""),
        ("Bearer 6f1e0", 401, r#"Bearer realm="api", error="invalid_token""#),
        ("Bearer", 401, r#"Bearer realm="api""#),
        ("Basic 6f1e0d", 401, r#"Bearer realm="api""#),
    ];
    for (value, status, challenge) in table {
        let response = get(&app, &[("Authorization", value)]);
        assert_eq!(response.status(), status, "{value}");
        assert_eq!(header(&response, "www-authenticate"), challenge, "{value}");
    }
}

#[test]
#[should_panic(expected = "has control characters")]
fn a_realm_cannot_break_the_header() {
    let _ = BearerAuth::new("a\r\nb", |_| async { true });
}

#[test]
fn express_ecosystem_body_limit() {
    let app = App::new()
        .post("/", async |body: String| body)
        .put("/", async || "unread")
        .wrap(BodyLimit::new(5));
    let pieces = |pieces: &'static [&str]| {
        Body::stream(stream::iter(pieces).map(|piece| Ok(Bytes::from_static(piece.as_bytes()))))
    };
    let table = [
        ("POST", Body::from("12345"), 200),
        ("POST", Body::from("123456"), 413),
        ("PUT", Body::from("123456"), 413),
        ("POST", Body::empty(), 200),
        ("POST", pieces(&["123", "45"]), 200),
        ("POST", pieces(&["123", "456"]), 413),
        ("PUT", pieces(&["123", "456"]), 200),
    ];
    for (number, (method, body, status)) in table.into_iter().enumerate() {
        assert_eq!(ask(&app, method, &[], body).status(), status, "line {number}");
    }
}

#[test]
fn express_ecosystem_rate_limit() {
    let hour = Duration::from_secs(3600);
    let app = hello().wrap(RateLimit::new(2, hour));
    let by_header = hello().wrap(RateLimit::new(2, hour).burst(1).client(|request| {
        request.headers().get("x-client").and_then(|text| text.parse::<IpAddr>().ok())
    }));
    let from = |peer: &str| Peer::Tcp(peer.parse().unwrap());
    let (v4, other) = (from("10.0.0.1:1"), from("10.0.0.2:1"));
    let (v6, near) = (from("[2001:db8::1]:1"), from("[2001:db8::2]:1"));
    let table = [
        (&app, v4, "", 200),
        (&app, v4, "", 200),
        (&app, v4, "", 429),
        (&app, other, "", 200),
        (&app, v6, "", 200),
        (&app, near, "", 200),
        (&app, v6, "", 429),
        (&app, Peer::Unix { uid: 0 }, "", 200),
        (&by_header, v4, "10.1.1.1", 200),
        (&by_header, v4, "10.1.1.1", 429),
        (&by_header, v4, "10.1.1.2", 200),
        (&by_header, v4, "unknown", 200),
        (&by_header, v4, "unknown", 200),
    ];
    for (number, (app, peer, client, status)) in table.into_iter().enumerate() {
        let headers = [("X-Client", client)];
        let request = request_from(peer, "GET", "/", &headers, Body::empty());
        let response = send(app, request);
        assert_eq!(response.status(), status, "line {number}");
        let wait = header(&response, "retry-after");
        let waits = wait.parse().is_ok_and(|seconds: u64| (1..=1800).contains(&seconds));
        assert_eq!(waits, status == 429, "line {number}: {wait}");
    }
}

#[test]
fn a_timeout_leaves_quick_handlers_alone() {
    let app = hello().wrap(RequestTimeout::new(Duration::from_secs(9)).status(StatusCode::OK));
    assert_eq!(text(get(&app, &[])), "hi");
}

#[test]
fn a_client_behind_a_trusted_proxy_is_the_one_that_counts() {
    let proxies = TrustedProxies::networks("10.0.0.0/8").unwrap();
    let limit = RateLimit::new(1, Duration::from_secs(3600));
    let app = hello().trust_proxy(proxies).wrap(limit);
    let table = [
        ("10.0.0.1:1", "192.0.2.1", 200),
        ("10.0.0.1:1", "192.0.2.2", 200),
        ("10.0.0.2:1", "192.0.2.1", 429),
        // Nobody believes this one.
        ("192.0.2.2:1", "192.0.2.9", 429),
    ];
    for (peer, client, status) in table {
        let (peer, headers) = (Peer::Tcp(peer.parse().unwrap()), [("X-Forwarded-For", client)]);
        let response = send(&app, request_from(peer, "GET", "/", &headers, Body::empty()));
        assert_eq!(response.status(), status, "{client} by {peer:?}");
    }
}

#[test]
fn a_refusal_is_json_for_whoever_prefers_it() {
    let nobody = async |_: String| false;
    let table = [
        (hello().wrap(BearerAuth::new("realm", nobody)), "Unauthorized", 401),
        (
            hello().wrap(BasicAuth::new("realm", async |_: String, _: String| false)),
            "Unauthorized",
            401,
        ),
        (hello().wrap(BodyLimit::new(1)), "the body is longer than 1 bytes", 413),
        (
            hello().wrap(Decompression::new()),
            "the body's Content-Encoding is not one of gzip, deflate and br",
            415,
        ),
    ];
    let headers = [("Accept", "application/json"), ("Content-Encoding", "lzma")];
    for (app, error, status) in table {
        let response = ask(&app, "PUT", &headers, "long");
        assert_eq!(response.status(), status);
        assert!(header(&response, "vary").contains("Accept"), "{response:?}");
        let expected = serde_json::json!({ "status": status, "error": error });
        assert_eq!(text(response).parse::<serde_json::Value>().unwrap(), expected);
    }
}
