//! What Node's `cluster` is first met by: workers that announce themselves and answer, and a death
//! that is mended. `cargo run --release --example cluster [ADDR]`, then
//!
//! ```console
//! $ curl http://127.0.0.1:3000/
//! Hello, Cluster!
//! $ curl http://127.0.0.1:3000/die
//! worker 0 ends
//! ```
//!
//! Nobody's connection but those of that one worker is lost: the listening sockets stay open, the
//! other workers serve on, and the next one is there in a moment.
#![expect(clippy::print_stdout, reason = "it talks to whoever tries it")]

use corelane::{App, Cluster, Exit, Workers, spawn_local};

fn app() -> App {
    App::new()
        .on_start(async || println!("worker {} is running", Workers::current().own()))
        .get("/", async || "Hello, Cluster!")
        .get("/die", async || {
            // A handler that panics costs its request. A task of the worker costs the worker.
            drop(spawn_local(async { panic!("as asked") }));
            format!("worker {} ends\n", Workers::current().own())
        })
}

fn main() -> Exit {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    Cluster::new(app).listen(address).run()
}
