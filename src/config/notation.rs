//! Notations: what may be written behind a key, how it is read, and how the schema describes it.
//!
//! A notation reports what is wrong with a value itself, and says `None`, so that its neighbours are read all the same.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::node::{Kind, Node};
use crate::config::table::Table;
use crate::config::units::{parse_duration, parse_size, show_duration, show_size};
use crate::config::{At, Finding, Place, Report, did_you_mean};

/// A way to write a value.
pub(crate) trait Notation {
    /// What is read.
    type Value;

    /// Reads a value; what is wrong with it is in the report when there is none.
    fn read(&self, node: &Node, report: &mut Report) -> Option<Self::Value>;

    /// How the value would be written, for the schema's defaults; `None` if that would tell nobody anything.
    fn show(&self, value: &Self::Value) -> Option<Json>;

    /// The JSON Schema of what may be written.
    fn schema(&self) -> Json;
}

/// Reports a value of the wrong type. A string in its place may be a secret that somebody put there, so it is masked.
pub(crate) fn expected(what: &str, node: &Node, report: &mut Report) {
    report.mask_text(node);
    report.add(Finding::error(node.place, format!("expected {what}, found {}", node.kind.name())));
}

/// A text with a meaning: what it is, how it is read and written back.
pub(crate) struct Parsed<T> {
    /// With an article, for "expected …".
    pub(crate) what: &'static str,
    /// Reads it, or says what is wrong in a sentence.
    pub(crate) parse: fn(&str) -> Result<T, String>,
    /// Writes it.
    pub(crate) show: fn(&T) -> String,
}

impl<T> Notation for Parsed<T> {
    type Value = T;

    fn read(&self, node: &Node, report: &mut Report) -> Option<T> {
        let Kind::Text(text) = &node.kind else {
            expected(self.what, node, report);
            return None;
        };
        (self.parse)(text).map_err(|complaint| report.add(Finding::error(node.place, complaint))).ok()
    }

    fn show(&self, value: &T) -> Option<Json> {
        Some((self.show)(value).into())
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

/// A length of time between two bounds, such as `"25s"`.
pub(crate) struct Lasting(pub(crate) RangeInclusive<Duration>);

impl Notation for Lasting {
    type Value = Duration;

    fn read(&self, node: &Node, report: &mut Report) -> Option<Duration> {
        let Kind::Text(text) = &node.kind else {
            expected("a duration such as \"30s\"", node, report);
            return None;
        };
        let Some(duration) = parse_duration(text) else {
            let title = format!("`{text}` is not a duration");
            report
                .add(Finding::error(node.place, title).help("write numbers with units: \"250ms\", \"30s\", \"1h30m\", \"7d\""));
            return None;
        };
        bounded(duration, &self.0, |duration| show_duration(*duration), node.place, report)
    }

    fn show(&self, value: &Duration) -> Option<Json> {
        Some(show_duration(*value).into())
    }

    fn schema(&self) -> Json {
        let bounds = format!("{} to {}", show_duration(*self.0.start()), show_duration(*self.0.end()));
        json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$", "$comment": bounds })
    }
}

/// A number of bytes between two bounds, such as `"16KiB"`.
pub(crate) struct Bytes(pub(crate) RangeInclusive<u64>);

impl Notation for Bytes {
    type Value = u64;

    fn read(&self, node: &Node, report: &mut Report) -> Option<u64> {
        let Kind::Text(text) = &node.kind else {
            expected("a size such as \"16KiB\"", node, report);
            return None;
        };
        let Some(size) = parse_size(text) else {
            let title = format!("`{text}` is not a size");
            report.add(
                Finding::error(node.place, title).help("write a number with a unit: \"512B\", \"16KiB\", \"10MiB\", \"1GiB\""),
            );
            return None;
        };
        bounded(size, &self.0, |size| show_size(*size), node.place, report)
    }

    fn show(&self, value: &u64) -> Option<Json> {
        Some(show_size(*value).into())
    }

    fn schema(&self) -> Json {
        let bounds = format!("{} to {}", show_size(*self.0.start()), show_size(*self.0.end()));
        json!({ "type": "string", "pattern": "^([0-9]+(B|KiB|MiB|GiB))+$", "$comment": bounds })
    }
}

/// A whole number between two bounds.
pub(crate) struct Whole<T>(pub(crate) RangeInclusive<T>);

impl<T> Notation for Whole<T>
where
    T: Copy + PartialOrd + fmt::Display + TryFrom<i64> + Into<Json>,
{
    type Value = T;

    fn read(&self, node: &Node, report: &mut Report) -> Option<T> {
        let Kind::Whole(number) = node.kind else {
            expected("a whole number", node, report);
            return None;
        };
        match T::try_from(number) {
            Ok(number) => bounded(number, &self.0, ToString::to_string, node.place, report),
            Err(_) => {
                report.add(out_of_bounds(node.place, &number.to_string(), &self.0, ToString::to_string));
                None
            }
        }
    }

    fn show(&self, value: &T) -> Option<Json> {
        Some((*value).into())
    }

    fn schema(&self) -> Json {
        json!({ "type": "integer", "minimum": (*self.0.start()).into(), "maximum": (*self.0.end()).into() })
    }
}

fn bounded<T: PartialOrd>(
    value: T,
    bounds: &RangeInclusive<T>,
    show: impl Fn(&T) -> String,
    place: Place,
    report: &mut Report,
) -> Option<T> {
    if bounds.contains(&value) {
        return Some(value);
    }
    report.add(out_of_bounds(place, &show(&value), bounds, show));
    None
}

fn out_of_bounds<T>(place: Place, written: &str, bounds: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> Finding {
    let (least, most) = (show(bounds.start()), show(bounds.end()));
    Finding::error(place, format!("{written} is out of bounds")).label(format!("between {least} and {most}"))
}

/// `true` or `false`.
pub(crate) struct Flag;

impl Notation for Flag {
    type Value = bool;

    fn read(&self, node: &Node, report: &mut Report) -> Option<bool> {
        if let Kind::Flag(flag) = node.kind {
            return Some(flag);
        }
        expected("true or false", node, report);
        None
    }

    fn show(&self, value: &bool) -> Option<Json> {
        Some((*value).into())
    }

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }
}

/// One of a few words.
pub(crate) struct Word<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T> Word<T> {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }

    fn listed(&self) -> String {
        self.names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    }
}

impl<T: Clone + PartialEq> Notation for Word<T> {
    type Value = T;

    fn read(&self, node: &Node, report: &mut Report) -> Option<T> {
        let Kind::Text(text) = &node.kind else {
            expected(&format!("one of {}", self.listed()), node, report);
            return None;
        };
        let found = self.0.iter().find(|(name, _)| **name == **text).map(|(_, value)| value.clone());
        if found.is_none() {
            let finding = Finding::error(node.place, format!("`{text}` is not known here"));
            report.add(finding.label(format!("one of {}", self.listed())).suggest(did_you_mean(text, self.names())));
        }
        found
    }

    fn show(&self, value: &T) -> Option<Json> {
        self.0.iter().find(|(_, known)| known == value).map(|(name, _)| (*name).into())
    }

    fn schema(&self) -> Json {
        json!({ "enum": self.names().collect::<Vec<_>>() })
    }
}

/// A list, each element in the same notation. An element that cannot be read is left out, once it is reported.
pub(crate) struct List<N>(pub(crate) N);

impl<N: Notation> Notation for List<N> {
    type Value = Vec<N::Value>;

    fn read(&self, node: &Node, report: &mut Report) -> Option<Vec<N::Value>> {
        let Kind::List(items) = &node.kind else {
            expected("a list", node, report);
            return None;
        };
        Some(items.iter().filter_map(|item| self.0.read(item, report)).collect())
    }

    fn show(&self, value: &Vec<N::Value>) -> Option<Json> {
        value.iter().map(|item| self.0.show(item)).collect()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": self.0.schema() })
    }
}

/// A list with at least one element, because an empty list must never mean "allowed".
pub(crate) struct Filled<N>(pub(crate) N);

impl<N: Notation> Notation for Filled<N> {
    type Value = Vec<N::Value>;

    fn read(&self, node: &Node, report: &mut Report) -> Option<Vec<N::Value>> {
        if matches!(&node.kind, Kind::List(items) if items.is_empty()) {
            report.add(Finding::error(node.place, "the list is empty").help("leave the key out, or name at least one"));
            return None;
        }
        let read = List(&self.0).read(node, report)?;
        (!read.is_empty()).then_some(read)
    }

    fn show(&self, value: &Vec<N::Value>) -> Option<Json> {
        List(&self.0).show(value)
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": self.0.schema(), "minItems": 1 })
    }
}

impl<N: Notation> Notation for &N {
    type Value = N::Value;

    fn read(&self, node: &Node, report: &mut Report) -> Option<N::Value> {
        (*self).read(node, report)
    }

    fn show(&self, value: &N::Value) -> Option<Json> {
        (*self).show(value)
    }

    fn schema(&self) -> Json {
        (*self).schema()
    }
}

/// The same, with its place.
pub(crate) struct Placed<N>(pub(crate) N);

impl<N: Notation> Notation for Placed<N> {
    type Value = At<N::Value>;

    fn read(&self, node: &Node, report: &mut Report) -> Option<At<N::Value>> {
        self.0.read(node, report).map(|value| At::written(value, node.place))
    }

    fn show(&self, value: &At<N::Value>) -> Option<Json> {
        self.0.show(&value.value)
    }

    fn schema(&self) -> Json {
        self.0.schema()
    }
}

/// A string in one notation, anything else in another.
pub(crate) struct Either<S, O> {
    /// What a string means.
    pub(crate) text: S,
    /// What anything else means.
    pub(crate) other: O,
}

impl<S, O> Notation for Either<S, O>
where
    S: Notation,
    O: Notation<Value = S::Value>,
{
    type Value = S::Value;

    fn read(&self, node: &Node, report: &mut Report) -> Option<S::Value> {
        if matches!(node.kind, Kind::Text(_)) { self.text.read(node, report) } else { self.other.read(node, report) }
    }

    fn show(&self, value: &S::Value) -> Option<Json> {
        self.text.show(value).or_else(|| self.other.show(value))
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [self.text.schema(), self.other.schema()] })
    }
}

/// A notation whose value becomes another.
pub(crate) struct Mapped<N, F> {
    /// How it is written.
    pub(crate) notation: N,
    /// What it becomes.
    pub(crate) into: F,
}

impl<N: Notation, T, F: Fn(N::Value) -> T> Notation for Mapped<N, F> {
    type Value = T;

    fn read(&self, node: &Node, report: &mut Report) -> Option<T> {
        self.notation.read(node, report).map(&self.into)
    }

    fn show(&self, _: &T) -> Option<Json> {
        None
    }

    fn schema(&self) -> Json {
        self.notation.schema()
    }
}

/// A table with fixed keys, read by a function that names each of them once.
pub(crate) struct Keys<F>(pub(crate) F);

impl<T, F: Fn(&mut Table<'_>) -> T> Notation for Keys<F> {
    type Value = T;

    fn read(&self, node: &Node, report: &mut Report) -> Option<T> {
        let Kind::Table(entries) = &node.kind else {
            expected("a table", node, report);
            return None;
        };
        let mut table = Table::reading(node.place, entries, report);
        let value = (self.0)(&mut table);
        table.refuse_the_rest();
        Some(value)
    }

    fn show(&self, _: &T) -> Option<Json> {
        None
    }

    fn schema(&self) -> Json {
        Table::describe(&self.0)
    }
}

/// A table whose keys are names that somebody chose.
pub(crate) struct Names<N> {
    /// What a name may be.
    pub(crate) name: Parsed<String>,
    /// What stands behind each.
    pub(crate) value: N,
}

/// A thing with the name that somebody chose for it.
#[derive(Clone, Debug)]
pub(crate) struct Named<T> {
    /// The name.
    pub(crate) name: At<String>,
    /// The thing, at its header.
    pub(crate) value: T,
}

impl<N: Notation> Notation for Names<N> {
    type Value = Vec<Named<N::Value>>;

    fn read(&self, node: &Node, report: &mut Report) -> Option<Self::Value> {
        let Kind::Table(entries) = &node.kind else {
            expected("a table", node, report);
            return None;
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = (self.name.parse)(&entry.key).map_err(|complaint| report.add(Finding::error(entry.place, complaint)));
            let value = self.value.read(&entry.value, report);
            if let (Ok(name), Some(value)) = (name, value) {
                all.push(Named { name: At::written(name, entry.place), value });
            }
        }
        Some(all)
    }

    fn show(&self, _: &Self::Value) -> Option<Json> {
        None
    }

    fn schema(&self) -> Json {
        json!({ "type": "object", "additionalProperties": self.value.schema() })
    }
}
