//! The schema as tables: what each key may and may not be.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use http::{Method, StatusCode};

use super::error::{ConfigError, Mistake};
use super::model::Action;
use super::{AppConfig, Config};
use crate::app::FileOptions;
use crate::cluster::Instances;
use crate::restart::{Restart, When};
use crate::server::{Balance, Limits, OnPanic, Timeouts};

/// An app with nothing wrong.
const APP: &str = "[[apps]]\nname = \"a\"\nlisten = [\"127.0.0.1:3000\"]\n";
/// A route with nothing wrong.
const ROUTE: &str = "[[apps.routes]]\npath = \"/\"\necho = {}\n";

fn mistakes(text: &str) -> Vec<Mistake> {
    match Config::parse(text, "corelane.toml") {
        Ok(config) => panic!("accepted:\n{text}\n{config:?}"),
        Err(ConfigError::Wrong { mistakes }) => mistakes,
        Err(error) => panic!("{error}"),
    }
}

fn only(text: &str) -> AppConfig {
    let mut config = Config::parse(text, "corelane.toml").unwrap_or_else(|e| panic!("{text}\n{e}"));
    assert_eq!(config.apps.len(), 1, "{text}");
    config.apps.remove(0)
}

/// Each text has exactly one mistake, and that says this.
fn refuses(cases: &[(&str, &str)], text_of: impl Fn(&str) -> String) {
    for (case, problem) in cases {
        let text = text_of(case);
        let found = mistakes(&text);
        assert_eq!(found.len(), 1, "{case}: {found:#?}");
        assert!(found[0].message.contains(problem), "{case}: {}", found[0].message);
    }
}

fn with_key(line: &str) -> String {
    format!("{APP}{line}\n{ROUTE}")
}

fn with_route(body: &str) -> String {
    format!("{APP}[[apps.routes]]\n{body}\n")
}

#[test]
fn the_embedded_default_is_right() {
    let config = Config::embedded();
    let [app] = config.apps.as_slice() else { panic!("one app") };
    assert_eq!(app.name, "hello");
    assert_eq!(app.listen, ["127.0.0.1:3000".parse().unwrap()]);
    assert_eq!(app.instances, Instances::Max);
    assert_eq!((&app.limits, &app.timeouts), (&Limits::default(), &Timeouts::default()));
    assert_eq!((&app.restart, &app.metrics), (&Restart::default(), &None));
    assert_eq!((app.balance, app.on_panic), (Balance::Least, OnPanic::Respond));
    let [route] = app.routes.as_slice() else { panic!("one route") };
    assert_eq!((route.path.as_str(), route.methods.as_slice()), ("/", &[Method::GET][..]));
    let Action::Respond { status, body, .. } = &route.action else { panic!("a fixed answer") };
    assert_eq!((*status, &body[..]), (StatusCode::OK, &b"Hello, Cluster!"[..]));
}

#[test]
fn the_documented_example_is_right() {
    let docs = include_str!("../../docs/CONFIG.md");
    let (_, rest) = docs.split_once("```toml\n").unwrap();
    let app = only(rest.split_once("```").unwrap().0);
    assert_eq!((app.name.as_str(), app.routes.len()), ("my-app", 3));
}

#[test]
fn reads_every_key() {
    let app = only(
        r#"
        [[apps]]
        name = "my-app.v2_x"
        listen = ["127.0.0.1:3000", "[::1]:3000", "unix:/run/a.sock?mode=0660"]
        instances = -1
        cpus = "0-2,6"
        balance = "kernel"
        on_panic = "restart"
        metrics = "unix:/run/metrics.sock"
        routes = [{ path = "/", methods = ["PUT", "PATCH"], echo = {} }]
        [apps.timeouts]
        header = "1s"
        body_idle = "2s"
        keep_alive = "1m"
        write_idle = "100ms"
        drain = "0s"
        idle_grace = "1h"
        stall = "1ms"
        [apps.restart]
        policy = "on-failure"
        backoff = "0ms"
        backoff_max = "1h"
        max_restarts = 0
        within = "24h"
        stalled_max = 1024
        [apps.limits]
        request_line_bytes = "1KiB"
        head_bytes = "2KiB"
        headers = 10
        body_bytes = "0B"
        connections = 7
        pipeline = 1
        "#,
    );
    assert_eq!(app.name, "my-app.v2_x");
    assert_eq!(app.listen.len(), 3);
    assert_eq!(app.instances.to_string(), "-1");
    assert_eq!(app.cpus, Some(BTreeSet::from([0, 1, 2, 6])));
    assert_eq!(app.routes[0].methods, [Method::PUT, Method::PATCH]);
    assert_eq!((app.balance, app.on_panic), (Balance::Kernel, OnPanic::Restart));
    assert_eq!(app.metrics.unwrap().to_string(), "unix:/run/metrics.sock");
    let Timeouts { header, body_idle, keep_alive, write_idle, drain, .. } = app.timeouts;
    let Timeouts { idle_grace, stall, .. } = app.timeouts;
    assert_eq!([header, body_idle, keep_alive].map(|time| time.as_secs()), [1, 2, 60]);
    assert_eq!([write_idle, drain].map(|time| time.as_millis()), [100, 0]);
    assert_eq!([idle_grace, stall].map(|time| time.as_millis()), [3_600_000, 1]);
    let Restart { policy, backoff, backoff_max, max_restarts, within, stalled_max } = app.restart;
    assert_eq!(policy, When::OnFailure);
    assert_eq!([backoff, backoff_max, within].map(|time| time.as_secs()), [0, 3600, 86_400]);
    assert_eq!((max_restarts, stalled_max), (0, 1024));
    let Limits { request_line_bytes, head_bytes, headers, .. } = app.limits;
    assert_eq!([request_line_bytes, head_bytes, headers], [1024, 2048, 10]);
    let Limits { body_bytes, connections, pipeline, .. } = app.limits;
    assert_eq!((body_bytes, connections, pipeline), (0, 7, 1));
}

#[test]
fn defaults_are_merged_key_by_key() {
    let text = format!(
        "[defaults]\ninstances = 2\ncpus = \"1\"\nbalance = \"kernel\"\non_panic = \"restart\"\n\
         restart = {{ policy = \"never\", within = \"5s\", stalled_max = 7 }}\n\
         timeouts = {{ header = \"1s\", drain = \"2s\" }}\nlimits = {{ headers = 5 }}\n\
         {APP}instances = 3\non_panic = \"500\"\n\
         restart = {{ within = \"9s\", max_restarts = 4 }}\n\
         timeouts = {{ drain = \"9s\" }}\nlimits = {{ pipeline = 4 }}\n{ROUTE}"
    );
    let app = only(&text);
    assert_eq!(app.instances.to_string(), "3");
    assert_eq!(app.cpus, Some(BTreeSet::from([1])));
    let base = Timeouts::default();
    let seconds = Duration::from_secs;
    assert_eq!(app.timeouts, Timeouts { header: seconds(1), drain: seconds(9), ..base });
    assert_eq!(app.limits, Limits { headers: 5, pipeline: 4, ..Limits::default() });
    assert_eq!((app.balance, app.on_panic), (Balance::Kernel, OnPanic::Respond));
    let (policy, within) = (When::Never, seconds(9));
    let base = Restart::default();
    assert_eq!(app.restart, Restart { policy, within, stalled_max: 7, max_restarts: 4, ..base });
}

#[test]
fn a_backoff_follows_a_smaller_maximum() {
    let cases = [
        ("backoff_max = \"50ms\"", 50, 50),
        ("backoff = \"2s\"", 2000, 2000),
        ("backoff = \"5s\", backoff_max = \"6s\"", 5000, 6000),
        ("backoff = \"0ms\", backoff_max = \"0ms\"", 0, 0),
    ];
    for (keys, backoff, backoff_max) in cases {
        let restart = only(&with_key(&format!("restart = {{ {keys} }}"))).restart;
        let found = [restart.backoff, restart.backoff_max].map(|time| time.as_millis());
        assert_eq!(found, [backoff, backoff_max], "{keys}");
    }
    let text = with_key("restart = { backoff_max = \"1s\" }");
    let app = only(&format!("[defaults]\nrestart = {{ backoff = \"1500ms\" }}\n{text}"));
    assert_eq!(app.restart.backoff, Duration::from_secs(1));
}

#[test]
fn a_request_line_limit_follows_a_smaller_head() {
    let app = only(&with_key("limits = { head_bytes = \"4KiB\" }"));
    assert_eq!((app.limits.request_line_bytes, app.limits.head_bytes), (4096, 4096));
}

#[test]
fn refuses_bad_files() {
    let cases = [
        ("", "there is no app"),
        ("# nothing", "there is no app"),
        ("apps = []", "`apps` is empty: add [[apps]]"),
        ("apps = 1", "must be a list of tables: write [[apps]]"),
        ("[apps]\nname = \"a\"", "must be a list of tables: write [[apps]]"),
        ("apps = [1]", "an item of `apps` must be a table, not a number"),
    ];
    refuses(&cases, str::to_owned);
    refuses(&[("sandbox = true", "unknown key `sandbox`")], |key| format!("{key}\n{APP}{ROUTE}"));
}

#[test]
fn refuses_bad_defaults() {
    let cases = [
        ("[defaults]\nname = \"a\"", "`name` has no default"),
        ("[defaults]\nlisten = []", "`listen` has no default"),
        ("[defaults]\nroutes = []", "`routes` has no default"),
        (
            "[defaults]\nmetrics = \"a\"",
            "`metrics` has no default: each [[apps]] table may have its own",
        ),
        ("[defaults]\nrestart = { backoff = \"3s\" }", "must not exceed `backoff_max`"),
        ("[defaults]\nbalance = \"most\"", "must be \"least\" or \"kernel\", not `most`"),
        ("[defaults]\ntimeouts = { stall = \"0s\" }", "`stall` must be between 1ms and 24h"),
        ("[defaults]\nprogram = \"a\"", "`program` has no default"),
        ("[defaults]\ninstance = 1", "did you mean `instances`?"),
        ("[defaults]\ninstances = 0", "bad number of instances"),
        ("defaults = 1", "`defaults` must be a table, not a number"),
    ];
    refuses(&cases, |defaults| format!("{defaults}\n{APP}{ROUTE}"));
}

#[test]
fn refuses_bad_names() {
    let long = format!("\"{}\"", "a".repeat(65));
    let cases = [
        ("1", "`name` must be a string, not a number"),
        ("\"\"", "the name is empty"),
        ("\"1a\"", "bad name `1a`"),
        ("\"a b\"", "bad name"),
        ("\"\u{e4}\"", "bad name"),
        ("\"all\"", "no app can be named `all`"),
        ("\"a.toml\"", "taken for a file"),
        (&long, "too long"),
    ];
    refuses(&cases, |name| format!("[[apps]]\nname = {name}\nlisten = [\"127.0.0.1:1\"]\n{ROUTE}"));
    let longest = "a".repeat(64);
    let text = format!("[[apps]]\nname = \"{longest}\"\nlisten = [\"127.0.0.1:1\"]\n{ROUTE}");
    assert_eq!(only(&text).name, longest);
}

#[test]
fn refuses_bad_addresses() {
    let cases = [
        ("\"127.0.0.1:1\"", "`listen` must be a list such as [\"127.0.0.1:3000\"], not a string"),
        ("[]", "`listen` is empty"),
        ("[1]", "an item of `listen` must be a string, not a number"),
        ("[\":80\"]", "bad address `:80`"),
        ("[\"unix:a\"]", "must be absolute"),
        ("[\"127.0.0.1:1\", \"127.0.0.1:1\"]", "already listened on, see line 3"),
        ("[\"localhost:1\", \"127.0.0.1:1\"]", "already listened on, see line 3"),
        ("[\"unix:/a\", \"unix:/a?mode=0600\"]", "already listened on"),
    ];
    refuses(&cases, |listen| format!("[[apps]]\nname = \"a\"\nlisten = {listen}\n{ROUTE}"));
}

#[test]
fn port_zero_is_a_new_port_each_time() {
    let listen = "[\"127.0.0.1:0\", \"127.0.0.1:0\"]";
    let app = only(&format!("[[apps]]\nname = \"a\"\nlisten = {listen}\n{ROUTE}"));
    assert_eq!(app.listen.len(), 2);
}

#[test]
fn refuses_apps_that_share_a_name_or_an_address() {
    let found = mistakes(&format!("{APP}{ROUTE}{APP}{ROUTE}"));
    let [name, address] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(name.message, "`name` `a` is taken by the app on line 2");
    assert_eq!(address.message, "`127.0.0.1:3000` is already listened on, see line 3");
}

#[test]
fn refuses_missing_keys() {
    let messages: Vec<_> = mistakes("[[apps]]\n").into_iter().map(|found| found.message).collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(messages[0].starts_with("`name` is missing"));
    assert!(messages[1].starts_with("`listen` is missing"));
    assert!(messages[2].starts_with("`routes` is missing"));
}

#[test]
fn refuses_bad_keys_of_an_app() {
    let cases = [
        ("instances = 0", "bad number of instances `0`"),
        ("instances = 1025", "at most 1024"),
        ("instances = \"-1\"", "must be \"max\" or a bare number: write -1"),
        ("instances = \"many\"", "bad number of instances `many`"),
        ("instances = 1.5", "must be a string, not a number"),
        ("instances = 99999999999999999999", "too large"),
        ("cpus = 3", "`cpus` must be a string, not a number"),
        ("cpus = \"3-1\"", "runs backwards"),
        ("cpus = \"\"", "not a list of CPUs"),
        ("timeouts = \"10s\"", "`timeouts` must be a table, not a string"),
        ("limits = 1", "`limits` must be a table, not a number"),
        ("trust_proxy = -1", "`trust_proxy` must be between 0 and 32, not -1"),
        ("trust_proxy = \"10.0.0.0/8\"", "must be a list such as [\"10.0.0.0/8\"]"),
        ("trust_proxy = [\"10.0.0.0/33\"]", "`10.0.0.0/33` is no network of proxies"),
        ("logs = { access = \"common\" }", "must be \"off\", \"combined\" or \"json\""),
        ("trust_proxies = []", "did you mean `trust_proxy`?"),
        ("balance = 1", "`balance` must be \"least\" or \"kernel\", not a number"),
        ("balance = \"Least\"", "not `Least` (did you mean `least`?)"),
        ("on_panic = \"abort\"", "`on_panic` must be \"500\" or \"restart\", not `abort`"),
        ("on_panic = 500", "`on_panic` must be \"500\" or \"restart\", not a number"),
        ("metrics = [\"127.0.0.1:1\"]", "`metrics` must be a string, not a list"),
        ("metrics = \"9100\"", "bad address `9100`"),
        ("metrics = \"127.0.0.1:3000\"", "already listened on, see line 3"),
        ("restart = \"always\"", "`restart` must be a table, not a string"),
        ("Instances = 1", "did you mean `instances`?"),
    ];
    refuses(&cases, with_key);
}

#[test]
fn refuses_bad_timeouts() {
    let cases = [
        ("header = 10", "`header` needs a unit: a duration such as \"10s\", not 10"),
        ("header = true", "`header` must be a duration such as \"10s\", not a boolean"),
        ("header = \"0s\"", "must be between 1ms and 24h, not 0s"),
        ("body_idle = \"25h\"", "must be between 1ms and 24h, not 25h"),
        ("keep_alive = \"0ms\"", "must be between 1ms"),
        ("write_idle = \"10\"", "has no unit"),
        ("drain = \"25h\"", "must be between 0ms and 24h"),
        ("idle_grace = \"-1s\"", "is not a duration"),
        ("heder = \"1s\"", "did you mean `header`?"),
        ("ready = \"0s\"", "`ready` must be between 1ms and 24h"),
        ("stop = \"30s\"", "`stop` must exceed `drain`, which is 30s"),
        ("stop = 1", "needs a unit"),
        ("stall = \"0ms\"", "`stall` must be between 1ms and 24h, not 0ms"),
        ("stall = \"25h\"", "`stall` must be between 1ms and 24h"),
        ("stal = \"1s\"", "did you mean `stall`?"),
    ];
    refuses(&cases, |key| with_key(&format!("timeouts = {{ {key} }}")));
}

#[test]
fn refuses_bad_limits() {
    let cases = [
        ("request_line_bytes = 8192", "needs a unit: a size such as \"16KiB\", not 8192"),
        ("request_line_bytes = \"15B\"", "must be between 16B and 1MiB"),
        ("request_line_bytes = \"32KiB\"", "must not exceed `head_bytes`, which is 16384B"),
        ("head_bytes = \"0B\"", "must be between 64B and 1MiB"),
        ("head_bytes = \"2MiB\"", "must be between 64B and 1MiB"),
        ("headers = 0", "must be between 1 and 1024, not 0"),
        ("headers = -1", "must be between 1 and 1024, not -1"),
        ("headers = \"100\"", "must be a whole number, not a string"),
        ("body_bytes = \"1025GiB\"", "must be between 0B and 1024GiB"),
        ("connections = 0", "must be between 1 and 1048576"),
        ("connections = 1048577", "must be between 1 and 1048576"),
        ("pipeline = 0", "must be between 1 and 1024"),
        ("head_byte = \"1KiB\"", "did you mean `head_bytes`?"),
    ];
    refuses(&cases, |key| with_key(&format!("limits = {{ {key} }}")));
}

#[test]
fn reads_actions_with_their_defaults() {
    let route = |body: &str| only(&with_route(body)).routes.remove(0);
    let plain = route("path = \"/\"\nrespond = {}");
    assert_eq!(plain.methods, [Method::GET]);
    let Action::Respond { status, headers, body } = plain.action else { panic!("respond") };
    assert_eq!((status.as_u16(), headers.len(), body.len()), (200, 0, 0));

    let full = "respond = { status = 503, body = \"no\", headers = { X-A = \"1\" } }";
    let full = route(&format!("path = \"/\"\nmethods = [\"HEAD\", \"DELETE\"]\n{full}"));
    assert_eq!(full.methods, [Method::HEAD, Method::DELETE]);
    let Action::Respond { status, headers, body } = full.action else { panic!("respond") };
    assert_eq!((status.as_u16(), &body[..]), (503, &b"no"[..]));
    assert_eq!((&headers["x-a"], headers.len()), (&"1".parse().unwrap(), 2));
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");

    let typed = "respond = { body = \"{}\", headers = { content-type = \"application/json\" } }";
    let typed = route(&format!("path = \"/\"\n{typed}"));
    let Action::Respond { headers, .. } = typed.action else { panic!("respond") };
    assert_eq!(
        (&headers["content-type"], headers.len()),
        (&"application/json".parse().unwrap(), 1)
    );

    let moved = route("path = \"/\"\nredirect = { to = \"/new\" }");
    let to = "/new".parse().unwrap();
    assert_eq!(moved.action, Action::Redirect { to, status: StatusCode::PERMANENT_REDIRECT });
    assert_eq!(moved.methods, [Method::GET]);

    let files = route("path = \"/a/*path\"\nfiles = { root = \"/\", max_age = \"1h\" }");
    let Action::Files { root, options } = files.action else { panic!("files") };
    let expected = FileOptions { max_age: Duration::from_secs(3600), ..FileOptions::default() };
    assert_eq!((root.to_str(), options, files.methods), (Some("/"), expected, vec![Method::GET]));

    let echo = route("path = \"/\"\necho = {}");
    assert_eq!((echo.methods, echo.action), (vec![Method::POST], Action::Echo));
}

#[test]
fn refuses_bad_restarts() {
    let policies = "must be \"always\", \"on-failure\" or \"never\"";
    let cases = [
        ("policy = \"on_failure\"", "not `on_failure` (did you mean `on-failure`?)"),
        ("policy = \"\"", policies),
        ("policy = true", policies),
        ("backoff = 100", "needs a unit"),
        ("backoff = \"61m\"", "must be between 0ms and 1h"),
        ("backoff = \"2001ms\"", "`backoff` must not exceed `backoff_max`, which is 2s"),
        ("backoff = \"2ms\", backoff_max = \"1ms\"", "must not exceed `backoff_max`, which is 1ms"),
        ("backoff_max = \"61m\"", "must be between 0ms and 1h"),
        // What cannot be compared is not.
        ("backoff = \"3s\", backoff_max = \"4\"", "`4` has no unit"),
        ("max_restarts = 1001", "must be between 0 and 1000, not 1001"),
        ("max_restarts = -1", "must be between 0 and 1000, not -1"),
        ("max_restarts = 4294967296", "must be between 0 and 1000"),
        ("max_restarts = \"16\"", "must be a whole number"),
        ("within = \"0ms\"", "`within` must be between 1ms and 24h"),
        ("within = \"25h\"", "`within` must be between 1ms and 24h"),
        ("stalled_max = 1025", "must be between 0 and 1024"),
        ("max_restart = 1", "did you mean `max_restarts`?"),
        ("min_uptime = 1", "needs a unit"),
        ("stop_exit_codes = 1", "must be a list such as [0, 3]"),
        ("stop_exit_codes = [256]", "must be between 0 and 255, not 256"),
    ];
    refuses(&cases, |keys| with_key(&format!("restart = {{ {keys} }}")));
}

#[test]
fn refuses_metrics_where_somebody_listens() {
    let app = |name: &str, port: u16, metrics: &str| {
        format!("[[apps]]\nname = \"{name}\"\nlisten = [\"127.0.0.1:{port}\"]\n{metrics}\n{ROUTE}")
    };
    let cases = [
        ("metrics = \"127.0.0.1:2\"", "metrics = \"127.0.0.1:2\"", "see line 4"),
        ("metrics = \"127.0.0.1:1\"", "", "see line 3"),
        ("", "metrics = \"localhost:3000\"", "see line 3"),
        ("metrics = \"127.0.0.1:3001\"", "", "see line 4"),
    ];
    for (one, other, line) in cases {
        let text = if one.ends_with(":1\"") { app("a", 1, one) } else { app("a", 3000, one) };
        let found = mistakes(&format!("{text}{}", app("b", 3001, other)));
        assert_eq!(found.len(), 1, "{one}, {other}: {found:?}");
        let message = &found[0].message;
        assert!(message.ends_with(&format!("already listened on, {line}")), "{message}");
    }
    let zero = "metrics = \"127.0.0.1:0\"";
    let good = format!("{}{}", app("a", 0, zero), app("b", 0, zero));
    assert_eq!(Config::parse(&good, "f").unwrap().apps.len(), 2);
}

#[test]
fn refuses_bad_routes() {
    let cases = [
        ("echo = {}", "`path` is missing"),
        ("path = 1\necho = {}", "`path` must be a string"),
        ("path = \"a\"\necho = {}", "it must start with `/`"),
        ("path = \"/\"", "the route does nothing"),
        ("path = \"/\"\nfile = {}\necho = {}", "did you mean `files`?"),
        ("path = \"/*path\"\nfiles = {}", "`root` is missing"),
        ("path = \"/\"\nfiles = { root = \"/\" }", "must end in a wildcard"),
        ("path = \"/*path\"\nfiles = { root = \"/no/such\" }", "cannot serve files from /no/such"),
        ("path = \"/*path\"\nfiles = { root = \"/etc/passwd\" }", "Not a directory"),
        ("path = \"/*path\"\nfiles = { root = \"/\", index = \"a/b\" }", "the name of a file"),
        ("path = \"/*path\"\nfiles = { root = \"/\", max_age = \"400d\" }", "unknown unit"),
        ("path = \"/*path\"\nfiles = { root = \"/\", precompressed = 1 }", "true or false"),
        ("path = \"/*path\"\nmethods = [\"GET\"]\nfiles = { root = \"/\" }", "must be left out"),
        ("path = \"/\"\necho = {}\nrespond = {}", "`respond` beside `echo`"),
        ("path = \"/\"\necho = true", "`echo` must be a table, not a boolean"),
        ("path = \"/\"\necho = { a = 1 }", "unknown key `a`: this table must be empty"),
        ("path = \"/\"\nmethods = []\necho = {}", "`methods` is empty"),
        ("path = \"/\"\nmethods = \"GET\"\necho = {}", "`methods` must be a list"),
        ("path = \"/\"\nmethods = [\"get\"]\necho = {}", "did you mean `GET`?"),
        ("path = \"/\"\nmethods = [\"CONNECT\"]\necho = {}", "unknown method `CONNECT`"),
        ("path = \"/\"\nmethods = [\"GET\", \"GET\"]\necho = {}", "GET is named twice"),
    ];
    refuses(&cases, with_route);
    refuses(&[("routes = []", "`routes` is empty"), ("routes = {}", "[[apps.routes]]")], |key| {
        format!("{APP}{key}\n")
    });
}

#[test]
fn refuses_routes_that_answer_the_same() {
    let route =
        |methods: &str| format!("[[apps.routes]]\npath = \"/\"\n{methods}\nrespond = {{}}\n");
    let (get, post) = (route("methods = [\"GET\"]"), route("methods = [\"POST\", \"PUT\"]"));
    assert_eq!(only(&format!("{APP}{get}{post}")).routes.len(), 2);
    let both = route("methods = [\"DELETE\", \"PUT\"]");
    let found = mistakes(&format!("{APP}{get}{post}{both}"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].line, found[0].column), (13, 8));
    assert_eq!(found[0].message, "PUT / is already answered, see line 9");
}

#[test]
fn refuses_paths_that_the_router_refuses() {
    let cases = [
        ("/:", "needs a name"),
        ("/:a/:a", "`a` is used twice"),
        ("/a?b", "a path has no `?`"),
        ("/*rest/b", "must be the whole of the last segment"),
    ];
    refuses(&cases, |path| with_route(&format!("path = \"{path}\"\nrespond = {{}}")));
    let route = |path: &str| format!("[[apps.routes]]\npath = \"{path}\"\nrespond = {{}}\n");
    let found = mistakes(&format!("{APP}{}{}", route("/a/:b"), route("/a/:c")));
    assert_eq!(found.len(), 1, "{found:?}");
    let first = &found[0];
    assert_eq!((first.line, first.column), (8, 8));
    assert_eq!(
        first.message,
        "route \"/a/:c\": GET is already answered by \"/a/:b\"; remove one of the two"
    );
}

#[test]
fn refuses_bad_answers() {
    let cases = [
        ("{ status = 199 }", "must be between 200 and 599, not 199"),
        ("{ status = 600 }", "must be between 200 and 599, not 600"),
        ("{ status = \"200\" }", "`status` must be a whole number, not a string"),
        ("{ body = 1 }", "`body` must be a string"),
        ("{ status = 204, body = \"a\" }", "`body` must be left out: a 204 has none"),
        ("{ status = 205, body = \"a\" }", "a 205 has none"),
        ("{ status = 304, body = \"a\" }", "a 304 has none"),
        ("{ headers = [] }", "`headers` must be a table, not a list"),
        ("{ headers = { a = 1 } }", "`a` must be a string"),
        ("{ headers = { \"a b\" = \"\" } }", "`a b` cannot be the name of a header"),
        ("{ headers = { \"\" = \"\" } }", "cannot be the name of a header"),
        ("{ headers = { a = \"b\\r\\nc: d\" } }", "is one line"),
        ("{ headers = { A = \"\", a = \"\" } }", "`a` is set twice"),
        ("{ headers = { Content-Length = \"1\" } }", "`Content-Length` is set by the server"),
        ("{ headers = { transfer-encoding = \"chunked\" } }", "is set by the server"),
        ("{ headers = { connection = \"close\" } }", "is set by the server"),
        ("{ headers = { date = \"now\" } }", "is set by the server"),
        ("{ headers = { upgrade = \"h2c\" } }", "is set by the server"),
        ("{ haeders = {} }", "did you mean `headers`?"),
    ];
    refuses(&cases, |respond| with_route(&format!("path = \"/\"\nrespond = {respond}")));
}

#[test]
fn refuses_bad_redirects() {
    let cases = [
        ("{}", "`to` is missing"),
        ("{ to = 1 }", "`to` must be a string"),
        ("{ to = \"\" }", "must be a path"),
        ("{ to = \"new\" }", "must be a path"),
        ("{ to = \"javascript:a\" }", "must be a path"),
        ("{ to = \"/a b\" }", "percent-encode"),
        ("{ to = \"/\u{e4}\" }", "percent-encode"),
        ("{ to = \"/a\\r\\nb: c\" }", "percent-encode"),
        ("{ to = \"/a\", status = 200 }", "must be 301, 302, 303, 307 or 308, not 200"),
        ("{ to = \"/a\", status = 304 }", "must be 301, 302, 303, 307 or 308"),
    ];
    refuses(&cases, |redirect| with_route(&format!("path = \"/\"\nredirect = {redirect}")));
}

#[test]
fn refuses_what_is_no_toml() {
    let cases = [
        ("x", "expected `=`"),
        ("x = ", "expected"),
        ("x = \"a", "invalid basic string"),
        ("instances = 1\ninstances = 2", "duplicate key"),
    ];
    refuses(&cases, with_key);
}

#[test]
fn a_list_left_open_is_one_mistake() {
    let text =
        format!("[[apps]]\nname = \"a\"\nlisten = [\"127.0.0.1:1\"\n\ninstances = 1\n{ROUTE}");
    let found = mistakes(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].message.contains("`]` to close the list"), "{}", found[0].message);
}

#[test]
fn a_syntax_error_hides_no_other_mistake() {
    let found = mistakes(&format!("{APP}cpus = \"a\nlimits = {{ headers = 0 }}\n{ROUTE}"));
    let lines: Vec<_> = found.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [4, 5]);
}

#[test]
fn columns_are_characters_and_controls_are_not_shown() {
    let text = with_key("\tcpus = \"\u{e4}\\u001b[31m\" # \u{e4}");
    let shown = Config::parse(&text, "f").unwrap_err().to_string();
    let expected = "f:4:9: `\u{e4}\u{fffd}[31m` is not a list of CPUs such as \"0-3,6\"\n  |\n\
        4 | \tcpus = \"\u{e4}\\u001b[31m\" # \u{e4}\n  | \t       ^^^^^^^^^^^^^";
    assert!(shown.starts_with(expected), "{shown}\n{expected}");
    assert!(shown.ends_with("\n\nf: 1 error, nothing was applied"), "{shown}");
}

#[test]
fn lines_may_end_in_crlf() {
    let text = with_key("cpus = 1").replace('\n', "\r\n");
    let found = mistakes(&text);
    assert_eq!((found[0].line, found[0].column), (4, 8));
    assert_eq!(found[0].excerpt.as_ref().unwrap().text, "cpus = 1");
}

/// Mistakes of each kind; all of them are reported, in order, with their places.
#[test]
fn reports_every_mistake_of_a_file() {
    let text = include_str!("golden/mistakes.toml");
    let found = Config::parse(text, "corelane.toml").unwrap_err().to_string();
    let expected = include_str!("golden/mistakes.txt");
    assert_eq!(found, expected.trim_end(), "\n{found}");
}

#[test]
fn unreadable_files_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    };
    let cases = [
        (dir.path().join("none.toml"), "none.toml: there is no such file"),
        (dir.path().to_owned(), "it is a directory"),
        (write("large.toml", &vec![b'#'; 1024 * 1024 + 1]), "larger than 1 MiB"),
        (
            write("latin1.toml", b"[[apps]]\nname = \"\xe4\"\n"),
            "latin1.toml:2:9: this byte is no UTF-8",
        ),
        (Path::new("/dev/zero").to_owned(), "larger than 1 MiB"),
    ];
    for (file, problem) in cases {
        let message = Config::load(&file).unwrap_err().to_string();
        assert!(message.contains(problem), "{message}");
    }
    let largest = write("largest.toml", &vec![b'#'; 1024 * 1024]);
    assert!(Config::load(&largest).unwrap_err().to_string().contains("there is no app"));
}

proptest::proptest! {
    /// Whatever is typed into a file, there is a configuration or at least one mistake.
    #[test]
    fn no_text_panics(
        at in 0usize..540,
        drop in 0usize..40,
        typed in "[\\PC\n\r\t\"\\[\\]{}=.#]{0,20}",
    ) {
        let golden = include_str!("golden/mistakes.toml");
        let kept = |(place, _): &(usize, char)| *place < at || *place >= at + drop;
        let mut text: Vec<char> = golden.chars().enumerate().filter(kept).map(|it| it.1).collect();
        let at = at.min(text.len());
        text.splice(at..at, typed.chars());
        let text: String = text.into_iter().collect();
        if let Err(error) = Config::parse(&text, "corelane.toml") {
            proptest::prop_assert!(error.to_string().starts_with("corelane.toml:"));
        }
    }
}

/// A program with nothing wrong.
const PROGRAM: &str = "[[apps]]\nname = \"a\"\nprogram = \"/bin/true\"\n";

#[test]
fn a_program_needs_neither_address_nor_routes() {
    let app = only(&format!(
        "{PROGRAM}args = [\"-v\", \"\"]\nstop_signal = \"INT\"\nmemory_max = \"64MiB\"\n\
         after = [\"db\"]\nenv = {{ A = \"1\" }}\nlogs = {{ keep = 3 }}\n"
    ));
    let managed = app.managed;
    assert_eq!(managed.program.unwrap().args, ["-v", ""]);
    assert_eq!((managed.stop_signal.as_str(), managed.memory_max), ("INT", Some(64 << 20)));
    assert_eq!((managed.after[0].as_str(), managed.env["A"].as_str()), ("db", "1"));
    assert_eq!((managed.logs.keep, managed.logs.rotate_bytes), (3, 50 << 20));
    assert_eq!((managed.ready, managed.stop), (30 * SECOND, 35 * SECOND));
    let app = only(&format!("{PROGRAM}timeouts = {{ drain = \"60s\" }}"));
    assert_eq!(app.managed.stop, 65 * SECOND, "it follows");
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn refuses_bad_keys_of_a_program() {
    let cases = [
        ("program = \"\"", "`program` must not be empty"),
        ("program = 1", "`program` must be a string"),
        ("args = \"a b\"", "`args` must be a list such as [\"--verbose\"]"),
        ("routes = []", "`routes` cannot stand beside `program`"),
        ("env = { \"A=B\" = \"1\" }", "`A=B` is no name of a variable"),
        ("env = { A = 1 }", "`A` must be a string"),
        ("env_inherit = [\"\"]", "`` is no name of a variable"),
        ("stop_signal = \"TREM\"", "must be a signal such as \"TERM\", not `TREM`"),
        ("memory_max = \"1KiB\"", "`memory_max` must be between 1MiB and 1024GiB"),
        ("after = [\"a\"]", "has `a` wait for itself"),
        ("health = {}", "`path` is missing"),
        ("health = { path = \"health\" }", "must be a path such as"),
        ("health = { path = \"/\", failures = 0 }", "`failures` must be between 1 and 1000"),
        ("logs = { access = \"json\" }", "`access` is for an app with `routes`"),
        ("logs = { rotate_bytes = \"1B\" }", "`rotate_bytes` must be between 4KiB and 1024GiB"),
        ("user = \"\"", "`user` must not be empty"),
    ];
    refuses(&cases, |line| {
        let head = if line.starts_with("program") { "[[apps]]\nname = \"a\"\n" } else { PROGRAM };
        format!("{head}{line}\n")
    });
    refuses(&[("args = []", "is for a `program`, which is missing")], with_key);
}

#[test]
fn an_app_may_not_wait_for_itself_by_a_detour() {
    let other = "[[apps]]\nname = \"b\"\nprogram = \"b\"\nafter = [\"a\"]\n";
    let found = mistakes(&format!("{PROGRAM}after = [\"b\", \"elsewhere\"]\n{other}"));
    let messages: Vec<_> = found.iter().map(|mistake| mistake.message.as_str()).collect();
    assert_eq!(messages, ["`after` has `a` wait for itself", "`after` has `b` wait for itself"]);
}

#[test]
fn the_manager_is_told_what_the_file_says_with_the_defaults() {
    let text = "[defaults]\nenv = { A = \"1\", B = \"2\" }\ntimeouts = { stop = \"50s\" }\n\
        [[apps]]\nname = \"a\"\nprogram = \"bin/a\"\nenv = { B = \"3\" }\ncwd = \"x\"\n\
        timeouts = { ready = \"9s\" }\nenv_inherit = [\"LANG\", \"NONE\"]\n";
    let config = Config::parse(text, "f").unwrap();
    let inherited = |name: &str| (name == "LANG").then(|| "C".to_owned());
    let spec = config.specs(Path::new("/f"), Path::new("/srv"), inherited).remove(0);
    let definition = serde_json::json!({
        "name": "a", "program": "bin/a", "cwd": "x", "env": { "A": "1", "B": "3" },
        "timeouts": { "stop": "50s", "ready": "9s" }, "env_inherit": ["LANG", "NONE"],
    });
    assert_eq!(serde_json::Value::from(spec.definition), definition);
    assert_eq!((spec.cwd.as_path(), spec.waits.ready), (Path::new("/srv/x"), 9000));
    assert_eq!((spec.waits.stop, spec.env["B"].as_str()), (50_000, "3"));
    assert_eq!(spec.inherited.into_iter().collect::<Vec<_>>(), [("LANG".into(), "C".into())]);
}
