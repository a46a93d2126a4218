//! The pattern of a route, in Express 5's syntax.

use std::iter::Peekable;
use std::rc::Rc;
use std::str::Chars;

use http::Method;

use crate::message::PARAMS_MAX;

/// Why a route could not be added: which one, what is wrong with it, and what to do.
///
/// ```
/// use corelane::App;
/// use http::Method;
///
/// let error = App::new().try_route(Method::GET, "users/:id", async || "hi").unwrap_err();
/// assert_eq!(error.pattern(), "users/:id");
/// assert_eq!(error.to_string(), "route \"users/:id\": a path begins with `/`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route {pattern:?}: {fault}")]
pub struct PatternError {
    pattern: String,
    fault: Fault,
}

impl PatternError {
    pub(super) fn new(pattern: &str, fault: Fault) -> Self {
        Self { pattern: pattern.to_owned(), fault }
    }

    /// Whether the method is answered on this path already, and the pattern itself is sound.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self.fault, Fault::Taken { .. })
    }

    /// The pattern that was refused.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
}

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("a path begins with `/`")]
    Relative,
    #[error(
        "`{0}` needs a name of letters, digits and `_`, as in `{0}name`; \
         for a literal `{0}` write `\\{0}`"
    )]
    Unnamed(char),
    #[error("the name `{0}` is used twice; give each parameter its own")]
    Repeated(String),
    #[error("a path has no `{0}`; read the query with the `Query` extractor")]
    NotPath(char),
    #[error(
        "{0:?} never arrives in a path as it is; write it percent-encoded: `{encoded}`",
        encoded = encode(*.0)
    )]
    Raw(char),
    #[error("`*{0}` must be the whole of the last segment, as in `/files/*{0}`")]
    WildcardInside(String),
    #[error(
        "two parameters in one segment; put a `/` between them, or split the value in the handler"
    )]
    Crowded,
    #[error(
        "more than {PARAMS_MAX} parameters; match the rest with `*rest` and split it in the handler"
    )]
    TooMany,
    #[error("`{0}` has no counterpart; for a literal one write `\\{0}`")]
    Unbalanced(char),
    #[error("the optional parts allow more than {VARIANTS_MAX} paths; write some of them out")]
    Optional,
    #[error("nothing follows the `\\`; for a literal backslash write `%5C`")]
    LoneEscape,
    #[error("{method} is already answered by {with:?}; remove one of the two")]
    Taken { method: Method, with: String },
    #[error("every method is already answered by {0:?}; remove one of the two")]
    AnyTaken(String),
    #[error("cannot be told from {0:?}; make their literal parts differ, or merge them")]
    Ambiguous(String),
    #[error("the router refuses it: {0}")]
    Refused(String),
    #[error(
        "a prefix ends neither in `/` nor in a wildcard, and has no optional parts; \
         write it like `/admin`"
    )]
    Prefix,
}

fn encode(c: char) -> String {
    percent_encoding::utf8_percent_encode(
        c.encode_utf8(&mut [0; 4]),
        percent_encoding::NON_ALPHANUMERIC,
    )
    .to_string()
}

/// How many paths one with optional parts may stand for.
const VARIANTS_MAX: usize = 16;

/// What a pattern consists of; the order is the order in which routes are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Literal text.
    Exact,
    /// Some segments are parameters.
    Params,
    /// The last segment stands for any number of segments.
    Wildcard,
}

/// A pattern that was found good.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// As its author wrote it.
    pub text: Rc<str>,
    pub kind: Kind,
    /// The path itself, if exact; else the pattern in matchit's syntax with its parameters called
    /// `a`, `b`, ..., so that patterns that differ only in names have one shape.
    pub shape: String,
    /// The parameters, in their order.
    pub names: Rc<[Box<str>]>,
}

impl Pattern {
    /// Reads `/users/:id` and `/files/*rest`.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let refuse = |fault| PatternError::new(text, fault);
        if !text.starts_with('/') {
            return Err(refuse(Fault::Relative));
        }
        let mut parser = Parser::new(text);
        parser.run().map_err(refuse)?;
        let Parser { kind, literal, shape, names, .. } = parser;
        let shape = if kind == Kind::Exact { literal } else { shape };
        Ok(Self { text: text.into(), kind, shape, names: names.into() })
    }

    /// Reads a path with optional parts, such as `/users{/:id}`: what it stands for with each of
    /// them and without.
    pub(super) fn variants(text: &str) -> Result<Vec<Self>, PatternError> {
        let texts = expand(text).map_err(|fault| PatternError::new(text, fault))?;
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    /// The pattern `text` under the prefix of a mount.
    pub(super) fn under(prefix: &str, text: &str) -> Result<Self, PatternError> {
        match (prefix, text) {
            ("/", _) => Self::parse(text),
            (_, "/") => Self::parse(prefix),
            _ => Self::parse(&format!("{prefix}{text}")),
        }
    }

    /// Reads the prefix of a mount.
    pub(super) fn prefix(prefix: &str) -> Result<Self, PatternError> {
        let closed = prefix.len() > 1 && prefix.ends_with('/');
        match Self::variants(prefix)?.pop_if(|_| !closed) {
            Some(pattern) if pattern.kind != Kind::Wildcard && *pattern.text == *prefix => {
                Ok(pattern)
            }
            _ => Err(PatternError::new(prefix, Fault::Prefix)),
        }
    }
}

/// Everything that a path with optional parts stands for, the longest first.
fn expand(text: &str) -> Result<Vec<String>, Fault> {
    let mut escaped = false;
    let mut depth = 0_usize;
    let mut open = None;
    for (at, c) in text.char_indices() {
        match c {
            _ if std::mem::take(&mut escaped) => {}
            '\\' => escaped = true,
            '{' => {
                open = open.or(Some(at));
                depth += 1;
            }
            '}' => {
                depth = depth.checked_sub(1).ok_or(Fault::Unbalanced('}'))?;
                if let Some(start) = open.filter(|_| depth == 0) {
                    let (before, inside, behind) =
                        (&text[..start], &text[start + 1..at], &text[at + 1..]);
                    let mut all = expand(&format!("{before}{inside}{behind}"))?;
                    all.extend(expand(&format!("{before}{behind}"))?);
                    all.dedup();
                    return if all.len() > VARIANTS_MAX { Err(Fault::Optional) } else { Ok(all) };
                }
            }
            _ => {}
        }
    }
    if depth > 0 { Err(Fault::Unbalanced('{')) } else { Ok(vec![text.to_owned()]) }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    kind: Kind,
    literal: String,
    shape: String,
    names: Vec<Box<str>>,
    /// Whether the segment at hand has a parameter.
    crowded: bool,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text.chars().peekable(),
            kind: Kind::Exact,
            literal: String::new(),
            shape: String::new(),
            names: Vec::new(),
            crowded: false,
        }
    }

    fn run(&mut self) -> Result<(), Fault> {
        while let Some(c) = self.rest.next() {
            match c {
                ':' => self.parameter()?,
                '*' => self.wildcard()?,
                '\\' => {
                    let escaped = self.rest.next().ok_or(Fault::LoneEscape)?;
                    self.text(escaped)?;
                }
                _ => self.text(c)?,
            }
        }
        Ok(())
    }

    fn text(&mut self, c: char) -> Result<(), Fault> {
        match c {
            '?' | '#' => return Err(Fault::NotPath(c)),
            '{' | '}' => self.shape.push(c),
            '/' => self.crowded = false,
            _ if !c.is_ascii_graphic() => return Err(Fault::Raw(c)),
            _ => {}
        }
        self.shape.push(c);
        self.literal.push(c);
        Ok(())
    }

    fn parameter(&mut self) -> Result<(), Fault> {
        if std::mem::replace(&mut self.crowded, true) {
            return Err(Fault::Crowded);
        }
        let name = self.name(':')?;
        let letter = self.add(name)?;
        self.kind = Kind::Params;
        self.shape.extend(['{', letter, '}']);
        Ok(())
    }

    fn wildcard(&mut self) -> Result<(), Fault> {
        let whole = self.shape.ends_with('/');
        let name = self.name('*')?;
        if !whole || self.rest.peek().is_some() {
            return Err(Fault::WildcardInside(name));
        }
        let letter = self.add(name)?;
        self.kind = Kind::Wildcard;
        self.shape.extend(['{', '*', letter, '}']);
        Ok(())
    }

    fn name(&mut self, sign: char) -> Result<String, Fault> {
        let mut name = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        match name.chars().next() {
            None => Err(Fault::Unnamed(sign)),
            Some(first) if first.is_ascii_digit() => Err(Fault::Unnamed(sign)),
            Some(_) => Ok(name),
        }
    }

    /// Records a name and returns the letter that stands for it in the shape.
    fn add(&mut self, name: String) -> Result<char, Fault> {
        const LETTERS: [char; PARAMS_MAX] = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
        if self.names.iter().any(|known| **known == *name) {
            return Err(Fault::Repeated(name));
        }
        let letter = *LETTERS.get(self.names.len()).ok_or(Fault::TooMany)?;
        self.names.push(name.into());
        Ok(letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translates_express_patterns() {
        let table = [
            ("/", Kind::Exact, "/", ""),
            ("/users/", Kind::Exact, "/users/", ""),
            ("/users/:id", Kind::Params, "/users/{a}", "id"),
            ("/:year/:month.html", Kind::Params, "/{a}/{b}.html", "year month"),
            ("/v:version/x", Kind::Params, "/v{a}/x", "version"),
            ("/files/*rest", Kind::Wildcard, "/files/{*a}", "rest"),
            ("/:user/*rest", Kind::Wildcard, "/{a}/{*b}", "user rest"),
            (r"/\{a\}", Kind::Exact, "/{a}", ""),
            (r"/\{a\}/:b", Kind::Params, "/{{a}}/{a}", "b"),
            (r"/items\:batch", Kind::Exact, "/items:batch", ""),
            ("/caf%C3%A9", Kind::Exact, "/caf%C3%A9", ""),
        ];
        for (text, kind, shape, names) in table {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!((pattern.kind, &*pattern.shape), (kind, shape), "{text}");
            assert_eq!(pattern.names.join(" "), names, "{text}");
        }
    }

    #[test]
    fn optional_parts_are_there_or_not() {
        let table: [(&str, &[&str]); 7] = [
            ("/users{/:id}", &["/users/:id", "/users"]),
            ("/{:lang/}docs", &["/:lang/docs", "/docs"]),
            ("/a{/b{/c}}", &["/a/b/c", "/a/b", "/a"]),
            ("/a{/b}{/c}", &["/a/b/c", "/a/b", "/a/c", "/a"]),
            ("/a{/*rest}", &["/a/*rest", "/a"]),
            (r"/\{a\}", &[r"/\{a\}"]),
            ("/a{}", &["/a"]),
        ];
        for (text, variants) in table {
            assert_eq!(expand(text).unwrap(), variants, "{text}");
        }
        for (text, message) in [
            ("/a{/b", "`{` has no counterpart; for a literal one write `\\{`"),
            ("/a/b}", "`}` has no counterpart"),
            ("{/a}", "a path begins with `/`"),
            ("/{a}{b}{c}{d}{e}", "more than 16 paths"),
            ("/a{/:1}", "`:` needs a name"),
        ] {
            let error = Pattern::variants(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn refuses_bad_patterns_and_says_what_to_do() {
        let table = [
            ("", "a path begins with `/`"),
            ("users", "a path begins with `/`"),
            ("*", "a path begins with `/`"),
            ("/:", "`:` needs a name of letters, digits and `_`, as in `:name`"),
            ("/:1st", "`:` needs a name"),
            ("/*", "`*` needs a name of letters, digits and `_`, as in `*name`"),
            ("/*rest/more", "`*rest` must be the whole of the last segment"),
            ("/file-*rest", "`*rest` must be the whole of the last segment"),
            ("/:a-:b", "two parameters in one segment"),
            ("/:a/:a", "the name `a` is used twice"),
            ("/x?y=1", "a path has no `?`"),
            ("/x#y", "a path has no `#`"),
            ("/café", "write it percent-encoded: `%C3%A9`"),
            ("/a b", "write it percent-encoded: `%20`"),
            ("/x\\", "nothing follows the `\\`"),
            ("/:a/:b/:c/:d/:e/:f/:g/:h/:i", "more than 8 parameters"),
        ];
        for (text, message) in table {
            let error = Pattern::parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
            assert!(error.starts_with(&format!("route {text:?}: ")), "{text}: {error}");
        }
    }

    #[test]
    fn joins_prefix_and_pattern() {
        let table = [
            ("/admin", "/", "/admin"),
            ("/admin", "/users", "/admin/users"),
            ("/", "/users", "/users"),
            ("/", "/", "/"),
            ("/:tenant", "/*rest", "/:tenant/*rest"),
        ];
        for (prefix, text, joined) in table {
            assert_eq!(&*Pattern::under(prefix, text).unwrap().text, joined);
        }
        for prefix in ["/admin/", "/*rest", "admin"] {
            assert!(Pattern::prefix(prefix).is_err(), "{prefix}");
        }
    }
}
