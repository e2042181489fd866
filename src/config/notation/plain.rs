//! Notations of single values: texts, durations, sizes, numbers, words.
//!
//! Each refuses nonsense where it stands, so that nothing behind it has to check again.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::node::{Kind, Node};
use crate::config::notation::{Notation, expected};
use crate::config::units::{parse_duration, parse_size, show_duration, show_size};
use crate::config::{Finding, Place, Report, did_you_mean};

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
        let Ok(fitting) = T::try_from(number) else {
            report.add(out_of_bounds(node.place, &number.to_string(), &self.0, ToString::to_string));
            return None;
        };
        bounded(fitting, &self.0, ToString::to_string, node.place, report)
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
