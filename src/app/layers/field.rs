//! Headers that are lists.

use http::header::{HeaderMap, HeaderValue, VARY};

use crate::message::{Headers, Request};

/// Says that the answer depends on this request header, unless it says so already.
pub(super) fn vary(headers: &mut HeaderMap, name: &'static str) {
    let known = headers.get_all(VARY).iter().any(|value| {
        tokens(value.as_bytes())
            .any(|token| token == b"*" || token.eq_ignore_ascii_case(name.as_bytes()))
    });
    if !known {
        headers.append(VARY, HeaderValue::from_static(name));
    }
}

/// The members of a comma-separated list, without the white space around them.
pub(super) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// How a body is encoded on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::app) enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    /// Those that an answer may have, the one that we like best first: zstd takes the least time
    /// by far, brotli is the smallest of those that stream well.
    pub(super) const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    pub(in crate::app) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn is(self, name: &[u8]) -> bool {
        let alias = self == Self::Gzip && name.eq_ignore_ascii_case(b"x-gzip");
        alias || name.eq_ignore_ascii_case(self.name().as_bytes())
    }

    /// The coding that the client likes best, ours first among equals; `None` is none at all. What
    /// refuses everything gets none too: RFC 9110, 12.5.3 lets a server disregard the header.
    pub(super) fn accepted(request: &Request) -> Option<Self> {
        Self::acceptable(request.headers()).next()
    }

    /// The codings that the client likes at least as well as none at all, the best first.
    pub(in crate::app) fn acceptable(headers: Headers<'_>) -> impl Iterator<Item = Self> + use<> {
        let listed: Vec<(&[u8], u16)> =
            headers.all("accept-encoding").flat_map(tokens).filter_map(weighted).collect();
        let find = |wanted: &dyn Fn(&[u8]) -> bool| {
            listed.iter().find(|(name, _)| wanted(name)).map(|(_, weight)| *weight)
        };
        let rest = find(&|name| name == b"*");
        let weight = |coding: Self| find(&|name| coding.is(name)).or(rest).unwrap_or(0);
        let identity = find(&|name| name.eq_ignore_ascii_case(b"identity")).unwrap_or(0);
        let mut weighted = Self::ALL.map(|coding| (weight(coding), coding));
        weighted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        let liked = move |(weight, _): &(u16, Self)| *weight > 0 && *weight >= identity;
        weighted.into_iter().filter(liked).map(|(_, coding)| coding)
    }
}

/// A name and its quality in thousandths; `None` if that is malformed.
fn weighted(member: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next()?;
    for part in parts {
        let Some(value) = part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")) else {
            continue;
        };
        let value: f32 = std::str::from_utf8(value).ok()?.parse().ok()?;
        let valid = (0.0..=1.0).contains(&value);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
        return valid.then_some((name, (value * 1000.0).round() as u16));
    }
    Some((name, 1000))
}
