//! Static files.
//!
//! A path is decided on before anything is opened (`target`); the kernel then resolves it below the
//! root (`root`, `open`) and nowhere else. Small files are answered as bytes, middle-sized ones as
//! pages that a socket takes without a copy; both are kept in a cache of the core's (`shelf`), with
//! their headers (`entry`), and looked at again once per second at most. Large files are read
//! through the ring as they are sent.

mod entry;
mod open;
mod root;
mod shelf;
mod target;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};

use self::entry::Entry;
use self::open::{Miss, Patience, find};
use self::root::Root;
use self::shelf::{CHECKED_EVERY, Key, Shelf, now};
use self::target::{Refusal, Target};
use super::call::{Answer, HandlerFuture};
use super::coding::Coding;
use super::rejection::refuse;
use crate::message::{Request, Response};
use crate::rt::spawn_blocking;

/// Files below a directory, to be served by [`App::files`](crate::App::files) or one by one by
/// [`send`](Self::send).
///
/// Answers have `ETag`, `Last-Modified`, `Cache-Control`, `Content-Type` by the file's name and
/// `X-Content-Type-Options: nosniff`; conditional requests and one `Range` are understood. A path
/// that ends in a slash is answered by the index of that directory, and a directory without the
/// slash by a redirect. Nothing outside of the directory is ever opened, by whatever path or
/// symbolic link; links within it are followed. Names that begin with a dot are hidden.
///
/// A file that is replaced or changed is noticed within a second, as is a directory that is
/// replaced by another, such as a symbolic link that is moved to a new release. Replace files
/// by renaming: one that is changed in place may be sent half old, half new, as by any server.
///
/// ```
/// use std::time::Duration;
/// use corelane::{App, Files};
///
/// # let directory = tempfile::tempdir()?;
/// # let (public, built) = (directory.path(), directory.path());
/// let app = App::new()
///     .files("/", public) // `/` is answered by index.html
///     .files("/assets", Files::new(built).max_age(Duration::from_secs(86400)).immutable());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Files {
    options: Options,
    root: Root,
    shelf: Shelf,
}

/// How files are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The name of a directory's index.
    pub index: PathBuf,
    /// How long clients may keep an answer without asking.
    pub max_age: Duration,
    /// Whether a file never changes under its name.
    pub immutable: bool,
    /// Whether there may be compressed variants beside the files.
    pub precompressed: bool,
    /// Whether names that begin with a dot are served.
    pub dotfiles: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            index: "index.html".into(),
            max_age: Duration::ZERO,
            immutable: false,
            precompressed: false,
            dotfiles: false,
        }
    }
}

impl Options {
    fn cache_control(&self) -> HeaderValue {
        let immutable = if self.immutable { ", immutable" } else { "" };
        let value = format!("public, max-age={}{immutable}", self.max_age.as_secs());
        HeaderValue::try_from(value).expect("invariant: visible ASCII and spaces")
    }
}

/// Which part of a request's path is below the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// None: the root itself is asked for.
    Root,
    /// What the wildcard of the route stands for.
    Wildcard,
}

impl Files {
    /// The files below `root`. A relative path is below the working directory.
    #[must_use]
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self::with_options(root.as_ref(), Options::default())
    }

    pub(crate) fn with_options(root: &Path, options: Options) -> Self {
        Self { options, root: Root::new(root), shelf: Shelf::default() }
    }

    /// The name of the file that answers for its directory; `index.html` if it is not set.
    #[must_use]
    pub fn index(mut self, name: impl AsRef<Path>) -> Self {
        name.as_ref().clone_into(&mut self.options.index);
        self
    }

    /// How long a client may use an answer without asking whether it has changed, to the second;
    /// not at all if it is not set.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.options.max_age = age;
        self
    }

    /// Tells clients that a file never changes under its name, as where names have hashes in them:
    /// they do not ask again even if they are told to reload.
    #[must_use]
    pub fn immutable(mut self) -> Self {
        self.options.immutable = true;
        self
    }

    /// Answers `app.js` by `app.js.br`, `app.js.zst` or `app.js.gz` if there is such a file and the
    /// client's `Accept-Encoding` allows it.
    #[must_use]
    pub fn precompressed(mut self) -> Self {
        self.options.precompressed = true;
        self
    }

    /// Serves names that begin with a dot too, such as `.well-known`.
    #[must_use]
    pub fn dotfiles(mut self) -> Self {
        self.options.dotfiles = true;
        self
    }

    /// Answers a request by one of the files, whatever the path of the request: `path` is that of
    /// the file, below the directory and not percent-encoded. It may be of the client's choice.
    ///
    /// ```
    /// use corelane::{App, Files, Path, Request, Response, State};
    ///
    /// async fn report(
    ///     State(reports): State<Files>,
    ///     Path(year): Path<u32>,
    ///     request: Request,
    /// ) -> Response {
    ///     let response = reports.send(&request, &format!("{year}.pdf")).await;
    ///     response.with_attachment("report.pdf")
    /// }
    ///
    /// let app = App::new().state(Files::new("./reports")).get("/reports/:year", report);
    /// ```
    pub async fn send(&self, request: &Request, path: &str) -> Response {
        let raw = path.replace('%', "%25");
        match self.at_once(request, &raw) {
            Ok(response) => response,
            Err(errand) => self.run(request, errand).await,
        }
    }

    /// Opens the directory.
    pub(crate) fn open(&self) -> io::Result<()> {
        let opened = self.root.look().take(Patience::Enough).map_err(|error| {
            let path = self.root.path().display();
            io::Error::new(error.kind(), format!("cannot serve files from {path}: {error}"))
        })?;
        self.root.keep(&opened, now());
        Ok(())
    }

    /// Answers a request for what is below the root.
    pub(super) fn answer(self: &Rc<Self>, part: Part, request: Request) -> Answer {
        let raw = match part {
            Part::Root => request.path().ends_with('/').then_some(""),
            Part::Wildcard => request.params().iter().last().map(|(_, value)| value),
        };
        let Some(raw) = raw else { return Answer::Ready(to_directory(&request)) };
        match self.at_once(&request, raw) {
            Ok(response) => Answer::Ready(response),
            Err(errand) => {
                let files = Rc::clone(self);
                let run = async move { files.run(&request, errand).await };
                Answer::Pending(HandlerFuture::new(run))
            }
        }
    }

    /// Answers without waiting for anything, if that can be done.
    fn at_once(&self, request: &Request, raw: &str) -> Result<Response, Errand> {
        let now = now();
        let codings = self.codings(request);
        let encoded = raw.contains('%');
        if !encoded && let Some(entry) = self.shelf.fresh(raw.as_bytes(), codings, now) {
            return Ok(entry.answer(request));
        }
        let target = match target::parse(raw, &self.options.index, self.options.dotfiles) {
            Ok(target) => target,
            Err(Refusal::Malformed) => {
                return Ok(refuse(StatusCode::BAD_REQUEST, request.headers()));
            }
            Err(Refusal::NotFound) => return Ok(refuse(StatusCode::NOT_FOUND, request.headers())),
        };
        let name = target.path.as_os_str().as_encoded_bytes();
        if encoded && let Some(entry) = self.shelf.fresh(name, codings, now) {
            return Ok(entry.answer(request));
        }
        let key = Key::new(if encoded { name } else { raw.as_bytes() }, codings);
        let errand = Errand { target, key };
        match self.look(&errand, now) {
            Ok(entry) => Ok(entry.answer(request)),
            Err(Miss::Later) => Err(errand),
            Err(miss) => Ok(self.missed(&miss, request, &errand)),
        }
    }

    /// Looks at a file, without waiting for anything.
    fn look(&self, errand: &Errand, now: u64) -> Result<Rc<Entry>, Miss> {
        let root = match self.root.known(now.saturating_sub(CHECKED_EVERY)) {
            Some(root) => root,
            None => self.keep_root(self.root.look().take(Patience::None)?, now),
        };
        let Errand { target, key } = errand;
        let found = find(root.as_fd(), target, key.codings.iter(), Patience::None)?;
        if let Some(entry) = self.shelf.stale(key) {
            let same = entry.stamp == found.stamp && entry.coding == found.coding;
            if same && entry.settled {
                entry.checked.set(now);
                return Ok(entry);
            }
        }
        let loaded = found.load(Patience::None)?;
        Ok(self.keep(Entry::new(loaded, &target.path, &self.options, now), key))
    }

    /// Looks at a file on the core's helper thread, and answers.
    async fn run(&self, request: &Request, errand: Errand) -> Response {
        let now = now();
        let (look, target, codings) = (self.root.look(), errand.target.clone(), errand.key.codings);
        let load = move || {
            let root = look.take(Patience::Enough)?;
            let found = find(root.as_fd(), &target, codings.iter(), Patience::Enough);
            Ok::<_, io::Error>((root, found.and_then(|found| found.load(Patience::Enough))))
        };
        let looked = spawn_blocking(load).await.map_err(io::Error::other).and_then(|looked| looked);
        let loaded = looked.map_err(Miss::Failed).and_then(|(root, loaded)| {
            self.keep_root(root, now);
            loaded
        });
        match loaded {
            Ok(loaded) => {
                let entry = Entry::new(loaded, &errand.target.path, &self.options, now);
                self.keep(entry, &errand.key).answer(request)
            }
            Err(miss) => self.missed(&miss, request, &errand),
        }
    }

    fn keep_root(&self, root: Arc<OwnedFd>, now: u64) -> Arc<OwnedFd> {
        if self.root.keep(&root, now) {
            self.shelf.clear();
        }
        root
    }

    fn keep(&self, entry: Entry, key: &Key) -> Rc<Entry> {
        let entry = Rc::new(entry);
        if entry.weight().is_some() {
            self.shelf.put(key.clone(), Rc::clone(&entry));
        }
        entry
    }

    /// The answer where there is no file.
    fn missed(&self, miss: &Miss, request: &Request, errand: &Errand) -> Response {
        self.shelf.remove(&errand.key);
        let status = match miss {
            Miss::Directory => return to_directory(request),
            Miss::NotFound => StatusCode::NOT_FOUND,
            Miss::Forbidden => StatusCode::FORBIDDEN,
            Miss::Later | Miss::Failed(_) => {
                let path = self.root.path().join(&errand.target.path);
                // As a client may have written it: nothing that a terminal obeys.
                tracing::error!(error = %miss, "cannot read {path:?}");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        refuse(status, request.headers())
    }

    fn codings(&self, request: &Request) -> Codings {
        let mut codings = Codings::default();
        if self.options.precompressed {
            let acceptable = Coding::acceptable(request.headers());
            codings.0.iter_mut().zip(acceptable).for_each(|(slot, coding)| *slot = Some(coding));
        }
        codings
    }
}

/// A look at a file that takes waiting.
struct Errand {
    target: Target,
    key: Key,
}

/// The encodings that a client would rather have than none, the best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Codings([Option<Coding>; 3]);

impl Codings {
    fn iter(self) -> impl Iterator<Item = Coding> {
        self.0.into_iter().flatten()
    }
}

/// Sends the client to the same path with a slash behind it.
fn to_directory(request: &Request) -> Response {
    let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
    if request.path().ends_with('/') {
        // Nothing that could be added makes it another path.
        return refuse(StatusCode::NOT_FOUND, request.headers());
    }
    // A path that began with two slashes would name a host, and browsers take `\\` for one.
    let path = request.path().trim_start_matches(['/', '\\']);
    match HeaderValue::try_from(format!("/{path}/{query}")) {
        Ok(location) => {
            Response::empty(StatusCode::MOVED_PERMANENTLY).with_header(LOCATION, location)
        }
        Err(_) => refuse(StatusCode::BAD_REQUEST, request.headers()),
    }
}

impl<P: AsRef<Path>> From<P> for Files {
    fn from(root: P) -> Self {
        Self::new(root)
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Files({})", self.root.path().display())
    }
}
