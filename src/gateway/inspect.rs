//! Seeing a request's body before it is forwarded, and forwarding it unchanged.
//!
//! pingora keeps what is read here in a buffer of its own from which it feeds the upstream; that buffer holds 64 KiB, so the
//! bound on what is read must stay well below. Deliberately absent: what is looked for (`flow`).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::EXPECT;
use pingora::proxy::Session;

use crate::gateway::reading;
use crate::model::{BadRequest, Denial};

/// Reads the whole body, if it is no larger than `limit` bytes, and leaves it for the upstream.
///
/// # Errors
/// `BodyTooLarge`; `RequestTimeout` if it does not come within `patience`; `BadRequest(Body)` if it breaks off.
pub(super) async fn look(session: &mut Session, limit: usize, patience: Duration) -> Result<Bytes, Denial> {
    if reading::declared_length(session.req_header()).is_some_and(|length| length > limit as u64) {
        return Err(Denial::BodyTooLarge);
    }
    session.enable_retry_buffering();
    let body = gather(session, limit as u64, patience).await?;
    // Whoever waited for a word from us before sending the body has had it.
    session.req_header_mut().remove_header(&EXPECT);
    Ok(body)
}

/// Reads the whole body.
///
/// # Errors
/// As [`look`].
pub(super) async fn gather(session: &mut Session, limit: u64, patience: Duration) -> Result<Bytes, Denial> {
    match tokio::time::timeout(patience, all(session, limit)).await {
        Ok(gathered) => gathered,
        Err(_) => Err(Denial::RequestTimeout),
    }
}

async fn all(session: &mut Session, limit: u64) -> Result<Bytes, Denial> {
    if session.req_header().headers.contains_key(EXPECT) {
        session.downstream_session.write_continue_response().await.map_err(|_| Denial::RequestTimeout)?;
    }
    let mut body = BytesMut::new();
    loop {
        match session.downstream_session.read_request_body().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(_) => return Err(Denial::BadRequest(BadRequest::Body)),
        }
        if body.len() as u64 > limit {
            return Err(Denial::BodyTooLarge);
        }
    }
}
