//! A table being read. One call for each key says its name, its notation, its default and its meaning; the same calls find
//! unknown keys and, on no table at all, write the JSON schema. So none of the three can drift from the others.

use serde_json::{Map, Value as Json, json};

use crate::config::node::{Entry, Kind, Node};
use crate::config::notation::{Keys, Notation};
use crate::config::{At, Finding, Place, Report, did_you_mean};

/// A table whose keys are being asked for.
pub(crate) struct Table<'a> {
    place: Place,
    entries: &'a [Entry],
    report: &'a mut Report,
    asked: Vec<&'static str>,
    description: Option<Description>,
}

/// What the schema says of a table.
#[derive(Default)]
struct Description {
    properties: Map<String, Json>,
    required: Vec<&'static str>,
    alternatives: Vec<&'static str>,
    any_of: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// A table of the file.
    pub(crate) fn reading(place: Place, entries: &'a [Entry], report: &'a mut Report) -> Self {
        Self { place, entries, report, asked: Vec::new(), description: None }
    }

    /// The schema of the table that `read` reads: asks it to read an empty one and notes what it asks for.
    pub(crate) fn describe<T>(read: impl Fn(&mut Table<'_>) -> T) -> Json {
        let mut scrap = Report::new("", "");
        let mut table = Table {
            place: Place::default(),
            entries: &[],
            report: &mut scrap,
            asked: Vec::new(),
            description: Some(Description::default()),
        };
        read(&mut table);
        table.description.map(Description::into_schema).unwrap_or_default()
    }

    /// A key that must be there. Whoever leaves it out or writes nonsense is told; the value is then `None`.
    pub(crate) fn required<N: Notation>(&mut self, key: &'static str, notation: N, meaning: &str) -> Option<At<N::Value>> {
        self.note(key, &notation, None, meaning);
        if let Some(description) = &mut self.description {
            description.required.push(key);
        } else if self.find(key).is_none() {
            self.report.add(Finding::error(self.place, format!("`{key}` is missing")).help(meaning));
        }
        self.take(key, &notation)
    }

    /// A key that may be left out, with a meaning of its own when it is.
    pub(crate) fn optional<N: Notation>(&mut self, key: &'static str, notation: N, meaning: &str) -> Option<At<N::Value>> {
        self.note(key, &notation, None, meaning);
        self.take(key, &notation)
    }

    /// A key with a default, which also stands in for nonsense, once that is reported.
    pub(crate) fn or<N: Notation>(&mut self, key: &'static str, notation: N, default: N::Value, meaning: &str) -> At<N::Value> {
        self.note(key, &notation, notation.show(&default), meaning);
        let place = self.place;
        self.take(key, &notation).unwrap_or_else(|| At::default(default, place))
    }

    /// A key that takes the value of the table beneath when it is left out, and `default` when there is nothing beneath.
    pub(crate) fn inherited<N: Notation>(
        &mut self,
        key: &'static str,
        notation: N,
        beneath: Option<&At<N::Value>>,
        default: N::Value,
        meaning: &str,
    ) -> At<N::Value>
    where
        N::Value: Clone,
    {
        let Some(beneath) = beneath else { return self.or(key, notation, default, meaning) };
        self.optional(key, notation, &format!("{meaning} As in [defaults] when left out.")).unwrap_or_else(|| beneath.clone())
    }

    /// A table within this one. Left out, it is read as an empty one, which gives its defaults.
    pub(crate) fn section<T>(&mut self, key: &'static str, read: impl Fn(&mut Table<'_>) -> T, meaning: &str) -> T {
        let keys = Keys(&read);
        self.note(key, &keys, None, meaning);
        let place = self.place;
        match self.take(key, &keys) {
            Some(section) => section.value,
            None => read(&mut Table::reading(place, &[], self.report)),
        }
    }

    /// Demands exactly one of these keys.
    pub(crate) fn exactly_one(&mut self, keys: &'static [&'static str]) {
        if let Some(description) = &mut self.description {
            description.alternatives.extend(keys);
            return;
        }
        let found: Vec<Place> = keys.iter().filter_map(|key| self.find(key)).map(|entry| entry.place).collect();
        let listed = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" or ");
        match found.as_slice() {
            [] => self.report.add(Finding::error(self.place, format!("{listed} is missing"))),
            [_] => {}
            [first, second, ..] => {
                let finding = Finding::error(*second, format!("only one of {listed} can be here"));
                self.report.add(finding.context(*first, "this one excludes it"));
            }
        }
    }

    /// Demands one of these keys, or more of them.
    pub(crate) fn one_or_more(&mut self, keys: &'static [&'static str]) {
        if let Some(description) = &mut self.description {
            description.any_of.extend(keys);
        } else if keys.iter().all(|key| self.find(key).is_none()) {
            let listed = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" or ");
            self.report.add(Finding::error(self.place, format!("{listed} is missing")));
        }
    }

    /// Refuses every key that nobody asked for. What stands behind it is not shown: it may be a misspelt secret.
    pub(crate) fn refuse_the_rest(self) {
        for entry in self.entries.iter().filter(|entry| !self.asked.contains(&&*entry.key)) {
            self.report.mask_text(&entry.value);
            let finding = Finding::error(entry.place, format!("`{}` is not a key of this table", entry.key));
            let nearest = did_you_mean(&entry.key, self.asked.iter().copied());
            let finding = match nearest {
                Some(_) => finding.suggest(nearest),
                None => finding.help(format!("its keys are {}", self.asked.join(", "))),
            };
            self.report.add(finding);
        }
    }

    /// Reports what is wrong with the keys together.
    pub(crate) fn report(&mut self, finding: Finding) {
        self.report.add(finding);
    }

    fn find(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| &*entry.key == key)
    }

    fn take<N: Notation>(&mut self, key: &str, notation: &N) -> Option<At<N::Value>> {
        let entry = self.find(key)?;
        let place = entry.value.place;
        notation.read(&entry.value, self.report).map(|value| At::written(value, place))
    }

    fn note<N: Notation>(&mut self, key: &'static str, notation: &N, default: Option<Json>, meaning: &str) {
        self.asked.push(key);
        let Some(description) = &mut self.description else { return };
        let mut schema = notation.schema();
        if let Json::Object(schema) = &mut schema {
            schema.insert("description".to_owned(), meaning.into());
            schema.extend(default.map(|default| ("default".to_owned(), default)));
        }
        description.properties.insert(key.to_owned(), schema);
    }
}

impl Description {
    fn into_schema(self) -> Json {
        let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": self.properties });
        if let Json::Object(schema) = &mut schema {
            if !self.required.is_empty() {
                schema.insert("required".to_owned(), self.required.into());
            }
            let mut demand = |kind: &str, keys: &[&str]| {
                if !keys.is_empty() {
                    let each: Vec<Json> = keys.iter().map(|key| json!({ "required": [key] })).collect();
                    schema.insert(kind.to_owned(), each.into());
                }
            };
            demand("oneOf", &self.alternatives);
            demand("anyOf", &self.any_of);
        }
        schema
    }
}

impl Report {
    /// Never shows a string of this value.
    pub(crate) fn mask_text(&mut self, node: &Node) {
        match &node.kind {
            Kind::Text(_) => self.mask(node.place),
            Kind::List(items) => items.iter().for_each(|item| self.mask_text(item)),
            Kind::Table(entries) => entries.iter().for_each(|entry| self.mask_text(&entry.value)),
            Kind::Whole(_) | Kind::Flag(_) | Kind::Other(_) => {}
        }
    }
}
