//! Identity headers have one author: every spelling that the client sent is removed, ours are set once.
//!
//! Imports `http` only. Deliberately absent: setting them (the rim does, after this rule has run), and any wish of the client
//! about it: `Connection` cannot name them, since hop-by-hop fields are removed by the same rule.

use http::HeaderName;

/// The names under which the caller's identity goes upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityNames {
    /// The subject; `X-Auth-Subject` unless configured.
    pub subject: HeaderName,
    /// The client; `X-Auth-Client`.
    pub client: HeaderName,
    /// The scopes; `X-Auth-Scope`.
    pub scope: HeaderName,
    /// The session; `X-Auth-Session`.
    pub session: HeaderName,
}

impl Default for IdentityNames {
    fn default() -> Self {
        Self {
            subject: HeaderName::from_static("x-auth-subject"),
            client: HeaderName::from_static("x-auth-client"),
            scope: HeaderName::from_static("x-auth-scope"),
            session: HeaderName::from_static("x-auth-session"),
        }
    }
}

/// A name as the most careless upstream reads it: in lower case, with a hyphen for everything that is no letter or digit.
/// `X_Auth.Subject` and `x-auth-subject` are the same then.
pub fn fold(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
    name.iter().map(|b| if b.is_ascii_alphanumeric() { b.to_ascii_lowercase() } else { b'-' })
}

/// Which of the client's request headers go upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Strip {
    /// The identity names, folded.
    ours: Box<[Box<[u8]>]>,
}

impl Strip {
    /// The rule where these identity names are in use. They are those of all routes: routes share upstreams, and an upstream
    /// that believes a name under one path believes it under every path.
    #[must_use]
    pub fn new<'n>(names: impl IntoIterator<Item = &'n IdentityNames>) -> Self {
        let each = |names: &'n IdentityNames| [&names.subject, &names.client, &names.scope, &names.session];
        let mut ours: Vec<Box<[u8]>> =
            names.into_iter().flat_map(each).map(|name| fold(name.as_str().as_bytes()).collect()).collect();
        ours.sort_unstable();
        ours.dedup();
        Self { ours: ours.into() }
    }

    /// Whether a header of the client goes upstream as it is. False for
    /// - names with anything but letters, digits and hyphens: every other spelling of a name below is among them;
    /// - the identity names, and everything that begins with `x-auth-`;
    /// - what tells about the connection to us, which is ours to tell: forwarding, client address, client certificate;
    /// - what makes some upstream serve another path, host or method than the one that was decided on;
    /// - hop-by-hop fields (RFC 9110 section 7.6.1). The rim writes anew those that the message needs.
    ///
    /// `Host` and `Content-Length` are kept, for the rim to check and write.
    #[must_use]
    pub fn keeps(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        plain && !is_hop_by_hop(name) && !is_reserved(name) && !self.ours.iter().any(|ours| **ours == *name.as_bytes())
    }
}

/// Fields that belong to one connection. `name` is in lower case, as `HeaderName` has it.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'c' | b'h' | b'k' | b'p' | b't' | b'u') => matches!(
            name,
            "connection"
                | "http2-settings"
                | "keep-alive"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "proxy-connection"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        ),
        Some(_) | None => false,
    }
}

/// Fields that a client has no business sending through us.
fn is_reserved(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'x') => name.strip_prefix("x-").is_some_and(is_reserved_extension),
        Some(b'c' | b'f' | b'p' | b'r' | b's' | b't') => {
            matches!(name, "cf-connecting-ip" | "cf-connecting-ipv6" | "forwarded" | "proxy" | "remote-user" | "true-client-ip")
                || starts_with_any(name, &["client-cert", "ssl-client-"])
        }
        Some(_) | None => false,
    }
}

/// The same for names without their `x-`.
fn is_reserved_extension(name: &str) -> bool {
    const FAMILIES: [&str; 12] = [
        "auth-",
        "authenticated-",
        "client-cert",
        "client-dn",
        "envoy-",
        "forwarded-",
        "http-method",
        "method-override",
        "original-",
        "remote-",
        "rewrite-",
        "ssl-client-",
    ];
    match name.as_bytes().first() {
        Some(b'a' | b'c' | b'e' | b'f' | b'h' | b'm' | b'o' | b'r' | b's') => {
            matches!(
                name,
                "client-ip"
                    | "cluster-client-ip"
                    | "forwarded"
                    | "host"
                    | "host-override"
                    | "http-host-override"
                    | "middleware-subrequest"
                    | "real-ip"
            ) || starts_with_any(name, &FAMILIES)
        }
        Some(_) | None => false,
    }
}

fn starts_with_any(name: &str, families: &[&str]) -> bool {
    families.iter().any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keeps(name: &str) -> bool {
        Strip::new([&IdentityNames::default()]).keeps(&HeaderName::from_bytes(name.as_bytes()).unwrap())
    }

    #[test]
    fn ordinary_fields_are_kept() {
        for name in [
            "accept",
            "authorization",
            "content-type",
            "content-length",
            "cookie",
            "host",
            "user-agent",
            "x-request-id",
            "x-api-key",
            "api-key",
            "idempotency-ref",
            "x-author",
            "x-authority",
            "traceparent",
            "origin",
            "referer",
            "range",
            "if-none-match",
            "x-custom",
            "forwarded-x",
            "x-realm",
            "expect",
            "x-requested-with",
            "sec-fetch-site",
            "priority",
            "cache-control",
        ] {
            assert!(keeps(name), "{name}");
        }
    }

    #[test]
    fn identity_fields_are_removed_in_every_spelling() {
        for name in [
            "X-Auth-Subject",
            "x_auth_subject",
            "X.Auth.Subject",
            "x-auth_scope",
            "X~Auth~Client",
            "x-auth-anything",
            "X-Auth-Token",
        ] {
            assert!(!keeps(name), "{name}");
        }
    }

    #[test]
    fn configured_names_are_removed_too_however_they_are_configured() {
        let names = IdentityNames { subject: HeaderName::from_static("user_id"), ..IdentityNames::default() };
        let strip = Strip::new([&IdentityNames::default(), &names]);
        assert!(!strip.keeps(&HeaderName::from_static("x-auth-subject")), "another route's name");
        assert!(!strip.keeps(&HeaderName::from_static("user-id")));
        assert!(!strip.keeps(&HeaderName::from_static("user_id")));
        assert!(strip.keeps(&HeaderName::from_static("user-ids")));
        assert!(keeps("user-id"));
    }

    #[test]
    fn what_is_ours_to_tell_and_what_would_reroute_is_removed() {
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-prefix",
            "x-forwarded-client-cert",
            "x-forwarded",
            "x-real-ip",
            "x-original-url",
            "x-original-uri",
            "x-original-host",
            "x-rewrite-url",
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "x-middleware-subrequest",
            "proxy",
            "client-cert",
            "client-cert-chain",
            "x-client-cert-dn",
            "x-ssl-client-verify",
            "ssl-client-cert",
            "true-client-ip",
            "cf-connecting-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "x-host",
            "remote-user",
            "x-remote-user",
        ] {
            assert!(!keeps(name), "{name}");
        }
    }

    #[test]
    fn hop_by_hop_fields_are_removed() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
        ] {
            assert!(!keeps(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_that_is_kept_folds_to_one_that_is_removed(name in "[a-zA-Z0-9_.~-]{1,24}", separator in "[_.~-]") {
            for name in [name, ["x", "auth", "subject"].join(&separator), ["X", "Forwarded", "For"].join(&separator)] {
                let folded = String::from_utf8(fold(name.as_bytes()).collect()).unwrap();
                prop_assert!(!keeps(&name) || keeps(&folded), "{} folds to {}", name, folded);
            }
        }
    }
}
