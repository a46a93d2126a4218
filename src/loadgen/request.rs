//! The one request that is sent over and over, as bytes.

use std::str::FromStr;

use http::{HeaderName, HeaderValue, Method, header};

use super::Url;

/// A header of the user's: checked, and otherwise as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    name: HeaderName,
    value: HeaderValue,
    line: String,
}

/// What to send.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// POST if there is a body and nothing else is said, otherwise GET.
    pub method: Option<Method>,
    /// They replace those that would be sent anyway.
    pub headers: Vec<Header>,
    /// What follows the head.
    pub body: Option<Vec<u8>>,
    /// Whether the connection is to be used again.
    pub keep_alive: bool,
}

/// Why a request would be none, or be read in two ways.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("bad header `{text}`: {problem}")]
    Header { text: String, problem: &'static str },
    #[error("the header `{0}` is given twice")]
    Twice(HeaderName),
    #[error("the header `Content-Length: {given}` contradicts the body of {length} bytes")]
    Length { given: String, length: usize },
    #[error("the header `Transfer-Encoding` contradicts a body that is sent in one piece")]
    Encoding,
    #[error("the header `Connection: close` ends every connection after its first answer")]
    Close,
    #[error("CONNECT asks for a tunnel and not for an answer")]
    Connect,
}

impl RequestError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Header { .. } => "write it as in -H 'Accept: text/html'",
            Self::Twice(_) => "drop one of them",
            Self::Length { .. } => "leave it out: it is set to the body's length",
            Self::Encoding => "leave it out: the body's length is sent",
            Self::Close => "leave it out, and say --no-keepalive",
            Self::Connect => "choose another method",
        }
    }
}

impl FromStr for Header {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        let wrong = |problem| RequestError::Header { text: text.to_owned(), problem };
        let (name, value) = text.split_once(':').ok_or_else(|| wrong("there is no colon in it"))?;
        let value = value.trim_matches([' ', '\t']);
        let line = format!("{name}: {value}\r\n");
        let name = name.parse().map_err(|_| wrong("its name may hold letters, digits and -"))?;
        let value = HeaderValue::from_str(value)
            .map_err(|_| wrong("its value may hold no line break or other control character"))?;
        Ok(Self { name, value, line })
    }
}

impl Request {
    /// The method, said or not.
    pub(crate) fn method(&self) -> Method {
        let usual = || if self.body.is_some() { Method::POST } else { Method::GET };
        self.method.clone().unwrap_or_else(usual)
    }

    /// From its first line to the last byte of its body.
    ///
    /// # Errors
    ///
    /// If two parties could take it for two different requests.
    pub(crate) fn encode(&self, url: &Url) -> Result<Vec<u8>, RequestError> {
        let method = self.method();
        if method == Method::CONNECT {
            return Err(RequestError::Connect);
        }
        let body = self.body.as_deref().unwrap_or_default();
        self.check(body.len())?;
        let mut head = format!("{method} {} HTTP/1.1\r\n", url.path());
        if !self.has(&header::HOST) {
            head.extend(["Host: ", &url.host(), "\r\n"]);
        }
        head.extend(self.headers.iter().map(|header| header.line.as_str()));
        // RFC 9110, 8.6: a method that usually has a body says also that there is none.
        let usual = [Method::POST, Method::PUT, Method::PATCH].contains(&method);
        if (self.body.is_some() || usual) && !self.has(&header::CONTENT_LENGTH) {
            head.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        if !self.keep_alive && !self.closes() {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        Ok([head.as_bytes(), body].concat())
    }

    fn check(&self, length: usize) -> Result<(), RequestError> {
        for only in [header::HOST, header::CONTENT_LENGTH] {
            if self.headers.iter().filter(|header| header.name == only).count() > 1 {
                return Err(RequestError::Twice(only));
            }
        }
        if self.has(&header::TRANSFER_ENCODING) {
            return Err(RequestError::Encoding);
        }
        let given = self.headers.iter().find(|header| header.name == header::CONTENT_LENGTH);
        if let Some(Header { value, .. }) = given
            && value.as_bytes() != length.to_string().as_bytes()
        {
            let given = String::from_utf8_lossy(value.as_bytes()).into_owned();
            return Err(RequestError::Length { given, length });
        }
        if self.keep_alive && self.closes() {
            return Err(RequestError::Close);
        }
        Ok(())
    }

    fn has(&self, name: &HeaderName) -> bool {
        self.headers.iter().any(|header| header.name == name)
    }

    fn closes(&self) -> bool {
        let values = self.headers.iter().filter(|header| header.name == header::CONNECTION);
        let mut options = values.flat_map(|header| header.value.as_bytes().split(|b| *b == b','));
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Option<&str>, headers: &[&str], body: Option<&str>) -> Request {
        Request {
            method: method.map(|name| name.parse().unwrap()),
            headers: headers.iter().map(|text| text.parse().unwrap()).collect(),
            body: body.map(|text| text.as_bytes().to_vec()),
            keep_alive: true,
        }
    }

    fn encode(request: &Request) -> Result<String, RequestError> {
        let url = "http://a.example:81/x?y".parse().unwrap();
        request.encode(&url).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_request_says_what_it_must_and_no_more() {
        let line = "/x?y HTTP/1.1\r\nHost: a.example:81\r\n";
        for (method, headers, body, expected) in [
            (None, &[][..], None, format!("GET {line}\r\n")),
            (None, &[], Some("ab"), format!("POST {line}Content-Length: 2\r\n\r\nab")),
            (Some("PUT"), &[], Some(""), format!("PUT {line}Content-Length: 0\r\n\r\n")),
            (Some("POST"), &[], None, format!("POST {line}Content-Length: 0\r\n\r\n")),
            (Some("HEAD"), &[], None, format!("HEAD {line}\r\n")),
            (Some("PURGE"), &[], Some("a"), format!("PURGE {line}Content-Length: 1\r\n\r\na")),
            (None, &["X-a:  b ", "X-A: c"], None, format!("GET {line}X-a: b\r\nX-A: c\r\n\r\n")),
            (None, &["host: b"], None, "GET /x?y HTTP/1.1\r\nhost: b\r\n\r\n".to_owned()),
            (
                None,
                &["Content-Length: 2"],
                Some("ab"),
                format!("POST {line}Content-Length: 2\r\n\r\nab"),
            ),
        ] {
            assert_eq!(encode(&request(method, headers, body)), Ok(expected));
        }
    }

    #[test]
    fn without_keep_alive_it_asks_for_the_close_once() {
        for headers in [&[][..], &["Connection: Close"], &["Connection: x, close"]] {
            let request = Request { keep_alive: false, ..request(None, headers, None) };
            let text = encode(&request).unwrap().to_ascii_lowercase();
            assert_eq!(text.matches("close").count(), 1, "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let length = |given: &str, length| RequestError::Length { given: given.to_owned(), length };
        for (headers, body, error) in [
            (&["Content-Length: 3"][..], Some("ab"), length("3", 2)),
            (&["content-length: +2"], Some("ab"), length("+2", 2)),
            (&["Content-Length: 1"], None, length("1", 0)),
            (&["Transfer-Encoding: chunked"], Some("ab"), RequestError::Encoding),
            (&["Host: a", "host: b"], None, RequestError::Twice(header::HOST)),
            (&["Connection: keep-alive, close"], None, RequestError::Close),
        ] {
            assert_eq!(encode(&request(None, headers, body)), Err(error));
        }
        assert_eq!(encode(&request(Some("CONNECT"), &[], None)), Err(RequestError::Connect));
    }

    #[test]
    fn a_header_cannot_smuggle_another() {
        for text in ["X", ": a", "X y: a", "X: a\r\nY: b", "X\r\nY: b", "X: a\0", "X : a", "é: a"]
        {
            let error = text.parse::<Header>().unwrap_err();
            assert!(matches!(error, RequestError::Header { .. }), "{text}");
            assert!(error.to_string().starts_with(&format!("bad header `{text}`: ")), "{error}");
        }
        for text in ["X:", "X: é", "X:a:b"] {
            assert!(text.parse::<Header>().is_ok(), "{text}");
        }
    }
}
