//! Tables and values that know their places, read strictly.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::report::Report;
use super::unit::{DURATION, SIZE, Unit};

/// A table of which every key is known.
pub(super) struct Table<'a> {
    fields: &'a DeTable<'a>,
    /// Where it begins: its header, or its brace.
    pub at: Range<usize>,
}

/// A value, and what it is called in a message.
pub(super) struct Entry<'a> {
    label: String,
    /// Where the value stands.
    pub at: Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Table<'a> {
    /// The table at the top of a file. Reports every key that is not `known`.
    pub(super) fn root(fields: &'a DeTable<'a>, known: &[&str], report: &mut Report) -> Self {
        let table = Self { fields, at: 0..0 };
        table.refuse_unknown(known, report);
        table
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<Entry<'a>> {
        let value = self.fields.get(key)?;
        Some(Entry { label: format!("`{key}`"), at: value.span(), value: value.get_ref() })
    }

    /// The value of a key that must be there.
    pub(super) fn need(&self, key: &str, example: &str, report: &mut Report) -> Option<Entry<'a>> {
        let entry = self.get(key);
        if entry.is_none() {
            report.missing(&self.at, format!("`{key}` is missing: add {example}"));
        }
        entry
    }

    /// Every key with its place, and its value, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'a str, Range<usize>, Entry<'a>)> {
        let entry = |(key, value): (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)| {
            let label = format!("`{key}`");
            let entry = Entry { label, at: value.span(), value: value.get_ref() };
            (key.get_ref().as_ref(), key.span(), entry)
        };
        let mut entries: Vec<_> = self.fields.iter().map(entry).collect();
        entries.sort_by_key(|(_, at, _)| at.start);
        entries
    }

    /// A duration within bounds in milliseconds.
    pub(super) fn duration(
        &self,
        key: &str,
        bounds: RangeInclusive<u64>,
        report: &mut Report,
    ) -> Option<Duration> {
        self.quantity(key, &DURATION, bounds, report).map(Duration::from_millis)
    }

    /// A size within bounds in bytes.
    pub(super) fn size<N: TryFrom<u64>>(
        &self,
        key: &str,
        bounds: RangeInclusive<u64>,
        report: &mut Report,
    ) -> Option<N> {
        let bytes = self.quantity(key, &SIZE, bounds, report)?;
        N::try_from(bytes).ok()
    }

    /// A plain number within bounds, or `base` if there is none.
    pub(super) fn count<N: TryFrom<i64> + PartialOrd + Display>(
        &self,
        key: &str,
        bounds: RangeInclusive<N>,
        base: N,
        report: &mut Report,
    ) -> N {
        let Some(entry) = self.get(key) else { return base };
        let Some(number) = entry.integer(report) else { return base };
        let count = N::try_from(number).ok().filter(|count| bounds.contains(count));
        if count.is_none() {
            let (least, most) = bounds.into_inner();
            entry.wrong(format!("must be between {least} and {most}, not {number}"), report);
        }
        count.unwrap_or(base)
    }

    fn quantity(
        &self,
        key: &str,
        unit: &Unit,
        bounds: RangeInclusive<u64>,
        report: &mut Report,
    ) -> Option<u64> {
        let entry = self.get(key)?;
        let text = match entry.value {
            DeValue::String(text) => text,
            DeValue::Integer(number) => {
                let expected = unit.expected();
                entry.wrong(format!("needs a unit: {expected}, not {number}"), report);
                return None;
            }
            _ => return entry.mismatch(&unit.expected(), report),
        };
        let amount = entry.checked(unit.parse(text), report)?;
        if bounds.contains(&amount) {
            return Some(amount);
        }
        let (least, most) = (unit.show(*bounds.start()), unit.show(*bounds.end()));
        entry.wrong(format!("must be between {least} and {most}, not {text}"), report);
        None
    }

    fn refuse_unknown(&self, known: &[&str], report: &mut Report) {
        for (key, at, _) in self.entries() {
            if known.contains(&key) {
                continue;
            }
            let hint = match nearest(key, known.iter().copied()) {
                Some(near) => format!(" (did you mean `{near}`?)"),
                None if known.is_empty() => ": this table must be empty".to_owned(),
                None => format!(": known here are {}", known.join(", ")),
            };
            report.wrong(&at, format!("unknown key `{key}`{hint}"));
        }
    }
}

impl<'a> Entry<'a> {
    /// Says of this value that it `message`s.
    pub(super) fn wrong(&self, message: impl Display, report: &mut Report) {
        report.wrong(&self.at, format!("{} {message}", self.label));
    }

    /// The value of a check, or its complaint.
    pub(super) fn checked<T, E: Display>(
        &self,
        result: Result<T, E>,
        report: &mut Report,
    ) -> Option<T> {
        result.map_err(|problem| report.wrong(&self.at, problem.to_string())).ok()
    }

    pub(super) fn text(&self, report: &mut Report) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => self.mismatch("a string", report),
        }
    }

    /// What the value means, which must be one of these words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)], report: &mut Report) -> Option<T> {
        let expected = alternatives(words.iter().map(|(word, _)| *word));
        let DeValue::String(text) = self.value else { return self.mismatch(&expected, report) };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| word == text) {
            return Some(*meaning);
        }
        let near = nearest(text, words.iter().map(|(word, _)| *word));
        let hint = near.map(|word| format!(" (did you mean `{word}`?)")).unwrap_or_default();
        self.wrong(format!("must be {expected}, not `{text}`{hint}"), report);
        None
    }

    pub(super) fn truth(&self, report: &mut Report) -> Option<bool> {
        match self.value {
            DeValue::Boolean(truth) => Some(*truth),
            _ => self.mismatch("true or false", report),
        }
    }

    pub(super) fn integer(&self, report: &mut Report) -> Option<i64> {
        let DeValue::Integer(number) = self.value else {
            return self.mismatch("a whole number", report);
        };
        let value = i64::from_str_radix(number.as_str(), number.radix());
        self.checked(value.map_err(|_| format!("{number} is too large")), report)
    }

    /// The items of a list, which must be strings and at least one.
    pub(super) fn texts(&self, example: &str, report: &mut Report) -> Vec<(Self, &'a str)> {
        let items = self.list(&format!("a list such as {example}"), report);
        if items.as_ref().is_some_and(Vec::is_empty) {
            self.wrong(format!("is empty: write a list such as {example}"), report);
        }
        let items = items.into_iter().flatten();
        items.filter_map(|item| item.text(report).map(|text| (item, text))).collect()
    }

    /// The items of a list of strings, which may be empty.
    pub(super) fn any_texts(&self, example: &str, report: &mut Report) -> Vec<String> {
        let items = self.items(example, report).into_iter();
        items.filter_map(|item| item.text(report).map(str::to_owned)).collect()
    }

    /// The items of a list, which may be empty.
    pub(super) fn items(&self, example: &str, report: &mut Report) -> Vec<Self> {
        self.list(&format!("a list such as {example}"), report).unwrap_or_default()
    }

    /// The tables of a list of tables, each written as `header`; at least one.
    pub(super) fn tables(
        &self,
        header: &str,
        known: &[&str],
        report: &mut Report,
    ) -> Vec<Table<'a>> {
        let items = self.list(&format!("a list of tables: write {header}"), report);
        if items.as_ref().is_some_and(Vec::is_empty) {
            self.wrong(format!("is empty: add {header}"), report);
        }
        let items = items.into_iter().flatten();
        items.filter_map(|item| item.table(known, report)).collect()
    }

    /// The table that this value is. Reports every key that is not `known`.
    pub(super) fn table(&self, known: &[&str], report: &mut Report) -> Option<Table<'a>> {
        let table = self.any_table(report)?;
        table.refuse_unknown(known, report);
        Some(table)
    }

    /// The table that this value is, whatever its keys.
    pub(super) fn any_table(&self, report: &mut Report) -> Option<Table<'a>> {
        let DeValue::Table(fields) = self.value else { return self.mismatch("a table", report) };
        Some(Table { fields, at: self.at.clone() })
    }

    /// The table that this value is, if it is one; somebody else says so if not.
    pub(super) fn as_table(&self) -> Option<Table<'a>> {
        let DeValue::Table(fields) = self.value else { return None };
        Some(Table { fields, at: self.at.clone() })
    }

    pub(super) fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    pub(super) fn mismatch<T>(&self, expected: &str, report: &mut Report) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong(format!("must be {expected}, not {found}"), report);
        None
    }

    fn list(&self, expected: &str, report: &mut Report) -> Option<Vec<Self>> {
        let DeValue::Array(items) = self.value else { return self.mismatch(expected, report) };
        let label = format!("an item of {}", self.label);
        let entry = |item: &'a Spanned<DeValue<'a>>| Self {
            label: label.clone(),
            at: item.span(),
            value: item.get_ref(),
        };
        Some(items.iter().map(entry).collect())
    }
}

/// Words as a message lists them: `"a", "b" or "c"`.
fn alternatives<'k>(words: impl Iterator<Item = &'k str>) -> String {
    let quoted: Vec<_> = words.map(|word| format!("\"{word}\"")).collect();
    match quoted.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// The known word that `word` was probably meant to be.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let folded = word.trim().to_ascii_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&folded, &name.to_ascii_lowercase());
    // A third of the letters may be wrong, one of them even in a short word, but never all.
    let near = |distance: usize, name: &str| {
        let (short, long) = (name.len().min(folded.len()), name.len().max(folded.len()));
        distance <= (long / 3).max(1) && distance < short
    };
    let names = known.map(|name| (distance(name), name));
    let names = names.filter(|(distance, name)| *distance == 0 || near(*distance, name));
    names.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}
