//! `corelane monit`: the apps on a terminal, live.

mod draw;
mod state;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use self::state::{State, Wish};
use super::connect;
use super::exit::{Code, Failure};
use crate::control::{Client, Overview};

/// How often the manager is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long a key is waited for before the logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn monit() -> Result<ExitCode, Failure> {
    let client = connect::client()?;
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let problem = "`monit` draws on a terminal, and this is none".to_owned();
        return Err(Failure::Usage { problem, hint: "`corelane list` prints the same, once" });
    }
    // One that is not there is said so before the screen is taken.
    let first: Overview = client.get("/v1/apps")?;
    let mut terminal = ratatui::try_init().map_err(terminal_failed)?;
    let mut state = State::default();
    state.take(Ok(first));
    let done = run(&mut terminal, &client, state);
    ratatui::restore();
    done.map_err(terminal_failed)?;
    Ok(Code::Done.into())
}

fn terminal_failed(error: io::Error) -> Failure {
    Failure::System { what: "use the terminal", error }
}

fn run(
    terminal: &mut ratatui::DefaultTerminal,
    client: &Client,
    mut state: State,
) -> io::Result<()> {
    let (told, outcomes) = mpsc::channel();
    let mut asked = Instant::now();
    loop {
        if asked.elapsed() >= ASK_EVERY {
            asked = Instant::now();
            let overview = client.get("/v1/apps");
            state.take(overview.map_err(|error| error.to_string()));
        }
        state.read_logs();
        hear(&mut state, &outcomes);
        terminal.draw(|frame| draw::screen(frame, &state))?;
        if !event::poll(LOOK_EVERY)? {
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        let ends = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
        match state.press(if ends { KeyCode::Char('q') } else { key.code }) {
            Wish::Nothing => {}
            Wish::Quit => return Ok(()),
            Wish::Order(app, verb) => {
                state.say(format!("{app}: ..."));
                order(client.clone(), verb, told.clone());
            }
        }
    }
}

/// Has the manager do something, while the screen stays alive.
fn order(client: Client, verb: crate::control::Verb, told: Sender<String>) {
    let ask = move || {
        let message = match client.ask(&verb) {
            Ok(answer) => {
                let outcomes = answer.outcomes.iter();
                let words = outcomes.map(|outcome| format!("{}: {}", outcome.app, outcome.message));
                answer.error.into_iter().chain(words).collect::<Vec<_>>().join("; ")
            }
            Err(error) => error.to_string(),
        };
        // Nobody looks any more.
        let _gone = told.send(message);
    };
    // One that cannot be started has nothing to say.
    let _refused = thread::Builder::new().spawn(ask);
}

fn hear(state: &mut State, outcomes: &Receiver<String>) {
    if let Some(message) = outcomes.try_iter().last() {
        state.say(message);
    }
}
