//! What all contenders of this package answer, so that they differ in nothing but how.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | [`HELLO`], `text/plain` |
//! | `GET /resourceN/ID/items/COUNT`, N below [`ROUTES`] | a [`Listing`] as JSON |
//! | `POST /echo` | the body, up to [`BODY_MAX`] bytes |
//! | `POST /store` with a [`Listing`] | the same, read and written anew |
//! | `GET /files/NAME` | one of [`FILES`], out of the directory [`files`] |
//! | `GET /page` | [`page`], with gzip of level [`GZIP_LEVEL`] for whoever accepts it |
//! | `GET /ws` | a WebSocket that sends back every message |
//!
//! Every contender is a program `NAME PORT WORKERS` that listens on that port of 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, io};

use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

/// The answer to `GET /`.
pub const HELLO: &str = "Hello, Cluster!";

/// Its type, and the type of an echo.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// The type of a body that comes back.
pub const BYTES: &str = "application/octet-stream";
/// The type of a listing.
pub const JSON: &str = "application/json";

/// How many routes with parameters each router holds.
pub const ROUTES: usize = 200;

/// The largest body that is taken.
pub const BODY_MAX: usize = 2 * 1024 * 1024;

/// Names and sizes of the static files.
pub const FILES: [(&str, usize); 3] =
    [("4k.bin", 4 << 10), ("64k.bin", 64 << 10), ("1m.bin", 1 << 20)];

/// The level of all who compress: nginx's default.
pub const GZIP_LEVEL: u32 = 1;

/// The size of the page that is compressed, in bytes.
pub const PAGE_BYTES: usize = 64 << 10;

/// How many connections may wait to be accepted.
pub const BACKLOG: i32 = 4096;

/// How long an idle connection is kept, in seconds.
pub const KEEP_ALIVE_SECONDS: u16 = 600;

/// The JSON answer: a list of items that belong to what the path named.
#[derive(Serialize, Deserialize)]
pub struct Listing {
    resource: usize,
    id: u64,
    items: Vec<Item>,
}

#[derive(Serialize, Deserialize)]
struct Item {
    index: usize,
    owner: u64,
    name: String,
    cents: u64,
    available: bool,
}

impl Listing {
    /// The items of `id` in one of the resources.
    #[must_use]
    pub fn new(resource: usize, id: u64, count: usize) -> Listing {
        let item = |index: usize| Item {
            index,
            owner: id,
            name: format!("item {index} of {id}"),
            cents: 100 + 7 * index as u64,
            available: index.is_multiple_of(2),
        };
        Listing { resource, id, items: (0..count).map(item).collect() }
    }
}

/// Where the static files are, as the driver says.
#[must_use]
pub fn files() -> PathBuf {
    env::var_os("PEERS_FILES").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// A text like those that are compressed in practice: some of it comes again and again.
#[must_use]
pub fn page() -> String {
    let mut page = serde_json::to_string(&Listing::new(1, 42, PAGE_BYTES / 60)).unwrap_or_default();
    page.truncate(PAGE_BYTES);
    page
}

/// The path of one of the [`ROUTES`], with its parameters written `{id}` and `{count}`.
#[must_use]
pub fn pattern(resource: usize) -> String {
    format!("/resource{resource}/{{id}}/items/{{count}}")
}

/// Serves as the command line says, `PORT WORKERS`; if it fails it says why on stderr.
pub fn serve(with: impl FnOnce(u16, usize) -> io::Result<()>) -> ExitCode {
    let (port, workers) = match arguments() {
        Ok(arguments) => arguments,
        Err(wrong) => return wrong,
    };
    match with(port, workers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

/// What the command line says: the port, and the number of workers.
///
/// # Errors
///
/// The exit code, after a line on stderr, when it says something else.
pub fn arguments() -> Result<(u16, usize), ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [port, workers] = arguments.as_slice() else { return Err(failed("usage: PORT WORKERS")) };
    match (port.parse(), workers.parse()) {
        (Ok(port), Ok(workers)) => Ok((port, workers)),
        _ => Err(failed("PORT and WORKERS are numbers")),
    }
}

fn failed(what: &str) -> ExitCode {
    // The exit code tells as well.
    let _closed = io::Write::write_fmt(&mut io::stderr(), format_args!("error: {what}\n"));
    ExitCode::FAILURE
}

/// Runs `work` on so many threads; the first that ends, ends all.
///
/// # Errors
///
/// The error of that first one.
pub fn on_threads(
    workers: usize,
    work: impl Fn() -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<()> {
    let (tell, told) = std::sync::mpsc::channel();
    for _ in 0..workers {
        let (work, tell) = (work.clone(), tell.clone());
        // The receiver is gone when another thread has ended, and then so is the process.
        std::thread::Builder::new().spawn(move || drop(tell.send(work())))?;
    }
    told.recv().map_err(io::Error::other)?
}

/// A listener on `port` of 127.0.0.1, which may have siblings on the same port.
///
/// # Errors
///
/// Whatever the kernel refuses.
pub fn listen(port: u16) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
