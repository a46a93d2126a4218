//! What the benchmark of library routes measures: `bench_hello ADDR`, one worker on CPU 0.

use corelane::{App, Cluster, Exit, Path};

fn app() -> App {
    App::new()
        .get("/", || async { "Hello, Cluster!" })
        .get("/users/:id", |Path(id): Path<u64>| async move { format!("user {id}") })
}

fn main() -> Exit {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    Cluster::new(app).listen(address).instances(1).cpus([0]).run()
}
