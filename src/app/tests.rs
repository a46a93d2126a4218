//! Requests through whole apps, as the server would send them.

mod conditional;
mod errors;
mod express;
mod ranged;
mod routing;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use bytes::Bytes;
use futures_lite::future::block_on;
use futures_lite::stream;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;

use super::{Answer, App, Json, Next, Path, Query, State, echo, redirect, respond};
use crate::message::{Body, BodyError, Field, Head, Peer, Request, Response, Span};
use crate::stats::Pulse;

/// Headers of a request, in tables.
type Sent<'a> = &'a [(&'a str, &'a str)];

/// A request as the decoder would make it.
pub(super) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: Body) -> Request {
    request_from(Peer::Unix { uid: 0 }, method, target, headers, body)
}

/// As [`request`], from somewhere.
pub(super) fn request_from(
    peer: Peer,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Request {
    Request::new(Rc::new(head(method, target, headers)), peer, body)
}

fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Head {
    let mut head = Head { method: method.parse().unwrap(), ..Head::default() };
    let append = |bytes: &mut Vec<u8>, text: &str| {
        let start = u32::try_from(bytes.len()).unwrap();
        bytes.extend_from_slice(text.as_bytes());
        Span { start, end: u32::try_from(bytes.len()).unwrap() }
    };
    append(&mut head.bytes, method);
    append(&mut head.bytes, " ");
    head.target = append(&mut head.bytes, target);
    if target.starts_with('/') {
        let Span { start, end } = head.target;
        let mark = target.find('?').map(|at| start + u32::try_from(at).unwrap());
        head.path = Span { start, end: mark.unwrap_or(end) };
        head.query = mark.map(|mark| Span { start: mark + 1, end });
    }
    for (name, value) in headers {
        let name = append(&mut head.bytes, name);
        append(&mut head.bytes, ": ");
        let value = append(&mut head.bytes, value);
        head.fields.push(Field { name, value });
    }
    if let Some(Field { value, .. }) =
        head.fields.iter().find(|field| head.text(field.name).eq_ignore_ascii_case("host"))
    {
        head.authority = Some(*value);
    }
    head
}

pub(super) fn answer(app: &App, request: Request) -> Response {
    match app.dispatch(request, &Pulse::new()).answer {
        Answer::Ready(response) => response,
        Answer::Pending(future) => block_on(future),
    }
}

pub(super) fn text(response: &Response) -> String {
    String::from_utf8(response.body().as_whole().expect("a whole body").to_vec()).unwrap()
}

pub(super) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// Each line: method, target, status, body.
fn check(app: &App, table: &[(&str, &str, u16, &str)]) {
    for (method, target, status, body) in table {
        let response = answer(app, request(method, target, &[], Body::empty()));
        assert_eq!(response.status(), *status, "{method} {target}: {response:?}");
        assert_eq!(text(&response), *body, "{method} {target}");
    }
}

fn panic_text(build: impl FnOnce() -> App) -> String {
    let payload = catch_unwind(AssertUnwindSafe(build)).expect_err("the app is wrong");
    *payload.downcast::<String>().unwrap()
}

#[test]
fn routes_by_path_and_method() {
    let app = App::new()
        .get("/", async || "root")
        .get("/users", async || "users")
        .post("/users", async || "new user")
        .get("/users/me", async || "me")
        .get("/users/:id", async |Path(id): Path<u64>| format!("user {id}"))
        .put("/users/:name", async |Path(name): Path<String>| format!("put {name}"))
        .get("/users/:id/posts/:slug", async |Path((id, slug)): Path<(u64, String)>| {
            format!("{id}/{slug}")
        })
        .get("/:page.html", async |Path(page): Path<String>| format!("page {page}"))
        .get("/files/*rest", async |Path(rest): Path<String>| format!("file {rest}"))
        .get("/files/:name/size", async |Path(name): Path<String>| format!("size of {name}"))
        .any("/any", async |method: Method| method.to_string())
        .delete("/any", async || "deleted")
        .get(r"/batch\:run", async || "batch")
        .get(r"/\{brace\}", async || "brace");
    check(
        &app,
        &[
            ("GET", "/", 200, "root"),
            ("GET", "/?x=/users", 200, "root"),
            ("GET", "/users", 200, "users"),
            ("POST", "/users", 200, "new user"),
            ("GET", "/users/", 404, "404 Not Found"),
            ("GET", "/users/me", 200, "me"),
            ("GET", "/users/7", 200, "user 7"),
            ("PUT", "/users/ann", 200, "put ann"),
            ("PUT", "/users/me", 405, "405 Method Not Allowed"),
            ("GET", "/users/7/posts/hi", 200, "7/hi"),
            ("GET", "/users/7/posts", 404, "404 Not Found"),
            ("GET", "/about.html", 200, "page about"),
            ("GET", "/.html", 404, "404 Not Found"),
            ("GET", "/files/a/b.txt", 200, "file a/b.txt"),
            ("GET", "/files/a//b", 200, "file a//b"),
            ("GET", "/files/", 404, "404 Not Found"),
            ("GET", "/files", 404, "404 Not Found"),
            ("GET", "/files/a/size", 200, "size of a"),
            ("PATCH", "/any", 200, "PATCH"),
            ("OPTIONS", "/any", 200, "OPTIONS"),
            ("DELETE", "/any", 200, "deleted"),
            ("GET", "/batch:run", 200, "batch"),
            ("GET", "/{brace}", 200, "brace"),
            ("GET", "//users", 404, "404 Not Found"),
            ("GET", "/USERS", 404, "404 Not Found"),
        ],
    );
}

#[test]
fn reports_the_pattern_that_matched() {
    let app = App::new()
        .get("/users/:id", async || "get")
        .put("/users/:name", async || "put")
        .mount("/v1", App::new().get("/files/*rest", async || "files"));
    let table = [
        ("GET", "/users/7", Some("/users/:id")),
        ("PUT", "/users/7", Some("/users/:name")),
        ("GET", "/v1/files/x/y", Some("/v1/files/*rest")),
        ("DELETE", "/users/7", None),
        ("GET", "/nowhere", None),
    ];
    for (method, target, pattern) in table {
        let call = app.dispatch(request(method, target, &[], Body::empty()), &Pulse::new());
        assert_eq!(call.route.and_then(|route| app.pattern(route)), pattern, "{method} {target}");
    }
}

#[test]
fn numbers_handlers_and_then_fallbacks_whatever_was_refused() {
    let mut app = App::new().get("/a", async || "a").fallback(async || "none");
    assert!(app.try_route(Method::GET, "/a", async || "again").is_err());
    let app = app.post("/a", async || "a").get("/b", async || "b");
    assert_eq!(app.patterns(), ["/a", "/a", "/b", "/", "/*rest"]);
    for (method, target, number) in
        [("POST", "/a", 1), ("GET", "/b", 2), ("GET", "/", 3), ("GET", "/c", 4)]
    {
        let call = app.dispatch(request(method, target, &[], Body::empty()), &Pulse::new());
        assert_eq!(call.route, Some(number), "{method} {target}");
        assert_eq!(app.pattern(number), Some(app.patterns()[number].as_str()));
    }
}

#[test]
fn serves_head_by_the_handler_for_get() {
    let app = App::new()
        .get("/", async |method: Method| method.to_string())
        .get("/own", async || "get")
        .head("/own", async || "head")
        .post("/post", async || "post");
    check(
        &app,
        &[
            ("HEAD", "/", 200, "HEAD"),
            ("HEAD", "/own", 200, "head"),
            ("HEAD", "/post", 405, "405 Method Not Allowed"),
        ],
    );
}

#[test]
fn names_the_allowed_methods() {
    let app = App::new()
        .route("PURGE".parse().unwrap(), "/", async || "purged")
        .post("/", async || "post")
        .get("/", async || "get")
        .post("/post", async || "post")
        .options("/own", async || "own")
        .any("/any", async || "any");
    let all = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, PURGE";
    let table = [
        ("DELETE", "/", 405, "GET, HEAD, POST, OPTIONS, PURGE"),
        ("OPTIONS", "/", 204, "GET, HEAD, POST, OPTIONS, PURGE"),
        ("GET", "/post", 405, "POST, OPTIONS"),
        ("OPTIONS", "/post", 204, "POST, OPTIONS"),
        ("OPTIONS", "/own", 200, ""),
        ("OPTIONS", "*", 204, all),
        ("OPTIONS", "/nowhere", 404, ""),
        ("CONNECT", "example.org:443", 501, ""),
    ];
    for (method, target, status, allow) in table {
        let response = answer(&app, request(method, target, &[], Body::empty()));
        assert_eq!(response.status(), status, "{method} {target}");
        assert_eq!(header(&response, "allow"), allow, "{method} {target}");
    }
}

#[test]
fn prefers_literals_to_parameters_to_wildcards() {
    let app = App::new()
        .get("/*rest", async || "wildcard")
        .get("/:a/:b", async || "two parameters")
        .get("/users/:id", async || "literal first")
        .get("/users/new", async || "exact")
        .get("/files/*rest", async || "longer wildcard");
    check(
        &app,
        &[
            ("GET", "/users/new", 200, "exact"),
            ("GET", "/users/7", 200, "literal first"),
            ("GET", "/user/7", 200, "two parameters"),
            ("GET", "/files/a/b", 200, "longer wildcard"),
            ("GET", "/a/b/c", 200, "wildcard"),
            ("GET", "/a", 200, "wildcard"),
            ("GET", "/", 404, "404 Not Found"),
        ],
    );
}

#[test]
fn mounts_an_app_below_a_prefix() {
    let inner = App::new().get("/", async || "inner").get("/:x", async |Path(x): Path<String>| x);
    let tenant = App::new()
        .get("/users/:id", async |Path((t, id)): Path<(String, u32)>| format!("user {id} of {t}"));
    let admin = App::new().get("/", async || "admin").mount("/inner", inner);
    let app = App::new()
        .get("/", async || "root")
        .mount("/admin", admin)
        .mount("/t/:tenant", tenant)
        .mount("/", App::new().get("/more", async || "more"));
    check(
        &app,
        &[
            ("GET", "/", 200, "root"),
            ("GET", "/admin", 200, "admin"),
            ("GET", "/admin/", 404, "404 Not Found"),
            ("GET", "/admin/inner", 200, "inner"),
            ("GET", "/admin/inner/y", 200, "y"),
            ("GET", "/t/acme/users/3", 200, "user 3 of acme"),
            ("GET", "/more", 200, "more"),
        ],
    );
}

#[test]
fn falls_back_to_the_innermost_app() {
    let admin = App::new().get("/", async || "admin").fallback(async || "admin's fallback");
    let app = App::new().get("/only-get", async || "get").mount("/admin", admin).fallback(
        async |request: Request| {
            (
                StatusCode::NOT_FOUND,
                format!("no {}{:?}", request.path(), request.params().get("rest")),
            )
        },
    );
    check(
        &app,
        &[
            ("GET", "/", 404, "no /None"),
            ("GET", "/x/y", 404, "no /x/yNone"),
            ("GET", "/administrator", 404, "no /administratorNone"),
            ("GET", "/admin", 200, "admin"),
            ("GET", "/admin/", 200, "admin's fallback"),
            ("POST", "/admin/x/y", 200, "admin's fallback"),
            ("POST", "/only-get", 405, "405 Method Not Allowed"),
        ],
    );
}

#[test]
fn refuses_conflicting_routes_with_advice() {
    fn hi() -> App {
        App::new().get("/a", async || "a").get("/users/:id", async || "id")
    }
    type Build = fn() -> App;
    let cases: [(&str, Build); 8] = [
        ("GET is already answered by \"/a\"", || hi().get("/a", async || "b")),
        ("GET is already answered by \"/users/:id\"", || hi().get("/users/:name", async || "b")),
        ("every method is already answered by \"/x\"", || {
            hi().any("/x", async || "a").any("/x", async || "b")
        }),
        ("cannot be told from \"/v/:x.json\"", || {
            hi().get("/v/:x.json", async || "a").get("/v/a:x", async || "b")
        }),
        ("GET is already answered by \"/a\"", || hi().mount("/", hi())),
        ("a prefix ends neither in `/`", || hi().mount("/x/", hi())),
        ("a state of type `u8`", || hi().state(1_u8).state(2_u8)),
        ("a fallback already", || hi().fallback(async || "a").fallback(async || "b")),
    ];
    for (message, build) in cases {
        let text = catch_unwind(build).expect_err(message);
        let text = text
            .downcast::<String>()
            .map_or_else(|other| (*other.downcast::<&str>().unwrap()).to_owned(), |text| *text);
        assert!(text.contains(message), "{message}: {text}");
    }
    assert!(panic_text(|| hi().get("b", async || "b")).contains("route \"b\": a path begins"));
}

#[test]
fn a_refused_route_leaves_the_app_as_it_was() {
    let mut app = App::new().get("/v/:x.json", async |Path(x): Path<String>| x);
    assert!(app.try_route(Method::GET, "/v/a:x", async || "b").is_err());
    assert!(app.try_route(Method::GET, "/v/:x", async || "whole").is_ok());
    check(&app, &[("GET", "/v/1.json", 200, "1"), ("GET", "/v/ab", 200, "whole")]);
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    Green,
}

#[derive(Deserialize)]
struct Day {
    year: u16,
    month: Option<u8>,
}

#[derive(Deserialize)]
struct UserId(u64);

#[test]
fn reads_path_parameters_into_types() {
    let app = App::new()
        .get("/u8/:n", async |Path(n): Path<u8>| n.to_string())
        .get("/i128/:n", async |Path(n): Path<i128>| n.to_string())
        .get("/f64/:n", async |Path(n): Path<f64>| n.to_string())
        .get("/bool/:b", async |Path(b): Path<bool>| b.to_string())
        .get("/char/:c", async |Path(c): Path<char>| c.to_string())
        .get("/text/:t", async |Path(t): Path<String>| t)
        .get("/enum/:c", async |Path(c): Path<Colour>| format!("{c:?}"))
        .get("/newtype/:id", async |Path(UserId(id)): Path<UserId>| id.to_string())
        .get("/pair/:n/:c", async |Path((n, c)): Path<(u8, Colour)>| format!("{n} {c:?}"))
        .get("/day/:month/:year", async |Path(day): Path<Day>| {
            format!("{} {:?}", day.year, day.month)
        })
        .get("/list/:a/:b", async |Path(list): Path<Vec<u8>>| format!("{list:?}"))
        .get("/rest/*rest", async |Path(rest): Path<String>| rest);
    check(
        &app,
        &[
            ("GET", "/u8/255", 200, "255"),
            ("GET", "/u8/256", 400, "path parameter `n`: `256` is not a valid u8"),
            ("GET", "/u8/x%20y", 400, "path parameter `n`: `x y` is not a valid u8"),
            ("GET", "/u8/%31%32", 200, "12"),
            ("GET", "/i128/-5", 200, "-5"),
            ("GET", "/f64/1.5", 200, "1.5"),
            ("GET", "/bool/true", 200, "true"),
            ("GET", "/bool/1", 400, "path parameter `b`: `1` is not a valid bool"),
            ("GET", "/char/%C3%A9", 200, "é"),
            ("GET", "/text/a%2Fb", 200, "a/b"),
            ("GET", "/text/a+b", 200, "a+b"),
            ("GET", "/text/%zz", 400, TWO_DIGITS_ZZ),
            ("GET", "/text/a%2", 400, TWO_DIGITS_A2),
            ("GET", "/text/%ff", 400, "path parameter `t`: `%ff` is not UTF-8"),
            ("GET", "/enum/green", 200, "Green"),
            ("GET", "/enum/blue", 400, UNKNOWN_BLUE),
            ("GET", "/newtype/9", 200, "9"),
            ("GET", "/newtype/x", 400, "path parameter `id`: `x` is not a valid u64"),
            ("GET", "/pair/3/red", 200, "3 Red"),
            ("GET", "/pair/x/red", 400, "path parameter `n`: `x` is not a valid u8"),
            ("GET", "/day/7/1969", 200, "1969 Some(7)"),
            ("GET", "/day/7/x", 400, "path parameter `year`: `x` is not a valid u16"),
            ("GET", "/list/1/2", 200, "[1, 2]"),
            ("GET", "/rest/a%20b/c", 200, "a b/c"),
        ],
    );
}

const TWO_DIGITS_ZZ: &str = "path parameter `t`: `%zz` has a `%` without two hexadecimal digits";
const TWO_DIGITS_A2: &str = "path parameter `t`: `a%2` has a `%` without two hexadecimal digits";
const UNKNOWN_BLUE: &str = "path parameter `c`: unknown variant `blue`, expected `red` or `green`";

#[test]
fn blames_the_program_for_parameters_that_the_route_lacks() {
    let app = App::new()
        .get("/none", async |Path(n): Path<u8>| n.to_string())
        .get("/two/:a/:b", async |Path(n): Path<u8>| n.to_string())
        .get("/tuple/:a", async |Path((a, b)): Path<(u8, u8)>| format!("{a}{b}"))
        .get("/day/:month", async |Path(day): Path<Day>| day.year.to_string())
        .get("/state", async |State(n): State<u8>| n.to_string());
    let asks = |want: u8, has: u8| {
        format!("the handler asks for {want} path parameters, the route has {has}")
    };
    let state = "the app has no state of type `u8`; add it by `App::state`";
    check(
        &app,
        &[
            ("GET", "/none", 500, &asks(1, 0)),
            ("GET", "/two/1/2", 500, &asks(1, 2)),
            ("GET", "/tuple/1", 500, &asks(2, 1)),
            ("GET", "/day/7", 500, "the handler asks for `year`, which the route does not have"),
            ("GET", "/state", 500, state),
        ],
    );
}

#[derive(Deserialize)]
struct Page {
    number: u32,
    search: Option<String>,
}

#[test]
fn reads_the_query() {
    let app = App::new()
        .get("/", async |Query(page): Query<Page>| format!("{} {:?}", page.number, page.search))
        .get("/pairs", async |Query(pairs): Query<Vec<(String, String)>>| format!("{pairs:?}"));
    check(
        &app,
        &[
            ("GET", "/?number=3&search=a+b%26", 200, "3 Some(\"a b&\")"),
            ("GET", "/?number=3", 200, "3 None"),
            ("GET", "/", 400, "the query: missing field `number`"),
            ("GET", "/?number=x", 400, "the query: invalid digit found in string"),
            ("GET", "/pairs", 200, "[]"),
            ("GET", "/pairs?a=1&a=2", 200, "[(\"a\", \"1\"), (\"a\", \"2\")]"),
        ],
    );
}

#[derive(Deserialize, serde::Serialize)]
struct User {
    name: String,
}

#[test]
fn reads_and_writes_json() {
    let app =
        App::new().post("/", async |Json(user): Json<User>| (StatusCode::CREATED, Json(user)));
    let good = "{\"name\":\"Ann\"}";
    let table = [
        ("application/json", good, 201),
        ("Application/JSON; charset=utf-8", good, 201),
        ("application/vnd.api+json", good, 201),
        ("text/plain", good, 415),
        ("", good, 415),
        ("application/json", "{\"name\":", 400),
        ("application/json", "", 400),
        ("application/json", "{name}", 400),
        ("application/json", "{\"name\":7}", 422),
        ("application/json", "{}", 422),
    ];
    for (content_type, body, status) in table {
        let headers = [("content-type", content_type)];
        let response = answer(&app, request("POST", "/", &headers, Body::from(body)));
        assert_eq!(response.status(), status, "{content_type} {body}");
        if status == 201 {
            assert_eq!(text(&response), good);
        }
    }
}

#[test]
fn reads_the_body() {
    let app = App::new()
        .post("/bytes", async |bytes: Bytes| bytes)
        .post("/text", async |text: String| text)
        .post("/body", async |body: Body| body)
        .post("/request", async |mut request: Request| request.take_body())
        .post(
            "/mixed/:id",
            async |method: Method, peer: Peer, Path(id): Path<u8>, text: String| {
                format!("{method} {peer:?} {id} {text}")
            },
        );
    let table: [(&str, &[u8], u16, &[u8]); 6] = [
        ("/bytes", b"\xff\x00", 200, b"\xff\x00"),
        ("/text", b"text", 200, b"text"),
        ("/text", b"\xff", 400, b"the body is not UTF-8"),
        ("/body", b"body", 200, b"body"),
        ("/request", b"body", 200, b"body"),
        ("/mixed/7", b"text", 200, b"POST Unix { uid: 0 } 7 text"),
    ];
    for (path, body, status, expected) in table {
        let response = answer(&app, request("POST", path, &[], Body::from(body.to_vec())));
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.body().as_whole().unwrap(), expected, "{path}");
    }
}

#[test]
fn answers_a_broken_body_with_its_status() {
    let app = App::new().post("/", async |text: String| text);
    let table = [
        (BodyError::TooLarge, 413),
        (BodyError::TimedOut, 408),
        (BodyError::Malformed, 400),
        (BodyError::Disconnected, 400),
    ];
    for (error, status) in table {
        let body = Body::stream(stream::once(Err(error.into())));
        let response = answer(&app, request("POST", "/", &[], body));
        assert_eq!(response.status(), status, "{error}");
        assert_eq!(text(&response), error.to_string());
    }
}

#[test]
fn a_handler_is_not_called_when_an_extractor_refuses() {
    let calls = Rc::new(Cell::new(0));
    let seen = Rc::clone(&calls);
    let app = App::new().get("/:a", async move |Path(_): Path<u8>, _text: String| {
        seen.set(seen.get() + 1);
    });
    check(
        &app,
        &[("GET", "/1", 200, ""), ("GET", "/x", 400, "path parameter `a`: `x` is not a valid u8")],
    );
    assert_eq!(calls.get(), 1);
}

#[test]
fn shares_state_per_app_and_looks_outward() {
    struct Log(RefCell<Vec<&'static str>>);
    let inner = App::new().state(7_u8).get("/u8", async |n: State<u8>| n.to_string()).get(
        "/log",
        async |State(log): State<Log>| {
            log.0.borrow_mut().push("inner");
            format!("{:?}", log.0.borrow())
        },
    );
    let app = App::new()
        .get("/u8", async |State(n): State<u8>| n.to_string())
        .get("/log", |State(log): State<Log>| async move { format!("{:?}", log.0.borrow()) })
        .mount("/inner", inner)
        .state(Log(RefCell::default()))
        .state(1_u8);
    check(
        &app,
        &[
            ("GET", "/u8", 200, "1"),
            ("GET", "/inner/u8", 200, "7"),
            ("GET", "/log", 200, "[]"),
            ("GET", "/inner/log", 200, "[\"inner\"]"),
            ("GET", "/log", 200, "[\"inner\"]"),
        ],
    );
}

#[test]
fn wraps_everything_that_an_app_answers() {
    async fn mark(mut request: Request, next: Next) -> Response {
        request.extensions_mut().insert("marked");
        let response = next.run(request).await;
        response.with_header("x-mark".parse().unwrap(), HeaderValue::from_static("1"))
    }
    async fn shut(request: Request, next: Next) -> Result<Response, StatusCode> {
        match request.params().get("who") {
            Some("mallory") => Err(StatusCode::FORBIDDEN),
            _ => Ok(next.run(request).await),
        }
    }
    async fn extension(request: Request) -> &'static str {
        request.extensions().get::<&str>().copied().unwrap_or("not marked")
    }
    let inner = App::new().wrap(mark).get("/in", extension).get("/for/:who", extension).wrap(shut);
    let app = App::new().get("/", extension).mount("/m", inner);
    let table = [
        ("GET", "/", 200, "", "not marked"),
        ("GET", "/m/in", 200, "1", "marked"),
        ("GET", "/m/for/ann", 200, "1", "marked"),
        ("GET", "/m/for/mallory", 403, "", ""), // `shut` is outermost
        ("POST", "/m/in", 405, "1", "405 Method Not Allowed"),
        ("OPTIONS", "/m/in", 204, "1", ""),
        ("GET", "/nowhere", 404, "", "404 Not Found"),
    ];
    for (method, target, status, mark, body) in table {
        let response = answer(&app, request(method, target, &[], Body::empty()));
        assert_eq!(response.status(), status, "{method} {target}");
        assert_eq!(header(&response, "x-mark"), mark, "{method} {target}");
        assert_eq!(text(&response), body, "{method} {target}");
    }
    let app = app.wrap(mark);
    for target in ["/", "/nowhere", "*"] {
        let response = answer(&app, request("OPTIONS", target, &[], Body::empty()));
        assert_eq!(header(&response, "x-mark"), "1", "{target}");
    }
}

#[test]
fn takes_functions_closures_and_eight_arguments() {
    async fn function(method: Method) -> String {
        method.to_string()
    }
    let greeting = Rc::new(String::from("hi"));
    let app = App::new()
        .get("/function", function)
        .get(
            "/eight",
            async |a: Method,
                   _: Peer,
                   _: Peer,
                   _: Peer,
                   _: Peer,
                   _: Peer,
                   _: Peer,
                   body: String| { format!("{a} {body}") },
        )
        .get("/capturing", async move || String::clone(&greeting))
        .get("/fails", async || Err::<(), _>((StatusCode::CONFLICT, "no")));
    check(
        &app,
        &[
            ("GET", "/function", 200, "GET"),
            ("GET", "/eight", 200, "GET "),
            ("GET", "/capturing", 200, "hi"),
            ("GET", "/fails", 409, "no"),
        ],
    );
}

fn prepared() -> App {
    let mut app = App::new();
    let headers = HeaderMap::from_iter([("x-by".parse().unwrap(), HeaderValue::from_static("us"))]);
    let hello = respond(StatusCode::OK, headers, b"hello");
    app.try_endpoint(None, "/hello", &hello).unwrap();
    let css =
        HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("text/css"))]);
    let css = respond(StatusCode::OK, css, b"a{}");
    app.try_endpoint(Some(&[Method::GET, Method::POST]), "/css", &css).unwrap();
    let old = redirect(HeaderValue::from_static("/new"), StatusCode::PERMANENT_REDIRECT);
    app.try_endpoint(None, "/old/:x", &old).unwrap();
    app.try_endpoint(None, "/echo", &echo()).unwrap();
    app
}

#[test]
fn serves_prepared_answers_at_once() {
    let app = prepared();
    let table = [
        ("GET", "/hello", 200, "content-type", "text/plain; charset=utf-8", "hello"),
        ("HEAD", "/hello", 200, "x-by", "us", "hello"),
        ("POST", "/hello", 405, "allow", "GET, HEAD, OPTIONS", "405 Method Not Allowed"),
        ("POST", "/css", 200, "content-type", "text/css", "a{}"),
        ("GET", "/old/1", 308, "location", "/new", ""),
        ("GET", "/old/1", 308, "content-type", "", ""),
        ("GET", "/echo", 405, "allow", "POST, OPTIONS", "405 Method Not Allowed"),
    ];
    for (method, target, status, name, value, body) in table {
        let call = app.dispatch(request(method, target, &[], Body::empty()), &Pulse::new());
        let Answer::Ready(response) = call.answer else { panic!("{target} is not ready") };
        assert_eq!(response.status(), status, "{method} {target}");
        assert_eq!(header(&response, name), value, "{method} {target}");
        assert_eq!(text(&response), body, "{method} {target}");
    }
    let error = prepared().try_endpoint(None, "/hello", &echo());
    assert_eq!(error, Ok(()), "an echo answers POST only");
    let error = prepared().try_endpoint(Some(&[Method::GET]), "/hello", &echo()).unwrap_err();
    assert_eq!(error.pattern(), "/hello");
}

#[test]
fn the_apps_of_two_workers_share_no_body() {
    let source = Bytes::from(b"hello".to_vec());
    let bodies = [(), ()].map(|()| {
        let mut app = App::new();
        let hello = respond(StatusCode::OK, HeaderMap::new(), &source);
        app.try_endpoint(None, "/", &hello).unwrap();
        let response = answer(&app, request("GET", "/", &[], Body::empty()));
        response.body().as_whole().unwrap().clone()
    });
    let places = bodies.each_ref().map(|body| body.as_ptr());
    assert!(places[0] != places[1] && places[0] != source.as_ptr(), "{places:?}");
}

#[test]
fn echoes_a_stream_without_collecting_it() {
    let pieces = ["one", "two"].map(|text| Ok(Bytes::from(text)));
    let body = Body::stream(stream::iter(pieces));
    let headers = [("Content-Type", "image/png")];
    let call = prepared().dispatch(request("POST", "/echo", &headers, body), &Pulse::new());
    let Answer::Ready(mut response) = call.answer else { panic!("not ready") };
    assert_eq!(response.default_content_type().unwrap(), "image/png");
    for piece in ["one", "two"] {
        assert_eq!(block_on(response.body_mut().chunk()).unwrap().unwrap(), piece);
    }
    assert!(block_on(response.body_mut().chunk()).is_none());

    let response = answer(&prepared(), request("POST", "/echo", &[], Body::from("x")));
    assert_eq!(response.default_content_type().unwrap(), "application/octet-stream");
}
