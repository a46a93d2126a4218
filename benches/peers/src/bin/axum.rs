//! axum: every worker is a thread with a current-thread tokio runtime and a listener of its own.

use std::io;
use std::process::ExitCode;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{DefaultBodyLimit, Path, WebSocketUpgrade};
use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use peers::{BODY_MAX, GZIP_LEVEL, HELLO, Listing, ROUTES, TEXT, listen, pattern};
use tokio::net::TcpListener;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeDir;

fn routes() -> Router {
    let page = Bytes::from(peers::page());
    let level = CompressionLevel::Precise(GZIP_LEVEL.cast_signed());
    let mut router = Router::new()
        .route("/page", get(async move || ([(CONTENT_TYPE, TEXT)], page)))
        .layer(CompressionLayer::new().quality(level))
        .nest_service("/files", ServeDir::new(peers::files()))
        .route("/ws", get(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(send_back)))
        .route("/store", post(async |Json(listing): Json<Listing>| Json(listing)))
        .route("/", get(async || HELLO))
        .route("/echo", post(async |body: Bytes| body))
        .layer(DefaultBodyLimit::max(BODY_MAX));
    for resource in 0..ROUTES {
        let listing = move |Path((id, count)): Path<(u64, usize)>| async move {
            Json(Listing::new(resource, id, count))
        };
        router = router.route(&pattern(resource), get(listing));
    }
    router
}

async fn send_back(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let is_data = matches!(message, Message::Binary(_) | Message::Text(_));
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn work(port: u16) -> io::Result<()> {
    let listener = listen(port)?;
    listener.set_nonblocking(true)?;
    // Without a timeout for idle connections: axum::serve has none.
    let listener = TcpListener::from_std(listener)?.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, routes()).await
}

fn main() -> ExitCode {
    peers::serve(|port, workers| {
        peers::on_threads(workers, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(work(port))
        })
    })
}
