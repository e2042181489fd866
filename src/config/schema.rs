//! The JSON Schema of the configuration, for editors and CI; written by the very calls that read the file.

use serde_json::{Value as Json, json};

use crate::config::sections::Config;
use crate::config::table::Table;

/// The schema (JSON Schema 2020-12) as it stands in `config/schema.json`.
#[must_use]
pub fn schema() -> String {
    let mut schema = Table::describe(Config::read);
    if let Json::Object(members) = &mut schema {
        members.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        members.insert("title".to_owned(), json!("gateway.toml of Portcullis"));
    }
    format!("{schema:#}\n")
}
