//! One-time codes that were sent, the proofs they are exchanged for, and the sign-in that consumes a proof.

use std::time::Duration;

use crate::model::Timestamp;
use crate::store::sql::{self, Db, named_params};
use crate::tokens::account::AccountId;
use crate::tokens::keyring::Mac;
use crate::tokens::store::steps::attempts;
use crate::tokens::store::steps::rows::{At, Hash};
use crate::tokens::store::{
    Answer, ChallengeId, ChallengeKind, ChallengeRow, Confirmation, IfOpen, LockTerms, Opening, SignInStep,
};

/// Challenges for destinations that are nobody's which are kept at once. They exist so that asking for a code tells
/// nothing. Beyond this many a flood is under way, and each that comes pushes out the oldest: not to keep the new one would
/// tell whoever asks twice for the same number that it is nobody's.
const NOBODYS: i64 = 50_000;

pub(super) fn open(db: &Db<'_>, new: &ChallengeRow) -> sql::Result<Opening> {
    if was_opened(db, new.id)? {
        return Ok(Opening::Repeated);
    }
    if let Some(refused) = refusal(db, new)? {
        return Ok(refused);
    }
    if new.account.is_none() {
        make_room(db)?;
    }
    let (token, channel) = (new.asked.map(|(token, _)| Hash(token)), new.asked.map(|(_, channel)| channel));
    if new.if_open != IfOpen::Join {
        db.execute(
            "UPDATE challenge SET voided = :now
             WHERE destination_mac = :destination AND kind = :kind AND token_hash IS NOT DISTINCT FROM :token
                 AND voided IS NULL AND answered IS NULL",
            named_params! {
                ":destination": new.destination, ":kind": new.kind.name(), ":token": token, ":now": At(new.now),
            },
        )?;
    }
    db.execute(
        "INSERT INTO challenge
            (id, kind, destination_mac, account_id, token_hash, channel, code_mac, tries, max_tries, created, expires,
             keep_until)
         VALUES (:id, :kind, :destination, :account, :token, :channel, :code, 0, :max_tries, :now, :expires,
             :keep_until)",
        named_params! {
            ":id": new.id, ":kind": new.kind.name(), ":destination": new.destination, ":account": new.account, ":token": token,
            ":channel": channel, ":code": new.code,
            ":max_tries": new.max_tries, ":now": At(new.now), ":expires": At(new.expires),
            ":keep_until": At(new.expires.max(new.now.after(new.budget_window.max(new.remembered_for)))),
        },
    )?;
    Ok(Opening::Opened)
}

fn make_room(db: &Db<'_>) -> sql::Result<()> {
    let nobodys: i64 =
        db.one("SELECT count(*) FROM challenge WHERE account_id IS NULL AND keep_until > 0", (), |row| row.get(0))?;
    if nobodys >= NOBODYS {
        db.execute(
            "DELETE FROM challenge WHERE id =
                 (SELECT id FROM challenge WHERE account_id IS NULL AND keep_until > 0 ORDER BY keep_until LIMIT 1)",
            (),
        )?;
    }
    Ok(())
}

fn was_opened(db: &Db<'_>, id: ChallengeId) -> sql::Result<bool> {
    db.one("SELECT EXISTS (SELECT 1 FROM challenge WHERE id = ?1)", [id], |row| row.get(0))
}

/// Why another challenge may not be opened now, if it may not. Waits are exact, over windows that slide. The budget is the
/// destination's; the interval, and the challenge that may be open, are those of the token for which it is asked.
fn refusal(db: &Db<'_>, new: &ChallengeRow) -> sql::Result<Option<Opening>> {
    let open = new.if_open == IfOpen::Keep && is_open(db, new)?;
    if open {
        return Ok(Some(Opening::AlreadyOpen));
    }
    let wait = |since: Option<Timestamp>, apart: Duration| {
        since.map(|since| since.after(apart).since(new.now)).filter(|wait| !wait.is_zero())
    };
    let budget = wait(oldest_within_budget(db, new)?, new.budget_window);
    let resend = wait(last_for_token(db, new)?, new.resend_interval);
    Ok(match (budget, resend) {
        (Some(budget), resend) => Some(Opening::Exhausted(budget.max(resend.unwrap_or_default()))),
        (None, Some(resend)) => Some(Opening::TooSoon(resend)),
        (None, None) => None,
    })
}

fn is_open(db: &Db<'_>, new: &ChallengeRow) -> sql::Result<bool> {
    db.one(
        "SELECT EXISTS (SELECT 1 FROM challenge
         WHERE destination_mac = ?1 AND kind = ?2 AND token_hash IS NOT DISTINCT FROM ?3
             AND voided IS NULL AND answered IS NULL AND expires > ?4)",
        (new.destination, new.kind.name(), new.asked.map(|(token, _)| Hash(token)), At(new.now)),
        |row| row.get(0),
    )
}

/// If the budget is spent: when the oldest of the challenges that spent it was opened.
fn oldest_within_budget(db: &Db<'_>, new: &ChallengeRow) -> sql::Result<Option<Timestamp>> {
    db.optional(
        "SELECT created FROM challenge WHERE destination_mac = ?1 AND kind = ?2 AND created > ?3
         ORDER BY created DESC LIMIT 1 OFFSET ?4",
        (new.destination, new.kind.name(), At(new.now.before(new.budget_window)), new.budget.max(1) - 1),
        |row| row.get::<_, At>(0),
    )
    .map(|at| at.map(|at| at.0))
}

fn last_for_token(db: &Db<'_>, new: &ChallengeRow) -> sql::Result<Option<Timestamp>> {
    db.one(
        "SELECT max(created) FROM challenge WHERE destination_mac = ?1 AND kind = ?2
             AND token_hash IS NOT DISTINCT FROM ?3 AND created > ?4",
        (new.destination, new.kind.name(), new.asked.map(|(token, _)| Hash(token)), At(new.now.before(new.resend_interval))),
        |row| row.get::<_, Option<At>>(0),
    )
    .map(|at| at.map(|at| at.0))
}

pub(super) fn open_one(db: &Db<'_>, kind: ChallengeKind, destination: Mac, now: Timestamp) -> sql::Result<Option<ChallengeId>> {
    db.optional(
        "SELECT id FROM challenge
         WHERE destination_mac = ?1 AND kind = ?2 AND voided IS NULL AND answered IS NULL AND expires > ?3
         ORDER BY created DESC LIMIT 1",
        (destination, kind.name(), At(now)),
        |row| row.get(0),
    )
}

/// Counts a try, and compares. The same statement counts that hands out what to compare with. The first wrong code of a challenge
/// counts towards the lock.
fn is_answered_by(db: &Db<'_>, challenge: ChallengeId, code: Mac, if_wrong: &LockTerms, now: Timestamp) -> sql::Result<bool> {
    let expected: Option<(Mac, u32)> = db.optional(
        "UPDATE challenge SET tries = tries + 1
             WHERE id = ?1 AND voided IS NULL AND answered IS NULL AND expires > ?2 AND tries < max_tries
             RETURNING code_mac, tries",
        (challenge, At(now)),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((expected, tries)) = expected else { return Ok(false) };
    if expected != code && tries == 1 {
        attempts::count_failure(db, if_wrong, now)?;
    }
    Ok(expected == code)
}

pub(super) fn answer(db: &Db<'_>, answer: &Answer) -> sql::Result<bool> {
    if !is_answered_by(db, answer.challenge, answer.code, &answer.if_wrong, answer.now)? {
        return Ok(false);
    }
    db.execute(
        "UPDATE challenge SET answered = :now, proof_hash = :proof, proof_expires = :expires,
             keep_until = CASE WHEN keep_until < :expires THEN :expires ELSE keep_until END WHERE id = :id",
        named_params! {
            ":id": answer.challenge, ":now": At(answer.now), ":proof": Hash(answer.proof), ":expires": At(answer.proof_expires),
        },
    )?;
    Ok(true)
}

pub(super) fn account_of(db: &Db<'_>, challenge: ChallengeId, kind: ChallengeKind) -> sql::Result<Option<AccountId>> {
    db.optional(
        "SELECT account_id FROM challenge WHERE id = ?1 AND kind = ?2 AND account_id IS NOT NULL",
        (challenge, kind.name()),
        |row| row.get(0),
    )
}

/// Counts a try at the challenge of a sign-in and, if the code is right, consumes it.
pub(super) fn consume(db: &Db<'_>, code: &Confirmation, account: AccountId, now: Timestamp) -> sql::Result<bool> {
    if !is_answered_by(db, code.challenge, code.code, &code.if_wrong, now)? {
        return Ok(false);
    }
    let consumed = db.execute(
        "UPDATE challenge SET answered = ?4 WHERE id = ?1 AND kind = ?2 AND account_id = ?3",
        (code.challenge, ChallengeKind::SignIn.name(), account, At(now)),
    )?;
    Ok(consumed == 1)
}

pub(super) fn sign_in(db: &Db<'_>, step: &SignInStep) -> sql::Result<bool> {
    let consumed = db.execute(
        "UPDATE challenge SET proof_used = :now
             WHERE proof_hash = :proof AND kind = :kind AND destination_mac = :destination
                 AND proof_used IS NULL AND proof_expires > :now
                 AND EXISTS (SELECT 1 FROM account WHERE id = :account AND status = 'active')",
        named_params! {
            ":proof": Hash(step.proof), ":kind": step.kind.name(), ":destination": step.destination,
            ":account": step.account, ":now": At(step.now),
        },
    )?;
    let Some(account) = step.account.filter(|_| consumed == 1) else { return Ok(false) };
    db.execute(
        "INSERT INTO code (hash, client_id, account_id, scope, auth_time, acr, amr, issued, expires)
         VALUES (:hash, :client, :account, '', :auth_time, :acr, :amr, :now, :expires)",
        named_params! {
            ":hash": Hash(step.code), ":client": step.client, ":account": account, ":auth_time": At(step.authentication.at),
            ":acr": step.authentication.context, ":amr": step.authentication.methods, ":now": At(step.now),
            ":expires": At(step.code_expires),
        },
    )?;
    db.execute("UPDATE account SET last_authentication = ?2, modified = ?2 WHERE id = ?1", (account, At(step.now)))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::store::steps::schema;

    const NOW: Timestamp = Timestamp::from_secs(1_773_135_165);

    fn of_nobody(id: u8) -> ChallengeRow {
        ChallengeRow {
            id: ChallengeId([id; 16]),
            kind: ChallengeKind::Phone,
            destination: Mac([7; 32]),
            account: None,
            asked: None,
            code: Mac([0; 32]),
            max_tries: 5,
            now: NOW,
            expires: NOW.after(Duration::from_mins(10)),
            resend_interval: Duration::from_secs(15),
            budget: 10,
            budget_window: Duration::from_mins(10),
            if_open: IfOpen::Replace,
            remembered_for: Duration::ZERO,
        }
    }

    #[test]
    fn a_flood_of_numbers_takes_bounded_room_and_does_not_tell_which_of_them_are_nobodys() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let db = Db::Sqlite(&connection);
        schema::migrate(&db, "memory", NOW).unwrap();
        db.execute(
            "WITH RECURSIVE flood (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM flood WHERE n < ?1)
             INSERT INTO challenge (id, kind, destination_mac, code_mac, tries, max_tries, created, expires, keep_until)
             SELECT randomblob(16), 'phone', randomblob(32), randomblob(32), 0, 5, ?2 - n, ?2 + 600000 - n, ?2 + 600000 - n
             FROM flood",
            (NOBODYS, At(NOW)),
        )
        .unwrap();
        assert_eq!(open(&db, &of_nobody(1)).unwrap(), Opening::Opened);
        assert_eq!(open(&db, &of_nobody(2)).unwrap(), Opening::TooSoon(Duration::from_secs(15)));
        let kept: i64 = db.one("SELECT count(*) FROM challenge", (), |row| row.get(0)).unwrap();
        assert_eq!(kept, NOBODYS);
    }
}
