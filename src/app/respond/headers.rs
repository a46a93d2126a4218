//! Headers beside what a handler answers.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue, VARY};

use super::IntoResponse;
use crate::message::Response;

/// The body and status of the second with these headers, which replace those of the same name. One
/// name several times makes several headers.
///
/// Names and values are what can become [`HeaderName`] and [`HeaderValue`]. What cannot, such as a
/// value with a line end in it, is answered with 500, and whoever listens to `tracing` is told.
///
/// ```
/// use corelane::App;
///
/// let app = App::new().get("/", async || ([("x-powered-by", "corelane")], "Hello, Cluster!"));
/// ```
impl<K, V, T, const N: usize> IntoResponse for ([(K, V); N], T)
where
    K: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
    T: IntoResponse,
{
    fn into_response(self) -> Response {
        let (headers, answer) = self;
        let mut response = answer.into_response();
        let mut set: Vec<HeaderName> = Vec::with_capacity(N);
        for (name, value) in headers {
            let Ok(name) = name.try_into() else { return malformed("a name that is no token") };
            let Ok(value) = value.try_into() else { return malformed(name.as_str()) };
            if set.contains(&name) {
                response.headers_mut().append(name, value);
            } else {
                response.headers_mut().insert(name.clone(), value);
                set.push(name);
            }
        }
        response
    }
}

/// As without the status, with this status.
impl<K, V, T, const N: usize> IntoResponse for (StatusCode, [(K, V); N], T)
where
    K: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
    T: IntoResponse,
{
    fn into_response(self) -> Response {
        let (status, headers, answer) = self;
        // In this order a malformed header keeps its 500.
        (headers, (status, answer)).into_response()
    }
}

/// The program is wrong, and must not send half of what it meant.
#[cold]
fn malformed(header: &str) -> Response {
    tracing::error!(header, "a handler's header cannot be sent");
    Response::text(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error")
}

impl Response {
    /// Adds a header beside those of this name.
    ///
    /// ```
    /// use corelane::Response;
    /// use http::header::{HeaderValue, LINK};
    ///
    /// let response = Response::new("")
    ///     .with_appended_header(LINK, HeaderValue::from_static("</2>; rel=next"))
    ///     .with_appended_header(LINK, HeaderValue::from_static("</9>; rel=last"));
    /// assert_eq!(response.headers().get_all(LINK).iter().count(), 2);
    /// ```
    #[must_use]
    pub fn with_appended_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers_mut().append(name, value);
        self
    }

    /// Says to caches that the answer depends on this header of the request, unless it says so
    /// already.
    ///
    /// ```
    /// use corelane::Response;
    /// use http::header::{ACCEPT, ORIGIN};
    ///
    /// let response = Response::new("").with_vary(ACCEPT).with_vary(ORIGIN).with_vary(ACCEPT);
    /// let vary: Vec<_> = response.headers().get_all("vary").iter().collect();
    /// assert_eq!(vary, ["accept", "origin"]);
    /// ```
    #[must_use]
    pub fn with_vary(mut self, name: HeaderName) -> Self {
        let is =
            |known: &[u8]| known == b"*" || known.eq_ignore_ascii_case(name.as_str().as_bytes());
        let mut known = self.headers().get_all(VARY).iter();
        let said = known.any(|value| {
            value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(is)
        });
        if !said {
            self.headers_mut().append(VARY, HeaderValue::from(name));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, CONTENT_TYPE, SET_COOKIE};

    use super::*;
    use crate::app::Html;

    fn sent(response: &Response) -> Vec<String> {
        let mut lines: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn answers_with_headers_beside_the_body() {
        let inner = Response::new("").with_header(SET_COOKIE, HeaderValue::from_static("old"));
        let cookies =
            [(SET_COOKIE, HeaderValue::from_static("a")), (SET_COOKIE, "b".parse().unwrap())];
        let table: Vec<(Response, u16, &[&str])> = vec![
            (([("x-a", "1"), ("X-B", "2")], "hi").into_response(), 200, &["x-a: 1", "x-b: 2"]),
            (([("x-n", 7_u64)], ()).into_response(), 200, &["x-n: 7"]),
            (([("x-s", String::from("s"))], ()).into_response(), 200, &["x-s: s"]),
            ((cookies, inner).into_response(), 200, &["set-cookie: a", "set-cookie: b"]),
            (
                (StatusCode::CREATED, [(CONTENT_TYPE, "text/csv")], Html("a,b")).into_response(),
                201,
                &["content-type: text/csv"],
            ),
            (([("x y", "1")], "").into_response(), 500, &[]),
            (([("x", "1\r\nset-cookie: a")], "").into_response(), 500, &[]),
            ((StatusCode::OK, [("x", "\n")], "").into_response(), 500, &[]),
        ];
        for (response, status, headers) in table {
            assert_eq!(response.status(), status, "{response:?}");
            assert_eq!(sent(&response), headers);
        }
    }

    #[test]
    fn a_content_type_beside_the_body_wins() {
        let response = ([(CONTENT_TYPE, "text/csv")], "a,b").into_response();
        assert_eq!(response.default_content_type(), None);
    }

    #[test]
    fn varies_by_each_header_once() {
        let table: [(&[&str], &[&str]); 6] = [
            (&[], &["vary: accept"]),
            (&["origin"], &["vary: accept", "vary: origin"]),
            (&["origin", "cookie"], &["vary: accept", "vary: cookie", "vary: origin"]),
            (&["Cookie,Accept"], &["vary: Cookie,Accept"]),
            (&["*"], &["vary: *"]),
            (&["accept-encoding"], &["vary: accept", "vary: accept-encoding"]),
        ];
        for (before, after) in table {
            let start = Response::new("");
            let response = before.iter().fold(start, |response, value| {
                response.with_appended_header(VARY, value.parse().unwrap())
            });
            assert_eq!(sent(&response.with_vary(ACCEPT)), after);
        }
    }
}
