//! Answers to requests that are refused.

use std::borrow::Cow;
use std::rc::Rc;

use http::StatusCode;
use http::header::{ACCEPT, HeaderMap, HeaderValue, VARY};
use serde::Serialize;

use super::accept;
use super::json::Json;
use super::respond::IntoResponse;
use crate::message::{Headers, Response};

/// Why a request is refused: a status, and a sentence for whoever sent it.
///
/// It is sent as text, or as `{"status": 400, "error": "..."}` to a client that
/// [accepts](https://www.rfc-editor.org/rfc/rfc9110#name-accept) JSON rather than text. The same
/// goes for what is answered without it: 404, 405 and 501, and 500 when a handler panics.
///
/// A handler can refuse, too. With a `From` for it, errors of your own go through `?`:
///
/// ```
/// use corelane::{App, Path, Rejection};
/// use http::StatusCode;
///
/// enum Failure {
///     NoSuchUser(u64),
/// }
///
/// impl From<Failure> for Rejection {
///     fn from(failure: Failure) -> Self {
///         let Failure::NoSuchUser(id) = failure;
///         Self::new(StatusCode::NOT_FOUND, format!("there is no user {id}"))
///     }
/// }
///
/// fn find(id: u64) -> Result<String, Failure> {
///     if id == 7 { Ok("Ann".to_owned()) } else { Err(Failure::NoSuchUser(id)) }
/// }
///
/// async fn user(Path(id): Path<u64>) -> Result<String, Rejection> {
///     Ok(find(id)?)
/// }
///
/// let app = App::new().get("/users/:id", user);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    status: StatusCode,
    message: Cow<'static, str>,
    missing: bool,
    bug: bool,
}

impl Rejection {
    /// An answer of this status with this text.
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), missing: false, bug: false }
    }

    /// The request does not have what was asked for: an `Option` of the extractor is `None` then.
    pub fn missing(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { missing: true, ..Self::new(status, message) }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence for whoever sent the request.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the request just does not have what was asked for, instead of having it wrong.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.missing
    }

    pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The program is wrong, not the request: its author must hear of it.
    pub(super) fn bug(message: impl Into<Cow<'static, str>>) -> Self {
        Self { bug: true, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, message) }
    }

    /// A bug, unless the handler can do without.
    pub(super) fn missing_bug(message: impl Into<Cow<'static, str>>) -> Self {
        Self { missing: true, ..Self::bug(message) }
    }

    /// Only a rejection that is sent was not expected.
    fn report(&self) {
        if self.bug {
            tracing::error!(rejection = %self, "an extractor can never succeed");
        }
    }
}

impl IntoResponse for Rejection {
    const NEGOTIATES: bool = true;

    fn into_response(self) -> Response {
        self.report();
        match self.message {
            Cow::Borrowed(text) => Response::text(self.status, text),
            Cow::Owned(text) => Response::text(self.status, text),
        }
    }

    fn into_response_to(self, headers: Headers<'_>) -> Response {
        if prefers_json(headers) {
            self.report();
            return json(self.status, &self.message);
        }
        self.into_response().with_shared_headers(VARY_ACCEPT.with(Rc::clone))
    }
}

thread_local! {
    /// So that a cache does not give JSON to those who want text; shared by all refusals.
    static VARY_ACCEPT: Rc<HeaderMap> =
        Rc::new(HeaderMap::from_iter([(VARY, HeaderValue::from_static("Accept"))]));
}

/// What is answered without the app having a say, such as 404: the status in words.
pub(crate) fn refuse(status: StatusCode, headers: Headers<'_>) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    if prefers_json(headers) {
        return json(status, reason);
    }
    Response::text(status, format!("{} {reason}", status.as_str()))
        .with_shared_headers(VARY_ACCEPT.with(Rc::clone))
}

fn prefers_json(headers: Headers<'_>) -> bool {
    const JSON: &str = "application/json";
    let offers = ["text/plain", JSON];
    accept::best(headers.all(ACCEPT.as_str()), &offers, accept::media_type) == Some(JSON)
}

fn json(status: StatusCode, error: &str) -> Response {
    #[derive(Serialize)]
    struct Refusal<'a> {
        status: u16,
        error: &'a str,
    }
    let refusal = Refusal { status: status.as_u16(), error };
    Json(refusal)
        .into_response()
        .with_status(status)
        .with_shared_headers(VARY_ACCEPT.with(Rc::clone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::{answer, header, request, text};
    use crate::app::{App, Next, Path};
    use crate::message::{Body, Request};

    fn app() -> App {
        async fn fails() -> Result<&'static str, Rejection> {
            Err(Rejection::new(StatusCode::CONFLICT, "taken \"already\""))
        }
        async fn guard(request: Request, next: Next) -> Result<Response, Rejection> {
            if request.query().is_some() {
                return Err(Rejection::new(StatusCode::FORBIDDEN, "no query here"));
            }
            Ok(next.run(request).await)
        }
        App::new()
            .get("/users/:id", async |Path(id): Path<u8>| id.to_string())
            .get("/parts/:id", async |Path(id): Path<u8>, _body: String| id.to_string())
            .post("/json", async |Json(n): Json<serde_json::Value>| n.to_string())
            .get("/fails", fails)
            .mount("/guarded", App::new().get("/", async || "in").wrap(guard))
    }

    /// Each line: method, target, `Accept`, status, body.
    fn check(table: &[(&str, &str, &str, u16, &str)]) {
        for (method, target, accept, status, body) in table {
            let headers = [("Accept", *accept), ("Content-Type", "application/json")];
            let response = answer(&app(), request(method, target, &headers, Body::from("{")));
            assert_eq!(response.status(), *status, "{method} {target}");
            assert_eq!(text(&response), *body, "{method} {target} {accept}");
            assert_eq!(header(&response, "vary"), "Accept", "{method} {target}");
            let kind = response.default_content_type().unwrap().to_str().unwrap();
            let expected = if body.starts_with('{') { "application/json" } else { "text/plain" };
            assert!(kind.starts_with(expected), "{method} {target}: {kind}");
        }
    }

    const JSON: &str = "application/json";

    #[test]
    fn express_404_by_accept() {
        check(&[
            ("GET", "/x", "*/*", 404, "404 Not Found"),
            ("GET", "/x", "text/html, */*;q=0.8", 404, "404 Not Found"),
            ("GET", "/x", JSON, 404, r#"{"status":404,"error":"Not Found"}"#),
            ("GET", "/x", "application/json;q=0.5, */*;q=0.1", 404, NOT_FOUND),
            ("GET", "/x", "application/json;q=0.1, text/plain", 404, "404 Not Found"),
            ("GET", "/x", "application/json;q=0", 404, "404 Not Found"),
            ("CONNECT", "a:1", JSON, 501, NO_PROXY),
        ]);
    }

    const NOT_FOUND: &str = r#"{"status":404,"error":"Not Found"}"#;
    const NO_PROXY: &str = r#"{"status":501,"error":"501 Not Implemented: this is not a proxy"}"#;

    #[test]
    fn express_405_with_allow() {
        check(&[
            ("DELETE", "/fails", "*/*", 405, "405 Method Not Allowed"),
            ("DELETE", "/fails", JSON, 405, r#"{"status":405,"error":"Method Not Allowed"}"#),
        ]);
        let headers = [("accept", JSON)];
        let response = answer(&app(), request("DELETE", "/fails", &headers, Body::empty()));
        assert_eq!(header(&response, "allow"), "GET, HEAD, OPTIONS");
    }

    #[test]
    fn express_thrown_error_by_accept() {
        const FAILED: &str = r#"{"status":409,"error":"taken \"already\""}"#;
        const INVALID: &str =
            r#"{"status":400,"error":"path parameter `id`: `x` is not a valid u8"}"#;
        const EOF: &str = "the JSON body: EOF while parsing an object at line 1 column 1";
        check(&[
            ("GET", "/fails", "*/*", 409, "taken \"already\""),
            ("GET", "/fails", JSON, 409, FAILED),
            ("GET", "/users/x", "*/*", 400, "path parameter `id`: `x` is not a valid u8"),
            ("GET", "/users/x", JSON, 400, INVALID),
            ("GET", "/parts/x", JSON, 400, INVALID),
            ("POST", "/json", "text/*", 400, EOF),
            ("GET", "/guarded?x", "*/*", 403, "no query here"),
            ("GET", "/guarded?x", JSON, 403, r#"{"status":403,"error":"no query here"}"#),
        ]);
    }
}
