//! Every metric, in one table. A long list by nature: `docs/operations.md` documents each name, and a test compares the two.
//!
//! Children are looked up once, when the plan is known, so that counting a request is a handful of additions.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::model::Denial;
use crate::plan::Plan;

/// Buckets for our own time and for what is near it, in seconds: 50 µs to 10 s.
const FAST: [f64; 14] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];
/// Buckets for the age of a remembered decision, in seconds: 100 ms to 5 min.
const AGES: [f64; 10] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    routes: Box<[RouteMetrics]>,
    unrouted: RouteMetrics,
    denials: IntCounterVec,
    cache: IntCounterVec,
    /// The age of each remembered decision that was used, in seconds.
    pub cache_age: Histogram,
    /// How long introspections took, by issuer and outcome.
    pub introspection: HistogramVec,
    upstream: HistogramVec,
    notifications: IntCounterVec,
    /// Remembered tokens, by table: `active`, `inactive`.
    pub cache_entries: IntGaugeVec,
    /// Open client connections.
    pub connections: IntGauge,
    /// Revocation cuts that are remembered.
    pub cuts: IntGauge,
    cuts_published: IntCounterVec,
    stores: StoreMetrics,
    events: IntCounterVec,
    limits: IntCounterVec,
    /// What login guards did.
    pub guards: GuardMetrics,
    password_attempts: IntCounterVec,
}

/// What login guards did.
#[derive(Debug)]
pub struct GuardMetrics {
    outcomes: IntCounterVec,
    failures: IntCounterVec,
    /// Sources that failed on many accounts, by guard.
    pub spraying: IntGaugeVec,
}

impl GuardMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let failures = "Wrong logins at guarded routes, by whether the account had succeeded from there lately.";
        let spraying = "Sources that failed on more than ten accounts within an hour.";
        Ok(Self {
            outcomes: counter(registry, "guard_total", "Logins at guarded routes, by outcome.", &["guard", "outcome"])?,
            failures: counter(registry, "guard_failures_total", failures, &["guard", "known"])?,
            spraying: gauges(registry, "guard_spraying_sources", spraying, &["guard"])?,
        })
    }
}

/// How what is remembered beyond a request fares.
#[derive(Debug)]
struct StoreMetrics {
    failures: IntCounterVec,
    shared_up: IntGauge,
    shared_failures: IntCounterVec,
    cuts_heard: Gauge,
    cuts_missed: IntCounterVec,
}

impl StoreMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            failures: counter(registry, "store_failures_total", "What could not be written down.", &["what"])?,
            shared_up: gauge(registry, "shared_store_up", "Whether the shared store can be asked.")?,
            shared_failures: counter(
                registry,
                "shared_store_failures_total",
                "Calls of the shared store that failed or were late.",
                &["operation"],
            )?,
            cuts_heard: gauge_of_seconds(
                registry,
                "cuts_heard_seconds",
                "Seconds since the other gateways' cuts were heard; 0 if nothing is shared.",
            )?,
            cuts_missed: counter(
                registry,
                "cuts_missed_total",
                "How often cuts of other gateways may have been missed, and everything was cut.",
                &["why"],
            )?,
        })
    }
}

#[derive(Debug)]
struct RouteMetrics {
    name: Arc<str>,
    by_class: [IntCounter; 5],
    duration: Histogram,
}

/// A request that has been served.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// Its route's index; `None` if it reached none.
    pub route: Option<usize>,
    /// The status that was sent; 0 if none could be.
    pub status: u16,
    /// From the end of its head to the end of its answer.
    pub took: Duration,
}

impl Metrics {
    /// Metrics for the routes of `plan`.
    ///
    /// # Errors
    /// If two metrics have the same name, which is a mistake in this file.
    pub fn new(plan: &Plan) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let requests = counter(&registry, "requests_total", "Requests, by route and status class.", &["route", "status"])?;
        let durations = histogram(&registry, "request_duration_seconds", "Time to serve a request.", &["route"], &FAST)?;
        let of = |name: &Arc<str>| RouteMetrics {
            name: Arc::clone(name),
            by_class: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| requests.with_label_values(&[&**name, class])),
            duration: durations.with_label_values(&[&**name]),
        };
        gauges(&registry, "build_info", "The version, as a label.", &["version"])?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let age = HistogramOpts::new("portcullis_cache_age_seconds", "Age of each remembered decision that was used.");
        let cache_age = Histogram::with_opts(age.buckets(AGES.to_vec()))?;
        registry.register(Box::new(cache_age.clone()))?;
        Ok(Self {
            routes: plan.routes.iter().map(|route| of(&route.name)).collect(),
            unrouted: of(&Arc::from("none")),
            denials: counter(&registry, "denials_total", "Refused requests, by route and reason.", &["route", "reason"])?,
            cache: counter(&registry, "cache_total", "Looks into the token cache, by outcome.", &["outcome"])?,
            cache_age,
            introspection: histogram(
                &registry,
                "introspection_seconds",
                "Time of an introspection, by issuer and outcome.",
                &["issuer", "outcome"],
                &FAST,
            )?,
            upstream: histogram(&registry, "upstream_duration_seconds", "Time to the upstream's head.", &["upstream"], &FAST)?,
            notifications: counter(
                &registry,
                "notifications_total",
                "Messages to people, by kind and outcome.",
                &["kind", "outcome"],
            )?,
            cache_entries: gauges(&registry, "cache_entries", "Remembered tokens, by table.", &["table"])?,
            connections: gauge(&registry, "connections", "Open client connections.")?,
            cuts: gauge(&registry, "cuts", "Revocation cuts that are remembered.")?,
            cuts_published: counter(
                &registry,
                "cuts_published_total",
                "Revocation cuts, by how we came to know and what they reach.",
                &["cause", "reach"],
            )?,
            stores: StoreMetrics::new(&registry)?,
            events: counter(&registry, "events_total", "Pushes to receivers, by outcome.", &["receiver", "outcome"])?,
            limits: counter(&registry, "limit_total", "What rate limits did, by limit and outcome.", &["limit", "outcome"])?,
            guards: GuardMetrics::new(&registry)?,
            password_attempts: counter(&registry, "password_attempts_total", "Passwords tried, by outcome.", &["outcome"])?,
            registry,
        })
    }

    /// Takes over how many passwords have had this outcome since the start; `outcome` is of a closed list of words.
    pub fn passwords_attempted(&self, outcome: &'static str, so_far: u64) {
        let counter = self.password_attempts.with_label_values(&[outcome]);
        counter.inc_by(so_far.saturating_sub(counter.get()));
    }

    /// Counts a request.
    pub fn served(&self, served: Served) {
        let route = served.route.and_then(|index| self.routes.get(index)).unwrap_or(&self.unrouted);
        let class = usize::from(served.status / 100).saturating_sub(1);
        if let Some(counter) = route.by_class.get(class) {
            counter.inc();
        }
        route.duration.observe(served.took.as_secs_f64());
    }

    /// Counts a refusal.
    pub fn denied(&self, route: Option<usize>, denial: &Denial) {
        let route = route.and_then(|index| self.routes.get(index)).unwrap_or(&self.unrouted);
        self.denials.with_label_values(&[&*route.name, denial.reason()]).inc();
    }

    /// Counts a refusal by the front guard, before there was a route.
    pub fn refused_by_guard(&self, denial: &Denial) {
        self.denied(None, denial);
    }

    /// Counts a look into the token cache; `outcome` is one of the verifier's closed list of words.
    pub fn looked_up(&self, outcome: &'static str) {
        self.cache.with_label_values(&[outcome]).inc();
    }

    /// Counts a revocation; both labels are of closed lists of words.
    pub fn cut(&self, cause: &'static str, reach: &'static str) {
        self.cuts_published.with_label_values(&[cause, reach]).inc();
    }

    /// Counts what the state file did not take; `what` is of a closed list of words.
    pub fn store_failed(&self, what: &'static str) {
        self.stores.failures.with_label_values(&[what]).inc();
    }

    /// Counts a call of the shared store that failed or was late; `operation` is of a closed list of words.
    pub fn shared_store_failed(&self, operation: &'static str) {
        self.stores.shared_failures.with_label_values(&[operation]).inc();
    }

    /// Tells whether what is shared with other gateways can be asked.
    pub fn shared_store_is(&self, up: bool) {
        self.stores.shared_up.set(up.into());
    }

    /// Tells for how long the other gateways' cuts have not been heard.
    pub fn cuts_heard(&self, ago: Duration) {
        self.stores.cuts_heard.set(ago.as_secs_f64());
    }

    /// Counts that cuts of other gateways may have been missed; `why` is of a closed list of words.
    pub fn cuts_missed(&self, why: &'static str) {
        self.stores.cuts_missed.with_label_values(&[why]).inc();
    }

    /// Counts a push to a receiver; `outcome` is of a closed list of words.
    pub fn pushed(&self, receiver: &str, outcome: &'static str) {
        self.events.with_label_values(&[receiver, outcome]).inc();
    }

    /// Counts what a rate limit did; `outcome` is of a closed list of words.
    pub fn limited(&self, limit: &str, outcome: &'static str) {
        self.limits.with_label_values(&[limit, outcome]).inc();
    }

    /// Counts a login at a guarded route; `outcome` is of a closed list of words.
    pub fn login_guarded(&self, guard: &str, outcome: &'static str) {
        self.guards.outcomes.with_label_values(&[guard, outcome]).inc();
    }

    /// Counts a wrong login; whether the account had succeeded from there lately.
    pub fn login_failed(&self, guard: &str, known: bool) {
        self.guards.failures.with_label_values(&[guard, if known { "yes" } else { "no" }]).inc();
    }

    /// Counts an upstream's answer.
    pub fn upstream_answered(&self, upstream: &str, took: Duration) {
        self.upstream.with_label_values(&[upstream]).observe(took.as_secs_f64());
    }

    /// Counts a message to a person; both are words of closed lists.
    pub fn notified(&self, kind: &'static str, outcome: &'static str) {
        self.notifications.with_label_values(&[kind, outcome]).inc();
    }

    /// The page that Prometheus reads (text format 0.0.4).
    #[must_use]
    pub fn page(&self) -> Vec<u8> {
        let mut page = Vec::new();
        // Writing to memory does not fail; what could be encoded so far is still worth sending.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut page);
        page
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("portcullis_{name}"), help)
}

fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    let metric = IntCounterVec::new(opts(name, help), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    let metric = IntGaugeVec::new(opts(name, help), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let metric = IntGauge::with_opts(opts(name, help))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge_of_seconds(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Gauge> {
    let metric = Gauge::with_opts(opts(name, help))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> prometheus::Result<HistogramVec> {
    let options = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
    let metric = HistogramVec::new(options, labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
