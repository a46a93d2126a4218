//! What the header lines say about the message itself: its host, its length, its connection.

use http::{Method, StatusCode, Version};

use super::answer::{Asked, AskedMethod};
use super::authority::Authority;
use super::body::BodyLength;
use super::refusal::Refusal;
use super::request_line::RequestLine;
use super::syntax::{decimal, elements, is_token, trim};
use super::target::Form;

/// What has been read of the header lines so far.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    coding: Coding,
    connection: Connection,
    upgrade: bool,
    expectation: Expectation,
}

/// The transfer codings named so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coding {
    #[default]
    Absent,
    Unknown,
    Chunked,
    UnknownThenChunked,
}

/// The `Connection` options that matter here.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expectation {
    #[default]
    Nothing,
    Continue,
    Other,
}

impl<'a> Facts<'a> {
    /// Takes one header line into account.
    pub(super) fn note(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        // The length rules out nearly every header at once.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.note_host(value),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.note_expectation(value);
                Ok(())
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade |= !value.is_empty();
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection.note(value);
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.note_coding(value),
            _ => Ok(()),
        }
    }

    /// RFC 9112, 3.2: "A server MUST respond with a 400 status code to [...] any request message
    /// that contains more than one Host header field line".
    fn note_host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(Refusal::bad_request("there is more than one Host")),
        }
    }

    /// RFC 9110, 8.6: `Content-Length = 1*DIGIT`. It allows to accept a repeated number; nobody
    /// honest repeats it, so that is refused as any other list.
    fn note_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let length = decimal(value).ok_or(Refusal::bad_request("Content-Length is malformed"))?;
        match self.length.replace(length) {
            None => Ok(()),
            Some(_) => Err(Refusal::bad_request("there is more than one Content-Length")),
        }
    }

    /// RFC 9112, 6.1: `Transfer-Encoding = #transfer-coding`. Several lines are one list. An empty
    /// element is legal in a list but has no honest use in this one.
    fn note_coding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        elements(value).try_for_each(|element| {
            self.coding = self.coding.followed_by(element)?;
            Ok(())
        })
    }

    /// RFC 9110, 10.1.1: "The Expect field value is case-insensitive."
    fn note_expectation(&mut self, value: &[u8]) {
        for element in elements(value).filter(|element| !element.is_empty()) {
            let known = element.eq_ignore_ascii_case(b"100-continue");
            self.expectation = match self.expectation {
                Expectation::Other => Expectation::Other,
                _ if known => Expectation::Continue,
                _ => Expectation::Other,
            };
        }
    }

    /// The host asked for in `Host`, if it is of use to this request.
    pub(super) fn host(&self, line: &RequestLine) -> Result<Option<&'a [u8]>, Refusal> {
        match self.host {
            // RFC 9112, 3.2: 400 "to any HTTP/1.1 request message that lacks a Host header field".
            None if line.version == Version::HTTP_10 => Ok(None),
            None => Err(Refusal::bad_request("there is no Host")),
            // RFC 9110, 4.2.1: "A recipient that processes a "http" URI reference with an empty
            // host identifier MUST reject it as invalid." Where the target names no http URL by
            // itself, or names the host, an empty Host is legal.
            Some([]) if line.target.form == Form::Origin => {
                Err(Refusal::bad_request("Host is empty"))
            }
            Some([]) => Ok(None),
            // RFC 9112, 3.2: 400 to "a Host header field with an invalid field value".
            Some(host) if Authority::parse(host).is_none() => {
                Err(Refusal::bad_request("Host is malformed"))
            }
            Some(host) => Ok(Some(host)),
        }
    }

    /// RFC 9112, 6.3: the length of a request's body, less everything that could be read in two
    /// ways.
    pub(super) fn body_length(&self, line: &RequestLine) -> Result<BodyLength, Refusal> {
        let length = match (self.coding, self.length) {
            (Coding::Absent, None | Some(0)) => BodyLength::None,
            (Coding::Absent, Some(length)) => BodyLength::Exact(length),
            // 6.1: "A server or client that receives an HTTP/1.0 message containing a
            // Transfer-Encoding header field MUST treat the message as if the framing is faulty".
            (_, _) if line.version == Version::HTTP_10 => {
                return Err(Refusal::bad_request("HTTP/1.0 has no Transfer-Encoding"));
            }
            // 6.3: such a message "might indicate an attempt to perform request smuggling [...]
            // and ought to be handled as an error".
            (_, Some(_)) => {
                let reason = "there are both Content-Length and Transfer-Encoding";
                return Err(Refusal::bad_request(reason));
            }
            (Coding::Chunked, None) => BodyLength::Chunked,
            // 6.1: "A server that receives a request message with a transfer coding it does not
            // understand SHOULD respond with 501".
            (Coding::Unknown | Coding::UnknownThenChunked, None) => {
                let reason = "no transfer coding but chunked is known here";
                return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, reason));
            }
        };
        // RFC 9110, 9.3.6: "A CONNECT request message does not have content"; whether what follows
        // were body or tunnel, two servers could disagree.
        if line.method == Method::CONNECT && length != BodyLength::None {
            return Err(Refusal::bad_request("CONNECT has no body"));
        }
        Ok(length)
    }

    /// RFC 9110, 10.1.1: whether the client waits for `100 Continue` before it sends the body.
    pub(super) fn expects_continue(
        &self,
        version: Version,
        length: BodyLength,
    ) -> Result<bool, Refusal> {
        match self.expectation {
            // "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST
            // ignore that expectation."
            _ if version == Version::HTTP_10 => Ok(false),
            Expectation::Nothing => Ok(false),
            // "MAY omit sending a 100 (Continue) response if [...] the framing indicates that
            // there is no content".
            Expectation::Continue => Ok(length != BodyLength::None),
            Expectation::Other => {
                let reason = "no expectation but 100-continue is known here";
                Err(Refusal::new(StatusCode::EXPECTATION_FAILED, reason))
            }
        }
    }

    /// What the answer depends on.
    pub(super) fn asked(&self, line: &RequestLine) -> Asked {
        let http11 = line.version != Version::HTTP_10;
        let method = AskedMethod::of(&line.method);
        Asked {
            method,
            version: line.version,
            // RFC 9112, 9.3: "close" ends it; else HTTP/1.1 persists; else "keep-alive" does.
            keep_alive: !self.connection.close && (http11 || self.connection.keep_alive),
            // RFC 9110, 7.8: "A server MUST ignore an Upgrade header field that is received in an
            // HTTP/1.0 request", and "A sender of Upgrade MUST also send an "Upgrade" connection
            // option".
            upgrade: http11 && self.upgrade && self.connection.upgrade,
        }
    }
}

impl Connection {
    /// RFC 9110, 7.6.1: "Connection options are case-insensitive." Unknown ones are for others.
    pub(super) fn note(&mut self, value: &[u8]) {
        for option in elements(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }
}

impl Coding {
    /// RFC 9112, 6.1: "A sender MUST NOT apply the chunked transfer coding more than once", and
    /// 6.3: chunked must be "the final encoding".
    pub(super) fn followed_by(self, element: &[u8]) -> Result<Self, Refusal> {
        let end = memchr::memchr(b';', element).unwrap_or(element.len());
        let name = trim(&element[..end]);
        if !is_token(name) {
            return Err(Refusal::bad_request("Transfer-Encoding is malformed"));
        }
        let chunked = name.eq_ignore_ascii_case(b"chunked");
        match self {
            Self::Chunked | Self::UnknownThenChunked => {
                Err(Refusal::bad_request("chunked must be the last transfer coding"))
            }
            // 7.1: "The chunked coding does not define any parameters".
            _ if chunked && end != element.len() => {
                Err(Refusal::bad_request("chunked has no parameters"))
            }
            Self::Absent if chunked => Ok(Self::Chunked),
            Self::Unknown if chunked => Ok(Self::UnknownThenChunked),
            Self::Absent | Self::Unknown => Ok(Self::Unknown),
        }
    }
}
