//! The screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table};

use super::state::{History, State};
use crate::cli::list::{size, uptime};
use crate::control::{AppReport, Status};

const KEYS: &str = "up/down select  r restart  l reload  + - scale  s stop  S start  q quit";
const APPS: [&str; 9] =
    ["name", "status", "uptime", "restarts", "workers", "cpu", "mem", "connections", "req/s"];
const WORKERS: [&str; 6] = ["worker", "cpu", "connections", "req/s", "p50 us", "p99 us"];

pub(super) fn screen(frame: &mut Frame<'_>, state: &State) {
    let apps = u16::try_from(state.apps().len()).unwrap_or(u16::MAX).clamp(1, 10) + 3;
    let rows = [
        Constraint::Length(apps),
        Constraint::Length(11),
        Constraint::Min(3),
        Constraint::Length(2),
    ];
    let [top, middle, log, foot] = Layout::vertical(rows).areas(frame.area());
    draw_apps(frame, top, state);
    if let Some((_, app, history)) = state.selected() {
        let halves = [Constraint::Percentage(50), Constraint::Percentage(50)];
        let [left, right] = Layout::horizontal(halves).areas(middle);
        draw_workers(frame, left, app);
        draw_history(frame, right, app, history);
        draw_log(frame, log, app, state);
    }
    let colour = if state.is_troubled() { Color::Red } else { Color::Reset };
    let message = Line::styled(state.message().to_owned(), Style::new().fg(colour));
    frame.render_widget(Paragraph::new(vec![message, Line::from(KEYS)]), foot);
}

fn draw_apps(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let selected = state.selected().map(|(index, ..)| index);
    let rows = state.apps().iter().enumerate().map(|(index, app)| {
        let workers = if app.workers.is_empty() { app.pids.len() } else { app.workers.len() };
        let cells = [
            Cell::from(app.name.clone()),
            Cell::from(app.status.to_string()).style(Style::new().fg(colour(app.status))),
            Cell::from(app.uptime_ms.map_or_else(|| "-".to_owned(), uptime)),
            Cell::from(app.restarts.to_string()),
            Cell::from(workers.to_string()),
            Cell::from(format!("{:.1}%", app.cpu_percent)),
            Cell::from(size(app.memory_bytes)),
            Cell::from(app.connections.to_string()),
            Cell::from(format!("{:.0}", app.requests_per_second)),
        ];
        let chosen = Style::new().bg(Color::Blue).add_modifier(Modifier::BOLD);
        Row::new(cells).style(if selected == Some(index) { chosen } else { Style::new() })
    });
    let widths = [
        Constraint::Min(12),
        Constraint::Length(15),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(10),
        Constraint::Length(11),
        Constraint::Length(9),
    ];
    let table = Table::new(rows, widths).header(Row::new(APPS).bold_row());
    frame.render_widget(table.block(Block::bordered().title("apps")), area);
}

fn draw_workers(frame: &mut Frame<'_>, area: Rect, app: &AppReport) {
    let rows = app.workers.iter().map(|worker| {
        Row::new([
            worker.worker.to_string(),
            worker.cpu.to_string(),
            worker.connections.to_string(),
            format!("{:.0}", worker.requests_per_second),
            worker.latency_p50_us.to_string(),
            worker.latency_p99_us.to_string(),
        ])
    });
    let widths = [Constraint::Min(6), Constraint::Min(4), Constraint::Min(11)];
    let widths = widths.into_iter().chain([Constraint::Min(8); 3]);
    let table = Table::new(rows, widths).header(Row::new(WORKERS).bold_row());
    frame.render_widget(table.block(Block::bordered().title("workers")), area);
}

fn draw_history(frame: &mut Frame<'_>, area: Rect, app: &AppReport, history: &History) {
    let thirds = [Constraint::Fill(1); 3];
    let [requests, cpu, memory] = Layout::vertical(thirds).areas(area);
    let titles = [
        (requests, format!("req/s {:.0}", app.requests_per_second), &history.requests),
        (cpu, format!("cpu {:.1}%", app.cpu_percent), &history.cpu),
        (memory, format!("mem {}", size(app.memory_bytes)), &history.memory),
    ];
    for (area, title, values) in titles {
        let width = usize::from(area.width);
        let values: Vec<u64> = values.iter().rev().take(width).rev().copied().collect();
        let graph = Sparkline::default().data(values).style(Style::new().fg(Color::Cyan));
        frame.render_widget(graph.block(Block::bordered().title(title)), area);
    }
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, app: &AppReport, state: &State) {
    let most = usize::from(area.height.saturating_sub(2));
    // What an app writes may hold anything, and must not steer the terminal.
    let plain = |char: char| if char.is_control() && char != '\t' { '\u{fffd}' } else { char };
    let lines =
        state.lines(most).map(|line| Line::from(line.chars().map(plain).collect::<String>()));
    let text = Text::from(lines.collect::<Vec<_>>());
    let block = Block::bordered().title(format!("log of {}", app.name));
    frame.render_widget(Paragraph::new(text).block(block), area);
}

fn colour(status: Status) -> Color {
    match status {
        Status::Online => Color::Green,
        Status::Stopped => Color::Gray,
        Status::Errored => Color::Red,
        _ => Color::Yellow,
    }
}

trait Bold {
    fn bold_row(self) -> Self;
}

impl Bold for Row<'_> {
    fn bold_row(self) -> Self {
        self.style(Style::new().add_modifier(Modifier::BOLD))
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;
    use serde_json::json;

    use super::super::state::Wish;
    use super::*;
    use crate::control::{Overview, Selector, Verb};

    /// Of two apps, one of which has two workers.
    fn overview(rate: f64) -> Overview {
        let worker = |number: u64| {
            json!({
                "worker": number, "cpu": number, "state": "serving", "restarts": 0,
                "last_exit": null, "connections": 4, "requests": 9, "requests_per_second": rate,
                "bytes_received": 0, "bytes_sent": 0, "server_errors": 0, "panics": 0,
                "latency_p50_us": 80, "latency_p99_us": 350,
            })
        };
        let app = |name: &str, status: &str, workers: Vec<serde_json::Value>| {
            json!({
                "id": 0, "name": name, "kind": "routes", "status": status, "pid": 7, "pids": [7],
                "uptime_ms": 61_000, "restarts": 3, "instances": "max", "cpu_percent": 12.5,
                "memory_bytes": 8 << 20, "connections": 8, "requests_per_second": 2.0 * rate,
                "workers": workers, "problem": null, "last_exit": null, "listen": [],
                "file": "/f", "cwd": "/", "definition": {},
                "logs": { "out": "/none/out.log", "err": "/none/err.log" },
            })
        };
        let apps = [app("web", "online", vec![worker(0), worker(1)]), app("db", "stopped", vec![])];
        let manager = json!({
            "pid": 1, "version": "1", "home": "/h", "uptime_ms": 1, "memory_bytes": 1,
            "problems": [],
        });
        let overview = json!({ "schema": 1, "manager": manager, "apps": apps });
        serde_json::from_value(overview).unwrap()
    }

    fn drawn(state: &State) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
        terminal.draw(|frame| screen(frame, state)).unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content.chunks(100);
        let text =
            rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
        text.map(|row| row.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_screen_shows_what_is_known() {
        let mut state = State::default();
        for rate in [100.0, 200.0] {
            state.take(Ok(overview(rate)));
        }
        let screen = drawn(&state);
        for part in ["web", "online", "1m 1s", "12.5%", "8.0 MiB", "req/s 400", "log of web", "350"]
        {
            assert!(screen.contains(part), "{part}:\n{screen}");
        }
        state.take(Err("no manager runs".to_owned()));
        assert!(drawn(&state).contains("no manager runs"), "and the apps as they were");
    }

    #[test]
    fn keys_choose_an_app_and_what_becomes_of_it() {
        let mut state = State::default();
        assert_eq!(state.press(KeyCode::Char('r')), Wish::Nothing, "there is no app");
        state.take(Ok(overview(1.0)));
        assert_eq!(state.press(KeyCode::Down), Wish::Nothing);
        state.press(KeyCode::Down);
        let apps = vec![Selector("db".to_owned())];
        let scale = Verb::Scale { apps, instances: "+1".to_owned() };
        assert_eq!(state.press(KeyCode::Char('+')), Wish::Order("db".to_owned(), scale));
        state.press(KeyCode::Up);
        let restart = Verb::Restart { apps: vec![Selector("web".to_owned())] };
        assert_eq!(state.press(KeyCode::Char('r')), Wish::Order("web".to_owned(), restart));
        assert_eq!(state.press(KeyCode::Char('q')), Wish::Quit);
    }
}
