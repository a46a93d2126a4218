//! Which route a request took.

use http::StatusCode;

use crate::app::{FromRequestParts, Rejection};
use crate::message::Request;

/// The pattern of the route that matched, such as `/users/:id`, prefixes of mounted apps included;
/// [`Request::matched_path`] for middleware. In a fallback, where no route matched, it is missing:
/// ask for an `Option` there.
///
/// ```
/// use corelane::{App, MatchedPath};
///
/// let app = App::new().get("/users/:id", async |MatchedPath(path): MatchedPath| path);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatchedPath(pub String);

impl FromRequestParts for MatchedPath {
    type Rejection = Rejection;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Rejection> {
        request.matched_path().map(|path| Self(path.to_owned())).ok_or_else(|| {
            Rejection::missing(StatusCode::NOT_FOUND, "the request has matched no route")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::{answer, header, request, text};
    use crate::app::{App, Next};
    use crate::message::{Body, Response};

    #[test]
    fn names_the_route_to_handlers_and_middleware() {
        async fn name(request: Request, next: Next) -> Response {
            let path = request.matched_path().unwrap_or("none").parse().unwrap();
            next.run(request).await.with_header("x-route".parse().unwrap(), path)
        }
        let path = async |path: Option<MatchedPath>| {
            path.map_or_else(|| "none".to_owned(), |MatchedPath(path)| path)
        };
        let inner = App::new().get("/files/*rest", path).get("/", path);
        let app = App::new()
            .get("/", path)
            .get("/literal", path)
            .get("/users/:id", path)
            .put("/users/:name", path)
            .mount("/v/:version", inner)
            .fallback(path)
            .wrap(name);
        let table = [
            ("GET", "/", "/"),
            ("GET", "/literal?x=1", "/literal"),
            ("GET", "/users/7", "/users/:id"),
            ("PUT", "/users/7", "/users/:name"),
            ("GET", "/v/1/files/a/b", "/v/:version/files/*rest"),
            ("GET", "/v/1", "/v/:version"),
            ("GET", "/nowhere", "none"),
            ("GET", "/nowhere/x", "none"),
        ];
        for (method, target, expected) in table {
            let response = answer(&app, request(method, target, &[], Body::empty()));
            assert_eq!(text(&response), expected, "{method} {target}");
            assert_eq!(header(&response, "x-route"), expected, "{method} {target}");
        }
        for (method, target) in [
            ("GET", "/nowhere"),
            ("CONNECT", "a:1"),
            ("OPTIONS", "*"),
            ("PUT", "/"),
            ("PUT", "/x/7"),
        ] {
            let app = App::new().get("/", async || "root").wrap(name).get("/x/:y", path);
            let response = answer(&app, request(method, target, &[], Body::empty()));
            assert_eq!(header(&response, "x-route"), "none", "{method} {target}");
        }
    }
}
