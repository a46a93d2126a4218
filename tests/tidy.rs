//! Style as a test: what the compiler and clippy do not say about this code.
//!
//! Each rule is a function from a file to findings, run over the checkout by one test and over
//! small strings by another, so that a rule that finds nothing is known to be able to.

#[path = "tidy/source.rs"]
mod source;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use source::Source;

const LINE_CHARS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

/// Every room, and the rooms that it may use. docs/ARCHITECTURE.md says what each is for.
const ROOMS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("stats", &[]),
    ("restart", &[]),
    ("rt", &["sys", "stats"]),
    ("net", &["sys", "stats", "rt"]),
    ("message", &["sys"]),
    ("h1", &["message"]),
    ("app", &["sys", "stats", "rt", "message"]),
    ("server", &["sys", "stats", "rt", "net", "message", "h1", "app"]),
    ("cluster", &["sys", "stats", "rt", "restart", "net", "message", "app", "server"]),
    ("control", &["message", "h1"]),
    (
        "service",
        &[
            "sys", "stats", "restart", "rt", "net", "message", "h1", "app", "server", "cluster",
            "control",
        ],
    ),
    ("testing", &["sys", "rt", "message", "h1", "app", "server", "cluster"]),
    ("config", &["sys", "restart", "app", "server", "cluster", "control", "service"]),
    (
        "manager",
        &["sys", "stats", "rt", "restart", "net", "message", "app", "server", "cluster", "control"],
    ),
    ("loadgen", &["sys", "stats", "rt", "net", "message", "h1"]),
    ("internals", &["stats", "message", "h1", "app", "server"]),
    (
        "cli",
        &[
            "sys", "stats", "restart", "rt", "net", "message", "h1", "app", "server", "cluster",
            "control", "service", "config", "manager", "loadgen",
        ],
    ),
];

/// Crates that stay behind one room, so that they can be replaced there.
const CONFINED: &[(&str, &[&str])] = &[
    ("glommio", &["rt"]),
    ("io_uring", &["sys", "rt"]),
    ("httparse", &["h1"]),
    ("matchit", &["app"]),
    ("clap", &["cli"]),
    ("ratatui", &["cli"]),
    ("indicatif", &["cli"]),
    ("toml", &["config", "manager", "cli"]),
];

/// The rooms that may hold unsafe code, each behind a safe interface.
const UNSAFE_ROOMS: &[&str] = &["sys", "rt", "net"];

/// Functions that are longer than the limit and better so: file, name, and the reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

/// What is wrong, in a line that says what to do.
type Finding = String;

type Rule = fn(&Source) -> Vec<Finding>;

fn finding(source: &Source, line: usize, advice: &str) -> Finding {
    format!("{}:{line}: {advice}", source.path)
}

fn entry<'table>(
    table: &'table [(&str, &[&'table str])],
    name: &str,
) -> Option<&'table [&'table str]> {
    table.iter().find(|(key, _)| *key == name).map(|&(_, rooms)| rooms)
}

/// A room uses only the rooms that the table allows it, and names them by `crate::<room>`.
fn rooms_know_only_whom_they_may(source: &Source) -> Vec<Finding> {
    let Some(room) = source.room() else { return Vec::new() };
    let Some(allowed) = entry(ROOMS, room) else {
        return vec![finding(source, 1, &format!("room `{room}` is not in ROOMS: add it there"))];
    };
    let mut findings = Vec::new();
    for (at, word) in source.words() {
        let begins = !source.around(at, at).0.ends_with("::");
        if !begins || !matches!(word, "crate" | "super") {
            continue;
        }
        for path in source.paths(at) {
            if let Some(advice) = misuse(room, allowed, &path, source.depth(at)) {
                findings.push(finding(source, source.line(at), &advice));
            }
        }
    }
    findings
}

/// What is wrong with a path that begins with `crate` or `super`, `depth` modules deep in a room.
fn misuse(room: &str, allowed: &[&str], path: &[&str], depth: usize) -> Option<String> {
    let supers = path.iter().take_while(|&&part| part == "super").count();
    if supers >= depth {
        return Some(format!("`super` leaves the room `{room}`: write `crate::<room>`"));
    }
    let named = path.get(1).filter(|_| supers == 0)?;
    if *named == room || allowed.contains(named) {
        return None;
    }
    Some(match entry(ROOMS, named) {
        Some(_) => {
            format!("`{room}` may use {allowed:?} and not `{named}`: move the code, or pass it in")
        }
        None => format!("`crate::{named}` hides its room: write `crate::<room>::{named}`"),
    })
}

/// A confined crate is named only in the rooms that may know it.
fn crates_stay_in_their_rooms(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("src/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, word) in source.words() {
        let Some(rooms) = entry(CONFINED, word) else { continue };
        let (before, after) = source.around(at, at + word.len());
        let in_path = before
            .strip_suffix("::")
            .is_some_and(|path| path.ends_with(|last: char| last.is_alphanumeric() || last == '_'));
        let imported = before.ends_with("use") || before.ends_with("extern crate");
        let named = !in_path && (after.starts_with("::") || imported);
        if named && !source.room().is_some_and(|room| rooms.contains(&room)) {
            let advice = format!("the crate `{word}` belongs to {rooms:?}: go through that room");
            findings.push(finding(source, source.line(at), &advice));
        }
    }
    findings
}

/// Unsafe code is in the rooms that may hold it, in tests and in benches, and always explained.
fn unsafe_code_is_confined_and_explained(source: &Source) -> Vec<Finding> {
    let confined = !source.path.starts_with("src/")
        || source.room().is_some_and(|room| UNSAFE_ROOMS.contains(&room));
    let mut findings = Vec::new();
    for (at, _) in source.words().into_iter().filter(|&(_, word)| word == "unsafe") {
        let line = source.line(at);
        let after = source.around(at, at + "unsafe".len()).1;
        if !confined {
            let advice =
                format!("`unsafe` outside {UNSAFE_ROOMS:?}: use, or add, a safe call there");
            findings.push(finding(source, line, &advice));
        } else if (after.starts_with('{') || after.starts_with("impl")) && !explained(source, line)
        {
            findings.push(finding(
                source,
                line,
                "say above it why this is sound: `// SAFETY: ...`",
            ));
        }
    }
    findings
}

/// Whether the statement that holds a line, or the comment above that statement, has a `SAFETY:`.
fn explained(source: &Source, line: usize) -> bool {
    let lines = source.text.lines().zip(source.code.lines()).take(line).collect::<Vec<_>>();
    for (above, (text, code)) in lines.into_iter().rev().enumerate() {
        if text.contains("SAFETY:") {
            return true;
        }
        if text.trim().is_empty() || (above > 0 && code.trim_end().ends_with([';', '{', '}'])) {
            return false;
        }
    }
    false
}

/// Lines, functions and files can be read at one sight.
fn nothing_is_too_long(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(source.text.lines()) {
        let chars = text.chars().count();
        if chars > LINE_CHARS_MAX {
            let advice = format!("{chars} characters: break the line at {LINE_CHARS_MAX}");
            findings.push(finding(source, line, &advice));
        }
    }
    for function in source.functions() {
        let exempt = LONG_FUNCTIONS
            .iter()
            .any(|&(path, name, _)| (path, name) == (&source.path, &function.name));
        if function.lines > FUNCTION_LINES_MAX && !exempt {
            let advice = format!(
                "`{}` has {} lines: take parts out until it has {FUNCTION_LINES_MAX}",
                function.name, function.lines
            );
            findings.push(finding(source, function.line, &advice));
        }
    }
    let lines = lines_without_tests(source);
    if lines > FILE_LINES_MAX {
        let advice = format!("{lines} lines without tests: split the file at {FILE_LINES_MAX}");
        findings.push(finding(source, FILE_LINES_MAX, &advice));
    }
    findings
}

/// How long a file is without its tests, which come last in it or are a file of their own.
fn lines_without_tests(source: &Source) -> usize {
    let inside = source.path.split_once('/').map_or("", |(_, inside)| inside);
    let tests = source.path.starts_with("tests/")
        || inside.split('/').any(|part| matches!(part, "tests" | "tests.rs"));
    let lines = source.text.lines().take_while(|line| *line != "#[cfg(test)]");
    if tests { 0 } else { lines.count() }
}

/// A `mod.rs` is a contents page: docs, attributes, `mod`, `use`.
fn mod_rs_is_a_contents_page(source: &Source) -> Vec<Finding> {
    if !source.path.ends_with("/mod.rs") {
        return Vec::new();
    }
    let mut end = 0;
    for item in source.code.split_inclusive(';') {
        end += item.len();
        let body = without_attributes(item);
        if !body.is_empty() && !is_contents(body) {
            let line = source.line(end - body.len());
            let advice = "`mod.rs` holds docs, `mod` and `use`: move this to a file of its own";
            return vec![finding(source, line, advice)];
        }
    }
    Vec::new()
}

fn is_contents(item: &str) -> bool {
    let mut rest = item;
    if let Some(public) = rest.strip_prefix("pub") {
        rest = public.trim_start();
        rest =
            rest.strip_prefix('(').and_then(|to| to.split_once(')')).map_or(rest, |(_, left)| left);
    }
    let rest = rest.trim_start();
    rest.starts_with("use ") || (rest.starts_with("mod ") && !rest.contains('{'))
}

/// An item without the white space and the attributes before it.
fn without_attributes(item: &str) -> &str {
    let mut rest = item.trim_start();
    while let Some(attribute) = rest.strip_prefix("#![").or_else(|| rest.strip_prefix("#[")) {
        let mut open = 1;
        let end = attribute.find(|letter| {
            open += i32::from(letter == '[') - i32::from(letter == ']');
            open == 0
        });
        rest = end.map_or("", |end| attribute[end + 1..].trim_start());
    }
    rest
}

/// Nothing is put off: no stub, no test that does not run, no note to oneself.
fn nothing_is_put_off(source: &Source) -> Vec<Finding> {
    let note = concat!("FIX", "ME");
    let mut findings = Vec::new();
    for (line, _) in (1..).zip(source.text.lines()).filter(|(_, text)| text.contains(note)) {
        findings.push(finding(source, line, &format!("`{note}`: do it, or say what is and why")));
    }
    for (at, word) in source.words() {
        let (before, after) = source.around(at, at + word.len());
        let advice = match word {
            "todo" | "unimplemented" if after.starts_with('!') => {
                "a stub: write it, or leave it out"
            }
            "dbg" if after.starts_with('!') => "left from debugging: take it out",
            "ignore" if before.ends_with('[') => {
                "a test that does not run: make it run, or drop it"
            }
            _ => continue,
        };
        findings.push(finding(source, source.line(at), advice));
    }
    findings
}

/// Every Rust file of the checkout that is ours.
fn checkout() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for folder in ["benches", "docs", "src", "tests"] {
        collect(root, &root.join(folder), &mut sources);
    }
    assert!(sources.len() > 1, "no source found under {}", root.display());
    sources
}

fn collect(root: &Path, path: &Path, sources: &mut Vec<Source>) {
    if let Ok(entries) = fs::read_dir(path) {
        let mut paths = entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>();
        paths.sort();
        for path in paths.iter().filter(|path| !path.ends_with("target")) {
            collect(root, path, sources);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let text = fs::read_to_string(path).expect("a source file is readable UTF-8");
        let inside = path.strip_prefix(root).expect("the file is below the root");
        sources.push(Source::new(&inside.to_string_lossy(), &text));
    }
}

/// Fails with every finding of a rule in the checkout.
fn check(rule: Rule) {
    let findings = checkout().iter().flat_map(rule).collect::<Vec<_>>();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn the_checkout_keeps_the_table_of_rooms() {
    check(rooms_know_only_whom_they_may);
}

#[test]
fn the_checkout_keeps_crates_in_their_rooms() {
    check(crates_stay_in_their_rooms);
}

#[test]
fn the_checkout_confines_and_explains_unsafe_code() {
    check(unsafe_code_is_confined_and_explained);
}

#[test]
fn the_checkout_is_short_in_line_function_and_file() {
    check(nothing_is_too_long);
}

#[test]
fn the_checkout_has_contents_pages() {
    check(mod_rs_is_a_contents_page);
}

#[test]
fn the_checkout_puts_nothing_off() {
    check(nothing_is_put_off);
}

#[test]
fn every_exemption_is_still_needed() {
    let sources = checkout();
    for (path, name, reason) in LONG_FUNCTIONS {
        let mut functions =
            sources.iter().filter(|source| source.path == *path).flat_map(Source::functions);
        let long = functions.any(|it| it.name == *name && it.lines > FUNCTION_LINES_MAX);
        assert!(long, "{path}: `{name}` ({reason}) is short now: take it off LONG_FUNCTIONS");
    }
}

#[test]
fn the_table_has_no_cycle() {
    for (room, _) in ROOMS {
        let mut reached = vec![*room];
        let mut next = 0;
        while next < reached.len() {
            for &used in
                entry(ROOMS, reached[next]).expect("a room of the table uses rooms of the table")
            {
                assert_ne!(
                    used, *room,
                    "`{room}` comes back to itself through `{}`",
                    reached[next]
                );
                if !reached.contains(&used) {
                    reached.push(used);
                }
            }
            next += 1;
        }
    }
}

/// A page that was cut off on its way to the disk shows it at its end.
#[test]
fn every_page_is_whole_and_its_links_lead_to_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).expect("docs is readable").flatten();
    let pages = pages.map(|entry| entry.path()).chain([root.join("README.md")]);
    let pages = pages.filter(|path| path.extension().is_some_and(|it| it == "md"));
    let mut findings = String::new();
    for path in pages {
        let text = fs::read_to_string(&path).expect("a page is readable UTF-8");
        let name = path.display();
        if !text.ends_with('\n') {
            writeln!(findings, "{name}: empty, or cut off").expect("a string takes all");
        }
        let folder = path.parent().expect("a page is in a folder");
        // Every other piece is a block of code.
        let prose = text.split("\n```").step_by(2);
        let links = prose.flat_map(|prose| prose.split("](").skip(1));
        let links = links.filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            if !folder.join(link).exists() {
                writeln!(findings, "{name}: there is no {link}").expect("a string takes all");
            }
        }
    }
    assert!(findings.is_empty(), "\n{findings}");
}

/// The guide says where each part of Express is tested; a test that is renamed takes it along.
#[test]
fn the_guide_names_every_test_of_express() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/GUIDE.md"))
        .expect("the guide is readable");
    let sources = checkout();
    let tests: Vec<_> = sources
        .iter()
        .flat_map(Source::functions)
        .filter(|function| function.name.starts_with("express_"))
        .map(|function| function.name)
        .collect();
    let named: Vec<_> = guide
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("express_") && word.len() > "express_".len())
        .collect();
    let missing: Vec<_> = tests.iter().filter(|test| !named.contains(&test.as_str())).collect();
    assert!(missing.is_empty(), "docs/GUIDE.md does not name {missing:?}");
    let is_gone = |name: &&&str| !tests.iter().any(|test| test == **name);
    let gone: Vec<_> = named.iter().filter(is_gone).collect();
    assert!(gone.is_empty(), "docs/GUIDE.md names {gone:?}, and there is no such test");
}

#[test]
fn the_architecture_names_every_room() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
    let text = fs::read_to_string(path).expect("docs/ARCHITECTURE.md is readable");
    let mut missing = String::new();
    for room in checkout().iter().filter_map(Source::room) {
        if !text.lines().any(|line| line.starts_with(&format!("| `{room}` |"))) {
            writeln!(missing, "docs/ARCHITECTURE.md: add a row for the room `{room}`")
                .expect("a string grows");
        }
    }
    assert!(missing.is_empty(), "\n{missing}");
}

/// Runs a rule over small files; each must give findings at exactly the lines listed.
fn cases(rule: Rule, cases: &[(&str, &str, &[usize])]) {
    for (path, text, lines) in cases {
        let findings = rule(&Source::new(path, text));
        let expected = lines.iter().map(|line| format!("{path}:{line}: ")).collect::<Vec<_>>();
        let matched = findings.iter().zip(&expected).all(|(found, start)| found.starts_with(start));
        assert!(matched && findings.len() == expected.len(), "{path}\n{text}\n-> {findings:#?}");
    }
}

#[test]
fn finds_a_room_that_another_may_not_use() {
    cases(
        rooms_know_only_whom_they_may,
        &[
            ("src/h1/a.rs", "use crate::message::Head;\nuse crate::h1::b;", &[]),
            ("src/h1/a.rs", "\nuse crate::server::Limits;", &[2]),
            ("src/h1/a.rs", "use crate::{\n    message::Head,\n    net::{a, b},\n};", &[1, 1]),
            ("src/h1/a.rs", "fn f() {\n    crate::rt::spawn(x)\n}", &[2]),
            ("src/h1/a.rs", "pub(crate) fn f(a: &crate::net::Stream) {}", &[1]),
            ("src/h1/a.rs", "// crate::rt::x\nconst A: &str = \"crate::rt::x\";", &[]),
            ("src/h1/a.rs", "/// crate::rt\n/* crate::rt::x /* */ crate::rt::x */", &[]),
            ("src/h1/a.rs", "const A: char = '\"'; use crate::rt::x; const B: char = '\"';", &[1]),
            ("src/h1/a.rs", "fn f<'a>(x: &'a str, y: &'a crate::rt::X) {}", &[1]),
            ("src/h1/a.rs", "const A: &str = r#\"\"crate::rt::x\"#; use crate::rt::x;", &[1]),
            ("src/h1/a.rs", "use crate::Request;", &[1]),
            ("src/h1/a.rs", "use crate::*;", &[1]),
            ("src/h1.rs", "use crate::cli::run;", &[1]),
            ("src/nowhere/a.rs", "", &[1]),
            ("src/lib.rs", "use crate::cli::run;", &[]),
            ("tests/a.rs", "use crate::cli::run;", &[]),
        ],
    );
}

#[test]
fn finds_a_super_that_leaves_the_room() {
    cases(
        rooms_know_only_whom_they_may,
        &[
            ("src/h1/mod.rs", "use super::rt;", &[1]),
            ("src/h1/a.rs", "use super::b;", &[]),
            ("src/h1/a.rs", "use super::super::rt;", &[1]),
            ("src/h1/a.rs", "use super::{b, super::rt};", &[1]),
            ("src/h1/a.rs", "mod tests {\n    use super::super::b;\n}", &[]),
            ("src/h1/a.rs", "mod tests {\n    use super::*;\n}\nuse super::super::b;", &[4]),
            ("src/h1/a/b.rs", "use super::super::c;", &[]),
            ("src/h1/a/mod.rs", "use super::super::c;", &[1]),
            ("src/h1/a.rs", "pub(super) fn f() {}", &[]),
        ],
    );
}

#[test]
fn finds_a_crate_outside_its_room() {
    cases(
        crates_stay_in_their_rooms,
        &[
            ("src/rt/a.rs", "use glommio::timer;", &[]),
            ("src/net/a.rs", "use glommio::timer;", &[1]),
            ("src/net/a.rs", "use ::glommio::timer;", &[1]),
            ("src/net/a.rs", "use glommio as executor;", &[1]),
            ("src/lib.rs", "fn f() { glommio::executor() }", &[1]),
            ("src/app/a.rs", "use crate::config::toml::x;\nlet toml = 1;", &[]),
            ("src/app/a.rs", "use {httparse::Request, matchit::Router};", &[1]),
            ("tests/a.rs", "use io_uring::IoUring;", &[]),
        ],
    );
}

#[test]
fn finds_unsafe_code_that_is_misplaced_or_unexplained() {
    let explained = "// SAFETY: because.\nlet a =\n    unsafe { f() };";
    cases(
        unsafe_code_is_confined_and_explained,
        &[
            ("src/rt/a.rs", explained, &[]),
            ("benches/a.rs", explained, &[]),
            ("src/app/a.rs", explained, &[3]),
            ("src/main.rs", explained, &[3]),
            ("src/rt/a.rs", "let a = 1;\nunsafe { f() }", &[2]),
            ("src/rt/a.rs", "// SAFETY: because.\nlet a = 1;\nunsafe { f() }", &[3]),
            ("src/rt/a.rs", "unsafe impl Send for A {}", &[1]),
            ("src/app/a.rs", "// unsafe\n#![deny(unsafe_code)]", &[]),
        ],
    );
}

#[test]
fn finds_what_is_too_long() {
    let line = "é".repeat(LINE_CHARS_MAX);
    let body =
        |lines: usize| format!("\nfn f(a: [u8; 2]) {{\n{}}}\n", "    a();\n".repeat(lines - 2));
    let file = |lines: usize| format!("{}#[cfg(test)]\nmod tests {{}}\n", "a();\n".repeat(lines));
    cases(
        nothing_is_too_long,
        &[
            ("src/a.rs", &line, &[]),
            ("src/a.rs", &format!("\n{line}x"), &[2]),
            ("src/a.rs", &body(FUNCTION_LINES_MAX), &[]),
            ("src/a.rs", &body(FUNCTION_LINES_MAX + 1), &[2]),
            ("src/a.rs", &format!("trait A {{ fn g(); }}{}", body(FUNCTION_LINES_MAX)), &[]),
            ("src/a.rs", &file(FILE_LINES_MAX), &[]),
            ("src/a.rs", &file(FILE_LINES_MAX + 1), &[FILE_LINES_MAX]),
            ("src/a/tests.rs", &file(FILE_LINES_MAX + 1), &[]),
        ],
    );
}

#[test]
fn finds_code_in_a_contents_page() {
    cases(
        mod_rs_is_a_contents_page,
        &[
            (
                "src/a/mod.rs",
                "//! Docs; here.\n\n#[cfg(test)]\nmod b;\n\npub(crate) use b::{C, D};\n",
                &[],
            ),
            ("src/a/mod.rs", "mod b;\n\nconst A: u8 = 1;", &[3]),
            ("src/a/mod.rs", "mod b;\n\n#[inline]\nfn f() {}", &[4]),
            ("src/a/mod.rs", "mod tests {\n    use super::b;\n}", &[1]),
            ("src/a/b.rs", "fn f() {}", &[]),
        ],
    );
}

#[test]
fn finds_what_is_put_off() {
    let note = concat!("\n// FIX", "ME: later");
    let stub = concat!("fn f() {\n    to", "do!()\n}\nfn g() { un", "implemented!(\"x\") }");
    let idle = concat!("#[", "ignore = \"slow\"]\nfn f() {}");
    cases(
        nothing_is_put_off,
        &[
            ("src/a.rs", note, &[2]),
            ("src/a.rs", stub, &[2, 4]),
            ("tests/a.rs", idle, &[1]),
            ("src/a.rs", "let todo = 1; // dbg!()\nlet ignore = !todo;", &[]),
            ("src/a.rs", "dbg!(1);", &[1]),
        ],
    );
}
