//! From figures to pages: a pure step, which can be done again from the file of figures.

mod chart;
mod place;
mod table;
mod target;

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure};
use crate::results::Results;

/// The page, its charts, and the figures they are made of, below `docs`.
const PAGE: &str = "BENCHMARKS.md";
const CHARTS: &str = "benchmarks";
const FIGURES: &str = "results.json";

/// One part of the page: the name of its place, and what goes there.
struct Section {
    name: &'static str,
    text: String,
}

/// Puts the tables into their places in the documentation, and charts and figures beside them.
pub(crate) fn publish(results: &Results, docs: &Path) -> Result<PathBuf, Failure> {
    let file = docs.join(PAGE);
    let mut page = fs::read_to_string(&file).doing(format!("reading {}", file.display()))?;
    for section in sections(results) {
        page = place::fill(&page, section.name, &section.text)
            .map_err(|what| Failure::Build(format!("{}: {what}", file.display())))?;
    }
    write(&file, &page)?;
    charts(results, &docs.join(CHARTS))?;
    results.save(&docs.join(CHARTS).join(FIGURES))?;
    Ok(file)
}

/// Writes a page of tables only, with its charts, into a folder.
pub(crate) fn keep(results: &Results, folder: &Path) -> Result<PathBuf, Failure> {
    let sections = sections(results);
    let sections = sections.iter().map(|it| format!("\n## {}\n\n{}", it.name, it.text));
    let page = format!("# Peers\n{}", sections.collect::<String>());
    charts(results, &folder.join(CHARTS))?;
    let file = folder.join("report.md");
    write(&file, &page)?;
    Ok(file)
}

fn sections(results: &Results) -> Vec<Section> {
    let mut sections = table::all(results);
    sections.push(Section { name: "targets", text: target::table(results) });
    sections
}

fn charts(results: &Results, folder: &Path) -> Result<(), Failure> {
    for (name, svg) in chart::all(results) {
        write(&folder.join(name), &svg)?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let doing = || format!("writing {}", file.display());
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).doing(doing())?;
    }
    fs::write(file, text).doing(doing())
}
