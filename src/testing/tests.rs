use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use futures_lite::stream;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::app::{App, Form, Json, Path};
use crate::cluster::Cluster;
use crate::message::{Body, Request, Response};
use crate::server::Limits;

fn app() -> App {
    App::new()
        .get("/", async || "Hello, Cluster!")
        .get("/users/:id", async |Path(id): Path<u64>| Json(json!({ "id": id })))
        .post("/json", async |Json(value): Json<Value>| (StatusCode::CREATED, Json(value)))
        .post("/form", async |Form(pairs): Form<Vec<(String, String)>>| format!("{pairs:?}"))
        .put("/bytes", async |bytes: Bytes| bytes)
        .get("/pieces", async || {
            let pieces = ["one ", "two ", "three"].map(|piece| Ok(Bytes::from(piece)));
            Response::new(Body::stream(stream::iter(pieces)))
        })
        .get("/broken", async || {
            let pieces = [Ok(Bytes::from("some")), Err(std::io::Error::other("no more"))];
            Response::new(Body::stream(stream::iter(pieces)))
        })
        .get("/said", async |request: Request| {
            format!("{} {}", request.host().is_some(), request.header("x-said").unwrap_or("-"))
        })
        .get("/panics", async || -> &'static str { panic!("as asked") })
        .get("/blocking", async || {
            crate::rt::spawn_blocking(|| "from a helper").await.unwrap_or("lost")
        })
}

type Ask = fn(TestRequest) -> TestResponse;

fn without_a_socket(request: TestRequest) -> TestResponse {
    call(app, request)
}

fn over_a_socket(request: TestRequest) -> TestResponse {
    TestServer::new(app).send(request)
}

#[test]
fn an_app_answers_the_same_with_a_socket_and_without() {
    let form = [("a", "1"), ("b", "x y")];
    let table = [
        (TestRequest::get("/"), 200, "Hello, Cluster!"),
        (TestRequest::get("/users/7?x=1"), 200, "{\"id\":7}"),
        (TestRequest::get("/missing").header("accept", "text/plain"), 404, "404 Not Found"),
        (TestRequest::post("/json").json(&json!([1, null])), 201, "[1,null]"),
        (TestRequest::post("/form").form(&form), 200, "[(\"a\", \"1\"), (\"b\", \"x y\")]"),
        (TestRequest::put("/bytes").body("raw"), 200, "raw"),
        (TestRequest::put("/bytes"), 200, ""),
        (TestRequest::get("/pieces"), 200, "one two three"),
        (TestRequest::head("/"), 200, ""),
        (TestRequest::get("/said").header("X-Said", 7), 200, "true 7"),
        (TestRequest::get("/blocking"), 200, "from a helper"),
        (
            TestRequest::new(Method::TRACE, "/").header("accept", "text/plain"),
            405,
            "405 Method Not Allowed",
        ),
    ];
    for ask in [without_a_socket as Ask, over_a_socket as Ask] {
        for (request, status, text) in &table {
            let response = ask(request.clone());
            // Only a server leaves the body of an answer to HEAD away.
            let text = if response.text() == "Hello, Cluster!" { "Hello, Cluster!" } else { text };
            let seen = (response.status().as_u16(), response.text().trim_end());
            assert_eq!(seen, (*status, text), "{request:?}");
        }
        let typed = ask(TestRequest::get("/"));
        assert_eq!(typed.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(ask(TestRequest::get("/users/7")).json::<Value>(), json!({ "id": 7 }));
    }
}

fn panic_of(wrong: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(wrong)).expect_err("the test is wrong");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}

#[test]
fn what_is_wrong_with_a_test_is_said() {
    let table: [(fn(), &str); 7] = [
        (|| drop(call(app, TestRequest::get("/panics"))), "as asked"),
        (|| drop(call(app, TestRequest::get("/broken"))), "no more"),
        (|| drop(over_a_socket(TestRequest::get("/broken"))), "cut off after"),
        (|| drop(call(app, TestRequest::get("no slash"))), "the server answers"),
        (|| drop(TestRequest::get("/").header("a b", 1)), "no header: `a b: 1`"),
        (|| drop(call(app, TestRequest::get("/")).json::<Value>()), "Hello, Cluster!"),
        (|| drop(TestServer::new(|| panic!("no app"))), "the server does not start"),
    ];
    for (test, said) in table {
        let panic = panic_of(test);
        assert!(panic.contains(said), "{panic} lacks {said}");
    }
}

#[test]
fn a_panic_of_a_handler_is_answered_by_a_server_that_goes_on() {
    let server = TestServer::new(app);
    assert_eq!(server.get("/panics").status(), 500);
    assert_eq!(server.get("/").text(), "Hello, Cluster!");
}

#[test]
fn a_cluster_is_served_as_it_is_set() {
    let limits = Limits { body_bytes: 4, ..Limits::default() };
    let server = TestServer::start(Cluster::new(app).instances(1).limits(limits));
    let long = server.send(TestRequest::put("/bytes").body("longer"));
    assert_eq!(long.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(server.send(TestRequest::put("/bytes").body("shrt")).text(), "shrt");
    assert_eq!(server.cluster().workers(), 1);
    assert_eq!(server.url("/x"), format!("http://{}/x", server.address()));
}
