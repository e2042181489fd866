//! The quick start as a newcomer runs it, and its OAuth API as a client uses it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::gateway::{run_in, serving};
use crate::support::process::{Finished, Process};
use crate::support::{Request, Response, Scratch, unused_address};

/// A running quick start; killed when dropped.
#[derive(Debug)]
pub(crate) struct Quickstart {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where health and metrics are.
    pub(crate) admin: SocketAddr,
    variables: HashMap<String, String>,
    process: Process,
    dir: Scratch,
}

/// What a redeemed code or refresh token gives.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    /// The access token.
    pub(crate) access: String,
    /// The refresh token.
    pub(crate) refresh: String,
}

impl Quickstart {
    /// Starts in a new directory.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_in(Scratch::new())
    }

    /// Starts in this directory.
    #[track_caller]
    pub(crate) fn start_in(dir: Scratch) -> Self {
        let (listen, admin) = (unused_address().to_string(), unused_address().to_string());
        let arguments = ["quickstart".as_ref(), "--listen".as_ref(), listen.as_ref(), "--admin".as_ref(), admin.as_ref()];
        let arguments = arguments.into_iter().chain(["--dir".as_ref(), dir.path().as_os_str()]);
        let (process, address, admin) = serving(Process::start(arguments));
        let variables = variables(&dir.read("quickstart.env"));
        Self { address, admin, variables, process, dir }
    }

    /// Stops it; its directory stays.
    pub(crate) fn stop(self) -> (Finished, Scratch) {
        self.process.terminate();
        (self.process.finish(), self.dir)
    }

    /// Starts it again with its configuration changed, as an operator would: `portcullis run` on the same directory.
    #[track_caller]
    pub(crate) fn reconfigured(self, change: impl FnOnce(String) -> String) -> Self {
        let variables = self.variables.clone();
        let (finished, dir) = self.stop();
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        dir.write("gateway.toml", &change(dir.read("gateway.toml")));
        Self::rerun(dir, variables)
    }

    /// Ends it as a power cut would, and starts it again on what that left.
    #[track_caller]
    pub(crate) fn survive_a_power_cut(self) -> Self {
        let variables = self.variables.clone();
        Self::rerun(self.kill(), variables)
    }

    #[track_caller]
    fn rerun(dir: Scratch, variables: HashMap<String, String>) -> Self {
        let (process, address, admin) = run_in(&dir);
        Self { address, admin, variables, process, dir }
    }

    /// Ends it as a power cut would (SIGKILL); its directory stays.
    pub(crate) fn kill(self) -> Scratch {
        let Self { process, dir, .. } = self;
        drop(process);
        dir
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A value of its environment file.
    #[track_caller]
    pub(crate) fn value(&self, name: &str) -> &str {
        self.variables.get(name).unwrap_or_else(|| panic!("{name} is not in quickstart.env"))
    }

    /// Every value of its environment file.
    pub(crate) fn values(&self) -> &HashMap<String, String> {
        &self.variables
    }

    /// Sends a request on a connection of its own.
    #[track_caller]
    pub(crate) fn ask(&self, request: &Request) -> Response {
        request.to(self.address)
    }

    /// Asks for a path with a Bearer token.
    #[track_caller]
    pub(crate) fn get_as(&self, token: &str, path: &str) -> Response {
        self.ask(&Request::get(path).bearer(token))
    }

    /// Asks for a verification code to be sent.
    #[track_caller]
    pub(crate) fn request_code(&self, phone: &str) -> Response {
        let body = json!({ "phoneNumber": phone, "language": "en", "destination": "Phone" });
        self.ask(&Request::json("/v2/verification/request-code", &body))
    }

    /// Hands in a verification code.
    #[track_caller]
    pub(crate) fn verify_code(&self, phone: &str, code: &str) -> Response {
        let body = json!({ "phoneNumber": phone, "verificationCode": code });
        self.ask(&Request::json("/v2/verification/verify-code", &body))
    }

    /// A token that proves the possession of this phone.
    #[track_caller]
    pub(crate) fn mfa_token(&self, phone: &str) -> String {
        let requested = self.request_code(phone);
        assert!(matches!(requested.status, 200..=204), "request-code: {requested:#?}");
        let verified = self.verify_code(phone, "123456");
        assert_eq!(verified.status, 200, "verify-code: {verified:#?}");
        verified.json()["verificationToken"].as_str().expect("a verificationToken").to_owned()
    }

    /// What a good sign-in sends.
    #[track_caller]
    pub(crate) fn sign_in_body(&self) -> Value {
        json!({
            "mfaToken": self.mfa_token(self.value("ACCOUNT_PHONE")),
            "password": self.value("ACCOUNT_PASSWORD"),
            "clientId": self.value("OAUTH_CLIENT_ID"),
            "clientSecret": self.value("OAUTH_CLIENT_SECRET"),
            "phoneNumber": self.value("ACCOUNT_PHONE"),
        })
    }

    /// Signs in with this.
    #[track_caller]
    pub(crate) fn sign_in(&self, body: &Value) -> Response {
        self.ask(&Request::json("/v1/authentications/password", body))
    }

    /// A fresh authorization code.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let signed_in = self.sign_in(&self.sign_in_body());
        assert_eq!(signed_in.status, 200, "{signed_in:#?}");
        signed_in.json()["code"].as_str().expect("a code").to_owned()
    }

    /// The form that redeems a code.
    pub(crate) fn redemption<'q>(&'q self, code: &'q str) -> [(&'q str, &'q str); 5] {
        let (id, secret) = self.client();
        [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", self.value("OAUTH_REDIRECT_URI")), id, secret]
    }

    /// The form that redeems a refresh token.
    pub(crate) fn renewal<'q>(&'q self, refresh: &'q str) -> [(&'q str, &'q str); 4] {
        let (id, secret) = self.client();
        [("grant_type", "refresh_token"), ("refresh_token", refresh), id, secret]
    }

    fn client(&self) -> ((&str, &str), (&str, &str)) {
        (("client_id", self.value("OAUTH_CLIENT_ID")), ("client_secret", self.value("OAUTH_CLIENT_SECRET")))
    }

    /// Asks the token endpoint.
    #[track_caller]
    pub(crate) fn token(&self, form: &[(&str, &str)]) -> Response {
        self.ask(&Request::form("/v2/oauth/token", form))
    }

    /// Fresh tokens.
    #[track_caller]
    pub(crate) fn tokens(&self) -> Tokens {
        let code = self.code();
        Tokens::of(&self.token(&self.redemption(&code)))
    }

    /// Revokes a token.
    #[track_caller]
    pub(crate) fn revoke(&self, token: &str) -> Response {
        let (id, secret) = self.client();
        self.ask(&Request::form("/v2/oauth/revoke", &[("token", token), id, secret]))
    }

    /// Introspects a token.
    #[track_caller]
    pub(crate) fn introspect(&self, token: &str) -> Response {
        let client =
            [("client_id", self.value("INTROSPECT_CLIENT_ID")), ("client_secret", self.value("INTROSPECT_CLIENT_SECRET"))];
        self.ask(&Request::form("/oauth2/introspect", &[("token", token), client[0], client[1]]))
    }
}

impl Tokens {
    /// Out of the token endpoint's answer.
    #[track_caller]
    pub(crate) fn of(response: &Response) -> Self {
        assert_eq!(response.status, 200, "{response:#?}");
        let body = response.json();
        let text = |key: &str| body[key].as_str().unwrap_or_else(|| panic!("{key} of {body}")).to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

/// The assignments of a file that a shell can source: one on a line, quoted or not.
fn variables(text: &str) -> HashMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("no assignment: {line}"));
            let unquoted = value
                .strip_prefix('\'')
                .and_then(|value| value.strip_suffix('\''))
                .or_else(|| value.strip_prefix('"').and_then(|value| value.strip_suffix('"')));
            (name.to_owned(), unquoted.unwrap_or(value).to_owned())
        })
        .collect()
}
