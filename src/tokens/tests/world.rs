//! A token service on a database of its own, with a clock that is set by hand and randomness that never repeats.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::model::{Clock, Entropy, IssuerId, Now, Secret, Source, Tick, Timestamp};
use crate::plan::{
    self, AuthTokenUse, BackOfficeApi, BackOfficeLimits, BackOfficePaths, ChallengeLimits, Database, Environment, Hashing,
    LockSettings, OAuthApi, OAuthPaths, PasswordPolicy, SessionApi, TokenType,
};
use crate::store::cuts::Cuts;
use crate::store::revocations::{Revocations, Unwitnessed};
use crate::store::sql::postgres::tests::fixture;
use crate::tokens::account::{Account, AccountKind, NewAccount};
use crate::tokens::client::{Client, ClientRight, NewClient};
use crate::tokens::identifier::{EmailAddress, PhoneNumber};
use crate::tokens::keyring::Keyring;
use crate::tokens::notifier::SandboxNotifier;
use crate::tokens::session::{CodeRule, SessionRule, VerificationRule};
use crate::tokens::signing::tests::row as shared_key;
use crate::tokens::store::SigningKeyStore;
use crate::tokens::{Settings, SignIn, Surroundings, TokenService, database};

pub(crate) const PHONE: &str = "+40711111298";
pub(crate) const PASSWORD: &str = "four plain words here";
pub(crate) const REDIRECT: &str = "app://signed-in";
pub(crate) const ISSUER: IssuerId = IssuerId(3);

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct HandClock(Mutex<Now>);

impl HandClock {
    pub(crate) fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = Now { wall: now.wall.after(by), tick: now.tick.after(by) };
    }

    /// Somebody sets the wall clock. The monotonic clock does not notice.
    pub(crate) fn set_wall(&self, wall: Timestamp) {
        self.0.lock().unwrap().wall = wall;
    }
}

impl Clock for HandClock {
    fn now(&self) -> Now {
        *self.0.lock().unwrap()
    }
}

/// Bytes that are never the same twice. Not unpredictable, which no test needs.
#[derive(Debug)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            let mixed = count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 29)).to_be_bytes()[..chunk.len()]);
        }
    }
}

/// A directory that goes with its owner.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Each instance of this suite counts for itself.
        let suite = module_path!().replace("::", "-");
        let name = format!("{suite}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("tokens.sqlite")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A kind of database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// Everything a test needs.
pub(crate) struct World {
    pub(crate) clock: Arc<HandClock>,
    pub(crate) cuts: Arc<Cuts>,
    pub(crate) plan: plan::TokenService,
    pub(crate) service: Arc<TokenService>,
    pub(crate) client: Client,
    pub(crate) client_secret: Secret,
    pub(crate) account: Account,
    entropy: Arc<Counting>,
    // Last, so that the service has closed its files before they go.
    pub(crate) directory: Directory,
}

fn oauth_paths() -> OAuthPaths {
    OAuthPaths {
        password: "/v1/authentications/password".into(),
        request_code: "/v2/verification/request-code".into(),
        verify_code: "/v2/verification/verify-code".into(),
        token: "/v2/oauth/token".into(),
        revoke: "/v2/oauth/revoke".into(),
        account: "/v1/account".into(),
        accounts: "/v1/accounts".into(),
    }
}

pub(crate) fn settings() -> plan::TokenService {
    plan::TokenService {
        issuer: ISSUER,
        database: Database::Sqlite(PathBuf::new()),
        key_file: PathBuf::new(),
        public_url: "https://gateway.example".into(),
        oauth: Some(OAuthApi {
            paths: oauth_paths(),
            access_ttl: Duration::from_hours(24),
            refresh_idle: Duration::from_hours(30 * 24),
            refresh_absolute: Duration::from_hours(90 * 24),
            refresh_grace: Duration::ZERO,
            superseded_access: Duration::from_mins(1),
            code_ttl: Duration::from_mins(10),
            verification_ttl: Duration::from_mins(10),
            verification_tries: 5,
            resend_interval: Duration::ZERO,
            codes_per_phone: 100,
            codes_per_source: Some(1_000),
            logins_per_source: Some(1_000),
        }),
        session: Some(SessionApi {
            prefix: "/multi".into(),
            idle: Duration::from_mins(5),
            absolute: Duration::from_hours(12),
            challenges: ChallengeLimits {
                ttl: Duration::from_mins(5),
                tries: 5,
                resend_interval: Duration::from_secs(15),
                per_account: 10,
            },
            auth_token: AuthTokenUse::Any,
            logins_per_source: 100,
            logins: 100,
            password_life: None,
            password_policy: PasswordPolicy::Standard,
            callback_secret: Some(secret("shared with the carrier")),
        }),
        back_office: None,
        keys_published_for: Duration::from_mins(10),
        notifier: None,
        hashing: Hashing { memory_kib: 64, passes: 1, parallel: 2, queue: 128 },
        lock: LockSettings { attempts: 5, duration: Duration::from_mins(30) },
        failures_per_source: Some(1_000),
    }
}

/// API C, whose tokens are signed with a key that all tests share.
pub(crate) fn back_office() -> BackOfficeApi {
    BackOfficeApi {
        audience: "https://gateway.example".into(),
        token_type: TokenType::Jwt,
        access_ttl: Duration::from_hours(10),
        refresh_idle: Duration::from_hours(14 * 24),
        refresh_absolute: Duration::from_hours(30 * 24),
        refresh_grace: Duration::ZERO,
        superseded_access: Duration::from_mins(1),
        code_ttl: Duration::from_mins(10),
        code_tries: 5,
        codes_per_account: 100,
        logins_per_source: Some(1_000),
        limits: BackOfficeLimits {
            sign_in: 5,
            confirm: 3,
            refresh: 5,
            window: Duration::from_mins(1),
            block: Duration::from_mins(10),
        },
        paths: BackOfficePaths {
            sign_in: "/api/v2/signin".into(),
            confirm: "/api/v2/2fa/confirm".into(),
            refresh: "/api/v2/refresh".into(),
            sign_out: "/api/v2/signout".into(),
        },
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(settings()).await
    }

    /// On the kind of database that this instance of the suite is about.
    pub(crate) async fn with(plan: plan::TokenService) -> Self {
        Self::on(if module_path!().contains("tests_on_postgres") { On::Postgres } else { On::Sqlite }, plan).await
    }

    pub(crate) async fn on(kind: On, mut plan: plan::TokenService) -> Self {
        let start = Now { wall: Timestamp::from_secs(1_773_135_165), tick: Tick::from_millis(1_000) };
        let clock = Arc::new(HandClock(Mutex::new(start)));
        let (cuts, entropy) = (Arc::new(Cuts::new(Duration::from_hours(1))), Arc::new(Counting(AtomicU64::new(0))));
        let directory = Directory::new();
        plan.key_file = directory.0.join("tokens.sqlite.key");
        plan.database = match kind {
            // Where there is no server, the suite says so and runs on what there is.
            On::Postgres => fixture::database().map_or(Database::Sqlite(directory.database()), Database::Postgres),
            On::Sqlite => Database::Sqlite(directory.database()),
        };
        let surroundings = surroundings(&clock, &cuts, &entropy);
        if plan.back_office.is_some() {
            keep_shared_key(&plan, &surroundings).await;
        }
        let service = open(&plan, surroundings).await;
        let account = service.add_account(new_account("ann@example.com", PHONE)).await.unwrap();
        let rights = [ClientRight::AuthorizationCode, ClientRight::RefreshToken];
        let client_secret = service.add_client(new_client("app", &rights)).await.unwrap();
        let client = service.authenticate_client("app", &client_secret).await.unwrap();
        Self { clock, cuts, plan, service, client, client_secret, account, entropy, directory }
    }

    /// Stops the service and starts another on the same files.
    pub(crate) async fn restart(self) -> Self {
        let Self { clock, cuts, plan, service, client, client_secret, account, entropy, directory } = self;
        drop(Arc::into_inner(service).expect("somebody still holds the service"));
        let surroundings = surroundings(&clock, &cuts, &entropy);
        let service = open(&plan, surroundings).await;
        Self { clock, cuts, plan, service, client, client_secret, account, entropy, directory }
    }

    /// Another gateway on the same database, with a memory of its own.
    pub(crate) async fn another(&self) -> (Arc<Cuts>, Arc<TokenService>) {
        let cuts = Arc::new(Cuts::new(Duration::from_hours(1)));
        let surroundings = surroundings(&self.clock, &cuts, &self.entropy);
        (cuts, open(&self.plan, surroundings).await)
    }

    /// Another process makes the next of the keys that all tests share; it signs from now on.
    pub(crate) async fn add_shared_key(&self, index: usize) {
        let surroundings = surroundings(&self.clock, &self.cuts, &self.entropy);
        let store = database::open(&self.plan.database, &sandbox(&self.plan).for_a_command(), &surroundings).unwrap();
        let keyring = Keyring::open(&self.plan.key_file, self.entropy.as_ref()).unwrap();
        let now = self.clock.now().wall;
        assert!(store.add_signing_key(shared_key(index, &keyring, now), now).await.unwrap());
    }

    pub(crate) fn api(&self) -> &OAuthApi {
        self.plan.oauth.as_ref().unwrap()
    }

    pub(crate) fn session_rule(&self) -> SessionRule {
        SessionRule::oauth(self.api())
    }

    /// Verifies the phone number; the token a sign-in needs.
    pub(crate) async fn proof(&self) -> Secret {
        let (rule, phone) = (VerificationRule::oauth(self.api()), phone(PHONE));
        self.service.request_code(&rule, &phone, "en", somewhere()).await.unwrap();
        self.service.verify_code(&rule, &phone, &secret("123456")).await.unwrap()
    }

    /// Signs in; the code.
    pub(crate) async fn code(&self) -> Secret {
        let (proof, phone, password) = (self.proof().await, phone(PHONE), secret(PASSWORD));
        let request = SignIn { client: &self.client, phone: &phone, password: &password, proof: &proof, source: somewhere() };
        self.service.sign_in(&CodeRule::oauth(self.api()), request).await.unwrap().code
    }

    /// Whether an access token is good.
    /// How many passwords are kept that somebody had before.
    pub(crate) fn former_passwords(&self) -> i64 {
        self.ask("SELECT count(*) FROM former_password").parse().unwrap()
    }

    /// How many challenges there are, open or not. One goes out for each that is opened.
    pub(crate) fn challenges(&self) -> i64 {
        self.ask("SELECT count(*) FROM challenge").parse().unwrap()
    }

    /// What the database holds: the one value of a query, as text.
    pub(crate) fn ask(&self, sql: &str) -> String {
        match &self.plan.database {
            Database::Sqlite(path) => {
                let db = rusqlite::Connection::open(path).unwrap();
                db.query_row(&format!("SELECT CAST(({sql}) AS TEXT)"), [], |row| row.get(0)).unwrap()
            }
            Database::Postgres(server) => fixture::query(server, sql).unwrap_or_default(),
        }
    }

    /// Whatever is kept on a disk: of files the bytes, of tables the rows as text and as the bytes that are shown in hex.
    pub(crate) fn everything_kept(&self) -> Vec<(String, Vec<u8>)> {
        let mut kept = Vec::new();
        for file in std::fs::read_dir(&self.directory.0).unwrap().map(|file| file.unwrap().path()) {
            kept.push((file.display().to_string(), std::fs::read(&file).unwrap()));
        }
        if let Database::Postgres(_) = &self.plan.database {
            let tables = self.ask("SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = current_schema()");
            for table in tables.split(' ') {
                let rows = self.ask(&format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t"));
                let shown = rows.split(['\\', ',', '"', ')']).filter_map(|part| part.strip_prefix('x'));
                let digits = |hex: &str, at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
                let bytes = shown.flat_map(|hex| (0..hex.len()).step_by(2).filter_map(move |at| digits(hex, at))).collect();
                kept.extend([(table.to_owned(), rows.clone().into_bytes()), (table.to_owned(), bytes)]);
            }
        }
        kept
    }

    /// Does something to the database that no step does.
    pub(crate) fn tamper(&self, sql: &str) {
        match &self.plan.database {
            Database::Sqlite(path) => rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap(),
            Database::Postgres(server) => drop(fixture::query(server, sql)),
        }
    }

    pub(crate) async fn is_good(&self, token: &str) -> bool {
        self.service.introspect(token).await.unwrap().is_some()
    }
}

/// Makes the database with a key that was made before, so that not every test has to wait for one.
async fn keep_shared_key(plan: &plan::TokenService, surroundings: &Surroundings) {
    let store = database::open(&plan.database, &sandbox(plan).for_a_command(), surroundings).unwrap();
    let now = surroundings.clock.now().wall;
    let keyring = Keyring::open(&plan.key_file, surroundings.entropy.as_ref()).unwrap();
    assert!(store.add_signing_key(shared_key(0, &keyring, now), now).await.unwrap());
}

async fn open(plan: &plan::TokenService, surroundings: Surroundings) -> Arc<TokenService> {
    Arc::new(TokenService::open(&plan.database, &plan.key_file, &sandbox(plan), surroundings).await.unwrap())
}

fn sandbox(plan: &plan::TokenService) -> Settings {
    Settings::from_plan(plan, Environment::Sandbox)
}

fn surroundings(clock: &Arc<HandClock>, cuts: &Arc<Cuts>, entropy: &Arc<Counting>) -> Surroundings {
    Surroundings {
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        entropy: Arc::clone(entropy) as Arc<dyn Entropy>,
        revocations: Revocations::new(Arc::clone(cuts), None, Arc::new(Unwitnessed)),
        notifier: Arc::new(SandboxNotifier),
    }
}

pub(crate) fn new_account(email: &str, number: &str) -> NewAccount {
    NewAccount {
        email: EmailAddress::parse(email).unwrap(),
        phone: Some(phone(number)),
        password: Some(secret(PASSWORD)),
        country: None,
        kind: AccountKind::Person,
    }
}

pub(crate) fn new_client(id: &str, rights: &[ClientRight]) -> NewClient {
    NewClient { id: id.into(), rights: rights.into(), redirect_uris: Box::new([REDIRECT.into()]) }
}

/// Where everybody is who is nowhere in particular.
pub(crate) fn somewhere() -> Source {
    Source::new(Ipv4Addr::new(192, 0, 2, 1).into())
}

pub(crate) fn phone(text: &str) -> PhoneNumber {
    PhoneNumber::parse(text).unwrap()
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}
