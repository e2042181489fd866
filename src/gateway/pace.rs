//! How long an exchange with an upstream may take as a whole, where pingora bounds each read and each write of it alone.
//!
//! A client of HTTP/1 is watched all the time, see `patience`. A stream of HTTP/2 is looked at whenever something of it passes
//! here: who drips is ended by this, who says nothing by the upstream's `read_timeout`. Deliberately absent: what is said then.

use std::time::Duration;

use pingora::{Error, ErrorType, Result};

use crate::flow::Forward;
use crate::gateway::proxy::{Gateway, Serving};
use crate::model::Tick;

impl Gateway {
    /// What is left at `now` of the time that an upstream has until its answer begins.
    ///
    /// # Errors
    /// 504 if that is nothing, 502 if the route has no upstream.
    pub(super) fn left(&self, ctx: &Serving, now: Tick) -> Result<Duration> {
        let set = self.peers_of(ctx).ok_or_else(|| Error::new(ErrorType::HTTPStatus(502)))?;
        let spent = ctx.asked.map_or(Duration::ZERO, |asked| now.since(asked));
        let left = set.upstream.total_timeout.saturating_sub(spent);
        if left.is_zero() { Err(Error::new(ErrorType::HTTPStatus(504))) } else { Ok(left) }
    }

    /// Ends an exchange in which the client still sends after that time, though the answer has not begun, or has not told yet how
    /// a login ended.
    ///
    /// # Errors
    /// What says that the client took too long; 502 if the route has no upstream.
    pub(super) fn hurry_client(&self, ctx: &Serving) -> Result<()> {
        if ctx.is_answered && !ctx.forward.as_ref().is_some_and(Forward::awaits_body) {
            return Ok(());
        }
        match self.left(ctx, self.clock.now().tick) {
            Ok(_) => Ok(()),
            Err(error) if *error.etype() == ErrorType::HTTPStatus(504) => Err(Error::new_down(ErrorType::ReadTimedout)),
            Err(error) => Err(error),
        }
    }
}
