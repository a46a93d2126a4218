//! Where a request came from: who sent it, to which host, by which scheme.

use std::net::IpAddr;

use http::StatusCode;
use http::uri::Authority;

use super::forwarded::{Trail, TrustedProxies};
use crate::app::state::Scope;
use crate::app::{App, FromRequestParts, Rejection};
use crate::message::{Request, Scheme};

impl App {
    /// Believes what these proxies say of the clients behind them; without, nobody is believed. It
    /// is what [`ClientIp`], [`Host`] and [`Scheme`] go by.
    ///
    /// ```
    /// use corelane::{App, ClientIp, TrustedProxies};
    ///
    /// fn app() -> Result<App, corelane::ProxyError> {
    ///     let proxies = TrustedProxies::networks("loopback, 10.0.0.0/8")?;
    ///     Ok(App::new()
    ///         .trust_proxy(proxies)
    ///         .get("/", async |ClientIp(ip): ClientIp| format!("you are {ip}")))
    /// }
    /// # app().unwrap();
    /// ```
    ///
    /// # Panics
    /// The app has been told already.
    #[must_use]
    #[track_caller]
    pub fn trust_proxy(self, proxies: TrustedProxies) -> Self {
        self.state(proxies)
    }
}

/// The address of the client: the nearest one to this server that is no
/// [trusted proxy](App::trust_proxy). A client that is not one of these cannot choose it.
///
/// A client on a Unix socket has none; behind a proxy on one, trust `unix`. Without an address the
/// answer is 500, since the server's listener is to blame; `Option<ClientIp>` does without.
///
/// ```
/// use corelane::{App, ClientIp};
///
/// let app = App::new().get("/", async |ClientIp(ip): ClientIp| format!("you are {ip}"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientIp(pub IpAddr);

impl ClientIp {
    /// The address, for middleware.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        Trail::follow(request, proxies(request)).client.map(Self)
    }
}

impl FromRequestParts for ClientIp {
    type Rejection = Rejection;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Rejection> {
        Self::of(request).ok_or_else(|| {
            Rejection::missing_bug(
                "the client came by a Unix socket and has no address; trust the proxy `unix`",
            )
        })
    }
}

/// The host that the client asked for, with its port if one was given: from `Host`, or from what a
/// [trusted proxy](App::trust_proxy) says. Any client can ask for any host.
///
/// ```
/// use corelane::{App, Host};
///
/// let app = App::new().get("/", async |Host(host): Host| format!("this is {host}"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host(pub String);

impl FromRequestParts for Host {
    type Rejection = Rejection;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Rejection> {
        let trail = Trail::follow(request, proxies(request));
        if let Some(host) = trail.host {
            let valid = !host.contains('@') && host.parse::<Authority>().is_ok();
            let refusal = || Rejection::bad_request("the host that the proxy names is malformed");
            return valid.then_some(Self(host)).ok_or_else(refusal);
        }
        let host = request.host().filter(|host| !host.is_empty());
        host.map(|host| Self(host.to_owned())).ok_or_else(|| {
            Rejection::missing(StatusCode::BAD_REQUEST, "the request does not name a host")
        })
    }
}

/// How the client reached the server, or the [trusted proxy](App::trust_proxy) before it.
impl FromRequestParts for Scheme {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Self::Rejection> {
        let trail = Trail::follow(request, proxies(request));
        Ok(trail.scheme.unwrap_or(request.scheme()))
    }
}

fn proxies(request: &Request) -> Option<std::rc::Rc<TrustedProxies>> {
    Scope::of(request)?.get()
}
