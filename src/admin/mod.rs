//! The admin rim: health, readiness, metrics, revocation and locks, on a listener of its own.
//!
//! Imports `model`, `rules` (the envelope, forms), `store` and `tokens` (what is revoked, who is locked) and `telemetry`. Deliberately absent: anything that answers to the public listener.

mod audit;
mod door;
mod embedded_locks;
mod locks;
mod revoke;
mod words;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::admin::door::Door;
use crate::admin::words::Problem;
use crate::model::Secret;
use crate::rules::envelope::Envelope;
use crate::telemetry::Metrics;

/// Whether the gateway takes requests; flips once when it begins to stop.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Ready from now on.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Not ready any more: load balancers should go elsewhere.
    pub fn end(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What the admin rim shows.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Whether the gateway takes requests.
    pub ready: Readiness,
    /// How its answers are dressed.
    pub envelope: Arc<Envelope>,
}

pub use embedded_locks::EmbeddedLocks;
pub use locks::{ClearedLocks, LockKeeper, Locks, ShownLock, Unavailable, Wanted};
pub use revoke::Revoker;

/// What an operator may do with the admin token.
#[derive(Debug)]
struct Calls {
    door: Door,
    revoker: Revoker,
    locks: Locks,
}

impl Calls {
    /// Lets a call in, or says why not.
    fn let_in(&self, headers: &HeaderMap, from: IpAddr) -> Result<(), Problem> {
        self.door.pass(headers, from, self.revoker.clock.now().tick).map_err(|shut| {
            tracing::warn!(target: "portcullis::audit", %from, why = ?shut, "an admin call was not let in");
            Problem::from(shut)
        })
    }
}

fn refused(problem: Problem, from: IpAddr) -> Response {
    tracing::warn!(target: "portcullis::audit", actor = "admin", %from, why = problem.code(), "an admin call was refused");
    problem.into_answer()
}

/// Serves health, metrics and what `token` opens until the process ends.
///
/// # Errors
/// If the listener breaks.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    token: Option<Secret>,
    revoker: Revoker,
    locks: Locks,
) -> std::io::Result<()> {
    let calls = Arc::new(Calls { door: Door::new(token.as_ref()), revoker, locks });
    let envelope = Arc::clone(&shown.envelope);
    let dress = move |mut response: Response| {
        envelope.dress(None, response.headers_mut());
        async move { response }
    };
    let service = Router::new()
        .route("/livez", get(|| async { plain(StatusCode::OK, "ok\n") }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "not found\n") })
        .with_state(shown)
        .merge(admin_api().with_state(calls))
        .layer(axum::middleware::map_response(dress));
    axum::serve(listener, service.into_make_service_with_connect_info::<SocketAddr>()).await
}

fn admin_api() -> Router<Arc<Calls>> {
    let locks = get(show_locks).delete(clear_locks);
    Router::new().route("/admin/revoke", post(revoke_what_is_named)).route("/admin/locks", locks)
}

async fn revoke_what_is_named(
    State(calls): State<Arc<Calls>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(problem) = calls.let_in(&parts.headers, peer.ip()) {
        return problem.into_answer();
    }
    match calls.revoker.read(&parts.headers, body).await {
        Ok(wanted) => {
            // In a task of its own: what has begun is finished, also if the caller goes away.
            let revoking = async move { calls.revoker.revoke(wanted, peer.ip()).await };
            tokio::spawn(revoking).await.unwrap_or_else(|_| Problem::not_kept(&[]).into_answer())
        }
        Err(problem) => refused(problem, peer.ip()),
    }
}

async fn show_locks(State(calls): State<Arc<Calls>>, ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request) -> Response {
    if let Err(problem) = calls.let_in(request.headers(), peer.ip()) {
        return problem.into_answer();
    }
    let question = match calls.locks.read(request.uri().query()) {
        Ok(question) => question,
        Err(problem) => return refused(problem, peer.ip()),
    };
    calls.locks.show(question).await.unwrap_or_else(Problem::into_answer)
}

async fn clear_locks(
    State(calls): State<Arc<Calls>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let from = peer.ip();
    if let Err(problem) = calls.let_in(request.headers(), from) {
        return problem.into_answer();
    }
    let question = match calls.locks.read(request.uri().query()) {
        Ok(question) => question,
        Err(problem) => return refused(problem, from),
    };
    // In a task of its own, as above.
    let clearing = async move { calls.locks.clear(question, from).await };
    match tokio::spawn(clearing).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(problem)) => refused(problem, from),
        Err(_) => Problem::not_kept(&[]).into_answer(),
    }
}

async fn readyz(State(shown): State<Shown>) -> Response {
    if shown.ready.0.load(Ordering::Acquire) {
        plain(StatusCode::OK, "ready\n")
    } else {
        plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(shown): State<Shown>) -> Response {
    let page = shown.metrics.page();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (CACHE_CONTROL, "no-store")], page).into_response()
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let fields = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (status, fields, text).into_response()
}
