//! Errors on their way to the client.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::*;
use crate::app::{Conditional, ETag, Error, Failed, IntoResponse as _, Json, Rejection};

/// The headers of a request.
type Sent<'a> = &'a [(&'a str, &'a str)];

#[derive(Debug, thiserror::Error)]
#[error("the disk is full")]
struct DiskFull(#[source] io::Error);

fn failing() -> App {
    App::new()
        .get("/secret", async || -> Result<&'static str, Error> {
            Err(DiskFull(io::Error::other("sector 7")))?
        })
        .get("/told", async || -> Result<&'static str, Error> {
            Err(Error::new(StatusCode::CONFLICT, "somebody was faster"))
        })
        .get("/refused", async || -> Result<&'static str, Error> {
            Err(Rejection::new(StatusCode::GONE, "it was here"))?
        })
        .get("/known", async |conditional: Conditional| -> Result<&'static str, Error> {
            conditional.evaluate(&ETag::strong("7"), None)?;
            Ok("new")
        })
        .get("/busy", async || -> Result<&'static str, Error> {
            Err(Error::from(io::Error::other("no room"))
                .with_status(StatusCode::SERVICE_UNAVAILABLE))
        })
        .get("/fine", async || -> Result<&'static str, Error> { Ok("fine") })
        .get("/status", async || StatusCode::IM_A_TEAPOT)
}

#[test]
fn an_error_tells_the_client_only_what_is_for_it() {
    let table: [(&str, Sent<'_>, u16, &str); 8] = [
        ("/secret", &[], 500, "500 Internal Server Error"),
        (
            "/secret",
            &[("accept", "application/json")],
            500,
            r#"{"status":500,"error":"Internal Server Error"}"#,
        ),
        ("/told", &[], 409, "somebody was faster"),
        (
            "/told",
            &[("accept", "application/json")],
            409,
            r#"{"status":409,"error":"somebody was faster"}"#,
        ),
        ("/refused", &[], 410, "it was here"),
        ("/known", &[("if-none-match", "\"7\"")], 304, ""),
        ("/known", &[], 200, "new"),
        ("/busy", &[], 503, "503 Service Unavailable"),
    ];
    for (path, headers, status, body) in table {
        let response = answer(&failing(), request("GET", path, headers, Body::empty()));
        let seen = (response.status().as_u16(), text(&response));
        assert_eq!(seen, (status, body.to_owned()), "{path} {headers:?}");
    }
}

#[test]
fn an_error_tells_its_author_everything() {
    let error = Error::from(DiskFull(io::Error::other("sector 7")));
    let shown = "500 Internal Server Error: the disk is full: sector 7";
    assert_eq!((error.to_string(), format!("{error:?}")), (shown.into(), shown.into()));
    assert!(error.cause().is_some_and(<dyn std::error::Error>::is::<DiskFull>));
    let told = Error::new(StatusCode::CONFLICT, "somebody was faster");
    assert_eq!(told.to_string(), "409 Conflict: somebody was faster");
    assert!(told.cause().is_none());
}

#[test]
fn express_error_middleware() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let own = Rc::clone(&seen);
    let mounted = App::new()
        .get("/broken", async || StatusCode::BAD_GATEWAY)
        .on_error(async |failed: Failed| (failed.status(), "by the mounted app"));
    let app = failing().mount("/m", mounted).on_error(async move |failed: Failed| {
        let cause = failed.cause().map(ToString::to_string).unwrap_or_default();
        let who = failed.headers().get("x-who").unwrap_or("nobody").to_owned();
        let line =
            format!("{} {} {} {who} {cause}", failed.status(), failed.method(), failed.path());
        own.borrow_mut().push(line);
        let status = failed.status();
        if status == StatusCode::IM_A_TEAPOT {
            return failed.into_response();
        }
        let told = failed.message().unwrap_or_default().to_owned();
        (status, Json(vec![told])).into_response()
    });
    let table = [
        ("GET", "/secret", 500, r#"["500 Internal Server Error"]"#),
        ("GET", "/told", 409, r#"["somebody was faster"]"#),
        ("GET", "/fine", 200, "fine"),
        ("GET", "/status", 418, ""),
        ("GET", "/missing", 404, r#"["404 Not Found"]"#),
        ("POST", "/fine", 405, r#"["405 Method Not Allowed"]"#),
        ("GET", "/m/broken", 502, r#"["by the mounted app"]"#),
    ];
    for (method, path, status, body) in table {
        let response = answer(&app, request(method, path, &[("x-who", "me")], Body::empty()));
        assert_eq!(
            (response.status().as_u16(), text(&response)),
            (status, body.to_owned()),
            "{path}"
        );
    }
    let lines = [
        "500 Internal Server Error GET /secret me the disk is full",
        "409 Conflict GET /told me ",
        "418 I'm a teapot GET /status me ",
        "404 Not Found GET /missing me ",
        "405 Method Not Allowed POST /fine me ",
        "502 Bad Gateway GET /m/broken me ",
    ];
    assert_eq!(*seen.borrow(), lines);
}
