//! Express's ways to route, one test for each.

use std::collections::BTreeMap;

use super::*;
use crate::app::{IntoResponse as _, Methods, Next, TrailingSlash};

/// Each parameter that a handler sees.
async fn params(request: Request) -> String {
    let all: Vec<_> =
        request.params().iter().map(|(name, value)| format!("{name}={value}")).collect();
    all.join(" ")
}

#[test]
fn express_app_method() {
    let app = App::new()
        .get("/", async || "get")
        .post("/", async || "post")
        .put("/", async || "put")
        .patch("/", async || "patch")
        .delete("/", async || "delete")
        .options("/", async || "options")
        .route(Method::TRACE, "/", async || "trace");
    let methods = ["get", "post", "put", "patch", "delete", "options", "trace"];
    for method in methods {
        check(&app, &[(&*method.to_ascii_uppercase(), "/", 200, method)]);
    }
    let own = App::new().head("/", async || StatusCode::NO_CONTENT).get("/", async || "get");
    check(&own, &[("HEAD", "/", 204, ""), ("GET", "/", 200, "get")]);
}

#[test]
fn express_app_all() {
    let app = App::new().any("/", async |method: Method| method.to_string());
    for method in ["GET", "POST", "DELETE", "PROPFIND"] {
        check(&app, &[(method, "/", 200, method)]);
    }
}

#[test]
fn express_app_use() {
    // A prefix ends at a slash; what is around it sees what is below it, and nothing else.
    let below = App::new().get("/", async || "root").get("/x", async || "x").wrap(
        async |request: Request, next: Next| {
            next.run(request)
                .await
                .with_header(http::header::SERVER, HeaderValue::from_static("below"))
        },
    );
    let app = App::new().get("/adminx", async || "beside").mount("/admin", below);
    for (path, status, body, server) in [
        ("/admin", 200, "root", "below"),
        ("/admin/x", 200, "x", "below"),
        ("/adminx", 200, "beside", ""),
        ("/admin/y", 404, "404 Not Found", ""),
    ] {
        let response = answer(&app, request("GET", path, &[], Body::empty()));
        assert_eq!((response.status().as_u16(), &*text(&response)), (status, body), "{path}");
        assert_eq!(header(&response, "server"), server, "{path}");
    }
}

#[test]
fn express_app_route() {
    let note = Methods::new()
        .get(async || "shown")
        .put(async |Path(id): Path<u64>| format!("replaced {id}"))
        .on(Method::TRACE, async || "traced");
    let app = App::new().at("/notes/:id", note).at("/all", Methods::new().any(async || "any"));
    check(
        &app,
        &[
            ("GET", "/notes/7", 200, "shown"),
            ("PUT", "/notes/7", 200, "replaced 7"),
            ("TRACE", "/notes/7", 200, "traced"),
            ("POST", "/notes/7", 405, "405 Method Not Allowed"),
            ("POST", "/all", 200, "any"),
        ],
    );
    let refused = answer(&app, request("POST", "/notes/7", &[], Body::empty()));
    assert_eq!(header(&refused, "allow"), "GET, HEAD, PUT, OPTIONS, TRACE");
    assert_eq!(format!("{:?}", Methods::new().get(async || "")), "[One(GET)]");
}

#[test]
fn express_router_merge_params() {
    let notes = || App::new().get("/:id", params).get("/", params);
    let deep = App::new().mount_isolated("/notes", notes());
    let app = App::new()
        .mount("/merged/:org", notes())
        .mount_isolated("/own/:org", notes())
        .mount("/deep/:org", deep)
        .mount("/outer/:a", App::new().mount_isolated("/:b", notes()));
    check(
        &app,
        &[
            ("GET", "/merged/acme/7", 200, "org=acme id=7"),
            ("GET", "/merged/acme", 200, "org=acme"),
            ("GET", "/own/acme/7", 200, "id=7"),
            ("GET", "/own/acme", 200, ""),
            ("GET", "/deep/acme/notes/7", 200, "id=7"),
            ("GET", "/outer/1/2/3", 200, "id=3"),
        ],
    );
}

#[test]
fn express_handler_flow() {
    // What Express does by `next()` is done around a handler, and ends where one answers.
    let app = App::new()
        .get("/open", async || "open")
        .get("/closed", async || "closed")
        .wrap(async |request: Request, next: Next| {
            if request.path() == "/closed" && request.header("x-key").is_none() {
                return StatusCode::FORBIDDEN.into_response();
            }
            next.run(request).await
        })
        .fallback(async || (StatusCode::NOT_FOUND, "the rest"));
    check(
        &app,
        &[
            ("GET", "/open", 200, "open"),
            ("GET", "/closed", 403, ""),
            ("GET", "/other", 404, "the rest"),
        ],
    );
    let opened = answer(&app, request("GET", "/closed", &[("x-key", "1")], Body::empty()));
    assert_eq!(text(&opened), "closed");
}

#[test]
fn express_path_syntax() {
    let app = App::new()
        .get("/users{/:id}", params)
        .get("/files/*splat", params)
        .get("/{:lang/}docs", params)
        .get("/report-:year.pdf", params)
        .get(r"/jobs\:run", params);
    check(
        &app,
        &[
            ("GET", "/users/7", 200, "id=7"),
            ("GET", "/users", 200, ""),
            ("GET", "/users/", 404, "404 Not Found"),
            ("GET", "/files/a/b/c.txt", 200, "splat=a/b/c.txt"),
            ("GET", "/files/", 404, "404 Not Found"),
            ("GET", "/docs", 200, ""),
            ("GET", "/ko/docs", 200, "lang=ko"),
            ("GET", "/report-2026.pdf", 200, "year=2026"),
            ("GET", "/jobs:run", 200, ""),
        ],
    );
    // Express 4, regular expressions, and what Express 5 refuses too.
    for (path, advice) in [
        ("*", "a path begins with `/`"),
        ("/a*", "`*` needs a name"),
        ("/:id?", "a path has no `?`"),
        ("/:from-:to", "two parameters in one segment"),
        ("/users{/:id", "no counterpart"),
    ] {
        let said = panic_text(|| App::new().get(path, async || ""));
        assert!(said.contains(advice), "{path}: {said}");
    }
}

#[test]
fn express_matching() {
    // The more literal route wins, in whatever order they were added: a conflict is no matter of
    // order, and what cannot be told apart is refused at the start.
    let app = |flip: bool| {
        let add = |app: App, last: bool| {
            if last { app.get("/users/:id", params) } else { app.get("/users/me", async || "me") }
        };
        add(add(App::new(), flip), !flip)
    };
    for flip in [true, false] {
        check(&app(flip), &[("GET", "/users/me", 200, "me"), ("GET", "/users/7", 200, "id=7")]);
    }
    let users = || App::new().get("/Users/:Name", params).get("/a/", async || "a");
    let missing = "404 Not Found";
    check(
        &users(),
        &[
            ("GET", "/users/Ann", 404, missing),
            ("GET", "/Users/Ann/", 404, missing),
            ("GET", "/a", 404, missing),
        ],
    );
    check(
        &users().trailing_slash(TrailingSlash::Ignore).ignore_case(),
        &[
            ("GET", "/Users/Ann", 200, "Name=Ann"),
            ("GET", "/uSERS/Ann/", 200, "Name=Ann"),
            ("GET", "/A", 200, "a"),
            ("POST", "/A", 405, "405 Method Not Allowed"),
            ("GET", "/b/", 404, missing),
        ],
    );
    let redirected = users().trailing_slash(TrailingSlash::Redirect);
    for (path, status, location) in [
        ("/Users/Ann/", 308, "/Users/Ann"),
        ("/Users/Ann/?a=1", 308, "/Users/Ann?a=1"),
        ("/a", 308, "/a/"),
        ("/a/", 200, ""),
        ("//a/", 404, ""),
        ("/b/", 404, ""),
    ] {
        let response = answer(&redirected, request("GET", path, &[], Body::empty()));
        let seen = (response.status().as_u16(), header(&response, "location"));
        assert_eq!(seen, (status, location), "{path}");
    }
}

#[test]
fn express_param_decoding() {
    let app = App::new()
        .get("/one/:name", async |Path(name): Path<String>| name)
        .get("/all/:a/:b", async |Path(all): Path<BTreeMap<String, String>>| format!("{all:?}"));
    let bad = answer(&app, request("GET", "/one/%E0%A4%A", &[], Body::empty()));
    assert_eq!(bad.status(), 400, "{}", text(&bad));
    check(
        &app,
        &[
            ("GET", "/one/a%20b%2Fc", 200, "a b/c"),
            ("GET", "/one/%EA%B0%80", 200, "가"),
            ("GET", "/all/x%3D/y", 200, r#"{"a": "x=", "b": "y"}"#),
        ],
    );
}

#[test]
fn express_list_routes() {
    let users = App::new().get("/", async || "").post("/{:id}", async || "");
    let app = App::new().any("/echo", async || "").mount("/users", users).get("/*rest", params);
    let listed: Vec<_> = app
        .routes()
        .into_iter()
        .map(|(method, pattern)| format!("{} {pattern}", method.map_or("*", Method::as_str)))
        .collect();
    let expected = ["* /echo", "GET /users", "POST /users/:id", "POST /users", "GET /*rest"];
    assert_eq!(listed, expected);
}

#[test]
fn express_options_automatic() {
    let app = App::new().get("/a", async || "").put("/a", async || "").post("/b", async || "");
    for (path, status, allow) in
        [("/a", 204, "GET, HEAD, PUT, OPTIONS"), ("/b", 204, "POST, OPTIONS"), ("/c", 404, "")]
    {
        let response = answer(&app, request("OPTIONS", path, &[], Body::empty()));
        assert_eq!((response.status().as_u16(), header(&response, "allow")), (status, allow));
    }
}

#[test]
fn express_head_automatic() {
    let app = App::new().get("/", async || ([("x-own", "1")], "the body"));
    let response = answer(&app, request("HEAD", "/", &[], Body::empty()));
    // The server leaves the body away, and says how long it would be.
    assert_eq!((header(&response, "x-own"), response.body().size()), ("1", Some(8)));
}

#[test]
fn express_async_handlers() {
    let app = App::new().get("/", async || -> Result<&'static str, crate::app::Error> {
        Err(std::io::Error::other("rejected"))?
    });
    check(&app, &[("GET", "/", 500, "500 Internal Server Error")]);
}

#[test]
fn a_slash_more_or_less_leads_nowhere_else() {
    let lenient = |policy| {
        App::new()
            .get("/:a/:b", async || "two")
            .get("/*rest", async || "rest")
            .trailing_slash(policy)
    };
    let ask = |app: &App, path: &str| answer(app, request("GET", path, &[], Body::empty()));
    for path in ["/", ""] {
        assert_eq!(ask(&lenient(TrailingSlash::Ignore), path).status(), 404, "{path:?}");
    }
    let page = App::new().get("/:page", async || "page").trailing_slash(TrailingSlash::Redirect);
    assert_eq!(ask(&page, "/a/").headers()["location"], "/a");
    let away = ask(&page, "/\\evil.example/");
    assert_eq!((away.status().as_u16(), away.headers().get("location")), (404, None));
}
