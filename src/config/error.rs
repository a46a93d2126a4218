//! Why there is no configuration.

use std::fmt;
use std::path::PathBuf;

/// Why a file gave no [`Config`](super::Config).
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}: {problem}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why not, and what to do.
        problem: String,
    },
    /// The file was read, and this is wrong with it.
    #[error("{}", Listed(mistakes))]
    Wrong {
        /// Every mistake, in the order of the file; at least one.
        mistakes: Vec<Mistake>,
    },
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
    /// The line with the culprit underlined, if it is fit to be shown.
    pub excerpt: Option<Excerpt>,
}

/// A source line and what to underline in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// The line, without anything a terminal would obey.
    pub text: String,
    /// White space as wide as what stands before the culprit.
    pub indent: String,
    /// How many characters to underline; at least one.
    pub width: usize,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, excerpt } = self;
        write!(f, "{file}:{line}:{column}: {message}")?;
        let Some(Excerpt { text, indent, width }) = excerpt else { return Ok(()) };
        let number = line.to_string();
        let gap = " ".repeat(number.len());
        let marks = "^".repeat(*width);
        write!(f, "\n{gap} |\n{number} | {text}\n{gap} | {indent}{marks}")
    }
}

/// The mistakes one below the other, and their number.
struct Listed<'a>(&'a [Mistake]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in self.0 {
            writeln!(f, "{mistake}\n")?;
        }
        let file = self.0.first().map_or("", |mistake| &mistake.file);
        let count = self.0.len();
        let noun = if count == 1 { "error" } else { "errors" };
        write!(f, "{file}: {count} {noun}, nothing was applied")
    }
}
