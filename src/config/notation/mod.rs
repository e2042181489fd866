//! Notations: what may be written behind a key, how it is read, and how the schema describes it.
//!
//! A notation reports what is wrong with a value itself, and says `None`, so that its neighbours are read all the same.
//! Deliberately absent: what the values mean to each other, which is for `plan::compile` to say.

mod compound;
mod plain;

use serde_json::Value as Json;

pub(crate) use compound::{Either, Filled, Keys, List, Mapped, Named, Names, OneOrMore, OrOff, Placed};
pub(crate) use plain::{Bytes, Flag, Lasting, Parsed, Whole, Word};

use crate::config::node::Node;
use crate::config::{Finding, Report};

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

/// Reports a value of the wrong type.
pub(crate) fn expected(what: &str, node: &Node, report: &mut Report) {
    report.add(Finding::error(node.place, format!("expected {what}, found {}", node.kind.name())));
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
