//! What the gateway remembers beyond a restart.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::config::node::{Kind, Node};
use crate::config::notation::{Notation, expected};
use crate::config::table::Table;
use crate::config::values::FILE;
use crate::config::{At, Finding, Report};

/// `[store]`
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) file: At<StateFile>,
}

/// Where state is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum StateFile {
    At(PathBuf),
    None,
}

impl Store {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let meaning = "The file in which the revocations of JWTs and what login guards have counted are kept over a restart, made \
                       when an issuer of JWTs or a login guard is configured; false keeps them in memory only.";
        Self { file: t.or("file", StateFileNotation, StateFile::At(PathBuf::from("portcullis-state.db")), meaning) }
    }
}

/// A file, or `false`.
struct StateFileNotation;

impl Notation for StateFileNotation {
    type Value = StateFile;

    fn read(&self, node: &Node, report: &mut Report) -> Option<StateFile> {
        match &node.kind {
            Kind::Text(_) => FILE.read(node, report).map(StateFile::At),
            Kind::Flag(false) => Some(StateFile::None),
            Kind::Flag(true) => {
                report.add(Finding::error(node.place, "`true` names no file").label("a file, or false"));
                None
            }
            Kind::Whole(_) | Kind::List(_) | Kind::Table(_) | Kind::Other(_) => {
                expected("a file, or false", node, report);
                None
            }
        }
    }

    fn show(&self, value: &StateFile) -> Option<Json> {
        match value {
            StateFile::At(path) => FILE.show(path),
            StateFile::None => Some(false.into()),
        }
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [FILE.schema(), { "enum": [false] }] })
    }
}
