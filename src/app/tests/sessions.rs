//! Whatever the order in which people sign in, use, refresh, step up and log out, time passes and the process dies: no token
//! passes after its end, none that is good is refused, and the cache never serves past `exp`, disuse or a cut.
//!
//! The real service on a real database, asked by a real verifier, with real cuts; the oracle knows the contract only.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::app::embedded::Introspection;
use crate::app::tests::oracle::{Api, Kind, Oracle, Verdict, lives};
use crate::model::{
    Clock, Credential, Denial, Entropy, IssuerId, NonEmpty, Principal, PrincipalFacts, ScopeSet, Secret, Source, TokenKind,
};
use crate::plan::{self, CacheLimits, Freshness, Issuer, IssuerKind, OnOutage, PasswordPolicy};
use crate::rules::access::Requirements;
use crate::rules::window::WindowRule;
use crate::store::cuts::Cuts;
use crate::tokens::account::{AccountId, AccountStatus};
use crate::tokens::factor::Channel;
use crate::tokens::identifier::EmailAddress;
use crate::tokens::session::{Api as SessionsOf, CodeRule, EntryRule, SessionRule, VerificationRule};
use crate::tokens::tests::world::{
    On, PASSWORD, REDIRECT, World, back_office, new_account, phone, secret, settings, somewhere,
};
use crate::tokens::{Entered, Entry, Holder, LogIn, LogInLimits, LoggedIn, NewPassword, Purpose, Question, SignIn};
use crate::verify::in_process::EmbeddedTokens;
use crate::verify::observe::Unobserved;
use crate::verify::setup::{Needs, Setup};
use crate::verify::{Recall, Unavailable, Verifier};

const PEOPLE: [(&str, &str); 2] = [("ann@example.com", "+40711111298"), ("bob@example.com", "+40711111299")];
const PROGRAM: &str = "program";
/// The longest time for which anything is remembered that an introspection brought, and then some.
const RETENTION: Duration = Duration::from_mins(2);

/// Which token.
#[derive(Clone, Copy, Debug)]
enum Which {
    /// One of the last few, rather than one of long ago.
    Recent(Index),
    /// The one that it was about before.
    Same,
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    SignIn(usize, Api),
    /// A token is presented.
    Use(Which),
    /// A token is presented on a route that counts no use.
    Poll(Which),
    /// Something is done with a token.
    Act(Which, u8),
    /// The same while the token is presented, and whoever is asked about it has not answered yet.
    Race(Which, u8),
    /// Seconds pass.
    Pass(i64),
    WriteUses,
    CleanUp,
    /// The process ends, well or not, and another begins with nothing remembered.
    Restart {
        crash: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let idle = lives::IDLE;
    let seconds = prop_oneof![
        8 => 1..20_i64,
        2 => idle / 2..idle - 5,
        3 => idle - 5..idle + 5,
        1 => idle..5 * idle,
        1 => 1800..7200_i64
    ];
    let api = prop_oneof![1 => Just(Api::OAuth), 2 => Just(Api::Session), 1 => Just(Api::BackOffice)];
    let which = prop_oneof![1 => any::<Index>().prop_map(Which::Recent), 2 => Just(Which::Same)];
    let step = prop_oneof![
        4 => (0..PEOPLE.len(), api).prop_map(|(who, api)| Step::SignIn(who, api)),
        8 => which.clone().prop_map(Step::Use),
        4 => which.clone().prop_map(Step::Poll),
        5 => (which.clone(), any::<u8>()).prop_map(|(which, what)| Step::Act(which, what)),
        4 => (which, any::<u8>()).prop_map(|(which, what)| Step::Race(which, what)),
        6 => seconds.prop_map(Step::Pass),
        1 => Just(Step::WriteUses),
        1 => Just(Step::CleanUp),
        2 => any::<bool>().prop_map(|crash| Step::Restart { crash }),
    ];
    // What ordinary chance would hardly bring: a token that is remembered at the moment in which it has been unused for too
    // long, and a process that dies some time after uses were written down.
    let doze = (idle / 2..idle, 1..15_i64).prop_map(|(before, after)| {
        let poll = Step::Poll(Which::Same);
        vec![Step::Use(Which::Same), Step::Pass(before), poll.clone(), Step::Pass(after), poll]
    });
    let crash = (1..20_i64, 1..20_i64, idle / 2..idle).prop_map(|(before, after, dead)| {
        let uses = Step::Use(Which::Same);
        let flush = [uses.clone(), Step::Pass(before), Step::WriteUses, uses.clone(), Step::Pass(after), Step::WriteUses];
        [&flush[..], &[Step::Restart { crash: true }, Step::Pass(dead), uses]].concat()
    });
    let some = prop_oneof![30 => step.prop_map(|step| vec![step]), 2 => doze, 2 => crash];
    prop::collection::vec(some, 20..40).prop_map(|steps| steps.concat())
}

/// The service, whose answers can be held back after they have been made up.
#[derive(Debug)]
struct Gated {
    service: Introspection,
    closed: AtomicBool,
    waiting: AtomicUsize,
    opened: Notify,
}

impl Gated {
    fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
        self.opened.notify_waiters();
    }
}

#[async_trait]
impl EmbeddedTokens for Gated {
    async fn introspect(&self, token: &str) -> Result<Option<PrincipalFacts>, Unavailable> {
        let truth = self.service.introspect(token).await;
        let opened = self.opened.notified();
        tokio::pin!(opened);
        opened.as_mut().enable();
        if self.closed.load(Ordering::SeqCst) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            opened.await;
        }
        truth
    }
}

/// What a request is decided with, as long as the process lives.
struct Gateway {
    verifier: Arc<Verifier>,
    gate: Arc<Gated>,
}

impl Gateway {
    fn over(world: &World) -> Self {
        let gate = Arc::new(Gated {
            service: Introspection(Arc::clone(&world.service)),
            closed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            opened: Notify::new(),
        });
        let setup = Setup {
            issuers: &[Issuer { name: "embedded".into(), id: IssuerId(0), kind: IssuerKind::Embedded }],
            limits: &CacheLimits { tokens: 1000, inactive: 1000, misses_per_second: 1_000_000, miss_burst: 1_000_000 },
            needs: Needs::default(),
            cuts: Arc::clone(&world.cuts),
            clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
            entropy: &NoEntropy,
            embedded: Some(Arc::clone(&gate) as Arc<dyn EmbeddedTokens>),
            observer: Arc::new(Unobserved),
        };
        Self { verifier: Arc::new(Verifier::new(setup).unwrap()), gate }
    }
}

/// Randomness that is none: nobody here attacks a table of hashes.
#[derive(Debug)]
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// A request, as the gateway decides it. Whoever passes has used the token, unless the route does not count it.
async fn present(
    verifier: Arc<Verifier>,
    clock: Arc<dyn Clock>,
    token: String,
    counts: bool,
) -> Result<Arc<Principal>, Denial> {
    let requirements = Requirements {
        issuers: NonEmpty::one(IssuerId(0)),
        kinds: NonEmpty::new(vec![TokenKind::Access, TokenKind::Auth]).unwrap(),
        scopes: ScopeSet::default(),
        audience: None,
        claims: Box::default(),
        assurance: None,
    };
    let freshness = Freshness { max_revocation_lag: Duration::from_secs(30), on_outage: OnOutage::Deny };
    let now = clock.now();
    let principal = match verifier.recall(&Credential::new(&token), &requirements, &freshness, now) {
        Recall::Known(principal, _) => principal,
        Recall::Refused => return Err(Denial::CredentialInvalid),
        Recall::Miss(missed) => verifier.resolve(missed, &requirements, &freshness, source(), now).await?,
    };
    if counts {
        principal.note_use(now.tick);
    }
    Ok(principal)
}

fn source() -> Source {
    Source::new(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs())
}

fn plan() -> plan::TokenService {
    let mut plan = plan::TokenService { issuer: IssuerId(0), back_office: Some(back_office()), ..settings() };
    let (oauth, session) = (plan.oauth.as_mut().unwrap(), plan.session.as_mut().unwrap());
    oauth.access_ttl = seconds(lives::OAUTH_ACCESS);
    oauth.refresh_idle = seconds(lives::OAUTH_REFRESH);
    oauth.refresh_absolute = seconds(lives::OAUTH_SESSION);
    oauth.superseded_access = seconds(lives::SUPERSEDED);
    oauth.codes_per_phone = 10_000;
    session.idle = seconds(lives::IDLE);
    session.absolute = seconds(lives::SESSION);
    let office = plan.back_office.as_mut().unwrap();
    office.access_ttl = seconds(lives::BACK_OFFICE_ACCESS);
    office.refresh_idle = seconds(lives::BACK_OFFICE_REFRESH);
    office.refresh_absolute = seconds(lives::BACK_OFFICE_SESSION);
    office.superseded_access = seconds(lives::SUPERSEDED);
    (office.limits.sign_in, office.limits.refresh) = (10_000, 10_000);
    plan
}

/// Everything there is.
struct Play {
    world: World,
    /// `None` between two processes.
    gateway: Option<Gateway>,
    oracle: Oracle,
    people: [(AccountId, Secret); 2],
    passwords: usize,
    /// The token that it was about before.
    same: Option<usize>,
}

impl Play {
    async fn begin(on: On) -> Self {
        let mut world = World::on(on, plan()).await;
        let bob = world.service.add_account(new_account(PEOPLE[1].0, PEOPLE[1].1)).await.unwrap().id;
        let ann = world.account.id;
        for account in [ann, bob] {
            assert!(world.service.enrol_channel(account, Channel::Sms).await.unwrap());
        }
        world = renew(world).await;
        let gateway = Some(Gateway::over(&world));
        let people = [(ann, secret(PASSWORD)), (bob, secret(PASSWORD))];
        Self { world, gateway, oracle: Oracle::default(), people, passwords: 0, same: None }
    }

    async fn step(mut self, step: &Step) -> Result<Self, TestCaseError> {
        match *step {
            Step::SignIn(who, api) => self.sign_in(who, api).await,
            Step::Use(which) => {
                if let Some(token) = self.pick(which) {
                    self.uses(token).await?;
                }
            }
            Step::Poll(which) => {
                if let Some(token) = self.pick(which) {
                    self.polls(token).await?;
                }
            }
            Step::Act(which, what) => {
                if let Some(token) = self.pick(which) {
                    self.act(token, what).await?;
                }
            }
            Step::Race(which, what) => {
                if let Some(token) = self.pick(which) {
                    self.race(token, what).await?;
                }
            }
            Step::Pass(by) => {
                self.world.clock.advance(seconds(by));
                self.oracle.now += by;
            }
            Step::WriteUses => {
                self.world.service.write_uses().await.unwrap();
                self.oracle.wrote_uses(false);
            }
            Step::CleanUp => {
                let now = self.world.clock.now();
                self.world.cuts.forget_old(now.tick);
                self.world.service.clean_up(now).await.unwrap();
            }
            Step::Restart { crash } => return Ok(self.restart(crash).await),
        }
        Ok(self)
    }

    fn pick(&mut self, which: Which) -> Option<usize> {
        let all = self.oracle.tokens.len();
        if let Which::Recent(which) = which {
            self.same = (all > 0).then(|| all - 1 - which.index(all.min(8)));
        }
        self.same
    }

    async fn restart(mut self, crash: bool) -> Self {
        if !crash {
            self.world.service.write_all_uses().await.unwrap();
            self.oracle.wrote_uses(true);
        }
        self.oracle.died();
        self.gateway = None;
        // A load in the background may still hold on to the service.
        while Arc::strong_count(&self.world.service) > 1 {
            tokio::task::yield_now().await;
        }
        self.world = renew(self.world).await;
        self.gateway = Some(Gateway::over(&self.world));
        self
    }

    fn begin_to_present(&self, token: usize, counts: bool) -> JoinHandle<Result<Arc<Principal>, Denial>> {
        let verifier = Arc::clone(&self.gateway.as_ref().unwrap().verifier);
        let clock = Arc::clone(&self.world.clock) as Arc<dyn Clock>;
        tokio::spawn(present(verifier, clock, self.oracle.tokens[token].text.clone(), counts))
    }

    async fn uses(&mut self, token: usize) -> Result<(), TestCaseError> {
        let verdict = self.oracle.bearer(token);
        let outcome = self.begin_to_present(token, true).await.unwrap();
        self.check(token, verdict, outcome.as_deref())?;
        if outcome.is_ok() {
            self.oracle.passed(token);
        }
        Ok(())
    }

    async fn polls(&mut self, token: usize) -> Result<(), TestCaseError> {
        let verdict = self.oracle.bearer(token);
        let outcome = self.begin_to_present(token, false).await.unwrap();
        self.check(token, verdict, outcome.as_deref())
    }

    fn check(&mut self, token: usize, verdict: Verdict, outcome: Result<&Principal, &Denial>) -> Result<(), TestCaseError> {
        let (known, now) = (&self.oracle.tokens[token], self.oracle.now);
        match outcome {
            Ok(principal) => {
                prop_assert_ne!(verdict, Verdict::Refused, "passed at {}: {:?}", now, known);
                let facts = principal.facts();
                let account = self.people[self.oracle.account_of(token)].0.to_string();
                prop_assert_eq!(facts.subject.as_deref(), Some(&*account), "{:?}", known);
                let strong = facts.acr.as_deref() == Some("second-factor");
                prop_assert_eq!(strong, known.strong, "proven as {:?} at {}: {:?}", facts.acr, now, known);
            }
            Err(denial) => {
                prop_assert_eq!(denial, &Denial::CredentialInvalid);
                prop_assert_ne!(verdict, Verdict::Passes, "refused at {}: {:?}", now, known);
                if known.kind != Kind::Refresh {
                    self.oracle.refused(token);
                }
            }
        }
        Ok(())
    }

    /// Requests that began before something was done may be told either of what was and what is; those that begin after its
    /// answer are told what is.
    async fn race(&mut self, token: usize, what: u8) -> Result<(), TestCaseError> {
        let before = self.oracle.bearer(token);
        let gate = Arc::clone(&self.gateway.as_ref().unwrap().gate);
        gate.waiting.store(0, Ordering::SeqCst);
        gate.closed.store(true, Ordering::SeqCst);
        let early = [self.begin_to_present(token, true), self.begin_to_present(token, true)];
        while gate.waiting.load(Ordering::SeqCst) == 0 && !early.iter().all(JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        let acted = self.act(token, what).await;
        gate.open();
        for request in early {
            if request.await.unwrap().is_ok() {
                prop_assert_ne!(before, Verdict::Refused, "passed: {:?}", self.oracle.tokens[token]);
                self.oracle.passed(token);
            }
        }
        acted?;
        self.uses(token).await
    }

    async fn sign_in(&mut self, who: usize, api: Api) {
        match api {
            Api::OAuth => self.sign_in_to_oauth(who).await,
            Api::Session => self.log_in(who).await,
            Api::BackOffice => self.enter(who).await,
        }
        let all = self.oracle.tokens.len();
        self.same = Some(if api == Api::Session { all - 1 } else { all - 2 });
    }

    async fn sign_in_to_oauth(&mut self, who: usize) {
        let (world, phone) = (&self.world, phone(PEOPLE[who].1));
        let (verification, code_rule) = (VerificationRule::oauth(world.api()), CodeRule::oauth(world.api()));
        world.service.request_code(&verification, &phone, "en", somewhere()).await.unwrap();
        let proof = world.service.verify_code(&verification, &phone, &secret("123456")).await.unwrap();
        let request =
            SignIn { client: &world.client, phone: &phone, password: &self.people[who].1, proof: &proof, source: somewhere() };
        let code = world.service.sign_in(&code_rule, request).await.unwrap().code;
        let pair = world.service.redeem_code(&world.session_rule(), &world.client, &code, REDIRECT).await.unwrap();
        let session = self.oracle.signed_in(who, Api::OAuth);
        self.oracle.issued(pair.access.expose().to_owned(), session, Api::OAuth, Kind::Access, true);
        self.oracle.issued(pair.refresh.expose().to_owned(), session, Api::OAuth, Kind::Refresh, true);
    }

    fn of_sessions(&self) -> SessionRule {
        SessionRule::session(self.world.plan.session.as_ref().unwrap())
    }

    fn of_back_office(&self) -> EntryRule {
        EntryRule::back_office(self.world.plan.back_office.as_ref().unwrap())
    }

    async fn log_in(&mut self, who: usize) {
        let email = EmailAddress::parse(PEOPLE[who].0).unwrap();
        let request = LogIn { program: PROGRAM, email: &email, password: &self.people[who].1, source: source() };
        let roomy = WindowRule::new(10_000, Duration::from_mins(1), Duration::from_mins(1));
        let limits = LogInLimits { per_source: roomy, per_account: roomy };
        let logged_in = self.world.service.log_in(&self.of_sessions(), &limits, request).await.unwrap();
        let LoggedIn::Open(opened) = logged_in else { panic!("no password expires here") };
        let session = self.oracle.signed_in(who, Api::Session);
        self.oracle.issued(opened.token.expose().to_owned(), session, Api::Session, Kind::Auth, false);
    }

    async fn enter(&mut self, who: usize) {
        let email = EmailAddress::parse(PEOPLE[who].0).unwrap();
        let entry = Entry { email: &email, password: &self.people[who].1, source: source() };
        let entered = self.world.service.enter(&self.of_back_office(), entry).await.unwrap();
        let Entered::Open(pair) = entered else { panic!("nobody has a second factor here") };
        let session = self.oracle.signed_in(who, Api::BackOffice);
        self.oracle.issued(pair.access.expose().to_owned(), session, Api::BackOffice, Kind::Access, false);
        self.oracle.issued(pair.refresh.expose().to_owned(), session, Api::BackOffice, Kind::Refresh, false);
    }

    /// One of the things that can be done with a token of its API, or with its account.
    async fn act(&mut self, token: usize, what: u8) -> Result<(), TestCaseError> {
        if what >= 248 {
            self.disable(self.oracle.account_of(token)).await;
            return Ok(());
        }
        let (api, kind) = (self.oracle.tokens[token].api, self.oracle.tokens[token].kind);
        match (api, kind, what % 8) {
            (Api::OAuth, _, 0..=1) => self.revoke(token).await,
            (Api::OAuth | Api::BackOffice, Kind::Refresh, _) => self.refresh(token).await?,
            (Api::BackOffice, Kind::Access | Kind::Auth, 0..=3) => self.sign_out(token).await?,
            (Api::OAuth | Api::BackOffice, Kind::Access | Kind::Auth, _) => {
                self.refresh(self.refresh_token_beside(token, what)).await?;
            }
            (Api::Session, _, what) => {
                let Some(holder) = self.holder(token).await? else { return Ok(()) };
                match what {
                    0 => self.new_password(token, &holder).await,
                    1..=2 => self.log_out(token, &holder).await,
                    3..=4 => self.step_up(token, &holder).await,
                    _ => self.exchange(token, &holder).await,
                }
            }
        }
        Ok(())
    }

    /// A refresh token of the same session: mostly the latest.
    fn refresh_token_beside(&self, token: usize, what: u8) -> usize {
        let session = self.oracle.tokens[token].session;
        let beside = |(index, other): (usize, &super::oracle::Token)| {
            (other.session == session && other.kind == Kind::Refresh).then_some(index)
        };
        let all: Vec<usize> = self.oracle.tokens.iter().enumerate().filter_map(beside).collect();
        if what.is_multiple_of(5) { all[0] } else { all[all.len() - 1] }
    }

    async fn refresh(&mut self, token: usize) -> Result<(), TestCaseError> {
        let replaced = self.oracle.tokens[token].used;
        let verdict = self.oracle.refresh_of(token);
        let (world, known) = (&self.world, &self.oracle.tokens[token]);
        let (text, session, api, strong) = (secret(&known.text), known.session, known.api, known.strong);
        let refreshed = match api {
            Api::OAuth => world.service.refresh(&world.session_rule(), &world.client, &text).await,
            Api::BackOffice | Api::Session => world.service.refresh_own(&self.of_back_office(), &text, source()).await,
        };
        let Ok(pair) = refreshed else {
            prop_assert_ne!(verdict, Verdict::Passes, "not refreshed at {}: {:?}", self.oracle.now, known);
            if !replaced {
                self.oracle.refused(token);
            }
            return Ok(());
        };
        prop_assert_ne!(verdict, Verdict::Refused, "refreshed at {}: {:?}", self.oracle.now, known);
        self.oracle.refreshed(token);
        self.oracle.issued(pair.access.expose().to_owned(), session, api, Kind::Access, strong);
        self.oracle.issued(pair.refresh.expose().to_owned(), session, api, Kind::Refresh, strong);
        Ok(())
    }

    async fn revoke(&mut self, token: usize) {
        let text = secret(&self.oracle.tokens[token].text);
        self.world.service.revoke(&self.world.client, &text).await.unwrap();
        self.oracle.revoked(token);
    }

    async fn sign_out(&mut self, token: usize) -> Result<(), TestCaseError> {
        let verdict = self.oracle.bearer(token);
        let facts = self.world.service.introspect(&self.oracle.tokens[token].text).await.unwrap();
        prop_assert!(verdict == Verdict::Open || (verdict == Verdict::Passes) == facts.is_some());
        if let Some(sid) = facts.and_then(|facts| facts.session) {
            prop_assert!(self.world.service.sign_out(SessionsOf::BackOffice, &sid).await.unwrap());
            self.oracle.end_session(token);
        }
        Ok(())
    }

    /// Whoever holds a token of a session, if it is good. To be asked for is a use.
    async fn holder(&mut self, token: usize) -> Result<Option<Holder>, TestCaseError> {
        let verdict = self.oracle.bearer(token);
        let text = secret(&self.oracle.tokens[token].text);
        let holder = self.world.service.holder(&text, PROGRAM, &[TokenKind::Auth, TokenKind::Access]).await;
        if holder.is_ok() {
            prop_assert_ne!(verdict, Verdict::Refused, "held: {:?}", self.oracle.tokens[token]);
            self.oracle.passed(token);
        } else {
            prop_assert_ne!(verdict, Verdict::Passes, "not held: {:?}", self.oracle.tokens[token]);
            self.oracle.refused(token);
        }
        Ok(holder.ok())
    }

    async fn exchange(&mut self, token: usize, holder: &Holder) {
        let identity = self.world.service.identities(holder.account).await.unwrap()[0].id;
        let named =
            crate::tokens::identity::NamedIdentity { id: identity, kind: crate::tokens::identity::IdentityKind::Consumer };
        let exchanged = self.world.service.exchange(&self.of_sessions(), holder, named).await.unwrap();
        let (session, strong) = (self.oracle.tokens[token].session, self.oracle.tokens[token].strong);
        self.oracle.issued(exchanged.token.expose().to_owned(), session, Api::Session, Kind::Access, strong);
    }

    async fn step_up(&mut self, token: usize, holder: &Holder) {
        let (service, limits) = (&self.world.service, &self.world.plan.session.as_ref().unwrap().challenges);
        // Too soon after the last code, say: then nothing has changed.
        if service
            .begin_code(limits, holder, Question { channel: "SMS", purpose: Purpose::StepUp, reference: None })
            .await
            .is_ok()
        {
            service.answer_code(holder, "SMS", Purpose::StepUp, &secret("123456")).await.unwrap();
            self.oracle.stepped_up(token);
        }
    }

    async fn log_out(&mut self, token: usize, holder: &Holder) {
        self.world.service.log_out(holder).await.unwrap();
        self.oracle.end_session(token);
    }

    /// Ends every session of the account, and opens one.
    async fn new_password(&mut self, token: usize, holder: &Holder) {
        let who = self.oracle.account_of(token);
        self.passwords += 1;
        let new = secret(&format!("another four plain words {}", self.passwords));
        let request =
            NewPassword { program: PROGRAM, old: &self.people[who].1, new: &new, life: None, policy: PasswordPolicy::Standard };
        let changed = self.world.service.change_password(&self.of_sessions(), holder, request).await.unwrap();
        self.oracle.end_account(who);
        let session = self.oracle.signed_in(who, Api::Session);
        self.oracle.issued(changed.token.token.expose().to_owned(), session, Api::Session, Kind::Auth, false);
        self.people[who].1 = new;
    }

    /// Ends every session of the account; that it is enabled again at once brings none back.
    async fn disable(&mut self, who: usize) {
        for status in [AccountStatus::Disabled, AccountStatus::Active] {
            assert!(self.world.service.switch_account(self.people[who].0, status).await.unwrap());
        }
        self.oracle.end_account(who);
    }
}

/// Another process on the same database, with nothing in memory.
async fn renew(mut world: World) -> World {
    world.cuts = Arc::new(Cuts::new(RETENTION));
    world.restart().await
}

/// Plays these steps, and uses every token once more at the end.
fn play(on: On, steps: &[Step]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut play = Play::begin(on).await;
        for step in steps {
            play = Box::pin(play.step(step)).await?;
        }
        for token in 0..play.oracle.tokens.len() {
            play.uses(token).await?;
        }
        Ok(())
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn tokens_pass_until_their_end_and_never_after_it_whatever_happens_in_whichever_order(steps in steps()) {
        play(On::Sqlite, &steps)?;
    }
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn the_same_is_so_on_postgresql(steps in steps()) {
        play(On::Postgres, &steps)?;
    }
}
