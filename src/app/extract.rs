//! What a handler asks of a request.

pub(super) mod body;
mod cookies;
mod extension;
mod form;
mod forwarded;
mod matched_path;
mod multipart;
mod optional;
mod origin;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::Future;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use self::cookies::{Cookies, SignedCookies};
pub use self::extension::Extension;
pub use self::form::Form;
pub use self::forwarded::{ProxyError, TrustedProxies};
pub use self::matched_path::MatchedPath;
pub use self::multipart::{Field, Multipart};
pub use self::origin::{ClientIp, Host};
use super::rejection::Rejection;
use super::respond::IntoResponse;
use crate::message::{Body, Peer, Request, Response};

/// An extractor that leaves the body alone, so that several of them can stand side by side.
///
/// ```
/// use corelane::{App, FromRequestParts, Rejection, Request};
/// use http::StatusCode;
///
/// struct ApiKey(String);
///
/// impl FromRequestParts for ApiKey {
///     type Rejection = Rejection;
///
///     async fn from_request_parts(request: &mut Request) -> Result<Self, Rejection> {
///         match request.headers().get("x-api-key") {
///             Some(key) => Ok(Self(key.to_owned())),
///             None => Err(Rejection::new(StatusCode::UNAUTHORIZED, "x-api-key is missing")),
///         }
///     }
/// }
///
/// let app = App::new().get("/", async |ApiKey(key): ApiKey| format!("you are {key}"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from a request without its body",
    note = "`Path`, `Query`, `State`, `Extension`, `Cookies`, `SignedCookies`, `HeaderMap`, \
            `MatchedPath`, `ClientIp`, `Host`, `Scheme`, `Method`, `Peer` and an `Option` or \
            `Result` of them can; what takes the body (`Json`, `Form`, `Multipart`, `String`, \
            `Bytes`, `Body`, `Request`) must be the last argument of a handler"
)]
pub trait FromRequestParts: Sized {
    /// The answer when it is not there.
    type Rejection: IntoResponse;

    /// Takes it out of the request.
    ///
    /// # Errors
    /// The rejection is sent as the answer.
    fn from_request_parts(
        request: &mut Request,
    ) -> impl Future<Output = Result<Self, Self::Rejection>>;
}

/// An extractor that consumes the request, and may read its body: a handler's last argument.
///
/// `Via` tells the two ways of extracting apart and can be left out.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from a request",
    note = "a handler's last argument is one of `Json`, `Form`, `Multipart`, `String`, `Bytes`, \
            `Body`, `Request`, or an `Option` or `Result` of them, or one that leaves the body \
            alone, such as `Path`, or implements `FromRequest` or `FromRequestParts`",
    note = "what `Json`, `Form`, `Query` and `Path` hold must implement `serde::Deserialize`, what \
            `Extension` holds `Clone`; an `Option` needs an extractor that refuses by `Rejection`"
)]
pub trait FromRequest<Via = ViaRequest>: Sized {
    /// The answer when it is not there.
    type Rejection: IntoResponse;

    /// Makes it from the request.
    ///
    /// # Errors
    /// The rejection is sent as the answer.
    fn from_request(request: Request) -> impl Future<Output = Result<Self, Self::Rejection>>;

    /// Makes it from the request, or the answer that the client can read.
    #[doc(hidden)]
    fn from_request_or_answer(request: Request) -> impl Future<Output = Result<Self, Response>> {
        // The request is consumed; what it accepts must be known afterwards.
        let head = Self::Rejection::NEGOTIATES.then(|| request.head());
        let extracted = Self::from_request(request);
        async move {
            extracted.await.map_err(|rejection| match head {
                None => rejection.into_response(),
                Some(head) => rejection.into_response_to(head.headers()),
            })
        }
    }
}

/// Marks what implements [`FromRequest`] itself.
#[derive(Debug)]
pub enum ViaRequest {}

/// Marks what implements [`FromRequest`] because it implements [`FromRequestParts`].
#[derive(Debug)]
pub enum ViaParts {}

impl<T: FromRequestParts> FromRequest<ViaParts> for T {
    type Rejection = T::Rejection;

    // Not an `async fn`: that keeps its arguments twice in the future.
    #[expect(clippy::manual_async_fn, reason = "a future half the size")]
    fn from_request(mut request: Request) -> impl Future<Output = Result<Self, Self::Rejection>> {
        async move { T::from_request_parts(&mut request).await }
    }

    #[expect(clippy::manual_async_fn, reason = "a future half the size")]
    fn from_request_or_answer(
        mut request: Request,
    ) -> impl Future<Output = Result<Self, Response>> {
        async move {
            let extracted = T::from_request_parts(&mut request).await;
            extracted.map_err(|rejection| rejection.into_response_to(request.headers()))
        }
    }
}

impl FromRequest for Request {
    type Rejection = Infallible;

    async fn from_request(request: Request) -> Result<Self, Infallible> {
        Ok(request)
    }
}

impl FromRequest for Body {
    type Rejection = Infallible;

    async fn from_request(mut request: Request) -> Result<Self, Infallible> {
        Ok(request.take_body())
    }
}

impl FromRequest for Bytes {
    type Rejection = Rejection;

    // Not an `async fn`: that keeps the request in the future.
    fn from_request(request: Request) -> impl Future<Output = Result<Self, Rejection>> {
        body::collect(request)
    }
}

impl FromRequest for String {
    type Rejection = Rejection;

    async fn from_request(request: Request) -> Result<Self, Rejection> {
        body::check_text(&request)?;
        Self::from_utf8(body::collect(request).await?.into())
            .map_err(|_| Rejection::bad_request("the body is not UTF-8"))
    }
}

impl FromRequestParts for Method {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Infallible> {
        Ok(request.method().clone())
    }
}

impl FromRequestParts for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Infallible> {
        Ok(request.peer())
    }
}

/// A copy of the headers, for who needs to own them; [`Request::headers`] looks at them in place.
impl FromRequestParts for HeaderMap {
    type Rejection = Rejection;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Rejection> {
        let mut headers = Self::with_capacity(request.headers().len());
        for (name, value) in request.headers().iter() {
            let name = HeaderName::from_bytes(name.as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) else {
                return Err(Rejection::bad_request("a header is malformed"));
            };
            headers.append(name, value);
        }
        Ok(headers)
    }
}
