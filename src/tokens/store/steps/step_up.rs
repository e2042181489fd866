//! Answers to challenges that were opened for a token, and what a right answer does.

use crate::store::cuts::{Fingerprint, Reach};
use crate::store::sql::{self, Db, Row, named_params};
use crate::tokens::account::AccountId;
use crate::tokens::factor::Channel;
use crate::tokens::keyring::Mac;
use crate::tokens::session::Authentication;
use crate::tokens::store::steps::rows::{At, Hash};
use crate::tokens::store::steps::{attempts, identities, outbox};
use crate::tokens::store::{Approval, ChallengeId, ChallengeKind, CodeAnswer, CodeVerdict, PushAnswer, PushVerdict};

/// A challenge, as far as answering it goes.
struct Asked {
    kind: ChallengeKind,
    token: Fingerprint,
    account: AccountId,
    channel: Channel,
    code: Mac,
    tries: u32,
}

pub(super) fn latest(
    db: &Db<'_>,
    kind: ChallengeKind,
    token: Fingerprint,
    channel: Channel,
) -> sql::Result<Option<ChallengeId>> {
    db.optional(
        "SELECT id FROM challenge WHERE token_hash = ?1 AND kind = ?2 AND channel = ?3 AND voided IS NULL AND answered IS NULL
         ORDER BY created DESC LIMIT 1",
        (Hash(token), kind.name(), channel),
        |row| row.get(0),
    )
}

pub(super) fn answer_code(db: &Db<'_>, answer: &CodeAnswer) -> sql::Result<CodeVerdict> {
    // The try is counted by the same statement that hands out what to compare with.
    let asked = db.optional(
        "UPDATE challenge SET tries = tries + 1
             WHERE id = ?1 AND token_hash = ?2 AND voided IS NULL AND answered IS NULL AND expires > ?3 AND tries < max_tries
             RETURNING kind, token_hash, account_id, channel, code_mac, tries",
        (answer.challenge, Hash(answer.token), At(answer.now)),
        asked,
    )?;
    let Some(asked) = asked else { return why_not(db, answer) };
    if asked.code != answer.code {
        if asked.tries == 1 {
            attempts::count_failure(db, &answer.if_wrong, answer.now)?;
        }
        return Ok(CodeVerdict::Wrong);
    }
    db.execute("UPDATE challenge SET answered = ?2 WHERE id = ?1", (answer.challenge, At(answer.now)))?;
    carry_out(db, &asked, answer.authentication)?;
    Ok(CodeVerdict::Right)
}

fn why_not(db: &Db<'_>, answer: &CodeAnswer) -> sql::Result<CodeVerdict> {
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let open: Option<(bool, bool)> = db.optional(
        "SELECT expires <= ?3, tries >= max_tries FROM challenge
             WHERE id = ?1 AND token_hash = ?2 AND voided IS NULL AND answered IS NULL",
        (answer.challenge, Hash(answer.token), At(answer.now)),
        read,
    )?;
    Ok(match open {
        None | Some((false, false)) => CodeVerdict::Closed,
        Some((_, true)) => CodeVerdict::Void,
        Some((true, false)) => CodeVerdict::Expired,
    })
}

pub(super) fn answer_push(db: &Db<'_>, answer: &PushAnswer) -> sql::Result<PushVerdict> {
    let (answered, voided) = match answer.approval {
        Approval::Approved => (Some(At(answer.now)), None),
        Approval::Declined => (None, Some(At(answer.now))),
    };
    let asked = db.optional(
        "UPDATE challenge SET answered = :answered, voided = :voided
             WHERE id = :id AND kind IN (:step_up, :enrolment) AND voided IS NULL AND answered IS NULL AND expires > :now
             RETURNING kind, token_hash, account_id, channel, code_mac, tries",
        named_params! {
            ":id": answer.challenge, ":answered": answered, ":voided": voided, ":now": At(answer.now),
            ":step_up": ChallengeKind::StepUpPush.name(), ":enrolment": ChallengeKind::EnrolPush.name(),
        },
        asked,
    )?;
    let Some(asked) = asked else { return Ok(PushVerdict::Closed) };
    if answer.approval == Approval::Approved {
        carry_out(db, &asked, answer.authentication)?;
    }
    Ok(PushVerdict::Taken(asked.token))
}

fn asked(row: &Row<'_>) -> sql::Result<Asked> {
    Ok(Asked {
        kind: row.get(0)?,
        token: row.get::<_, Hash>(1)?.0,
        account: row.get(2)?,
        channel: row.get(3)?,
        code: row.get(4)?,
        tries: row.get(5)?,
    })
}

/// Does what a challenge was opened for.
fn carry_out(db: &Db<'_>, asked: &Asked, authentication: Authentication) -> sql::Result<()> {
    outbox::tell(db, &Reach::Token(asked.token), authentication.at)?;
    match asked.kind {
        ChallengeKind::StepUpCode | ChallengeKind::StepUpPush => {
            let Authentication { context, methods, at } = authentication;
            db.execute(
                "UPDATE access_token SET acr = ?2, amr = ?3, auth_time = ?4 WHERE hash = ?1 AND revoked IS NULL",
                (Hash(asked.token), context, methods, At(at)),
            )?;
        }
        ChallengeKind::EnrolCode | ChallengeKind::EnrolPush => {
            identities::enrol(db, asked.account, asked.channel, authentication.at)?;
        }
        // Answered in ways of their own, and never opened for a token.
        ChallengeKind::Phone | ChallengeKind::SignIn => {}
    }
    Ok(())
}
