//! corelane as a library.

use std::process::ExitCode;

use bytes::Bytes;
use corelane::websocket::{WebSocket, WebSocketUpgrade};
use corelane::{App, Cluster, Compression, Json, Limits, Path, Response, Restart, spawn_local};
use http::StatusCode;
use peers::{BODY_MAX, GZIP_LEVEL, HELLO, Listing, ROUTES, pattern};

fn app() -> App {
    let mut app = App::new()
        .get("/", async || HELLO)
        .post("/echo", async |body: Bytes| body)
        .post("/store", async |Json(listing): Json<Listing>| Json(listing))
        .get("/ws", async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(send_back))
        .files("/files", peers::files())
        .mount("/page", page())
        .get("/die", die);
    for resource in 0..ROUTES {
        // Express's way to write a parameter.
        let path = pattern(resource).replace('{', ":").replace('}', "");
        let listing = async move |Path((id, count)): Path<(u64, usize)>| {
            Json(Listing::new(resource, id, count))
        };
        app = app.get(&path, listing);
    }
    app
}

/// A text, compressed for whoever accepts it.
fn page() -> App {
    let page = Bytes::from(peers::page());
    let answer = async move || Response::text(StatusCode::OK, page.clone());
    App::new().get("/", answer).wrap(Compression::new().gzip_level(GZIP_LEVEL))
}

/// Sends back every message until the client has gone, in whatever way.
async fn send_back(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Has a task of the worker panic, which ends the worker.
async fn die() -> &'static str {
    drop(spawn_local(async { panic!("on purpose") }));
    "the worker ends"
}

fn main() -> ExitCode {
    let (port, workers) = match peers::arguments() {
        Ok(arguments) => arguments,
        Err(wrong) => return wrong,
    };
    let mut limits = Limits::default();
    limits.body_bytes = BODY_MAX as u64;
    let exit = Cluster::new(app)
        .listen(format!("127.0.0.1:{port}"))
        .instances(workers)
        .limits(limits)
        // Twenty deaths in a row are asked for, and none is to wait.
        .restart(Restart::unlimited())
        .run();
    std::process::Termination::report(exit)
}
