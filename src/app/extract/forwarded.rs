//! What proxies say of the clients behind them, and how far they are believed.
//!
//! Each proxy appends to what it was sent. So the lists are read from their end, as long as whoever
//! has appended is trusted: what is further to the left, a client may have made up.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ipnet::IpNet;

use crate::app::accept::split;
use crate::message::{Peer, Request, Scheme};

/// The proxies in front of a server that are believed; see [`App::trust_proxy`](crate::App).
///
/// They are believed by `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`, or else by
/// [`Forwarded`](Self::forwarded): never by both, since a proxy that writes one of them passes the
/// other on as the client has sent it.
///
/// ```
/// use corelane::TrustedProxies;
///
/// let nginx = TrustedProxies::networks("loopback")?;
/// let behind_two_balancers = TrustedProxies::hops(2);
/// # Ok::<(), corelane::ProxyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies {
    who: Who,
    header: Header,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Networks { networks: Vec<IpNet>, unix: bool },
    Hops(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    XForwarded,
    Forwarded,
}

/// What is not the name of a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no network of proxies; hint: an address, a network such as `10.0.0.0/8`, \
     `loopback`, `linklocal`, `uniquelocal` or `unix`"
)]
pub struct ProxyError(String);

const LOOPBACK: &[&str] = &["127.0.0.0/8", "::1/128"];
const LINK_LOCAL: &[&str] = &["169.254.0.0/16", "fe80::/10"];
const UNIQUE_LOCAL: &[&str] = &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

impl TrustedProxies {
    /// Proxies with an address in one of these networks, separated by commas. `loopback`,
    /// `linklocal` and `uniquelocal` stand for the usual ones, `unix` for whoever connects to a
    /// Unix socket.
    ///
    /// # Errors
    /// One of them is neither of these.
    pub fn networks(list: &str) -> Result<Self, ProxyError> {
        let (mut networks, mut unix) = (Vec::new(), false);
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let own = [name];
            let names = match name {
                "unix" => {
                    unix = true;
                    continue;
                }
                "loopback" => LOOPBACK,
                "linklocal" => LINK_LOCAL,
                "uniquelocal" => UNIQUE_LOCAL,
                _ => &own,
            };
            for name in names {
                networks.push(network(name).ok_or_else(|| ProxyError((*name).to_owned()))?);
            }
        }
        Ok(Self { who: Who::Networks { networks, unix }, header: Header::XForwarded })
    }

    /// So many proxies, one behind another, whatever their addresses. Only if nobody can reach this
    /// server but through all of them; 0 is nobody.
    #[must_use]
    pub fn hops(number: usize) -> Self {
        Self { who: Who::Hops(number), header: Header::XForwarded }
    }

    /// They write `Forwarded`, as RFC 7239 has it, instead of `X-Forwarded-For` and its kin.
    #[must_use]
    pub fn forwarded(self) -> Self {
        Self { header: Header::Forwarded, ..self }
    }

    /// Whether whoever is so many hops away is believed; without an address it came by a Unix
    /// socket.
    fn trusts(&self, address: Option<IpAddr>, hops: usize) -> bool {
        match (&self.who, address) {
            (Who::Hops(number), _) => hops < *number,
            (Who::Networks { unix, .. }, None) => *unix,
            (Who::Networks { networks, .. }, Some(address)) => {
                networks.iter().any(|network| network.contains(&address))
            }
        }
    }
}

fn network(name: &str) -> Option<IpNet> {
    let single = || name.parse::<IpAddr>().ok().map(IpNet::from);
    name.parse().ok().or_else(single)
}

/// What is known of a request's way here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Trail {
    /// The first on the way back that is not trusted, or the last that is known.
    pub client: Option<IpAddr>,
    /// How the proxies were reached.
    pub scheme: Option<Scheme>,
    /// Which host the proxies were asked for.
    pub host: Option<String>,
}

impl Trail {
    /// Goes back from this server as far as the proxies are trusted.
    pub(super) fn follow(request: &Request, proxies: Option<Rc<TrustedProxies>>) -> Self {
        let peer = match request.peer() {
            Peer::Tcp(address) => Some(address.ip().to_canonical()),
            Peer::Unix { .. } => None,
        };
        match proxies {
            Some(proxies) if proxies.trusts(peer, 0) => Self::believe(request, peer, &proxies),
            _ => Self { client: peer, ..Self::default() },
        }
    }

    /// The peer is trusted.
    fn believe(request: &Request, peer: Option<IpAddr>, proxies: &TrustedProxies) -> Self {
        if proxies.header == Header::Forwarded {
            return Self::forwarded(request, peer, proxies);
        }
        let mut trail = Self {
            client: peer,
            scheme: last(request, "x-forwarded-proto").and_then(scheme),
            host: last(request, "x-forwarded-host").map(str::to_owned),
        };
        let nodes = list(request, "x-forwarded-for", |text| text.rfind(','));
        for (hops, text) in nodes.into_iter().enumerate() {
            let Some(address) = text.and_then(node) else { break };
            trail.client = Some(address);
            if !proxies.trusts(Some(address), hops + 1) {
                break;
            }
        }
        trail
    }

    fn forwarded(request: &Request, peer: Option<IpAddr>, proxies: &TrustedProxies) -> Self {
        let mut trail = Self { client: peer, ..Self::default() };
        let elements = list(request, "forwarded", last_comma);
        for (hops, text) in elements.into_iter().enumerate() {
            let Some(element) = text.and_then(Element::parse) else { break };
            trail.scheme = element.proto.as_deref().and_then(scheme);
            trail.host = element.host.map(Cow::into_owned);
            let Some(address) = element.from.as_deref().and_then(node) else { break };
            trail.client = Some(address);
            if !proxies.trusts(Some(address), hops + 1) {
                break;
            }
        }
        trail
    }
}

/// The elements of a list that may span several header lines, the last one first; `None` for a
/// line that is no text.
fn list<'a>(
    request: &'a Request,
    name: &str,
    last_comma: fn(&str) -> Option<usize>,
) -> Vec<Option<&'a str>> {
    let lines: Vec<_> = request.headers().all(name).collect();
    let mut elements = Vec::new();
    for line in lines.into_iter().rev() {
        let mut rest = std::str::from_utf8(line).ok();
        if rest.is_none() {
            elements.push(None);
        }
        while let Some(text) = rest {
            let comma = last_comma(text);
            elements.push(Some(text[comma.map_or(0, |at| at + 1)..].trim_ascii()));
            rest = comma.map(|at| &text[..at]);
        }
    }
    elements
}

/// The last comma outside of quotes, going by the quotes to its right: those to its left may be a
/// client's, left open to swallow what the proxy has appended.
fn last_comma(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let escaped = |at: usize| {
        let slashes = bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        slashes % 2 == 1
    };
    let mut quoted = false;
    (0..bytes.len()).rev().find(|at| {
        quoted ^= bytes[*at] == b'"' && !escaped(*at);
        !quoted && bytes[*at] == b','
    })
}

/// What the nearest proxy has written or appended; what is left of it could be the client's.
fn last<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let elements = list(request, name, |text| text.rfind(','));
    elements.first().copied().flatten().filter(|text| !text.is_empty())
}

fn scheme(text: &str) -> Option<Scheme> {
    let known = [("http", Scheme::Http), ("https", Scheme::Https)];
    known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, scheme)| scheme)
}

/// The address of a node, with or without a port; `None` for `unknown` and for made-up names.
fn node(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse().ok().or_else(with_port).or_else(bracketed)?;
    Some(address.to_canonical())
}

/// What one proxy says by `Forwarded`.
#[derive(Debug, Default)]
struct Element<'a> {
    from: Option<Cow<'a, str>>,
    proto: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
}

impl<'a> Element<'a> {
    /// Strictly: what cannot be read is not believed.
    fn parse(text: &'a str) -> Option<Self> {
        let mut element = Self::default();
        for pair in split(text, b';').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=')?;
            let value = unquote(value)?;
            let place = match name.to_ascii_lowercase().as_str() {
                "for" => &mut element.from,
                "proto" => &mut element.proto,
                "host" => &mut element.host,
                _ => continue,
            };
            // RFC 7239, section 4: each parameter occurs at most once.
            if place.replace(value).is_some() {
                return None;
            }
        }
        Some(element)
    }
}

/// The value of a token or of a quoted string; `None` if it is neither.
fn unquote(text: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Ports and brackets belong into quotes, but not every proxy knows.
        return (!text.is_empty() && !text.contains('"')).then_some(Cow::Borrowed(text));
    };
    let inner = quoted.strip_suffix('"')?;
    let mut value = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => return None,
            '\\' => value.push(chars.next()?),
            char => value.push(char),
        }
    }
    Some(Cow::Owned(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::{answer, request_from, text};
    use crate::app::{App, ClientIp, Host, Rejection};
    use crate::message::Body;

    /// Asks from an address, or from a Unix socket, with these headers.
    fn ask(
        proxies: Option<&TrustedProxies>,
        peer: &str,
        headers: &[(&str, &str)],
    ) -> (String, String, Scheme) {
        let peer =
            peer.parse().map_or(Peer::Unix { uid: 0 }, |ip: IpAddr| Peer::Tcp((ip, 9).into()));
        let app = App::new().get(
            "/",
            async |ip: Option<ClientIp>, host: Result<Host, Rejection>, scheme: Scheme| {
                let ip = ip.map_or_else(|| "none".to_owned(), |ip| ip.0.to_string());
                let host = host.map_or_else(|rejection| rejection.to_string(), |host| host.0);
                format!("{ip} {scheme:?} {host}")
            },
        );
        let app = match proxies {
            Some(proxies) => app.trust_proxy(proxies.clone()),
            None => app,
        };
        let answer = text(&answer(&app, request_from(peer, "GET", "/", headers, Body::empty())));
        let mut parts = answer.splitn(3, ' ').map(str::to_owned);
        let mut next = || parts.next().unwrap();
        let (ip, scheme, host) = (next(), next(), next());
        (ip, host, if scheme == "Https" { Scheme::Https } else { Scheme::Http })
    }

    /// Each line: the peer, what `X-Forwarded-For` or `Forwarded` says, the client.
    fn check_ip(proxies: &TrustedProxies, header: &str, table: &[(&str, &[&str], &str)]) {
        for (peer, lines, client) in table {
            let headers: Vec<_> = lines.iter().map(|line| (header, *line)).collect();
            assert_eq!(ask(Some(proxies), peer, &headers).0, *client, "{peer} {lines:?}");
        }
    }

    #[test]
    fn express_req_ip() {
        let everything = [
            ("x-forwarded-for", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6;proto=https;host=evil"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("host", "own"),
        ];
        for (peer, client) in
            [("9.9.9.9", "9.9.9.9"), ("::ffff:9.9.9.9", "9.9.9.9"), ("unix", "none")]
        {
            let (ip, host, scheme) = ask(None, peer, &everything);
            assert_eq!(
                (ip.as_str(), host.as_str(), scheme),
                (client, "own", Scheme::Http),
                "{peer}"
            );
            let nobody = TrustedProxies::networks("").unwrap();
            for proxies in [&nobody, &TrustedProxies::hops(0)] {
                assert_eq!(
                    ask(Some(proxies), peer, &everything),
                    (ip.clone(), host.clone(), scheme)
                );
            }
        }
    }

    #[test]
    fn express_trust_proxy() {
        let networks = TrustedProxies::networks("loopback, 10.0.0.0/8,unix").unwrap();
        let table: &[(&str, &[&str], &str)] = &[
            ("127.0.0.1", &["1.2.3.4"], "1.2.3.4"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("::1", &["1.2.3.4:567"], "1.2.3.4"),
            ("::ffff:127.0.0.1", &["[2001:db8::1]:567"], "2001:db8::1"),
            ("127.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("unix", &["1.2.3.4"], "1.2.3.4"),
            ("unix", &[], "none"),
            ("unix", &["unknown"], "none"),
            ("127.0.0.1", &["\"6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            // From right to left, as long as they are trusted.
            ("127.0.0.1", &["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            ("127.0.0.1", &["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
            ("127.0.0.1", &["6.6.6.6, 1.2.3.4, 10.1.1.1 ,::ffff:10.0.0.1"], "1.2.3.4"),
            ("127.0.0.1", &["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
            // Nothing is known of what is behind a node that is not an address.
            ("127.0.0.1", &["1.2.3.4, unknown, 10.0.0.1"], "10.0.0.1"),
            ("127.0.0.1", &["1.2.3.4, "], "127.0.0.1"),
            ("127.0.0.1", &["1.2.3.4, \u{e9}"], "127.0.0.1"),
            // Not from a proxy.
            ("9.9.9.9", &["1.2.3.4"], "9.9.9.9"),
            ("11.0.0.1", &["1.2.3.4"], "11.0.0.1"),
        ];
        check_ip(&networks, "x-forwarded-for", table);
        check_ip(&networks, "forwarded", &[("127.0.0.1", &["for=6.6.6.6"], "127.0.0.1")]);

        let table: &[(&str, &[&str], &str)] = &[
            ("9.9.9.9", &["6.6.6.6, 1.2.3.4, 8.8.8.8"], "1.2.3.4"),
            ("9.9.9.9", &["1.2.3.4"], "1.2.3.4"),
            ("9.9.9.9", &[], "9.9.9.9"),
            ("unix", &["6.6.6.6, 1.2.3.4, 8.8.8.8"], "1.2.3.4"),
        ];
        check_ip(&TrustedProxies::hops(2), "x-forwarded-for", table);
    }

    #[test]
    fn reads_forwarded_without_being_fooled() {
        let proxies = TrustedProxies::networks("loopback, uniquelocal").unwrap().forwarded();
        let table: &[(&str, &[&str], &str)] = &[
            ("127.0.0.1", &["for=1.2.3.4"], "1.2.3.4"),
            ("127.0.0.1", &["By=x;FOR=\"1.2.3.4:80\"; proto=http"], "1.2.3.4"),
            ("127.0.0.1", &["for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
            ("127.0.0.1", &["for=\"[2001:db8::1]\""], "2001:db8::1"),
            ("127.0.0.1", &["for=6.6.6.6, for=1.2.3.4,for=10.0.0.1"], "1.2.3.4"),
            ("127.0.0.1", &["for=6.6.6.6", "for=1.2.3.4"], "1.2.3.4"),
            ("127.0.0.1", &["for=6.6.6.6, for=_hidden"], "127.0.0.1"),
            ("127.0.0.1", &["for=6.6.6.6, for=unknown"], "127.0.0.1"),
            ("127.0.0.1", &["for=6.6.6.6, proto=https"], "127.0.0.1"),
            ("127.0.0.1", &["for=6.6.6.6;for=1.2.3.4"], "127.0.0.1"),
            // Quotes that a client leaves open before what the proxy appends.
            ("127.0.0.1", &["for=6.6.6.6;x=\", for=1.2.3.4"], "1.2.3.4"),
            ("127.0.0.1", &["for=6.6.6.6;x=\", for=\"[2001:db8::2]\""], "2001:db8::2"),
            ("127.0.0.1", &["for=6.6.6.6;x=\", for=\"1.2.3.4:5\";host=\"h\""], "1.2.3.4"),
            ("127.0.0.1", &["for=6.6.6.6;x=\"\\\", for=1.2.3.4"], "1.2.3.4"),
            ("127.0.0.1", &["for=1.2.3.4;x=\"a,\\\"b\\\\\""], "1.2.3.4"),
            ("127.0.0.1", &["for=\"1.2.3.4"], "127.0.0.1"),
            ("127.0.0.1", &["for=\"1.2.3.4\"5"], "127.0.0.1"),
            ("9.9.9.9", &["for=1.2.3.4"], "9.9.9.9"),
        ];
        check_ip(&proxies, "forwarded", table);
        check_ip(&proxies, "x-forwarded-for", &[("127.0.0.1", &["6.6.6.6"], "127.0.0.1")]);
    }

    /// Whom to trust, headers, the scheme, the host.
    type Line<'a> = (&'a TrustedProxies, &'a [(&'a str, &'a str)], Scheme, &'a str);

    #[test]
    fn express_req_protocol_and_host() {
        let x = TrustedProxies::networks("loopback").unwrap();
        let rfc = x.clone().forwarded();
        let (http, https) = (Scheme::Http, Scheme::Https);
        let malformed = "the host that the proxy names is malformed";
        let table: &[Line<'_>] = &[
            (&x, &[], http, "own:80"),
            (&x, &[("x-forwarded-proto", "https")], https, "own:80"),
            (&x, &[("x-forwarded-proto", "HTTPS")], https, "own:80"),
            (&x, &[("x-forwarded-proto", "https, http")], http, "own:80"),
            (&x, &[("x-forwarded-proto", "http"), ("x-forwarded-proto", "https")], https, "own:80"),
            (&x, &[("x-forwarded-proto", "gopher")], http, "own:80"),
            (&x, &[("x-forwarded-proto", "https, ")], http, "own:80"),
            (&x, &[("x-forwarded-host", "a.example:8443")], http, "a.example:8443"),
            (&x, &[("x-forwarded-host", "evil, [::1]:80")], http, "[::1]:80"),
            (&x, &[("x-forwarded-host", "a b")], http, malformed),
            (&x, &[("x-forwarded-host", "a@b")], http, malformed),
            (&x, &[("x-forwarded-host", "a/b")], http, malformed),
            (&x, &[("forwarded", "for=1.1.1.1;proto=https;host=evil")], http, "own:80"),
            (&rfc, &[("forwarded", "for=1.1.1.1;proto=https;host=\"a:1\"")], https, "a:1"),
            (&rfc, &[("forwarded", "proto=https;host=evil, for=1.1.1.1")], http, "own:80"),
            (&rfc, &[("forwarded", "proto=https;host=a, for=127.0.0.2")], https, "a"),
            (&rfc, &[("forwarded", "for=_hidden;proto=https")], https, "own:80"),
            (&rfc, &[("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")], http, "own:80"),
        ];
        for (proxies, headers, scheme, host) in table {
            let headers = [&[("host", "own:80")], *headers].concat();
            let (_, found, by) = ask(Some(proxies), "127.0.0.1", &headers);
            assert_eq!((found.as_str(), by), (*host, *scheme), "{headers:?}");
        }
        assert_eq!(ask(Some(&x), "127.0.0.1", &[]).1, "the request does not name a host");
    }

    #[test]
    fn refuses_what_is_no_network() {
        for name in ["localhost", "10.0.0.0/33", "10.0.0/8", "::1/129", "true", "1"] {
            let error = TrustedProxies::networks(&format!("loopback, {name}")).unwrap_err();
            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        }
    }
}
