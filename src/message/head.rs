//! The head of a request: the bytes as received, and ranges into them.

use http::{Method, Version};

/// A range of bytes in a [`Head`]; four bytes each, since a head is bounded by `limits.head_bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range of `part` within `whole`; both must be of one allocation.
    pub(crate) fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        debug_assert!(start + part.len() <= whole.len(), "a part lies within its whole");
        #[expect(clippy::cast_possible_truncation, reason = "heads are far below 4 GiB")]
        Self { start: start as u32, end: (start + part.len()) as u32 }
    }

    fn slice(self, whole: &[u8]) -> &[u8] {
        &whole[self.start as usize..self.end as usize]
    }
}

/// One header line of a [`Head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// The name, as received (any case).
    pub name: Span,
    /// The value, without the white space around it.
    pub value: Span,
}

/// The head of a request. The server keeps one per busy connection and fills it anew for each
/// request, so that a warm connection allocates nothing.
#[derive(Debug)]
pub(crate) struct Head {
    /// The head as received, from the method to the empty line.
    pub bytes: Vec<u8>,
    /// The request method.
    pub method: Method,
    /// The version the client speaks.
    pub version: Version,
    /// The request target as received: `/path?query`, `http://host/path`, `*` or `host:port`.
    pub target: Span,
    /// The path within the target; empty for `*` and for CONNECT.
    pub path: Span,
    /// The query within the target, without its `?`.
    pub query: Option<Span>,
    /// The host asked for: from the absolute-form target, else from `Host`.
    pub authority: Option<Span>,
    /// The header lines, in the order received.
    pub fields: Vec<Field>,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            method: Method::GET,
            version: Version::HTTP_11,
            target: Span::default(),
            path: Span::default(),
            query: None,
            authority: None,
            fields: Vec::new(),
        }
    }
}

impl Head {
    /// The text of a range. The decoder admits only visible ASCII where this is used.
    pub(crate) fn text(&self, span: Span) -> &str {
        std::str::from_utf8(span.slice(&self.bytes)).unwrap_or_default()
    }

    /// Forgets the request but keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.method = Method::GET;
        self.version = Version::HTTP_11;
        self.target = Span::default();
        self.path = Span::default();
        self.query = None;
        self.authority = None;
    }

    /// The header lines.
    pub(crate) fn headers(&self) -> Headers<'_> {
        Headers { head: self }
    }
}

/// The headers of a request, in the order received. Names are matched without regard to case.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    head: &'a Head,
}

impl<'a> Headers<'a> {
    /// The first value of `name`, if it is visible ASCII; use [`bytes`](Self::bytes) for the rest.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.bytes(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The first value of `name`, as received.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Every value of `name`, in the order received.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Whether there is at least one header called `name`.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.bytes(name).is_some()
    }

    /// Every name and value, in the order received.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let head = self.head;
        head.fields.iter().map(|field| (head.text(field.name), field.value.slice(&head.bytes)))
    }

    /// How many header lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.fields.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.fields.is_empty()
    }
}
