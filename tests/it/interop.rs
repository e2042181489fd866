//! The gateway before a token service that is not ours: `oidc-provider`, as `tests/interop` sets it up.
//!
//! What the scripted services of the other tests answer is what we believe that such a service answers; this one was written by
//! people who never saw our code. Without Node.js these tests are skipped, loudly; see `support::provider`.

use serde_json::json;

use crate::support::{Answer, Gateway, Provider, Request, Response, SignedIn, Upstream, as_client, upstream};

/// Resources as `provider.js` has them: tokens for the first are opaque, those for the others are JWTs.
const OPAQUE: &str = "urn:interop:opaque";
const ORDERS: &str = "urn:interop:orders";
const INVOICES: &str = "urn:interop:invoices";

const INTROSPECTION: &str = "/token/introspection";

/// A gateway before an application and the service: bearer routes to the one, everything else to the other.
struct Setting {
    provider: Provider,
    app: Upstream,
    gateway: Gateway,
}

impl Setting {
    fn start() -> Option<Self> {
        let provider = Provider::start()?;
        let app = Upstream::answering(Answer::ok("fine"));
        let gateway = Gateway::start(&config(&app, &provider));
        Some(Self { provider, app, gateway })
    }

    /// Signs ada in through the gateway.
    #[track_caller]
    fn sign_in(&self, client: &str, scope: &str, resource: &str) -> SignedIn {
        SignedIn::at(self.gateway.address, client, "ada", scope, resource)
    }

    #[track_caller]
    fn status(&self, token: &str, path: &str) -> u16 {
        self.gateway.get_as(token, path).status
    }

    /// Has a token revoked through the gateway.
    #[track_caller]
    fn revoke(&self, client: &str, token: &str) -> Response {
        self.gateway.ask(&as_client(client, Request::form("/token/revocation", &[("token", token)])))
    }

    /// Has a refresh token exchanged through the gateway.
    #[track_caller]
    fn refresh(&self, client: &str, token: &str) -> Response {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.gateway.ask(&as_client(client, Request::form("/token", &form)))
    }
}

fn config(app: &Upstream, provider: &Provider) -> String {
    let at = provider.address;
    let client = "client = { basic = { id = \"gate way\", secret = { env = \"PORTCULLIS_TEST_SECRET\" } } }";
    let bearer = |path: &str, issuer: &str, more: &str| {
        let access = format!("access = {{ bearer = {{ issuers = [\"{issuer}\"]{more} }} }}");
        format!("[[route]]\npath = \"{path}\"\nupstream = \"app\"\nmax_revocation_lag = \"1h\"\n{access}\n")
    };
    let passage = |path: &str, access: &str, role: &str| {
        let role = format!("role = {{ {role}, issuers = [\"opaque\", \"signed\"] }}\nforward_authorization = true");
        format!("[[route]]\npath = \"{path}\"\nmethods = [\"POST\"]\nupstream = \"provider\"\naccess = {access}\n{role}\n")
    };
    upstream("app", &[app.address], "")
        + &upstream("provider", &[at], "")
        + &format!("[issuer.opaque.introspection]\nurl = \"http://{at}{INTROSPECTION}\"\n{client}\n")
        + &format!("issuer = \"http://{at}\"\ntoken_type = \"Bearer\"\ncache_ttl = \"1h\"\ndeadline = \"1m\"\n")
        + &format!("[issuer.signed.jwt]\nissuer = \"http://{at}\"\njwks_url = \"http://{at}/jwks\"\n")
        + &format!("audience = [\"{ORDERS}\"]\nalgorithms = [\"ES256\"]\ndeadline = \"1m\"\n")
        + &bearer("/api/**", "opaque", "")
        + &bearer("/write/**", "opaque", ", scopes = [\"orders:write\"]")
        + &bearer("/meant/**", "opaque", &format!(", audience = [\"{OPAQUE}\"]"))
        + &bearer("/signed/**", "signed", "")
        + &passage("/token", "\"public\"", "is = \"refresh\"")
        + &passage("/token/revocation", "\"public\"", "is = \"revoke\"")
        + &passage("/session/end/confirm", "{ bearer = { issuers = [\"opaque\"] } }", "is = \"logout\", success = [303]")
        + "[[route]]\npath = \"/**\"\nupstream = \"provider\"\naccess = \"public\"\n"
}

#[test]
fn an_opaque_token_is_asked_about_once_and_the_upstream_is_told_whose_it_is() {
    let Some(setting) = Setting::start() else { return };
    let of_client = setting.provider.client_token("orders:read", OPAQUE);
    let of_ada = setting.sign_in("shop", "openid orders:read orders:write", OPAQUE);
    for (token, subject, client, scope) in
        [(&of_client, &[][..], "worker", "orders:read"), (&of_ada.access, &["ada"], "shop", "orders:read orders:write")]
    {
        let before = setting.provider.count(INTROSPECTION);
        for _ in 0..5 {
            assert_eq!(setting.status(token, "/api/x"), 200);
            let told = setting.app.last();
            assert_eq!(told.values("X-Auth-Subject"), subject);
            assert_eq!((told.only("X-Auth-Client"), told.only("X-Auth-Scope")), (client, scope));
        }
        assert_eq!(setting.provider.count(INTROSPECTION), before + 1);
    }
    assert_eq!(setting.status(&of_client, "/write/x"), 403);
    assert_eq!(setting.status(&of_ada.access, "/write/x"), 200);
    assert_eq!(setting.status(&of_ada.access, "/meant/x"), 200);
    assert_eq!(setting.status("nonsense", "/api/x"), 401);
}

#[test]
fn a_revoked_token_is_refused_at_once_and_so_are_those_of_its_grant() {
    let Some(setting) = Setting::start() else { return };
    for client in ["shop", "sid-shop"] {
        for revoked in ["access", "refresh"] {
            let ada = setting.sign_in(client, "openid offline_access orders:read", OPAQUE);
            let renewed = setting.refresh(client, &ada.refresh).json();
            let (newer, refresh) = (renewed["access_token"].as_str().unwrap(), renewed["refresh_token"].as_str().unwrap());
            for token in [&ada.access, newer] {
                assert_eq!(setting.status(token, "/api/x"), 200);
                let sessions = setting.app.last().values("X-Auth-Session").len();
                assert_eq!(sessions, usize::from(client == "sid-shop"), "{client}");
            }
            let shown = if revoked == "access" { &ada.access } else { refresh };
            assert_eq!(setting.revoke(client, shown).status, 200);
            for token in [&ada.access, newer] {
                assert_eq!(setting.status(token, "/api/x"), 401, "{client}, {revoked}");
            }
        }
    }
    let token = setting.provider.client_token("orders:read", OPAQUE);
    let other = setting.provider.client_token("orders:read", OPAQUE);
    assert_eq!((setting.status(&token, "/api/x"), setting.status(&other, "/api/x")), (200, 200));
    assert_eq!(setting.revoke("worker", &token).status, 200);
    assert_eq!((setting.status(&token, "/api/x"), setting.status(&other, "/api/x")), (401, 200));
}

#[test]
fn a_refresh_passes_through_and_what_it_gives_is_good() {
    let Some(setting) = Setting::start() else { return };
    let ada = setting.sign_in("shop", "openid offline_access orders:read", OPAQUE);
    let renewed = setting.refresh("shop", &ada.refresh);
    assert_eq!((renewed.status, renewed.only("Cache-Control")), (200, "no-store"));
    let renewed = renewed.json();
    assert_ne!(renewed["refresh_token"], json!(ada.refresh), "it is rotated");
    assert_eq!(setting.status(renewed["access_token"].as_str().unwrap(), "/api/x"), 200);
    assert_eq!(setting.app.last().only("X-Auth-Subject"), "ada");
}

#[test]
fn a_refresh_token_is_no_access_token() {
    let Some(setting) = Setting::start() else { return };
    let ada = setting.sign_in("shop", "openid offline_access orders:read", OPAQUE);
    assert_eq!(setting.status(&ada.refresh, "/api/x"), 401);
    assert_eq!(setting.status(&ada.access, "/api/x"), 200);
}

#[test]
fn a_sign_out_that_passes_through_ends_the_tokens_of_its_session() {
    let Some(setting) = Setting::start() else { return };
    for client in ["shop", "sid-shop"] {
        let (scope, address) = ("openid orders:read", setting.gateway.address);
        let elsewhere = setting.sign_in(client, scope, OPAQUE);
        let mut ada = setting.sign_in(client, scope, OPAQUE);
        let another = ada.another(address, client, scope, OPAQUE);
        for token in [&ada.access, &another, &elsewhere.access] {
            assert_eq!(setting.status(token, "/api/x"), 200);
        }
        let done = ada.sign_out(address);
        assert_eq!(done.status, 303, "{done:#?}");
        for (token, status) in [(&ada.access, 401), (&another, 401), (&elsewhere.access, 200)] {
            assert_eq!(setting.status(token, "/api/x"), status, "{client}");
        }
    }
}

#[test]
fn a_jwt_is_checked_by_the_published_keys_and_its_audience() {
    let Some(setting) = Setting::start() else { return };
    let good = setting.provider.client_token("orders:read", ORDERS);
    for _ in 0..3 {
        assert_eq!(setting.status(&good, "/signed/x"), 200);
    }
    let told = setting.app.last();
    assert_eq!((told.only("X-Auth-Client"), told.only("X-Auth-Scope")), ("worker", "orders:read"));
    assert_eq!(setting.provider.count("/jwks"), 1);
    assert_eq!(setting.provider.count(INTROSPECTION), 0);
    let elsewhere = setting.provider.client_token("orders:read", INVOICES);
    assert_eq!(setting.status(&elsewhere, "/signed/x"), 401);
    let ada = setting.sign_in("shop", "openid orders:read", ORDERS);
    assert_eq!(setting.status(&ada.id, "/signed/x"), 401, "an ID token");
    assert_eq!(setting.status(&ada.access, "/signed/x"), 200);
}

#[test]
fn a_jwt_that_the_service_does_not_introspect_is_refused_and_is_no_outage() {
    let Some(setting) = Setting::start() else { return };
    for _ in 0..10 {
        let signed = setting.provider.client_token("orders:read", ORDERS);
        assert_eq!(setting.status(&signed, "/api/x"), 401);
    }
    let opaque = setting.provider.client_token("orders:read", OPAQUE);
    assert_eq!(setting.status(&opaque, "/api/x"), 200);
}

#[test]
fn a_revoked_refresh_token_takes_its_jwts_along_which_the_service_itself_cannot() {
    let Some(setting) = Setting::start() else { return };
    let ada = setting.sign_in("shop", "openid offline_access orders:read", ORDERS);
    assert_eq!(setting.status(&ada.access, "/signed/x"), 200);
    assert_eq!(setting.revoke("shop", &ada.refresh).status, 200);
    assert_eq!(setting.status(&ada.access, "/signed/x"), 401);
}

#[test]
fn when_the_service_is_gone_unknown_tokens_wait_and_known_ones_pass() {
    let Some(setting) = Setting::start() else { return };
    let (known, signed) =
        (setting.provider.client_token("orders:read", OPAQUE), setting.provider.client_token("orders:read", ORDERS));
    let (unknown, unseen) =
        (setting.provider.client_token("orders:read", OPAQUE), setting.provider.client_token("orders:write", ORDERS));
    assert_eq!((setting.status(&known, "/api/x"), setting.status(&signed, "/signed/x")), (200, 200));
    let Setting { provider, gateway, app: _app } = setting;
    drop(provider);
    let refused = gateway.get_as(&unknown, "/api/x");
    assert_eq!(refused.status, 503, "{refused:#?}");
    assert!(!refused.only("Retry-After").is_empty());
    assert_eq!(gateway.get_as(&known, "/api/x").status, 200);
    assert_eq!(gateway.get_as(&unseen, "/signed/x").status, 200, "its keys are known");
}
