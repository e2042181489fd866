//! The echo service of the quick start: answers with what reached it, so that a newcomer sees what the gateway does.
//!
//! A real upstream on a loopback port of its own; the gateway reaches it as it reaches any other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::any;
use serde_json::json;
use tokio::net::TcpListener;

/// The largest body that is echoed, in bytes.
const BODY_LIMIT: usize = 16 * 1024 * 1024;
/// The longest that `/public/slow` waits, in milliseconds.
const SLOWEST: u64 = 120_000;

/// Starts the service on a free loopback port.
///
/// # Errors
/// If no port can be had.
pub(super) async fn start() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let service =
        Router::new().route("/public/status/{status}", any(status)).route("/public/slow/{millis}", any(slow)).fallback(echo);
    tokio::spawn(async move { axum::serve(listener, service).await });
    Ok(address)
}

async fn echo(request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let mut headers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in &head.headers {
        headers.entry(name.as_str()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    Json(json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query().unwrap_or_default(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    }))
    .into_response()
}

async fn status(Path(status): Path<u16>) -> Response {
    // Informational statuses are not answers, and 101 would promise another protocol.
    match StatusCode::from_u16(status) {
        Ok(status) if status.as_u16() >= 200 => status.into_response(),
        Ok(_) | Err(_) => {
            (StatusCode::BAD_REQUEST, Json(json!({ "message": "a status is a number from 200 to 999" }))).into_response()
        }
    }
}

async fn slow(Path(millis): Path<u64>) -> Response {
    let waited = millis.min(SLOWEST);
    tokio::time::sleep(Duration::from_millis(waited)).await;
    Json(json!({ "waited_ms": waited })).into_response()
}
