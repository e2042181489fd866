//! Connects what the verifier, the revocations, the limits, the login guards, the receivers and the carriers tell to the table
//! of metrics.

use std::sync::Arc;
use std::time::Duration;

use crate::events::{Outcome, Tally};
use crate::flow::{LimitOutcome, LimitTally};
use crate::notify;
use crate::plan::MessageKind;
use crate::store::cuts::Reach;
use crate::store::feed::Listener;
use crate::store::login_guard::{GuardWitness, Happening};
use crate::store::revocations::{Cause, Witness};
use crate::store::valkey::Watcher;
use crate::telemetry::Metrics;
use crate::verify::observe::{Asked, Found, Observer};

/// Counts what all of them do.
#[derive(Debug)]
pub(super) struct Counting(pub(super) Arc<Metrics>);

impl Observer for Counting {
    fn asked(&self, issuer: &str, answer: Asked, took: Duration) {
        self.0.introspection.with_label_values(&[issuer, answer.word()]).observe(took.as_secs_f64());
    }

    fn looked_up(&self, _issuer: &str, found: Found) {
        self.0.looked_up(found.word());
        if let Found::Active(age) | Found::InGrace(age) = found {
            self.0.cache_age.observe(age.as_secs_f64());
        }
    }
}

impl Witness for Counting {
    fn published(&self, cause: Cause, reach: &Reach) {
        self.0.cut(cause.word(), reach.word());
    }

    fn not_kept(&self) {
        self.0.store_failed("cut");
    }
}

impl Listener for Counting {
    fn heard(&self, reach: Option<&Reach>) {
        self.0.cut(Cause::Shared.word(), reach.map_or("all", Reach::word));
    }

    fn missed(&self, why: &'static str) {
        self.0.cuts_missed(why);
    }

    fn not_kept(&self) {
        self.0.store_failed("cut");
    }
}

impl Watcher for Counting {
    fn is_up(&self, up: bool) {
        self.0.shared_store_is(up);
    }

    fn failed(&self, operation: &'static str) {
        self.0.shared_store_failed(operation);
    }
}

impl GuardWitness for Counting {
    fn happened(&self, guard: &str, happening: Happening) {
        self.0.login_guarded(guard, happening.word());
    }

    fn failed(&self, guard: &str, known: bool) {
        self.0.login_failed(guard, known);
    }

    fn not_kept(&self) {
        self.0.store_failed("lock");
    }
}

impl Tally for Counting {
    fn pushed(&self, receiver: &str, outcome: Outcome) {
        self.0.pushed(receiver, outcome.word());
    }
}

impl LimitTally for Counting {
    fn limited(&self, limit: &str, outcome: LimitOutcome) {
        self.0.limited(limit, outcome.word());
    }
}

impl notify::Observer for Counting {
    fn ended(&self, kind: MessageKind, outcome: notify::Outcome) {
        self.0.notified(kind.word(), outcome.word());
    }
}
