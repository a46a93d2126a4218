//! Cookies, of the request and of the answer.

use std::borrow::Cow;
use std::convert::Infallible;
use std::rc::Rc;

use cookie::{Cookie, CookieJar, Key};
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::app::state::Scope;
use crate::app::{FromRequestParts, IntoResponse, Rejection};
use crate::message::{Headers, Request, Response};

/// What RFC 6265 forbids in a value, and what an encoded value is told by.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');

/// The cookies of a request; returned beside the answer, what has been changed in them is sent.
///
/// Values are percent-encoded when sent and decoded when received, so that none can break out of
/// its cookie; names are not, and what cannot be read is left out: a client sends whatever other
/// sites of its domain have set. Of two cookies of one name the first counts, which is the one with
/// the longer path.
///
/// ```
/// use corelane::{App, Cookies};
///
/// let app = App::new().get("/", async |mut cookies: Cookies| {
///     let visits = cookies.get("visits").and_then(|text| text.parse().ok()).unwrap_or(0) + 1;
///     cookies.add(("visits", visits.to_string()));
///     (cookies, format!("visit {visits}"))
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Cookies(CookieJar);

impl Cookies {
    /// The value of a cookie.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Cookie::value)
    }

    /// Every name and value, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(Cookie::name_value)
    }

    /// Has a cookie sent with the answer, as [`Response::with_cookie`] does.
    pub fn add(&mut self, cookie: impl Into<Cookie<'static>>) {
        self.0.add(cookie);
    }

    /// Has the client forget a cookie, if it has sent it. One that was set with a path other than
    /// `/` or with a domain is named with these.
    pub fn remove(&mut self, cookie: impl Into<Cookie<'static>>) {
        self.0.remove(with_path(cookie.into()));
    }
}

/// The cookies of a request that this app has signed, by HMAC-SHA256 over name and value; what
/// others have signed, or changed, is not there. Signed, not secret: a client can read them.
///
/// The key is a state of the app. Without one the request is answered with 500.
///
/// ```
/// use corelane::cookie::Key;
/// use corelane::{App, SignedCookies};
///
/// fn app(secret: &[u8]) -> App {
///     App::new()
///         .state(Key::derive_from(secret)) // at least 32 random bytes, the same on every core
///         .get("/", async |cookies: SignedCookies| {
///             cookies.get("user").unwrap_or_else(|| "nobody".to_owned())
///         })
///         .post("/login", async |mut cookies: SignedCookies| {
///             cookies.add(("user", "Ann"));
///             (cookies, "welcome")
///         })
/// }
/// # let _ = app(&[7; 32]);
/// ```
#[derive(Clone)]
pub struct SignedCookies {
    jar: CookieJar,
    key: Rc<Key>,
}

impl SignedCookies {
    /// The value of a cookie, if it was signed by this app under this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let signed = self.jar.signed(&self.key).get(name)?;
        let value = signed.value().strip_prefix(name)?.strip_prefix('=')?;
        Some(value.to_owned())
    }

    /// Has a cookie signed and sent with the answer, as [`Response::with_cookie`] does.
    pub fn add(&mut self, cookie: impl Into<Cookie<'static>>) {
        let mut cookie = cookie.into();
        // Else a value signed under one name would be good under every other.
        cookie.set_value(format!("{}={}", cookie.name(), cookie.value()));
        self.jar.signed_mut(&self.key).add(cookie);
    }

    /// Has the client forget a cookie, as [`Cookies::remove`] does.
    pub fn remove(&mut self, cookie: impl Into<Cookie<'static>>) {
        self.jar.remove(with_path(cookie.into()));
    }
}

impl std::fmt::Debug for SignedCookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedCookies").field("jar", &self.jar).finish_non_exhaustive()
    }
}

impl FromRequestParts for Cookies {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Infallible> {
        Ok(Self(received(request.headers())))
    }
}

impl FromRequestParts for SignedCookies {
    type Rejection = Rejection;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Rejection> {
        let key = Scope::of(request).and_then(|scope| scope.get::<Key>());
        let key = key.ok_or_else(|| {
            Rejection::bug("the app has no key to sign cookies with; add a `Key` by `App::state`")
        })?;
        Ok(Self { jar: received(request.headers()), key })
    }
}

impl Response {
    /// Has the client keep a cookie: for `/` and everything below, unless it says another path, and
    /// until the client is closed, unless it says how long. The value is percent-encoded.
    ///
    /// ```
    /// use corelane::Response;
    /// use corelane::cookie::{Cookie, SameSite, time::Duration};
    ///
    /// let session = Cookie::build(("session", "a b"))
    ///     .http_only(true)
    ///     .secure(true)
    ///     .same_site(SameSite::Lax)
    ///     .max_age(Duration::hours(1));
    /// let response = Response::new("welcome").with_cookie(session).with_cookie(("theme", "dark"));
    /// assert_eq!(response.headers()["set-cookie"].to_str().unwrap().split(';').next(),
    ///     Some("session=a%20b"));
    /// ```
    ///
    /// # Panics
    /// The name is not a token of HTTP, or the path or the domain cannot be part of a header.
    #[must_use]
    #[track_caller]
    pub fn with_cookie(mut self, cookie: impl Into<Cookie<'static>>) -> Self {
        send(&mut self, with_path(cookie.into()));
        self
    }

    /// Has the client forget a cookie. One that was set with a path other than `/` or with a domain
    /// is named with these.
    ///
    /// ```
    /// use corelane::Response;
    ///
    /// let response = Response::new("goodbye").without_cookie("session");
    /// ```
    ///
    /// # Panics
    /// As [`with_cookie`](Self::with_cookie).
    #[must_use]
    #[track_caller]
    pub fn without_cookie(mut self, cookie: impl Into<Cookie<'static>>) -> Self {
        let mut cookie = with_path(cookie.into());
        cookie.make_removal();
        send(&mut self, cookie);
        self
    }
}

macro_rules! beside_an_answer {
    ($cookies:ty, $jar:ident => $field:expr) => {
        /// Sends what has been changed in the cookies.
        impl<T: IntoResponse> IntoResponse for ($cookies, T) {
            const NEGOTIATES: bool = T::NEGOTIATES;

            fn into_response(self) -> Response {
                let ($jar, answer) = self;
                send_changes(answer.into_response(), &$field)
            }

            fn into_response_to(self, headers: Headers<'_>) -> Response {
                let ($jar, answer) = self;
                send_changes(answer.into_response_to(headers), &$field)
            }
        }
    };
}

beside_an_answer!(Cookies, cookies => cookies.0);
beside_an_answer!(SignedCookies, cookies => cookies.jar);

#[track_caller]
fn send_changes(mut response: Response, jar: &CookieJar) -> Response {
    for cookie in jar.delta() {
        send(&mut response, with_path(cookie.clone()));
    }
    response
}

/// The cookies that a client has sent.
fn received(headers: Headers<'_>) -> CookieJar {
    let mut jar = CookieJar::new();
    let values = headers.all(COOKIE.as_str()).filter_map(|value| std::str::from_utf8(value).ok());
    for cookie in values.flat_map(Cookie::split_parse).filter_map(Result::ok) {
        // One whose name could not be sent back could not be removed either.
        if is_token(cookie.name()) && jar.get(cookie.name()).is_none() {
            // The name as it is: a decoded one could pretend to a prefix that browsers guard.
            jar.add_original((cookie.name().to_owned(), decode(cookie.value_trimmed())));
        }
    }
    jar
}

/// The value that was encoded; what was not is as it is.
fn decode(value: &str) -> String {
    let decoded = percent_decode_str(value).decode_utf8();
    decoded.unwrap_or(Cow::Borrowed(value)).into_owned()
}

fn with_path(mut cookie: Cookie<'static>) -> Cookie<'static> {
    if cookie.path().is_none() {
        cookie.set_path("/");
    }
    cookie
}

#[track_caller]
fn send(response: &mut Response, mut cookie: Cookie<'static>) {
    let name = cookie.name();
    assert!(is_token(name), "{name:?} cannot be the name of a cookie");
    for part in [cookie.path(), cookie.domain()].into_iter().flatten() {
        let fits = part.bytes().all(|byte| (b' '..0x7f).contains(&byte) && byte != b';');
        assert!(fits, "{part:?} cannot be the path or the domain of cookie {name:?}");
    }
    let value = utf8_percent_encode(cookie.value(), ENCODED).to_string();
    cookie.set_value(value);
    let line = HeaderValue::from_str(&cookie.to_string());
    let line = line.expect("invariant: every part that is free is checked or encoded");
    response.headers_mut().append(SET_COOKIE, line);
}

/// Whether a text is a token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    const MARKS: &[u8] = b"!#$%&'*+-.^_`|~";
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || MARKS.contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;
    use crate::app::App;
    use crate::app::tests::{answer, request, text};
    use crate::message::Body;

    fn sent(response: &Response) -> Vec<String> {
        let lines = response.headers().get_all(SET_COOKIE).iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    fn ask(app: &App, path: &str, cookies: &[&str]) -> Response {
        let headers: Vec<_> = cookies.iter().map(|line| ("Cookie", *line)).collect();
        answer(app, request("GET", path, &headers, Body::empty()))
    }

    /// Whoever forgets all that came must not be at the mercy of its names.
    #[test]
    fn a_name_that_could_not_be_sent_back_is_not_there() {
        let app = App::new().get("/", async |mut cookies: Cookies| {
            let names: Vec<_> = cookies.iter().map(|(name, _)| name.to_owned()).collect();
            for name in &names {
                cookies.remove(name.clone());
            }
            (cookies, names.join(" "))
        });
        let headers = [("cookie", "cart[0]=1; a=2; b c=3")];
        let response = answer(&app, request("GET", "/", &headers, Body::empty()));
        assert_eq!((response.status().as_u16(), text(&response).as_str()), (200, "a"));
    }

    #[test]
    fn express_req_cookies() {
        let app = App::new().get("/", async |cookies: Cookies| {
            let mut all: Vec<_> =
                cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            all.sort();
            all.join("|")
        });
        let table: &[(&[&str], &str)] = &[
            (&[], ""),
            (&["a=1; b=2"], "a=1|b=2"),
            (&["a=1", "b=2"], "a=1|b=2"),
            (&["a=1; a=2"], "a=1"),
            (&["a=x%20y%3B"], "a=x y;"),
            (&["a=\"quoted\""], "a=quoted"),
            (&["a=100%; b=%ff; c=%zz"], "a=100%|b=%ff|c=%zz"),
            (&["a=b=c"], "a=b=c"),
            (&["a=; b"], "a="),
            (&["=1; ;; a=1;"], "a=1"),
            (&["__%48ost-a=1"], "__%48ost-a=1"),
        ];
        for (cookies, expected) in table {
            assert_eq!(text(&ask(&app, "/", cookies)), *expected, "{cookies:?}");
        }
    }

    #[test]
    fn express_res_cookie() {
        let lasting = Cookie::build(("a", "1")).path("/x").domain("example.org").http_only(true);
        let lasting = lasting.secure(true).same_site(cookie::SameSite::Strict);
        let lasting = lasting.max_age(cookie::time::Duration::seconds(60));
        let response =
            Response::new("").with_cookie(("b", "x; y,\r\n%\u{e9}")).with_cookie(lasting);
        let expected = [
            "b=x%3B%20y%2C%0D%0A%25%C3%A9; Path=/",
            "a=1; HttpOnly; SameSite=Strict; Secure; Path=/x; Domain=example.org; Max-Age=60",
        ];
        assert_eq!(sent(&response), expected);
    }

    #[test]
    fn express_res_clear_cookie() {
        let gone = Cookie::build("b").path("/x");
        let response = Response::new("").without_cookie("a").without_cookie(gone);
        let lines = sent(&response);
        for (line, beginning) in lines.iter().zip(["a=; Path=/; Max-Age=0; ", "b=; Path=/x; "]) {
            assert!(line.starts_with(beginning) && line.contains("Expires="), "{line}");
        }
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn a_cookie_that_cannot_be_sent_is_a_panic() {
        let table = [
            Cookie::new("a b", ""),
            Cookie::new("", ""),
            Cookie::new("a=b", ""),
            Cookie::new("a\r\nb", ""),
            Cookie::build("a").path("/;x").build(),
            Cookie::build("a").path("/\n").build(),
            Cookie::build("a").domain("x;y").build(),
        ];
        for cookie in table {
            let name = format!("{cookie:?}");
            assert!(catch_unwind(|| Response::new("").with_cookie(cookie)).is_err(), "{name}");
        }
    }

    #[test]
    fn what_changes_is_sent_beside_the_answer() {
        let app = App::new()
            .get("/change", async |mut cookies: Cookies| {
                cookies.add(("a", "2"));
                cookies.remove("b");
                cookies.remove("unknown");
                (cookies, "done")
            })
            .get("/leave", async |cookies: Cookies| (cookies, "done"));
        let response = ask(&app, "/change", &["a=1; b=1; c=1"]);
        let mut lines = sent(&response);
        lines.sort();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0], "a=2; Path=/");
        assert!(lines[1].starts_with("b=; Path=/; Max-Age=0"), "{lines:?}");
        assert_eq!(sent(&ask(&app, "/leave", &["a=1"])), [""; 0]);
    }

    #[test]
    fn express_req_signed_cookies() {
        let app = || {
            App::new()
                .get("/get", async |cookies: SignedCookies| {
                    cookies.get("a").unwrap_or_else(|| "none".to_owned())
                })
                .get("/set", async |mut cookies: SignedCookies| {
                    cookies.add(("a", "x y"));
                    (cookies, "set")
                })
        };
        let unable = ask(&app(), "/get", &[]);
        assert_eq!(unable.status(), 500);
        assert!(text(&unable).contains("add a `Key` by `App::state`"));

        let signing = app().state(Key::from(&[7; 64]));
        let line = sent(&ask(&signing, "/set", &[])).remove(0);
        let pair = line.split(';').next().unwrap();
        let value = pair.strip_prefix("a=").unwrap();
        let mut flipped = pair.to_owned();
        flipped.pop();
        let table = [
            (pair.to_owned(), "x y"),
            (flipped, "none"),
            ("a=x y".to_owned(), "none"),
            (format!("b={value}"), "none"),
            (String::new(), "none"),
        ];
        for (cookie, expected) in table {
            assert_eq!(text(&ask(&signing, "/get", &[&cookie])), expected, "{cookie}");
        }
        let renamed = App::new()
            .state(Key::from(&[7; 64]))
            .get("/", async |of: SignedCookies| of.get("b").unwrap_or_else(|| "none".to_owned()));
        assert_eq!(text(&ask(&renamed, "/", &[&format!("b={value}")])), "none", "another name");
        let other = app().state(Key::from(&[8; 64]));
        assert_eq!(text(&ask(&other, "/get", &[pair])), "none", "another key");
    }
}
