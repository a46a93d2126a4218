//! Entity tags (RFC 9110, 8.8.3).

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};

use http::header::HeaderValue;

/// The name of one version of what is answered.
///
/// A *strong* tag changes with every byte; a *weak* one with what the answer means, and cannot
/// vouch for byte ranges or guard a change (`If-Match`).
///
/// ```
/// use corelane::ETag;
///
/// assert_eq!(ETag::strong("7").to_string(), "\"7\"");
/// assert_eq!(ETag::weak("7").to_string(), "W/\"7\"");
/// assert!(ETag::weak("7").weak_eq(&ETag::strong("7")));
/// assert!(!ETag::weak("7").strong_eq(&ETag::weak("7")));
/// assert!(ETag::of(b"some bytes").strong_eq(&ETag::of(b"some bytes")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag {
    weak: bool,
    /// Without its quotes.
    opaque: Box<str>,
}

impl ETag {
    /// Of a version by this name. What may not stand in a tag is percent-encoded.
    #[must_use]
    pub fn strong(name: impl AsRef<str>) -> Self {
        Self { weak: false, opaque: encode(name.as_ref()) }
    }

    /// As [`strong`](Self::strong), but weak.
    #[must_use]
    pub fn weak(name: impl AsRef<str>) -> Self {
        Self { weak: true, opaque: encode(name.as_ref()) }
    }

    /// The strong tag of these bytes: their length and a hash of 64 bits. Programs of another
    /// build may compute another.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        let opaque = format!("{:x}-{:016x}", bytes.len(), hasher.finish());
        Self { weak: false, opaque: opaque.into() }
    }

    /// Whether both are strong and the same (8.8.3.2).
    #[must_use]
    pub fn strong_eq(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Whether they are the same, weak or not (8.8.3.2).
    #[must_use]
    pub fn weak_eq(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }

    /// As a header says it.
    pub(in crate::app) fn to_value(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("invariant: visible ASCII alone")
    }

    /// Reads one, and nothing else. Ours are ASCII, so one that is not need not be known.
    pub(in crate::app) fn parse(value: &[u8]) -> Option<Self> {
        Self::parse_first(value).and_then(|(tag, rest)| rest.is_empty().then_some(tag))
    }

    /// Adds those of a list; a member that is malformed is left out.
    pub(in crate::app) fn parse_list(mut list: &[u8], tags: &mut Vec<Self>) {
        while !list.is_empty() {
            let read = Self::parse_first(list).map(|(tag, rest)| (tag, rest.trim_ascii_start()));
            if let Some((tag, rest)) = read
                && matches!(rest, [] | [b',', ..])
            {
                tags.push(tag);
                list = rest;
            }
            let next = list.iter().position(|byte| *byte == b',').map_or(list.len(), |at| at + 1);
            list = list[next..].trim_ascii_start();
        }
    }

    /// The tag that `text` begins with, and what is behind it.
    fn parse_first(text: &[u8]) -> Option<(Self, &[u8])> {
        let (weak, quoted) = text.strip_prefix(b"W/").map_or((false, text), |rest| (true, rest));
        let inside = quoted.strip_prefix(b"\"")?;
        let end = inside.iter().position(|byte| *byte == b'"')?;
        let opaque = std::str::from_utf8(&inside[..end]).ok()?;
        let valid = opaque.bytes().all(|byte| byte.is_ascii_graphic());
        valid.then(|| (Self { weak, opaque: opaque.into() }, &inside[end + 1..]))
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\"{}\"", if self.weak { "W/" } else { "" }, self.opaque)
    }
}

/// Different names stay different.
fn encode(name: &str) -> Box<str> {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("invariant: a string grows");
        }
    }
    encoded.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_and_stay_different() {
        let table = [
            ("v1", r#""v1""#),
            ("a b", r#""a%20b""#),
            ("a%20b", r#""a%2520b""#),
            ("\"\r\nx: y", r#""%22%0D%0Ax:%20y""#),
            ("é", r#""%C3%A9""#),
            ("", r#""""#),
        ];
        for (name, sent) in table {
            assert_eq!(ETag::strong(name).to_value(), sent);
            assert_eq!(ETag::weak(name).to_string(), format!("W/{sent}"));
            assert_eq!(ETag::parse(sent.as_bytes()), Some(ETag::strong(name)));
        }
    }

    #[test]
    fn compares_as_rfc_9110_8_8_3_2() {
        let table = [
            (r#"W/"1""#, r#"W/"1""#, false, true),
            (r#"W/"1""#, r#"W/"2""#, false, false),
            (r#"W/"1""#, r#""1""#, false, true),
            (r#""1""#, r#""1""#, true, true),
        ];
        for (a, b, strong, weak) in table {
            let [left, right] = [a, b].map(|tag| ETag::parse(tag.as_bytes()).unwrap());
            assert_eq!((left.strong_eq(&right), left.weak_eq(&right)), (strong, weak), "{a} {b}");
            assert_eq!((right.strong_eq(&left), right.weak_eq(&left)), (strong, weak), "{b} {a}");
        }
    }

    #[test]
    fn reads_lists_and_leaves_out_what_is_malformed() {
        let table: [(&str, &[&str]); 12] = [
            (r#""a""#, &[r#""a""#]),
            (r#""a", W/"b" ,"c""#, &[r#""a""#, r#"W/"b""#, r#""c""#]),
            (r#""a,b", "c""#, &[r#""a,b""#, r#""c""#]),
            (r#", ,"a",,"b","#, &[r#""a""#, r#""b""#]),
            (r#"a, "b""#, &[r#""b""#]),
            (r#""a" x, "b""#, &[r#""b""#]),
            (r#"w/"a", "b""#, &[r#""b""#]),
            (r#""a"#, &[]),
            (r#""é", "b""#, &[r#""b""#]),
            (r#""a b", "c""#, &[r#""c""#]),
            (r#"W/ "a""#, &[]),
            ("", &[]),
        ];
        for (list, expected) in table {
            let mut tags = Vec::new();
            ETag::parse_list(list.as_bytes(), &mut tags);
            let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
            assert_eq!(tags, expected, "{list}");
        }
    }

    #[test]
    fn tags_of_bytes_differ_with_the_bytes() {
        let table: [(&[u8], &[u8], bool); 4] =
            [(b"a", b"a", true), (b"a", b"b", false), (b"", b"\0", false), (b"", b"", true)];
        for (a, b, same) in table {
            assert_eq!(ETag::of(a).strong_eq(&ETag::of(b)), same, "{a:?} {b:?}");
        }
    }
}
