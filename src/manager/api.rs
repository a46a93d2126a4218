//! The control API: HTTP and JSON, served by corelane itself. A handler leaves a command for the
//! manager's thread and waits for its answer.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use rustix::io::write;
use serde::Serialize;
use serde_json::json;

use crate::app::{App, IntoResponse, Json, Middleware, Next, Path, Query};
use crate::cluster::{Address, Cluster};
use crate::control::{Home, Selector, Verb};
use crate::message::{Peer, Request, Response};
use crate::server::{Limits, Timeouts};

/// Thousands of apps in one file.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What somebody asks of the manager's thread.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) question: Question,
    pub(super) reply: Reply,
}

#[derive(Debug)]
pub(super) enum Question {
    Verb(Verb),
    /// How all apps are, or one.
    Overview {
        selector: Option<Selector>,
        secrets: bool,
    },
    Metrics,
    /// The app of this number has been asked whether it is well.
    Health {
        app: u32,
        result: Result<(), String>,
    },
    /// The manager is to end; the apps run on.
    Leave,
    /// All is to end at once.
    Abort {
        done: mpsc::Sender<()>,
    },
}

/// Takes the answer to whoever asked.
#[derive(Debug)]
pub(super) struct Reply(async_channel::Sender<Vec<u8>>);

impl Reply {
    pub(super) fn send(&self, answer: &impl Serialize) {
        let bytes = serde_json::to_vec(answer).unwrap_or_default();
        // Who asked may have gone.
        let _gone = self.0.try_send(bytes);
    }
}

/// Where commands are left.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    inbox: mpsc::Sender<Command>,
    bell: Arc<OwnedFd>,
}

impl Desk {
    /// `bell` is an eventfd that the manager's thread waits for.
    pub(super) fn new(inbox: mpsc::Sender<Command>, bell: OwnedFd) -> Self {
        Self { inbox, bell: Arc::new(bell) }
    }

    /// Leaves a command; the answer comes through what is returned.
    pub(super) fn leave(&self, question: Question) -> async_channel::Receiver<Vec<u8>> {
        let (sender, answer) = async_channel::bounded(1);
        // A manager that ends answers nobody, and whoever waits sees the channel closed.
        let _ended = self.inbox.send(Command { question, reply: Reply(sender) });
        let _full = write(&self.bell, &1_u64.to_ne_bytes());
        answer
    }

    async fn ask(&self, question: Question) -> Response {
        match self.leave(question).recv().await {
            Ok(bytes) => Response::new(bytes).with_header(CONTENT_TYPE, JSON),
            Err(_) => Response::text(StatusCode::SERVICE_UNAVAILABLE, "the manager ends\n"),
        }
    }
}

/// Whether the values of the environment are asked for as well.
#[derive(serde::Deserialize)]
struct Secrets {
    #[serde(default)]
    secrets: bool,
}

/// Serves the API in a home.
pub(super) fn serve(home: &Home, desk: Desk) -> Cluster {
    let limits = Limits { body_bytes: BODY_BYTES_MAX as u64, ..Limits::default() };
    let address = Address::Unix { path: home.socket(), mode: Some(0o600) };
    let factory = move || app(&desk);
    let timeouts = Timeouts { drain: std::time::Duration::from_secs(2), ..Timeouts::default() };
    let cluster = Cluster::new(factory).name("control").listen(address).limits(limits);
    cluster.timeouts(timeouts).instances(1).unpinned()
}

fn app(desk: &Desk) -> App {
    let verb = desk.clone();
    let all = desk.clone();
    let one = desk.clone();
    let metrics = desk.clone();
    App::new()
        .post("/v1/verb", move |Json(asked): Json<Verb>| {
            let desk = verb.clone();
            async move { desk.ask(Question::Verb(asked)).await }
        })
        .get("/v1/apps", move || {
            let desk = all.clone();
            async move { desk.ask(Question::Overview { selector: None, secrets: false }).await }
        })
        .get("/v1/apps/:app", move |Path(app): Path<String>, Query(asked): Query<Secrets>| {
            let (desk, selector) = (one.clone(), Some(Selector(app)));
            async move { desk.ask(Question::Overview { selector, secrets: asked.secrets }).await }
        })
        .get("/metrics", move || {
            let desk = metrics.clone();
            async move { prometheus(&desk).await }
        })
        .wrap(Owner)
}

/// Answers who runs the manager, and root; whoever else may open the socket is refused.
struct Owner;

impl Middleware for Owner {
    async fn handle(self: Rc<Self>, request: Request, next: Next) -> Response {
        let own = rustix::process::geteuid().as_raw();
        if let Peer::Unix { uid } = request.peer()
            && (uid == own || uid == 0)
        {
            return next.run(request).await;
        }
        let error = format!("this manager answers user {own} and root, and nobody else");
        (StatusCode::FORBIDDEN, Json(json!({ "error": error }))).into_response()
    }
}

async fn prometheus(desk: &Desk) -> Response {
    let answer = desk.leave(Question::Metrics).recv().await;
    let text = answer.ok().and_then(|bytes| serde_json::from_slice::<String>(&bytes).ok());
    match text {
        Some(text) => Response::text(StatusCode::OK, text).with_header(CONTENT_TYPE, PROMETHEUS),
        None => Response::text(StatusCode::SERVICE_UNAVAILABLE, "the manager ends\n"),
    }
}
