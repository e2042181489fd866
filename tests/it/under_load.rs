//! Under a thousand requests a second with one token, nothing passes that started after the token's end was answered: not at
//! the embedded service, not in front of one that takes its time, not for a signed token, and not after a power cut.
//!
//! Five rounds of each; `PORTCULLIS_ROUNDS=50 cargo test --test it under_load` makes more of them.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Answer, Client, Gateway, Quickstart, Request, Response, Upstream, issuer, until, upstream};

/// Requests on their way at once. Each follows the one before it on its connection after a pause, so that all together there
/// are about a thousand a second.
const CONNECTIONS: usize = 8;
const PAUSE: Duration = Duration::from_millis(8);
/// How many requests each connection sends after the end: for longer than an introspection that was on its way can still take.
const AFTERWARDS: usize = 40;
/// How long an introspection takes in front of the service that takes its time.
const DELAY: Duration = Duration::from_millis(200);

#[expect(clippy::disallowed_methods, reason = "whoever runs the suite may ask for more rounds")]
fn rounds() -> usize {
    std::env::var("PORTCULLIS_ROUNDS").map_or(5, |text| text.parse().expect("a number of rounds"))
}

/// A token service, and what stands in front of it.
struct Front {
    /// A quick start whose limits are out of the way.
    quick: Quickstart,
    /// Another gateway in front of it.
    edge: Option<Gateway>,
    /// What the edge talks to beside it.
    _servers: Vec<Upstream>,
    /// A path for which a token is needed and nothing else.
    path: &'static str,
}

impl Front {
    /// The embedded service by itself.
    fn embedded() -> Self {
        let roomy = "[token_service.back_office.limits]\nsign_in = 1000\n";
        let quick = Quickstart::start().reconfigured(|config| config + "\n" + roomy);
        Self { quick, edge: None, _servers: Vec::new(), path: "/api/x" }
    }

    /// Behind a gateway that asks it about tokens, and is answered late. Answers are so short-lived that one is on its way most
    /// of the time.
    fn asked_late() -> Self {
        let embedded = Self::embedded();
        let introspection = embedded.introspection();
        let main = issuer("main", introspection.address, "cache_ttl = \"1s\"");
        embedded.behind(&main, vec![introspection])
    }

    /// Behind a gateway that checks signatures and asks nobody.
    fn signed() -> Self {
        let embedded = Self::embedded();
        let url = format!("http://{}", embedded.quick.address);
        let main = format!(
            "[issuer.main.jwt]\nissuer = \"{url}\"\naudience = [\"{url}\"]\njwks_url = \"{url}/.well-known/jwks.json\"\n"
        );
        embedded.behind(&main, Vec::new())
    }

    fn behind(self, issuer: &str, mut servers: Vec<Upstream>) -> Self {
        let bearer = "access = { bearer = { issuers = [\"main\"] } }";
        let passing = |path: &str, access: &str, role: &str| {
            let target = "upstream = \"origin\"\nforward_authorization = true";
            format!("[[route]]\npath = \"{path}\"\n{target}\n{access}\nrole = \"{role}\"\n")
        };
        let app = Upstream::answering(Answer::ok("fine"));
        let config = upstream("app", &[app.address], "")
            + &upstream("origin", &[self.quick.address], "")
            + issuer
            + &format!("[[route]]\npath = \"/guarded/**\"\nupstream = \"app\"\nmax_revocation_lag = \"300ms\"\n{bearer}\n")
            + &passing("/v2/oauth/revoke", "access = \"public\"", "revoke")
            + &passing("/multi/logout", bearer, "logout")
            + &passing("/multi/passwords/update", bearer, "password-update")
            + &passing("/api/v2/signout", bearer, "logout");
        servers.push(app);
        Self { edge: Some(Gateway::start(&config)), _servers: servers, path: "/guarded/x", ..self }
    }

    /// Answers introspection as the service does, and takes its time.
    fn introspection(&self) -> Upstream {
        let service = self.quick.address;
        let (id, secret) = (self.quick.value("INTROSPECT_CLIENT_ID"), self.quick.value("INTROSPECT_CLIENT_SECRET"));
        let client = format!("&client_id={id}&client_secret={secret}");
        Upstream::scripted(move |question| {
            let body = String::from_utf8(question.body.clone()).unwrap() + &client;
            let told = Request::post("/oauth2/introspect", "application/x-www-form-urlencoded", body).to(service);
            thread::sleep(DELAY);
            Answer::new(told.status, &[("Content-Type", "application/json")], &told.body)
        })
    }

    fn address(&self) -> SocketAddr {
        self.edge.as_ref().map_or(self.quick.address, |edge| edge.address)
    }

    fn ask(&self, request: &Request) -> Response {
        request.to(self.address())
    }

    fn use_token(&self, token: &str) -> u16 {
        self.ask(&Request::get(self.path).bearer(token)).status
    }

    /// Ends every process as a power cut would, and starts them again.
    fn survive_a_power_cut(self) -> Self {
        let quick = self.quick.survive_a_power_cut();
        Self { quick, edge: self.edge.map(|edge| Gateway::start_again(edge.kill())), ..self }
    }

    /// A token of each round is ended under load, and all of them are shown again after a power cut.
    fn rounds(self, mut begin: impl FnMut(&Self) -> String, mut end: impl FnMut(&Self, &str)) {
        let mut ended = Vec::new();
        for _ in 0..rounds() {
            let token = begin(&self);
            self.end_under_load(&token, || end(&self, &token));
            ended.push(token);
        }
        let after = self.survive_a_power_cut();
        for token in ended {
            assert_eq!(after.use_token(&token), 401, "after the power cut");
        }
    }

    /// Sends requests with a token from all sides, ends it meanwhile, and goes on for a while.
    fn end_under_load(&self, token: &str, end: impl FnOnce()) {
        let (over, used) = (AtomicBool::new(false), AtomicUsize::new(0));
        let request = Request::get(self.path).bearer(token).bytes();
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let mut client = Client::connect(self.address());
                    let mut afterwards = 0;
                    while afterwards < AFTERWARDS {
                        let late = over.load(Ordering::SeqCst);
                        client.send(&request);
                        let status = client.receive().status;
                        if late {
                            assert_eq!(status, 401, "it started after the end of its token was answered");
                            afterwards += 1;
                        } else {
                            used.fetch_add(usize::from(status == 200), Ordering::SeqCst);
                        }
                        thread::sleep(PAUSE);
                    }
                });
            }
            until("the token is in use", || used.load(Ordering::SeqCst) > 20 * CONNECTIONS);
            end();
            over.store(true, Ordering::SeqCst);
        });
    }

    fn with_api_key(&self, request: Request) -> Request {
        request.field("api-key", self.quick.value("SESSION_API_KEY"))
    }

    /// A token of the session API.
    fn log_in(&self, password: &str) -> String {
        let body = json!({ "email": self.quick.value("ACCOUNT_EMAIL"), "password": { "value": password } });
        told(&self.quick.ask(&self.with_api_key(Request::json("/multi/login_with_password", &body))), "/token")
    }

    /// A token of the back office.
    fn sign_in(&self) -> String {
        let body = json!({ "email": self.quick.value("ACCOUNT_EMAIL"), "password": self.quick.value("ACCOUNT_PASSWORD") });
        told(&self.quick.ask(&Request::json("/api/v2/signin", &body)), "/accessToken/token")
    }

    fn log_out(&self, token: &str) {
        let logout = self.with_api_key(Request::new("POST", "/multi/logout").bearer(token).body(""));
        assert_eq!(self.ask(&logout).status, 204);
    }

    fn sign_out(&self, token: &str) {
        assert_eq!(self.ask(&Request::new("POST", "/api/v2/signout").bearer(token).body("")).status, 200);
    }

    fn revoke(&self, token: &str) {
        let (id, secret) = (self.quick.value("OAUTH_CLIENT_ID"), self.quick.value("OAUTH_CLIENT_SECRET"));
        let form = [("token", token), ("client_id", id), ("client_secret", secret)];
        assert_eq!(self.ask(&Request::form("/v2/oauth/revoke", &form)).status, 200);
    }

    /// A logout by the session API, from a session that began with the account's password.
    fn logouts(self) {
        self.rounds(|front| front.log_in(front.quick.value("ACCOUNT_PASSWORD")), Self::log_out);
    }

    fn sign_outs(self) {
        self.rounds(Self::sign_in, Self::sign_out);
    }

    fn revocations(self) {
        self.rounds(|front| front.quick.tokens().access, Self::revoke);
    }

    /// The refresh token is revoked, and its access token is in use.
    fn revocations_by_refresh_token(self) {
        let refresh = RefCell::new(Vec::new());
        self.rounds(
            |front| {
                let tokens = front.quick.tokens();
                refresh.borrow_mut().push(tokens.refresh);
                tokens.access
            },
            |front, _| front.revoke(&refresh.borrow_mut().pop().unwrap()),
        );
    }

    /// Every round changes the password, from the session whose token is in use.
    fn new_passwords(self) {
        let password = RefCell::new(self.quick.value("ACCOUNT_PASSWORD").to_owned());
        self.rounds(
            |front| front.log_in(&password.borrow()),
            |front, token| {
                let new = format!("{}+", password.borrow());
                let body = json!({ "oldPassword": { "value": *password.borrow() }, "newPassword": { "value": new } });
                let update = Request::json("/multi/passwords/update", &body).bearer(token);
                let next = told(&front.ask(&front.with_api_key(update)), "/token");
                assert_eq!(front.use_token(&next), 200, "the session that the new password began");
                password.replace(new);
            },
        );
    }

    /// An operator ends the token, its session or everything of its subject, by turns.
    fn by_hand(self) {
        let turn = Cell::new(0);
        self.rounds(
            |front| front.quick.tokens().access,
            |front, token| {
                let facts = front.quick.introspect(token).json();
                let what = match turn.replace(turn.get() + 1) % 3 {
                    0 => json!({ "token": token }),
                    1 => json!({ "session": facts["sid"] }),
                    _ => json!({ "subject": facts["sub"] }),
                };
                let revoke = Request::json("/admin/revoke", &what).bearer(front.quick.value("ADMIN_TOKEN"));
                assert_eq!(revoke.to(front.quick.admin).status, 200);
            },
        );
    }
}

#[track_caller]
fn told(answer: &Response, pointer: &str) -> String {
    assert_eq!(answer.status, 200, "{answer:#?}");
    let body: Value = answer.json();
    body.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} of {body}")).to_owned()
}

#[test]
fn a_logout_ends_a_session_of_the_embedded_service() {
    Front::embedded().logouts();
}

#[test]
fn a_sign_out_ends_a_signed_token_of_the_embedded_service() {
    Front::embedded().sign_outs();
}

#[test]
fn a_revocation_ends_a_token_of_the_embedded_service() {
    Front::embedded().revocations();
}

#[test]
fn a_revoked_refresh_token_ends_its_access_token() {
    Front::embedded().revocations_by_refresh_token();
}

#[test]
fn a_new_password_ends_the_sessions_of_the_embedded_service() {
    Front::embedded().new_passwords();
}

#[test]
fn an_operator_ends_tokens_of_the_embedded_service() {
    Front::embedded().by_hand();
}

#[test]
fn a_logout_that_passes_through_ends_what_an_answer_on_its_way_still_calls_good() {
    Front::asked_late().logouts();
}

#[test]
fn a_sign_out_that_passes_through_ends_what_an_answer_on_its_way_still_calls_good() {
    Front::asked_late().sign_outs();
}

#[test]
fn a_revocation_that_passes_through_ends_what_an_answer_on_its_way_still_calls_good() {
    Front::asked_late().revocations();
}

#[test]
fn a_refresh_token_that_is_revoked_in_passing_ends_what_an_answer_on_its_way_still_calls_good() {
    Front::asked_late().revocations_by_refresh_token();
}

#[test]
fn a_new_password_that_passes_through_ends_what_an_answer_on_its_way_still_calls_good() {
    Front::asked_late().new_passwords();
}

#[test]
fn a_sign_out_that_passes_through_ends_a_token_whose_signature_goes_on_to_verify() {
    Front::signed().sign_outs();
}

#[test]
fn an_operator_ends_a_token_whose_signature_goes_on_to_verify() {
    let front = Front::signed();
    front.rounds(Front::sign_in, |front, token| {
        let edge = front.edge.as_ref().unwrap();
        let revoke = Request::json("/admin/revoke", &json!({ "token": token })).bearer(ADMIN_TOKEN);
        assert_eq!(revoke.to(edge.admin).status, 200);
    });
}
