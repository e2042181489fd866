//! One envelope: the CORS and security headers that go on every response, whoever made it, by one function.
//!
//! Imports `model` and `cors`. Deliberately absent: which library holds the response (see [`Fields`]), and the headers that
//! belong to a single answer (`WWW-Authenticate`, `Retry-After`, `Cache-Control`); those are `reply`'s.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::model::Style;
use crate::rules::cors::{CorsPolicy, Origins};

/// A response header that we set, with the spelling it has on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its name.
    pub name: HeaderName,
    /// How it is spelt in HTTP/1.1.
    pub wire: &'static str,
    /// Its value.
    pub value: HeaderValue,
}

/// The headers of a response that is being dressed, whichever library holds them.
pub trait Fields {
    /// What there is.
    fn headers(&self) -> &HeaderMap;
    /// Replaces every field of this name by this one.
    fn set(&mut self, field: &Field);
    /// Adds this field after those of its name.
    fn append(&mut self, field: &Field);
    /// Removes every field of this name.
    fn remove(&mut self, name: &HeaderName);
}

impl Fields for HeaderMap {
    fn headers(&self) -> &HeaderMap {
        self
    }

    fn set(&mut self, field: &Field) {
        self.insert(field.name.clone(), field.value.clone());
    }

    fn append(&mut self, field: &Field) {
        self.append(field.name.clone(), field.value.clone());
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove(name);
    }
}

/// A named set of security headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// The twelve of the contracts, to the byte.
    #[default]
    Seed,
    /// What OWASP advises today.
    Modern,
}

/// How a route's responses are dressed and its refusals are spoken. Every header is made when the plan is compiled; dressing
/// only copies reference-counted values.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The style of its refusals.
    pub style: Style,
    /// Its cross-origin rules.
    pub cors: Arc<CorsPolicy>,
    profile: Profile,
    /// On every response, before `Access-Control-Allow-Origin`.
    before_origin: Arc<[Field]>,
    /// On every response, after it.
    after_origin: Arc<[Field]>,
    /// On answers to preflights.
    preflight: Arc<[Field]>,
}

impl Envelope {
    /// An envelope of these parts.
    #[must_use]
    pub fn new(style: Style, profile: Profile, cors: Arc<CorsPolicy>) -> Self {
        let [expose, headers, methods] = cors_fields(&cors, profile);
        let max_age = cors.max_age.map(|seconds| {
            let value = HeaderValue::from(seconds);
            Field { name: header::ACCESS_CONTROL_MAX_AGE, wire: "Access-Control-Max-Age", value }
        });
        let (before_origin, preflight): (Vec<_>, Vec<_>) = match profile {
            Profile::Seed => ([expose, headers, methods].into_iter().flatten().collect(), max_age.into_iter().collect()),
            Profile::Modern => (expose.into_iter().collect(), [headers, methods, max_age].into_iter().flatten().collect()),
        };
        let mut after_origin: Vec<Field> = security_fields(profile).into();
        if profile == Profile::Modern && nobody_else_reads(&cors) {
            after_origin.push(field(
                HeaderName::from_static("cross-origin-resource-policy"),
                "Cross-Origin-Resource-Policy",
                "same-origin",
            ));
        }
        Self {
            style,
            cors,
            profile,
            before_origin: before_origin.into(),
            after_origin: after_origin.into(),
            preflight: preflight.into(),
        }
    }

    /// Dresses a response: sets every header of the profile and the CORS headers that this `origin` gets
    /// ([`cors::origin`](crate::rules::cors::origin)), once each, and removes `Server`, `X-Powered-By` and every CORS header
    /// of the upstream, whose word on who may read does not count here. Dressing twice is dressing once.
    pub fn dress(&self, origin: Option<&HeaderValue>, fields: &mut dyn Fields) {
        let unwanted = |name: &&HeaderName| self.is_unwanted(name.as_str());
        let doomed: Vec<HeaderName> = fields.headers().keys().filter(unwanted).cloned().collect();
        for name in &doomed {
            fields.remove(name);
        }
        for field in self.before_origin.iter() {
            fields.set(field);
        }
        if let Some(value) = self.cors.allow_origin(origin) {
            fields.set(&Field { name: header::ACCESS_CONTROL_ALLOW_ORIGIN, wire: "Access-Control-Allow-Origin", value });
        }
        for field in self.after_origin.iter() {
            fields.set(field);
        }
        if self.cors.varies() && !varies_by_origin(fields.headers()) {
            fields.append(&field(header::VARY, "Vary", "Origin"));
        }
    }

    /// Dresses the answer to a preflight: like any other, and with the methods and headers that are allowed.
    pub fn dress_preflight(&self, origin: Option<&HeaderValue>, fields: &mut dyn Fields) {
        self.dress(origin, fields);
        if self.cors.allow_origin(origin).is_some() {
            for field in self.preflight.iter() {
                fields.set(field);
            }
        }
    }

    /// Whether a header that is there already must go, whatever it says. Names are in lower case.
    fn is_unwanted(&self, name: &str) -> bool {
        match name {
            "server" | "x-powered-by" => true,
            "feature-policy" | "public-key-pins" => self.profile == Profile::Modern,
            _ => name.starts_with("access-control-"),
        }
    }
}

/// Whether an answer already tells caches that it depends on the origin.
fn varies_by_origin(headers: &HeaderMap) -> bool {
    let members = headers.get_all(header::VARY).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    members.map(<[u8]>::trim_ascii).any(|member| member.eq_ignore_ascii_case(b"origin") || member == b"*")
}

fn nobody_else_reads(cors: &CorsPolicy) -> bool {
    match &cors.origins {
        Origins::Any => false,
        Origins::Listed(listed) => listed.is_empty(),
    }
}

/// The three CORS headers that do not depend on the origin: expose, headers, methods. A list that is empty gives none.
fn cors_fields(cors: &CorsPolicy, profile: Profile) -> [Option<Field>; 3] {
    const OURS: [&str; 5] = ["retry-after", "ratelimit", "ratelimit-policy", "www-authenticate", "x-request-id"];
    let ours = OURS.into_iter().filter(|name| profile == Profile::Modern && !cors.expose.iter().any(|listed| listed == name));
    let expose = cors.expose.iter().map(HeaderName::as_str).chain(ours);
    [
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Access-Control-Expose-Headers", list(expose)),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Access-Control-Allow-Headers", list(cors.headers.iter())),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "Access-Control-Allow-Methods", list(cors.methods.iter())),
    ]
    .map(|(name, wire, value)| value.map(|value| Field { name, wire, value }))
}

/// The members separated by commas; tokens never make an invalid value.
fn list<T: AsRef<str>>(members: impl Iterator<Item = T>) -> Option<HeaderValue> {
    let mut text = String::new();
    for member in members {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(member.as_ref());
    }
    if text.is_empty() { None } else { HeaderValue::try_from(text).ok() }
}

const fn field(name: HeaderName, wire: &'static str, value: &'static str) -> Field {
    Field { name, wire, value: HeaderValue::from_static(value) }
}

/// The headers of a profile that are the same on every response.
fn security_fields(profile: Profile) -> Box<[Field]> {
    let same = [
        field(header::X_CONTENT_TYPE_OPTIONS, "X-Content-Type-Options", "nosniff"),
        field(
            header::CONTENT_SECURITY_POLICY,
            "Content-Security-Policy",
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
        field(header::REFERRER_POLICY, "Referrer-Policy", "no-referrer"),
    ];
    let [no_sniffing, content, referrer] = same;
    let transport = |value| field(header::STRICT_TRANSPORT_SECURITY, "Strict-Transport-Security", value);
    let frames = |value| field(header::X_FRAME_OPTIONS, "X-Frame-Options", value);
    let filter = |value| field(header::X_XSS_PROTECTION, "X-XSS-Protection", value);
    match profile {
        Profile::Seed => Box::new([
            transport("max-age=31536000; includeSubDomains"),
            frames("SAMEORIGIN"),
            no_sniffing,
            filter("1; mode=block"),
            content,
            referrer,
            field(HeaderName::from_static("feature-policy"), "Feature-Policy", "self"),
            field(HeaderName::from_static("permissions-policy"), "Permissions-policy", "interest-cohort=()"),
        ]),
        Profile::Modern => Box::new([
            transport("max-age=63072000; includeSubDomains"),
            frames("DENY"),
            no_sniffing,
            filter("0"),
            content,
            referrer,
        ]),
    }
}

#[cfg(test)]
mod tests;
