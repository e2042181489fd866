//! What a failure of pingora's means to the client.
//!
//! Deliberately absent: pingora's own mapping, which knows no 504 and answers in its own words.

use pingora::{Error, ErrorSource, ErrorType};

use crate::flow::Outcome;
use crate::gateway::connection::Connection;
use crate::model::{BadRequest, Denial, ErrorId, Timestamp};

/// The denial that a failure amounts to; `None` if there is nobody left to tell. `waiting` is whether the client still had to
/// send some of its body: an upstream that says nothing meanwhile is not to blame. Our own faults are logged here, under the id
/// that the client is told.
pub(super) fn denial_of(connection: Option<&Connection>, error: &Error, waiting: bool, now: Timestamp) -> Option<Denial> {
    if let Some(fault) = connection.and_then(Connection::fault) {
        return Some(if waiting && *fault == Denial::UpstreamTimeout { Denial::RequestTimeout } else { fault.clone() });
    }
    match (error.esource(), error.etype()) {
        (_, ErrorType::HTTPStatus(413)) => Some(Denial::BodyTooLarge),
        (_, ErrorType::HTTPStatus(504)) => Some(Denial::UpstreamTimeout),
        (_, ErrorType::HTTPStatus(502)) => Some(Denial::UpstreamUnavailable),
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => Some(Denial::RequestTimeout),
        (ErrorSource::Downstream, ErrorType::InvalidHTTPHeader) => Some(Denial::BadRequest(BadRequest::Head)),
        (ErrorSource::Downstream, _) => None,
        (ErrorSource::Upstream, ErrorType::ReadTimedout) if waiting => Some(Denial::RequestTimeout),
        (ErrorSource::Upstream, kind) if is_timeout(kind) => Some(Denial::UpstreamTimeout),
        (ErrorSource::Upstream, _) => Some(Denial::UpstreamUnavailable),
        (ErrorSource::Internal | ErrorSource::Unset, _) => {
            let id = ErrorId(now.as_millis().unsigned_abs());
            tracing::error!(error_id = %format!("{:016x}", id.0), %error, "internal error");
            Some(Denial::Internal(id))
        }
    }
}

/// What a failure means for what the request did at its upstream. `waiting` is as in [`denial_of`]: a client that lets the time
/// run out, or breaks its message off in whatever way, has left, and what it had sent may have been enough for the upstream.
/// Where we gave up on the upstream, the failure may show on either side.
pub(super) fn outcome_of(connection: Option<&Connection>, error: &Error, waiting: bool) -> Outcome {
    let left = match (connection.and_then(Connection::fault), error.esource(), error.etype()) {
        (Some(Denial::UpstreamTimeout), _, _) | (None, ErrorSource::Upstream, ErrorType::ReadTimedout) => waiting,
        (Some(_), _, _) | (None, _, ErrorType::HTTPStatus(413)) | (None, ErrorSource::Downstream, _) => true,
        (None, ErrorSource::Upstream | ErrorSource::Internal | ErrorSource::Unset, _) => false,
    };
    if left { Outcome::Left } else { Outcome::Unknown }
}

/// Whether somebody took too long.
pub(super) fn is_timeout(kind: &ErrorType) -> bool {
    use ErrorType::{ConnectTimedout, ReadTimedout, TLSHandshakeTimedout, WriteTimedout};
    matches!(kind, ConnectTimedout | ReadTimedout | TLSHandshakeTimedout | WriteTimedout)
}
