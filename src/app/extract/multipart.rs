//! Forms with files.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_lite::Stream;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use send_wrapper::SendWrapper;

use super::body;
use crate::app::{FromRequest, Rejection};
use crate::message::{Body, Request};

/// How many fields a form may have, unless it is told otherwise.
const FIELDS_MAX: usize = 100;
/// How long a field may be that is read into memory, in bytes, unless it is told otherwise.
const IN_MEMORY_MAX: usize = 1024 * 1024;
/// How much may come before the first field has begun. The parser keeps and searches all of it.
const PREAMBLE_MAX: usize = 64 * 1024;

/// A form with files, `multipart/form-data`, read field by field as it arrives.
///
/// Refuses another `Content-Type` with 415 and one without a boundary with 400. Then each step may
/// refuse: what is malformed with 400; with 413 more than 100 fields, more than 1 MiB read into
/// memory by [`Field::bytes`] or [`Field::text`], or a body beyond `limits.body_bytes`; a client
/// that stops sending with 408.
///
/// ```
/// use corelane::{App, Multipart, Rejection};
///
/// async fn upload(mut form: Multipart) -> Result<String, Rejection> {
///     let mut sizes = String::new();
///     while let Some(mut field) = form.next_field().await? {
///         let mut size = 0;
///         while let Some(piece) = field.chunk().await? {
///             size += piece.len();
///         }
///         let name = field.file_name().or(field.name()).unwrap_or("a field");
///         sizes += &format!("{name}: {size} bytes\n");
///     }
///     Ok(sizes)
/// }
///
/// let app = App::new().post("/upload", upload);
/// ```
#[derive(Debug)]
pub struct Multipart {
    parser: multer::Multipart<'static>,
    fields: usize,
    fields_max: usize,
    in_memory_max: usize,
    /// How many bytes the parser may still read: few, until the first field has begun.
    ahead: Rc<Cell<usize>>,
}

impl Multipart {
    /// Refuses more fields than this with 413.
    #[must_use]
    pub fn with_fields_max(self, fields_max: usize) -> Self {
        Self { fields_max, ..self }
    }

    /// Refuses to read more bytes of one field into memory than this, with 413.
    #[must_use]
    pub fn with_in_memory_max(self, in_memory_max: usize) -> Self {
        Self { in_memory_max, ..self }
    }

    /// The next field; `None` at the end. What has not been read of the one before is skipped, once
    /// that is dropped.
    ///
    /// # Errors
    /// What the answer should be, as the type says.
    pub async fn next_field(&mut self) -> Result<Option<Field>, Rejection> {
        let mut next = pin!(self.parser.next_field());
        let ahead = &self.ahead;
        let inner = poll_fn(|cx| match next.as_mut().poll(cx) {
            // It has all that it may have, and that is not enough.
            Poll::Pending if ahead.get() == 0 => {
                let problem = format!("no field of the form begins within {PREAMBLE_MAX} bytes");
                Poll::Ready(Err(too_large(problem)))
            }
            next => next.map_err(refuse),
        });
        let inner = inner.await?;
        self.ahead.set(usize::MAX);
        let Some(inner) = inner else { return Ok(None) };
        self.fields += 1;
        if self.fields > self.fields_max {
            return Err(too_large(format!("the form has more than {} fields", self.fields_max)));
        }
        Ok(Some(Field { inner, in_memory_max: self.in_memory_max }))
    }
}

/// One field of a [`Multipart`] form.
#[derive(Debug)]
pub struct Field {
    inner: multer::Field<'static>,
    in_memory_max: usize,
}

impl Field {
    /// What the form calls it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.inner.name()
    }

    /// What the client calls the file. Never a path to write to: it may be `../../etc/passwd`.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.inner.file_name()
    }

    /// What kind of file the client says it is.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.inner.headers().get(CONTENT_TYPE)?.to_str().ok()
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// What the answer should be, as [`Multipart`] says.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Rejection> {
        self.inner.chunk().await.map_err(refuse)
    }

    /// All bytes.
    ///
    /// # Errors
    /// What the answer should be, as [`Multipart`] says.
    pub async fn bytes(mut self) -> Result<Bytes, Rejection> {
        let mut all = Vec::new();
        while let Some(piece) = self.chunk().await? {
            if all.len() + piece.len() > self.in_memory_max {
                let name = self.name().unwrap_or_default();
                let max = self.in_memory_max;
                return Err(too_large(format!("field `{name}` is longer than {max} bytes")));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }

    /// All of it as text; 400 if it is not UTF-8.
    ///
    /// # Errors
    /// What the answer should be, as [`Multipart`] says.
    pub async fn text(self) -> Result<String, Rejection> {
        let name = self.name().unwrap_or_default().to_owned();
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into())
            .map_err(|_| Rejection::bad_request(format!("field `{name}` is not UTF-8")))
    }
}

impl FromRequest for Multipart {
    type Rejection = Rejection;

    async fn from_request(mut request: Request) -> Result<Self, Rejection> {
        const ADVICE: &str = "the body must be sent with `Content-Type: multipart/form-data`";
        body::expect(&request, |media| media.is("multipart/form-data"), ADVICE)?;
        let content_type = request.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let boundary = multer::parse_boundary(content_type).map_err(refuse)?;
        let ahead = Rc::new(Cell::new(PREAMBLE_MAX));
        let pieces = Pieces { body: request.take_body(), ahead: Rc::clone(&ahead) };
        // The parser asks for a stream that could move to another thread. A body cannot, and no
        // request ever leaves its core: the wrapper panics if one did.
        let parser = multer::Multipart::new(SendWrapper::new(pieces), boundary);
        let (fields_max, in_memory_max) = (FIELDS_MAX, IN_MEMORY_MAX);
        Ok(Self { parser, fields: 0, fields_max, in_memory_max, ahead })
    }
}

/// A body as a stream.
struct Pieces {
    body: Body,
    ahead: Rc<Cell<usize>>,
}

impl Stream for Pieces {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ahead.get() == 0 {
            // Who reads on finds out.
            return Poll::Pending;
        }
        let polled = self.body.poll_chunk(cx);
        if let Poll::Ready(Some(Ok(piece))) = &polled
            && self.ahead.get() != usize::MAX
        {
            self.ahead.set(self.ahead.get().saturating_sub(piece.len()));
        }
        polled
    }
}

fn too_large(message: String) -> Rejection {
    Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

fn refuse(error: multer::Error) -> Rejection {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<std::io::Error>() {
            Ok(error) => body::broken(&error),
            Err(cause) => Rejection::bad_request(format!("the form: {cause}")),
        },
        error => Rejection::bad_request(format!("the form: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::stream;

    use super::*;
    use crate::app::App;
    use crate::app::tests::{answer, request, text};
    use crate::message::BodyError;

    const KIND: &str = "multipart/form-data; boundary=\"X\"";
    const GOOD: &str = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n12\r\n\
        --X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n.txt\"\r\n\
        Content-Type: text/plain\r\n\r\nfile\r\n\r\n--X--\r\n";
    const LISTED: &str = "a - - 12|f n.txt text/plain file\r\n|";

    fn app() -> App {
        async fn list(mut form: Multipart) -> Result<String, Rejection> {
            let mut all = String::new();
            while let Some(field) = form.next_field().await? {
                let parts = [field.name(), field.file_name(), field.content_type()];
                let parts = parts.map(|part| part.unwrap_or("-").to_owned());
                let text = field.text().await?;
                all.extend([parts.join(" "), format!(" {text}|")]);
            }
            Ok(all)
        }
        App::new()
            .post("/", list)
            .post("/two", async |form: Multipart| list(form.with_fields_max(1)).await)
            .post("/short", async |form: Multipart| list(form.with_in_memory_max(4)).await)
            .post("/skip", async |mut form: Multipart| {
                let mut fields = 0;
                while form.next_field().await?.is_some() {
                    fields += 1;
                }
                Ok::<_, Rejection>(fields.to_string())
            })
            .post("/option", async |form: Option<Multipart>| form.is_some().to_string())
    }

    /// What comes before the first field is kept by the parser, and looked through again and again.
    #[test]
    fn what_comes_before_the_first_field_is_bounded() {
        let preamble = "x".repeat(PREAMBLE_MAX + 1);
        for endless in [preamble.clone(), format!("--X\r\nA: {preamble}")] {
            let pieces: Vec<_> =
                endless.into_bytes().chunks(1000).map(Bytes::copy_from_slice).collect();
            let pieces = pieces.into_iter().map(Ok::<_, std::io::Error>);
            let body = Body::stream(stream::iter(pieces));
            let (status, text) = ask("/", &[("content-type", KIND)], body);
            assert_eq!(status, 413, "{text}");
            assert!(text.contains("within 65536 bytes"), "{text}");
        }
    }

    fn ask(path: &str, headers: &[(&str, &str)], body: Body) -> (u16, String) {
        let response = answer(&app(), request("POST", path, headers, body));
        (response.status().as_u16(), text(&response))
    }

    #[test]
    fn reads_fields_and_files_in_pieces_of_any_size() {
        for size in [1, 2, 3, 7, 50, GOOD.len()] {
            let pieces: Vec<_> =
                GOOD.as_bytes().chunks(size).map(|piece| Ok(Bytes::from_static(piece))).collect();
            let body = Body::stream(stream::iter(pieces));
            let found = ask("/", &[("content-type", KIND)], body);
            assert_eq!(found, (200, LISTED.to_owned()), "pieces of {size}");
        }
        assert_eq!(ask("/skip", &[("content-type", KIND)], GOOD.into()), (200, "2".to_owned()));
        assert_eq!(ask("/option", &[], Body::empty()), (200, "false".to_owned()));
    }

    /// Path, headers, body, status, the beginning of the answer.
    type Line<'a> = (&'a str, &'a [(&'a str, &'a str)], Body, u16, &'a str);

    #[test]
    fn refuses_bad_forms() {
        const NOT_FORM: &str = "the body must be sent with `Content-Type: multipart/form-data`";
        let cut = &GOOD[..GOOD.len() - 12];
        let latin = GOOD.replace("12", "\u{0}");
        let mut bytes = latin.into_bytes();
        let zero = bytes.iter().position(|byte| *byte == 0).unwrap();
        bytes[zero] = 0xe9;
        let many = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n".repeat(101);
        let no_header = "--X\r\nContent-Disposition form-data\r\n\r\n1\r\n--X--";
        let gzip: &[(&str, &str)] = &[("content-type", KIND), ("content-encoding", "gzip")];
        let unbounded: &[(&str, &str)] = &[("content-type", "multipart/form-data")];
        let typed: &[(&str, &str)] = &[("content-type", KIND)];
        let table: Vec<Line<'_>> = vec![
            ("/", &[], GOOD.into(), 415, NOT_FORM),
            ("/", &[("content-type", "multipart/mixed; boundary=X")], GOOD.into(), 415, NOT_FORM),
            ("/", gzip, GOOD.into(), 415, "unsupported content encoding"),
            ("/", unbounded, GOOD.into(), 400, "the form: multipart boundary not found"),
            ("/", typed, Body::empty(), 400, "the form: incomplete multipart stream"),
            ("/", typed, cut.to_owned().into(), 400, "the form: field \"f\" received with"),
            ("/", typed, "nonsense".into(), 400, "the form: incomplete multipart stream"),
            ("/", typed, no_header.into(), 400, "the form: failed to read headers"),
            ("/", typed, bytes.into(), 400, "field `a` is not UTF-8"),
            ("/", typed, (many + "--X--").into(), 413, "the form has more than 100 fields"),
            ("/two", typed, GOOD.into(), 413, "the form has more than 1 fields"),
            ("/short", typed, GOOD.into(), 413, "field `f` is longer than 4 bytes"),
        ];
        for (path, headers, body, status, beginning) in table {
            let (found, text) = ask(path, headers, body);
            assert!(found == status && text.starts_with(beginning), "{beginning}: {found} {text}");
        }
        let long = "x".repeat(IN_MEMORY_MAX + 1);
        let (status, _) = ask("/", typed, GOOD.replace("12", &long).into());
        assert_eq!(status, 413);
    }

    #[test]
    fn a_body_that_breaks_has_its_status() {
        let errors = [
            (BodyError::TooLarge, 413),
            (BodyError::TimedOut, 408),
            (BodyError::Malformed, 400),
            (BodyError::Disconnected, 400),
        ];
        for (error, status) in errors {
            for whole in [0, 60, 150] {
                let begun = Ok(Bytes::from_static(&GOOD.as_bytes()[..whole]));
                let body = Body::stream(stream::iter([begun, Err(error.into())]));
                let found = ask("/", &[("content-type", KIND)], body);
                assert_eq!(found, (status, error.to_string()), "after {whole} bytes");
            }
        }
    }
}
