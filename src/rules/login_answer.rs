//! How a login ended, by what its token service answered: by the status, and where that does not tell, by the JSON in it.
//!
//! Imports `model`, `rules::body` and `rules::lockout`. Failure goes before success. What was to be judged by its body and
//! cannot be read in one way has failed: an answer that nobody read must not be a free guess. Deliberately absent: gathering
//! the body (`gateway`).

use serde_json::Value;

use crate::model::{BodySign, Sign, Wanted};
use crate::rules::body::{BODY_MAX, Object};
use crate::rules::lockout::Ending;

/// What answers mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnswerRule {
    /// The signs that a login is right; `None` for all of 2xx.
    pub success: Option<Box<[Sign]>>,
    /// The signs that it is wrong.
    pub failure: Box<[Sign]>,
}

/// What the head of an answer tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// How the login ended. What is neither success nor failure was no attempt: the service did not look at the password, or it
    /// failed by itself.
    Ending(Ending),
    /// Nothing yet: the body tells.
    InBody,
}

impl AnswerRule {
    /// Whether some answers are judged by their bodies.
    #[must_use]
    pub fn reads_bodies(&self) -> bool {
        self.signs().any(|sign| sign.body.is_some())
    }

    /// What the status tells.
    #[must_use]
    pub fn by_status(&self, status: u16) -> Told {
        if self.failure.iter().any(|sign| sign.status == status && sign.body.is_none()) {
            return Told::Ending(Ending::Failed);
        }
        if self.signs().any(|sign| sign.status == status && sign.body.is_some()) {
            return Told::InBody;
        }
        Told::Ending(if self.is_success(status, None) { Ending::Succeeded } else { Ending::Abandoned })
    }

    /// What the whole body of an answer tells whose status did not.
    #[must_use]
    pub fn by_body(&self, status: u16, body: &[u8]) -> Ending {
        let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= BODY_MAX);
        let Some(object) = text.and_then(|text| Object::parse(text).ok()) else { return Ending::Failed };
        if self.failure.iter().any(|sign| shows(sign, status, Some(&object))) {
            Ending::Failed
        } else if self.is_success(status, Some(&object)) {
            Ending::Succeeded
        } else {
            Ending::Abandoned
        }
    }

    fn is_success(&self, status: u16, object: Option<&Object>) -> bool {
        match &self.success {
            Some(signs) => signs.iter().any(|sign| shows(sign, status, object)),
            None => (200..300).contains(&status),
        }
    }

    fn signs(&self) -> impl Iterator<Item = &Sign> {
        self.failure.iter().chain(self.success.iter().flatten())
    }
}

fn shows(sign: &Sign, status: u16, object: Option<&Object>) -> bool {
    let by_body = |body: &BodySign| object.is_some_and(|object| is_met(&body.wanted, object.pointed(&body.pointer)));
    sign.status == status && sign.body.as_ref().is_none_or(by_body)
}

fn is_met(wanted: &Wanted, found: Option<&Value>) -> bool {
    let found = found.filter(|found| !found.is_null());
    match wanted {
        Wanted::Text(text) => found.and_then(Value::as_str) == Some(text),
        Wanted::Whole(number) => found.and_then(Value::as_i64) == Some(*number),
        Wanted::Flag(flag) => found.and_then(Value::as_bool) == Some(*flag),
        Wanted::There => found.is_some(),
        Wanted::Absent => found.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pointer;

    fn plain(statuses: &[u16]) -> Box<[Sign]> {
        statuses.iter().map(|status| Sign { status: *status, body: None }).collect()
    }

    fn sign(status: u16, pointer: &str, wanted: Wanted) -> Sign {
        Sign { status, body: Some(BodySign { pointer: Pointer::parse(pointer).unwrap(), wanted }) }
    }

    #[test]
    fn only_what_is_said_to_be_a_failure_is_one() {
        let rule = AnswerRule { success: None, failure: plain(&[401, 403]) };
        let of = |status| rule.by_status(status);
        assert_eq!([200, 204, 299].map(of), [Told::Ending(Ending::Succeeded); 3]);
        assert_eq!([401, 403].map(of), [Told::Ending(Ending::Failed); 2]);
        assert_eq!([302, 400, 429, 500, 503].map(of), [Told::Ending(Ending::Abandoned); 5]);
        let rule = AnswerRule { success: Some(plain(&[302])), failure: plain(&[200]) };
        assert_eq!(rule.by_status(302), Told::Ending(Ending::Succeeded));
        assert_eq!(rule.by_status(200), Told::Ending(Ending::Failed));
        assert!(!rule.reads_bodies());
    }

    #[test]
    fn a_body_is_read_only_where_it_tells_and_a_failure_in_it_goes_before_a_success() {
        let success = Some([vec![sign(200, "/2faRequired", Wanted::Flag(true))], plain(&[204]).into_vec()].concat().into());
        let failure = [plain(&[403]).into_vec(), vec![sign(200, "/ok", Wanted::Flag(false))]].concat().into();
        let rule = AnswerRule { success, failure };
        assert!(rule.reads_bodies());
        assert_eq!(rule.by_status(200), Told::InBody);
        assert_eq!(rule.by_status(403), Told::Ending(Ending::Failed));
        assert_eq!(rule.by_status(204), Told::Ending(Ending::Succeeded));
        assert_eq!(rule.by_status(201), Told::Ending(Ending::Abandoned), "success is what is said, and no other 2xx");
        let of = |body: &str| rule.by_body(200, body.as_bytes());
        assert_eq!(of(r#"{"2faRequired":true}"#), Ending::Succeeded);
        assert_eq!(of(r#"{"2faRequired":true,"ok":false}"#), Ending::Failed);
        assert_eq!(of(r#"{"2faRequired":false}"#), Ending::Abandoned);
        assert_eq!(of(r#"{"ok":"false"}"#), Ending::Abandoned);
    }

    #[test]
    fn where_success_is_not_said_it_is_every_2xx_whose_body_shows_no_failure() {
        let rule = AnswerRule { success: None, failure: [sign(200, "/error/code", Wanted::There)].into() };
        assert_eq!(rule.by_body(200, br#"{"error":{"code":7}}"#), Ending::Failed);
        assert_eq!(rule.by_body(200, br#"{"error":{"code":null},"token":"x"}"#), Ending::Succeeded);
        assert_eq!(rule.by_body(200, br#"{"error":null}"#), Ending::Succeeded);
    }

    #[test]
    fn a_member_is_compared_as_what_it_is() {
        let of = |wanted: Wanted, body: &str| {
            AnswerRule { success: Some(plain(&[200])), failure: [sign(200, "/a", wanted)].into() }.by_body(200, body.as_bytes())
        };
        for (wanted, met, unmet) in [
            (Wanted::Text("7".into()), r#"{"a":"7"}"#, r#"{"a":7}"#),
            (Wanted::Whole(7), r#"{"a":7}"#, r#"{"a":"7"}"#),
            (Wanted::Whole(7), r#"{"a":7}"#, r#"{"a":7.0}"#),
            (Wanted::Flag(true), r#"{"a":true}"#, r#"{"a":1}"#),
            (Wanted::There, r#"{"a":[]}"#, r#"{"a":null}"#),
            (Wanted::Absent, r#"{"b":1}"#, r#"{"a":0}"#),
        ] {
            assert_eq!(of(wanted.clone(), met), Ending::Failed, "{met}");
            assert_eq!(of(wanted, unmet), Ending::Succeeded, "{unmet}");
        }
    }

    #[test]
    fn what_cannot_be_read_in_one_way_has_failed() {
        let rule = AnswerRule { success: Some([sign(200, "/ok", Wanted::Flag(true))].into()), failure: plain(&[403]) };
        let long = format!("{{\"ok\":true,\"x\":\"{}\"}}", "x".repeat(BODY_MAX));
        for body in ["", "ok", "[true]", r#"{"ok":true"#, r#"{"ok":true}{}"#, r#"{"ok":false,"ok":true}"#, &long] {
            assert_eq!(rule.by_body(200, body.as_bytes()), Ending::Failed, "{body}");
        }
        assert_eq!(rule.by_body(200, b"{\"ok\":true,\"x\":\"\xff\"}"), Ending::Failed);
    }
}
