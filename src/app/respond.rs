//! What a handler may return.

mod byte_range;
mod content_disposition;
mod etag;
mod headers;
mod negotiate;
mod redirect;
mod sse;

use std::borrow::Cow;
use std::convert::Infallible;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;

use crate::message::{Body, Headers, Response};

pub use byte_range::ByteRange;
pub use etag::ETag;
pub use negotiate::{Accept, AcceptLanguage};
pub use redirect::Redirect;
pub use sse::{LastEventId, Sse, SseEvent};

/// What can be sent as an answer.
///
/// | type | status | body, `Content-Type` |
/// |---|---|---|
/// | `&'static str`, `String` | 200 | the text, `text/plain; charset=utf-8` |
/// | `Bytes`, `Vec<u8>`, `Body` | 200 | the bytes, `application/octet-stream` |
/// | [`Html`] | 200 | the text, `text/html; charset=utf-8` |
/// | [`Json`](crate::Json) | 200 | JSON, `application/json` |
/// | `()` | 200 | none |
/// | `StatusCode` | itself | none |
/// | `(StatusCode, T)` | the first | that of `T` |
/// | `(`[`Cookies`](crate::Cookies)`, T)` | that of `T` | that of `T` |
/// | [`Rejection`](crate::Rejection) | its own | its message, as text or JSON |
/// | `([(name, value); N], T)` | that of `T` | that of `T`, with these headers |
/// | `(StatusCode, [(name, value); N], T)` | the first | that of `T`, with these headers |
/// | [`Unmet`](crate::Unmet) | 304 or 412 | none, or its text |
/// | [`Redirect`] | 301, 302, 303, 307 or 308 | none |
/// | [`Sse`] | 200 | events as they come, `text/event-stream` |
/// | `Result<T, E>` | that of the one it is | that of the one it is |
/// | [`Response`] | itself | itself |
///
/// ```
/// use corelane::{App, IntoResponse, Response};
/// use http::StatusCode;
///
/// enum Failure {
///     NoSuchUser,
/// }
///
/// impl IntoResponse for Failure {
///     fn into_response(self) -> Response {
///         match self {
///             Self::NoSuchUser => (StatusCode::NOT_FOUND, "no such user").into_response(),
///         }
///     }
/// }
///
/// async fn user() -> Result<&'static str, Failure> {
///     Err(Failure::NoSuchUser)
/// }
///
/// let app = App::new().get("/user", user);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as an answer",
    label = "not an answer",
    note = "return `&'static str`, `String`, `Bytes`, `Vec<u8>`, `Body`, `Html`, `Json`, `()`, \
            `StatusCode`, `(StatusCode, T)`, `([(name, value); N], T)`, `(Cookies, T)`, \
            `Redirect`, `Sse`, `Rejection`, `Response` or a `Result` of two of them",
    note = "for a type of your own, implement `IntoResponse`"
)]
pub trait IntoResponse {
    /// Whether [`into_response_to`](Self::into_response_to) asks for what the client accepts. If
    /// not, nothing is kept of the request while its handler runs.
    const NEGOTIATES: bool = false;

    /// The answer.
    fn into_response(self) -> Response;

    /// The answer to a client that sent these headers.
    fn into_response_to(self, headers: Headers<'_>) -> Response
    where
        Self: Sized,
    {
        let _ = headers;
        self.into_response()
    }
}

/// HTML text as an answer.
///
/// ```
/// use corelane::{App, Html};
///
/// let app = App::new().get("/", async || Html("<h1>Hello, Cluster!</h1>"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Html<T>(pub T);

impl<T: Into<Body>> IntoResponse for Html<T> {
    fn into_response(self) -> Response {
        const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
        Response::new(self.0).with_content_type(HTML)
    }
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for () {
    fn into_response(self) -> Response {
        Response::empty(StatusCode::OK)
    }
}

impl IntoResponse for Infallible {
    fn into_response(self) -> Response {
        match self {}
    }
}

impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        Response::empty(self)
    }
}

impl IntoResponse for &'static str {
    fn into_response(self) -> Response {
        Response::text(StatusCode::OK, self)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response::text(StatusCode::OK, self)
    }
}

impl IntoResponse for Cow<'static, str> {
    fn into_response(self) -> Response {
        match self {
            Self::Borrowed(text) => text.into_response(),
            Self::Owned(text) => text.into_response(),
        }
    }
}

impl IntoResponse for Body {
    fn into_response(self) -> Response {
        const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
        Response::new(self).with_content_type(BINARY)
    }
}

impl IntoResponse for Bytes {
    fn into_response(self) -> Response {
        Body::from(self).into_response()
    }
}

impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Response {
        Body::from(self).into_response()
    }
}

impl<T: IntoResponse> IntoResponse for (StatusCode, T) {
    const NEGOTIATES: bool = T::NEGOTIATES;

    fn into_response(self) -> Response {
        self.1.into_response().with_status(self.0)
    }

    fn into_response_to(self, headers: Headers<'_>) -> Response {
        self.1.into_response_to(headers).with_status(self.0)
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    const NEGOTIATES: bool = T::NEGOTIATES || E::NEGOTIATES;

    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => error.into_response(),
        }
    }

    fn into_response_to(self, headers: Headers<'_>) -> Response {
        match self {
            Ok(value) => value.into_response_to(headers),
            Err(error) => error.into_response_to(headers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Json;

    #[test]
    fn answers_with_status_type_and_body() {
        const PLAIN: &str = "text/plain; charset=utf-8";
        const BINARY: &str = "application/octet-stream";
        let fail: Result<(), (StatusCode, &str)> = Err((StatusCode::NOT_FOUND, "no"));
        let fine: Result<&str, StatusCode> = Ok("yes");
        let table: Vec<(Response, u16, Option<&str>, &str)> = vec![
            ("hi".into_response(), 200, Some(PLAIN), "hi"),
            (String::from("hi").into_response(), 200, Some(PLAIN), "hi"),
            (Cow::Borrowed("hi").into_response(), 200, Some(PLAIN), "hi"),
            (Bytes::from("hi").into_response(), 200, Some(BINARY), "hi"),
            (b"hi".to_vec().into_response(), 200, Some(BINARY), "hi"),
            (Body::from("hi").into_response(), 200, Some(BINARY), "hi"),
            (Html("<p>").into_response(), 200, Some("text/html; charset=utf-8"), "<p>"),
            (Json([1, 2]).into_response(), 200, Some("application/json"), "[1,2]"),
            (().into_response(), 200, None, ""),
            (StatusCode::ACCEPTED.into_response(), 202, None, ""),
            ((StatusCode::CREATED, Json(7)).into_response(), 201, Some("application/json"), "7"),
            (fail.into_response(), 404, Some(PLAIN), "no"),
            (fine.into_response(), 200, Some(PLAIN), "yes"),
            (Response::new("raw").into_response(), 200, None, "raw"),
        ];
        for (response, status, content_type, body) in table {
            assert_eq!(response.status(), status, "{response:?}");
            let sent = response.default_content_type().map(|value| value.to_str().unwrap());
            assert_eq!(sent, content_type, "{response:?}");
            assert_eq!(response.body().as_whole().unwrap(), body);
        }
    }
}
