//! Routes, and who may use them.

use std::time::Duration;

use http::Method;

use crate::config::At;
use crate::config::notation::{Either, Filled, Flag, Keys, Lasting, Mapped, Named, Names, OneOrMore, Placed, Word};
use crate::config::sections::role::{Passage, passage};
use crate::config::sections::{Check, Settings, Sources, check};
use crate::config::table::Table;
use crate::config::units::{days, seconds};
use crate::config::values::{ClaimNotation, METHOD, NAME, SCOPE, TEXT};
use crate::model::{ClaimValue, Ends, Scope, TokenKind};

/// `[[route]]`
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Option<At<String>>,
    pub(crate) host: Option<At<String>>,
    pub(crate) path: Option<At<String>>,
    pub(crate) methods: Option<At<Vec<Method>>>,
    pub(crate) upstream: Option<At<String>>,
    pub(crate) sources: Option<At<Sources>>,
    pub(crate) access: Option<At<AccessRule>>,
    pub(crate) activity: At<bool>,
    pub(crate) ends: Option<At<Ends>>,
    pub(crate) role: Option<At<Passage>>,
    pub(crate) login_guard: Option<At<Vec<At<String>>>>,
    pub(crate) check: Option<At<Vec<Check>>>,
    pub(crate) settings: Settings,
}

/// Who may use a route.
#[derive(Clone, Debug)]
pub(crate) enum AccessRule {
    Public,
    Optional(Bearer),
    Bearer(Bearer),
}

/// What a token must have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bearer {
    pub(crate) issuers: Option<At<Vec<At<String>>>>,
    pub(crate) accept: Option<At<Vec<TokenKind>>>,
    pub(crate) scopes: Option<At<Vec<Scope>>>,
    pub(crate) audience: Option<At<Vec<String>>>,
    pub(crate) claims: Option<At<Vec<Named<Vec<ClaimValue>>>>>,
    pub(crate) acr: Option<At<Vec<String>>>,
    pub(crate) methods: Option<At<Vec<String>>>,
    pub(crate) max_age: Option<At<Duration>>,
}

/// What `access` may be in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AccessWord {
    Public,
    Optional,
    Bearer,
}

impl Route {
    /// Reads it over the `[defaults]`.
    pub(crate) fn read(t: &mut Table<'_>, defaults: &Settings) -> Self {
        Self {
            name: t.optional("name", NAME, "Its name in metrics and logs; its path when left out."),
            host: t.optional("host", TEXT, "The host it answers to: \"api.example\", \"*.example\"; any when left out."),
            path: t.required("path", TEXT, "The paths it answers to: \"/orders\", \"/orders/{id}\", \"/orders/**\"."),
            methods: t.optional("methods", Filled(METHOD), "The methods it answers to; any when left out."),
            upstream: t.required("upstream", NAME, "Where its requests go: the name of an [upstream.NAME]."),
            sources: t.optional(
                "sources",
                Keys(Sources::read),
                "Who is served here, by where they come from: { allow = [\"10.0.0.0/8\"], deny = [\"10.1.0.0/16\"] }.",
            ),
            access: t.required(
                "access",
                access(),
                "Who may use it: \"public\", \"optional\", or { bearer = { scopes = [\"orders:read\"] } }.",
            ),
            activity: t.or(
                "activity",
                Flag,
                true,
                "Whether its requests count as use of what dies of disuse; false for what a program asks by itself, again and again.",
            ),
            ends: t.optional(
                "ends",
                Word(&[("token", Ends::Token), ("session", Ends::Session), ("subject", Ends::Subject)]),
                "What a successful request ends for the token it shows, as a sign-out does.",
            ),
            role: t.optional(
                "role",
                passage(),
                "What its requests do at a token service behind it, so that what they end is not remembered here: \"logout\", or { is = \"revoke\", token = { form = \"token\" } }.",
            ),
            login_guard: t.optional(
                "login_guard",
                OneOrMore(Placed(NAME)),
                "What keeps passwords from being guessed here: the name of a [login_guard.NAME], or several, all of which must \
                 admit an attempt.",
            ),
            check: t.optional(
                "check",
                check(),
                "Guards whose locks hold here too, though no password is tried: \"login\", or { guard = \"login\", account = \
                 { form = \"username\" } }, or a list.",
            ),
            settings: Settings::read(t, Some(defaults)),
        }
    }
}

fn access() -> impl crate::config::notation::Notation<Value = AccessRule> {
    let word = Word(&[("public", AccessWord::Public), ("optional", AccessWord::Optional), ("bearer", AccessWord::Bearer)]);
    let rule = |word| match word {
        AccessWord::Public => AccessRule::Public,
        AccessWord::Optional => AccessRule::Optional(Bearer::default()),
        AccessWord::Bearer => AccessRule::Bearer(Bearer::default()),
    };
    Either {
        text: Mapped { notation: word, into: rule },
        other: Keys(access_table),
        example: "{ bearer = { scopes = [\"orders:read\"] } }",
    }
}

fn access_table(t: &mut Table<'_>) -> AccessRule {
    t.exactly_one(&["bearer", "optional"]);
    let bearer = t.optional("bearer", Keys(Bearer::read), "A token is needed, with all of this.");
    let optional =
        t.optional("optional", Keys(Bearer::read), "No token is needed, but one that comes along must have all of this.");
    match (bearer, optional) {
        (None, Some(optional)) => AccessRule::Optional(optional.value),
        (bearer, _) => AccessRule::Bearer(bearer.map(|bearer| bearer.value).unwrap_or_default()),
    }
}

impl Bearer {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            issuers: t.optional(
                "issuers",
                Filled(Placed(NAME)),
                "Whose tokens are taken: names of [issuer.NAME], or `embedded`. Can be left out if there is only one.",
            ),
            accept: t.optional(
                "accept",
                Filled(Word(&[("access", TokenKind::Access), ("auth", TokenKind::Auth)])),
                "Which kinds of token are taken; both when left out, unless `auth_token` leaves only one.",
            ),
            scopes: t.optional("scopes", Filled(SCOPE), "Scopes of which the token must have every one."),
            audience: t.optional("audience", Filled(TEXT), "Audiences of which the token must have one."),
            claims: t.optional(
                "claims",
                Names { name: TEXT, value: Filled(ClaimNotation) },
                "Claims that the token must have, each with the values of which one must be there: { role = [\"ops\"] }.",
            ),
            acr: t.optional(
                "acr",
                Filled(TEXT),
                "Step-up (RFC 9470): authentication contexts of which the token must have one.",
            ),
            methods: t.optional(
                "methods",
                Filled(TEXT),
                "Step-up: authentication methods (`amr`) of which the token must have one.",
            ),
            max_age: t.optional("max_age", Lasting(seconds(1)..=days(365)), "Step-up: how old the authentication may be."),
        }
    }
}
