//! Cross-origin rules (Fetch standard): which origins may read a route's responses, and the answer to a preflight.
//!
//! Imports `http` only. Deliberately absent: `Access-Control-Allow-Credentials` and reflected origins; tokens travel in the
//! Authorization field, so nothing here ever needs a cookie.

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// The cross-origin rules of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CorsPolicy {
    /// Which origins may read.
    pub origins: Origins,
    /// Methods that a preflight allows.
    pub methods: Box<[Method]>,
    /// Request headers that a preflight allows.
    pub headers: Box<[HeaderName]>,
    /// Response headers that a script may read.
    pub expose: Box<[HeaderName]>,
    /// For how many seconds a preflight's answer may be kept; `None` leaves it to the browser.
    pub max_age: Option<u32>,
}

/// Which origins may read a route's responses. Credentials (cookies) are never allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origins {
    /// Every origin: `*`.
    Any,
    /// Exactly these, compared byte for byte.
    Listed(Box<[Box<str>]>),
}

impl Default for CorsPolicy {
    /// The rules of the contracts: every origin, and the lists that every one of their responses shows.
    fn default() -> Self {
        Self {
            origins: Origins::Any,
            methods: Box::new([Method::GET, Method::POST, Method::DELETE, Method::OPTIONS, Method::PUT]),
            headers: Box::new([AUTHORIZATION, CONTENT_TYPE]),
            expose: Box::new([AUTHORIZATION, CONTENT_TYPE]),
            max_age: None,
        }
    }
}

impl CorsPolicy {
    /// The value of `Access-Control-Allow-Origin` for a request from `origin` (see [`origin`]); `None` means no such header.
    /// With a list it is the request's own value, and only if it is one of the list. `null`, which every sandboxed page can
    /// send, is in no list.
    #[must_use]
    pub fn allow_origin(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::Listed(listed) => {
                let among = |origin: &&HeaderValue| listed.iter().any(|one| one.as_bytes() == origin.as_bytes());
                origin.filter(|origin| *origin != "null").filter(among).cloned()
            }
        }
    }

    /// Whether a response may differ from one origin to another, so that caches must be told (`Vary: Origin`).
    #[must_use]
    pub fn varies(&self) -> bool {
        match &self.origins {
            Origins::Any => false,
            Origins::Listed(_) => true,
        }
    }
}

/// The request's Origin; `None` also if there is more than one, since then nobody can tell which page asks.
#[must_use]
pub fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(ORIGIN).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a request is a browser's question before the real one (Fetch standard, CORS-preflight request).
#[must_use]
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The method that a preflight asks for.
#[must_use]
pub fn requested_method(headers: &HeaderMap) -> Option<Method> {
    headers.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|value| Method::from_bytes(value.as_bytes()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> CorsPolicy {
        let origins = Box::new(["https://app.example.com".into(), "https://b.example.com:8443".into(), "null".into()]);
        CorsPolicy { origins: Origins::Listed(origins), ..CorsPolicy::default() }
    }

    fn allowed(origin: &str) -> Option<HeaderValue> {
        listed().allow_origin(Some(&HeaderValue::from_str(origin).unwrap()))
    }

    #[test]
    fn a_listed_origin_gets_itself_back_and_no_other_gets_anything() {
        assert_eq!(allowed("https://app.example.com").unwrap(), "https://app.example.com");
        for other in [
            "http://app.example.com",
            "https://APP.example.com",
            "https://app.example.com.evil.test",
            "https://evilapp.example.com",
            "https://app.example.com:443",
            "https://app.example.com/",
            "https://appxexample.com",
            "https://b.example.com",
            "null",
            "",
        ] {
            assert_eq!(allowed(other), None, "{other}");
        }
        assert_eq!(listed().allow_origin(None), None);
    }

    #[test]
    fn when_every_origin_may_read_the_answer_is_a_star_whoever_asks() {
        let any = CorsPolicy::default();
        assert_eq!(any.allow_origin(None).unwrap(), "*");
        assert_eq!(any.allow_origin(Some(&HeaderValue::from_static("null"))).unwrap(), "*");
        assert!(!any.varies() && listed().varies());
    }

    #[test]
    fn two_origins_are_no_origin() {
        let mut headers = HeaderMap::new();
        assert_eq!(origin(&headers), None);
        headers.append(ORIGIN, HeaderValue::from_static("https://app.example.com"));
        assert_eq!(origin(&headers).unwrap(), "https://app.example.com");
        headers.append(ORIGIN, HeaderValue::from_static("https://app.example.com"));
        assert_eq!(origin(&headers), None);
    }

    #[test]
    fn a_preflight_has_an_origin_and_asks_for_a_method() {
        let mut headers = HeaderMap::new();
        assert!(!is_preflight(&Method::OPTIONS, &headers));
        headers.insert(ORIGIN, HeaderValue::from_static("https://app.example.com"));
        assert!(!is_preflight(&Method::OPTIONS, &headers));
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
        assert!(is_preflight(&Method::OPTIONS, &headers) && !is_preflight(&Method::GET, &headers));
        assert_eq!(requested_method(&headers), Some(Method::PUT));
    }
}
