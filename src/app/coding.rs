//! How bodies are encoded on their way.

use std::cmp::Reverse;

use super::accept::preferences;
use crate::message::Headers;

/// How a body is encoded on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    /// Those that an answer may have, the one that we like best first: zstd takes the least time
    /// by far, brotli is the smallest of those that stream well.
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn is(self, name: &str) -> bool {
        let alias = self == Self::Gzip && name.eq_ignore_ascii_case("x-gzip");
        alias || name.eq_ignore_ascii_case(self.name())
    }

    /// The codings that the client likes at least as well as none at all, the best first and ours
    /// first among equals. What refuses everything gets none: RFC 9110, 12.5.3 lets a server
    /// disregard the header.
    pub(super) fn acceptable(headers: Headers<'_>) -> impl Iterator<Item = Self> + use<> {
        let listed: Vec<_> = preferences(headers.all("accept-encoding")).collect();
        let find = |wanted: &dyn Fn(&str) -> bool| {
            listed.iter().find(|known| wanted(known.range)).map(|known| known.quality)
        };
        let rest = find(&|name| name == "*");
        let quality = |coding: Self| find(&|name| coding.is(name)).or(rest).unwrap_or(0);
        let identity = find(&|name| name.eq_ignore_ascii_case("identity")).unwrap_or(0);
        let mut weighed = Self::ALL.map(|coding| (quality(coding), coding));
        weighed.sort_by_key(|(quality, _)| Reverse(*quality));
        let liked = move |(quality, _): &(u16, Self)| *quality > 0 && *quality >= identity;
        weighed.into_iter().filter(liked).map(|(_, coding)| coding)
    }
}
