//! From a session to a decision: the request's head as nouns, the question to `flow`, and the body where that wants to see it.
//!
//! Imports `flow`, `rules` (what is read of a head). Deliberately absent: carrying out what was decided (`proxy`).

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use pingora::proxy::Session;

use crate::flow::{Admission, Asking, Forward, Inspection, Refusal, Standing};
use crate::gateway::forward::Arrival;
use crate::gateway::inspect;
use crate::gateway::proxy::Gateway;
use crate::gateway::reading;
use crate::model::{BadRequest, Denial, Now, RequestHead, Source};
use crate::plan::Route;
use crate::reply::Reply;
use crate::rules::body::BODY_MAX;
use crate::rules::{path, stream_head};

/// What is to be done next, owned, so that the session is free to be written to.
pub(super) enum Step {
    Forward(Forward, Option<String>),
    Preflight(Arc<Route>, Reply),
}

impl Gateway {
    /// Decides about the request in `session`.
    pub(super) async fn decide(&self, session: &mut Session, now: Now, standing: &mut Standing) -> Result<Step, Refusal> {
        let (admission, source, respelt) = self.consider(session, reading::arrival(session), now, standing).await?;
        let forward = match admission {
            Admission::Answer(route, reply) => return Ok(Step::Preflight(route, reply)),
            Admission::Forward(forward) => forward,
            Admission::Inspect(inspection) => self.inspect(session, inspection, source, now).await?,
        };
        if reading::declared_length(session.req_header()).is_some_and(|length| length > forward.route.body_limit) {
            return Err(Refusal { route: Some(forward.route), denial: Denial::BodyTooLarge });
        }
        Ok(Step::Forward(forward, respelt))
    }

    /// What is to be done as far as the head tells, where it comes from, and its target in normal form, where that is not how
    /// the client spelt it. Borrows the session only to read its head.
    async fn consider(
        &self,
        session: &Session,
        arrival: Arrival,
        now: Now,
        standing: &mut Standing,
    ) -> Result<(Admission, Source, Option<String>), Refusal> {
        let request = session.req_header();
        let unreadable = |denial| Refusal { route: None, denial };
        if session.is_http2() {
            stream_head::check(&request.method, request.raw_path(), &request.headers, &self.plan.guard.head())
                .map_err(unreadable)?;
        }
        let target = std::str::from_utf8(request.raw_path()).map_err(|_| unreadable(Denial::BadRequest(BadRequest::Path)))?;
        let (raw_path, query) = path::split_target(target).map_err(unreadable)?;
        let path = path::normalize(raw_path).map_err(unreadable)?;
        let host = reading::host(request).map_err(unreadable)?;
        let source = self.plan.source(arrival.peer, &request.headers);
        let (method, headers) = (&request.method, &request.headers);
        let head = RequestHead { method, path: &path, query, host: &host, headers, source };
        let admission = self.flow.admit(&self.plan, &head, now, standing).await?;
        let respelt = matches!(path, Cow::Owned(_)).then(|| match query {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        });
        Ok((admission, source, respelt))
    }

    /// Looks into a request to see whom it is about.
    async fn inspect(
        &self,
        session: &mut Session,
        inspection: Inspection,
        source: Source,
        now: Now,
    ) -> Result<Forward, Refusal> {
        let route = Arc::clone(&inspection.route);
        let refused = |denial| Refusal { route: Some(Arc::clone(&route)), denial };
        let body = if inspection.wants_body() {
            let limit = usize::try_from(route.body_limit).unwrap_or(BODY_MAX).min(BODY_MAX);
            inspect::look(session, limit, self.plan.guard.body_idle).await.map_err(refused)?
        } else {
            Bytes::new()
        };
        let request = session.req_header();
        // As it is forwarded: what `consider` has read of the same bytes.
        let query =
            std::str::from_utf8(request.raw_path()).ok().and_then(|target| target.split_once('?')).map(|(_, query)| query);
        let asking = Asking { query, headers: &request.headers, source, body: &body };
        self.flow.inspect(inspection, asking, now).await.map_err(refused)
    }
}
