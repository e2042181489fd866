//! The admin rim: health, readiness and metrics, on a listener of its own.
//!
//! Imports `model`, `rules` (the envelope) and `telemetry`. Deliberately absent: anything that answers to the public listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

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

/// Serves health and metrics until the process ends.
///
/// # Errors
/// If the listener breaks.
pub async fn serve(listener: TcpListener, shown: Shown) -> std::io::Result<()> {
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
        .layer(axum::middleware::map_response(dress));
    axum::serve(listener, service).await
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
