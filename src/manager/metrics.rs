//! What the apps count, as one text for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::app::App;
use crate::control::Status;

/// Puts the texts of several programs together, each family once, after what the manager itself
/// knows of the apps.
pub(super) fn merge<'a>(texts: &[String], apps: impl Iterator<Item = &'a App>) -> String {
    let mut merged = of_apps(apps);
    let mut families: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for text in texts {
        let mut family = "";
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap_or_default();
            }
            let (comments, samples) = families.entry(family).or_default();
            if !line.starts_with('#') {
                samples.push(line);
            } else if !comments.contains(&line) {
                comments.push(line);
            }
        }
    }
    for (comments, samples) in families.into_values() {
        for line in comments.into_iter().chain(samples) {
            merged.push_str(line);
            merged.push('\n');
        }
    }
    merged
}

/// Whether the apps are online, and how often they were started again.
fn of_apps<'a>(apps: impl Iterator<Item = &'a App>) -> String {
    let apps: Vec<_> = apps.collect();
    let mut text = String::new();
    text.push_str("# HELP corelane_app_up Whether the app is online.\n");
    text.push_str("# TYPE corelane_app_up gauge\n");
    for app in &apps {
        let up = matches!(app.status(), Status::Online | Status::Reloading);
        // A name has nothing in it that would have to be escaped.
        let _ = writeln!(text, "corelane_app_up{{app=\"{}\"}} {}", app.spec().name, u8::from(up));
    }
    text.push_str("# HELP corelane_app_restarts_total Restarts of the app's process.\n");
    text.push_str("# TYPE corelane_app_restarts_total counter\n");
    for app in &apps {
        let (name, restarts) = (&app.spec().name, app.restarts());
        let _ = writeln!(text, "corelane_app_restarts_total{{app=\"{name}\"}} {restarts}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_explained_once() {
        let text = |app| {
            format!(
                "# HELP a The a.\n# TYPE a counter\na{{app=\"{app}\"}} 1\n\
                 # HELP b The b.\n# TYPE b gauge\nb{{app=\"{app}\"}} 2\n"
            )
        };
        let merged = merge(&[text("x"), text("y")], std::iter::empty());
        let (_, programs) = merged.split_at(merged.find("# HELP a ").unwrap());
        let expected = "# HELP a The a.\n# TYPE a counter\na{app=\"x\"} 1\na{app=\"y\"} 1\n\
             # HELP b The b.\n# TYPE b gauge\nb{app=\"x\"} 2\nb{app=\"y\"} 2\n";
        assert_eq!(programs, expected);
    }
}
