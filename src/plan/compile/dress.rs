//! How the answers of a route are dressed: CORS, security headers, style, identity headers.

use std::sync::Arc;

use http::{HeaderName, header};

use crate::config::{At, Config, Cors, CorsChoice, CorsOrigins, Finding, Headers, Identity, Report, Settings};
use crate::model::Style;
use crate::plan::compile::directory::Directory;
use crate::rules::cors::{CorsPolicy, Origins};
use crate::rules::envelope::{Envelope, Profile};
use crate::rules::identity::IdentityNames;

/// How the answers of a route look, and who is told upstream about its caller.
pub(super) struct Dress {
    /// For answers.
    pub(super) envelope: Arc<Envelope>,
    /// For the upstream.
    pub(super) identity: Arc<IdentityNames>,
}

/// The CORS policies that routes can choose from.
pub(super) struct Wardrobe {
    built_in: Arc<CorsPolicy>,
    named: Directory<Arc<CorsPolicy>>,
}

impl Wardrobe {
    /// All policies of the file.
    pub(super) fn new(config: &Config) -> Self {
        let mut named = Directory::new("cors", "CORS policy");
        for cors in &config.cors {
            named.list(&cors.name, Some(Arc::new(policy(&cors.value.value))));
        }
        Self { built_in: Arc::new(policy(&Cors::built_in())), named }
    }

    /// The dress of routes with these settings, in this style.
    pub(super) fn dress(&self, style: Style, settings: &Settings, report: &mut Report) -> Option<Dress> {
        let identity = identity_names(&settings.identity, report);
        let cors = match &settings.cors.value {
            CorsChoice::BuiltIn => Arc::clone(&self.built_in),
            CorsChoice::Named(name) => Arc::clone(self.named.find(name, report)?),
            CorsChoice::Inline(cors) => Arc::new(policy(cors)),
        };
        let profile = match settings.headers.value {
            Headers::Seed => Profile::Seed,
            Headers::Modern => Profile::Modern,
        };
        Some(Dress { envelope: Arc::new(Envelope::new(style, profile, cors)), identity })
    }

    /// Warns of policies that no route uses.
    pub(super) fn report_unused(&self, report: &mut Report) {
        self.named.report_unused(report);
    }
}

fn policy(cors: &Cors) -> CorsPolicy {
    let origins = match &cors.origins {
        CorsOrigins::Any => Origins::Any,
        CorsOrigins::Listed(origins) => Origins::Listed(origins.iter().map(|origin| origin.as_str().into()).collect()),
    };
    CorsPolicy {
        origins,
        methods: cors.methods.clone().into(),
        headers: cors.headers.clone().into(),
        expose: cors.expose.clone().into(),
        max_age: cors.max_age.map(|age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX)),
    }
}

/// Headers that already mean something else to an upstream, or that the gateway sets itself.
const TAKEN: [HeaderName; 14] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::FORWARDED,
    header::HOST,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-request-id"),
];

/// The identity headers, each with a name of its own.
fn identity_names(identity: &Identity, report: &mut Report) -> Arc<IdentityNames> {
    let all = [&identity.subject, &identity.client, &identity.scope, &identity.session];
    for (index, name) in all.iter().enumerate() {
        if TAKEN.contains(&name.value) {
            report
                .add(Finding::error(name.place, format!("`{}` cannot carry an identity: it has another meaning", name.value)));
        }
        let same = |other: &&&At<HeaderName>| other.value == name.value;
        if let Some(first) = all.iter().take(index).find(same) {
            let finding = Finding::error(name.place, format!("two identity headers are named `{}`", name.value));
            report.add(finding.context(first.place, "the other one"));
        }
    }
    let name = |at: &At<HeaderName>| at.value.clone();
    Arc::new(IdentityNames {
        subject: name(&identity.subject),
        client: name(&identity.client),
        scope: name(&identity.scope),
        session: name(&identity.session),
    })
}
