//! Places in a page that is otherwise written by hand.

/// Puts `text` between the two marks of a place; an error if the page has no such place.
pub(super) fn fill(page: &str, name: &str, text: &str) -> Result<String, String> {
    let (begin, end) = (format!("<!-- peers:{name} -->\n"), format!("<!-- /peers:{name} -->"));
    let absent = || format!("there is no place {}...{end}", begin.trim_end());
    let (before, rest) = page.split_once(&begin).ok_or_else(absent)?;
    let (_, after) = rest.split_once(&end).ok_or_else(absent)?;
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "a\n<!-- peers:x -->\nold\n<!-- /peers:x -->\nb\n";

    #[test]
    fn replaces_what_is_between_the_marks_and_nothing_else() {
        let once = fill(PAGE, "x", "new\n").unwrap();
        assert_eq!(once, "a\n<!-- peers:x -->\n\nnew\n\n<!-- /peers:x -->\nb\n");
        assert_eq!(fill(&once, "x", "new\n").unwrap(), once);
    }

    #[test]
    fn refuses_a_page_without_the_place() {
        assert!(fill(PAGE, "y", "new").is_err());
        assert!(fill("<!-- peers:x -->\n", "x", "new").is_err());
    }
}
