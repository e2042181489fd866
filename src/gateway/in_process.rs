//! Handing a request to a service inside this process, without a socket: the embedded token service, or a receiver.
//!
//! The body is gathered first, bounded in size and time. The verified caller and the source travel as extensions, so that the
//! service never has to believe a header. Deliberately absent: axum; the services come boxed from `app`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderName, Request, Response};
use pingora::proxy::Session;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::flow::Forward;
use crate::gateway::inspect;
use crate::model::{BadRequest, Denial, Source};
use crate::plan::Target;
use crate::reply::Reply;

/// A body larger than this is not gathered for a service inside, whatever a route says.
const GATHER_LIMIT: u64 = 64 * 1024;
/// How long a service inside may take for one request.
pub const SERVICE_DEADLINE: Duration = Duration::from_secs(30);

/// The HTTP face of a service inside this process.
pub type InProcess = BoxCloneSyncService<Request<Bytes>, Response<Bytes>, Infallible>;

/// The services inside this process.
#[derive(Debug)]
pub(super) struct Inside {
    /// The embedded token service, if it runs.
    pub(super) service: Option<InProcess>,
    /// The receivers, in the plan's order.
    pub(super) receivers: Box<[InProcess]>,
}

impl Inside {
    /// The service that a target names; `None` if it is not inside, or does not run.
    pub(super) fn of(&self, target: &Target) -> Option<&InProcess> {
        match target {
            Target::Upstream(_) => None,
            Target::TokenService => self.service.as_ref(),
            Target::Receiver(id, _) => self.receivers.get(id.0),
        }
    }
}

/// Gathers the body, asks the service, and takes its answer as a reply to be dressed like any other. `target` is the target
/// that was routed on, where the client spelt it differently.
///
/// # Errors
/// `BodyTooLarge`, `RequestTimeout`, `BadRequest(Body)` while gathering; `Overloaded` if the service takes too long.
pub(super) async fn serve(
    session: &mut Session,
    service: &InProcess,
    forward: &Forward,
    target: Option<&str>,
    source: Source,
    body_idle: Duration,
) -> Result<Reply, Denial> {
    let limit = forward.route.body_limit.min(GATHER_LIMIT);
    let body = inspect::gather(session, limit, body_idle).await?;
    let mut request = request(session, forward, source, body);
    if let Some(target) = target {
        *request.uri_mut() = target.parse().map_err(|_| Denial::BadRequest(BadRequest::Path))?;
    }
    match tokio::time::timeout(SERVICE_DEADLINE, service.clone().oneshot(request)).await {
        Ok(Ok(response)) => Ok(reply(response)),
        Ok(Err(never)) => match never {},
        Err(_) => Err(Denial::Overloaded(Duration::from_secs(1))),
    }
}

fn request(session: &Session, forward: &Forward, source: Source, body: Bytes) -> Request<Bytes> {
    let head = session.req_header();
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.headers_mut() = head.headers.clone();
    for name in [EXPECT, TRANSFER_ENCODING, CONTENT_LENGTH, CONNECTION] {
        request.headers_mut().remove(name);
    }
    request.extensions_mut().insert(source);
    if let Some(principal) = forward.permit.principal() {
        request.extensions_mut().insert(Arc::clone(principal));
    }
    request
}

fn reply(response: Response<Bytes>) -> Reply {
    let (head, body) = response.into_parts();
    let ours = |name: &HeaderName| *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING && *name != CONNECTION;
    let headers = head.headers.iter().filter(|(name, _)| ours(name)).map(|(name, value)| (name.clone(), value.clone()));
    Reply { status: head.status, headers: headers.collect(), body }
}
