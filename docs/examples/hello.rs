//! The library in ten lines: `cargo run --example hello`, then `curl http://127.0.0.1:3000/`.

use corelane::{App, Cluster, Exit, Path};

fn app() -> App {
    App::new()
        .get("/", || async { "Hello, Cluster!" })
        .get("/users/:id", |Path(id): Path<u64>| async move { format!("user {id}") })
}

fn main() -> Exit {
    Cluster::new(app).listen("127.0.0.1:3000").run()
}
