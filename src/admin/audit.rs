//! The log lines of who cleared which locks.
//!
//! Every call that may have changed something leaves one for each guard at least, with who and from where; accounts are named by
//! their marks. Deliberately absent: the lines of calls that are refused (`admin`), and those of revocations (`revoke`).

use std::net::IpAddr;

use crate::admin::locks::{ClearedLocks, ShownLock, Wanted};
use crate::model::SourceKey;
use crate::store::login_guard::Remainder;

/// Locks of one call that have a line of their own each. Of more it is said how many.
const NAMED: usize = 10_000;

/// What was cleared at one guard.
pub(super) fn cleared(from: IpAddr, guard: &str, wanted: &Wanted, cleared: &ClearedLocks) {
    let ClearedLocks { whose, locks, counters, lasting, remainder } = cleared;
    for ShownLock { mark, source, client, reason, failures, .. } in locks.iter().take(NAMED) {
        let source = source.map(SourceKey::address).map(tracing::field::display);
        tracing::info!(target: "portcullis::audit", actor = "admin", %from, guard, mark, source, client, reason, failures, lasting, "lock cleared");
    }
    let unnamed = locks.len().saturating_sub(NAMED);
    let (by, mark, source) =
        (by(wanted), whose.as_deref().or(told_mark(wanted)), told_source(wanted).map(tracing::field::display));
    if unnamed > 0 {
        tracing::info!(target: "portcullis::audit", actor = "admin", %from, guard, by, mark, source, unnamed, "more locks cleared");
    }
    if locks.is_empty() && *counters > 0 {
        tracing::info!(target: "portcullis::audit", actor = "admin", %from, guard, by, mark, source, counters, "failures forgotten");
    }
    let why = match remainder {
        Remainder::Nothing => return,
        Remainder::More => "there were more than are cleared in one go",
        Remainder::Unknown => "what keeps them does not answer",
    };
    tracing::error!(target: "portcullis::audit", actor = "admin", %from, guard, by, mark, source, locks = locks.len(), why, "not all locks cleared");
}

/// Nobody who was meant is locked anywhere.
pub(super) fn nothing_cleared(from: IpAddr, guard: Option<&str>, wanted: &Wanted) {
    let (by, mark, source) = (by(wanted), told_mark(wanted), told_source(wanted).map(tracing::field::display));
    tracing::info!(target: "portcullis::audit", actor = "admin", %from, guard, by, mark, source, "no lock to clear");
}

/// By what somebody is meant.
fn by(wanted: &Wanted) -> &'static str {
    match wanted {
        Wanted::Account(_) => "account",
        Wanted::Mark(_) => "mark",
        Wanted::Source(_) => "source",
        Wanted::Client(_) => "client",
    }
}

fn told_mark(wanted: &Wanted) -> Option<&str> {
    match wanted {
        // Whoever gives a name for a mark has no name in the log.
        Wanted::Mark(mark) => Some(&**mark).filter(|mark| mark.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')),
        Wanted::Account(_) | Wanted::Source(_) | Wanted::Client(_) => None,
    }
}

fn told_source(wanted: &Wanted) -> Option<IpAddr> {
    match wanted {
        Wanted::Source(source) => Some(source.address()),
        Wanted::Account(_) | Wanted::Mark(_) | Wanted::Client(_) => None,
    }
}
