//! What each extractor makes of good and of bad requests.

use std::rc::Rc;

use bytes::Bytes;
use futures_lite::stream;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::super::tests::{answer, request, text};
use super::*;
use crate::app::{App, Json, Next, Path, Query, State};
use crate::message::BodyError;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Each line: path, headers, body, status, the beginning of the answer's body.
type Line<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);

fn check(app: &App, table: &[Line<'_>]) {
    for (target, headers, body, status, expected) in table {
        let request = request("POST", target, headers, Body::from(body.to_vec()));
        let response = answer(app, request);
        let (found, body) = (response.status().as_u16(), text(&response));
        assert_eq!((found, body.as_str()), (*status, *expected), "{target} {headers:?}");
    }
}

#[derive(Deserialize)]
struct Login {
    name: String,
    age: Option<u8>,
}

fn bodies() -> App {
    App::new()
        .post("/form", async |Form(login): Form<Login>| format!("{} {:?}", login.name, login.age))
        .post("/pairs", async |Form(pairs): Form<Vec<(String, String)>>| pairs.len().to_string())
        .post("/json", async |Json(login): Json<Login>| format!("{} {:?}", login.name, login.age))
        .post("/raw", async |bytes: Bytes| bytes)
        .post("/text", async |text: String| text)
}

const NOT_JSON: &str = "the body must be sent with `Content-Type: application/json`";
const NOT_FORM: &str =
    "the body must be sent with `Content-Type: application/x-www-form-urlencoded`";

#[test]
fn express_json() {
    let (utf8, latin) = ("application/json; charset=\"UTF-8\"", "application/json;charset=latin1");
    let table: &[Line<'_>] = &[
        ("/json", &[("Content-Type", JSON)], b"{\"name\":\"Ann\",\"age\":7}", 200, "Ann Some(7)"),
        ("/json", &[("content-type", utf8)], b"{\"name\":\"Ann\"}", 200, "Ann None"),
        ("/json", &[], b"{\"name\":\"Ann\"}", 415, NOT_JSON),
        ("/json", &[], b"", 415, NOT_JSON),
        ("/json", &[("content-type", "text/json")], b"{}", 415, NOT_JSON),
        ("/json", &[("content-type", "text/vnd+json")], b"{}", 415, NOT_JSON),
        ("/json", &[("content-type", latin)], b"{}", 415, "unsupported charset \"latin1\""),
        (
            "/json",
            &[("content-type", JSON), ("content-encoding", "foo")],
            b"{}",
            415,
            "unsupported content encoding \"foo\"",
        ),
        (
            "/json",
            &[("content-type", JSON), ("content-encoding", "identity, gzip")],
            b"{}",
            415,
            "unsupported content encoding \"gzip\"",
        ),
        (
            "/json",
            &[("content-type", JSON), ("content-encoding", "Identity")],
            b"{\"name\":\"Ann\"}",
            200,
            "Ann None",
        ),
        (
            "/json",
            &[("content-type", JSON)],
            b"",
            400,
            "the JSON body: EOF while parsing a value at line 1 column 0",
        ),
        (
            "/json",
            &[("content-type", JSON)],
            b"{\n  \"name\": oops}",
            400,
            "the JSON body: expected value at line 2 column 11",
        ),
        (
            "/json",
            &[("content-type", JSON)],
            b"{\"name\":\"Ann\",\"age\":256}",
            422,
            "the JSON body: invalid value: integer `256`, expected u8 at line 1 column 23",
        ),
        (
            "/json",
            &[("content-type", JSON)],
            b"{\"name\":\"\xff\"}",
            400,
            "the JSON body: invalid unicode code point at line 1 column 10",
        ),
    ];
    check(&bodies(), table);
}

#[test]
fn express_urlencoded() {
    let latin = "application/x-www-form-urlencoded; charset=latin1";
    let (fits, exceeds) = (vec!["a=1"; 1000].join("&"), "&".repeat(1000));
    let table: &[Line<'_>] = &[
        ("/form", &[("content-type", FORM)], b"name=A+%26%20B&age=7", 200, "A & B Some(7)"),
        ("/form", &[("content-type", FORM)], b"name=%C3%A9", 200, "\u{e9} None"),
        ("/form", &[], b"name=Ann", 415, NOT_FORM),
        ("/form", &[("content-type", JSON)], b"name=Ann", 415, NOT_FORM),
        ("/form", &[("content-type", latin)], b"name=Ann", 415, "unsupported charset \"latin1\""),
        ("/form", &[("content-type", FORM)], b"", 422, "the form: missing field `name`"),
        ("/form", &[("content-type", FORM)], b"name=a&name=b", 422, DUPLICATE),
        ("/form", &[("content-type", FORM)], b"name=a&age=x", 422, INVALID),
        ("/pairs", &[("content-type", FORM)], fits.as_bytes(), 200, "1000"),
        ("/pairs", &[("content-type", FORM)], exceeds.as_bytes(), 413, TOO_MANY),
    ];
    check(&bodies(), table);
}

const DUPLICATE: &str = "the form: duplicate field `name`";
const INVALID: &str = "the form: invalid digit found in string";
const TOO_MANY: &str = "the form has more than 1000 parameters";

#[test]
fn express_raw() {
    let table: &[Line<'_>] = &[
        ("/raw", &[], b"bytes", 200, "bytes"),
        (
            "/raw",
            &[("content-type", JSON), ("content-encoding", "gzip")],
            b"as sent",
            200,
            "as sent",
        ),
    ];
    check(&bodies(), table);
}

#[test]
fn text_is_utf8() {
    let table: &[Line<'_>] = &[
        ("/text", &[], b"caf\xc3\xa9", 200, "caf\u{e9}"),
        ("/text", &[("content-type", "text/plain; charset=us-ascii")], b"a", 200, "a"),
        ("/text", &[], b"caf\xe9", 400, "the body is not UTF-8"),
        (
            "/text",
            &[("content-type", "text/plain; charset=iso-8859-1")],
            b"caf\xe9",
            415,
            "unsupported charset \"iso-8859-1\"",
        ),
        ("/text", &[("content-encoding", "br")], b"a", 415, "unsupported content encoding \"br\""),
    ];
    check(&bodies(), table);
}

#[test]
fn a_body_that_breaks_has_its_status_for_every_extractor() {
    let statuses = [
        (BodyError::TooLarge, 413),
        (BodyError::TimedOut, 408),
        (BodyError::Malformed, 400),
        (BodyError::Disconnected, 400),
    ];
    let paths = [("/json", JSON), ("/form", FORM), ("/raw", "a/b"), ("/text", "text/plain")];
    for (path, kind) in paths {
        for (error, status) in statuses {
            let body = Body::stream(stream::once(Err(error.into())));
            let response =
                answer(&bodies(), request("POST", path, &[("content-type", kind)], body));
            assert_eq!(response.status(), status, "{path} {error}");
            assert_eq!(text(&response), error.to_string());
        }
    }
}

#[test]
fn options_are_none_only_if_nothing_was_sent() {
    let app = App::new()
        .post("/json", async |login: Option<Json<Login>>| match login {
            Some(Json(login)) => login.name,
            None => "none".to_owned(),
        })
        .post("/form", async |form: Option<Form<Login>>| form.is_some().to_string())
        .post("/state", async |state: Option<State<u8>>| state.is_some().to_string())
        .post("/extension", async |of: Option<Extension<u8>>, _: Bytes| of.is_some().to_string())
        .post("/query", async |query: Option<Query<Login>>| query.is_some().to_string())
        .post("/result/:id", async |id: Result<Path<u8>, Rejection>, _: Bytes| match id {
            Ok(Path(id)) => id.to_string(),
            Err(rejection) => format!("{} {rejection}", rejection.status()),
        })
        .post("/body", async |body: Result<Json<u8>, Rejection>| match body {
            Ok(Json(number)) => number.to_string(),
            Err(rejection) => rejection.message().to_owned(),
        });
    let table: &[Line<'_>] = &[
        ("/json", &[], b"", 200, "none"),
        ("/json", &[("content-type", JSON)], b"{\"name\":\"Ann\"}", 200, "Ann"),
        ("/json", &[("content-type", "text/plain")], b"", 415, NOT_JSON),
        ("/json", &[], b"{}", 415, NOT_JSON),
        ("/json", &[("content-type", JSON)], b"[", 400, BROKEN),
        ("/form", &[], b"", 200, "false"),
        ("/form", &[("content-type", FORM)], b"name=a", 200, "true"),
        ("/form", &[("content-type", FORM)], b"", 422, "the form: missing field `name`"),
        ("/state", &[], b"", 200, "false"),
        ("/extension", &[], b"", 200, "false"),
        ("/query", &[], b"", 400, "the query: missing field `name`"),
        ("/result/7", &[], b"", 200, "7"),
        ("/result/x", &[], b"", 200, NOT_U8),
        ("/body", &[("content-type", JSON)], b"7", 200, "7"),
        ("/body", &[], b"7", 200, NOT_JSON),
    ];
    check(&app, table);
}

const BROKEN: &str = "the JSON body: EOF while parsing a list at line 1 column 1";
const NOT_U8: &str = "400 Bad Request path parameter `id`: `x` is not a valid u8";

#[test]
fn express_res_locals() {
    async fn attach(mut request: Request, next: Next) -> Response {
        request.extensions_mut().insert(Rc::<str>::from("Ann"));
        next.run(request).await
    }
    let user = async |Extension(user): Extension<Rc<str>>| user.to_string();
    let app = App::new()
        .mount("/in", App::new().post("/", user).wrap(attach))
        .post("/out", async |Extension(user): Extension<Rc<str>>| user.to_string());
    let missing = "no middleware has attached a `alloc::rc::Rc<str>` to the request";
    check(&app, &[("/in", &[], b"", 200, "Ann"), ("/out", &[], b"", 500, missing)]);
}

#[test]
fn express_req_get() {
    let app = App::new()
        .post("/map", async |headers: HeaderMap| {
            let values = headers.get_all("x-a").iter().map(|value| value.to_str().unwrap_or("?"));
            values.collect::<Vec<_>>().join("|")
        })
        .post("/get", async |request: Request| match request.header("X-a") {
            Some(value) => (StatusCode::OK, value.to_owned()),
            None => (StatusCode::NOT_FOUND, "none".to_owned()),
        })
        .post("/is", async |request: Request| request.is("image/*").to_string());
    let table: &[Line<'_>] = &[
        ("/map", &[("X-A", "1"), ("b", "2"), ("x-a", "3")], b"", 200, "1|3"),
        ("/get", &[("x-A", "1"), ("x-a", "3")], b"", 200, "1"),
        ("/get", &[], b"", 404, "none"),
        ("/is", &[("content-type", "image/png")], b"", 200, "true"),
        ("/is", &[], b"", 200, "false"),
    ];
    check(&app, table);
}

#[test]
fn express_req_properties() {
    let app = App::new().mount(
        "/api",
        App::new().post("/users/:id", async |mut request: Request| {
            let body = request.take_body().collect().await.unwrap();
            format!(
                "{} {} {} {:?} {:?} {:?} {:?} {}",
                request.method(),
                request.target(),
                request.path(),
                request.query(),
                request.params().get("id"),
                request.matched_path(),
                request.host(),
                body.len(),
            )
        }),
    );
    let expected = "POST /api/users/7?a=1 /api/users/7 Some(\"a=1\") Some(\"7\") \
        Some(\"/api/users/:id\") Some(\"h:1\") 3";
    check(&app, &[("/api/users/7?a=1", &[("Host", "h:1")], b"abc", 200, expected)]);
}
