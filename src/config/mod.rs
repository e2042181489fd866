//! What a person writes: the text of `gateway.toml` read into a typed `Config` in which every value knows its place.
//!
//! Imports `model` only. Deliberately absent: serde derives, which stop at the first mistake; names resolved to what they
//! name, files, the environment and the clock, which are `plan::compile`'s and `app`'s business.

mod node;
mod notation;
mod report;
mod schema;
mod secrecy;
mod sections;
mod suggest;
mod table;
mod units;
mod values;

pub(crate) use node::{At, Place};
pub(crate) use notation::Named;
pub use report::{Colour, Finding, Report, Severity};
pub use schema::schema;
pub(crate) use sections::{
    AccessRule, AuthTokenUse, BackOfficeApi, Bearer, ClientLogin, ClientSecret, Config, Cors, CorsChoice, CorsOrigins, Headers,
    Identity, Introspection, Issuer, Jwt, Limit, LimitChoice, LimitKey, LimitUse, Listener, LogForm, LoginGuard, Notifier,
    OAuthApi, OAuthPaths, OnStoreOutage, Outage, Passage, PasswordPolicy, Postgres, Receiver, ReceiverKind, Route,
    SecretReference, SessionApi, Settings, SigningSource, Smtp, SmtpLogin, Sources, StateFile, StoreKind, TokenService,
    TokenStoreKind, TokenType, Topology, Upstream, Valkey, Webhook,
};
pub use sections::{Environment, JwtAlgorithm, MessageKind, SmtpTls};
pub(crate) use suggest::did_you_mean;
pub(crate) use units::show_duration;

use crate::config::node::Kind;
use crate::config::table::Table;

/// Reads the text of the file `name`. Whatever is wrong with it is in the report; the configuration is what could be read
/// of it all the same, `None` only if the text is no TOML.
pub(crate) fn read(name: &str, text: &str) -> (Option<Config>, Report) {
    let mut report = Report::new(name, text);
    let root = match node::parse(text) {
        Ok(root) => root,
        Err(errors) => {
            secrecy::mask_likely_secrets(text, &mut report);
            for error in errors {
                report.add(Finding::error(error.place, "this is not TOML").label(error.message));
            }
            return (None, report);
        }
    };
    let Kind::Table(entries) = &root.kind else { return (None, report) };
    let mut table = Table::reading(root.place, entries, &mut report);
    let config = Config::read(&mut table);
    table.refuse_the_rest();
    (Some(config), report)
}
