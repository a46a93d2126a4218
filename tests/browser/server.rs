//! What the page in `public` talks to: `browser ADDRESS DIRECTORY`. See docs/TESTING.md.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use corelane::cookie::{Cookie, Key};
use corelane::websocket::{WebSocket, WebSocketUpgrade};
use corelane::{
    App, Body, Cluster, Compression, Cookies, Cors, Error, Exit, Form, IntoResponse, Json,
    LastEventId, Limits, Multipart, Path, Query, Response, SecurityHeaders, SetRequestId,
    SignedCookies, Sse, SseEvent, State, sleep,
};
use futures_lite::stream;
use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, LOCATION};
use serde::{Deserialize, Serialize};

/// As usual, but that the page asks another origin.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'self'; connect-src *");
/// How many events a stream has before it is broken off.
const EVENTS: u64 = 3;

#[derive(Clone, Serialize, Deserialize)]
struct Draft {
    text: String,
}

#[derive(Serialize)]
struct Note {
    id: u64,
    text: String,
}

/// The notes of this core; the server of this suite has one.
#[derive(Default)]
struct Notes(RefCell<BTreeMap<u64, String>>);

async fn make(State(notes): State<Notes>, Json(Draft { text }): Json<Draft>) -> Response {
    let mut notes = notes.0.borrow_mut();
    let id = notes.len() as u64 + 1;
    notes.insert(id, text.clone());
    let location = format!("/api/notes/{id}");
    (StatusCode::CREATED, [(LOCATION, location)], Json(Note { id, text })).into_response()
}

async fn show(State(notes): State<Notes>, Path(id): Path<u64>) -> Result<Json<Note>, Error> {
    let text = notes.0.borrow().get(&id).cloned();
    let text = text.ok_or_else(|| Error::new(StatusCode::NOT_FOUND, "there is no such note"))?;
    Ok(Json(Note { id, text }))
}

async fn endless() -> Response {
    let pieces = stream::unfold((), async |()| {
        sleep(Duration::from_millis(10)).await;
        Some((Ok(Bytes::from_static(b"and so on, ")), ()))
    });
    Response::new(Body::stream(pieces))
}

fn api() -> App {
    App::new()
        .state(Notes::default())
        .get("/notes/:id", show)
        .post("/notes", make)
        .get("/long", async || "0123456789".repeat(10_000))
        .get("/endless", endless)
        .wrap(Compression::new())
        .wrap(Cors::any().headers(["content-type"]).expose(["location"]))
}

/// What came of an upload.
#[derive(Default, Serialize)]
struct Uploaded {
    title: String,
    name: String,
    bytes: usize,
    sum: u32,
}

async fn upload(mut form: Multipart) -> Result<Json<Uploaded>, Error> {
    let mut uploaded = Uploaded::default();
    while let Some(mut field) = form.next_field().await? {
        let Some(name) = field.file_name().map(str::to_owned) else {
            uploaded.title = field.text().await?;
            continue;
        };
        uploaded.name = name;
        while let Some(piece) = field.chunk().await? {
            uploaded.bytes += piece.len();
            let sum = piece.iter().fold(0, |sum: u32, byte| sum.wrapping_add((*byte).into()));
            uploaded.sum = uploaded.sum.wrapping_add(sum);
        }
    }
    Ok(Json(uploaded))
}

/// A few events, from the one after that which the client has seen last; then the stream breaks
/// off, unless it is to go on for ever.
async fn events(
    LastEventId(last): LastEventId,
    Query(query): Query<BTreeMap<String, String>>,
) -> Sse {
    let first = last.and_then(|id| id.parse::<u64>().ok()).map_or(1, |id| id + 1);
    let end = if query.contains_key("forever") { u64::MAX } else { first + EVENTS };
    Sse::new(stream::unfold(first, move |id| async move {
        if id == end {
            return None;
        }
        sleep(Duration::from_millis(20)).await;
        let event = SseEvent::data(format!("tick {id}\nof many")).event("tick").id(id.to_string());
        Some((event.retry(Duration::from_millis(50)), id + 1))
    }))
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

async fn login(mut session: SignedCookies, Form(Login { user }): Form<Login>) -> Response {
    session.add(Cookie::build(("user", user)).http_only(true).path("/"));
    let response = (session, StatusCode::NO_CONTENT).into_response();
    response.with_cookie(Cookie::build(("theme", "dark")).path("/"))
}

/// Who is logged in.
#[derive(Serialize)]
struct Me {
    user: String,
    theme: String,
}

async fn me(session: SignedCookies, cookies: Cookies) -> Result<Json<Me>, Error> {
    let nobody = || Error::new(StatusCode::UNAUTHORIZED, "nobody is logged in");
    let user = session.get("user").ok_or_else(nobody)?;
    Ok(Json(Me { user, theme: cookies.get("theme").unwrap_or("none").to_owned() }))
}

async fn logout() -> Response {
    Response::empty(StatusCode::NO_CONTENT).without_cookie("user").without_cookie("theme")
}

fn app(directory: &PathBuf) -> App {
    App::new()
        .state(Key::derive_from(b"a secret of this suite, 32 bytes at least"))
        .mount("/api", api())
        .post("/upload", upload)
        .get("/events", events)
        .get("/ws", async |upgrade: WebSocketUpgrade| {
            upgrade.protocols(["echo"]).message_max(16 << 20).on_upgrade(echo)
        })
        .post("/login", login)
        .get("/me", me)
        .post("/logout", logout)
        .files("/", directory)
        .wrap(SecurityHeaders::new().with(CONTENT_SECURITY_POLICY, POLICY))
        .wrap(SetRequestId::new())
}

fn main() -> Exit {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let directory =
        PathBuf::from(arguments.next().unwrap_or_else(|| "tests/browser/public".into()));
    let mut limits = Limits::default();
    limits.body_bytes = 80 << 20;
    Cluster::new(move || app(&directory)).listen(address).instances(1).limits(limits).run()
}
