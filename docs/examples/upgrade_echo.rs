//! A connection that stops speaking HTTP: `upgrade_echo [ADDR]` answers `GET /echo` with 101 and
//! from then on sends back every byte that it receives.
//!
//! ```console
//! $ printf 'GET /echo HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhi' |
//!       nc -N 127.0.0.1 3000
//! ```

use corelane::{App, Cluster, Exit, Response, Upgraded};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use http::StatusCode;
use http::header::{HeaderValue, UPGRADE};

fn app() -> App {
    App::new().get("/echo", async || {
        Response::empty(StatusCode::SWITCHING_PROTOCOLS)
            .with_header(UPGRADE, HeaderValue::from_static("echo"))
            .upgrade(async |mut io, leftover| {
                // The client has gone: there is nobody to be told.
                let _gone = echo(&mut io, &leftover).await;
            })
    })
}

/// Sends back what came behind the request, then whatever else comes, until the client has sent
/// all it wanted.
async fn echo(io: &mut Upgraded, leftover: &[u8]) -> std::io::Result<()> {
    io.write_all(leftover).await?;
    let mut buffer = [0; 4096];
    loop {
        match io.read(&mut buffer).await? {
            0 => return io.close().await,
            count => io.write_all(&buffer[..count]).await?,
        }
    }
}

fn main() -> Exit {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    Cluster::new(app).listen(address).run()
}
