//! What Express's `res` and `req` offer, row by row, as it is here.

use http::header::{CONTENT_TYPE, LINK, VARY};

use super::*;
use crate::app::{Accept, Html, IntoResponse, Redirect};

fn sent(answer: impl IntoResponse) -> (u16, String, String) {
    let response = answer.into_response();
    let content_type = response.default_content_type().map(|value| value.to_str().unwrap());
    (response.status().as_u16(), content_type.unwrap_or_default().to_owned(), text(&response))
}

fn expected(status: u16, content_type: &str, body: &str) -> (u16, String, String) {
    (status, content_type.to_owned(), body.to_owned())
}

const PLAIN: &str = "text/plain; charset=utf-8";

#[test]
fn express_res_status() {
    for status in [200, 204, 404, 599, 999] {
        let code = StatusCode::from_u16(status).unwrap();
        assert_eq!(Response::new("x").with_status(code).status(), status);
        assert_eq!((code, "x").into_response().status(), status);
    }
    // What is no status cannot be said, so there is nothing to throw.
    for status in [0, 99, 1000] {
        assert!(StatusCode::from_u16(status).is_err());
    }
}

#[test]
fn express_res_send() {
    let table = [
        (sent("text"), expected(200, PLAIN, "text")),
        (sent(String::from("text")), expected(200, PLAIN, "text")),
        (sent(Html("<p>")), expected(200, "text/html; charset=utf-8", "<p>")),
        (sent(Bytes::from_static(b"bytes")), expected(200, "application/octet-stream", "bytes")),
        (sent(()), expected(200, "", "")),
        (sent((StatusCode::CREATED, "made")), expected(201, PLAIN, "made")),
    ];
    for (sent, expected) in table {
        assert_eq!(sent, expected);
    }
}

#[test]
fn express_res_json() {
    let json = "application/json";
    let table = [
        (sent(Json(vec![1, 2])), expected(200, json, "[1,2]")),
        (sent(Json("text")), expected(200, json, "\"text\"")),
        (sent(Json(None::<u8>)), expected(200, json, "null")),
        (sent((StatusCode::CREATED, Json(true))), expected(201, json, "true")),
    ];
    for (sent, expected) in table {
        assert_eq!(sent, expected);
    }
}

#[test]
fn express_res_send_status() {
    assert_eq!(sent(StatusCode::ACCEPTED), expected(202, "", ""));
    assert_eq!(sent(StatusCode::NOT_FOUND), expected(404, "", ""));
}

#[test]
fn express_res_set_append_type_vary_location() {
    let value = HeaderValue::from_static;
    let response = (StatusCode::CREATED, [("x-a", "1"), ("x-b", "2")], "a,b")
        .into_response()
        .with_header("x-a".parse().unwrap(), value("3"))
        .with_appended_header(LINK, value("</2>"))
        .with_appended_header(LINK, value("</9>"))
        .with_content_type(value("text/csv"))
        .with_vary(VARY)
        .with_vary(VARY)
        .with_location("/é?a=b c");
    for (name, value) in
        [("x-a", "3"), ("x-b", "2"), ("vary", "vary"), ("location", "/%C3%A9?a=b%20c")]
    {
        assert_eq!(header(&response, name), value);
    }
    let links: Vec<_> = response.headers().get_all(LINK).iter().collect();
    assert_eq!(links, ["</2>", "</9>"]);
    assert_eq!(sent(response), expected(201, "text/csv", "a,b"));
    let own = ([(CONTENT_TYPE, "text/csv")], Html("a,b")).into_response();
    assert_eq!(header(&own, "content-type"), "text/csv");
}

#[test]
fn express_res_redirect() {
    let app = App::new()
        .get("/old", async || Redirect::to("/new"))
        .post("/form", async || Redirect::see_other("/done"))
        .get("/split", async || Redirect::to("/\r\nset-cookie: a=b"));
    let table = [
        ("GET", "/old", 302, "/new"),
        ("POST", "/form", 303, "/done"),
        ("GET", "/split", 302, "/%0D%0Aset-cookie:%20a=b"),
    ];
    for (method, path, status, location) in table {
        let response = answer(&app, request(method, path, &[], Body::empty()));
        assert_eq!(response.status(), status);
        assert_eq!(header(&response, "location"), location);
        assert_eq!(response.headers().len(), 1);
    }
}

#[test]
fn express_req_accepts() {
    async fn user(accept: Accept) -> Response {
        accept.answer(&["application/json", "text/html"], |chosen| match chosen {
            "text/html" => Html("<p>Ann").into_response(),
            _ => Json("Ann").into_response(),
        })
    }
    let app = App::new().get("/", user);
    let none = "406 Not Acceptable: there is application/json, text/html";
    let table: &[(Sent<'_>, u16, &str)] = &[
        (&[], 200, "\"Ann\""),
        (&[("accept", "text/html, */*;q=0.1")], 200, "<p>Ann"),
        (&[("accept", "text/html;q=0.1"), ("accept", "application/*;q=0.2")], 200, "\"Ann\""),
        (&[("accept", "image/*")], 406, none),
    ];
    for (headers, status, body) in table {
        let response = answer(&app, request("GET", "/", headers, Body::empty()));
        assert_eq!(response.status(), *status, "{headers:?}");
        assert_eq!(text(&response), *body, "{headers:?}");
        assert_eq!(header(&response, "vary"), "accept", "{headers:?}");
    }
}
