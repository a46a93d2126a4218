//! The application: routes, handlers, what they take out of a request and what they answer.
//!
//! A request enters by `App::call`. The `table` finds its route and records the parameters as
//! ranges into the path; the route's endpoint is a prepared answer (`builtin`), which costs no
//! allocation, or a `handler`, which costs one: its future. The future runs the extractors
//! (`extract`, `path`, `query`, `json`, `state`), then the handler, and turns what comes out into
//! a `Response` (`respond`); an extractor that refuses is answered by its `rejection`, in text or
//! JSON as the client would rather have it (`accept`). `middleware` stands around all of that, if
//! there is any; `layers` holds what comes with the library.
//!
//! What a client knows already and which part it wants are decided in `conditional` and `range`, of
//! which neither reads a body nor a clock.
//!
//! This room sees no socket and spawns no task: the server polls the future and catches its panics.
//! What a connection becomes after an upgrade (`websocket`) it is handed as a byte stream; what has
//! to wait for a disk (`files`) waits on the core's helper thread, or on the one that writes a log.

mod accept;
mod application;
mod around;
// Prepared answers are what `corelane.toml` is made of; without it nobody makes one.
#[cfg_attr(not(any(feature = "cli", test)), expect(dead_code))]
mod builtin;
mod call;
mod coding;
mod conditional;
mod error;
mod extract;
mod files;
mod handler;
mod hooks;
mod inbox;
mod json;
mod layers;
mod lenient;
mod middleware;
mod path;
mod pattern;
mod query;
mod range;
mod rejection;
mod respond;
mod routes;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod websocket;

pub use application::App;
#[cfg(any(feature = "cli", test))]
pub(crate) use builtin::{echo, redirect, respond};
pub(crate) use call::{Answer, Call, HandlerFuture};
pub use conditional::{Conditional, Unmet};
pub use error::{Error, Failed};
pub use extract::{
    ClientIp, Cookies, Extension, Field as MultipartField, Form, FromRequest, FromRequestParts,
    Host, MatchedPath, Multipart, ProxyError, SignedCookies, TrustedProxies, ViaParts, ViaRequest,
};
pub use files::Files;
#[cfg(any(feature = "cli", test))]
pub(crate) use files::Options as FileOptions;
pub use handler::Handler;
pub use hooks::HookResult;
pub use json::Json;
pub use layers::{
    AccessLog, BasicAuth, BearerAuth, BodyLimit, Compression, Cors, Decompression, LogWriter,
    RateLimit, RequestId, RequestTimeout, SecurityHeaders, SetRequestId, same_secret,
};
pub use lenient::TrailingSlash;
pub use middleware::{Middleware, Next};
pub use path::Path;
pub use pattern::PatternError;
pub use query::Query;
pub use rejection::Rejection;
pub(crate) use rejection::refuse;
pub use respond::{
    Accept, AcceptLanguage, ByteRange, ETag, Html, IntoResponse, LastEventId, Redirect, Sse,
    SseEvent,
};
pub use routes::Methods;
pub use state::State;
pub use websocket::{Close, HandshakeError, Message, WebSocket, WebSocketError, WebSocketUpgrade};
