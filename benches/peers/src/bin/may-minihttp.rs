//! `may_minihttp`, with `matchit` for the routes, since it has no router.

use std::io::{self, Read};
use std::process::ExitCode;
use std::sync::Arc;

use matchit::Router;
use may_minihttp::{HttpServer, HttpService, Request, Response};
use peers::{HELLO, Listing, ROUTES, pattern};

#[derive(Clone)]
struct Service {
    routes: Arc<Router<usize>>,
}

impl HttpService for Service {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        if request.path() == "/" {
            response.header("Content-Type: text/plain; charset=utf-8").body(HELLO);
        } else if request.path() == "/echo" {
            let mut body = Vec::new();
            request.body().read_to_end(&mut body)?;
            response.header("Content-Type: application/octet-stream").body_vec(body);
        } else if let Some(listing) = self.listing(request.path()) {
            response.header("Content-Type: application/json");
            response.body_vec(serde_json::to_vec(&listing)?);
        } else {
            response.status_code(404, "Not Found");
        }
        Ok(())
    }
}

impl Service {
    fn listing(&self, path: &str) -> Option<Listing> {
        let found = self.routes.at(path).ok()?;
        let id = found.params.get("id")?.parse().ok()?;
        let count = found.params.get("count")?.parse().ok()?;
        Some(Listing::new(*found.value, id, count))
    }
}

fn main() -> ExitCode {
    peers::serve(|port, workers| {
        may::config().set_workers(workers);
        let mut routes = Router::new();
        for resource in 0..ROUTES {
            routes.insert(pattern(resource), resource).map_err(io::Error::other)?;
        }
        let server = HttpServer(Service { routes: Arc::new(routes) });
        let served = server.start(("127.0.0.1", port))?.join();
        served.map_err(|_| io::Error::other("the listener has panicked"))
    })
}
