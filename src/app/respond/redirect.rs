//! Sending a client elsewhere.

use std::fmt::Write as _;

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};

use super::IntoResponse;
use crate::message::Response;

/// Sends the client elsewhere, with an empty body.
///
/// | made by | status | the client then asks with |
/// |---|---|---|
/// | [`to`](Self::to) | 302 Found | GET where it had sent POST, in practice; else the same method |
/// | [`see_other`](Self::see_other) | 303 See Other | GET: the answer to a form that was sent |
/// | [`temporary`](Self::temporary) | 307 Temporary Redirect | the same method and body |
/// | [`moved`](Self::moved) | 301 Moved Permanently | as 302, and remembers it |
/// | [`permanent`](Self::permanent) | 308 Permanent Redirect | as 307, and remembers it |
///
/// The location is a path or a whole URL. What may not stand in one is percent-encoded, line ends
/// and backslashes too, so it never ends the header. Where it comes from a client, see to it that
/// it leads nowhere else: `//host/` is another host.
///
/// ```
/// use corelane::{App, Redirect};
///
/// let app = App::new()
///     .get("/old", async || Redirect::permanent("/new"))
///     .post("/orders", async || Redirect::see_other("/orders/7"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    status: StatusCode,
    location: HeaderValue,
}

impl Redirect {
    /// 302.
    #[must_use]
    pub fn to(location: impl AsRef<str>) -> Self {
        Self::new(StatusCode::FOUND, location.as_ref())
    }

    /// 303.
    #[must_use]
    pub fn see_other(location: impl AsRef<str>) -> Self {
        Self::new(StatusCode::SEE_OTHER, location.as_ref())
    }

    /// 307.
    #[must_use]
    pub fn temporary(location: impl AsRef<str>) -> Self {
        Self::new(StatusCode::TEMPORARY_REDIRECT, location.as_ref())
    }

    /// 301.
    #[must_use]
    pub fn moved(location: impl AsRef<str>) -> Self {
        Self::new(StatusCode::MOVED_PERMANENTLY, location.as_ref())
    }

    /// 308.
    #[must_use]
    pub fn permanent(location: impl AsRef<str>) -> Self {
        Self::new(StatusCode::PERMANENT_REDIRECT, location.as_ref())
    }

    fn new(status: StatusCode, location: &str) -> Self {
        Self { status, location: encode_location(location) }
    }
}

impl IntoResponse for Redirect {
    fn into_response(self) -> Response {
        Response::empty(self.status).with_header(LOCATION, self.location)
    }
}

impl Response {
    /// Says where something is, such as what a POST has made; percent-encoded as by [`Redirect`].
    ///
    /// ```
    /// use corelane::Response;
    /// use http::StatusCode;
    ///
    /// let made = Response::empty(StatusCode::CREATED).with_location("/users/Zoë");
    /// assert_eq!(made.headers()["location"], "/users/Zo%C3%AB");
    /// ```
    #[must_use]
    pub fn with_location(self, location: impl AsRef<str>) -> Self {
        self.with_header(LOCATION, encode_location(location.as_ref()))
    }
}

/// Encodes what RFC 3986 lets stand in no part of a URL. A `%` before two hexadecimal digits has
/// been encoded already.
fn encode_location(location: &str) -> HeaderValue {
    let bytes = location.as_bytes();
    let mut encoded = String::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().copied().enumerate() {
        let stands = match byte {
            b'%' => {
                let digits = bytes.get(at + 1..at + 3);
                digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            }
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
            _ => byte.is_ascii_graphic(),
        };
        if stands {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("invariant: a string grows");
        }
    }
    HeaderValue::try_from(encoded).expect("invariant: visible ASCII alone")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_with_the_status_it_is_named_for() {
        let table = [
            (Redirect::to("/a"), 302),
            (Redirect::see_other("/a"), 303),
            (Redirect::temporary(String::from("/a")), 307),
            (Redirect::moved("/a"), 301),
            (Redirect::permanent("/a"), 308),
        ];
        for (redirect, status) in table {
            let response = redirect.into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[LOCATION], "/a");
            assert_eq!(response.body().size(), Some(0));
        }
    }

    #[test]
    fn encodes_what_may_not_stand_in_a_location() {
        let table = [
            ("/plain?a=b&c=d;e#f", "/plain?a=b&c=d;e#f"),
            ("https://[::1]:80/~me/!$'()*+,@", "https://[::1]:80/~me/!$'()*+,@"),
            ("/a b", "/a%20b"),
            ("/é/日", "/%C3%A9/%E6%97%A5"),
            ("/a%20b", "/a%20b"),
            ("/100%", "/100%25"),
            ("/%2", "/%252"),
            ("/%zz", "/%25zz"),
            ("/x\r\nSet-Cookie: a=b", "/x%0D%0ASet-Cookie:%20a=b"),
            ("/\0\t\x7f", "/%00%09%7F"),
            ("/\\evil.example", "/%5Cevil.example"),
            ("/\"<>^`{|}", "/%22%3C%3E%5E%60%7B%7C%7D"),
            ("", ""),
        ];
        for (location, encoded) in table {
            assert_eq!(encode_location(location), encoded, "{location:?}");
        }
    }
}
