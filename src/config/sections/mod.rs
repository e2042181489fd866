//! The sections of the file. Each field is declared once, in the `read` of its section: key, notation, default, meaning.
//!
//! The meanings are the documentation: they stand in the schema and in the reports, so the fields here carry none.

mod back_office_api;
mod gateway;
mod issuer;
mod limit;
mod login_answer;
mod login_guard;
mod notifier;
mod postgres;
mod receiver;
mod role;
mod route;
mod session_api;
mod settings;
mod sources;
mod store;
mod token_service;
mod upstream;

pub(crate) use back_office_api::{BackOfficeApi, SigningKeys, TokenType};
pub use gateway::Environment;
pub(crate) use gateway::{Admin, Cache, Guard, Listener, LogForm, Server};
pub use issuer::JwtAlgorithm;
pub(crate) use issuer::{ClientLogin, ClientSecret, Introspection, Issuer, Jwt, SecretReference, SigningSource};
pub(crate) use limit::{Limit, LimitKey, LimitUse, OnStoreOutage};
pub(crate) use login_guard::{Check, LoginGuard, check};
pub use notifier::{MessageKind, SmtpTls};
pub(crate) use notifier::{Notifier, Smtp, SmtpLogin, Webhook};
pub(crate) use postgres::{Postgres, TokenStoreKind};
pub(crate) use receiver::{Receiver, ReceiverKind};
pub(crate) use role::Passage;
pub(crate) use route::{AccessRule, Bearer, Route};
pub(crate) use session_api::{AuthTokenUse, PasswordPolicy, SessionApi};
pub(crate) use settings::{Cors, CorsChoice, CorsOrigins, Headers, Identity, LimitChoice, Outage, Settings};
pub(crate) use sources::{Network, Sources};
pub(crate) use store::{StateFile, Store, StoreKind, Topology, Valkey};
pub(crate) use token_service::{OAuthApi, OAuthPaths, TokenService};
pub(crate) use upstream::Upstream;

use crate::config::At;
use crate::config::notation::{Filled, Keys, Named, Names, Notation, Placed, Word};
use crate::config::table::Table;
use crate::config::values::NAME;

/// The whole file.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) environment: At<Environment>,
    pub(crate) server: Server,
    pub(crate) listeners: Vec<At<Listener>>,
    pub(crate) admin: Admin,
    pub(crate) guard: Guard,
    pub(crate) network: Network,
    pub(crate) cache: Cache,
    pub(crate) store: Store,
    pub(crate) defaults: Settings,
    pub(crate) limits: Vec<Named<At<Limit>>>,
    pub(crate) cors: Vec<Named<At<Cors>>>,
    pub(crate) issuers: Vec<Named<At<Issuer>>>,
    pub(crate) receivers: Vec<Named<At<Receiver>>>,
    pub(crate) login_guards: Vec<Named<At<LoginGuard>>>,
    pub(crate) upstreams: Vec<Named<At<Upstream>>>,
    pub(crate) token_service: Option<At<TokenService>>,
    pub(crate) routes: Vec<At<Route>>,
}

impl Config {
    /// Reads the root table.
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let defaults = t.section("defaults", |t| Settings::read(t, None), "What routes do unless they say otherwise.");
        Self {
            environment: t.or(
                "environment",
                Word(&[("production", Environment::Production), ("sandbox", Environment::Sandbox)]),
                Environment::Production,
                "Where it runs. In the sandbox, while nobody carries them, one-time codes are fixed and nothing is sent.",
            ),
            server: t.section("server", Server::read, "The process."),
            listeners: several(t, "listener", Filled(Placed(Keys(Listener::read))), "[[listener]]: an address to listen on."),
            admin: t.section("admin", Admin::read, "Health, metrics and the admin API."),
            guard: t.section("guard", Guard::read, "Bounds on what is read of a connection."),
            network: t.section("network", Network::read, "Where requests come from, and who stands in front of the gateway."),
            cache: t.section("cache", Cache::read, "Bounds on remembering tokens."),
            store: t.section("store", Store::read, "What is remembered beyond a request, and where."),
            limits: named(t, "limit", Keys(Limit::read), "Rate limits that routes name."),
            cors: named(t, "cors", Keys(Cors::read), "Cross-origin rules that routes share."),
            issuers: named(t, "issuer", Keys(Issuer::read), "Who vouches for tokens."),
            receivers: named(t, "receiver", Keys(Receiver::read), "Where others push revocations."),
            login_guards: named(
                t,
                "login_guard",
                Keys(LoginGuard::read),
                "What keeps passwords from being guessed at a token service behind the gateway.",
            ),
            upstreams: named(t, "upstream", Keys(Upstream::read), "Where requests go."),
            token_service: t.optional("token_service", Keys(TokenService::read), "The token service built in."),
            routes: several(
                t,
                "route",
                Filled(Placed(Keys(|t: &mut Table<'_>| Route::read(t, &defaults)))),
                "[[route]]: what is let through, to whom and where to. What no route names is never forwarded.",
            ),
            defaults,
        }
    }
}

fn several<N: Notation<Value = Vec<T>>, T>(t: &mut Table<'_>, key: &'static str, notation: N, meaning: &str) -> Vec<T> {
    t.required(key, notation, meaning).map(|all| all.value).unwrap_or_default()
}

fn named<N: Notation>(t: &mut Table<'_>, key: &'static str, value: N, meaning: &str) -> Vec<Named<At<N::Value>>> {
    let names = Names { name: NAME, value: Placed(value) };
    t.optional(key, names, meaning).map(|all| all.value).unwrap_or_default()
}
