//! What is known, and what a key comes to.

use std::collections::{BTreeMap, VecDeque};

use ratatui::crossterm::event::KeyCode;

use crate::cli::follower::Follower;
use crate::control::{AppReport, Overview, Selector, Verb};

/// How many seconds are remembered.
const HISTORY_MAX: usize = 120;
/// How many lines of a log are.
const LINES_MAX: usize = 500;

/// What the screen is drawn of.
#[derive(Default)]
pub(super) struct State {
    apps: Vec<AppReport>,
    /// Why nothing is known, if nothing is.
    problem: Option<String>,
    selected: usize,
    histories: BTreeMap<String, History>,
    /// The logs of the app of this name.
    followed: Option<(String, [Follower; 2])>,
    lines: VecDeque<String>,
    message: String,
}

/// What an app did in the last seconds.
#[derive(Default)]
pub(super) struct History {
    pub(super) requests: VecDeque<u64>,
    /// In tenths of a percent.
    pub(super) cpu: VecDeque<u64>,
    /// In KiB.
    pub(super) memory: VecDeque<u64>,
}

/// What a key asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Wish {
    Nothing,
    Quit,
    /// Of an app.
    Order(String, Verb),
}

impl State {
    /// Takes in what the manager says, or why it says nothing.
    pub(super) fn take(&mut self, overview: Result<Overview, String>) {
        let overview = match overview {
            Ok(overview) => overview,
            Err(problem) => {
                self.problem = Some(problem);
                return;
            }
        };
        self.problem = overview.manager.problems.into_iter().next();
        self.apps = overview.apps;
        self.selected = self.selected.min(self.apps.len().saturating_sub(1));
        self.histories.retain(|name, _| self.apps.iter().any(|app| app.name == *name));
        for app in &self.apps {
            let history = self.histories.entry(app.name.clone()).or_default();
            note(&mut history.requests, whole(app.requests_per_second));
            note(&mut history.cpu, whole(app.cpu_percent * 10.0));
            note(&mut history.memory, app.memory_bytes / 1024);
        }
        self.follow();
    }

    /// Follows the logs of the app that is selected.
    fn follow(&mut self) {
        let Some(app) = self.apps.get(self.selected) else {
            self.followed = None;
            return;
        };
        if self.followed.as_ref().is_some_and(|(name, _)| *name == app.name) {
            return;
        }
        let mut followers = Follower::both(app);
        self.lines.clear();
        for follower in &mut followers {
            self.lines.extend(follower.last(LINES_MAX / 2));
        }
        self.followed = Some((app.name.clone(), followers));
    }

    /// Takes in what has been written meanwhile.
    pub(super) fn read_logs(&mut self) {
        let Some((_, followers)) = &mut self.followed else { return };
        for follower in followers {
            self.lines.extend(follower.read());
        }
        while self.lines.len() > LINES_MAX {
            self.lines.pop_front();
        }
    }

    pub(super) fn press(&mut self, key: KeyCode) -> Wish {
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Wish::Quit,
            KeyCode::Down | KeyCode::Char('j') => {
                self.selected = (self.selected + 1).min(self.apps.len().saturating_sub(1));
            }
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            key => return self.order(key),
        }
        self.follow();
        Wish::Nothing
    }

    fn order(&self, key: KeyCode) -> Wish {
        let Some(app) = self.apps.get(self.selected) else { return Wish::Nothing };
        let apps = vec![Selector(app.name.clone())];
        let scale = |by: &str| Verb::Scale { apps: apps.clone(), instances: by.to_owned() };
        let verb = match key {
            KeyCode::Char('r') => Verb::Restart { apps },
            KeyCode::Char('l') => Verb::Reload { apps, force: false },
            KeyCode::Char('s') => Verb::Stop { apps },
            KeyCode::Char('S') => Verb::Start { apps },
            KeyCode::Char('+') => scale("+1"),
            KeyCode::Char('-') => scale("-1"),
            _ => return Wish::Nothing,
        };
        Wish::Order(app.name.clone(), verb)
    }

    pub(super) fn say(&mut self, message: String) {
        self.message = message;
    }

    pub(super) fn apps(&self) -> &[AppReport] {
        &self.apps
    }

    pub(super) fn selected(&self) -> Option<(usize, &AppReport, &History)> {
        let app = self.apps.get(self.selected)?;
        Some((self.selected, app, self.histories.get(&app.name)?))
    }

    /// The last lines of the log, at most so many.
    pub(super) fn lines(&self, most: usize) -> impl Iterator<Item = &str> {
        let skipped = self.lines.len().saturating_sub(most);
        self.lines.iter().skip(skipped).map(String::as_str)
    }

    /// What is the matter, or what has been done.
    pub(super) fn message(&self) -> &str {
        self.problem.as_deref().unwrap_or(&self.message)
    }

    pub(super) fn is_troubled(&self) -> bool {
        self.problem.is_some()
    }
}

fn note(history: &mut VecDeque<u64>, value: u64) {
    if history.len() == HISTORY_MAX {
        history.pop_front();
    }
    history.push_back(value);
}

fn whole(value: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
    let whole = value.max(0.0) as u64;
    whole
}
