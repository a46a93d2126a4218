//! Static files: `cargo run --release --example files [ADDR] [DIRECTORY]` serves this repository's
//! documentation, or another directory, with ranges, conditional requests and compressed variants.

use std::path::PathBuf;
use std::time::Duration;

use corelane::{App, Cluster, Exit, Files, SecurityHeaders};

fn main() -> Exit {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let docs = || concat!(env!("CARGO_MANIFEST_DIR"), "/docs").to_owned();
    let directory = PathBuf::from(arguments.next().unwrap_or_else(docs));
    let app = move || {
        let files = Files::new(&directory)
            .index("ARCHITECTURE.md")
            .max_age(Duration::from_secs(60))
            .precompressed();
        App::new().files("/", files).wrap(SecurityHeaders::new())
    };
    Cluster::new(app).listen(address).run()
}
