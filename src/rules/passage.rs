//! What a request that passed through to a token service has changed there, as far as tokens are remembered here.
//!
//! Imports `model` only. The table of `effect` is the whole rule; deliberately absent: how it is carried out (`flow`).

use crate::model::{Ends, Role};

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The token service did it.
    Done,
    /// It did not.
    Undone,
    /// Nobody knows: there was no answer, or one that does not say.
    Unknown,
}

/// How an issuer's tokens come to be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nature {
    /// By asking, and so by asking again: a cut costs one question and is never wrong.
    Asked,
    /// By a signature, which goes on to verify: a cut is for good, so it is made only where it is meant.
    Signed,
}

/// What no longer counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// What was learnt of the token.
    Token,
    /// What was learnt of its session; of the token, if it has none.
    Session,
    /// What was learnt of its grant: the token, and its session; if it has none, everything of its subject.
    Grant,
    /// What was learnt of its subject; of the session or token, if it has none.
    Subject,
    /// What was learnt of the token, and what will be for a while.
    Unsettled,
}

/// Reads an answer's status, `None` for none. `success` are the statuses that mean success; with `None` they are all of 2xx.
#[must_use]
pub fn verdict(status: Option<u16>, success: Option<&[u16]>) -> Verdict {
    let Some(status) = status else { return Verdict::Unknown };
    match success {
        Some(statuses) if statuses.contains(&status) => Verdict::Done,
        None if (200..=299).contains(&status) => Verdict::Done,
        Some(_) | None if (400..=499).contains(&status) => Verdict::Undone,
        Some(_) | None => Verdict::Unknown,
    }
}

/// What no longer counts after a request in this role, of an issuer whose tokens are `reached` like this. `told` is how the
/// token that the request showed came to be known itself: one that verifies by its signature is an access token, and revoking
/// it does not end its siblings (RFC 7009 section 2.1).
#[must_use]
pub fn effect(role: Role, ends: Option<Ends>, verdict: Verdict, told: Nature, reached: Nature) -> Option<Effect> {
    if verdict == Verdict::Undone {
        return None;
    }
    let asked = reached == Nature::Asked;
    match role {
        Role::Login | Role::Confirm => None,
        // New tokens take the place of the old ones in the same session: a cut for good would reach them too.
        Role::Refresh => asked.then(|| ends.map_or(Effect::Grant, ended)),
        // Without a session nobody can tell which tokens went with it. Asking about all of the subject's is cheap; denying
        // them for good would be wrong.
        Role::Logout => Some(ends.map_or(if asked { Effect::Grant } else { Effect::Session }, ended)),
        Role::Revoke => Some(ends.map_or(if told == Nature::Signed { Effect::Token } else { Effect::Grant }, ended)),
        Role::StepUpStart => asked.then_some(Effect::Unsettled),
        Role::StepUpVerify => asked.then_some(Effect::Token),
        Role::PasswordUpdate => (asked || verdict == Verdict::Done).then_some(Effect::Subject),
    }
}

fn ended(ends: Ends) -> Effect {
    match ends {
        Ends::Token => Effect::Token,
        Ends::Session => Effect::Session,
        Ends::Subject => Effect::Subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Role; 8] = [
        Role::Login,
        Role::Confirm,
        Role::Refresh,
        Role::Logout,
        Role::Revoke,
        Role::StepUpStart,
        Role::StepUpVerify,
        Role::PasswordUpdate,
    ];
    const NATURES: [Nature; 2] = [Nature::Asked, Nature::Signed];

    #[test]
    fn without_a_word_to_the_contrary_a_2xx_is_success_a_4xx_is_none_and_of_the_rest_nobody_knows() {
        for (status, expected) in [
            (200, Verdict::Done),
            (204, Verdict::Done),
            (302, Verdict::Unknown),
            (400, Verdict::Undone),
            (401, Verdict::Undone),
            (500, Verdict::Unknown),
            (504, Verdict::Unknown),
        ] {
            assert_eq!(verdict(Some(status), None), expected, "{status}");
        }
        assert_eq!(verdict(None, None), Verdict::Unknown);
    }

    #[test]
    fn named_statuses_are_the_only_success_and_another_2xx_says_nothing() {
        let success = Some(&[204, 302, 404][..]);
        assert_eq!(verdict(Some(302), success), Verdict::Done);
        assert_eq!(verdict(Some(404), success), Verdict::Done);
        assert_eq!(verdict(Some(200), success), Verdict::Unknown);
        assert_eq!(verdict(Some(401), success), Verdict::Undone);
    }

    #[test]
    fn what_was_refused_has_changed_nothing() {
        for role in ROLES {
            for (told, reached) in NATURES.into_iter().flat_map(|told| NATURES.map(|reached| (told, reached))) {
                assert_eq!(effect(role, Some(Ends::Subject), Verdict::Undone, told, reached), None, "{role:?}");
            }
        }
    }

    #[test]
    fn of_tokens_that_are_asked_about_an_unknown_outcome_counts_as_success() {
        for role in ROLES {
            let after = |verdict| effect(role, None, verdict, Nature::Asked, Nature::Asked);
            assert_eq!(after(Verdict::Unknown), after(Verdict::Done), "{role:?}");
        }
    }

    #[test]
    fn signed_tokens_are_cut_for_what_was_asked_and_not_for_what_merely_changes() {
        let signed = |role, verdict| effect(role, None, verdict, Nature::Signed, Nature::Signed);
        assert_eq!(signed(Role::Logout, Verdict::Unknown), Some(Effect::Session));
        assert_eq!(signed(Role::Revoke, Verdict::Unknown), Some(Effect::Token));
        assert_eq!(signed(Role::PasswordUpdate, Verdict::Done), Some(Effect::Subject));
        assert_eq!(signed(Role::PasswordUpdate, Verdict::Unknown), None);
        for role in [Role::Login, Role::Confirm, Role::Refresh, Role::StepUpStart, Role::StepUpVerify] {
            assert_eq!(signed(role, Verdict::Done), None, "{role:?}");
        }
    }

    #[test]
    fn what_else_a_logout_or_a_refresh_has_ended_is_asked_about_where_it_can_be() {
        for role in [Role::Logout, Role::Refresh] {
            let done = |ends| effect(role, ends, Verdict::Done, Nature::Asked, Nature::Asked);
            assert_eq!(done(None), Some(Effect::Grant), "{role:?}");
            assert_eq!(done(Some(Ends::Session)), Some(Effect::Session), "what the route says itself holds");
        }
    }

    #[test]
    fn revoking_what_had_to_be_asked_about_ends_its_whole_grant() {
        for reached in NATURES {
            assert_eq!(effect(Role::Revoke, None, Verdict::Done, Nature::Asked, reached), Some(Effect::Grant));
        }
    }
}
