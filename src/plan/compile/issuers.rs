//! Who vouches for tokens.

use http::Uri;

use crate::config::{self, At, Finding, Report};
use crate::model::{IssuerId, NonEmpty, Secret};
use crate::plan::compile::directory::Directory;
use crate::plan::compile::process::to_usize;
use crate::plan::compile::upstreams::bare_host;
use crate::plan::compile::{Machine, Workshop};
use crate::plan::{ClientAuthentication, Introspection, Issuer, IssuerKind, Jwt, KeySource};

/// The name of the issuer that is the embedded token service.
pub(super) const EMBEDDED: &str = "embedded";

impl Workshop<'_> {
    /// The names of all issuers. The embedded one comes first and is never unused: its own routes ask it.
    pub(super) fn issuer_names(&self) -> Directory<IssuerId> {
        let mut names = Directory::new("issuer", "issuer");
        if let Some(service) = &self.config.token_service {
            names.list(&At::written(EMBEDDED.to_owned(), service.place), Some(IssuerId(0)));
            names.spare();
        }
        let first = usize::from(self.config.token_service.is_some());
        for (index, issuer) in self.config.issuers.iter().enumerate() {
            names.list(&issuer.name, u16::try_from(index + first).ok().map(IssuerId));
        }
        names
    }

    pub(super) fn issuers(&mut self) -> Option<Box<[Issuer]>> {
        let config = self.config;
        let embedded = config.token_service.as_ref().map(|_| (EMBEDDED, Some(IssuerKind::Embedded)));
        let mut kinds: Vec<(&str, Option<IssuerKind>)> = embedded.into_iter().collect();
        for issuer in &config.issuers {
            // Elsewhere it may be the name of a service that is built in to another gateway, which shares its revocations by it.
            if issuer.name.value == EMBEDDED && config.token_service.is_some() {
                let finding = Finding::error(issuer.name.place, "the name `embedded` is that of the token service built in");
                self.report.add(finding.help("choose another name; [token_service] needs no issuer of its own"));
            }
            kinds.push((&issuer.name.value, self.issuer_kind(&issuer.value.value)));
        }
        let issuers = kinds.into_iter().enumerate().map(|(index, (name, kind))| {
            Some(Issuer { name: name.into(), id: IssuerId(u16::try_from(index).ok()?), kind: kind? })
        });
        issuers.collect()
    }

    fn issuer_kind(&mut self, issuer: &config::Issuer) -> Option<IssuerKind> {
        match (&issuer.introspection, &issuer.jwt) {
            (Some(introspection), None) => self.introspection(&introspection.value).map(IssuerKind::Introspection),
            (None, Some(jwt)) => jwt_issuer(&jwt.value, self.machine, self.report).map(IssuerKind::Jwt),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    fn introspection(&mut self, from: &config::Introspection) -> Option<Introspection> {
        if let Some(url) = &from.url {
            warn_of_plain_http(url, "tokens and the client's secret", self.report);
        }
        warn_of_useless_lifetime(from, self.report);
        let authentication = from.client.as_ref().and_then(|client| self.client(&client.value));
        Some(Introspection {
            url: from.url.as_ref()?.value.clone(),
            authentication: authentication?,
            deadline: from.deadline.value,
            answer_bytes: to_usize(from.answer_size.value),
            idle: from.idle.as_ref().map(|idle| idle.value),
            cache_ttl: from.remembered(),
            negative_ttl: from.negative_ttl.value,
            pool: from.pool.value,
            issuer: boxed(from.issuer.as_ref()),
            token_type: boxed(from.token_type.as_ref()),
            token_prefix: boxed(from.token_prefix.as_ref()),
            ca_file: from.ca_file.as_ref().map(|path| self.machine.locate(&path.value)),
        })
    }

    fn client(&mut self, client: &config::ClientLogin) -> Option<ClientAuthentication> {
        match (&client.basic, &client.post, &client.bearer) {
            (Some(basic), None, None) => {
                self.client_secret(&basic.value).map(|(id, secret)| ClientAuthentication::Basic { id, secret })
            }
            (None, Some(post), None) => {
                self.client_secret(&post.value).map(|(id, secret)| ClientAuthentication::Post { id, secret })
            }
            (None, None, Some(bearer)) => self.secret(bearer).map(ClientAuthentication::Bearer),
            (_, _, _) => None,
        }
    }

    fn client_secret(&mut self, client: &config::ClientSecret) -> Option<(Box<str>, Secret)> {
        let secret = client.secret.as_ref().and_then(|reference| self.secret(reference));
        Some((boxed(client.id.as_ref())?, secret?))
    }
}

fn jwt_issuer(from: &config::Jwt, machine: Machine<'_>, report: &mut Report) -> Option<Jwt> {
    warn_of_plain_keys(&from.keys, report);
    let keys = key_source(&from.keys, machine);
    let audience = from.audience.as_ref()?.value.iter().map(|audience| audience.as_str().into()).collect();
    Some(Jwt {
        issuer: boxed(from.issuer.as_ref())?,
        audience: NonEmpty::new(audience).ok()?,
        algorithms: NonEmpty::new(from.algorithms.value.clone()).ok()?,
        types: from.types.value.iter().map(|name| name.as_str().into()).collect(),
        keys: keys?,
        leeway: from.leeway.value,
        max_lifetime: from.max_lifetime.value,
        cache_ttl: from.cache_ttl.value,
        negative_ttl: from.negative_ttl.value,
    })
}

/// Where a signer's keys are.
pub(super) fn key_source(from: &config::SigningSource, machine: Machine<'_>) -> Option<KeySource> {
    match (&from.jwks_url, &from.key_files) {
        (Some(url), None) => Some(KeySource::Url {
            url: url.value.clone(),
            deadline: from.deadline.value,
            refresh: from.refresh.value,
            cooldown: from.cooldown.value,
            ca_file: from.ca_file.as_ref().map(|path| machine.locate(&path.value)),
        }),
        (None, Some(files)) => {
            let files = files.value.iter().map(|path| machine.locate(&path.value)).collect();
            NonEmpty::new(files).ok().map(KeySource::Files)
        }
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// Warns of keys that are fetched in the clear.
pub(super) fn warn_of_plain_keys(from: &config::SigningSource, report: &mut Report) {
    if let (Some(url), None) = (&from.jwks_url, &from.key_files) {
        warn_of_plain_http(url, "the keys that every token is checked against", report);
    }
}

fn boxed(text: Option<&At<String>>) -> Option<Box<str>> {
    text.map(|text| text.value.as_str().into())
}

fn warn_of_useless_lifetime(from: &config::Introspection, report: &mut Report) {
    let (life, written) = (&from.cache_ttl, from.remembered());
    if let Some(idle) = from.idle.as_ref().filter(|_| life.written && written < life.value) {
        let finding = Finding::warning(life.place, "answers are not remembered that long");
        let why = format!("a use must be told to the service in time, so it is {}", config::show_duration(written));
        report.add(finding.context(idle.place, why));
    }
}

/// Whether a host is this machine by its name or address.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn warn_of_plain_http(url: &At<Uri>, what: &str, report: &mut Report) {
    let loopback = is_loopback(bare_host(&url.value).unwrap_or_default());
    if url.value.scheme_str() == Some("http") && !loopback {
        let finding = Finding::warning(url.place, "this URL is not HTTPS");
        report.add(finding.label(format!("{what} cross the network in the clear")));
    }
}
