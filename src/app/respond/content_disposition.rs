//! Whether an answer is to be shown or saved (RFC 6266).

use http::header::{CONTENT_DISPOSITION, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::message::Response;

/// What may stand in `filename*` as it is: attr-char of RFC 8187, 3.2.1.
const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

impl Response {
    /// Has browsers save the answer under this name instead of showing it.
    ///
    /// Only what follows the last slash or backslash counts. A name that is not plain ASCII is sent
    /// twice: as it is, and for old clients with `_` for what they would not understand.
    ///
    /// ```
    /// use corelane::Response;
    ///
    /// let response = Response::new("a,b").with_attachment("Übersicht.csv");
    /// let header = "attachment; filename=\"_bersicht.csv\"; filename*=UTF-8''%C3%9Cbersicht.csv";
    /// assert_eq!(response.headers()["content-disposition"], header);
    /// ```
    #[must_use]
    pub fn with_attachment(self, filename: impl AsRef<str>) -> Self {
        self.with_header(CONTENT_DISPOSITION, attachment(filename.as_ref()))
    }
}

/// The header.
pub(in crate::app) fn attachment(path: &str) -> HeaderValue {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    if name.is_empty() {
        return HeaderValue::from_static("attachment");
    }
    let plain = |letter: char| letter.is_ascii_graphic() || letter == ' ';
    let mut value = String::from("attachment; filename=\"");
    for letter in name.chars() {
        match letter {
            '"' => value.push_str("\\\""),
            letter if plain(letter) => value.push(letter),
            _ => value.push('_'),
        }
    }
    value.push('"');
    // Some clients decode a `%41` in the plain form; the other one tells them all the same.
    if !name.chars().all(plain) || name.contains('%') {
        value.push_str("; filename*=UTF-8''");
        value.extend(utf8_percent_encode(name, EXTENDED));
    }
    HeaderValue::try_from(value).expect("invariant: visible ASCII and spaces")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_file_as_rfc_6266() {
        let table = [
            ("plans.pdf", r#"attachment; filename="plans.pdf""#),
            ("my plans.pdf", r#"attachment; filename="my plans.pdf""#),
            (r#"the "x".pdf"#, r#"attachment; filename="the \"x\".pdf""#),
            ("/etc/passwd", r#"attachment; filename="passwd""#),
            (r"..\..\x.exe", r#"attachment; filename="x.exe""#),
            ("né w.txt", r#"attachment; filename="n_ w.txt"; filename*=UTF-8''n%C3%A9%20w.txt"#),
            (
                "€'()*.txt",
                r#"attachment; filename="_'()*.txt"; filename*=UTF-8''%E2%82%AC%27%28%29%2A.txt"#,
            ),
            (
                "the%20plans.pdf",
                r#"attachment; filename="the%20plans.pdf"; filename*=UTF-8''the%2520plans.pdf"#,
            ),
            ("a\r\nb: c", r#"attachment; filename="a__b: c"; filename*=UTF-8''a%0D%0Ab%3A%20c"#),
            ("a\u{7f}\0", r#"attachment; filename="a__"; filename*=UTF-8''a%7F%00"#),
            ("", "attachment"),
            ("dir/", "attachment"),
        ];
        for (name, header) in table {
            assert_eq!(attachment(name), header, "{name:?}");
        }
    }
}
