//! What a `Content-Type` says.

/// The value of a `Content-Type` header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Media<'a>(&'a str);

impl<'a> Media<'a> {
    pub(crate) fn new(content_type: &'a str) -> Self {
        Self(content_type)
    }

    /// The type without its parameters: `text/html`.
    pub(crate) fn essence(self) -> &'a str {
        self.0.split(';').next().unwrap_or_default().trim()
    }

    /// The charset, without the quotes that may be around it.
    pub(crate) fn charset(self) -> Option<&'a str> {
        let mut parameters = self.0.split(';').skip(1).filter_map(|part| part.split_once('='));
        let (_, value) =
            parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
        Some(value.trim().trim_matches('"'))
    }

    /// See [`Request::is`](super::Request::is).
    pub(crate) fn is(self, kind: &str) -> bool {
        let Some((main, sub)) = self.essence().split_once('/') else { return false };
        if let Some(suffix) = kind.strip_prefix('+') {
            let own = sub.rsplit_once('+').map(|(_, suffix)| suffix);
            return own.is_some_and(|own| own.eq_ignore_ascii_case(suffix));
        }
        let (asked, of) = kind.split_once('/').unwrap_or(("*", kind));
        let same = |asked: &str, own: &str| asked == "*" || asked.eq_ignore_ascii_case(own);
        !sub.is_empty() && same(asked, main) && same(of, sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn express_req_is() {
        let table = [
            ("application/json", "json", true),
            ("Application/JSON; charset=utf-8", "application/json", true),
            ("application/json", "application/*", true),
            ("application/json", "*/*", true),
            ("application/json", "*/json", true),
            ("application/json", "+json", false),
            ("application/vnd.api+json", "+json", true),
            ("application/vnd.api+json", "json", false),
            ("text/html; charset=utf-8", "html", true),
            ("text/html", "text/plain", false),
            ("text/html", "text/htm", false),
            ("multipart/form-data; boundary=x", "multipart/*", true),
            ("", "*/*", false),
            ("text", "text", false),
            ("text/", "*/*", false),
        ];
        for (content_type, kind, expected) in table {
            assert_eq!(Media::new(content_type).is(kind), expected, "{content_type} {kind}");
        }
    }

    #[test]
    fn finds_the_charset() {
        let table = [
            ("text/plain", None),
            ("text/plain; charset=utf-8", Some("utf-8")),
            ("text/plain;a=b; Charset = \"latin1\"", Some("latin1")),
            ("text/plain; charset=", Some("")),
        ];
        for (content_type, expected) in table {
            assert_eq!(Media::new(content_type).charset(), expected, "{content_type}");
        }
    }
}
