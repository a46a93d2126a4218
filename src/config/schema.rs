//! The keys of a file, of `[defaults]` and of `[[apps]]`.

use std::collections::BTreeSet;

use super::cpus;
use super::model::{AppConfig, Config, Managed};
use super::reader::{Entry, Table};
use super::report::Report;
use super::{managed, route, settings};
use crate::app::TrustedProxies;
use crate::cluster::{Address, Instances};
use crate::restart::Restart;
use crate::server::{Balance, Limits, OnPanic, Timeouts};

const NAME_CHARS_MAX: usize = 64;
/// More proxies than anybody has in a row.
const HOPS_MAX: usize = 32;

const FILE_KEYS: &[&str] = &["defaults", "apps"];
/// What `[defaults]` may say, for all apps.
const SHARED_KEYS: &[&str] =
    &["instances", "cpus", "balance", "trust_proxy", "on_panic", "restart", "timeouts", "limits"];
/// What an app must say for itself.
const REQUIRED_KEYS: &[&str] = &["name", "listen", "routes"];
/// What an app may say, but only for itself.
const OWN_KEYS: &[&str] = &["metrics"];

const BALANCES: &[(&str, Balance)] = &[("least", Balance::Least), ("kernel", Balance::Kernel)];
const ON_PANIC: &[(&str, OnPanic)] = &[("500", OnPanic::Respond), ("restart", OnPanic::Restart)];

/// What an app has in common with `[defaults]`.
#[derive(Clone, Default)]
struct Shared {
    instances: Instances,
    cpus: Option<BTreeSet<usize>>,
    balance: Balance,
    trust_proxy: Option<TrustedProxies>,
    on_panic: OnPanic,
    restart: Restart,
    timeouts: Timeouts,
    limits: Limits,
    managed: Managed,
}

/// What the apps read so far have taken, and on which line.
#[derive(Default)]
struct Taken {
    names: Vec<(String, usize)>,
    addresses: Vec<(Address, usize)>,
}

/// Reads a whole file. What comes back is good for nothing if anything was reported.
pub(super) fn read(root: &toml::de::DeTable, report: &mut Report) -> Config {
    let root = Table::root(root, FILE_KEYS, report);
    let shared = match root.get("defaults") {
        Some(entry) => defaults(&entry, report),
        None => Shared::default(),
    };
    let Some(entry) = root.get("apps") else {
        report.missing(&root.at, "there is no app: add an [[apps]] table");
        return Config { apps: Vec::new() };
    };
    let tables = entry.tables("[[apps]]", &app_keys(), report);
    let mut taken = Taken::default();
    let apps: Vec<_> = tables.iter().map(|table| app(table, &shared, &mut taken, report)).collect();
    check_after(&tables, &apps, report);
    Config { apps }
}

/// Every key of an `[[apps]]` table.
fn app_keys() -> Vec<&'static str> {
    [REQUIRED_KEYS, OWN_KEYS, SHARED_KEYS, managed::OWN_KEYS, managed::SHARED_KEYS].concat()
}

/// Nobody waits, by a detour, for himself. An app that is not in the file may run already.
fn check_after(tables: &[Table], apps: &[AppConfig], report: &mut Report) {
    let after = |name: &str| {
        let app = apps.iter().find(|app| app.name == name);
        app.map(|app| app.managed.after.as_slice()).unwrap_or_default()
    };
    for (table, app) in tables.iter().zip(apps) {
        let mut before: Vec<&str> = app.managed.after.iter().map(String::as_str).collect();
        let mut at = 0;
        while let Some(name) = before.get(at).copied() {
            at += 1;
            let further = after(name).iter().map(String::as_str);
            let further: Vec<_> = further.filter(|name| !before.contains(name)).collect();
            before.extend(further);
        }
        if before.contains(&app.name.as_str())
            && let Some(entry) = table.get("after")
        {
            entry.wrong(format!("has `{}` wait for itself", app.name), report);
        }
    }
}

fn defaults(entry: &Entry, report: &mut Report) -> Shared {
    let Some(table) = entry.table(&app_keys(), report) else {
        return Shared::default();
    };
    for (key, at, _) in table.entries() {
        let verb = match key {
            key if REQUIRED_KEYS.contains(&key) => "needs",
            key if OWN_KEYS.contains(&key) || managed::OWN_KEYS.contains(&key) => "may have",
            _ => continue,
        };
        report.wrong(&at, format!("`{key}` has no default: each [[apps]] table {verb} its own"));
    }
    common(&table, &Shared::default(), report)
}

fn app(table: &Table, shared: &Shared, taken: &mut Taken, report: &mut Report) -> AppConfig {
    let name = table.need("name", "name = \"my-app\"", report);
    let name = name.and_then(|entry| name_of(&entry, taken, report));
    let is_program = table.get("program").is_some();
    let listen = match table.get("listen") {
        // A program may open its sockets itself.
        None if is_program => None,
        _ => table.need("listen", "listen = [\"127.0.0.1:3000\"]", report),
    };
    let listen = listen.map(|entry| addresses(&entry, taken, report));
    let metrics = table.get("metrics").and_then(|entry| {
        let text = entry.text(report)?;
        address(&entry, text, taken, report)
    });
    let routes = match table.get("routes") {
        Some(entry) if is_program => {
            entry.wrong("cannot stand beside `program`, which answers itself", report);
            None
        }
        None if is_program => None,
        _ => table.need("routes", "an [[apps.routes]] table, there is nothing to serve", report),
    };
    let routes = routes.map(|entry| route::read(&entry, report));
    let shared = common(table, shared, report);
    AppConfig {
        name: name.unwrap_or_default(),
        listen: listen.unwrap_or_default(),
        metrics,
        routes: routes.unwrap_or_default(),
        instances: shared.instances,
        cpus: shared.cpus,
        balance: shared.balance,
        trust_proxy: shared.trust_proxy,
        on_panic: shared.on_panic,
        restart: shared.restart,
        limits: shared.limits,
        timeouts: shared.timeouts,
        managed: shared.managed,
        definition: serde_json::Map::new(),
    }
}

fn common(table: &Table, base: &Shared, report: &mut Report) -> Shared {
    let mut shared = base.clone();
    if let Some(entry) = table.get("instances") {
        shared.instances = instances(&entry, report).unwrap_or_default();
    }
    if let Some(entry) = table.get("cpus") {
        let text = entry.text(report);
        shared.cpus = text.and_then(|text| entry.checked(cpus::parse(text), report));
    }
    if let Some(entry) = table.get("balance") {
        shared.balance = entry.word(BALANCES, report).unwrap_or_default();
    }
    if let Some(entry) = table.get("trust_proxy") {
        shared.trust_proxy = proxies(&entry, report);
    }
    if let Some(entry) = table.get("on_panic") {
        shared.on_panic = entry.word(ON_PANIC, report).unwrap_or_default();
    }
    if let Some(entry) = table.get("restart") {
        shared.restart = settings::restart(&entry, &base.restart, report);
    }
    if let Some(entry) = table.get("timeouts") {
        shared.timeouts = settings::timeouts(&entry, &base.timeouts, report);
    }
    if let Some(entry) = table.get("limits") {
        shared.limits = settings::limits(&entry, &base.limits, report);
    }
    shared.managed = managed::read(table, &base.managed, shared.timeouts.drain, report);
    shared
}

/// Networks, or so many proxies one behind another.
fn proxies(entry: &Entry, report: &mut Report) -> Option<TrustedProxies> {
    if entry.is_integer() {
        let hops = entry.integer(report)?;
        let number = usize::try_from(hops).ok().filter(|number| *number <= HOPS_MAX);
        if number.is_none() {
            entry.wrong(format!("must be between 0 and {HOPS_MAX}, not {hops}"), report);
        }
        return number.map(TrustedProxies::hops);
    }
    let items = entry.items("[\"10.0.0.0/8\"], or a number of proxies", report);
    let names = items.iter().filter_map(|item| {
        let name = item.text(report)?;
        item.checked(TrustedProxies::networks(name), report).map(|_| name)
    });
    let names = names.collect::<Vec<_>>().join(",");
    TrustedProxies::networks(&names).ok()
}

fn name_of(entry: &Entry, taken: &mut Taken, report: &mut Report) -> Option<String> {
    let name = entry.text(report)?;
    entry.checked(check_name(name), report)?;
    if let Some((_, line)) = taken.names.iter().find(|(other, _)| other == name) {
        entry.wrong(format!("`{name}` is taken by the app on line {line}"), report);
    }
    taken.names.push((name.to_owned(), report.line(entry.at.start)));
    Some(name.to_owned())
}

fn check_name(name: &str) -> Result<(), String> {
    let inner = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    if !name.starts_with(|char: char| char.is_ascii_alphabetic()) || !name.chars().all(inner) {
        return Err(format!(
            "bad name `{name}`: a letter, then letters, digits, dots, underscores and hyphens"
        ));
    }
    if name.len() > NAME_CHARS_MAX {
        return Err(format!("the name is too long: at most {NAME_CHARS_MAX} characters"));
    }
    if name == "all" {
        return Err("no app can be named `all`, which means every app".to_owned());
    }
    if std::path::Path::new(name).extension().is_some_and(|end| end == "toml") {
        return Err(format!("bad name `{name}`: what ends in .toml is taken for a file"));
    }
    Ok(())
}

fn instances(entry: &Entry, report: &mut Report) -> Option<Instances> {
    if entry.is_integer() {
        let number = entry.integer(report)?;
        return entry.checked(Instances::try_from(number), report);
    }
    match entry.text(report)? {
        "max" => Some(Instances::Max),
        text => match text.parse::<i64>() {
            Ok(number) => {
                entry.wrong(format!("must be \"max\" or a bare number: write {number}"), report);
                None
            }
            Err(_) => entry.checked(text.parse(), report),
        },
    }
}

fn addresses(entry: &Entry, taken: &mut Taken, report: &mut Report) -> Vec<Address> {
    let texts = entry.texts("[\"127.0.0.1:3000\"]", report).into_iter();
    texts.filter_map(|(item, text)| address(&item, text, taken, report)).collect()
}

/// An address that nobody has taken.
fn address(entry: &Entry, text: &str, taken: &mut Taken, report: &mut Report) -> Option<Address> {
    let address: Address = entry.checked(text.parse(), report)?;
    if let Some((_, line)) = taken.addresses.iter().find(|(other, _)| clash(other, &address)) {
        report.wrong(&entry.at, format!("`{text}` is already listened on, see line {line}"));
    }
    taken.addresses.push((address.clone(), report.line(entry.at.start)));
    Some(address)
}

/// Whether two addresses are one socket; port 0 is a new one each time.
pub(super) fn clash(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Tcp(one), Address::Tcp(other)) => one == other && one.port() != 0,
        (Address::Unix { path: one, .. }, Address::Unix { path: other, .. }) => one == other,
        _ => false,
    }
}

/// The first address that is listed twice.
pub(super) fn duplicate(addresses: &[Address]) -> Option<&Address> {
    let earlier = |(at, address): &(usize, &Address)| {
        addresses[..*at].iter().any(|other| clash(other, address))
    };
    addresses.iter().enumerate().find(earlier).map(|(_, address)| address)
}
