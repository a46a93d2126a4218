//! Layers that set headers.

use http::header::{HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_FRAME_OPTIONS};

use super::*;
use crate::app::{Next, RequestId, SecurityHeaders, SetRequestId};

#[test]
fn express_ecosystem_request_id() {
    let handler = async |id: RequestId| id.to_string();
    let keeps = App::new().get("/", handler).wrap(SetRequestId::new());
    let makes = App::new().get("/", handler).wrap(SetRequestId::new().ignore_incoming());
    let long = "a".repeat(129);
    let table = [
        ("abc-DEF.1_2~3+4/5=6:7", true),
        (&long[1..], true),
        (&long, false),
        ("", false),
        ("a b", false),
        ("a\"b", false),
        ("ä", false),
    ];
    let mut made = Vec::new();
    for (id, kept) in table {
        for (app, kept) in [(&keeps, kept), (&makes, false)] {
            let response = get(app, &[("X-Request-ID", id)]);
            let sent = header(&response, "x-request-id").to_owned();
            assert_eq!(sent, text(response), "one id in the request and in the answer");
            assert_eq!(sent == id, kept, "{id}");
            if !kept {
                assert_eq!(sent.len(), 32, "{sent}");
                made.push(sent);
            }
        }
    }
    let count = made.len();
    made.sort();
    made.dedup();
    assert_eq!(made.len(), count, "no id twice");
}

#[test]
fn an_id_without_its_layer_is_the_programs_mistake() {
    let response = get(&App::new().get("/", async |id: RequestId| id.to_string()), &[]);
    assert_eq!(response.status(), 500);
}

#[test]
fn express_ecosystem_security_headers() {
    let own = async |request: Request, next: Next| {
        let response = next.run(request).await;
        response.with_header(REFERRER_POLICY, HeaderValue::from_static("origin"))
    };
    let layer = SecurityHeaders::new()
        .with(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"))
        .without(&STRICT_TRANSPORT_SECURITY);
    let app = App::new().get("/", async || "hi").wrap(own).wrap(layer);
    let response = get(&app, &[]);
    let table = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("strict-transport-security", ""),
        ("referrer-policy", "origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-xss-protection", "0"),
    ];
    for (name, value) in table {
        assert_eq!(list(&response, name), value, "{name}");
    }
    assert!(header(&response, "content-security-policy").contains("object-src 'none'"));
    let missing = send(&app, request("GET", "/none", &[], Body::empty()));
    assert_eq!(missing.status(), 404);
    assert_eq!(header(&missing, "x-content-type-options"), "nosniff", "answers without a handler");
}
