//! pingora's phases, translated: each builds nouns, asks `flow`, and carries out what was decided.
//!
//! Imports `flow`, `plan`, `reply`, `telemetry`. Deliberately absent: decisions. Three exits (upstream's answer, our own answer,
//! a failure) and one dress: every response passes `Envelope::dress` exactly once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, PRAGMA};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::flow::{Flow, Forward, Outcome, Refusal, Standing};
use crate::gateway::answer::{self, Dress, connection};
use crate::gateway::deciding::Step;
use crate::gateway::faults;
use crate::gateway::forward;
use crate::gateway::in_process::{self, Inside};
use crate::gateway::judging::Gathered;
use crate::gateway::peers::{PeerSet, Peers};
use crate::gateway::reading;
use crate::gateway::relay;
use crate::gateway::request_ids::{RequestIds, RequestNames};
use crate::model::{Clock, Denial, Tick};
use crate::plan::{Plan, Route, RouteLimits, Target};
use crate::reply::Reply;
use crate::rules::cors;
use crate::rules::envelope::Envelope;
use crate::rules::identity::Strip;
use crate::telemetry::{Metrics, Served};

/// The gateway as pingora drives it.
pub(super) struct Gateway {
    /// The configuration in force.
    pub(super) plan: Arc<Plan>,
    /// Who decides.
    pub(super) flow: Arc<Flow>,
    /// What time it is.
    pub(super) clock: Arc<dyn Clock>,
    /// The upstream servers.
    pub(super) peers: Arc<Peers>,
    /// The services inside this process.
    pub(super) inside: Inside,
    /// Which fields pass.
    pub(super) strip: Strip,
    /// Makes request ids.
    pub(super) ids: RequestIds,
    /// Counts.
    pub(super) metrics: Arc<Metrics>,
}

/// What is known of a request while it is served.
#[derive(Debug, Default)]
pub(super) struct Serving {
    began: Tick,
    names: RequestNames,
    route: Option<Arc<Route>>,
    pub(super) forward: Option<Forward>,
    /// How it stands with the limits of its route.
    standing: Standing,
    /// The target in normal form, where that is not how the client spelt it.
    target: Option<String>,
    received: u64,
    tries: usize,
    /// When the upstream was first turned to.
    pub(super) asked: Option<Tick>,
    /// Whether its answer has begun.
    pub(super) is_answered: bool,
    settled: bool,
    /// What has come of an answer that is judged by its body.
    answered: Gathered,
}

impl Serving {
    /// How it stands with the limits of its route, and what these are.
    fn quotas(&self) -> Option<(&Standing, &RouteLimits)> {
        self.route.as_ref().map(|route| (&self.standing, &route.limits))
    }

    /// Whether its answer names it as `request-ref` too.
    fn has_request_ref(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.request_ref)
    }
}

impl Gateway {
    /// Answers a request ourselves.
    async fn answer(&self, session: &mut Session, ctx: &Serving, reply: Reply, preflight: bool) -> Result<()> {
        let origin = cors::origin(&session.req_header().headers).cloned();
        let envelope = self.envelope(ctx);
        answer::keep_alive_only_if_drained_cheaply(session);
        let (request_id, request_ref) = (&ctx.names.id, ctx.has_request_ref());
        let quotas = ctx.quotas();
        let dress = Dress { envelope: &envelope, origin: origin.as_ref(), preflight, quotas, request_id, request_ref };
        answer::send(session, reply, &dress).await
    }

    /// Refuses a request, in the style of its route.
    async fn refuse(&self, session: &mut Session, ctx: &mut Serving, refusal: Refusal) -> Result<()> {
        let Refusal { route, denial } = refusal;
        ctx.route = route.or(ctx.route.take());
        self.metrics.denied(ctx.route.as_ref().map(|route| route.index), &denial);
        let id = ctx.names.id.to_str().unwrap_or_default();
        let route = ctx.route.as_ref().map_or("none", |route| &*route.name);
        tracing::info!(route, request_id = id, reason = denial.reason(), limit = ctx.standing.refused_by(), "refused");
        let reply = Reply::refusal(&denial, self.envelope(ctx).style, id);
        self.answer(session, ctx, reply, false).await
    }

    fn envelope(&self, ctx: &Serving) -> Arc<Envelope> {
        Arc::clone(ctx.route.as_ref().map_or(&self.plan.fallback, |route| &route.envelope))
    }

    pub(super) fn peers_of(&self, ctx: &Serving) -> Option<&Arc<PeerSet>> {
        self.peers.of_route(ctx.route.as_ref()?.index)
    }

    /// Closes the books once, before the first byte of the answer goes down.
    async fn settle(&self, ctx: &mut Serving, outcome: Outcome) {
        if let (false, Some(forward)) = (ctx.settled, &mut ctx.forward) {
            ctx.settled = true;
            self.flow.settle(forward, outcome, self.clock.now()).await;
        }
    }

    /// Lets a service inside this process answer.
    async fn serve_in_process(&self, session: &mut Session, ctx: &mut Serving) -> Result<bool> {
        let inside = ctx.forward.as_ref().and_then(|forward| Some((self.inside.of(&forward.route.target)?, forward)));
        let Some((service, forward)) = inside else {
            return self.refuse_and_stop(session, ctx, Denial::NoRoute).await;
        };
        let source = self.plan.source(reading::arrival(session).peer, &session.req_header().headers);
        let answered =
            in_process::serve(session, service, forward, ctx.target.as_deref(), source, self.plan.guard.body_idle).await;
        match answered {
            Ok(reply) => {
                self.settle(ctx, Outcome::Answered(reply.status.as_u16())).await;
                if let Some(forward) = &mut ctx.forward {
                    ctx.answered.take(forward, Some(&reply.body), true);
                    forward.conclude().await;
                }
                self.answer(session, ctx, reply, false).await?;
                Ok(true)
            }
            Err(denial) => {
                self.settle(ctx, Outcome::Unknown).await;
                self.refuse_and_stop(session, ctx, denial).await
            }
        }
    }

    async fn refuse_and_stop(&self, session: &mut Session, ctx: &mut Serving, denial: Denial) -> Result<bool> {
        self.refuse(session, ctx, Refusal { route: None, denial }).await?;
        Ok(true)
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Serving;

    fn new_ctx(&self) -> Self::CTX {
        Serving::default()
    }

    /// None of pingora's own modules: what they would change would be changed behind our back.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        let now = self.clock.now();
        ctx.began = now.tick;
        ctx.names = self.ids.name(&session.req_header().headers);
        reading::ignore_other_protocols(session);
        answer::bound_writes(session, self.plan.guard.body_idle);
        match self.decide(session, now, &mut ctx.standing).await {
            Ok(Step::Forward(forward, target)) => {
                let in_process = !matches!(forward.route.target, Target::Upstream(_));
                (ctx.route, ctx.target) = (Some(Arc::clone(&forward.route)), target);
                ctx.forward = Some(forward);
                if in_process { self.serve_in_process(session, ctx).await } else { Ok(false) }
            }
            Ok(Step::Preflight(route, reply)) => {
                ctx.route = Some(route);
                self.answer(session, ctx, reply, true).await?;
                Ok(true)
            }
            Err(refusal) => {
                self.refuse(session, ctx, refusal).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        // Only a request with a permit gets here; without one there is nowhere to send it.
        let forward = ctx.forward.as_ref().ok_or_else(|| Error::new(ErrorType::HTTPStatus(502)))?;
        let set = self.peers.of_route(forward.route.index).ok_or_else(|| Error::new(ErrorType::HTTPStatus(502)))?;
        let now = self.clock.now().tick;
        ctx.asked.get_or_insert(now);
        ctx.tries += 1;
        self.left(ctx, now)?;
        set.pick().ok_or_else(|| Error::new(ErrorType::HTTPStatus(502)))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let missing = || Error::new(ErrorType::InternalError);
        let forward = ctx.forward.as_ref().ok_or_else(missing)?;
        let now = self.clock.now().tick;
        let left = self.left(ctx, now)?;
        if let Some(connection) = connection(session) {
            connection.await_answer(now, left);
        }
        if let Some(target) = &ctx.target {
            upstream.set_raw_path(target.as_bytes())?;
        }
        forward::rewrite(upstream, forward, &self.strip, &ctx.names, &self.plan, reading::arrival(session))
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        // An empty last chunk would be written as a second end of the body (pingora #935).
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        self.hurry_client(ctx)?;
        ctx.received = ctx.received.saturating_add(body.as_ref().map_or(0, |bytes| bytes.len() as u64));
        match &ctx.route {
            Some(route) if ctx.received > route.body_limit => Err(Error::new(ErrorType::HTTPStatus(413))),
            Some(_) | None => Ok(()),
        }
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            // An upstream that changes the protocol without having been asked is not speaking to this client.
            let connection = connection(session).filter(|_| session.is_upgrade_req());
            let connection = connection.ok_or_else(|| Error::new(ErrorType::HTTPStatus(502)))?;
            connection.open_tunnel();
        }
        relay::take_over(response)?;
        let is_interim = response.status.is_informational();
        ctx.is_answered |= !is_interim || response.status == StatusCode::SWITCHING_PROTOCOLS;
        if !ctx.is_answered {
            self.left(ctx, self.clock.now().tick)?;
        }
        // A tunnel (101) is waited for no more either, or it would end when that wait does.
        if let (Some(connection), true) = (connection(session), ctx.is_answered) {
            connection.answer_begins();
        }
        if !is_interim && let (Some(asked), Some(set)) = (ctx.asked, self.peers_of(ctx)) {
            self.metrics.upstream_answered(&set.upstream.name, self.clock.now().tick.since(asked));
            set.upstream.hide_headers.iter().for_each(|name| drop(response.remove_header(name)));
        }
        Ok(())
    }

    async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader, ctx: &mut Self::CTX) -> Result<()> {
        if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        self.settle(ctx, Outcome::Answered(response.status.as_u16())).await;
        if let Some(forward) = &mut ctx.forward {
            Gathered::begin(forward, &response.headers);
            forward.conclude().await;
        }
        if ctx.route.as_ref().is_some_and(|route| route.gives_tokens()) {
            response.insert_header(CACHE_CONTROL, "no-store")?;
            response.insert_header(PRAGMA, "no-cache")?;
        }
        let origin = cors::origin(&session.req_header().headers);
        let envelope = ctx.route.as_ref().map_or(&self.plan.fallback, |route| &route.envelope);
        let (request_id, request_ref) = (&ctx.names.id, ctx.has_request_ref());
        let dress = Dress { envelope, origin, preflight: false, quotas: ctx.quotas(), request_id, request_ref };
        dress.put_on(session, response);
        relay::fit(session, response);
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        if let Some(forward) = &mut ctx.forward {
            ctx.answered.take(forward, body.as_ref(), end);
        }
        Ok(None)
    }

    fn fail_to_connect(&self, _session: &mut Session, _peer: &HttpPeer, ctx: &mut Self::CTX, error: Box<Error>) -> Box<Error> {
        // Nothing has been sent, so any request may be tried on the next server.
        let retries = self.peers_of(ctx).map_or(0, |set| set.upstream.retries);
        let mut error = error;
        error.set_retry(ctx.tries <= retries);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        let retries = self.peers_of(ctx).map_or(0, |set| set.upstream.retries);
        let repeatable = session.req_header().method.is_idempotent()
            && ctx.received == 0
            && !relay::has_begun(session)
            && !faults::is_timeout(error.etype())
            && ctx.tries <= retries;
        let mut error = error;
        if repeatable {
            error.retry.decide_reuse(reused);
        } else {
            error.set_retry(false);
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Self::CTX) -> FailToProxy {
        // Whoever resets the exchange once it is forwarded has not escaped its count.
        let waiting = !session.downstream_session.is_body_done();
        self.settle(ctx, faults::outcome_of(connection(session), error, waiting)).await;
        let denial = faults::denial_of(connection(session), error, waiting, self.clock.now().wall);
        // What is left of either message is unknown, so the connection ends with this answer.
        session.set_keepalive(None);
        let mut error_code = 0;
        if let (Some(denial), false) = (denial, relay::has_begun(session)) {
            let refusal = Refusal { route: None, denial };
            if self.refuse(session, ctx, refusal).await.is_ok() {
                error_code = session.response_written().map_or(0, |response| response.status.as_u16());
            }
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Self::CTX, _error: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        let took = self.clock.now().tick.since(ctx.began);
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        // Who never got an answer may still have ended something.
        let waiting = !session.downstream_session.is_body_done();
        let outcome = error.map_or(Outcome::Unknown, |error| faults::outcome_of(connection(session), error, waiting));
        self.settle(ctx, outcome).await;
        if let Some(forward) = &mut ctx.forward {
            ctx.answered.end(forward, error.is_none());
            forward.conclude().await;
        }
        self.metrics.served(Served { route: ctx.route.as_ref().map(|route| route.index), status, took });
        if let Some(error) = error {
            let route = ctx.route.as_ref().map_or("none", |route| &*route.name);
            let id = ctx.names.id.to_str().unwrap_or_default();
            tracing::info!(route, request_id = id, status, error = %error.etype().as_str(), source = error.esource().as_str(), "failed");
        } else {
            let route = ctx.route.as_ref().map_or("none", |route| &*route.name);
            tracing::debug!(route, status, ?took, "served");
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}
