//! Names that other sections refer to.

use std::cell::Cell;

use crate::config::{At, Finding, Place, Report, did_you_mean};

/// Things by the names that somebody chose for them, and which of them anybody asked for.
pub(super) struct Directory<T> {
    /// The header of their tables: `upstream` for `[upstream.NAME]`.
    section: &'static str,
    /// What they are called in a report.
    what: &'static str,
    entries: Vec<Listed<T>>,
}

struct Listed<T> {
    name: String,
    place: Place,
    /// `None` if what is behind the name could not be compiled, which is reported already.
    thing: Option<T>,
    used: Cell<bool>,
}

impl<T> Directory<T> {
    /// An empty one for the tables `[section.NAME]`.
    pub(super) fn new(section: &'static str, what: &'static str) -> Self {
        Self { section, what, entries: Vec::new() }
    }

    /// Lists a thing.
    pub(super) fn list(&mut self, name: &At<String>, thing: Option<T>) {
        self.entries.push(Listed { name: name.value.clone(), place: name.place, thing, used: Cell::new(false) });
    }

    /// What has this name. Reports a name that does not exist; nothing is called unused after that, because any of them may
    /// be meant.
    pub(super) fn find(&self, name: &At<String>, report: &mut Report) -> Option<&T> {
        if let Some(listed) = self.entries.iter().find(|listed| listed.name == name.value) {
            listed.used.set(true);
            return listed.thing.as_ref();
        }
        self.spare();
        let finding = Finding::error(name.place, format!("there is no {} named `{}`", self.what, name.value))
            .label(format!("no [{}.{}] in this file", self.section, name.value))
            .suggest(did_you_mean(&name.value, self.names()));
        report.add(finding);
        None
    }

    /// The only thing in it, if there is exactly one.
    pub(super) fn only(&self) -> Option<&T> {
        let [only] = self.entries.as_slice() else { return None };
        only.used.set(true);
        only.thing.as_ref()
    }

    /// The names in the order of the file.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|listed| listed.name.as_str())
    }

    /// Marks everything as used: what would have used it could not be read.
    pub(super) fn spare(&self) {
        self.entries.iter().for_each(|listed| listed.used.set(true));
    }

    /// Warns of what nobody asked for.
    pub(super) fn report_unused(&self, report: &mut Report) {
        for listed in self.entries.iter().filter(|listed| !listed.used.get()) {
            report.add(Finding::warning(listed.place, format!("the {} `{}` is used by no route", self.what, listed.name)));
        }
    }

    /// All things, unless one of them could not be compiled.
    pub(super) fn into_things(self) -> Option<Box<[T]>> {
        self.entries.into_iter().map(|listed| listed.thing).collect()
    }
}
