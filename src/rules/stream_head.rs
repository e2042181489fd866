//! The check of a request head that came in HTTP/2 frames: the same limits and the same strictness as for one that came in lines.
//!
//! Imports `model` and its neighbours `head` and `identity`. Deliberately absent: what the HTTP/2 library refuses by itself
//! (connection fields, names in capitals, controls, pseudo-fields out of place, a length that its frames do not keep).

use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::model::{BadRequest, Denial};
use crate::rules::head::HeadLimits;
use crate::rules::identity::fold;

/// What separates a field's name from its value and from the next field in HTTP/1, so that both count alike.
const PUNCTUATION: usize = 4;

/// Checks a head that has been read.
///
/// # Errors
/// - `MethodNotAllowed` without methods for CONNECT;
/// - `TargetTooLong`, `HeadTooLarge` for what is too long in HTTP/1;
/// - `BadRequest(Framing)` for Content-Length that is not one plain number, and for look-alikes of it and of Transfer-Encoding;
/// - `BadRequest(Head)` for an Expect other than a single `100-continue`.
pub fn check(method: &Method, target: &[u8], headers: &HeaderMap, limits: &HeadLimits) -> Result<(), Denial> {
    if *method == Method::CONNECT {
        return Err(Denial::MethodNotAllowed(Box::default()));
    }
    if target.len() > limits.target_bytes {
        return Err(Denial::TargetTooLong);
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + PUNCTUATION).sum();
    if headers.len() > limits.fields || target.len().saturating_add(bytes) > limits.head_bytes {
        return Err(Denial::HeadTooLarge);
    }
    if !has_plain_length(headers) || headers.keys().any(is_look_alike) {
        return Err(Denial::BadRequest(BadRequest::Framing));
    }
    let mut expectations = headers.get_all(EXPECT).iter();
    let expected = expectations.next().is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if expected && expectations.next().is_none() { Ok(()) } else { Err(Denial::BadRequest(BadRequest::Head)) }
}

fn has_plain_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    let plain = |length: &[u8]| {
        (1..=19).contains(&length.len())
            && length.iter().all(u8::is_ascii_digit)
            && (length == b"0" || !length.starts_with(b"0"))
    };
    lengths.next().is_none_or(plain) && lengths.next().is_none()
}

/// Whether some upstream may take a name for one that frames the message.
fn is_look_alike(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    [&b"content-length"[..], b"transfer-encoding"]
        .iter()
        .any(|framing| name.len() == framing.len() && name != *framing && fold(name).eq(framing.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 128, target_bytes: 32, fields: 4 };

    fn ask(target: &str, fields: &[(&'static str, &str)]) -> Result<(), Denial> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        check(&Method::POST, target.as_bytes(), &headers, &LIMITS)
    }

    #[test]
    fn an_ordinary_head_passes() {
        let fields = [("content-length", "12"), ("expect", "100-Continue"), ("cookie", "a=b"), ("cookie", "c=d")];
        assert_eq!(ask("/", &fields), Ok(()));
        assert_eq!(ask("/", &[("content-length", "0")]), Ok(()));
    }

    #[test]
    fn connect_is_refused() {
        let refused = check(&Method::CONNECT, b"", &HeaderMap::new(), &LIMITS);
        assert_eq!(refused, Err(Denial::MethodNotAllowed(Box::default())));
    }

    #[test]
    fn the_limits_of_http1_hold_here_too() {
        assert_eq!(ask(&format!("/{}", "a".repeat(31)), &[]), Ok(()));
        assert_eq!(ask(&format!("/{}", "a".repeat(32)), &[]), Err(Denial::TargetTooLong));
        assert_eq!(ask("/", &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]), Ok(()));
        assert_eq!(ask("/", &[("a", "1"), ("a", "2"), ("a", "3"), ("a", "4"), ("a", "5")]), Err(Denial::HeadTooLarge));
        assert_eq!(ask("/", &[("a", &"b".repeat(122))]), Ok(()));
        assert_eq!(ask("/", &[("a", &"b".repeat(123))]), Err(Denial::HeadTooLarge));
    }

    #[test]
    fn a_length_that_is_not_one_plain_number_is_refused() {
        let framing = Err(Denial::BadRequest(BadRequest::Framing));
        for value in ["", "05", "+5", "5, 5", "5 ", "0x5", "99999999999999999999"] {
            assert_eq!(ask("/", &[("content-length", value)]), framing, "{value:?}");
        }
        assert_eq!(ask("/", &[("content-length", "5"), ("content-length", "5")]), framing);
        assert_eq!(ask("/", &[("content_length", "5")]), framing);
        assert_eq!(ask("/", &[("transfer_encoding", "chunked")]), framing);
    }

    #[test]
    fn an_expectation_other_than_a_single_continue_is_refused() {
        let head = Err(Denial::BadRequest(BadRequest::Head));
        assert_eq!(ask("/", &[("expect", "200-ok")]), head);
        assert_eq!(ask("/", &[("expect", "100-continue"), ("expect", "100-continue")]), head);
    }
}
