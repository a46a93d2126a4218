//! What one who looks is told: how the apps are, and what one of them writes.

use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::app::SseEvent;
use crate::cli::follower::Follower;
use crate::control::{Client, Overview};

/// How often the logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The manager is asked once in so many looks.
const LOOKS_PER_QUESTION: u32 = 4;
/// The last lines of each log that there are at first.
const LINES: usize = 200;
/// What may be on its way to a browser that reads slowly; then it is told less often.
const EVENTS_MAX: usize = 4;

/// The events for somebody, until he goes; of an app, or else of the first, the logs as well.
pub(super) fn follow(
    client: Client,
    app: Option<String>,
) -> std::io::Result<async_channel::Receiver<SseEvent>> {
    let (sender, events) = async_channel::bounded(EVENTS_MAX);
    let mut feed = Feed { client, app, logs: None };
    let tell = move || {
        for look in 0_u32.. {
            let asks = look.is_multiple_of(LOOKS_PER_QUESTION);
            let news = asks.then(|| feed.ask()).into_iter().chain(feed.read());
            if !news.into_iter().all(|event| sender.send_blocking(event).is_ok()) {
                break;
            }
            thread::sleep(LOOK_EVERY);
        }
    };
    thread::Builder::new().name("corelane-feed".to_owned()).spawn(tell)?;
    Ok(events)
}

struct Feed {
    client: Client,
    app: Option<String>,
    logs: Option<Logs>,
}

struct Logs {
    app: String,
    followers: [Follower; 2],
    begun: bool,
}

/// Of an app's logs; `first` if nothing was sent before.
#[derive(Serialize)]
struct Written<'a> {
    app: &'a str,
    first: bool,
    lines: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    stream: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Problem {
    problem: String,
}

impl Feed {
    fn ask(&mut self) -> SseEvent {
        match self.client.get::<Overview>("/v1/apps") {
            Ok(overview) => {
                self.choose(&overview);
                event("overview", &overview)
            }
            Err(error) => event("problem", &Problem { problem: error.to_string() }),
        }
    }

    /// Follows the logs of the app that was asked for, once it is there.
    fn choose(&mut self, overview: &Overview) {
        let mut apps = overview.apps.iter();
        let chosen = match &self.app {
            Some(name) => apps.find(|app| app.name == *name),
            None => apps.next(),
        };
        let Some(app) = chosen else { return };
        if self.logs.as_ref().is_none_or(|logs| logs.app != app.name) {
            let followers = Follower::both(app);
            self.logs = Some(Logs { app: app.name.clone(), followers, begun: false });
        }
    }

    /// What has been written meanwhile.
    fn read(&mut self) -> Option<SseEvent> {
        let logs = self.logs.as_mut()?;
        let first = !logs.begun;
        logs.begun = true;
        let mut lines = Vec::new();
        for follower in &mut logs.followers {
            let stream = follower.stream;
            let new = if first { follower.last(LINES) } else { follower.read() };
            lines.extend(new.into_iter().map(|text| Line { stream, text }));
        }
        let silent = lines.is_empty() && !first;
        (!silent).then(|| event("log", &Written { app: &logs.app, first, lines }))
    }
}

fn event(name: &str, data: &impl Serialize) -> SseEvent {
    // There is nothing in these that JSON could not say.
    SseEvent::json(data).unwrap_or_default().event(name)
}
