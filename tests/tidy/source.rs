//! A Rust file as the rules of `tidy` see it: its lines, its words, its paths, its functions.
//!
//! This is no parser. Comments and literals are blanked out, and what is left is read word by word,
//! which is enough for code that `rustfmt` has been over.

/// One file.
pub(crate) struct Source {
    /// From the root of the checkout, with `/`.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
    /// The same, byte for byte, with a space for every byte of a comment or literal but line ends.
    pub(crate) code: String,
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of `fn`, from 1.
    pub(crate) line: usize,
    /// From the line of `fn` to the line of the closing brace, both included.
    pub(crate) lines: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// The room that the file is in: the first name below `src`; none for `lib.rs`, `main.rs` and
    /// whatever is not in `src`.
    pub(crate) fn room(&self) -> Option<&str> {
        let first = self.path.strip_prefix("src/")?.split('/').next()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (!matches!(first, "lib.rs" | "main.rs")).then_some(name)
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// The words (names, keywords, numbers) of the code, with where each begins.
    pub(crate) fn words(&self) -> Vec<(usize, &str)> {
        let mut words = Vec::new();
        let mut rest = 0;
        while let Some(start) = self.code[rest..].find(is_word).map(|found| rest + found) {
            rest = start + word_length(&self.code[start..]);
            words.push((start, &self.code[start..rest]));
        }
        words
    }

    /// The code before a byte and after it, without the white space between.
    pub(crate) fn around(&self, start: usize, end: usize) -> (&str, &str) {
        (self.code[..start].trim_end(), self.code[end..].trim_start())
    }

    /// The paths that begin at a word: `a::{b, c::d}` is two of them.
    pub(crate) fn paths(&self, at: usize) -> Vec<Vec<&str>> {
        let mut paths = Vec::new();
        flatten(&self.code[at..], &[], &mut paths);
        paths
    }

    /// How many modules deep a byte of a room is, 1 at the room's own level.
    pub(crate) fn depth(&self, at: usize) -> usize {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let file = inside.split('/').filter(|&part| part != "mod.rs").count();
        let blocks = self.words().into_iter().filter(|&(start, word)| word == "mod" && start < at);
        let enclosing = blocks.filter(|&(start, _)| {
            let open = self.code[start..].find(['{', ';']).map(|found| start + found);
            open.is_some_and(|open| open < at && block_end(&self.code, open) > at)
        });
        file + enclosing.count()
    }

    /// The functions that have a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let starts = self.words().into_iter().filter(|&(_, word)| word == "fn");
        starts.filter_map(|(start, _)| self.function(start)).collect()
    }

    fn function(&self, start: usize) -> Option<Function> {
        let rest = self.code[start + 2..].trim_start();
        let name = &rest[..word_length(rest)];
        let open = body(&self.code, start).filter(|_| !name.is_empty())?;
        let line = self.line(start);
        let last = self.line(block_end(&self.code, open));
        Some(Function { name: name.to_owned(), line, lines: last - line + 1 })
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn word_length(text: &str) -> usize {
    text.find(|letter| !is_word(letter)).unwrap_or(text.len())
}

/// Where the body of the function at `start` opens; none for a declaration or a function pointer.
fn body(code: &str, start: usize) -> Option<usize> {
    let mut nesting = 0_i32;
    for (at, letter) in code[start..].char_indices() {
        match letter {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting -= 1,
            '{' if nesting == 0 => return Some(start + at),
            ';' if nesting == 0 => return None,
            _ => {}
        }
        if nesting < 0 {
            return None;
        }
    }
    None
}

/// Where the brace at `open` is closed, or `open` if there is none.
fn block_end(code: &str, open: usize) -> usize {
    let mut nesting = 0;
    for (at, letter) in code[open..].char_indices() {
        match letter {
            '{' => nesting += 1,
            '}' => nesting -= 1,
            _ => {}
        }
        if nesting == 0 {
            return open + at;
        }
    }
    code.len()
}

/// Reads one path or tree of paths, adds each to `paths`, and returns what follows it.
fn flatten<'code>(
    code: &'code str,
    before: &[&'code str],
    paths: &mut Vec<Vec<&'code str>>,
) -> &'code str {
    let mut path = before.to_vec();
    let mut rest = code.trim_start();
    loop {
        if let Some(mut group) = rest.strip_prefix('{') {
            while !group.trim_start().is_empty() && !group.trim_start().starts_with('}') {
                group = flatten(group, &path, paths).trim_start();
                group = group.find([',', '}']).map_or("", |end| &group[end..]);
                group = group.strip_prefix(',').unwrap_or(group);
            }
            return group.trim_start().strip_prefix('}').unwrap_or_default();
        }
        let end = word_length(rest).max(usize::from(rest.starts_with('*')));
        if end > 0 {
            path.push(&rest[..end]);
        }
        rest = rest[end..].trim_start();
        match rest.strip_prefix("::") {
            Some(next) => rest = next.trim_start(),
            None => break,
        }
    }
    paths.push(path);
    rest
}

/// Replaces every byte of a comment or literal, but line ends, by a space.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.chars().next_back().is_some_and(is_word);
        let length = literal(rest, after_word);
        let (taken, left) = rest.split_at(length.max(first.len_utf8()));
        match length {
            0 => code.push(first),
            _ => code.extend(taken.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' })),
        }
        rest = left;
    }
    code
}

/// The length of the comment or literal that `text` begins with, 0 if it begins with neither.
fn literal(text: &str, after_word: bool) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    if text.starts_with('"') {
        return quoted(text, '"');
    }
    if text.starts_with('\'') {
        return character(text);
    }
    let prefix = text.find(|letter| !matches!(letter, 'r' | 'b' | 'c')).unwrap_or(text.len());
    if prefix == 0 || prefix > 2 || after_word {
        return 0;
    }
    let rest = &text[prefix..];
    let hashes = rest.bytes().take_while(|&byte| byte == b'#').count();
    if text[..prefix].contains('r') && rest[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let inner = &rest[hashes + 1..];
        let length = inner.find(&end).map_or(inner.len(), |found| found + end.len());
        return prefix + hashes + 1 + length;
    }
    match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => prefix + quoted(rest, quote),
        _ => 0,
    }
}

fn block_comment(text: &str) -> usize {
    let (mut nesting, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match (rest.starts_with(b"/*"), rest.starts_with(b"*/")) {
            (true, _) => nesting += 1,
            (_, true) => nesting -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if nesting == 0 {
            return at;
        }
    }
    text.len()
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character literal; a lifetime (`'a`, without a second quote) has length 0.
fn character(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    let escaped = letters.next().is_some_and(|(_, letter)| letter == '\\');
    match letters.next() {
        _ if escaped => quoted(text, '\''),
        Some((at, '\'')) => at + 1,
        _ => 0,
    }
}
