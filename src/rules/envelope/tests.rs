//! What is on a dressed response, to the byte, and what is not.

use http::Method;

use super::*;

/// The block as the contracts print it.
const CONTRACT: &str = "\
Access-Control-Expose-Headers: authorization, content-type
Access-Control-Allow-Headers: authorization, content-type
Access-Control-Allow-Methods: GET, POST, DELETE, OPTIONS, PUT
Access-Control-Allow-Origin: *
Strict-Transport-Security: max-age=31536000; includeSubDomains
X-Frame-Options: SAMEORIGIN
X-Content-Type-Options: nosniff
X-XSS-Protection: 1; mode=block
Content-Security-Policy: default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'
Referrer-Policy: no-referrer
Feature-Policy: self
Permissions-policy: interest-cohort=()
";

/// Remembers what was set, in order and as it would be spelt on the wire.
#[derive(Default)]
struct Wire {
    headers: HeaderMap,
    written: String,
}

impl Fields for Wire {
    fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn set(&mut self, field: &Field) {
        assert_eq!(field.name, field.wire.to_ascii_lowercase().as_str());
        self.written.extend([field.wire, ": ", field.value.to_str().unwrap(), "\n"]);
        Fields::set(&mut self.headers, field);
    }

    fn append(&mut self, field: &Field) {
        self.written.extend([field.wire, "+ ", field.value.to_str().unwrap(), "\n"]);
        Fields::append(&mut self.headers, field);
    }

    fn remove(&mut self, name: &HeaderName) {
        Fields::remove(&mut self.headers, name);
    }
}

fn envelope(profile: Profile, cors: CorsPolicy) -> Envelope {
    Envelope::new(Style::Problem, profile, Arc::new(cors))
}

fn listed(origins: &[&str]) -> CorsPolicy {
    CorsPolicy { origins: Origins::Listed(origins.iter().map(|origin| (*origin).into()).collect()), ..CorsPolicy::default() }
}

fn upstream() -> HeaderMap {
    [
        ("server", "nginx"),
        ("x-powered-by", "x"),
        ("access-control-allow-origin", "https://evil.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "9"),
        ("access-control-allow-private-network", "true"),
        ("feature-policy", "camera 'self'"),
        ("x-frame-options", "ALLOWALL"),
        ("content-type", "text/plain"),
        ("vary", "Accept, Accept-Encoding"),
    ]
    .into_iter()
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    .collect()
}

#[test]
fn by_default_a_response_has_the_twelve_headers_of_the_contracts_to_the_byte() {
    let mut wire = Wire::default();
    envelope(Profile::Seed, CorsPolicy::default()).dress(None, &mut wire);
    assert_eq!(wire.written, CONTRACT);
    let mut preflight = Wire::default();
    let origin = HeaderValue::from_static("https://a.test");
    envelope(Profile::Seed, CorsPolicy::default()).dress_preflight(Some(&origin), &mut preflight);
    assert_eq!(preflight.written, CONTRACT);
}

#[test]
fn the_upstreams_word_on_the_same_things_is_replaced_or_removed() {
    for profile in [Profile::Seed, Profile::Modern] {
        let mut headers = upstream();
        headers.append("x-frame-options", HeaderValue::from_static("DENY"));
        envelope(profile, CorsPolicy::default()).dress(None, &mut headers);
        for gone in [
            "server",
            "x-powered-by",
            "access-control-allow-credentials",
            "access-control-max-age",
            "access-control-allow-private-network",
        ] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert_eq!(headers.get("access-control-allow-origin").unwrap(), "*");
        assert_eq!(headers.get_all("x-frame-options").iter().count(), 1);
        assert_eq!(headers.get("content-type").unwrap(), "text/plain");
        assert_eq!(headers.get("vary").unwrap(), "Accept, Accept-Encoding");
    }
}

#[test]
fn dressing_twice_is_dressing_once() {
    let origin = HeaderValue::from_static("https://a.test");
    for profile in [Profile::Seed, Profile::Modern] {
        let envelope = envelope(profile, listed(&["https://a.test"]));
        let mut once = upstream();
        envelope.dress(Some(&origin), &mut once);
        let mut twice = once.clone();
        envelope.dress(Some(&origin), &mut twice);
        assert_eq!(once, twice);
    }
}

#[test]
fn a_list_shows_each_origin_only_itself_and_tells_caches_so() {
    let envelope = envelope(Profile::Seed, listed(&["https://a.test", "https://b.test"]));
    for (origin, allowed) in [(Some("https://a.test"), Some("https://a.test")), (Some("https://c.test"), None), (None, None)] {
        let mut headers = upstream();
        envelope.dress(origin.map(HeaderValue::from_static).as_ref(), &mut headers);
        assert_eq!(headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap()), allowed);
        let vary: Vec<_> = headers.get_all("vary").iter().collect();
        assert_eq!(vary, ["Accept, Accept-Encoding", "Origin"]);
    }
}

#[test]
fn an_upstream_that_varies_by_origin_already_is_left_alone() {
    for vary in ["Accept, origin", "*", "Origin"] {
        let mut headers = HeaderMap::new();
        headers.insert("vary", HeaderValue::from_static(vary));
        envelope(Profile::Seed, listed(&[])).dress(None, &mut headers);
        assert_eq!(headers.get_all("vary").iter().count(), 1);
    }
}

#[test]
fn a_routes_own_lists_are_shown() {
    let cors = CorsPolicy {
        methods: Box::new([Method::GET, Method::PATCH]),
        headers: Box::new([HeaderName::from_static("api-key")]),
        expose: Box::default(),
        max_age: Some(600),
        ..CorsPolicy::default()
    };
    let mut headers = HeaderMap::new();
    envelope(Profile::Seed, cors.clone()).dress(None, &mut headers);
    assert_eq!(headers.get("access-control-allow-methods").unwrap(), "GET, PATCH");
    assert_eq!(headers.get("access-control-allow-headers").unwrap(), "api-key");
    assert!(!headers.contains_key("access-control-expose-headers"));
    assert!(!headers.contains_key("access-control-max-age"));
    envelope(Profile::Seed, cors).dress_preflight(None, &mut headers);
    assert_eq!(headers.get("access-control-max-age").unwrap(), "600");
}

#[test]
fn the_modern_profile_answers_preflights_to_preflights_only() {
    let cors = CorsPolicy { max_age: Some(60), ..listed(&["https://a.test"]) };
    let envelope = envelope(Profile::Modern, cors);
    let origin = HeaderValue::from_static("https://a.test");
    let mut wire = Wire::default();
    envelope.dress(Some(&origin), &mut wire);
    assert_eq!(
        wire.written,
        "\
Access-Control-Expose-Headers: authorization, content-type, retry-after, ratelimit, ratelimit-policy, www-authenticate, x-request-id
Access-Control-Allow-Origin: https://a.test
Strict-Transport-Security: max-age=63072000; includeSubDomains
X-Frame-Options: DENY
X-Content-Type-Options: nosniff
X-XSS-Protection: 0
Content-Security-Policy: default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'
Referrer-Policy: no-referrer
Vary+ Origin
"
    );
    let asked = |origin: &HeaderValue| {
        let mut headers = HeaderMap::new();
        envelope.dress_preflight(Some(origin), &mut headers);
        ["access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"]
            .map(|name| headers.contains_key(name))
    };
    assert_eq!(asked(&origin), [true; 3]);
    assert_eq!(asked(&HeaderValue::from_static("https://b.test")), [false; 3]);
}

#[test]
fn the_modern_profile_drops_retired_headers_and_shuts_out_other_origins_unless_cors_lets_them_read() {
    let policy = "cross-origin-resource-policy";
    let mut headers = upstream();
    envelope(Profile::Modern, listed(&[])).dress(None, &mut headers);
    assert!(!headers.contains_key("feature-policy"));
    assert_eq!(headers.get(policy).unwrap(), "same-origin");
    for cors in [CorsPolicy::default(), listed(&["https://a.test"])] {
        let mut headers = HeaderMap::new();
        envelope(Profile::Modern, cors).dress(None, &mut headers);
        assert!(!headers.contains_key(policy));
    }
}
