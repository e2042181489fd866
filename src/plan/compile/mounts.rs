//! The embedded token service and the routes that it brings along.

use std::borrow::Cow;

use http::Method;

use crate::config::{self, At, Environment, Finding, OAuthPaths as WrittenPaths, Place};
use crate::model::{IssuerId, NonEmpty, ScopeSet, Style, TokenKind};
use crate::plan::compile::Workshop;
use crate::plan::compile::dress::Wardrobe;
use crate::plan::compile::routes::{Draft, Particulars, draft};
use crate::plan::{
    AuthTokenUse, BackOfficeApi, BackOfficeLimits, BackOfficePaths, Caller, ChallengeLimits, Hashing, LockSettings, OAuthApi,
    OAuthPaths, PasswordPolicy, SessionApi, SessionOperation, Target, TokenService, TokenType,
};
use crate::rules::access::{Access, Requirements};
use crate::rules::routing::{HostPattern, PathPattern, RouteKey};

/// The largest body of a call to the token service, in bytes. Larger ones are no sign-in.
const BODY_LIMIT: u64 = 16 * 1024;

/// A route of the token service.
struct Mount<'a> {
    name: &'static str,
    path: Cow<'a, str>,
    place: Place,
    /// Any if it is not said.
    method: Option<Method>,
    style: Style,
    access: Access,
    /// Under which further name answers carry the request's id.
    request_ref: bool,
}

impl Workshop<'_> {
    pub(super) fn token_service(&mut self, service: &At<config::TokenService>) -> Option<TokenService> {
        let public_url = self.public_url(service);
        let notifier = self.notifier(&service.value);
        self.warn_of_what_is_off(&service.value);
        let session = service.value.session.as_ref().map(|api| self.session_api(&api.value));
        let service = &service.value;
        let memory = service.hashing.memory.value / 1024;
        let database = self.database(service);
        let public_url = public_url?;
        let (database, key_file) = database?;
        Some(TokenService {
            issuer: IssuerId(0),
            database,
            key_file,
            oauth: service.oauth.as_ref().map(|api| oauth_api(&api.value)),
            session,
            back_office: service.back_office.as_ref().map(|api| back_office_api(&api.value, &public_url)),
            keys_published_for: service.keys.max_age.value,
            public_url,
            hashing: Hashing {
                memory_kib: u32::try_from(memory).unwrap_or(u32::MAX),
                passes: service.hashing.passes.value,
                parallel: service.hashing.parallel.as_ref().map_or(self.machine.cores.saturating_sub(1), |n| n.value).max(1),
                queue: service.hashing.queue.value,
            },
            lock: LockSettings { attempts: service.lock.attempts.value, duration: service.lock.duration.value },
            failures_per_source: service.failures_per_source.value,
            notifier,
        })
    }

    /// A limit that is switched off is said to be at every start.
    fn warn_of_what_is_off(&mut self, service: &config::TokenService) {
        let oauth = service.oauth.as_ref().map(|api| &api.value);
        let back_office = service.back_office.as_ref().map(|api| &api.value);
        let guessing = "one source can keep every password hash busy, and try passwords of many accounts";
        let limits = [
            (Some(&service.failures_per_source), guessing),
            (oauth.map(|api| &api.logins_per_source), guessing),
            (back_office.map(|api| &api.logins_per_source), guessing),
            (oauth.map(|api| &api.codes_per_source), "one source can have codes sent to every account that it knows"),
        ];
        for (limit, means) in limits {
            if let Some(At { value: None, place, .. }) = limit {
                self.report.add(Finding::warning(*place, "this limit is switched off").label(means));
            }
        }
    }

    fn session_api(&mut self, from: &config::SessionApi) -> SessionApi {
        SessionApi {
            prefix: from.prefix.value.as_str().into(),
            idle: from.idle.value,
            absolute: from.absolute.value,
            auth_token: auth_token(from),
            challenges: ChallengeLimits {
                ttl: from.challenge_ttl.value,
                tries: from.code_tries.value,
                resend_interval: from.resend_interval.value,
                per_account: from.challenges_per_account.value,
            },
            logins_per_source: from.logins_per_source.value,
            logins: from.logins.value,
            password_life: from.password_life.as_ref().map(|life| life.value),
            password_policy: match from.password_policy.value {
                config::PasswordPolicy::Standard => PasswordPolicy::Standard,
                config::PasswordPolicy::Composition => PasswordPolicy::Composition,
            },
            // A secret that cannot be had is in the report, so no plan comes of it.
            callback_secret: from.callback_secret.as_ref().and_then(|secret| self.secret(secret)),
        }
    }

    fn public_url(&mut self, service: &At<config::TokenService>) -> Option<Box<str>> {
        if let Some(url) = &service.value.public_url {
            return Some(url.value.as_str().into());
        }
        match self.config.environment.value {
            Environment::Sandbox => {
                let listener = &self.config.listeners.first()?.value;
                let scheme = if listener.tls.is_some() { "https" } else { "http" };
                Some(format!("{scheme}://{}", listener.address.as_ref()?.value).into())
            }
            Environment::Production => {
                let finding = Finding::error(service.place, "`public_url` is missing");
                self.report
                    .add(finding.help("the base address under which clients reach this gateway: \"https://api.example\""));
                None
            }
        }
    }

    /// The routes of the APIs that are mounted.
    pub(super) fn mounted_routes(&mut self, wardrobe: &Wardrobe) -> Vec<Draft> {
        let config = self.config;
        let Some(service) = &config.token_service else { return Vec::new() };
        let mut mounts = standard_mounts(service.place);
        mounts.extend(service.value.oauth.iter().flat_map(|oauth| oauth_mounts(&oauth.value.paths)));
        mounts.extend(service.value.session.iter().flat_map(|session| session_mounts(&session.value)));
        let back_office = service.value.back_office.as_ref().map(|api| (api, back_office_paths(&api.value)));
        mounts.extend(back_office.iter().flat_map(|(api, paths)| back_office_mounts(paths, api.value.prefix.place)));
        mounts.into_iter().filter_map(|mount| self.mounted_route(mount, wardrobe)).collect()
    }

    fn mounted_route(&mut self, mount: Mount<'_>, wardrobe: &Wardrobe) -> Option<Draft> {
        let config = self.config;
        let path = match PathPattern::parse(&mount.path) {
            Ok(path) => path,
            Err(error) => {
                self.report.add(Finding::error(mount.place, error.to_string()));
                return None;
            }
        };
        let key = RouteKey { host: HostPattern::any(), path, methods: mount.method.map(|method| [method].into()) };
        let name = At::written(mount.name.to_owned(), mount.place);
        let particulars = Particulars {
            access: mount.access,
            target: Target::TokenService,
            dress: wardrobe.dress(mount.style, &config.defaults, self.report)?,
            body_limit: BODY_LIMIT,
        };
        let mut draft = draft(name, mount.place, key, particulars, &config.defaults);
        draft.route.request_ref = mount.request_ref;
        Some(draft)
    }
}

/// What every embedded token service answers to.
fn standard_mounts(place: Place) -> Vec<Mount<'static>> {
    let mount = |name, path, method, style| Mount {
        name,
        path: Cow::Borrowed(path),
        place,
        method: Some(method),
        style,
        access: Access::Public,
        request_ref: false,
    };
    vec![
        mount("oauth2.introspect", "/oauth2/introspect", Method::POST, Style::OAuth),
        mount("oauth2.metadata", "/.well-known/oauth-authorization-server", Method::GET, Style::Problem),
        mount("oauth2.keys", "/.well-known/jwks.json", Method::GET, Style::Problem),
    ]
}

/// What API A answers to.
fn oauth_mounts(paths: &WrittenPaths) -> [Mount<'_>; 7] {
    fn mount<'a>(name: &'static str, path: &'a At<String>, method: Method, access: Access) -> Mount<'a> {
        Mount {
            name,
            path: Cow::Borrowed(&path.value),
            place: path.place,
            method: Some(method),
            style: Style::OAuth,
            access,
            request_ref: false,
        }
    }
    let open = |name, path| mount(name, path, Method::POST, Access::Public);
    let own = |name, path| mount(name, path, Method::GET, Access::Bearer(embedded_tokens(NonEmpty::one(TokenKind::Access))));
    [
        open("oauth.password", &paths.password),
        open("oauth.request_code", &paths.request_code),
        open("oauth.verify_code", &paths.verify_code),
        open("oauth.token", &paths.token),
        open("oauth.revoke", &paths.revoke),
        own("oauth.account", &paths.account),
        own("oauth.accounts", &paths.accounts),
    ]
}

/// What API C answers to. Whoever signs out shows the token that is to end, so the gateway knows already whether it lives.
fn back_office_mounts(paths: &BackOfficePaths, place: Place) -> [Mount<'_>; 4] {
    let mount = |name, path, access| Mount {
        name,
        path: Cow::Borrowed(path),
        place,
        method: Some(Method::POST),
        style: Style::BackOffice,
        access,
        request_ref: false,
    };
    let access_token = embedded_tokens(NonEmpty::one(TokenKind::Access));
    [
        mount("back_office.sign_in", &*paths.sign_in, Access::Public),
        mount("back_office.confirm", &paths.confirm, Access::Public),
        mount("back_office.refresh", &paths.refresh, Access::Public),
        mount("back_office.sign_out", &paths.sign_out, Access::Bearer(access_token)),
    ]
}

/// What API B answers to: its operations, and everything else below its prefix, which the token service says is not there.
fn session_mounts(api: &config::SessionApi) -> Vec<Mount<'static>> {
    let prefix = &api.prefix;
    let mount = |name, path: &str, method, access| Mount {
        name,
        path: Cow::Owned(format!("{}{path}", prefix.value)),
        place: prefix.place,
        method,
        style: Style::Session,
        access,
        request_ref: true,
    };
    let operations = SessionOperation::ALL.into_iter().filter_map(|operation| {
        let terms = operation.terms(auth_token(api));
        let access = match terms.caller {
            Caller::Anybody | Caller::HolderAsked(_) => Access::Public,
            Caller::Holder(kinds) => Access::Bearer(embedded_tokens(NonEmpty::new(kinds.to_vec()).ok()?)),
        };
        Some(mount(terms.name, terms.path, Some(terms.method), access))
    });
    operations.chain([mount("session.elsewhere", "/**", None, Access::Public)]).collect()
}

fn auth_token(from: &config::SessionApi) -> AuthTokenUse {
    match from.auth_token.value {
        config::AuthTokenUse::Any => AuthTokenUse::Any,
        config::AuthTokenUse::ExchangeOnly => AuthTokenUse::ExchangeOnly,
    }
}

/// Tokens of the embedded service of these kinds, whatever they may be used for.
fn embedded_tokens(kinds: NonEmpty<TokenKind>) -> Requirements {
    Requirements {
        issuers: NonEmpty::one(IssuerId(0)),
        kinds,
        scopes: ScopeSet::default(),
        audience: None,
        claims: Box::default(),
        assurance: None,
    }
}

fn oauth_api(from: &config::OAuthApi) -> OAuthApi {
    let path = |at: &At<String>| at.value.as_str().into();
    OAuthApi {
        access_ttl: from.access_ttl.value,
        refresh_idle: from.refresh_idle.value,
        refresh_absolute: from.refresh_absolute.value,
        refresh_grace: from.refresh_grace.value,
        superseded_access: from.superseded_access.value,
        code_ttl: from.code_ttl.value,
        verification_ttl: from.verification_ttl.value,
        verification_tries: from.verification_tries.value,
        resend_interval: from.resend_interval.value,
        codes_per_phone: from.codes_per_phone.value,
        codes_per_source: from.codes_per_source.value,
        logins_per_source: from.logins_per_source.value,
        paths: OAuthPaths {
            password: path(&from.paths.password),
            request_code: path(&from.paths.request_code),
            verify_code: path(&from.paths.verify_code),
            token: path(&from.paths.token),
            revoke: path(&from.paths.revoke),
            account: path(&from.paths.account),
            accounts: path(&from.paths.accounts),
        },
    }
}

fn back_office_api(from: &config::BackOfficeApi, public_url: &str) -> BackOfficeApi {
    BackOfficeApi {
        audience: from.audience.as_ref().map_or(public_url, |audience| &audience.value).into(),
        token_type: match from.token_type.value {
            config::TokenType::Jwt => TokenType::Jwt,
            config::TokenType::AccessToken => TokenType::AccessToken,
        },
        access_ttl: from.access_ttl.value,
        refresh_idle: from.refresh_idle.value,
        refresh_absolute: from.refresh_absolute.value,
        refresh_grace: from.refresh_grace.value,
        superseded_access: from.superseded_access.value,
        code_ttl: from.code_ttl.value,
        code_tries: from.code_tries.value,
        codes_per_account: from.codes_per_account.value,
        logins_per_source: from.logins_per_source.value,
        limits: BackOfficeLimits {
            sign_in: from.limits.sign_in.value,
            confirm: from.limits.confirm.value,
            refresh: from.limits.refresh.value,
            window: from.limits.window.value,
            block: from.limits.block.value,
        },
        paths: back_office_paths(from),
    }
}

fn back_office_paths(from: &config::BackOfficeApi) -> BackOfficePaths {
    let path = |end: &str| format!("{}{end}", from.prefix.value).into();
    BackOfficePaths {
        sign_in: path("/signin"),
        confirm: path("/2fa/confirm"),
        refresh: path("/refresh"),
        sign_out: path("/signout"),
    }
}
