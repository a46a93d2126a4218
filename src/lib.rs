//! corelane: a thread-per-core, shared-nothing HTTP server for Linux.
//!
//! One pinned `io_uring` executor per core owns its own reuse-port listener and its own copy of
//! the application; nothing is shared between cores, so handlers may use `Rc` and `RefCell`.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
#[cfg(doctest)]
#[doc = include_str!("../docs/GUIDE.md")]
struct Guide;
#[cfg(doctest)]
#[doc = include_str!("../docs/FROM-EXPRESS.md")]
struct FromExpress;

mod app;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod cluster;
#[cfg(feature = "cli")]
mod config;
mod control;
mod h1;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
#[cfg(feature = "cli")]
mod loadgen;
#[cfg(feature = "cli")]
mod manager;
mod message;
mod net;
mod restart;
mod rt;
mod server;
mod service;
mod stats;
mod sys;
mod testing;

pub use app::{
    Accept, AcceptLanguage, AccessLog, App, BasicAuth, BearerAuth, BodyLimit, ByteRange, ClientIp,
    Compression, Conditional, Cookies, Cors, Decompression, ETag, Error, Extension, Failed, Files,
    Form, FromRequest, FromRequestParts, Handler, HookResult, Host, Html, IntoResponse, Json,
    LastEventId, LogWriter, MatchedPath, Methods, Middleware, Multipart, MultipartField, Next,
    Path, PatternError, ProxyError, Query, RateLimit, Redirect, Rejection, RequestId,
    RequestTimeout, SecurityHeaders, SetRequestId, SignedCookies, Sse, SseEvent, State,
    TrailingSlash, TrustedProxies, Unmet, ViaParts, ViaRequest, same_secret,
};
pub use cluster::{
    Address, AddressError, BindError, ChangeError, Cluster, ClusterHandle, Event, ExitReason,
    Failure, Instances, InstancesError, Message, PlacementError, SendError, Stall, StartError,
    Stopped, SupervisorPanic, Workers,
};
/// The crate that cookies are made with: [`Cookie`](cookie::Cookie), its builder, and
/// [`Key`](cookie::Key).
#[doc(no_inline)]
pub use cookie;
pub use message::{
    Body, BodyError, Extensions, Headers, Params, Peer, Request, Response, Scheme, Upgraded,
};
pub use restart::{Restart, When};
pub use rt::{
    BlockingError, Draining, File, JoinHandle, Sleep, draining, sleep, spawn_blocking, spawn_local,
};
pub use server::{Balance, Limits, OnPanic, Timeouts};
pub use service::Exit;
pub use stats::{ClusterStats, Figures, Latency, Statuses, WorkerFigures, WorkerState};

pub mod test {
    //! What a test of an app needs.
    //!
    //! [`call`] has an app answer one request, without a socket: the quickest way, for handlers.
    //! [`TestServer`] serves an app on a free port, as it will be served, for everything that a
    //! connection has a part in: limits, streams, upgrades, panics. Both answer with a
    //! [`TestResponse`]. What goes wrong in a test itself is a panic that says so; nothing waits
    //! for longer than ten seconds.
    //!
    //! ```
    //! use corelane::test::{TestRequest, TestServer, call};
    //! use corelane::{App, Json};
    //! use serde_json::{Value, json};
    //!
    //! fn app() -> App {
    //!     App::new()
    //!         .get("/", async || "Hello, Cluster!")
    //!         .post("/double", async |Json(number): Json<i64>| Json(2 * number))
    //! }
    //!
    //! assert_eq!(call(app, TestRequest::get("/")).text(), "Hello, Cluster!");
    //!
    //! let server = TestServer::new(app);
    //! assert_eq!(server.get("/missing").status(), 404);
    //! let doubled = server.send(TestRequest::post("/double").json(&json!(21)));
    //! assert_eq!(doubled.json::<Value>(), 42);
    //! ```

    pub use crate::testing::{TestRequest, TestResponse, TestServer, block_on, call};
}

pub mod websocket {
    //! WebSocket: the handshake is an extractor, [`WebSocketUpgrade`], and its answer hands the
    //! connection over as a [`WebSocket`].
    //!
    //! Fragments are put together, pings answered, limits kept and the worker's drain heard, as
    //! each item says. Extensions, compression among them, are not spoken.
    //!
    //! ```
    //! use corelane::App;
    //! use corelane::websocket::{Message, WebSocketUpgrade};
    //!
    //! let app = App::new().get("/shout", async |upgrade: WebSocketUpgrade| {
    //!     upgrade.on_upgrade(async |mut socket| {
    //!         while let Some(Ok(Message::Text(text))) = socket.recv().await {
    //!             if socket.send(text.to_uppercase()).await.is_err() {
    //!                 break;
    //!             }
    //!         }
    //!     })
    //! });
    //! ```
    pub use crate::app::{
        Close, HandshakeError, Message, WebSocket, WebSocketError, WebSocketUpgrade,
    };
}
