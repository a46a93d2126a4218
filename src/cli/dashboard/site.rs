//! The pages, and what their script asks for.

use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_lite::stream;
use futures_lite::stream::StreamExt;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderValue, ORIGIN, STRICT_TRANSPORT_SECURITY,
    X_FRAME_OPTIONS,
};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::feed;
use super::token::Token;
use crate::app::{
    App, Cookies, Form, FromRequestParts, IntoResponse, Json, Middleware, Next, Query, Redirect,
    SecurityHeaders, Sse, SseEvent, State,
};
use crate::control::{Client, Verb};
use crate::message::{Request, Response};

const PAGE: &str = include_str!("page/index.html");
const LOGIN: &str = include_str!("page/login.html");
const SCRIPT: &str = include_str!("page/dashboard.js");
const STYLE: &str = include_str!("page/dashboard.css");
const ICON: &str = include_str!("page/icon.svg");

const HTML: &str = "text/html; charset=utf-8";
/// Nothing from elsewhere, nothing inline, and no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";
/// A browser that has lost its stream comes back after so long.
const RETRY: Duration = Duration::from_secs(1);

/// What the pages are about, and who may see them.
pub(super) struct Site {
    client: Client,
    token: Token,
}

/// What comes with a request.
#[derive(Deserialize)]
struct Asked {
    token: Option<String>,
    /// Whose logs.
    app: Option<String>,
}

#[derive(Serialize)]
struct Refused {
    error: String,
}

impl Site {
    pub(super) fn new(client: Client, token: Token) -> Arc<Self> {
        Arc::new(Self { client, token })
    }

    pub(super) fn app(self: &Arc<Self>) -> App {
        let headers = SecurityHeaders::new()
            .with(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
            .with(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"))
            .without(&STRICT_TRANSPORT_SECURITY);
        let api = App::new().get("/events", events).post("/verb", verb);
        App::new()
            .state(Arc::clone(self))
            .get("/", index)
            .post("/login", login)
            .get("/dashboard.js", async || asset("text/javascript; charset=utf-8", SCRIPT))
            .get("/dashboard.css", async || asset("text/css; charset=utf-8", STYLE))
            .get("/icon.svg", async || asset("image/svg+xml", ICON))
            .mount("/api", api.wrap(Guard))
            .wrap(headers)
    }
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
    let response = Response::new(text).with_content_type(HeaderValue::from_static(kind));
    response.with_header(CACHE_CONTROL, NO_CACHE)
}

fn page(status: StatusCode, text: &'static str) -> Response {
    const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
    let response = Response::text(status, text).with_content_type(HeaderValue::from_static(HTML));
    response.with_header(CACHE_CONTROL, NO_STORE)
}

async fn index(
    State(site): State<Arc<Site>>,
    cookies: Cookies,
    Query(asked): Query<Asked>,
) -> Response {
    match asked.token {
        Some(token) => enter(&site, &token),
        None if site.token.is_in(&cookies) => page(StatusCode::OK, PAGE),
        None => page(StatusCode::UNAUTHORIZED, LOGIN),
    }
}

async fn login(State(site): State<Arc<Site>>, Form(asked): Form<Asked>) -> Response {
    enter(&site, asked.token.as_deref().unwrap_or_default())
}

/// Has the browser keep a token that is right; then it is no longer in the address.
fn enter(site: &Site, token: &str) -> Response {
    if site.token.is(token.trim()) {
        Redirect::see_other("/").into_response().with_cookie(site.token.cookie())
    } else {
        page(StatusCode::UNAUTHORIZED, LOGIN)
    }
}

async fn events(State(site): State<Arc<Site>>, Query(asked): Query<Asked>) -> Response {
    let events = match feed::follow(site.client.clone(), asked.app) {
        Ok(events) => events,
        Err(error) => return refuse(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    };
    let hint = stream::once(SseEvent::comment("hello").retry(RETRY));
    Sse::new(hint.chain(Box::pin(events))).into_response()
}

async fn verb(State(site): State<Arc<Site>>, Json(verb): Json<Verb>) -> Response {
    let allowed = matches!(
        verb,
        Verb::Start { .. }
            | Verb::Stop { .. }
            | Verb::Restart { .. }
            | Verb::Reload { .. }
            | Verb::Scale { .. }
    );
    if !allowed {
        let error = "this is for the command line only".to_owned();
        return refuse(StatusCode::FORBIDDEN, error);
    }
    let client = site.client.clone();
    let (sender, answer) = async_channel::bounded(1);
    // It may take as long as an app takes to stop.
    let ask = move || drop(sender.send_blocking(client.ask(&verb)));
    if let Err(error) = thread::Builder::new().name("corelane-verb".to_owned()).spawn(ask) {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    }
    match answer.recv().await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(error)) => refuse(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "there is no answer".to_owned()),
    }
}

fn refuse(status: StatusCode, error: String) -> Response {
    (status, Json(Refused { error })).into_response()
}

/// Lets in who has the token; and to change something, a page of this site only.
struct Guard;

impl Middleware for Guard {
    async fn handle(self: Rc<Self>, mut request: Request, next: Next) -> Response {
        let (Ok(State(site)), Ok(cookies)) = (
            State::<Arc<Site>>::from_request_parts(&mut request).await,
            Cookies::from_request_parts(&mut request).await,
        ) else {
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, "there is no site".to_owned());
        };
        if !site.token.is_in(&cookies) {
            return refuse(StatusCode::UNAUTHORIZED, "the token is missing".to_owned());
        }
        if *request.method() != Method::GET && !is_own(&request) {
            return refuse(StatusCode::FORBIDDEN, "another site asks for this".to_owned());
        }
        next.run(request).await
    }
}

/// Whether a page of this very host has sent it, as the browser says.
fn is_own(request: &Request) -> bool {
    let text = |name| request.headers().get(name);
    let (Some(origin), Some(host)) = (text(ORIGIN.as_str()), text(HOST.as_str())) else {
        return false;
    };
    let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    site.is_some_and(|site| site.eq_ignore_ascii_case(host))
}
