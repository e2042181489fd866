//! Notations made of others: lists, tables with fixed keys, tables of names, alternatives.

use serde_json::{Value as Json, json};

use crate::config::node::{Kind, Node};
use crate::config::notation::{Notation, Parsed, expected};
use crate::config::table::Table;
use crate::config::{At, Finding, Report};

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
            report.add(
                Finding::error(node.place, "the list is empty")
                    .help("name at least one; an empty list never means that everything is allowed"),
            );
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

/// One, or a list of them that is not empty.
pub(crate) struct OneOrMore<N>(pub(crate) N);

impl<N: Notation> Notation for OneOrMore<N> {
    type Value = Vec<N::Value>;

    fn read(&self, node: &Node, report: &mut Report) -> Option<Vec<N::Value>> {
        match node.kind {
            Kind::List(_) => Filled(&self.0).read(node, report),
            Kind::Text(_) | Kind::Whole(_) | Kind::Flag(_) | Kind::Table(_) | Kind::Other(_) => {
                self.0.read(node, report).map(|one| vec![one])
            }
        }
    }

    fn show(&self, value: &Vec<N::Value>) -> Option<Json> {
        Filled(&self.0).show(value)
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [self.0.schema(), Filled(&self.0).schema()] })
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
    /// How anything else is written, for whoever wrote a string that means nothing.
    pub(crate) example: &'static str,
}

impl<S, O> Notation for Either<S, O>
where
    S: Notation,
    O: Notation<Value = S::Value>,
{
    type Value = S::Value;

    fn read(&self, node: &Node, report: &mut Report) -> Option<S::Value> {
        if !matches!(node.kind, Kind::Text(_)) {
            return self.other.read(node, report);
        }
        let value = self.text.read(node, report);
        if value.is_none() {
            report.help_with_last(&format!("or write {}", self.example));
        }
        value
    }

    fn show(&self, value: &S::Value) -> Option<Json> {
        self.text.show(value).or_else(|| self.other.show(value))
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [self.text.schema(), self.other.schema()] })
    }
}

/// Something that can be switched off by the word for it, and never by leaving it out.
pub(crate) struct OrOff<N>(pub(crate) N);

impl<N: Notation> Notation for OrOff<N> {
    type Value = Option<N::Value>;

    fn read(&self, node: &Node, report: &mut Report) -> Option<Self::Value> {
        match &node.kind {
            Kind::Text(word) if &**word == "off" => Some(None),
            Kind::Text(_) | Kind::Whole(_) | Kind::Flag(_) | Kind::List(_) | Kind::Table(_) | Kind::Other(_) => {
                let value = self.0.read(node, report);
                if value.is_none() {
                    report.help_with_last("or write \"off\"");
                }
                value.map(Some)
            }
        }
    }

    fn show(&self, value: &Self::Value) -> Option<Json> {
        value.as_ref().map_or_else(|| Some(json!("off")), |value| self.0.show(value))
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [{ "enum": ["off"] }, self.0.schema()] })
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
            // Some of these tables hold secrets, and this may be one that somebody wrote in place of the table.
            report.mask_text(node);
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
