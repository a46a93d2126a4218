//! `host[:port]`, in the `Host` header and in request targets.

use std::net::Ipv6Addr;

use super::syntax::table;

/// RFC 3986, 3.2.2: `reg-name` outside `pct-encoded`, less the comma, which is legal there but is
/// what a front end makes of two `Host` lines.
static REG_NAME: [bool; 256] = table(b"-._~!$&'()*+;=");

/// A host and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// The port, if one is given: `host:` gives none.
    pub port: Option<u16>,
}

impl Authority {
    /// RFC 9110, 4.2: `uri-host [ ":" port ]` with a host that is not empty; `None` for anything
    /// else. User information is refused ("treat its presence as an error", 4.2.4).
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let host = host_length(text)?;
        let port = match &text[host..] {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(parse_port(digits)?),
            _ => return None,
        };
        Some(Self { port })
    }
}

/// How long the host is with which `text` begins.
fn host_length(text: &[u8]) -> Option<usize> {
    if let [b'[', inner @ ..] = text {
        // RFC 3986, 3.2.2: `IP-literal`. `IPvFuture` has no future yet and is refused.
        let length = memchr::memchr(b']', inner)?;
        let address = std::str::from_utf8(&inner[..length]).ok()?;
        address.parse::<Ipv6Addr>().ok()?;
        return Some(length + 2);
    }
    let mut length = 0;
    loop {
        let rest = &text[length..];
        let end = rest.iter().position(|byte| !REG_NAME[usize::from(*byte)]);
        length += end.unwrap_or(rest.len());
        if !is_percent_encoded(&text[length..]) {
            break;
        }
        length += 3;
    }
    (length > 0).then_some(length)
}

/// RFC 3986, 2.1: `pct-encoded = "%" HEXDIG HEXDIG`.
fn is_percent_encoded(text: &[u8]) -> bool {
    matches!(text, [b'%', first, second, ..]
        if first.is_ascii_hexdigit() && second.is_ascii_hexdigit())
}

/// RFC 3986, 3.2.3: `port = *DIGIT`; here at most five, and at most 65535.
fn parse_port(digits: &[u8]) -> Option<u16> {
    if !matches!(digits.len(), 1..=5) {
        return None;
    }
    // So few digits need no check of each step.
    let port = digits.iter().try_fold(0_u32, |port, byte| {
        byte.is_ascii_digit().then(|| 10 * port + u32::from(byte - b'0'))
    })?;
    port.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_maybe_a_port() {
        let good: [(&str, Option<u16>); 9] = [
            ("example.com", None),
            ("example.com:", None),
            ("example.com:8080", Some(8080)),
            ("EXAMPLE-1.com:00080", Some(80)),
            ("127.0.0.1:65535", Some(65_535)),
            ("[::1]", None),
            ("[2001:db8::7]:443", Some(443)),
            ("a_b~c", None),
            ("%e4.example", None),
        ];
        for (text, port) in good {
            assert_eq!(Authority::parse(text.as_bytes()), Some(Authority { port }), "{text}");
        }
        let bad = [
            "",
            ":",
            ":80",
            "a b",
            "user@host",
            "user:pass@host",
            "host/path",
            "host?query",
            "host#fragment",
            "a,b",
            "a:80,b",
            "host:65536",
            "host:000080",
            "host:+80",
            "host:80x",
            "host:80:80",
            "host:-1",
            "[::1",
            "::1",
            "[::1]80",
            "[::1]]",
            "[fe80::1%25eth0]",
            "[v1.a]",
            "[]",
            "%",
            "%4",
            "%4g",
            "h\u{f6}st",
            "host\\",
            "\"host\"",
            "<host>",
        ];
        for text in bad {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
        }
    }
}
