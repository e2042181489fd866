//! A gateway without sockets, for programs that measure its parts: only public parts of the library, over a plan compiled from
//! configuration text as at start-up, in front of a token service that vouches for every token.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use portcullis::flow::{Flow, LimitOutcome, LimitTally, Limits};
use portcullis::model::{Clock, CountedBy, Entropy, IssuerId, NonEmpty, Now, PrincipalFacts, ScopeSet, Tick, Timestamp};
use portcullis::plan::compile::{self, Machine, SecretSource};
use portcullis::plan::{Issuer, IssuerKind, Plan};
use portcullis::rules::lockout::LockRule;
use portcullis::rules::login_budget::{BudgetRule, FailureWindow};
use portcullis::store::cuts::Cuts;
use portcullis::store::login_guard::{GuardKey, GuardTerms, GuardWitness, Happening, LoginGuard};
use portcullis::store::revocations::{Revocations, Unwitnessed};
use portcullis::verify::Unavailable;
use portcullis::verify::Verifier;
use portcullis::verify::in_process::EmbeddedTokens;
use portcullis::verify::observe::Unobserved;
use portcullis::verify::setup::{Needs, Setup};

/// The instant at which everything begins.
pub(crate) const START: Now = Now { wall: Timestamp::from_secs(1_800_000_000), tick: Tick::from_millis(1_000) };

/// A clock that is set by hand: it stands still until it is moved.
#[derive(Debug, Default)]
pub(crate) struct ByHand(AtomicU64);

impl ByHand {
    /// Moves it on.
    pub(crate) fn pass(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for ByHand {
    fn now(&self) -> Now {
        let passed = self.0.load(Ordering::Relaxed);
        let wall = Timestamp::from_secs(1_800_000_000 + i64::try_from(passed / 1000).unwrap_or_default());
        Now { wall, tick: Tick::from_millis(1_000 + passed) }
    }
}

/// Nothing here needs to be unpredictable.
#[derive(Debug)]
pub(crate) struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

#[derive(Debug)]
struct OneSecret;

impl SecretSource for OneSecret {
    fn variable(&self, _: &str) -> Option<String> {
        Some("secret".into())
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// A token service that vouches for every token, and tells of each what such services tell.
#[derive(Debug)]
struct Vouching;

#[async_trait]
impl EmbeddedTokens for Vouching {
    async fn introspect(&self, token: &str) -> Result<Option<PrincipalFacts>, Unavailable> {
        Ok(Some(PrincipalFacts {
            subject: Some(token.chars().rev().collect::<String>().into()),
            session: Some(token.into()),
            client: Some("web-shop".into()),
            scopes: ScopeSet::parse("items:read items:write").unwrap_or_default(),
            issued_at: Some(START.wall),
            expires_at: Some(Timestamp::from_secs(1_900_000_000)),
            ..PrincipalFacts::of_issuer(IssuerId(0))
        }))
    }
}

#[derive(Debug)]
struct Uncounted;

impl LimitTally for Uncounted {
    fn limited(&self, _: &str, _: LimitOutcome) {}
}

impl GuardWitness for Uncounted {
    fn happened(&self, _: &str, _: Happening) {}

    fn failed(&self, _: &str, _: bool) {}

    fn not_kept(&self) {}
}

/// What decides about requests.
pub(crate) struct Gateway {
    pub(crate) plan: Plan,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) flow: Flow,
}

impl Gateway {
    /// Over a configuration with one issuer.
    pub(crate) fn with(configuration: &str, clock: Arc<dyn Clock>) -> Result<Self, Box<dyn std::error::Error>> {
        let plan = compile::load("bench.toml", configuration, &OneSecret, Machine { cores: 1, folder: Path::new(".") });
        let (plan, _) = plan.map_err(|report| report.render(portcullis::config::Colour::Plain))?;
        let cuts = Arc::new(Cuts::new(std::time::Duration::from_mins(1)));
        // The plan names a remote service. In its place one in this process vouches, so that no socket is needed.
        let issuers = [Issuer { name: "bench".into(), id: IssuerId(0), kind: IssuerKind::Embedded }];
        let verifier = Arc::new(Verifier::new(Setup {
            issuers: &issuers,
            limits: &plan.cache,
            needs: Needs::of(&plan.routes),
            cuts: Arc::clone(&cuts),
            clock,
            entropy: &Zeros,
            embedded: Some(Arc::new(Vouching)),
            observer: Arc::new(Unobserved),
        })?);
        let limits = Limits::new(&plan.limits, &Zeros, Arc::new(Uncounted));
        let flow = Flow::new(Arc::clone(&verifier), Revocations::new(cuts, None, Arc::new(Unwitnessed)), limits);
        Ok(Self { plan, verifier, flow })
    }
}

/// A login guard as a careful operator sets it: five failures in a row lock an account for half an hour, and a source has ten a
/// minute for it.
pub(crate) fn login_guard(clock: Arc<dyn Clock>) -> Arc<LoginGuard> {
    let minute = std::time::Duration::from_mins(1);
    let mut by = NonEmpty::one(CountedBy::Account);
    if let Ok(both) = NonEmpty::new(vec![CountedBy::Account, CountedBy::AccountAndSource]) {
        by = both;
    }
    let window = FailureWindow { attempts: 10, within: minute, count_success: false };
    let rule = BudgetRule { lock: Some(LockRule::new(5, minute * 30)), window: Some(window) };
    let terms = GuardTerms { name: "login".into(), by, rule };
    Arc::new(LoginGuard::new(terms, &GuardKey::random(&Zeros), clock, Arc::new(Uncounted)))
}

/// What a future comes to that need not wait; `None` if it would have to.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
