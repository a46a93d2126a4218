//! What a client would rather have: the lists with q-values of RFC 9110, section 12.

/// One element of `Accept`, `Accept-Encoding`, `Accept-Language` or `Accept-Charset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preference<'a> {
    /// What the client names, without its weight: `text/html`, `text/*`, `gzip`, `*`.
    pub range: &'a str,
    /// How much it wants that, in thousandths; 0 is "not at all".
    pub quality: u16,
}

/// How closely a range names an offer, if it does: the larger, the closer.
pub(super) type Matches = fn(range: &str, offer: &str) -> Option<u8>;

/// What the client names, in its order. What is malformed is left out: it says nothing.
pub(super) fn preferences<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = Preference<'a>> {
    values.filter_map(|value| std::str::from_utf8(value).ok()).flat_map(elements).filter_map(parse)
}

/// The offer that the client likes best; among equals the one that it names more closely, then the
/// one that it names first, then the one that is offered first. `None` if it wants none of them.
/// Without the header every offer is as good, and so the first.
pub(super) fn best<'a, 'o>(
    values: impl Iterator<Item = &'a [u8]>,
    offers: &[&'o str],
    matches: Matches,
) -> Option<&'o str> {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return offers.first().copied();
    }
    let wanted: Vec<_> = preferences(values).collect();
    let ranks = offers.iter().enumerate().filter_map(|(index, offer)| {
        let (quality, closeness, place) = rank(&wanted, offer, matches)?;
        (quality > 0).then_some(((quality, closeness, !place, !index), *offer))
    });
    ranks.max_by_key(|(rank, _)| *rank).map(|(_, offer)| offer)
}

/// How good an offer is: its quality, by the range that names it most closely, how closely that
/// is, and at which place of the list.
fn rank(wanted: &[Preference<'_>], offer: &str, matches: Matches) -> Option<(u16, u8, usize)> {
    let named = wanted.iter().enumerate().filter_map(|(place, preference)| {
        let closeness = matches(preference.range, offer)?;
        Some((preference.quality, closeness, place))
    });
    named.max_by_key(|(_, closeness, place)| (*closeness, !place))
}

/// Matches media types, as `Accept` has them; parameters of a range are beyond what is offered.
pub(super) fn media_type(range: &str, offer: &str) -> Option<u8> {
    if range == "*/*" {
        return Some(0);
    }
    if range.eq_ignore_ascii_case(offer) {
        return Some(2);
    }
    let (kind, _) = offer.split_once('/')?;
    range.strip_suffix("/*").filter(|range| range.eq_ignore_ascii_case(kind)).map(|_| 1)
}

/// Splits a list at its commas, but for those within quotes.
fn elements(list: &str) -> impl Iterator<Item = &str> {
    split(list, b',')
}

/// Splits at a separator outside of quoted strings.
pub(super) fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            let literal = escaped;
            escaped = quoted && !literal && byte == b'\\';
            quoted ^= !literal && byte == b'"';
            !quoted && byte == separator
        });
        rest = end.map(|end| &text[end + 1..]);
        Some(text[..end.unwrap_or(text.len())].trim_matches([' ', '\t']))
    })
}

fn parse(element: &str) -> Option<Preference<'_>> {
    let mut parts = split(element, b';');
    let range = parts.next().filter(|range| !range.is_empty())?;
    let mut with_parameters = false;
    for part in parts {
        let (name, value) = part.split_once('=')?;
        if name.trim_end().eq_ignore_ascii_case("q") {
            // A parameter of the media type narrows it to what is not offered.
            let quality = quality(value.trim_start())?;
            return (!with_parameters || is_charset(element))
                .then_some(Preference { range, quality });
        }
        with_parameters = true;
    }
    let offered = !with_parameters || is_charset(element);
    offered.then_some(Preference { range, quality: 1000 })
}

/// Whether the only parameter is a charset that every answer is in.
fn is_charset(element: &str) -> bool {
    split(element, b';').skip(1).all(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim_matches('"');
        name.eq_ignore_ascii_case("q")
            || name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
    })
}

/// A weight: `0`, `1`, or up to three digits behind the point.
fn quality(text: &str) -> Option<u16> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    if digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{digits:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick<'o>(header: Option<&str>, offers: &[&'o str]) -> Option<&'o str> {
        best(header.map(str::as_bytes).into_iter(), offers, media_type)
    }

    #[test]
    fn picks_what_the_client_likes_best() {
        let (text, json) = ("text/plain", "application/json");
        let table = [
            (None, Some(text)),
            (Some("*/*"), Some(text)),
            (Some("application/json"), Some(json)),
            (Some("APPLICATION/JSON"), Some(json)),
            (Some("text/html, application/json;q=0.9"), Some(json)),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Some(text)),
            (Some("application/json, text/plain, */*"), Some(json)),
            (Some("text/plain, application/json"), Some(text)),
            (Some("text/*, application/json"), Some(json)),
            (Some("text/*;q=0.5, application/json;q=0.4"), Some(text)),
            (Some("application/*"), Some(json)),
            (Some("application/json;q=0, */*"), Some(text)),
            (Some("text/plain;q=0.2, application/json;q=0.3"), Some(json)),
            (Some("text/plain; Q=0.2 , application/json ;q=0.1"), Some(text)),
            (Some("application/json;q=0.001"), Some(json)),
            (Some("application/json;charset=utf-8"), Some(json)),
            (Some("application/json;v=\"a,b;q=0\", text/plain"), Some(text)),
            (Some("application/json;q=0"), None),
            (Some("image/png"), None),
            (Some(""), None),
        ];
        for (header, expected) in table {
            assert_eq!(pick(header, &[text, json]), expected, "{header:?}");
        }
    }

    #[test]
    fn reads_weights_as_the_rfc_writes_them() {
        let table = [
            ("a;q=1", Some(1000)),
            ("a;q=1.000", Some(1000)),
            ("a;q=0.5", Some(500)),
            ("a;q=0.05", Some(50)),
            ("a;q=0.", Some(0)),
            ("a", Some(1000)),
            ("a;q=1.1", None),
            ("a;q=2", None),
            ("a;q=-1", None),
            ("a;q=0.1234", None),
            ("a;q=.5", None),
            ("a;q=+0.5", None),
            ("a;q=", None),
            ("a;q", None),
            ("", None),
        ];
        for (element, expected) in table {
            let found: Vec<_> = preferences([element.as_bytes()].into_iter()).collect();
            assert_eq!(found.first().map(|found| found.quality), expected, "{element}");
        }
    }
}
