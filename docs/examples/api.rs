//! A JSON API with a database and tests: `cargo run --release --example api [ADDR] [FILE]`, then
//!
//! ```console
//! $ curl -i http://127.0.0.1:3000/notes --json '{"title": "Lanes", "text": "One per core."}'
//! $ curl http://127.0.0.1:3000/notes
//! ```
//!
//! Each core has a connection to the database of its own, and asks it on its helper thread: the
//! core itself never waits. `cargo test --example api` runs the tests below.

use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use corelane::{
    AccessLog, App, Cluster, Error, Exit, IntoResponse, Json, LogWriter, Methods, Path, Query,
    Rejection, RequestTimeout, Response, SetRequestId, State, spawn_blocking,
};
use http::StatusCode;
use http::header::LOCATION;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

/// A note as it is stored and answered.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    id: i64,
    title: String,
    text: String,
}

/// A note as a client sends it.
#[derive(Debug, Serialize, Deserialize)]
struct Draft {
    title: String,
    #[serde(default)]
    text: String,
}

impl Draft {
    /// What the database should never see.
    fn check(self) -> Result<Self, Rejection> {
        if (1..=200).contains(&self.title.trim().len()) {
            return Ok(self);
        }
        let message = "`title` must have 1 to 200 bytes";
        Err(Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, message))
    }
}

/// Which part of a list is wanted.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    after: i64,
    #[serde(default = "Page::usual")]
    limit: u32,
}

impl Page {
    fn usual() -> u32 {
        50
    }
}

/// This core's connection to the database.
#[derive(Clone)]
struct Store(Arc<Mutex<Connection>>);

impl Store {
    fn open(file: &FilePath) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             CREATE TABLE IF NOT EXISTS notes (
                 id INTEGER PRIMARY KEY AUTOINCREMENT,
                 title TEXT NOT NULL,
                 text TEXT NOT NULL
             );",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Asks the database, on this core's helper thread.
    async fn ask<T, F>(&self, question: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let connection = Arc::clone(&self.0);
        let asked = move || question(&connection.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(spawn_blocking(asked).await??)
    }
}

fn note(row: &Row<'_>) -> rusqlite::Result<Note> {
    Ok(Note { id: row.get(0)?, title: row.get(1)?, text: row.get(2)? })
}

fn missing(id: i64) -> Error {
    Error::new(StatusCode::NOT_FOUND, format!("there is no note {id}"))
}

async fn list(
    State(store): State<Store>,
    Query(Page { after, limit }): Query<Page>,
) -> Result<Json<Vec<Note>>, Error> {
    let limit = limit.min(1000);
    let notes = store.ask(move |database| {
        let sql = "SELECT id, title, text FROM notes WHERE id > ?1 ORDER BY id LIMIT ?2";
        database.prepare_cached(sql)?.query_map((after, limit), note)?.collect()
    });
    Ok(Json(notes.await?))
}

async fn create(State(store): State<Store>, Json(draft): Json<Draft>) -> Result<Response, Error> {
    let Draft { title, text } = draft.check()?;
    let sql = "INSERT INTO notes (title, text) VALUES (?1, ?2) RETURNING id, title, text";
    let made = store
        .ask(move |database| database.prepare_cached(sql)?.query_row((title, text), note))
        .await?;
    let location = format!("/notes/{}", made.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(made)).into_response())
}

async fn show(State(store): State<Store>, Path(id): Path<i64>) -> Result<Json<Note>, Error> {
    let sql = "SELECT id, title, text FROM notes WHERE id = ?1";
    let found =
        store.ask(move |database| database.prepare_cached(sql)?.query_row([id], note).optional());
    found.await?.map(Json).ok_or_else(|| missing(id))
}

async fn replace(
    State(store): State<Store>,
    Path(id): Path<i64>,
    Json(draft): Json<Draft>,
) -> Result<Json<Note>, Error> {
    let Draft { title, text } = draft.check()?;
    let sql = "UPDATE notes SET title = ?2, text = ?3 WHERE id = ?1 RETURNING id, title, text";
    let replaced = store.ask(move |database| {
        database.prepare_cached(sql)?.query_row((id, title, text), note).optional()
    });
    replaced.await?.map(Json).ok_or_else(|| missing(id))
}

async fn delete(State(store): State<Store>, Path(id): Path<i64>) -> Result<StatusCode, Error> {
    let gone = store.ask(move |database| database.execute("DELETE FROM notes WHERE id = ?1", [id]));
    if gone.await? == 0 { Err(missing(id)) } else { Ok(StatusCode::NO_CONTENT) }
}

fn app(file: &FilePath) -> App {
    let store = Store::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    App::new()
        .state(store)
        .at("/notes", Methods::new().get(list).post(create))
        .at("/notes/:id", Methods::new().get(show).put(replace).delete(delete))
        .get("/health", async || "well")
        .wrap(RequestTimeout::new(Duration::from_secs(10)))
        .wrap(SetRequestId::new())
}

fn main() -> std::io::Result<Exit> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let file = PathBuf::from(arguments.next().unwrap_or_else(|| "notes.db".to_owned()));
    let log = LogWriter::stdout()?;
    let app = move || app(&file).wrap(AccessLog::json(&log));
    Ok(Cluster::new(app).listen(address).run())
}

#[cfg(test)]
mod tests {
    use corelane::test::{TestRequest, TestServer};
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn server() -> (TempDir, TestServer) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("notes.db");
        (directory, TestServer::new(move || app(&file)))
    }

    #[test]
    fn a_note_is_made_shown_replaced_and_deleted() {
        let (_directory, server) = server();
        let draft = json!({ "title": "Lanes", "text": "One per core." });
        let made = server.send(TestRequest::post("/notes").json(&draft));
        assert_eq!(
            (made.status(), made.header("location")),
            (StatusCode::CREATED, Some("/notes/1"))
        );
        let first = Note { id: 1, title: "Lanes".into(), text: "One per core.".into() };
        assert_eq!(made.json::<Note>(), first);
        assert_eq!(server.get("/notes/1").json::<Note>(), first);

        let put = TestRequest::put("/notes/1").json(&json!({ "title": "Cores" }));
        assert_eq!(server.send(put).json::<Note>().title, "Cores");
        assert_eq!(server.get("/notes").json::<Vec<Note>>()[0].text, "");

        let delete = TestRequest::delete("/notes/1");
        assert_eq!(server.send(delete.clone()).status(), StatusCode::NO_CONTENT);
        assert_eq!(server.send(delete).status(), StatusCode::NOT_FOUND);
        assert_eq!(server.get("/notes").json::<Vec<Note>>(), []);
    }

    #[test]
    fn a_list_comes_in_pages() {
        let (_directory, server) = server();
        for number in 1..=5 {
            let draft = json!({ "title": number.to_string() });
            server.send(TestRequest::post("/notes").json(&draft));
        }
        let page = server.get("/notes?after=2&limit=2").json::<Vec<Note>>();
        assert_eq!(page.iter().map(|note| note.id).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (_directory, server) = server();
        let table = [
            (TestRequest::post("/notes").json(&json!({ "title": " " })), 422),
            (TestRequest::post("/notes").json(&json!({ "name": "x" })), 422),
            (TestRequest::post("/notes").body("{"), 415),
            (TestRequest::post("/notes").header("content-type", "application/json").body("{"), 400),
            (TestRequest::get("/notes/x"), 400),
            (TestRequest::get("/notes?limit=-1"), 400),
            (TestRequest::get("/notes/7"), 404),
            (TestRequest::patch("/notes/7"), 405),
        ];
        for (request, status) in table {
            let said = server.send(request.clone().header("accept", "application/json"));
            assert_eq!(said.status(), status, "{request:?}");
            assert_eq!(said.json::<serde_json::Value>()["status"], status, "{request:?}");
        }
    }

    #[test]
    fn what_is_stored_outlives_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("notes.db");
        for id in 1..=2 {
            let file = file.clone();
            let server = TestServer::new(move || app(&file));
            let draft = json!({ "title": "again" });
            let made = server.send(TestRequest::post("/notes").json(&draft));
            assert_eq!(made.json::<Note>().id, id);
        }
    }
}
