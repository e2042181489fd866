//! Messages as signed JSON over HTTP, posted to a server that knows how to send them on.
//!
//! Imports `model`, `fetch`, `plan` (the webhook) and the messages and keys of `tokens`. The form is told in
//! `docs/sending-codes.md`. A status 2xx means that the message was taken; 408, 425, 429, 5xx and no answer, that it may be tried again;
//! anything else, that it is refused. Deliberately absent: `Retry-After`, since the pauses are ours.

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use serde::Serialize;

use crate::fetch::{Bounds, Fetcher};
use crate::model::Timestamp;
use crate::notify::{Carrier, Failure, SetupError, TURNS};
use crate::plan::Webhook;
use crate::tokens::CarrierKey;
use crate::tokens::notifier::{Content, Message};

/// The largest answer that is read, in bytes; nothing in it is looked at.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Posts messages.
#[derive(Debug)]
pub(super) struct Poster {
    url: Uri,
    key: CarrierKey,
    fetcher: Fetcher,
}

impl Poster {
    pub(super) fn new(plan: &Webhook) -> Result<Self, SetupError> {
        let bounds = Bounds { deadline: plan.deadline, answer: LARGEST_ANSWER, idle: TURNS };
        Ok(Self {
            url: plan.url.clone(),
            key: CarrierKey::new(&plan.secret),
            fetcher: Fetcher::new(&plan.url, plan.ca_file.as_deref(), bounds)?,
        })
    }

    /// Signed anew for each try, so that the time it is signed at is about now; the id stays.
    fn request(&self, message: &Message, now: Timestamp) -> Result<Request<Full<Bytes>>, Failure> {
        let unfit = |error: &dyn std::fmt::Display| Failure::Permanent(error.to_string());
        let body = serde_json::to_vec(&Body::of(message)).map_err(|error| unfit(&error))?;
        Request::post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", &*message.id)
            .header("published-timestamp", now.as_millis().to_string())
            .header("signature", self.key.sign(now, &body))
            .body(Full::new(body.into()))
            .map_err(|error| unfit(&error))
    }
}

#[async_trait]
impl Carrier for Poster {
    async fn carry(&self, message: &Message, now: Timestamp) -> Result<(), Failure> {
        match self.fetcher.fetch(self.request(message, now)?).await {
            Ok((status, _)) => verdict(status),
            Err(none) => Err(Failure::Temporary(none.to_string())),
        }
    }
}

fn verdict(status: StatusCode) -> Result<(), Failure> {
    let reason = || format!("it answers {}", status.as_u16());
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Err(Failure::Temporary(reason()))
        }
        status if status.is_server_error() => Err(Failure::Temporary(reason())),
        _ => Err(Failure::Permanent(reason())),
    }
}

/// A message as it is posted. Members that a kind has not got are absent.
#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    kind: &'static str,
    account: i64,
    /// In seconds since the epoch.
    expires: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'static str>,
}

impl<'a> Body<'a> {
    fn of(message: &'a Message) -> Self {
        let bare = Self {
            id: &message.id,
            kind: message.content.kind().word(),
            account: message.account.0,
            expires: message.expires.as_secs(),
            to: None,
            code: None,
            language: None,
            channel: None,
        };
        match &message.content {
            Content::Sms { to, code, language } => {
                Self { to: Some(to.as_str()), code: Some(code.expose()), language: Some(language), ..bare }
            }
            Content::Email { to, code } => Self { to: Some(to.as_given()), code: Some(code.expose()), ..bare },
            Content::Push { channel } => Self { channel: Some(channel.name()), ..bare },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::Secret;
    use crate::notify::tests::{NOW, email, push, sms};

    fn poster() -> Poster {
        let bounds = Bounds { deadline: std::time::Duration::from_secs(1), answer: 1, idle: 1 };
        let url = Uri::from_static("http://127.0.0.1:1/messages?tenant=7");
        let fetcher = Fetcher::new(&url, None, bounds).unwrap();
        Poster { url, key: CarrierKey::new(&Secret::new("shared".to_owned())), fetcher }
    }

    fn body_of(message: &Message) -> Value {
        serde_json::to_value(Body::of(message)).unwrap()
    }

    #[test]
    fn each_kind_has_its_members_and_no_others() {
        let expires = NOW.as_secs() + 300;
        let expected = json!({ "id": "17", "kind": "sms", "account": 50, "expires": expires,
            "to": "+40711111298", "code": "402913", "language": "ro" });
        assert_eq!(body_of(&sms()), expected);
        let expected = json!({ "id": "17", "kind": "email", "account": 50, "expires": expires,
            "to": "Ann@example.com", "code": "402913" });
        assert_eq!(body_of(&email("Ann@example.com")), expected);
        let expected = json!({ "id": "17", "kind": "push", "account": 50, "expires": expires, "channel": "AUTHY" });
        assert_eq!(body_of(&push()), expected);
    }

    #[test]
    fn a_message_is_signed_at_the_time_of_its_try_and_keeps_its_id() {
        let poster = poster();
        for at in [NOW, NOW.after(std::time::Duration::from_mins(7))] {
            let request = poster.request(&sms(), at).unwrap();
            let field = |name: &str| request.headers()[name].to_str().unwrap();
            assert_eq!(request.uri(), "http://127.0.0.1:1/messages?tenant=7");
            assert_eq!((field("content-type"), field("idempotency-key")), ("application/json", "17"));
            assert_eq!(field("published-timestamp"), at.as_millis().to_string());
            let body = serde_json::to_vec(&Body::of(&sms())).unwrap();
            assert!(poster.key.signed(field("published-timestamp"), &body, field("signature"), at));
            assert!(!poster.key.signed(field("published-timestamp"), b"{}", field("signature"), at));
        }
    }

    #[test]
    fn a_status_says_whether_another_try_may_help() {
        for taken in [200, 202, 204] {
            assert_eq!(verdict(StatusCode::from_u16(taken).unwrap()), Ok(()));
        }
        for again in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(matches!(verdict(StatusCode::from_u16(again).unwrap()), Err(Failure::Temporary(_))), "{again}");
        }
        for never in [301, 304, 400, 401, 403, 404, 409, 410, 422] {
            assert!(matches!(verdict(StatusCode::from_u16(never).unwrap()), Err(Failure::Permanent(_))), "{never}");
        }
    }
}
