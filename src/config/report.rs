//! The mistakes of a file, collected while it is read.

use std::collections::BTreeSet;
use std::ops::Range;

use super::error::{Excerpt, Mistake};

/// Longer lines are not shown below a mistake.
const EXCERPT_CHARS_MAX: usize = 160;

/// How the parser's complaint begins when it takes a line for an item of a list left open: the rest
/// of the file would be one such complaint a line.
const SWALLOWED: &str = "missing comma between array elements";

/// What is wrong with a text so far.
pub(super) struct Report<'s> {
    file: &'s str,
    source: &'s str,
    /// The offset at which each line starts.
    lines: Vec<usize>,
    /// The lines that are no TOML, from 0: what was read from them is not to be trusted.
    garbled: BTreeSet<usize>,
    mistakes: Vec<(Range<usize>, String)>,
}

impl<'s> Report<'s> {
    pub(super) fn new(file: &'s str, source: &'s str) -> Self {
        let breaks = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Self { file, source, lines, garbled: BTreeSet::new(), mistakes: Vec::new() }
    }

    /// What stands at `at` is wrong.
    pub(super) fn wrong(&mut self, at: &Range<usize>, message: impl Into<String>) {
        if !self.garbled.contains(&self.row(at.start)) {
            self.mistakes.push((at.clone(), message.into()));
        }
    }

    /// Something is missing from what stands at `at`. Silent after a syntax error, which may have
    /// swallowed it.
    pub(super) fn missing(&mut self, at: &Range<usize>, message: impl Into<String>) {
        if self.garbled.is_empty() {
            self.wrong(at, message);
        }
    }

    /// What stands at `at` is no TOML. Once a line: what follows on it is usually a consequence.
    pub(super) fn garbled(&mut self, at: &Range<usize>, message: &str) {
        let swallowed = message.starts_with(SWALLOWED) && self.follows_garbled(at.start);
        if self.garbled.insert(self.row(at.start)) && !swallowed {
            let hint =
                if message.starts_with(SWALLOWED) { ", or `]` to close the list" } else { "" };
            self.mistakes.push((at.clone(), format!("{message}{hint}")));
        }
    }

    /// Whether the line before, blank ones aside, is no TOML.
    fn follows_garbled(&self, offset: usize) -> bool {
        let row = self.row(offset);
        let Some(before) = self.garbled.range(..row).next_back() else { return false };
        self.source[self.lines[before + 1]..self.lines[row]].trim().is_empty()
    }

    /// The line of an offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.row(offset) + 1
    }

    /// All that is wrong, in the order of the file.
    pub(super) fn finish(mut self) -> Vec<Mistake> {
        self.mistakes.sort_by_key(|(at, _)| at.start);
        self.mistakes.iter().map(|(at, message)| self.locate(at, message)).collect()
    }

    fn row(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset) - 1
    }

    fn locate(&self, at: &Range<usize>, message: &str) -> Mistake {
        let row = self.row(at.start);
        let rest = &self.source[self.lines[row]..];
        let text = rest.split('\n').next().unwrap_or_default().trim_end();
        let first = chars_before(text, at.start - self.lines[row]);
        let last = chars_before(text, at.end.saturating_sub(self.lines[row]));
        let (column, width) = (first + 1, last.saturating_sub(first).max(1));
        let shown = text.chars().count() <= EXCERPT_CHARS_MAX && !text.is_empty();
        let excerpt = shown.then(|| Excerpt {
            text: text.chars().map(harmless).collect(),
            indent: text.chars().take(first).map(blank).collect(),
            width,
        });
        let message = message.chars().map(harmless).collect();
        Mistake { file: self.file.to_owned(), line: row + 1, column, message, excerpt }
    }
}

/// How many characters of `text` start before byte `offset`.
fn chars_before(text: &str, offset: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < offset).count()
}

/// Nothing from a file may steer the terminal that shows it.
fn harmless(char: char) -> char {
    if char.is_control() && char != '\t' { char::REPLACEMENT_CHARACTER } else { char }
}

fn blank(char: char) -> char {
    if char == '\t' { '\t' } else { ' ' }
}
