//! How far a run is, for whoever watches a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::loadgen::{Plan, Until};

/// On stderr, and only if that is a terminal; gone when dropped.
pub(super) struct Bar {
    bar: ProgressBar,
    until: Until,
}

impl Bar {
    /// The bar of a run that is called so.
    pub(super) fn new(label: &str, plan: &Plan) -> Self {
        let length = match plan.until {
            Until::Elapsed(duration) => milliseconds(duration),
            Until::Requests(count) => count,
        };
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix}[{bar:40}] {percent:>3} %  {msg}");
        let style = style.expect("invariant: the template is one that indicatif knows");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(label.to_owned());
        bar.set_message("warming up");
        Self { bar, until: plan.until }
    }

    /// Draws it: how long the measurement has lasted, and how many requests are over.
    pub(super) fn show(&self, measured: Option<Duration>, done: u64) {
        if let Some(elapsed) = measured {
            self.bar.set_position(match self.until {
                Until::Elapsed(_) => milliseconds(elapsed),
                Until::Requests(_) => done,
            });
            self.bar.set_message(format!("{done} requests"));
        }
        self.bar.tick();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
