//! tokio-tungstenite by itself: every connection is a WebSocket, whatever its path.

use std::io;
use std::process::ExitCode;

use futures_lite::StreamExt;
use futures_util::SinkExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

/// Sends back until the client has gone, in whatever way.
async fn send_back(stream: TcpStream) -> tokio_tungstenite::tungstenite::Result<()> {
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = socket.try_next().await? {
        if message.is_binary() || message.is_text() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn work(port: u16) -> io::Result<()> {
    let listener = peers::listen(port)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        drop(spawn_local(send_back(stream)));
    }
}

fn main() -> ExitCode {
    peers::serve(|port, workers| {
        peers::on_threads(workers, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, work(port))
        })
    })
}
