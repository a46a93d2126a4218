//! What an app is to be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An app as a file describes it, defaults and all, with what of its surroundings counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub name: String,
    /// The file that it was read from.
    pub file: PathBuf,
    /// Where it runs, and what relative paths are relative to.
    pub cwd: PathBuf,
    pub kind: Kind,
    /// Every key that the file says of it or for all, as it stands there: what is compared to tell
    /// whether something has changed, and what a built-in app is made of.
    pub definition: Map<String, Value>,
    /// Where it listens, with `metrics` among them; each is bound by the manager and passed on.
    pub listen: Vec<String>,
    pub instances: String,
    /// Variables that it is given.
    pub env: BTreeMap<String, String>,
    /// Variables that it was given by whoever started it.
    pub inherited: BTreeMap<String, String>,
    /// A file of further ones, read at each start.
    pub env_file: Option<PathBuf>,
    pub user: Option<String>,
    pub group: Option<String>,
    /// Apps that must be online before it starts.
    pub after: Vec<String>,
    /// In bytes.
    pub memory_max: Option<u64>,
    /// Such as `TERM`.
    pub stop_signal: String,
    pub restart: RestartRules,
    pub waits: Waits,
    pub health: Option<Health>,
    pub logs: Logs,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The routes of its definition, by corelane itself.
    Routes,
    /// A program.
    Program {
        /// Its file, or a name to be looked for in `PATH`.
        path: String,
        args: Vec<String>,
    },
}

/// How it is restarted; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RestartRules {
    /// `always`, `on-failure` or `never`.
    pub policy: String,
    pub backoff: u64,
    pub backoff_max: u64,
    pub max_restarts: u32,
    pub within: u64,
    pub min_uptime: u64,
    pub stop_exit_codes: Vec<i32>,
}

/// How long is waited for it, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waits {
    pub ready: u64,
    pub stop: u64,
}

/// How it is asked whether it is well; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Health {
    pub path: String,
    pub interval: u64,
    pub timeout: u64,
    pub failures: u32,
}

/// What becomes of its output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Logs {
    /// Below the manager's home if `None`.
    pub dir: Option<PathBuf>,
    pub rotate_bytes: u64,
    pub keep: u32,
}

impl Spec {
    /// The attributes in which another differs: what `plan` shows.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Difference> {
        let keys = self.definition.keys().chain(other.definition.keys());
        let mut keys: Vec<_> = keys.collect();
        keys.sort();
        keys.dedup();
        let changed = keys.into_iter().filter_map(|key| {
            let (old, new) = (self.definition.get(key), other.definition.get(key));
            let shown = |value: Option<&Value>| value.map(|value| show(key, value));
            (old != new).then(|| Difference { key: key.clone(), old: shown(old), new: shown(new) })
        });
        let mut changed: Vec<_> = changed.collect();
        let place = |key: &str, old: &PathBuf, new: &PathBuf| {
            let shown = |path: &PathBuf| Some(path.display().to_string());
            Difference { key: key.to_owned(), old: shown(old), new: shown(new) }
        };
        if self.cwd != other.cwd {
            changed.push(place("cwd", &self.cwd, &other.cwd));
        }
        if self.inherited != other.inherited {
            let names = |spec: &Self| {
                let names: Vec<_> = spec.inherited.keys().map(String::as_str).collect();
                Some(names.join(", "))
            };
            let key = "env_inherit (values)".to_owned();
            changed.push(Difference { key, old: names(self), new: names(other) });
        }
        changed
    }

    /// Its definition, without what should not be shown.
    pub(crate) fn shown_definition(&self) -> Map<String, Value> {
        let mut definition = self.definition.clone();
        if let Some(env) = definition.get_mut("env") {
            *env = redacted(env);
        }
        definition
    }
}

/// An attribute that has changed, as text; nothing where it is not set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Difference {
    pub key: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

/// A value for people. Those of the environment may be secrets.
fn show(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value if key == "env" => redacted(value).to_string(),
        value => value.to_string(),
    }
}

fn redacted(env: &Value) -> Value {
    let hide = |(key, _): (&String, &Value)| (key.clone(), Value::from("***"));
    env.as_object().map_or(Value::Null, |env| env.iter().map(hide).collect::<Map<_, _>>().into())
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// An app with nothing special about it.
    pub(crate) fn spec(name: &str) -> Spec {
        let definition = json!({ "name": name, "listen": ["127.0.0.1:0"] });
        Spec {
            name: name.to_owned(),
            file: "/etc/corelane.toml".into(),
            cwd: "/".into(),
            kind: Kind::Program { path: "/bin/true".to_owned(), args: Vec::new() },
            definition: definition.as_object().unwrap().clone(),
            listen: Vec::new(),
            instances: "1".to_owned(),
            env: BTreeMap::new(),
            inherited: BTreeMap::new(),
            env_file: None,
            user: None,
            group: None,
            after: Vec::new(),
            memory_max: None,
            stop_signal: "TERM".to_owned(),
            restart: RestartRules {
                policy: "always".to_owned(),
                backoff: 100,
                backoff_max: 2000,
                max_restarts: 16,
                within: 60_000,
                min_uptime: 1000,
                stop_exit_codes: Vec::new(),
            },
            waits: Waits { ready: 30_000, stop: 35_000 },
            health: None,
            logs: Logs { dir: None, rotate_bytes: 50 << 20, keep: 10 },
        }
    }

    #[test]
    fn says_what_has_changed_and_no_secret() {
        let (old, mut new) = (spec("a"), spec("a"));
        assert!(old.differences(&new).is_empty());
        new.definition.insert("env".to_owned(), json!({ "TOKEN": "secret" }));
        new.definition.insert("instances".to_owned(), json!(4));
        new.definition.remove("listen");
        new.cwd = "/srv".into();
        let lines: Vec<_> = old
            .differences(&new)
            .into_iter()
            .map(|difference| {
                format!("{} {:?} {:?}", difference.key, difference.old, difference.new)
            })
            .collect();
        let expected = [
            r#"env None Some("{\"TOKEN\":\"***\"}")"#,
            r#"instances None Some("4")"#,
            r#"listen Some("[\"127.0.0.1:0\"]") None"#,
            r#"cwd Some("/") Some("/srv")"#,
        ];
        assert_eq!(lines, expected);
        let shown = Value::from(new.shown_definition()).to_string();
        assert!(!shown.contains("secret") && shown.contains("TOKEN"), "{shown}");
    }
}
