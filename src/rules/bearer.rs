//! Where a request's token is taken from: one Authorization field of scheme Bearer, and nowhere else.
//!
//! Imports `model` only. Deliberately absent: tokens in cookies, forms, queries and fields of our own making; whoever sends one
//! there is told so, because a token in a wrong place is soon a token in a log.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::model::{BadRequest, Credential, Denial, Misplaced, RequestHead};

const AUTH_TOKEN: &str = "x-auth-token";
const ACCESS_TOKEN: &[u8] = b"access_token";

/// The token that a request presents, if any (RFC 6750 section 2.1). The scheme's name is taken in any case and may be
/// followed by several spaces (RFC 9110 section 11.4).
///
/// An `X-Auth-Token` beside a Bearer token is ignored.
///
/// # Errors
/// - `BadRequest(Credential)` for more than one Authorization field, or a Bearer token and another one in the query (RFC 6750
///   section 3.1, `invalid_request`);
/// - `CredentialMisplaced` for another scheme, for `X-Auth-Token` alone, and for `access_token` in the query, however its name
///   is escaped;
/// - `CredentialInvalid` for a Bearer field whose token is empty, longer than [`Credential::MAX_LEN`] or no `b64token`.
pub fn presented<'a>(head: &RequestHead<'a>) -> Result<Option<Credential<'a>>, Denial> {
    found(head.headers, head.query)
}

/// The same of these header fields and this query.
///
/// # Errors
/// As [`presented`].
pub fn found<'a>(headers: &'a HeaderMap, query: Option<&str>) -> Result<Option<Credential<'a>>, Denial> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let first = fields.next();
    if fields.next().is_some() {
        return Err(Denial::BadRequest(BadRequest::Credential));
    }
    let in_query = query.is_some_and(has_access_token);
    match first {
        Some(field) => match bearer_part(field) {
            None => Err(Denial::CredentialMisplaced(Misplaced::Scheme)),
            Some(_) if in_query => Err(Denial::BadRequest(BadRequest::Credential)),
            Some(token) => b64token(token).map(Credential::new).map(Some).ok_or(Denial::CredentialInvalid),
        },
        None if headers.contains_key(AUTH_TOKEN) => Err(Denial::CredentialMisplaced(Misplaced::AuthTokenHeader)),
        None if in_query => Err(Denial::CredentialMisplaced(Misplaced::Query)),
        None => Ok(None),
    }
}

/// What stands after the scheme and its spaces, if the scheme is Bearer.
fn bearer_part(field: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = field.as_bytes().split_at_checked(b"bearer".len())?;
    if !scheme.eq_ignore_ascii_case(b"bearer") || token.first().is_some_and(|b| *b != b' ') {
        return None;
    }
    let spaces = token.iter().take_while(|b| **b == b' ').count();
    token.get(spaces..)
}

/// The token if it is a `b64token` of RFC 6750 section 2.1 and not too long.
fn b64token(token: &[u8]) -> Option<&str> {
    let padding = token.iter().rev().take_while(|b| **b == b'=').count();
    let body = token.get(..token.len().checked_sub(padding)?)?;
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    let good = !body.is_empty() && token.len() <= Credential::MAX_LEN && body.iter().all(allowed);
    if good { std::str::from_utf8(token).ok() } else { None }
}

/// Whether a query has a parameter that some reader takes for `access_token`: in any case, escaped in any way, after `&` or
/// `;`, with a value or without.
fn has_access_token(query: &str) -> bool {
    query.split(['&', ';']).any(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        let mut wanted = ACCESS_TOKEN.iter();
        Unescaped(name.as_bytes()).all(|b| wanted.next() == Some(&b.to_ascii_lowercase())) && wanted.next().is_none()
    })
}

/// The bytes of a text with its escapes decoded; a broken escape stands for itself.
struct Unescaped<'a>(&'a [u8]);

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        if let [b'%', high, low, after @ ..] = self.0
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            self.0 = after;
            return Some(high << 4 | low);
        }
        let (first, after) = self.0.split_first()?;
        self.0 = after;
        Some(*first)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Method};
    use proptest::prelude::*;

    use super::*;
    use crate::model::Source;

    const TWO: Denial = Denial::BadRequest(BadRequest::Credential);

    /// What a request with these fields and this query presents.
    fn ask(fields: &[(&str, &str)], query: Option<&str>) -> Result<Option<String>, Denial> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        let source = Source::new([192, 0, 2, 1].into());
        let head = RequestHead { method: &Method::GET, path: "/", query, host: "a", headers: &headers, source };
        presented(&head).map(|credential| credential.map(|credential| credential.token().to_owned()))
    }

    fn authorization(value: &str) -> Result<Option<String>, Denial> {
        ask(&[("authorization", value)], None)
    }

    #[test]
    fn a_bearer_token_is_taken_whatever_the_case_of_its_scheme() {
        for value in ["Bearer aZ09-._~+/==", "bearer aZ09-._~+/==", "BEARER  aZ09-._~+/=="] {
            assert_eq!(authorization(value), Ok(Some("aZ09-._~+/==".into())), "{value}");
        }
    }

    #[test]
    fn nothing_presented_is_nothing() {
        assert_eq!(ask(&[("cookie", "access_token=a")], Some("token=a&x_access_token=b&access_tokens=c&=")), Ok(None));
        assert_eq!(ask(&[], None), Ok(None));
        assert_eq!(ask(&[], Some("")), Ok(None));
    }

    #[test]
    fn two_authorization_fields_are_a_bad_request_even_if_they_are_the_same() {
        let one = ("authorization", "Bearer a");
        assert_eq!(ask(&[one, one], None), Err(TWO));
        assert_eq!(ask(&[one, ("authorization", "Basic YTpi")], None), Err(TWO));
        assert_eq!(ask(&[("authorization", ""), one], None), Err(TWO));
    }

    #[test]
    fn another_scheme_is_not_taken() {
        for value in ["Basic YTpi", "Bearertoken", "Token a", "DPoP a", "a", "", "Bearer\ta", "Bearer,a", "\"Bearer\" a"] {
            assert_eq!(authorization(value), Err(Denial::CredentialMisplaced(Misplaced::Scheme)), "{value:?}");
        }
    }

    #[test]
    fn a_bearer_field_without_a_good_token_is_invalid() {
        let long = format!("Bearer {}", "a".repeat(Credential::MAX_LEN + 1));
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer =",
            "Bearer a b",
            "Bearer a,b",
            "Bearer a, Bearer b",
            "Bearer a=b",
            "Bearer \"a\"",
            "Bearer a:b",
            "Bearer a\tb",
            "Bearer \ta",
            "Bearer caf\u{e9}",
            "Bearer a ",
            "Bearer {}",
            "Bearer a;b",
            "Bearer %61",
            &long,
        ] {
            assert_eq!(authorization(value), Err(Denial::CredentialInvalid), "{value}");
        }
        assert!(authorization(&format!("Bearer {}", "a".repeat(Credential::MAX_LEN))).is_ok());
    }

    #[test]
    fn a_token_in_another_place_is_told_to_be_misplaced() {
        let header = Err(Denial::CredentialMisplaced(Misplaced::AuthTokenHeader));
        assert_eq!(ask(&[("x-auth-token", "a")], None), header);
        assert_eq!(ask(&[("x-auth-token", "a")], Some("access_token=b")), header);
        for query in [
            "access_token=a",
            "x=1&access_token=a",
            "access_token",
            "access_token=",
            "access%5Ftoken=a",
            "%61ccess_toke%6e=a",
            "ACCESS_TOKEN=a",
            "x;access_token=a",
            "&&access_token=a",
        ] {
            assert_eq!(ask(&[], Some(query)), Err(Denial::CredentialMisplaced(Misplaced::Query)), "{query}");
        }
    }

    #[test]
    fn beside_a_bearer_token_the_query_makes_two_and_x_auth_token_counts_for_nothing() {
        let bearer = ("authorization", "Bearer a");
        assert_eq!(ask(&[bearer], Some("access_token=a")), Err(TWO));
        assert_eq!(ask(&[bearer, ("x-auth-token", "b")], None), Ok(Some("a".into())));
        assert_eq!(ask(&[("x-auth-token", "b"), ("authorization", "Bearer ")], None), Err(Denial::CredentialInvalid));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_a_short_b64token(value in "(?i:bearer)[ ]{0,2}[ -~]{0,40}", query in "[ -~]{0,40}") {
            if let Ok(Some(token)) = ask(&[("authorization", &value)], Some(&query)) {
                let body = token.trim_end_matches('=');
                let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
                prop_assert!(!body.is_empty() && body.bytes().all(good) && value.ends_with(&token));
            }
        }
    }
}
