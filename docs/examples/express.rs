//! What Express on `cluster` is first met by: `cargo run --release --example express [ADDR]`, then
//! `curl http://127.0.0.1:3000/`. One worker per CPU is the default.

use corelane::{App, Cluster, Exit, Html};

fn app() -> App {
    // As `res.send` does with a string.
    App::new().get("/", async || Html("Hello, Express with Cluster!"))
}

fn main() -> Exit {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    Cluster::new(app).listen(address).run()
}
