use std::collections::HashMap;
use std::time::Duration;

use http::Method;

use super::*;
use crate::model::{ClaimValue, Ends, IssuerId, NonEmpty, Style, TokenKind};
use crate::plan::{
    AuthTokenUse, ClientAuthentication, IssuerKind, JwtAlgorithm, KeySource, MessageKind, OnOutage, PasswordPolicy,
    PushProtocol, ReceiverId, Servers, SmtpTls, Target, TokenType, UpstreamServer,
};
use crate::rules::access::Access;
use crate::rules::cors::Origins;
use crate::rules::routing::Found;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}

/// Secrets that a test sets.
#[derive(Debug, Default)]
struct Given(HashMap<&'static str, &'static str>);

impl SecretSource for Given {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|text| (*text).to_owned())
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        let text = path.to_str().and_then(|name| self.0.get(name));
        text.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn load_text(text: &str) -> Result<(Plan, Report), Report> {
    let secrets = Given(
        [
            ("PORTCULLIS_ADMIN_TOKEN", "hush"),
            ("INTROSPECTION_SECRET", "hush"),
            ("SIGNALS_TOKEN", "hush"),
            ("/run/secret", "hush\r\n"),
        ]
        .into(),
    );
    load("gateway.toml", text, &secrets, Machine { cores: 4, folder: Path::new("") })
}

fn plan_of(text: &str) -> Plan {
    load_text(text).unwrap_or_else(|report| panic!("{report}")).0
}

fn route_of<'p>(plan: &'p Plan, path: &str, method: &Method) -> &'p crate::plan::Route {
    let Found::Route(index) = plan.table.find("gateway.example", path, method, None) else { panic!("{path} has no route") };
    &plan.routes[index]
}

const QUICK_START: &str = include_str!("../../../config/examples/token-service.toml");

#[test]
fn the_quick_start_compiles_without_a_warning() {
    let (plan, report) = load_text(QUICK_START).unwrap_or_else(|report| panic!("{report}"));
    assert!(report.is_empty(), "{report}");
    assert!(matches!(plan.issuers[0].kind, IssuerKind::Embedded));
    assert_eq!(plan.token_service.as_ref().unwrap().public_url.as_ref(), "http://127.0.0.1:8080");
    assert_eq!(plan.admin.token.as_ref().unwrap().expose(), "hush");
    assert_eq!(plan.server.threads, 4);
    for (index, route) in plan.routes.iter().enumerate() {
        assert_eq!(route.index, index);
    }
}

#[test]
fn the_more_specific_route_asks_for_more() {
    let plan = plan_of(QUICK_START);
    let requirements = |path| route_of(&plan, path, &Method::GET).access.requirements().cloned().unwrap();
    assert!(requirements("/api").assurance.is_none());
    assert!(requirements("/api/sensitive/x").assurance.is_some());
    assert_eq!(requirements("/api/admin").scopes.to_string(), "admin");
    assert!(matches!(route_of(&plan, "/public/x", &Method::GET).access, Access::Public));
}

#[test]
fn the_apis_of_the_token_service_bring_their_routes_along() {
    let plan = plan_of(QUICK_START);
    for path in ["/v2/oauth/token", "/v2/oauth/revoke", "/v1/authentications/password", "/oauth2/introspect"] {
        let route = route_of(&plan, path, &Method::POST);
        assert!(matches!((&route.target, &route.access), (Target::TokenService, Access::Public)), "{path}");
        assert_eq!((route.body_limit, route.style()), (16 * 1024, Style::OAuth), "{path}");
    }
    assert!(matches!(route_of(&plan, "/v1/accounts", &Method::GET).access, Access::Bearer(_)));
}

/// A file with this between a listener and a route to an upstream.
fn with(sections: &str, route: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:8080\"\n[upstream.u]\nservers = [\"http://127.0.0.1:9000\"]\n{sections}\n\
         [[route]]\npath = \"/x\"\nupstream = \"u\"\n{route}"
    )
}

fn titles(text: &str) -> Vec<String> {
    load_text(text).unwrap_err().findings().iter().map(|finding| finding.title().to_owned()).collect()
}

#[test]
fn the_bounds_of_the_guard_and_of_the_cache_reach_their_places() {
    let sections = r#"
        [guard]
        head_size = "32KiB"
        target_size = "4KiB"
        fields = 50
        head_deadline = "1s"
        idle = "2s"
        body_idle = "3s"
        connections = 11
        connections_per_source = 12
        requests_per_connection = 13
        [cache]
        tokens = 14
        inactive = 15
        misses_per_second = 16
        miss_burst = 17
        [server]
        threads = 18
        drain = "4s"
        upstream_pool = 19
        log = "text""#;
    let plan = plan_of(&with(sections, r#"access = "public""#));
    let (guard, cache, server) = (&plan.guard, &plan.cache, &plan.server);
    assert_eq!((guard.head_bytes, guard.target_bytes, guard.fields), (32 * 1024, 4 * 1024, 50));
    assert_eq!([guard.head_deadline, guard.idle, guard.body_idle], [seconds(1), seconds(2), seconds(3)]);
    assert_eq!((guard.connections, guard.connections_per_source, guard.requests_per_connection), (11, 12, 13));
    assert_eq!((cache.tokens, cache.inactive, cache.misses_per_second, cache.miss_burst), (14, 15, 16, 17));
    assert_eq!((server.threads, server.drain, server.upstream_pool, server.log_json), (18, seconds(4), 19, false));
}

#[test]
fn an_introspection_endpoint_reaches_its_place_with_its_secret() {
    let sections = r#"
        [issuer.login.introspection]
        url = "https://login.example/introspect"
        client = { post = { id = "gateway", secret = { file = "/run/secret" } } }
        deadline = "1s"
        answer_size = "2KiB"
        cache_ttl = "3s"
        negative_ttl = "4s"
        pool = 5
        issuer = "https://login.example"
        token_prefix = "lt_"
        token_type = "Bearer"
        ca_file = "ca.pem""#;
    let plan = plan_of(&with(sections, "access = \"bearer\"\nmax_revocation_lag = \"2s\""));
    let IssuerKind::Introspection(login) = &plan.issuers[0].kind else { panic!("not an introspection") };
    let ClientAuthentication::Post { id, secret } = &login.authentication else { panic!("not by post") };
    assert_eq!((&**id, secret.expose()), ("gateway", "hush"));
    assert_eq!(login.url, "https://login.example/introspect");
    assert_eq!([login.deadline, login.cache_ttl, login.negative_ttl], [seconds(1), seconds(3), seconds(4)]);
    assert_eq!((login.answer_bytes, login.pool), (2048, 5));
    assert_eq!((login.issuer.as_deref(), login.token_prefix.as_deref()), (Some("https://login.example"), Some("lt_")));
    assert_eq!(login.token_type.as_deref(), Some("Bearer"));
    assert_eq!(login.ca_file.as_deref(), Some(Path::new("ca.pem")));
}

#[test]
fn answers_about_tokens_that_die_of_disuse_are_remembered_for_a_tenth_of_it_at_most() {
    for (keys, idle, remembered) in [
        ("", None, seconds(30)),
        ("idle = \"4m\"", Some(minutes(4)), seconds(24)),
        ("idle = \"4m\"\ncache_ttl = \"20s\"", Some(minutes(4)), seconds(20)),
        ("idle = \"4m\"\ncache_ttl = \"0s\"", Some(minutes(4)), seconds(0)),
        ("idle = \"3s\"", Some(seconds(3)), seconds(1)),
    ] {
        let section = format!(
            "[issuer.login.introspection]\nurl = \"https://login.example/introspect\"\n\
             client = {{ bearer = {{ env = \"PORTCULLIS_ADMIN_TOKEN\" }} }}\n{keys}\n"
        );
        let plan = plan_of(&with(&section, "access = \"optional\"\nactivity = false"));
        let IssuerKind::Introspection(login) = &plan.issuers[0].kind else { panic!("not an introspection") };
        assert_eq!((login.idle, login.cache_ttl), (idle, remembered), "{keys}");
        assert!(!plan.routes[0].activity);
        assert!(plan_of(&with(&section, r#"access = "optional""#)).routes[0].activity, "unless it says otherwise");
    }
}

#[test]
fn an_issuer_of_jwts_reaches_its_place_and_its_types_lose_their_prefix() {
    let sections = r#"
        [issuer.staff.jwt]
        issuer = "https://staff.example"
        audience = ["orders"]
        algorithms = ["ES256", "EdDSA"]
        types = ["application/AT+JWT", ""]
        jwks_url = "https://staff.example/keys"
        deadline = "1s"
        refresh = "11s"
        cooldown = "2s"
        leeway = "3s"
        cache_ttl = "4s"
        negative_ttl = "5s""#;
    let plan = plan_of(&with(sections, r#"access = "optional""#));
    let IssuerKind::Jwt(staff) = &plan.issuers[0].kind else { panic!("not an issuer of JWTs") };
    assert_eq!(staff.algorithms.as_slice(), [JwtAlgorithm::Es256, JwtAlgorithm::EdDsa]);
    assert_eq!(staff.types.iter().map(|name| &**name).collect::<Vec<_>>(), ["at+jwt", ""]);
    assert_eq!([staff.leeway, staff.cache_ttl, staff.negative_ttl], [seconds(3), seconds(4), seconds(5)]);
    let KeySource::Url { url, deadline, refresh, cooldown, ca_file } = &staff.keys else { panic!("not by URL") };
    assert_eq!((url.path(), [*deadline, *refresh, *cooldown]), ("/keys", [seconds(1), seconds(11), seconds(2)]));
    assert_eq!(ca_file, &None);
    assert!(matches!(plan.routes[0].access, Access::Optional(_)));
}

#[test]
fn an_upstream_reaches_its_place_and_its_ports_follow_their_schemes() {
    let text = r#"
        [[listener]]
        address = "[::1]:8080"
        [upstream.u]
        servers = ["http://orders.internal", "https://orders.internal", "http://[::1]:9000"]
        connect_timeout = "1s"
        read_timeout = "2s"
        write_timeout = "3s"
        total_timeout = "4s"
        idle_timeout = "5s"
        retries = 6
        hide_headers = ["X-Powered-By"]
        [[route]]
        path = "/**"
        upstream = "u"
        access = "public""#;
    let plan = plan_of(text);
    let upstream = &plan.upstreams[0];
    let Servers::At(servers) = &upstream.servers else { panic!("no servers") };
    let server = |host: &str, port, tls| UpstreamServer { host: host.into(), port, tls };
    let expected = [server("orders.internal", 80, false), server("orders.internal", 443, true), server("::1", 9000, false)];
    assert_eq!(servers.as_slice(), expected);
    let waits = [
        upstream.connect_timeout,
        upstream.read_timeout,
        upstream.write_timeout,
        upstream.total_timeout,
        upstream.idle_timeout,
    ];
    assert_eq!(waits, [1, 2, 3, 4, 5].map(seconds));
    assert_eq!((upstream.retries, upstream.hide_headers[0].as_str()), (6, "x-powered-by"));
}

#[test]
fn the_lives_of_the_oauth_api_reach_their_places() {
    let text = r#"
        environment = "sandbox"
        [[listener]]
        address = "127.0.0.1:8080"
        [token_service]
        public_url = "https://api.example/"
        hashing = { memory = "64MiB", passes = 3, parallel = 4, queue = 5 }
        lock = { attempts = 6, duration = "7m" }
        [token_service.oauth]
        access_ttl = "1s"
        refresh_idle = "2s"
        refresh_absolute = "3s"
        refresh_grace = "4s"
        superseded_access = "5s"
        code_ttl = "6s"
        verification_ttl = "7s"
        verification_tries = 8
        resend_interval = "9s"
        codes_per_phone = 10
        paths = { token = "/t" }
        [upstream.u]
        builtin = "echo"
        [[route]]
        path = "/x"
        upstream = "u"
        access = "public""#;
    let plan = plan_of(text);
    let service = plan.token_service.as_ref().unwrap();
    let oauth = service.oauth.as_ref().unwrap();
    let lives = [
        oauth.access_ttl,
        oauth.refresh_idle,
        oauth.refresh_absolute,
        oauth.refresh_grace,
        oauth.superseded_access,
        oauth.code_ttl,
        oauth.verification_ttl,
        oauth.resend_interval,
    ];
    assert_eq!(lives, [1, 2, 3, 4, 5, 6, 7, 9].map(seconds));
    assert_eq!((oauth.verification_tries, oauth.codes_per_phone), (8, 10));
    assert_eq!((&*oauth.paths.token, &*oauth.paths.revoke), ("/t", "/v2/oauth/revoke"));
    assert_eq!(&*service.public_url, "https://api.example");
    let hashing = &service.hashing;
    assert_eq!((hashing.memory_kib, hashing.passes, hashing.parallel, hashing.queue), (64 * 1024, 3, 4, 5));
    assert_eq!((service.lock.attempts, service.lock.duration), (6, minutes(7)));
    assert_eq!(&*route_of(&plan, "/t", &Method::POST).name, "oauth.token");
}

/// A plan in production with this behind the token service's own keys.
fn plan_of_service(service: &str) -> Plan {
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:8080\"\n[token_service]\npublic_url = \"https://api.example\"\n{service}\n\
         [upstream.u]\nbuiltin = \"echo\"\n[[route]]\npath = \"/x\"\nupstream = \"u\"\naccess = \"public\""
    );
    plan_of(&text)
}

#[test]
fn what_is_said_of_carriers_reaches_its_place() {
    let plan = plan_of_service(
        r#"
        [token_service.oauth]
        [token_service.notifier]
        attempts = 3
        webhook = { url = "https://messages.internal/m", secret = { env = "PORTCULLIS_ADMIN_TOKEN" }, carries = ["sms", "push"], deadline = "4s" }
        [token_service.notifier.smtp]
        server = "mail.example"
        from = "Example <no-reply@example.com>"
        login = { username = "gateway", password = { env = "PORTCULLIS_ADMIN_TOKEN" } }
        subject = "Code"
        deadline = "5s"
        ca_file = "ca.pem""#,
    );
    let notifier = plan.token_service.as_ref().unwrap().notifier.as_ref().unwrap();
    let (webhook, smtp) = (notifier.webhook.as_ref().unwrap(), notifier.smtp.as_ref().unwrap());
    assert_eq!((notifier.attempts, webhook.deadline, smtp.deadline), (3, seconds(4), seconds(5)));
    assert_eq!(webhook.url, "https://messages.internal/m");
    assert_eq!(webhook.carries.as_slice(), [MessageKind::Sms, MessageKind::Push]);
    assert_eq!((&*smtp.server, smtp.port, smtp.tls), ("mail.example", 465, SmtpTls::Implicit));
    assert_eq!((smtp.from.to_string().as_str(), &*smtp.subject), ("Example <no-reply@example.com>", "Code"));
    assert_eq!(&*smtp.login.as_ref().unwrap().0, "gateway");
    assert!(smtp.ca_file.as_ref().unwrap().ends_with("ca.pem"));
}

#[test]
fn the_port_of_a_mail_server_follows_from_its_encryption_unless_it_is_said() {
    for (keys, port) in [
        ("server = \"mail.example\"\ntls = \"starttls\"", 587),
        ("server = \"127.0.0.1\"\ntls = \"none\"", 25),
        ("server = \"mail.example\"\nport = 2525", 2525),
    ] {
        let plan = plan_of_service(&format!(
            "[token_service.back_office]\n[token_service.notifier.smtp]\nfrom = \"no-reply@example.com\"\n{keys}"
        ));
        let notifier = plan.token_service.as_ref().unwrap().notifier.as_ref().unwrap();
        assert_eq!(notifier.smtp.as_ref().unwrap().port, port, "{keys}");
    }
}

#[test]
fn the_lives_and_limits_of_the_back_office_api_reach_their_places() {
    let text = r#"
        environment = "sandbox"
        [[listener]]
        address = "127.0.0.1:8080"
        [token_service]
        public_url = "https://api.example/"
        keys = { max_age = "1s" }
        [token_service.back_office]
        prefix = "/staff"
        token_type = "at+jwt"
        access_ttl = "2s"
        refresh_idle = "3s"
        refresh_absolute = "4s"
        refresh_grace = "5s"
        superseded_access = "6s"
        code_ttl = "7s"
        code_tries = 8
        codes_per_account = 9
        limits = { sign_in = 10, confirm = 11, refresh = 12, window = "13s", block = "14s" }
        [upstream.u]
        builtin = "echo"
        [[route]]
        path = "/staff/**"
        upstream = "u"
        access = "public""#;
    let plan = plan_of(text);
    let service = plan.token_service.as_ref().unwrap();
    let api = service.back_office.as_ref().unwrap();
    let lives = [
        service.keys_published_for,
        api.access_ttl,
        api.refresh_idle,
        api.refresh_absolute,
        api.refresh_grace,
        api.superseded_access,
        api.code_ttl,
        api.limits.window,
        api.limits.block,
    ];
    assert_eq!(lives, [1, 2, 3, 4, 5, 6, 7, 13, 14].map(seconds));
    assert_eq!((api.code_tries, api.codes_per_account), (8, 9));
    assert_eq!((api.limits.sign_in, api.limits.confirm, api.limits.refresh), (10, 11, 12));
    assert_eq!((&*api.audience, api.token_type), ("https://api.example", TokenType::AccessToken));
    let name = |path| &*route_of(&plan, path, &Method::POST).name;
    let names = ["/staff/signin", "/staff/2fa/confirm", "/staff/refresh", "/staff/signout"].map(name);
    assert_eq!(names, ["back_office.sign_in", "back_office.confirm", "back_office.refresh", "back_office.sign_out"]);
    let sign_out = route_of(&plan, "/staff/signout", &Method::POST);
    assert!(matches!(sign_out.access, Access::Bearer(_)));
    assert_eq!(sign_out.style(), Style::BackOffice);
}

#[test]
fn the_lives_and_limits_of_the_session_api_reach_their_places() {
    let text = with(
        r#"
        [token_service.session]
        prefix = "/sessions"
        idle = "1m"
        absolute = "1h"
        challenge_ttl = "2m"
        code_tries = 3
        resend_interval = "4s"
        challenges_per_account = 5
        logins_per_source = 6
        logins = 7
        auth_token = "exchange_only"
        password_life = "90d"
        password_policy = "composition"
        callback_secret = { file = "/run/secret" }
        "#,
        "access = \"public\"",
    );
    let plan = plan_of(&format!("environment = \"sandbox\"\n{text}"));
    let api = plan.token_service.as_ref().and_then(|service| service.session.as_ref()).unwrap();
    assert_eq!((&*api.prefix, api.idle, api.absolute), ("/sessions", minutes(1), minutes(60)));
    let limits = api.challenges;
    assert_eq!((limits.ttl, limits.tries, limits.resend_interval, limits.per_account), (minutes(2), 3, seconds(4), 5));
    assert_eq!((api.logins_per_source, api.logins, api.auth_token), (6, 7, AuthTokenUse::ExchangeOnly));
    assert_eq!(api.password_life, Some(minutes(90 * 24 * 60)));
    assert_eq!(api.password_policy, PasswordPolicy::Composition);
    assert_eq!(api.callback_secret.as_ref().map(crate::model::Secret::expose), Some("hush"));
    assert_eq!(&*route_of(&plan, "/sessions/logout", &Method::POST).name, "session.log_out");
}

#[test]
fn how_much_a_source_may_try_reaches_its_place_and_can_be_switched_off() {
    let text = with(
        r#"
        [token_service]
        failures_per_source = 7
        [token_service.oauth]
        logins_per_source = 8
        codes_per_source = "off"
        [token_service.back_office]
        logins_per_source = "off"
        "#,
        "access = \"public\"",
    );
    let plan = plan_of(&format!("environment = \"sandbox\"\n{text}"));
    let service = plan.token_service.as_ref().unwrap();
    let (oauth, back_office) = (service.oauth.as_ref().unwrap(), service.back_office.as_ref().unwrap());
    let read = (service.failures_per_source, oauth.logins_per_source, oauth.codes_per_source, back_office.logins_per_source);
    assert_eq!(read, (Some(7), Some(8), None, None));
    let plan = plan_of_service(
        r#"
        [token_service.oauth]
        [token_service.back_office]
        [token_service.notifier.webhook]
        url = "https://m.example"
        secret = { file = "/run/secret" }
        carries = ["sms", "email"]
        "#,
    );
    let service = plan.token_service.as_ref().unwrap();
    let (oauth, back_office) = (service.oauth.as_ref().unwrap(), service.back_office.as_ref().unwrap());
    let read = (service.failures_per_source, oauth.logins_per_source, oauth.codes_per_source, back_office.logins_per_source);
    assert_eq!(read, (Some(100), Some(60), Some(30), Some(60)));
}

#[test]
fn every_answer_below_the_session_apis_prefix_names_its_request_and_speaks_its_style() {
    let plan = plan_of(QUICK_START);
    let everywhere = [
        ("/multi/login_with_password", Method::POST),
        ("/multi/identities", Method::GET),
        ("/multi", Method::GET),
        ("/multi/", Method::DELETE),
        ("/multi/unknown/path", Method::PATCH),
        ("/multi/stepup/challenges/otp/SMS", Method::POST),
        ("/multi/stepup/unknown", Method::POST),
    ];
    for (path, method) in everywhere {
        let route = route_of(&plan, path, &method);
        assert!(route.request_ref, "{path}");
        assert_eq!((route.style(), matches!(route.target, Target::TokenService)), (Style::Session, true), "{path}");
    }
    let found = plan.table.find("gateway.example", "/multi/login_with_password", &Method::GET, None);
    let Found::WrongMethod { route, allowed } = found else { panic!("{found:?}") };
    assert!(plan.routes[route].request_ref && allowed.contains(&Method::POST));
    assert!(!route_of(&plan, "/api/x", &Method::GET).request_ref);
}

#[test]
fn a_temporary_token_gets_to_the_password_and_nowhere_else() {
    let plan = plan_of(QUICK_START);
    let takes = |path, method| match &route_of(&plan, path, &method).access {
        Access::Bearer(requirements) => requirements.kinds.contains(&TokenKind::Temporary),
        Access::Public | Access::Optional(_) => panic!("{path} is open"),
    };
    assert!(takes("/multi/passwords/update", Method::POST));
    let others = ["/multi/logout", "/multi/stepup/challenges/otp/SMS", "/multi/authentication_factors/push/AUTHY"];
    assert!(others.into_iter().all(|path| !takes(path, Method::POST)));
    assert!(!takes("/multi/identities", Method::GET) && !takes("/api/x", Method::GET));
    // These say for themselves what is wrong with a token, or look at none.
    for path in ["/multi/access_token", "/multi/login_with_password", "/multi/callbacks/push"] {
        assert!(matches!(route_of(&plan, path, &Method::POST).access, Access::Public), "{path}");
    }
}

#[test]
fn a_token_for_the_exchange_only_is_taken_by_no_route_of_the_operators_either() {
    let text = QUICK_START.replace("[token_service.session]", "[token_service.session]\nauth_token = \"exchange_only\"");
    let kinds = |text: &str, path, method| {
        let plan = plan_of(text);
        let requirements = route_of(&plan, path, &method).access.requirements().unwrap().clone();
        requirements.kinds.as_slice().to_vec()
    };
    let (auth, access) = (TokenKind::Auth, TokenKind::Access);
    assert_eq!(kinds(QUICK_START, "/api/x", Method::GET), [access, auth]);
    assert_eq!(kinds(&text, "/api/x", Method::GET), [access]);
    assert_eq!(kinds(&text, "/multi/stepup/challenges/otp/SMS", Method::POST), [access]);
    assert_eq!(kinds(&text, "/multi/passwords/update", Method::POST), [access, TokenKind::Temporary]);
    assert_eq!(kinds(&text, "/multi/identities", Method::GET), [auth, access]);
    assert_eq!(kinds(&text, "/multi/logout", Method::POST), [auth, access]);
}

#[test]
fn what_a_token_must_have_reaches_the_access_rule() {
    let route = r#"
        ends = "subject"
        [route.access.bearer]
        accept = ["auth"]
        scopes = ["write", "read"]
        audience = ["orders"]
        claims = { role = ["ops", 7, true] }
        acr = ["second-factor"]
        methods = ["otp"]
        max_age = "5m""#;
    let issuer = "[issuer.a.jwt]\nissuer = \"i\"\naudience = [\"x\"]\nkey_files = [\"keys.json\"]";
    let plan = plan_of(&with(issuer, route));
    let wanted = plan.routes[0].access.requirements().unwrap();
    assert_eq!(wanted.issuers, NonEmpty::one(IssuerId(0)));
    assert_eq!(wanted.kinds, NonEmpty::one(TokenKind::Auth));
    assert_eq!(wanted.scopes.to_string(), "read write");
    assert_eq!(wanted.audience, Some(NonEmpty::one("orders".into())));
    let values = [ClaimValue::Text("ops".into()), ClaimValue::Integer(7), ClaimValue::Bool(true)];
    assert_eq!((&*wanted.claims[0].name, wanted.claims[0].one_of.as_slice()), ("role", values.as_slice()));
    let assurance = wanted.assurance.as_ref().unwrap();
    assert_eq!(
        (&assurance.acr, &assurance.methods),
        (&Some(NonEmpty::one("second-factor".into())), &Some(NonEmpty::one("otp".into())))
    );
    assert_eq!(assurance.max_age, Some(minutes(5)));
    assert_eq!(plan.routes[0].passage.as_ref().unwrap().ends, Some(Ends::Subject));
}

#[test]
fn a_route_goes_before_the_defaults_and_takes_from_them_what_it_does_not_say() {
    let sections = r#"
        [defaults]
        style = "session"
        body_limit = "1KiB"
        on_outage = { grace = "7s" }
        forward_authorization = true
        identity = { subject = "x-user", client = "x-client" }
        cors = "web"
        [cors.web]
        origins = ["https://app.example"]
        max_age = "10m"
        [[route]]
        path = "/as-defaults"
        upstream = "u"
        access = "public""#;
    let route = r#"
        access = "public"
        style = "back-office"
        body_limit = "2KiB"
        on_outage = "deny"
        forward_authorization = false
        identity = { subject = "x-account" }
        cors = { origins = "*" }"#;
    let plan = plan_of(&with(sections, route));
    let [below, above] = &*plan.routes else { panic!("two routes are expected") };
    assert_eq!((below.style(), above.style()), (Style::Session, Style::BackOffice));
    assert_eq!((below.body_limit, above.body_limit), (1024, 2048));
    assert_eq!((below.freshness.on_outage, above.freshness.on_outage), (OnOutage::Grace(seconds(7)), OnOutage::Deny));
    assert_eq!((below.forward_authorization, above.forward_authorization), (true, false));
    assert_eq!((below.identity.subject.as_str(), above.identity.subject.as_str()), ("x-user", "x-account"));
    assert_eq!(above.identity.client.as_str(), "x-client");
    assert_eq!(below.envelope.cors.max_age, Some(600));
    assert_eq!(below.envelope.cors.origins, Origins::Listed(Box::new(["https://app.example".into()])));
    assert_eq!(above.envelope.cors.origins, Origins::Any);
    assert_eq!(plan.fallback.style, Style::Session);
}

#[test]
fn the_only_issuer_need_not_be_named_but_two_must_be() {
    let issuer = |name| format!("[issuer.{name}.jwt]\nissuer = \"i\"\naudience = [\"x\"]\nkey_files = [\"keys.json\"]\n");
    assert!(load_text(&with(&issuer("a"), "access = \"bearer\"")).is_ok());
    let two = issuer("a") + &issuer("b");
    assert_eq!(titles(&with(&two, "access = \"bearer\"")), ["it is not said whose tokens are taken here"]);
    assert_eq!(titles(&with("", "access = \"bearer\"")), ["there is nobody to ask about tokens"]);
    let named = load_text(&with(&two, "access = { bearer = { issuers = [\"b\", \"a\"] } }")).unwrap().0;
    let wanted = named.routes[0].access.requirements().unwrap();
    assert_eq!(wanted.issuers.as_slice(), [IssuerId(1), IssuerId(0)]);
}

#[test]
fn the_embedded_token_service_is_the_issuer_named_embedded_and_comes_first() {
    let sections = "[token_service]\npublic_url = \"https://api.example\"\n\
                    [issuer.a.jwt]\nissuer = \"i\"\naudience = [\"x\"]\nkey_files = [\"keys.json\"]";
    let plan = plan_of(&with(sections, "access = { bearer = { issuers = [\"a\", \"embedded\"] } }"));
    let names: Vec<&str> = plan.issuers.iter().map(|issuer| &*issuer.name).collect();
    assert_eq!(names, ["embedded", "a"]);
    let wanted = plan.routes[0].access.requirements().unwrap();
    assert_eq!(wanted.issuers.as_slice(), [IssuerId(1), IssuerId(0)]);
}

#[test]
fn no_secret_is_printed_by_a_plan_or_a_report() {
    let (plan, _) = load_text(QUICK_START).unwrap_or_else(|report| panic!("{report}"));
    assert!(!format!("{plan:?}").contains("hush"));
}

#[test]
fn a_receiver_is_as_its_issuer_of_jwts_unless_it_says_otherwise_and_brings_its_route_along() {
    let plan = plan_of(include_str!("../../../config/examples/receivers.toml"));
    let [logout, signals] = &*plan.receivers else { panic!("there are two") };
    assert!(matches!(logout.protocol, PushProtocol::Logout));
    assert_eq!(
        (logout.issuer, &*logout.signer, &*logout.subjects_of),
        (IssuerId(0), "https://staff.example", "https://staff.example")
    );
    assert_eq!(logout.audience.as_slice(), [Box::from("portal")]);
    assert_eq!(logout.algorithms.as_slice(), [JwtAlgorithm::Rs256, JwtAlgorithm::Es256]);
    assert_eq!(&*logout.types, [Box::from("logout+jwt"), Box::from("")]);
    assert_eq!(logout.max_age, minutes(5));
    assert!(matches!(&signals.protocol, PushProtocol::Events { authorization: Some(secret) } if secret.expose() == "hush"));
    assert_eq!((signals.issuer, &*signals.signer), (IssuerId(1), "https://login.example"));
    assert_eq!(signals.algorithms.as_slice(), [JwtAlgorithm::Rs256, JwtAlgorithm::Es256, JwtAlgorithm::EdDsa]);
    assert_eq!((signals.max_age, &*signals.types), (minutes(24 * 60), &[Box::from("secevent+jwt")][..]));
    let route = route_of(&plan, "/events/signals", &Method::POST);
    assert!(matches!((&route.target, &route.access), (Target::Receiver(ReceiverId(1), _), Access::Public)));
    assert_eq!(route.to_string(), "route receiver.signals (public) -> receiver of security events");
    assert!(matches!(plan.table.find("x", "/events/signals", &Method::GET, None), Found::WrongMethod { .. }));
}
