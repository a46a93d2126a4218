//! What a client would rather have (RFC 9110, 12).

use std::convert::Infallible;

use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderName};

use super::IntoResponse;
use crate::app::extract::FromRequestParts;
use crate::message::{Headers, Request, Response};

/// Which types of content the client accepts, as an extractor.
///
/// ```
/// use corelane::{Accept, App, Html, IntoResponse, Json, Response};
///
/// async fn user(accept: Accept) -> Response {
///     accept.answer(&["application/json", "text/html"], |chosen| match chosen {
///         "text/html" => Html("<h1>Ann</h1>").into_response(),
///         _ => Json(["Ann"]).into_response(),
///     })
/// }
///
/// let app = App::new().get("/user", user);
/// ```
#[derive(Clone, Debug)]
pub struct Accept(Wanted);

/// Which languages the client accepts, as an extractor.
///
/// ```
/// use corelane::{AcceptLanguage, App, Response};
/// use http::header::ACCEPT_LANGUAGE;
///
/// let app = App::new().get("/", async |languages: AcceptLanguage| {
///     let greeting = match languages.pick(&["en", "de"]) {
///         Some("de") => "Hallo!",
///         _ => "Hello!", // rather a language that was not asked for than nothing
///     };
///     Response::new(greeting).with_vary(ACCEPT_LANGUAGE)
/// });
/// ```
#[derive(Clone, Debug)]
pub struct AcceptLanguage(Wanted);

impl Accept {
    /// Of these types, which may have parameters, the one that the client would rather have; the
    /// first among equals, whatever order the client has them in. `None` if it accepts none.
    ///
    /// Of the ranges that match a type the most specific one counts, so that
    /// `text/*, text/html;q=0` accepts all text but HTML.
    #[must_use]
    pub fn pick<'o>(&self, offers: &[&'o str]) -> Option<&'o str> {
        self.0.pick(offers, media)
    }

    /// Has the type that the client would rather have answered, and says to caches that the answer
    /// depends on `Accept`. If it accepts none of them, it is told by 406 which there are.
    pub fn answer<'o, T: IntoResponse>(
        &self,
        offers: &[&'o str],
        answer: impl FnOnce(&'o str) -> T,
    ) -> Response {
        let response = if let Some(chosen) = self.pick(offers) {
            answer(chosen).into_response()
        } else {
            let text = format!("406 Not Acceptable: there is {}", offers.join(", "));
            Response::text(StatusCode::NOT_ACCEPTABLE, text)
        };
        response.with_vary(ACCEPT)
    }
}

impl AcceptLanguage {
    /// As [`Accept::pick`]. A client that wants `de` accepts `de-CH`, and one that wants `de-CH`
    /// accepts `de` (RFC 4647, 3.3.1 and 3.4).
    #[must_use]
    pub fn pick<'o>(&self, offers: &[&'o str]) -> Option<&'o str> {
        self.0.pick(offers, language)
    }
}

impl FromRequestParts for Accept {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Infallible> {
        Ok(Self(Wanted::of(request.headers(), &ACCEPT)))
    }
}

impl FromRequestParts for AcceptLanguage {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Infallible> {
        Ok(Self(Wanted::of(request.headers(), &ACCEPT_LANGUAGE)))
    }
}

/// The ranges that a header names, each with its quality in thousandths. None of them, as without
/// the header, is no wish at all.
#[derive(Clone, Debug, Default)]
struct Wanted(Vec<(Box<str>, u16)>);

/// How specific a range is among those that match an offer; `None` if it does not.
type Match = fn(range: &str, quality: u16, offer: &str) -> Option<u8>;

impl Wanted {
    fn of(headers: Headers<'_>, name: &HeaderName) -> Self {
        let values = headers.all(name.as_str()).filter_map(|value| std::str::from_utf8(value).ok());
        Self(values.flat_map(ranges).map(|(range, quality)| (range.into(), quality)).collect())
    }

    fn pick<'o>(&self, offers: &[&'o str], specificity: Match) -> Option<&'o str> {
        // Backwards, since of equals the last is the greatest.
        let rated = offers.iter().rev().map(|offer| (*offer, self.quality(offer, specificity)));
        let best = rated.max_by_key(|(_, quality)| *quality)?;
        (best.1 > 0).then_some(best.0)
    }

    fn quality(&self, offer: &str, specificity: Match) -> u16 {
        if self.0.is_empty() {
            return 1000;
        }
        let matching = self.0.iter().filter_map(|(range, quality)| {
            specificity(range, *quality, offer).map(|specificity| (specificity, *quality))
        });
        matching.max().map_or(0, |(_, quality)| quality)
    }
}

/// The members of a list, each with its quality in thousandths. One whose quality is malformed is
/// left out.
fn ranges(list: &str) -> impl Iterator<Item = (&str, u16)> {
    split(list, ',').filter_map(|member| {
        let mut parts = split(member, ';');
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then_some((part, value.trim()))
        });
        let Some((part, value)) = weight else { return Some((member, 1000)) };
        // What is behind the quality is no part of the range.
        let before = part.as_ptr().addr() - member.as_ptr().addr();
        let range = member[..before].trim_end().trim_end_matches(';').trim_end();
        quality(value).filter(|_| !range.is_empty()).map(|quality| (range, quality))
    })
}

/// Digits after a point that is not there are allowed for; Java sends `.2`.
fn quality(value: &str) -> Option<u16> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || fraction.len() > 3 || !matches!(whole, "" | "0" | "1") || value.is_empty() {
        return None;
    }
    let thousandths = format!("{whole:0>1}{fraction:0<3}").parse().ok()?;
    (thousandths <= 1000).then_some(thousandths)
}

/// The parts of a text, without the white space around them and without empty ones; what is in
/// quotes is not taken apart.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let ends = move |letter: char| {
        let literal = std::mem::replace(&mut escaped, false);
        match letter {
            _ if literal => {}
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return !quoted && letter == separator,
        }
        false
    };
    text.split(ends).map(|part| part.trim_matches([' ', '\t'])).filter(|part| !part.is_empty())
}

/// RFC 9110, 12.5.1: `*/*`, `text/*`, `text/html`, and each with parameters that the offer has too.
fn media(range: &str, _: u16, offer: &str) -> Option<u8> {
    let (mut wanted, mut offered) = (split(range, ';'), split(offer, ';'));
    let (essence, offered_essence) = (wanted.next()?, offered.next()?);
    let offered: Vec<_> = offered.filter_map(parameter).collect();
    let kind = offered_essence.split('/').next()?;
    let specificity = match essence.split_once('/') {
        Some(("*", "*")) => 0,
        // Java again.
        None if essence == "*" => 0,
        Some((wanted, "*")) if wanted.eq_ignore_ascii_case(kind) => 64,
        _ if essence.eq_ignore_ascii_case(offered_essence) => 128,
        _ => return None,
    };
    wanted.try_fold(specificity, |specificity: u8, text| {
        let (name, value) = parameter(text)?;
        let found = offered.iter().any(|(offered, is)| {
            name.eq_ignore_ascii_case(offered) && value.eq_ignore_ascii_case(is)
        });
        found.then(|| specificity.saturating_add(1))
    })
}

/// A parameter's name and value, without quotes.
fn parameter(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    Some((name.trim(), value.trim().trim_matches('"')))
}

/// A range matches what it is a prefix of, and what is a prefix of it, though less so. That it is
/// not wanted says nothing of the latter: without `de-CH` there may still be `de`.
fn language(range: &str, quality: u16, offer: &str) -> Option<u8> {
    let begins = |long: &str, short: &str| {
        let (start, end) = long.as_bytes().split_at_checked(short.len())?;
        let begins = start.eq_ignore_ascii_case(short.as_bytes()) && end.first() == Some(&b'-');
        begins.then_some(())
    };
    match range {
        "*" => Some(0),
        range if range.eq_ignore_ascii_case(offer) => Some(3),
        range if begins(offer, range).is_some() => Some(2),
        range if begins(range, offer).is_some() && quality > 0 => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(list: &str) -> Wanted {
        Wanted(ranges(list).map(|(range, quality)| (range.into(), quality)).collect())
    }

    #[test]
    fn reads_ranges_and_their_quality() {
        let table: [(&str, &[(&str, u16)]); 13] = [
            ("a/b", &[("a/b", 1000)]),
            ("a/b;q=0.5, c/d ; Q=0.123;x=y", &[("a/b", 500), ("c/d", 123)]),
            ("a/b;x=1;q=.2", &[("a/b;x=1", 200)]),
            ("a;q=1,b;q=1.0,c;q=1.000,d;q=0", &[("a", 1000), ("b", 1000), ("c", 1000), ("d", 0)]),
            ("a;q=1.001,b;q=2,c;q=-1,d;q=x,e;q=0.1234", &[]),
            ("a;q=NaN,b;q=1e-1,c;q=,d;q", &[("d;q", 1000)]),
            (", ,a,,", &[("a", 1000)]),
            (r#"a/b;x=",;q=0";q=0.3"#, &[(r#"a/b;x=",;q=0""#, 300)]),
            (r#"a/b;x="\",", c/d"#, &[(r#"a/b;x="\",""#, 1000), ("c/d", 1000)]),
            (r#"a/b;x="unclosed, c/d"#, &[(r#"a/b;x="unclosed, c/d"#, 1000)]),
            (";q=0.5", &[]),
            ("q=0.5", &[]),
            ("", &[]),
        ];
        for (list, expected) in table {
            assert_eq!(ranges(list).collect::<Vec<_>>(), expected, "{list}");
        }
    }

    #[test]
    fn picks_the_type_as_rfc_9110_12_5_1() {
        let (html, json, plain, level) =
            ("text/html", "application/json", "text/plain", "text/html;level=1");
        let table: &[(&str, &[&str], Option<&str>)] = &[
            ("", &[html, json], Some(html)),
            ("*/*", &[json, html], Some(json)),
            ("text/html, application/json", &[json, html], Some(json)),
            ("text/html, application/json;q=0.9", &[json, html], Some(html)),
            ("application/*", &[html, json], Some(json)),
            ("Text/HTML", &[json, html], Some(html)),
            ("text/*;q=0.3, */*;q=0.5", &[html, json], Some(json)),
            ("text/*, text/html;q=0", &[html, plain], Some(plain)),
            ("text/html;q=0, */*", &[html, json], Some(json)),
            ("*/*;q=0, text/html", &[json, html], Some(html)),
            ("*;q=.2, text/html;q=0.1", &[html, json], Some(json)),
            ("image/png", &[html, json], None),
            ("text/html;q=0", &[html], None),
            ("text", &[html], None),
            ("*/html", &[html], None),
            ("text/html;level=1", &[html], None),
            ("text/html;level=1", &[html, level], Some(level)),
            ("text/html;level=1;q=0.1, text/html", &[level, html], Some(html)),
            ("text/html;level=1, text/html;q=0.7", &[html, level], Some(level)),
            (r#"text/html;LEVEL="1""#, &[level], Some(level)),
            (
                "application/json",
                &["application/json; charset=utf-8"],
                Some("application/json; charset=utf-8"),
            ),
            ("text/html;level", &[level], None),
            ("*/*", &[], None),
        ];
        for (list, offers, picked) in table {
            assert_eq!(wanted(list).pick(offers, media), *picked, "{list} of {offers:?}");
        }
    }

    #[test]
    fn picks_the_language_as_rfc_4647() {
        let table: &[(&str, &[&str], Option<&str>)] = &[
            ("", &["en", "de"], Some("en")),
            ("de", &["en", "de"], Some("de")),
            ("DE-ch", &["en", "de-CH"], Some("de-CH")),
            ("de", &["en", "de-CH"], Some("de-CH")),
            ("de-CH", &["en", "de"], Some("de")),
            ("de-CH, en;q=0.9", &["en", "de"], Some("de")),
            ("de-CH;q=0, en;q=0.5", &["de", "en"], Some("en")),
            ("de-CH;q=0, de", &["de", "de-CH"], Some("de")),
            ("de;q=0, *", &["de-CH", "en"], Some("en")),
            ("en-US, en;q=0.5, de;q=0.8", &["en", "de"], Some("de")),
            ("*;q=0.5, de", &["en", "de"], Some("de")),
            ("d", &["de"], None),
            ("de", &["d", "den"], None),
            ("fr", &["en", "de"], None),
            ("é", &["en"], None),
        ];
        for (list, offers, picked) in table {
            assert_eq!(wanted(list).pick(offers, language), *picked, "{list} of {offers:?}");
        }
    }
}
