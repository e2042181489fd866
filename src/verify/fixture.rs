//! What the tests of this module share: clocks that are set by hand and authorities that say what they are told to say.

pub(crate) mod signing;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::model::{
    Clock, Credential, Denial, Entropy, IssuerId, NonEmpty, Now, Principal, PrincipalFacts, ScopeSet, Source, Tick, Timestamp,
    TokenKind,
};
use crate::plan::{CacheLimits, Freshness, OnOutage};
use crate::rules::access::Requirements;
use crate::store::cuts::Cuts;
use crate::verify::authority::{Ageing, Authority, KnownIssuer, Takes, Terms, Unavailable};
use crate::verify::flight::Flights;
use crate::verify::observe::{Asked, Found, Observer};
use crate::verify::setup::{Needs, Setup};
use crate::verify::{Recall, Verifier};

/// The wall clock's start: some instant in 2033.
pub(crate) const START: i64 = 2_000_000_000;

/// Both clocks, moved by hand and together.
#[derive(Debug, Default)]
pub(crate) struct HandClock(AtomicU64);

impl HandClock {
    pub(crate) fn forward(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Now {
        let millis = self.0.load(Ordering::SeqCst);
        let wall = Timestamp::from_secs(START).after(Duration::from_millis(millis));
        Now { wall, tick: Tick::from_millis(millis) }
    }
}

/// Randomness that is none: enough where nothing is attacked.
#[derive(Debug)]
pub(crate) struct Counting;

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from(index % 251).unwrap();
        }
    }
}

/// An authority that says what its table says, after a while.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) answers: Mutex<HashMap<String, Result<Option<PrincipalFacts>, Unavailable>>>,
    pub(crate) calls: AtomicUsize,
    pub(crate) latency: Duration,
}

impl Script {
    pub(crate) fn slow(latency: Duration) -> Arc<Self> {
        Arc::new(Self { latency, ..Self::default() })
    }

    pub(crate) fn says(&self, token: &str, answer: Result<Option<PrincipalFacts>, Unavailable>) {
        self.answers.lock().unwrap().insert(token.to_owned(), answer);
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Authority for Arc<Script> {
    async fn ask(&self, token: &str, _: Now) -> Result<Option<PrincipalFacts>, Unavailable> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        // What is true is looked up first and takes its time to arrive: the race that cuts are for.
        let answer = self.answers.lock().unwrap().get(token).cloned().unwrap_or(Ok(None));
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        answer
    }
}

/// An HTTP server on a free local port that says what it is told to say, and remembers what it was asked.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Canned>>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// What a server answers.
#[derive(Clone, Debug)]
pub(crate) struct Canned {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) latency: Duration,
}

/// What a server was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Heard {
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
}

impl Served {
    pub(crate) async fn saying(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let canned = Canned { status, body: body.to_owned(), latency: Duration::ZERO };
        let (answer, heard) = (Arc::new(Mutex::new(canned)), Arc::default());
        let served = Self { address: listener.local_addr().unwrap(), answer, heard };
        tokio::spawn(serve(listener, Arc::clone(&served.answer), Arc::clone(&served.heard)));
        served
    }

    pub(crate) fn says(&self, status: u16, body: &str) {
        let mut answer = self.answer.lock().unwrap();
        (answer.status, answer.body) = (status, body.to_owned());
    }

    pub(crate) fn takes(&self, latency: Duration) {
        self.answer.lock().unwrap().latency = latency;
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) fn url(&self) -> http::Uri {
        format!("http://{}/at", self.address).parse().unwrap()
    }
}

async fn serve(listener: TcpListener, answer: Arc<Mutex<Canned>>, heard: Arc<Mutex<Vec<Heard>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (answer, heard) = (Arc::clone(&answer), Arc::clone(&heard));
        let service = service_fn(move |request: Request<Incoming>| {
            let (answer, heard) = (Arc::clone(&answer), Arc::clone(&heard));
            async move {
                let field = request.headers().get("authorization");
                let authorization = field.map(|value| value.to_str().unwrap().to_owned());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                heard.lock().unwrap().push(Heard { authorization, body: String::from_utf8(body.into()).unwrap() });
                let Canned { status, body, latency } = answer.lock().unwrap().clone();
                tokio::time::sleep(latency).await;
                Ok::<_, Infallible>(Response::builder().status(status).body(Full::<Bytes>::from(body)).unwrap())
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Remembers what it is told.
#[derive(Debug, Default)]
pub(crate) struct Notebook {
    pub(crate) asked: Mutex<Vec<Asked>>,
    pub(crate) found: Mutex<Vec<Found>>,
}

impl Observer for Notebook {
    fn asked(&self, _: &str, answer: Asked, _: Duration) {
        self.asked.lock().unwrap().push(answer);
    }

    fn looked_up(&self, _: &str, found: Found) {
        self.found.lock().unwrap().push(found);
    }
}

/// A verifier over scripted issuers, and everything around it.
pub(crate) struct Bench {
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) cuts: Arc<Cuts>,
    pub(crate) notebook: Arc<Notebook>,
    pub(crate) freshness: Freshness,
    pub(crate) requirements: Requirements,
}

pub(crate) const LIMITS: CacheLimits = CacheLimits { tokens: 1000, inactive: 1000, misses_per_second: 1000, miss_burst: 1000 };

/// Any token, remembered for a minute if active and for five seconds if not.
pub(crate) fn remote(id: u16, script: &Arc<Script>) -> KnownIssuer {
    KnownIssuer {
        id: IssuerId(id),
        name: format!("issuer-{id}").into(),
        takes: Takes::Prefixed(Box::default()),
        terms: Terms {
            ageing: Ageing::Lagging,
            lifetime: Duration::from_mins(1),
            negative_lifetime: Duration::from_secs(5),
            leeway: Duration::ZERO,
            idle: None,
        },
        authority: Box::new(Arc::clone(script)),
        flights: Flights::new(64),
    }
}

pub(crate) fn facts() -> PrincipalFacts {
    PrincipalFacts {
        subject: Some("ann".into()),
        session: Some("s1".into()),
        expires_at: Some(Timestamp::from_secs(START + 3600)),
        ..PrincipalFacts::of_issuer(IssuerId(0))
    }
}

pub(crate) fn source() -> Source {
    Source::new("192.0.2.1".parse().unwrap())
}

impl Bench {
    /// The route takes all the issuers, an answer of half a minute, and no grace.
    pub(crate) fn over(issuers: Vec<KnownIssuer>) -> Self {
        Self::with(issuers, &LIMITS)
    }

    pub(crate) fn with(issuers: Vec<KnownIssuer>, limits: &CacheLimits) -> Self {
        let clock = Arc::new(HandClock::default());
        let cuts = Arc::new(Cuts::new(Duration::from_hours(1)));
        let notebook = Arc::new(Notebook::default());
        let accepted = issuers.iter().map(|issuer| issuer.id).collect();
        let setup = Setup {
            issuers: &[],
            limits,
            needs: Needs { longest_grace: Duration::from_mins(5), ..Needs::default() },
            cuts: Arc::clone(&cuts),
            clock: Arc::<HandClock>::clone(&clock),
            entropy: &Counting,
            embedded: None,
            observer: Arc::<Notebook>::clone(&notebook),
        };
        let verifier = Arc::new(Verifier::over(issuers.into_iter().map(Arc::new).collect(), setup));
        let freshness = Freshness { max_revocation_lag: Duration::from_secs(30), on_outage: OnOutage::Deny };
        Self { verifier, clock, cuts, notebook, freshness, requirements: accepting(accepted) }
    }

    /// As a request does it: recall, and resolve what is not known.
    pub(crate) async fn present(&self, token: &str) -> Result<Arc<Principal>, Denial> {
        let now = self.clock.now();
        match self.verifier.recall(&Credential::new(token), &self.requirements, &self.freshness, now) {
            Recall::Known(principal, _) => Ok(principal),
            Recall::Refused => Err(Denial::CredentialInvalid),
            Recall::Miss(missed) => self.verifier.resolve(missed, &self.requirements, &self.freshness, source(), now).await,
        }
    }
}

/// Requirements that name issuers and ask for nothing else.
pub(crate) fn accepting(issuers: Vec<IssuerId>) -> Requirements {
    Requirements {
        issuers: NonEmpty::new(issuers).unwrap(),
        kinds: NonEmpty::one(TokenKind::Access),
        scopes: ScopeSet::default(),
        audience: None,
        claims: Box::default(),
        assurance: None,
    }
}
