//! What answers a request: an async closure or function of extractors.

use std::future::Future;
use std::rc::Rc;

use super::extract::{FromRequest, FromRequestParts};
use super::respond::IntoResponse;
use crate::message::{Request, Response};

/// An async closure or function that takes up to eight extractors and returns an answer.
///
/// All extractors but the last implement [`FromRequestParts`]; the last may consume the body
/// ([`FromRequest`]). If one of them refuses, its rejection is the answer and the handler is not
/// called. A handler stays on its core, so neither it nor its future need be `Send`.
///
/// ```
/// use corelane::{App, Json, Path};
///
/// async fn greet(Path(name): Path<String>) -> String {
///     format!("Hello, {name}!")
/// }
///
/// let app = App::new()
///     .get("/", async || "Hello, Cluster!")
///     .get("/greet/:name", greet)
///     .post("/sum/:start", |Path(start): Path<u64>, Json(rest): Json<Vec<u64>>| async move {
///         Json(start + rest.iter().sum::<u64>())
///     });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle requests",
    label = "not a handler",
    note = "a handler is an async closure or `async fn` of at most 8 extractors, such as \
            `async |Path(id): Path<u64>| \"text\"`",
    note = "every argument but the last must implement `FromRequestParts` (`Path`, `Query`, \
            `State`, `Extension`, `Cookies`, `ClientIp`, ...), the last one that or `FromRequest` \
            (`Json`, `Form`, `Multipart`, `String`, `Bytes`, `Body`, `Request`)",
    note = "what `Json`, `Form`, `Query` and `Path` hold must implement `serde::Deserialize`, what \
            `Extension` holds `Clone`",
    note = "its output must implement `IntoResponse`"
)]
pub trait Handler<Args>: 'static {
    /// Answers one request.
    fn call(self: Rc<Self>, request: Request) -> impl Future<Output = Response>;
}

impl<F, R> Handler<()> for F
where
    F: AsyncFn() -> R + 'static,
    R: IntoResponse,
{
    fn call(self: Rc<Self>, request: Request) -> impl Future<Output = Response> {
        let head = R::NEGOTIATES.then(|| request.head());
        drop(request);
        async move {
            match head {
                None => self().await.into_response(),
                Some(head) => self().await.into_response_to(head.headers()),
            }
        }
    }
}

macro_rules! handler {
    ($($part:ident)*, $last:ident) => {
        impl<F, R, Via, $($part,)* $last> Handler<(Via, $($part,)* $last)> for F
        where
            F: AsyncFn($($part,)* $last) -> R + 'static,
            R: IntoResponse,
            $($part: FromRequestParts,)*
            $last: FromRequest<Via>,
        {
            // Not an `async fn`: that keeps its arguments twice in the future.
            #[allow(non_snake_case, unused_mut, reason = "one macro for all numbers of arguments")]
            fn call(self: Rc<Self>, mut request: Request) -> impl Future<Output = Response> {
                async move {
                    $(
                        let $part = match $part::from_request_parts(&mut request).await {
                            Ok(value) => value,
                            Err(rejection) => return rejection.into_response_to(request.headers()),
                        };
                    )*
                    let head = R::NEGOTIATES.then(|| request.head());
                    let $last = match $last::from_request_or_answer(request).await {
                        Ok(value) => value,
                        Err(response) => return response,
                    };
                    match head {
                        None => self($($part,)* $last).await.into_response(),
                        Some(head) => {
                            self($($part,)* $last).await.into_response_to(head.headers())
                        }
                    }
                }
            }
        }
    };
}

handler!(, A);
handler!(A, B);
handler!(A B, C);
handler!(A B C, D);
handler!(A B C D, E);
handler!(A B C D E, G);
handler!(A B C D E G, H);
handler!(A B C D E G H, I);
