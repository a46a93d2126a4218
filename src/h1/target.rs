//! The four forms of a request target: RFC 9112, 3.2.

use http::Method;

use super::authority::Authority;
use super::refusal::Refusal;
use super::syntax::find;
use crate::message::Span;

const SCHEME: &[u8] = b"http://";

/// Which of the four forms a target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port`, with CONNECT
    Authority,
    /// `*`, with OPTIONS
    Asterisk,
}

/// A request target; the ranges count from the start of the head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub form: Form,
    pub whole: Span,
    pub path: Span,
    pub query: Option<Span>,
    pub authority: Option<Span>,
}

impl Target {
    /// Parses `text`, which is part of `head`.
    pub(super) fn parse(method: &Method, text: &[u8], head: &[u8]) -> Result<Self, Refusal> {
        check_bytes(text)?;
        let target = Self {
            form: Form::Origin,
            whole: Span::of(text, head),
            path: Span::of(&text[text.len()..], head),
            query: None,
            authority: None,
        };
        // RFC 9112, 3.2.3: "The authority-form of request-target is only used for CONNECT".
        if *method == Method::CONNECT {
            return target.authority_form(text, head);
        }
        match text {
            [b'/', ..] => Ok(target.with_path(text, head)),
            // 3.2.4: "The asterisk-form of request-target is only used for a server-wide OPTIONS".
            b"*" if *method == Method::OPTIONS => Ok(Self { form: Form::Asterisk, ..target }),
            b"*" => Err(Refusal::bad_request("the target * is for OPTIONS only")),
            _ => target.absolute_form(method, text, head),
        }
    }

    /// RFC 9110, 9.3.6: "A server MUST reject a CONNECT request that targets an empty or invalid
    /// port number".
    fn authority_form(self, text: &[u8], head: &[u8]) -> Result<Self, Refusal> {
        match Authority::parse(text) {
            Some(Authority { port: Some(1..) }) => {
                let authority = Some(Span::of(text, head));
                Ok(Self { form: Form::Authority, authority, ..self })
            }
            _ => Err(Refusal::bad_request("the target of CONNECT must be host:port")),
        }
    }

    /// RFC 9112, 3.2.2: "a server MUST accept the absolute-form in requests". Only the scheme that
    /// this server speaks is accepted.
    fn absolute_form(self, method: &Method, text: &[u8], head: &[u8]) -> Result<Self, Refusal> {
        let rest = match text.split_at_checked(SCHEME.len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
            _ => return Err(Refusal::bad_request("the target is neither a path nor a http URL")),
        };
        let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if Authority::parse(authority).is_none() {
            return Err(Refusal::bad_request("the target's host is malformed"));
        }
        let authority = Some(Span::of(authority, head));
        let target = Self { form: Form::Absolute, authority, ..self };
        match rest {
            // 3.2.4: OPTIONS for a URL with neither path nor query means "*".
            [] if *method == Method::OPTIONS => Ok(target),
            [b'/', ..] => Ok(target.with_path(rest, head)),
            _ => {
                // RFC 9110, 4.2.3: "an empty path component is equivalent to an absolute path of
                // "/"": the last slash of "http://" stands for it.
                let path = Span::of(&text[SCHEME.len() - 1..SCHEME.len()], head);
                Ok(Self { path, ..target.with_path(rest, head) })
            }
        }
    }

    /// Splits `text` at its first question mark.
    fn with_path(self, text: &[u8], head: &[u8]) -> Self {
        match find(b'?', text) {
            None => Self { path: Span::of(text, head), ..self },
            Some(at) => Self {
                path: Span::of(&text[..at], head),
                query: Some(Span::of(&text[at + 1..], head)),
                ..self
            },
        }
    }
}

/// RFC 3986 admits visible ASCII only. The few visible characters that it excludes, such as `|`,
/// are let through: browsers send them, and they mean nothing to anybody.
fn check_bytes(text: &[u8]) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(Refusal::bad_request("the request has no target"));
    }
    // No early exit, so that the compiler can check many bytes at once.
    if text.iter().fold(true, |fine, byte| fine & matches!(byte, b'!' | b'"' | b'$'..=b'~')) {
        return Ok(());
    }
    Err(Refusal::bad_request(if text.iter().all(u8::is_ascii_graphic) {
        // RFC 9112, 3.2: no form of the target has a fragment.
        "the target has a fragment"
    } else {
        "the target has a byte that is not visible ASCII"
    }))
}
