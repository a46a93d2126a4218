//! ntex, on its own runtime.

use std::process::ExitCode;

use ntex::SharedCfg;
use ntex::http::HttpServiceConfig;
use ntex::time::Seconds;
use ntex::util::Bytes;
use ntex::web::types::{Json, Path, PayloadConfig};
use ntex::web::{self, App, HttpResponse, HttpServer, ServiceConfig};
use peers::{BACKLOG, BODY_MAX, BYTES, HELLO, KEEP_ALIVE_SECONDS, Listing, ROUTES, TEXT, pattern};

fn routes(config: &mut ServiceConfig) {
    config.state(PayloadConfig::new(BODY_MAX));
    config.route("/", web::get().to(hello)).route("/echo", web::post().to(echo));
    config.route("/store", web::post().to(store));
    for resource in 0..ROUTES {
        let listing = async move |path: Path<(u64, usize)>| {
            let (id, count) = path.into_inner();
            HttpResponse::Ok().json(&Listing::new(resource, id, count))
        };
        config.route(&pattern(resource), web::get().to(listing));
    }
}

async fn hello() -> HttpResponse {
    HttpResponse::Ok().content_type(TEXT).body(HELLO)
}

async fn store(listing: Json<Listing>) -> HttpResponse {
    HttpResponse::Ok().json(&*listing)
}

async fn echo(body: Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type(BYTES).body(body)
}

fn main() -> ExitCode {
    peers::serve(|port, workers| {
        let serving = async move {
            let http = HttpServiceConfig::new().set_keepalive(Seconds(KEEP_ALIVE_SECONDS));
            HttpServer::new(async || App::new().configure(routes))
                .workers(workers)
                .backlog(BACKLOG)
                .config(SharedCfg::new("peers").add(http))
                .bind(("127.0.0.1", port))?
                .run()
                .await
        };
        ntex::rt::System::build().name("peers").build(ntex::rt::DefaultRuntime).block_on(serving)
    })
}
