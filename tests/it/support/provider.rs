//! A token service that is not ours: `tests/interop`, installed from its lock file once and started with Node.js for each test.
//!
//! Where it cannot be had the tests are skipped, and say so where it is seen. With `CI=true` only a package registry that
//! cannot be reached is an excuse. Deliberately absent: knowledge of how it answers; the tests look at that through the gateway.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::gateway::announced;
use crate::support::process::{Finished, Process, SECRET};
use crate::support::{Request, Response};

/// The running service; killed when dropped.
#[derive(Debug)]
pub(crate) struct Provider {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _process: Process,
}

/// What a person's sign-in gave their client, and the cookies of the browser in which it happened.
#[derive(Debug)]
pub(crate) struct SignedIn {
    /// The access token.
    pub(crate) access: String,
    /// The refresh token; empty if there is none.
    pub(crate) refresh: String,
    /// The ID token.
    pub(crate) id: String,
    browser: Browser,
}

/// Cookies by name: enough for one service whose cookies differ by name wherever they differ by path.
#[derive(Debug, Default)]
struct Browser(BTreeMap<String, String>);

/// Why it cannot be had.
#[derive(Debug)]
enum Lack {
    /// Something that this machine need not have.
    Excused(String),
    /// Anything else.
    Fault(String),
}

/// Where its redirects lead in the end.
const CALLBACK: &str = "https://shop.example/callback";

/// A verifier and its challenge (RFC 7636 appendix B).
const PKCE: (&str, &str) = ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");

impl Provider {
    /// Starts it; `None` where it cannot be had, which has been said then.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        static INSTALLED: OnceLock<Result<PathBuf, Lack>> = OnceLock::new();
        let script = match INSTALLED.get_or_init(|| install().inspect_err(Lack::tell)) {
            Ok(script) => script,
            Err(Lack::Excused(_)) => return None,
            Err(Lack::Fault(what)) => panic!("the service cannot be had: {what}"),
        };
        let mut command = Command::new("node");
        command.arg(script);
        let mut process = Process::spawn(command);
        let address = announced(&mut process, "listening on ");
        Some(Self { address, _process: process })
    }

    /// How often a path of it was asked for.
    #[track_caller]
    pub(crate) fn count(&self, path: &str) -> u64 {
        Request::get("/counts").to(self.address).json()[path].as_u64().unwrap_or(0)
    }

    /// A token of a client that acts for itself (RFC 6749 section 4.4), meant for this resource (RFC 8707).
    #[track_caller]
    pub(crate) fn client_token(&self, scope: &str, resource: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("scope", scope), ("resource", resource)];
        let answer = as_client("worker", Request::form("/token", &form)).to(self.address);
        text(&answer.json(), "access_token")
    }
}

impl SignedIn {
    /// Signs somebody in at this address, behind which the service is, the way a browser and a client do it: the code flow
    /// with PKCE, the service's own forms, and the code redeemed.
    #[track_caller]
    pub(crate) fn at(address: SocketAddr, client: &str, subject: &str, scope: &str, resource: &str) -> Self {
        let (mut browser, query) = (Browser::default(), question(client, scope, resource));
        let query = [&query[..], &[("prompt", "login consent")]].concat();
        let mut step = browser.ask(address, "GET", &format!("/auth?{}", Request::query(&query)), &[]);
        let login = [("prompt", "login"), ("login", subject), ("password", "anything")];
        for form in [&login[..], &[("prompt", "consent")]] {
            step = browser.submit(address, &step, form);
        }
        let tokens = redeem(address, client, &step);
        let refresh = tokens["refresh_token"].as_str().unwrap_or_default().to_owned();
        Self { access: text(&tokens, "access_token"), refresh, id: text(&tokens, "id_token"), browser }
    }

    /// Another access token of the same session: the browser is sent there again, and nobody is asked anything.
    #[track_caller]
    pub(crate) fn another(&mut self, address: SocketAddr, client: &str, scope: &str, resource: &str) -> String {
        let target = format!("/auth?{}", Request::query(&question(client, scope, resource)));
        let step = self.browser.ask(address, "GET", &target, &[]);
        text(&redeem(address, client, &step), "access_token")
    }

    /// Signs out as OpenID Connect RP-Initiated Logout has it: the browser is sent to the service with the ID token as a hint,
    /// and its confirmation is sent with the access token beside the browser's cookies.
    #[track_caller]
    pub(crate) fn sign_out(&mut self, address: SocketAddr) -> Response {
        let page = self.browser.ask(address, "GET", &format!("/session/end?id_token_hint={}", self.id), &[]);
        let (_, rest) = page.text().split_once("name=\"xsrf\" value=\"").unwrap_or_else(|| panic!("no form: {page:#?}"));
        let form = [("xsrf", rest.split('"').next().unwrap()), ("logout", "yes")];
        let request = Request::form("/session/end/confirm", &form).field("Cookie", &self.browser.cookies());
        request.bearer(&self.access).to(address)
    }
}

impl Browser {
    fn cookies(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    #[track_caller]
    fn ask(&mut self, address: SocketAddr, method: &str, target: &str, form: &[(&str, &str)]) -> Response {
        let request = if method == "GET" { Request::get(target) } else { Request::form(target, form) };
        let request = if self.0.is_empty() { request } else { request.field("Cookie", &self.cookies()) };
        let response = request.to(address);
        for cookie in response.values("Set-Cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.0.insert(name.to_owned(), value.to_owned());
        }
        response
    }

    /// Follows a redirect to a form, submits that, and follows to the next redirect that leads to a form or to the end.
    #[track_caller]
    fn submit(&mut self, address: SocketAddr, before: &Response, form: &[(&str, &str)]) -> Response {
        let page = path(location(before));
        assert_eq!(self.ask(address, "GET", &page, &[]).status, 200, "{page}");
        let resumed = self.ask(address, "POST", &page, form);
        self.ask(address, "GET", &path(location(&resumed)), &[])
    }
}

/// What a client sends the browser with (RFC 6749 section 4.1.1).
fn question<'a>(client: &'a str, scope: &'a str, resource: &'a str) -> [(&'static str, &'a str); 7] {
    [
        ("client_id", client),
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("scope", scope),
        ("resource", resource),
        ("code_challenge", PKCE.1),
        ("code_challenge_method", "S256"),
    ]
}

/// Redeems the code that the browser came back with.
#[track_caller]
fn redeem(address: SocketAddr, client: &str, back: &Response) -> Value {
    let code = location(back).split_once("code=").unwrap_or_else(|| panic!("no code: {back:#?}")).1;
    let code = code.split('&').next().unwrap();
    let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK), ("code_verifier", PKCE.0)];
    as_client(client, Request::form("/token", &form)).to(address).json()
}

/// A request with a client's id and secret (RFC 6749 section 2.3.1).
pub(crate) fn as_client(id: &str, request: Request) -> Request {
    let pair = Request::query(&[(id, SECRET.1)]).replacen('=', ":", 1);
    request.field("Authorization", &format!("Basic {}", STANDARD.encode(pair)))
}

#[track_caller]
fn location(response: &Response) -> &str {
    assert!((300..400).contains(&response.status), "no redirect: {response:#?}");
    response.only("Location")
}

/// The path and query of a URL, or of what is one already.
fn path(url: &str) -> String {
    match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or_else(String::new, |(_, path)| format!("/{path}")),
        None => url.to_owned(),
    }
}

#[track_caller]
fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}")).to_owned()
}

/// Installs it below `target`, unless it is there; tells its script.
fn install() -> Result<PathBuf, Lack> {
    let (from, to) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop"), Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop"));
    if let Some(missing) = missing_tools() {
        let lack = if in_ci() { Lack::Fault } else { Lack::Excused };
        return Err(lack(format!("{missing} is missing here (Node.js 20 or later, with npm)")));
    }
    fs::create_dir_all(&to).unwrap();
    // Another run of the tests may be installing at this moment.
    let lock = File::create(to.join("lock")).unwrap();
    lock.lock().unwrap();
    for name in ["package.json", "package-lock.json", ".npmrc", "provider.js"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let (wanted, done) = (fs::read(to.join("package-lock.json")).unwrap(), to.join("installed"));
    if fs::read(&done).ok().as_ref() != Some(&wanted) {
        npm_ci(&to)?;
        fs::write(&done, &wanted).unwrap();
    }
    Ok(to.join("provider.js"))
}

fn npm_ci(dir: &Path) -> Result<(), Lack> {
    let mut command = Command::new("npm");
    command.current_dir(dir).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]);
    // Bounded, so that the test is: what has not come by then does not come.
    command.args(["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=15000"]);
    let Some(npm) = Process::spawn(command).finish_within(Duration::from_mins(5)) else {
        return Err(Lack::Fault("npm ci does not come to an end".to_owned()));
    };
    match (npm.code, unreachable_by(&npm)) {
        (Some(0), _) => Ok(()),
        (_, Some(code)) => Err(Lack::Excused(format!("the package registry cannot be reached ({code})"))),
        (_, None) => Err(Lack::Fault(format!("npm ci failed: {npm:#?}"))),
    }
}

/// The code with which npm says that nobody answered, or somebody in between; `None` if it failed over what was answered.
fn unreachable_by(npm: &Finished) -> Option<&str> {
    const CODES: [&str; 12] = [
        "ENOTFOUND",
        "EAI_AGAIN",
        "ECONNREFUSED",
        "ECONNRESET",
        "ENETUNREACH",
        "EHOSTUNREACH",
        "ETIMEDOUT",
        "ERR_SOCKET_TIMEOUT",
        "E403",
        "E502",
        "E503",
        "E504",
    ];
    let code = |line| str::strip_prefix(line, "npm error code ").or_else(|| line.strip_prefix("npm ERR! code "));
    npm.errors.lines().filter_map(code).map(str::trim).find(|code| CODES.contains(code))
}

fn missing_tools() -> Option<&'static str> {
    let version = |tool: &str| {
        let told = Command::new(tool).arg("--version").output().ok().filter(|told| told.status.success())?;
        let told = String::from_utf8(told.stdout).ok()?;
        told.trim().trim_start_matches('v').split('.').next()?.parse::<u32>().ok()
    };
    if version("node").is_none_or(|major| major < 20) {
        return Some("node");
    }
    version("npm").is_none().then_some("npm")
}

#[expect(clippy::disallowed_methods, reason = "a test's excuses depend on where it runs")]
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

impl Lack {
    /// Says it past the test harness, which shows what a test prints only if it fails.
    fn tell(&self) {
        if let Self::Excused(why) = self {
            let _ = writeln!(io::stderr(), "\nSKIPPED: the interoperability tests (tests/it/interop.rs): {why}\n");
        }
    }
}
