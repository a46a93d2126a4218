//! Headers that are lists.

use http::header::{HeaderMap, HeaderValue, VARY};

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
