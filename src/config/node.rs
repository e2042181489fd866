//! The file as a tree of values with their places.
//!
//! The only file that knows the `toml` crate: another notation would be another `parse` into the same tree.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

/// Where something stands in the file: a range of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Place {
    start: usize,
    end: usize,
}

impl Place {
    /// The range of bytes.
    pub(crate) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

impl From<Range<usize>> for Place {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end.max(range.start) }
    }
}

/// A value and its place. What was not written stands where it could have been: at the header of its table.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it was written, or the header of the table that leaves it out.
    pub(crate) place: Place,
    /// Whether it was written at all, rather than left to its default.
    pub(crate) written: bool,
}

impl<T> At<T> {
    /// A value that stands in the file.
    pub(crate) fn written(value: T, place: Place) -> Self {
        Self { value, place, written: true }
    }

    /// A default, missing from the table whose header is at `place`.
    pub(crate) fn default(value: T, place: Place) -> Self {
        Self { value, place, written: false }
    }
}

/// A value as the file has it.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where it stands; of a table with a header, the header.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a value is, as far as the notation of the file tells.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A string.
    Text(Box<str>),
    /// A whole number that fits.
    Whole(i64),
    /// `true` or `false`.
    Flag(bool),
    /// An array.
    List(Vec<Node>),
    /// A table, inline or under a header; its entries in the order of the file.
    Table(Vec<Entry>),
    /// Something that no key of ours takes; holds its name with an article.
    Other(&'static str),
}

/// A key and its value.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The key, unquoted.
    pub(crate) key: Box<str>,
    /// Where the key stands.
    pub(crate) place: Place,
    /// The value.
    pub(crate) value: Node,
}

impl Kind {
    /// What the value is called in a report.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Whole(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }
}

/// A place at which the text is no TOML, and why.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    /// What is wrong, in the parser's words.
    pub(crate) message: String,
    /// Where.
    pub(crate) place: Place,
}

/// Reads TOML 1.1.
///
/// # Errors
/// Every place at which the text is no TOML; the parser goes on behind each.
pub(crate) fn parse(text: &str) -> Result<Node, Vec<SyntaxError>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let entries = entries(root.into_inner());
        return Ok(Node { place: Place::default(), kind: Kind::Table(entries) });
    }
    Err(errors.iter().map(|error| syntax_error(error, text)).collect())
}

fn syntax_error(error: &Error, text: &str) -> SyntaxError {
    let end = text.trim_end().len();
    SyntaxError { message: error.message().to_owned(), place: error.span().unwrap_or(end..end).into() }
}

fn entries(table: DeTable<'_>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry { place: key.span().into(), key: key.into_inner().into(), value: node(value) })
        .collect();
    entries.sort_by_key(|entry| entry.place);
    entries
}

fn node(value: Spanned<DeValue<'_>>) -> Node {
    let place = value.span().into();
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Text(text.into()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Kind::Other("a number beyond all bounds"), Kind::Whole)
        }
        DeValue::Float(_) => Kind::Other("a fraction"),
        DeValue::Boolean(flag) => Kind::Flag(flag),
        DeValue::Datetime(_) => Kind::Other("a date"),
        DeValue::Array(items) => Kind::List(items.into_iter().map(node).collect()),
        DeValue::Table(table) => Kind::Table(entries(table)),
    };
    Node { place, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_the_order_of_the_file_and_tables_stand_at_their_headers() {
        let text = "z = 1\na = \"x\"\n[later]\nk = [true]\n";
        let Kind::Table(entries) = parse(text).unwrap().kind else { panic!("the root is a table") };
        let seen: Vec<_> = entries.iter().map(|e| (&*e.key, &text[e.place.range()], &text[e.value.place.range()])).collect();
        assert_eq!(seen, [("z", "z", "1"), ("a", "a", "\"x\""), ("later", "later", "[later]")]);
    }

    #[test]
    fn the_parser_goes_on_behind_a_syntax_error_and_reports_the_next_one_too() {
        let text = "a = yes\nb = 1\nc = \"open\n";
        let errors = parse(text).unwrap_err();
        let lines: Vec<_> = errors.iter().map(|error| text[..error.place.range().start].matches('\n').count()).collect();
        assert_eq!(lines, [0, 2]);
    }
}
