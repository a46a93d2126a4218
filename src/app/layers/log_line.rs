//! What a log line looks like.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::app::extract::ClientIp;
use crate::message::Request;

/// Longer values are cut, because the queue's memory is bounded by lines.
const VALUE_LEN_MAX: usize = 1024;

/// The notations that tools know.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notation {
    Common,
    Combined,
    Json,
}

/// What a line says of the request: copies, because the request goes on to its handler.
pub(super) struct Asked {
    client: Option<IpAddr>,
    method: String,
    target: String,
    version: String,
    referer: Option<Vec<u8>>,
    user_agent: Option<Vec<u8>>,
}

impl Asked {
    pub(super) fn new(request: &Request) -> Self {
        let value = |name| request.headers().bytes(name).map(|value| cut(value).to_vec());
        Self {
            client: ClientIp::of(request).map(|ClientIp(address)| address),
            method: String::from_utf8_lossy(cut(request.method().as_str().as_bytes())).into(),
            target: String::from_utf8_lossy(cut(request.target().as_bytes())).into(),
            version: format!("{:?}", request.version()),
            referer: value("referer"),
            user_agent: value("user-agent"),
        }
    }
}

/// What it says of the answer.
pub(super) struct Answered {
    /// `None` if there was none, because the client went away.
    pub status: Option<u16>,
    pub bytes: u64,
    pub took: Duration,
    pub request_id: Option<Vec<u8>>,
}

#[derive(Serialize)]
struct Json<'a> {
    time: &'a str,
    client: &'a str,
    method: &'a str,
    target: &'a str,
    version: &'a str,
    status: Option<u16>,
    bytes: u64,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Cow<'a, str>>,
}

/// The line, with its line feed.
pub(super) fn line(
    notation: Notation,
    asked: &Asked,
    answered: &Answered,
    now: SystemTime,
) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    match notation {
        Notation::Json => json(&mut line, asked, answered, now),
        Notation::Common => common(&mut line, asked, answered, now),
        Notation::Combined => {
            common(&mut line, asked, answered, now);
            for value in [&asked.referer, &asked.user_agent] {
                line.extend_from_slice(b" \"");
                escape(&mut line, value.as_deref().unwrap_or(b"-"));
                line.push(b'"');
            }
        }
    }
    line.push(b'\n');
    line
}

fn json(line: &mut Vec<u8>, asked: &Asked, answered: &Answered, now: SystemTime) {
    fn lossy(value: Option<&Vec<u8>>) -> Option<Cow<'_, str>> {
        value.map(|value| String::from_utf8_lossy(value))
    }
    let duration_us = u64::try_from(answered.took.as_micros()).unwrap_or(u64::MAX);
    let line_of_json = Json {
        time: &Date::new(now).iso(),
        client: &client(asked.client),
        method: &asked.method,
        target: &asked.target,
        version: &asked.version,
        status: answered.status,
        bytes: answered.bytes,
        duration_us,
        referer: lossy(asked.referer.as_ref()),
        user_agent: lossy(asked.user_agent.as_ref()),
        request_id: lossy(answered.request_id.as_ref()),
    };
    let text = serde_json::to_string(&line_of_json);
    let text = text.expect("invariant: text and numbers, into memory");
    for char in text.chars() {
        // JSON allows them as they are, and terminals obey them.
        if steers(char) {
            line.extend_from_slice(format!("\\u{:04x}", u32::from(char)).as_bytes());
        } else {
            line.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Whether a terminal does something else with it than to show it: further controls, and what
/// changes the direction of writing.
fn steers(char: char) -> bool {
    matches!(char, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}')
}

fn common(line: &mut Vec<u8>, asked: &Asked, answered: &Answered, now: SystemTime) {
    let (client, date) = (client(asked.client), Date::new(now).common());
    line.extend_from_slice(format!("{client} - - [{date}] \"").as_bytes());
    for (index, part) in [&asked.method, &asked.target, &asked.version].into_iter().enumerate() {
        if index > 0 {
            line.push(b' ');
        }
        escape(line, part.as_bytes());
    }
    let status = answered.status.map_or("-".to_owned(), |status| status.to_string());
    let bytes = if answered.bytes == 0 { "-".to_owned() } else { answered.bytes.to_string() };
    line.extend_from_slice(format!("\" {status} {bytes}").as_bytes());
}

/// The client's address, without its port, as tools expect it.
fn client(address: Option<IpAddr>) -> String {
    address.map_or("unix:".to_owned(), |address| address.to_string())
}

fn cut(value: &[u8]) -> &[u8] {
    &value[..value.len().min(VALUE_LEN_MAX)]
}

/// A value between quotation marks, which cannot end them, nor the line, nor steer a terminal.
fn escape(line: &mut Vec<u8>, value: &[u8]) {
    for byte in value {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => line.push(*byte),
            _ => write!(line, "\\x{byte:02x}").expect("invariant: writing into memory"),
        }
    }
}

/// A moment in the notations of logs, made from that of HTTP: `Sun, 06 Nov 1994 08:49:37 GMT`.
struct Date {
    text: String,
    millis: u32,
}

impl Date {
    fn new(now: SystemTime) -> Self {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { text: httpdate::fmt_http_date(now), millis: since_epoch.subsec_millis() }
    }

    fn parts(&self) -> [&str; 4] {
        [5..7, 8..11, 12..16, 17..25].map(|range| &self.text[range])
    }

    fn common(&self) -> String {
        let [day, month, year, time] = self.parts();
        format!("{day}/{month}/{year}:{time} +0000")
    }

    fn iso(&self) -> String {
        const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let [day, month, year, time] = self.parts();
        let number = MONTHS.find(month).map_or(0, |at| at / 3 + 1);
        format!("{year}-{number:02}-{day}T{time}.{:03}Z", self.millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked {
            client: Some("10.0.0.1".parse().unwrap()),
            method: "GET".to_owned(),
            target: "/a?b=\"c\"".to_owned(),
            version: "HTTP/1.1".to_owned(),
            referer: None,
            user_agent: Some(b"evil\"\\\r\n\x1b[31m\xff".to_vec()),
        }
    }

    #[test]
    fn what_steers_a_terminal_is_not_written_as_it_is() {
        for char in ['\u{7f}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200f}'] {
            assert!(steers(char), "{char:?}");
        }
        for char in ['a', '\u{e4}', '\u{20ac}', '\u{1f600}'] {
            assert!(!steers(char), "{char:?}");
        }
    }

    #[test]
    fn lines_cannot_be_forged() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_042);
        let answered = Answered {
            status: Some(200),
            bytes: 12,
            took: Duration::from_micros(1500),
            request_id: Some(b"r1".to_vec()),
        };
        let common =
            r#"10.0.0.1 - - [06/Nov/1994:08:49:37 +0000] "GET /a?b=\"c\" HTTP/1.1" 200 12"#;
        let combined = format!("{common}{}", r#" "-" "evil\"\\\x0d\x0a\x1b[31m\xff""#);
        let json = concat!(
            r#"{"time":"1994-11-06T08:49:37.042Z","client":"10.0.0.1","method":"GET","#,
            r#""target":"/a?b=\"c\"","version":"HTTP/1.1","status":200,"bytes":12,"#,
            r#""duration_us":1500,"user_agent":"evil\"\\\r\n\u001b[31m�","request_id":"r1"}"#
        );
        let table =
            [(Notation::Common, common), (Notation::Combined, &combined), (Notation::Json, json)];
        for (notation, expected) in table {
            let line = String::from_utf8(line(notation, &asked(), &answered, now)).unwrap();
            assert_eq!(line, format!("{expected}\n"));
        }
    }

    #[test]
    fn no_answer_and_no_body_are_dashes() {
        let answered = Answered { status: None, bytes: 0, took: Duration::ZERO, request_id: None };
        let line = line(Notation::Common, &asked(), &answered, SystemTime::UNIX_EPOCH);
        assert!(line.ends_with(b"\" - -\n"), "{}", String::from_utf8_lossy(&line));
    }
}
