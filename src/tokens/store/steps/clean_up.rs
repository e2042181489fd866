//! Forgetting what nothing can refer to any more, a little at a time, so that no sign-in waits for it.

use crate::model::Timestamp;
use crate::store::sql::{self, Db, named_params};

/// In the order of their references. Used codes stay for a day and used refresh tokens until their family's end, so that
/// their reuse is recognised. The refresh tokens of a revoked grant stay for an hour: whoever revokes again because the first
/// answer was lost is to be told after a cut. `:now` and `:day_ago` are instants, `:hour_ago` is when attempts of nobody are
/// forgotten.
const DELETIONS: [&str; 10] = [
    "DELETE FROM access_token WHERE hash IN (SELECT hash FROM access_token WHERE expires <= :now LIMIT :limit)",
    "DELETE FROM code WHERE hash IN (SELECT hash FROM code WHERE expires <= :day_ago LIMIT :limit)",
    "DELETE FROM challenge WHERE id IN (SELECT id FROM challenge WHERE keep_until <= :now LIMIT :limit)",
    "DELETE FROM refresh_token WHERE hash IN (
         SELECT r.hash FROM refresh_token r JOIN token_grant g ON g.id = r.grant_id
         WHERE g.expires <= :now OR g.revoked <= :hour_ago LIMIT :limit)",
    "DELETE FROM token_grant WHERE id IN (
         SELECT g.id FROM token_grant g
         WHERE (g.expires <= :now OR g.revoked <= :now)
             AND NOT EXISTS (SELECT 1 FROM refresh_token WHERE grant_id = g.id)
             AND NOT EXISTS (SELECT 1 FROM access_token WHERE grant_id = g.id) LIMIT :limit)",
    "DELETE FROM session WHERE sid IN (
         SELECT s.sid FROM session s
         WHERE (s.expires <= :now OR s.ended <= :now)
             AND NOT EXISTS (SELECT 1 FROM token_grant g WHERE g.sid = s.sid)
             AND NOT EXISTS (SELECT 1 FROM access_token t WHERE t.sid = s.sid) LIMIT :limit)",
    "DELETE FROM attempt WHERE subject_mac IN (
         SELECT subject_mac FROM attempt
         WHERE touched <= :hour_ago AND (locked_until IS NULL OR locked_until <= :now)
             AND (account_id IS NULL OR failed = 0 OR locked_until <= :now) LIMIT :limit)",
    "DELETE FROM attempt_in_flight WHERE id IN (SELECT id FROM attempt_in_flight WHERE lease_until <= :now LIMIT :limit)",
    "DELETE FROM attempt_window WHERE caller_mac IN (
         SELECT caller_mac FROM attempt_window WHERE keep_until <= :now LIMIT :limit)",
    // Whoever could not read for so long has cut everything. The newest stays, so that numbers are seen to go on.
    "DELETE FROM revocation_event WHERE seq IN (
         SELECT seq FROM revocation_event
         WHERE at <= :hour_ago AND seq < (SELECT max(seq) FROM revocation_event) LIMIT :limit)",
];

pub(super) fn clean_up(db: &Db<'_>, now: Timestamp, limit: u32) -> sql::Result<usize> {
    let day_ago = now.before(std::time::Duration::from_hours(24)).as_millis();
    let hour_ago = now.before(std::time::Duration::from_hours(1)).as_millis();
    let mut deleted = 0;
    for deletion in DELETIONS {
        deleted += db.execute(
            deletion,
            named_params! { ":now": now.as_millis(), ":day_ago": day_ago, ":hour_ago": hour_ago, ":limit": limit },
        )?;
    }
    Ok(deleted)
}
