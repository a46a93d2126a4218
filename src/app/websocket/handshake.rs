//! From HTTP to WebSocket.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::uri::{Authority, Uri};
use http::{Method, StatusCode, Version};
use tungstenite::handshake::derive_accept_key;

use super::socket::{Settings, WebSocket, serve};
use crate::app::accept::split;
use crate::app::extract::{FromRequestParts, Host};
use crate::app::rejection::Rejection;
use crate::app::respond::IntoResponse;
use crate::message::{Headers, Request, Response};

/// A client that wants to speak WebSocket, as an extractor: GET with the headers of the handshake.
///
/// By default a message may have 1 MiB, and a client that has been silent for 60 seconds is pinged
/// before that and given up then. Browsers say which page a WebSocket is opened by, and do not
/// hinder any page from doing so with the cookies of your users; so by default only pages of the
/// same host are let in, see [`any_origin`](Self::any_origin).
///
/// ```
/// use corelane::App;
/// use corelane::websocket::{WebSocket, WebSocketUpgrade};
///
/// async fn echo(mut socket: WebSocket) {
///     while let Some(Ok(message)) = socket.recv().await {
///         if socket.send(message).await.is_err() {
///             return;
///         }
///     }
/// }
///
/// let app = App::new().get("/echo", async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo));
/// ```
#[derive(Debug)]
#[must_use = "the connection is only upgraded by the answer that `on_upgrade` makes"]
pub struct WebSocketUpgrade {
    accept: HeaderValue,
    offered: Vec<String>,
    chosen: Option<HeaderValue>,
    origin: Option<String>,
    host: Option<String>,
    origins: Origins,
    settings: Settings,
}

#[derive(Debug)]
enum Origins {
    Same,
    Any,
    These(Vec<String>),
}

impl WebSocketUpgrade {
    /// Chooses the first of these subprotocols that the client offers, if it offers one.
    ///
    /// # Panics
    /// One of them is no token.
    pub fn protocols<'p>(mut self, known: impl IntoIterator<Item = &'p str>) -> Self {
        let mut known = known.into_iter();
        let chosen = known.find(|known| self.offered.iter().any(|offered| offered == known));
        self.chosen = chosen.map(|chosen| HeaderValue::from_str(chosen).expect("a token"));
        self
    }

    /// The subprotocol that was chosen.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.chosen.as_ref()?.to_str().ok()
    }

    /// What a browser says of the page that opens the WebSocket, as in `https://example.org`.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// Lets pages of any host open the WebSocket. For what needs no cookie to be of use, or checks
    /// a token of its own.
    pub fn any_origin(mut self) -> Self {
        self.origins = Origins::Any;
        self
    }

    /// Lets pages of these origins open the WebSocket, such as `https://app.example.org`, and no
    /// others.
    pub fn origins<'o>(mut self, origins: impl IntoIterator<Item = &'o str>) -> Self {
        self.origins = Origins::These(origins.into_iter().map(str::to_owned).collect());
        self
    }

    /// The largest message that is received, in bytes. A client that sends a larger one is told so
    /// (1009), and is gone. The memory that its largest message has taken is kept until a WebSocket
    /// ends.
    pub fn message_max(mut self, bytes: usize) -> Self {
        self.settings.message_max = bytes;
        self
    }

    /// How long a client may be silent. It is pinged when half of that is over.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle = timeout;
        self
    }

    /// The answer that upgrades the connection, and what becomes of it then. The WebSocket is
    /// closed when it is dropped, which is mostly when `then` ends. If `then` panics, the client
    /// is told that the server has failed (1011).
    pub fn on_upgrade<F>(self, then: F) -> Response
    where
        F: AsyncFnOnce(WebSocket) + 'static,
    {
        if !self.may_enter() {
            let message = "a page of another host may not open this WebSocket";
            return Rejection::new(StatusCode::FORBIDDEN, message).into_response();
        }
        let settings = self.settings;
        let mut response = Response::empty(StatusCode::SWITCHING_PROTOCOLS)
            .with_header(UPGRADE, HeaderValue::from_static("websocket"))
            .with_header(SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(chosen) = self.chosen {
            response = response.with_header(SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        response.upgrade(move |io, leftover| serve(io, leftover, settings, then))
    }

    fn may_enter(&self) -> bool {
        let Some(origin) = &self.origin else { return true };
        match &self.origins {
            Origins::Any => true,
            Origins::These(these) => these.iter().any(|known| known.eq_ignore_ascii_case(origin)),
            Origins::Same => self.host.as_ref().is_some_and(|host| is_of_host(origin, host)),
        }
    }
}

/// Whether a page of this origin is a page of this host. A proxy that decrypts may leave the port
/// out.
fn is_of_host(origin: &str, host: &str) -> bool {
    let (Ok(origin), Ok(host)) = (origin.parse::<Uri>(), host.parse::<Authority>()) else {
        return false;
    };
    let usual = match origin.scheme_str() {
        Some("https") => 443,
        Some("http") => 80,
        _ => return false,
    };
    let same_name = origin.host().is_some_and(|name| name.eq_ignore_ascii_case(host.host()));
    same_name && origin.port_u16().unwrap_or(usual) == host.port_u16().unwrap_or(usual)
}

/// Why a request does not begin a WebSocket: 400, or 426 with what it would take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HandshakeError {
    message: &'static str,
    /// A header that says what it would take.
    needs: Option<(HeaderName, &'static str)>,
}

impl HandshakeError {
    const fn new(message: &'static str) -> Self {
        Self { message, needs: None }
    }

    const fn needs(message: &'static str, name: HeaderName, value: &'static str) -> Self {
        Self { message, needs: Some((name, value)) }
    }

    fn response(self, reply: impl FnOnce(Rejection) -> Response) -> Response {
        let Some((name, value)) = self.needs else {
            return reply(Rejection::new(StatusCode::BAD_REQUEST, self.message));
        };
        let response = reply(Rejection::new(StatusCode::UPGRADE_REQUIRED, self.message));
        let response = response
            .with_header(CONNECTION, HeaderValue::from_static("upgrade"))
            .with_header(UPGRADE, HeaderValue::from_static("websocket"));
        response.with_header(name, HeaderValue::from_static(value))
    }
}

impl IntoResponse for HandshakeError {
    const NEGOTIATES: bool = true;

    fn into_response(self) -> Response {
        self.response(IntoResponse::into_response)
    }

    fn into_response_to(self, headers: Headers<'_>) -> Response {
        self.response(|rejection| rejection.into_response_to(headers))
    }
}

impl FromRequestParts for WebSocketUpgrade {
    type Rejection = HandshakeError;

    async fn from_request_parts(request: &mut Request) -> Result<Self, HandshakeError> {
        let accept = check(request)?;
        let host = Host::from_request_parts(request).await.ok().map(|Host(host)| host);
        let headers = request.headers();
        let offered = headers.all(SEC_WEBSOCKET_PROTOCOL.as_str());
        let offered = offered.filter_map(|value| std::str::from_utf8(value).ok());
        Ok(Self {
            accept,
            offered: offered.flat_map(|list| split(list, b',')).map(str::to_owned).collect(),
            chosen: None,
            origin: headers.get(ORIGIN.as_str()).map(str::to_owned),
            host,
            origins: Origins::Same,
            settings: Settings::default(),
        })
    }
}

/// Checks the handshake (RFC 6455, 4.2.1), and returns the proof that it was read.
fn check(request: &Request) -> Result<HeaderValue, HandshakeError> {
    let headers = request.headers();
    if *request.method() != Method::GET {
        return Err(HandshakeError::new("a WebSocket begins with GET"));
    }
    if request.version() != Version::HTTP_11 {
        return Err(HandshakeError::new("a WebSocket begins with HTTP/1.1"));
    }
    if !names(headers, &CONNECTION, "upgrade") || !names(headers, &UPGRADE, "websocket") {
        let message = "this is a WebSocket: ask for `Connection: upgrade`, `Upgrade: websocket`";
        return Err(HandshakeError::needs(message, UPGRADE, "websocket"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION.as_str()) != Some("13") {
        let message = "`Sec-WebSocket-Version` must be 13";
        return Err(HandshakeError::needs(message, SEC_WEBSOCKET_VERSION, "13"));
    }
    if request.body().size() != Some(0) {
        return Err(HandshakeError::new("a request that begins a WebSocket has no body"));
    }
    let mut keys = headers.all(SEC_WEBSOCKET_KEY.as_str());
    let key = keys.next().filter(|_| keys.next().is_none()).unwrap_or_default();
    if STANDARD.decode(key).map_or(0, |nonce| nonce.len()) != 16 {
        return Err(HandshakeError::new("`Sec-WebSocket-Key` must be 16 bytes in base64"));
    }
    Ok(HeaderValue::try_from(derive_accept_key(key)).expect("invariant: base64"))
}

/// Whether a list has this element, in any case.
fn names(headers: Headers<'_>, name: &HeaderName, element: &str) -> bool {
    let values = headers.all(name.as_str()).filter_map(|value| std::str::from_utf8(value).ok());
    values.flat_map(|list| split(list, b',')).any(|known| known.eq_ignore_ascii_case(element))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_of_the_host_that_it_names() {
        let table = [
            ("https://example.org", "example.org", true),
            ("https://Example.org", "example.ORG", true),
            ("https://example.org", "example.org:443", true),
            ("http://example.org", "example.org:80", true),
            ("http://example.org:8080", "example.org:8080", true),
            ("http://[::1]:3000", "[::1]:3000", true),
            ("http://example.org:8080", "example.org", false),
            ("https://example.org", "example.org:8443", false),
            ("http://example.org", "example.org:443", false),
            ("https://evil.example", "example.org", false),
            ("https://example.org.evil.example", "example.org", false),
            ("https://evil.example/example.org", "example.org", false),
            ("file://example.org", "example.org", false),
            ("null", "example.org", false),
            ("", "example.org", false),
        ];
        for (origin, host, same) in table {
            assert_eq!(is_of_host(origin, host), same, "{origin} {host}");
        }
    }
}
