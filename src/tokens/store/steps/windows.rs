//! Windows and pauses: read, decided on by `rules::window` and written within the step of the attempt that they are about.

use crate::model::{Tick, Timestamp};
use crate::rules::window::{Passage, Window};
use crate::store::sql::{self, Db, Row, named_params};
use crate::tokens::store::steps::attempts::{SKEW, is_drawn, tick, timestamp};
use crate::tokens::store::steps::rows::At;
use crate::tokens::store::{Begun, Charge, Counts};

/// Windows that are no account's which are kept. Each stands for an attempt that was admitted.
pub(super) const NOBODIES: i64 = 65_536;

/// The instants of a row, and from when until when it blocks.
type Written = (Box<[u8]>, Option<At>, Option<At>);

/// What is said of the windows of an attempt, and what has to be written for it.
pub(super) struct Passed<'a> {
    pub(super) begun: Begun,
    pub(super) changed: Vec<Changed<'a>>,
}

/// A window that is not any more as it was read.
pub(super) struct Changed<'a> {
    charge: &'a Charge,
    window: Window,
    /// When the pause that is in force began, if one is.
    blocked_from: Option<Timestamp>,
}

/// A window as it was read.
struct Known {
    window: Window,
    blocked_from: Option<Timestamp>,
    /// The clock was set back since it was written, or the rule is another.
    outdated: bool,
}

/// Counts an attempt in every window or in none. With the one too many a pause begins, and only that is written then.
pub(super) fn pass<'a>(db: &Db<'_>, charges: &'a [Charge], now: Timestamp) -> sql::Result<Passed<'a>> {
    let mut changed = Vec::new();
    for charge in charges {
        let Known { mut window, blocked_from, outdated } = known(db, charge, now)?;
        let passage = match charge.counts {
            Counts::AtOnce => window.attempt(&charge.rule, tick(now)),
            Counts::Failed => window.pause(tick(now)).map_or(Passage::Admitted, Passage::StillBlocked),
        };
        let (wait, begins) = match passage {
            Passage::Admitted if charge.counts == Counts::AtOnce => {
                changed.push(Changed { charge, window, blocked_from: None });
                continue;
            }
            Passage::Admitted => continue,
            Passage::Blocked(wait) => (wait, charge.rule.block().is_some()),
            Passage::StillBlocked(wait) => (wait, false),
        };
        let blocked_from = if begins { Some(now) } else { blocked_from };
        let changed = if begins || outdated { vec![Changed { charge, window, blocked_from }] } else { Vec::new() };
        return Ok(Passed { begun: Begun::Held(charge.operation, wait), changed });
    }
    Ok(Passed { begun: Begun::Admitted, changed })
}

/// Counts a failure in windows that count failures.
pub(super) fn count(db: &Db<'_>, charges: &[Charge], now: Timestamp) -> sql::Result<()> {
    for charge in charges {
        let Known { mut window, blocked_from, .. } = known(db, charge, now)?;
        let blocked_from = match window.attempt(&charge.rule, tick(now)) {
            Passage::Admitted => None,
            Passage::Blocked(_) => Some(now),
            Passage::StillBlocked(_) => blocked_from,
        };
        write(db, &Changed { charge, window, blocked_from }, now)?;
    }
    Ok(())
}

fn known(db: &Db<'_>, charge: &Charge, now: Timestamp) -> sql::Result<Known> {
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Option<At>>(1)?, row.get::<_, Option<At>>(2)?));
    let row: Option<Written> = db.optional(
        "SELECT recent, blocked_from, blocked_until FROM attempt_window WHERE caller_mac = ?1",
        [charge.caller],
        read,
    )?;
    let (recent, blocked_from, blocked_until) = row.unwrap_or_default();
    let (recent, blocked_until) = (unpacked(&recent), blocked_until.map(|at| at.0));
    let longest = now.after(charge.rule.block().unwrap_or_default()).after(SKEW);
    let ahead = recent.last().is_some_and(|latest| *latest > tick(now.after(SKEW)));
    let window = Window::resumed(&charge.rule, &recent, blocked_until.map(tick), tick(now));
    let outdated = ahead || blocked_until.is_some_and(|until| until > longest);
    Ok(Known { window, blocked_from: blocked_from.map(|at| at.0), outdated })
}

pub(super) fn write(db: &Db<'_>, changed: &Changed<'_>, now: Timestamp) -> sql::Result<()> {
    let Changed { charge, window, blocked_from } = changed;
    db.execute(
        "INSERT INTO attempt_window
            (caller_mac, operation, account_id, subject_mac, source, recent, blocked_from, blocked_until, keep_until)
         VALUES (:caller, :operation, :account, :subject, :source, :recent, :blocked_from, :blocked_until, :keep_until)
         ON CONFLICT (caller_mac) DO UPDATE SET recent = excluded.recent, blocked_from = excluded.blocked_from,
             blocked_until = excluded.blocked_until, keep_until = excluded.keep_until",
        named_params! {
            ":caller": charge.caller, ":operation": charge.operation.name(), ":account": charge.account,
            ":subject": charge.subject, ":source": charge.source, ":recent": packed(window),
            ":blocked_from": blocked_from.map(At), ":blocked_until": window.blocked_until().map(|until| At(timestamp(until))),
            ":keep_until": At(timestamp(window.blank_from(&charge.rule)).max(now)),
        },
    )?;
    if is_drawn(charge.caller) {
        forget_oldest(db)?;
    }
    Ok(())
}

/// Drops what is more than is remembered: what is blank, or will be soonest, first.
fn forget_oldest(db: &Db<'_>) -> sql::Result<()> {
    let count: i64 = db.one("SELECT count(*) FROM attempt_window WHERE account_id IS NULL", (), |row| row.get(0))?;
    if count > NOBODIES {
        db.execute(
            "DELETE FROM attempt_window WHERE caller_mac IN
                 (SELECT caller_mac FROM attempt_window WHERE account_id IS NULL ORDER BY keep_until LIMIT ?1)",
            [count - NOBODIES],
        )?;
    }
    Ok(())
}

fn packed(window: &Window) -> Box<[u8]> {
    window.recent().flat_map(|at| at.as_millis().to_be_bytes()).collect()
}

fn unpacked(bytes: &[u8]) -> Vec<Tick> {
    let (instants, _) = bytes.as_chunks::<8>();
    instants.iter().map(|instant| Tick::from_millis(u64::from_be_bytes(*instant))).collect()
}
