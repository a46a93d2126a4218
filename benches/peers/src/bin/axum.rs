//! axum: every worker is a thread with a current-thread tokio runtime and a listener of its own.

use std::io;
use std::process::ExitCode;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use peers::{BODY_MAX, HELLO, Listing, ROUTES, listen, pattern};
use tokio::net::TcpListener;

fn routes() -> Router {
    let mut router = Router::new()
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
