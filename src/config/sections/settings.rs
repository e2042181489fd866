//! What routes share: `[defaults]`, and the same keys in each `[[route]]`, which go before.

use std::time::Duration;

use http::{HeaderName, Method, header};

use crate::config::At;
use crate::config::notation::{Bytes, Either, Filled, Flag, Keys, Lasting, List, Mapped, Placed, Word};
use crate::config::sections::limit::{LimitUse, limit_uses};
use crate::config::table::Table;
use crate::config::units::{GIB, MIB, days, hours, seconds};
use crate::config::values::{CORS_ORIGIN, HEADER, METHOD, NAME};
use crate::model::Style;

/// The keys of `[defaults]` and of each route.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) style: At<Style>,
    pub(crate) headers: At<Headers>,
    pub(crate) cors: At<CorsChoice>,
    pub(crate) body_limit: At<u64>,
    pub(crate) max_revocation_lag: At<Duration>,
    pub(crate) on_outage: At<Outage>,
    pub(crate) identity: Identity,
    pub(crate) forward_authorization: At<bool>,
    pub(crate) limits: At<LimitChoice>,
}

/// Which set of security headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Headers {
    Seed,
    Modern,
}

/// Which rate limits there are.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum LimitChoice {
    Without,
    Named(Vec<LimitUse>),
}

/// What is done when the token service cannot be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outage {
    Deny,
    Grace(Duration),
}

const STYLES: &[(&str, Style)] =
    &[("problem", Style::Problem), ("oauth", Style::OAuth), ("session", Style::Session), ("back-office", Style::BackOffice)];

impl Settings {
    /// Reads them over those `beneath`, or over what is built in.
    pub(crate) fn read(t: &mut Table<'_>, beneath: Option<&Self>) -> Self {
        Self {
            style: t.inherited("style", Word(STYLES), beneath.map(|b| &b.style), Style::Problem, "How refusals are spoken."),
            headers: t.inherited(
                "headers",
                Word(&[("seed", Headers::Seed), ("modern", Headers::Modern)]),
                beneath.map(|b| &b.headers),
                Headers::Seed,
                "The security headers of every response: `seed` for the twelve that older clients know, `modern` for today's.",
            ),
            cors: cors(t, beneath.map(|b| &b.cors)),
            body_limit: t.inherited(
                "body_limit",
                Bytes(0..=64 * GIB),
                beneath.map(|b| &b.body_limit),
                10 * MIB,
                "The largest request body.",
            ),
            max_revocation_lag: t.inherited(
                "max_revocation_lag",
                Lasting(seconds(0)..=hours(1)),
                beneath.map(|b| &b.max_revocation_lag),
                seconds(30),
                "How long after its revocation elsewhere a token may still pass; \"0s\" asks anew for every request.",
            ),
            on_outage: t.inherited(
                "on_outage",
                Either { text: Word(&[("deny", Outage::Deny)]), other: Keys(grace), example: "{ grace = \"30s\" }" },
                beneath.map(|b| &b.on_outage),
                Outage::Deny,
                "What is done when the token service cannot be asked: \"deny\" (503), or { grace = \"30s\" } for tokens last seen good.",
            ),
            identity: t.section(
                "identity",
                |t| Identity::read(t, beneath.map(|b| &b.identity)),
                "The headers that tell the upstream who is calling.",
            ),
            forward_authorization: t.inherited(
                "forward_authorization",
                Flag,
                beneath.map(|b| &b.forward_authorization),
                false,
                "Whether the Authorization field goes upstream.",
            ),
            limits: limits(t, beneath.map(|b| &b.limits)),
        }
    }
}

fn limits(t: &mut Table<'_>, beneath: Option<&At<LimitChoice>>) -> At<LimitChoice> {
    let choice = Either {
        text: Word(&[("none", LimitChoice::Without)]),
        other: Mapped { notation: limit_uses(), into: LimitChoice::Named },
        example: "a list: [\"per-source\"]",
    };
    let meaning = "Its rate limits: \"none\", or a list of names of [limit.NAME], all of which must have room; { name = \"…\", cost = 5 } where a request costs more.";
    t.inherited("limits", choice, beneath, LimitChoice::Without, meaning)
}

fn cors(t: &mut Table<'_>, beneath: Option<&At<CorsChoice>>) -> At<CorsChoice> {
    let choice = Either {
        text: Mapped { notation: Placed(NAME), into: CorsChoice::Named },
        other: Mapped { notation: Keys(Cors::read), into: CorsChoice::Inline },
        example: "{ origins = [\"https://app.example\"] }",
    };
    let meaning = "Which origins may read: the name of a [cors.NAME], or a table like one.";
    t.inherited("cors", choice, beneath, CorsChoice::BuiltIn, meaning)
}

fn grace(t: &mut Table<'_>) -> Outage {
    t.required("grace", Lasting(seconds(1)..=hours(24)), "How long a token last seen good goes on.")
        .map_or(Outage::Deny, |grace| Outage::Grace(grace.value))
}

/// The names of the identity headers.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) subject: At<HeaderName>,
    pub(crate) client: At<HeaderName>,
    pub(crate) scope: At<HeaderName>,
    pub(crate) session: At<HeaderName>,
}

impl Identity {
    fn read(t: &mut Table<'_>, beneath: Option<&Self>) -> Self {
        let name = HeaderName::from_static;
        Self {
            subject: t.inherited("subject", HEADER, beneath.map(|b| &b.subject), name("x-auth-subject"), "Whose token it is."),
            client: t.inherited(
                "client",
                HEADER,
                beneath.map(|b| &b.client),
                name("x-auth-client"),
                "The client it was issued to.",
            ),
            scope: t.inherited("scope", HEADER, beneath.map(|b| &b.scope), name("x-auth-scope"), "Its scopes."),
            session: t.inherited("session", HEADER, beneath.map(|b| &b.session), name("x-auth-session"), "Its session."),
        }
    }
}

/// The cross-origin rules of a route.
#[derive(Clone, Debug)]
pub(crate) enum CorsChoice {
    BuiltIn,
    Named(At<String>),
    Inline(Cors),
}

/// `[cors.NAME]`
#[derive(Clone, Debug)]
pub(crate) struct Cors {
    pub(crate) origins: CorsOrigins,
    pub(crate) methods: Vec<Method>,
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) expose: Vec<HeaderName>,
    pub(crate) max_age: Option<Duration>,
}

/// Which origins may read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum CorsOrigins {
    Any,
    Listed(Vec<String>),
}

impl Cors {
    /// Everybody may read, by the usual methods.
    pub(crate) fn built_in() -> Self {
        Self {
            origins: CorsOrigins::Any,
            methods: vec![Method::GET, Method::POST, Method::DELETE, Method::OPTIONS, Method::PUT],
            headers: vec![header::AUTHORIZATION, header::CONTENT_TYPE],
            expose: vec![header::AUTHORIZATION, header::CONTENT_TYPE],
            max_age: None,
        }
    }

    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let built_in = Self::built_in();
        let origins = Either {
            text: Word(&[("*", CorsOrigins::Any)]),
            other: Mapped { notation: Filled(CORS_ORIGIN), into: CorsOrigins::Listed },
            example: "a list: [\"https://app.example\"]",
        };
        Self {
            origins: t
                .or(
                    "origins",
                    origins,
                    built_in.origins,
                    "Who may read: \"*\" or a list of origins. Cookies are never allowed.",
                )
                .value,
            methods: t.or("methods", List(METHOD), built_in.methods, "Methods that a preflight allows.").value,
            headers: t.or("headers", List(HEADER), built_in.headers, "Request headers that a preflight allows.").value,
            expose: t.or("expose", List(HEADER), built_in.expose, "Response headers that scripts may read.").value,
            max_age: t
                .optional("max_age", Lasting(seconds(0)..=days(7)), "How long browsers may keep a preflight's answer.")
                .map(|age| age.value),
        }
    }
}
