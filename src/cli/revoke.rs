//! `portcullis revoke`: asks the gateway that runs to end something, through its admin listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde_json::{Map, Value};
use tokio::runtime::Builder;

use crate::app::{Called, Calling, call_admin, variable};
use crate::cli::accounts::{failed, read_secret, refused};
use crate::cli::arguments::{RevokeOptions, RevokedThing};
use crate::cli::{Failure, output, run};
use crate::model::Secret;

/// The variable that holds the admin token.
const TOKEN_VARIABLE: &str = "ADMIN_TOKEN";

/// Revokes what is named, and says of which issuers.
pub(super) fn revoke(options: RevokeOptions) -> Result<(), Failure> {
    let RevokeOptions { what, issuer, config, admin } = options;
    let (member, value) = named(what)?;
    let mut body = Map::from_iter([(member.to_owned(), Value::from(value.expose()))]);
    body.extend(issuer.map(|issuer| ("issuer".to_owned(), Value::from(issuer))));
    let (admin, token) = whom_to_call(&config, admin)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
    let called = runtime.block_on(call_admin(&admin, "/admin/revoke", &token, Calling::Post(Value::Object(body).to_string())));
    report(&called.map_err(|error| failed(&error))?)
}

/// What is to be revoked, as the API names it.
fn named(what: RevokedThing) -> Result<(&'static str, Secret), Failure> {
    let RevokedThing { subject, session, client, token_file } = what;
    let file = token_file.map(|file| read_secret(&file, "token")).transpose()?;
    let all = [
        ("subject", subject.map(Secret::new)),
        ("session", session.map(Secret::new)),
        ("client", client.map(Secret::new)),
        ("token", file),
    ];
    let mut named = all.into_iter().filter_map(|(member, value)| Some((member, value?)));
    named.next().ok_or_else(|| refused(&"say what to revoke: --subject, --session, --client or --token-file"))
}

/// The admin listener and its token: as said, else as configured.
pub(super) fn whom_to_call(config: &Path, admin: Option<String>) -> Result<(String, Secret), Failure> {
    if let Some(url) = admin.as_deref().filter(|url| !url.starts_with("http://")) {
        return Err(refused(&format!("{url} is no admin listener: write http://ADDRESS:PORT, it speaks plain HTTP")));
    }
    let token = variable(TOKEN_VARIABLE).filter(|token| !token.is_empty()).map(Secret::new);
    if let (Some(admin), Some(token)) = (&admin, &token) {
        return Ok((admin.clone(), token.clone()));
    }
    let configured = run::open(config)?.plan.admin;
    let no_token = || refused(&format!("{} names no [admin] token, so its admin API is off", config.display()));
    let token = token.or(configured.token).ok_or_else(no_token)?;
    match admin {
        Some(admin) => Ok((admin, token)),
        None => Ok((format!("http://{}", reachable(configured.address, config)?), token)),
    }
}

/// An address at which a listener can be called: one on every address is called on this machine.
fn reachable(address: SocketAddr, config: &Path) -> Result<SocketAddr, Failure> {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        named @ (IpAddr::V4(_) | IpAddr::V6(_)) => named,
    };
    if address.port() == 0 {
        let text = format!("{} lets the system choose the admin port: say where it is with --admin URL", config.display());
        return Err(refused(&text));
    }
    Ok(SocketAddr::new(ip, address.port()))
}

/// Says what came of it.
fn report(called: &Called) -> Result<(), Failure> {
    let answer: Value = serde_json::from_str(&called.body).unwrap_or_default();
    if called.status == 200 {
        let issuers = answer.pointer("/revoked/issuers").and_then(Value::as_array).cloned().unwrap_or_default();
        let issuers: Vec<&str> = issuers.iter().filter_map(Value::as_str).collect();
        return output::say(&format!("revoked, of the issuers {}", issuers.join(", ")));
    }
    Err(refusal(called))
}

/// What a refusal says.
pub(super) fn refusal(called: &Called) -> Failure {
    let answer: Value = serde_json::from_str(&called.body).unwrap_or_default();
    let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("is this an admin listener?");
    let text = format!("the gateway answered {}: {detail}", called.status);
    if (400..500).contains(&called.status) { refused(&text) } else { failed(&text) }
}
