//! actix-web.

use std::process::ExitCode;
use std::time::Duration;

use actix_files::Files;
use actix_web::http::header::ContentType;
use actix_web::web::{self, Bytes, Json, PayloadConfig, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer};
use peers::{BACKLOG, BODY_MAX, HELLO, KEEP_ALIVE_SECONDS, Listing, ROUTES, pattern};

fn routes(config: &mut ServiceConfig) {
    config.app_data(PayloadConfig::new(BODY_MAX));
    config.route("/", web::get().to(hello)).route("/echo", web::post().to(echo));
    config.route("/store", web::post().to(async |listing: Json<Listing>| listing));
    config.service(Files::new("/files", peers::files()));
    for resource in 0..ROUTES {
        let listing = move |path: web::Path<(u64, usize)>| async move {
            let (id, count) = path.into_inner();
            Json(Listing::new(resource, id, count))
        };
        config.route(&pattern(resource), web::get().to(listing));
    }
}

async fn hello() -> HttpResponse {
    HttpResponse::Ok().insert_header(ContentType::plaintext()).body(HELLO)
}

async fn echo(body: Bytes) -> HttpResponse {
    HttpResponse::Ok().insert_header(ContentType::octet_stream()).body(body)
}

fn main() -> ExitCode {
    peers::serve(|port, workers| {
        let server = HttpServer::new(|| App::new().configure(routes))
            .workers(workers)
            .backlog(BACKLOG.unsigned_abs())
            .keep_alive(Duration::from_secs(KEEP_ALIVE_SECONDS.into()));
        let serving = async move { server.bind(("127.0.0.1", port))?.run().await };
        actix_web::rt::System::new().block_on(serving)
    })
}
