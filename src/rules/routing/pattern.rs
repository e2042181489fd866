//! What a route may say about hosts and paths, and how it is written.
//!
//! Imports the normal forms of `path` and `host`. Deliberately absent: matching, which is the table's.

use std::fmt;

use crate::rules::{host, path};

/// How many segments a pattern has at most; the search goes no deeper.
const DEEPEST: usize = 64;

/// Which hosts a route answers to: `*` for any, a name, or `*.` and a suffix for one or more labels before it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct HostPattern(HostShape);

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) enum HostShape {
    #[default]
    Any,
    Exact(Box<str>),
    Suffix(Box<str>),
}

/// Which paths a route answers to: segments that are a literal, `*` or `{name}` for exactly one segment, or, at the end, `**`
/// for any number of them. `/a/**` matches `/a`, `/a/` and everything below; otherwise `/a` and `/a/` are different paths.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PathPattern(Box<[Segment]>);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Segment {
    /// In the normal form of `rules::path`; empty for a trailing slash.
    Literal(Box<str>),
    /// One segment that is not empty, under a name or under none.
    Single(Option<Box<str>>),
    /// Zero or more segments.
    Rest,
}

/// Why a text is no pattern.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternError {
    /// The host is none.
    #[error("`{0}` is not a host: write a name without a port, `*.` and a name, or `*`")]
    Host(Box<str>),
    /// The path does not begin with a slash.
    #[error("a path begins with `/`")]
    NoSlash,
    /// A segment is neither a wildcard nor a text that can stand in a path.
    #[error(
        "the segment `{0}` can never be requested: a segment is plain text (other characters as %XX), `*`, `{{name}}`, or `**` \
         at the end"
    )]
    Segment(Box<str>),
    /// `**` stands before other segments.
    #[error("`**` stands for the rest of a path, so it can only be the last segment")]
    RestNotLast,
    /// Two parameters have the same name.
    #[error("the parameter `{0}` appears twice")]
    Repeated(Box<str>),
    /// There are too many segments.
    #[error("a path has at most 64 segments")]
    TooDeep,
}

impl HostPattern {
    /// The pattern of every host.
    #[must_use]
    pub fn any() -> Self {
        Self(HostShape::Any)
    }

    /// Reads a pattern; names are taken in any case.
    ///
    /// # Errors
    /// `PatternError::Host`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let refused = || PatternError::Host(text.into());
        if text == "*" {
            return Ok(Self(HostShape::Any));
        }
        let (suffix, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        // A colon is good in `[::1]` only; elsewhere it begins a port, which hosts are compared without.
        if name.contains(':') && !name.ends_with(']') {
            return Err(refused());
        }
        let name: Box<str> = host::normalize(name).map_err(|_| refused())?.into();
        match (suffix, name.starts_with('[')) {
            (true, true) => Err(refused()),
            (true, false) => Ok(Self(HostShape::Suffix(name))),
            (false, _) => Ok(Self(HostShape::Exact(name))),
        }
    }

    pub(super) fn shape(&self) -> &HostShape {
        &self.0
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            HostShape::Any => f.write_str("*"),
            HostShape::Exact(name) => f.write_str(name),
            HostShape::Suffix(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl PathPattern {
    /// Reads a pattern. Literals are brought into the normal form in which paths are compared, so that `/caf%c3%a9` and
    /// `/caf%C3%A9` are the same pattern.
    ///
    /// # Errors
    /// Every variant of [`PatternError`] but `Host`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let text = text.strip_prefix('/').ok_or(PatternError::NoSlash)?;
        let segments: Vec<&str> = text.split('/').collect();
        if segments.len() > DEEPEST {
            return Err(PatternError::TooDeep);
        }
        let mut parsed: Vec<Segment> = Vec::with_capacity(segments.len());
        for (index, segment) in segments.iter().enumerate() {
            let last = index + 1 == segments.len();
            let segment = Segment::parse(segment, last)?;
            if let Segment::Single(Some(name)) = &segment
                && parsed.contains(&segment)
            {
                return Err(PatternError::Repeated(name.clone()));
            }
            parsed.push(segment);
        }
        Ok(Self(parsed.into()))
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }
}

impl Segment {
    fn parse(text: &str, last: bool) -> Result<Self, PatternError> {
        let refused = || PatternError::Segment(text.into());
        match text {
            "**" if last => return Ok(Self::Rest),
            "**" => return Err(PatternError::RestNotLast),
            "*" => return Ok(Self::Single(None)),
            "" if last => return Ok(Self::Literal(Box::default())),
            _ => {}
        }
        if let Some(name) = text.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            return if good { Ok(Self::Single(Some(name.into()))) } else { Err(refused()) };
        }
        // A star inside a literal would be taken for a wildcard by whoever reads the file.
        if text.contains(['*', '/']) || text.to_ascii_lowercase().contains("%2a") {
            return Err(refused());
        }
        let path = format!("/{text}");
        let normal = path::normalize(&path).map_err(|_| refused())?;
        normal
            .strip_prefix('/')
            .filter(|literal| !literal.is_empty())
            .map(|text| Self::Literal(text.into()))
            .ok_or_else(refused)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.0 {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Single(None) => f.write_str("/*")?,
                Segment::Single(Some(name)) => write!(f, "/{{{name}}}")?,
                Segment::Rest => f.write_str("/**")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_written_back_as_they_are_compared() {
        for (text, shown) in [
            ("/", "/"),
            ("/a/", "/a/"),
            ("/a/{id}/*/**", "/a/{id}/*/**"),
            ("/**", "/**"),
            ("/caf%c3%a9/%61", "/caf%C3%A9/a"),
            ("/.well-known/x", "/.well-known/x"),
        ] {
            assert_eq!(PathPattern::parse(text).unwrap().to_string(), shown);
        }
        for (text, shown) in
            [("*", "*"), ("Example.COM.", "example.com"), ("*.Example.com", "*.example.com"), ("[::1]", "[::1]")]
        {
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_reason() {
        let segment = |text: &str| PatternError::Segment(text.into());
        for (text, error) in [
            ("", PatternError::NoSlash),
            ("a", PatternError::NoSlash),
            ("/**/a", PatternError::RestNotLast),
            ("/{id}/{id}", PatternError::Repeated("id".into())),
            ("/a*", segment("a*")),
            ("/%2A", segment("%2A")),
            ("/***", segment("***")),
            ("/{}", segment("{}")),
            ("/{a b}", segment("{a b}")),
            ("/a{id}", segment("a{id}")),
            ("/..", segment("..")),
            ("/a%2Fb", segment("a%2Fb")),
            ("/a?b", segment("a?b")),
            ("/caf\u{e9}", segment("caf\u{e9}")),
            ("//a", segment("")),
            ("/a//", segment("")),
        ] {
            assert_eq!(PathPattern::parse(text), Err(error), "{text}");
        }
        assert!(PathPattern::parse(&"/a".repeat(64)).is_ok());
        assert_eq!(PathPattern::parse(&"/a".repeat(65)), Err(PatternError::TooDeep));
        for text in ["", "a:80", "**", "*.", "*.*", "a.*", "*a.com", "*.[::1]", "a b", "http://a"] {
            assert_eq!(HostPattern::parse(text), Err(PatternError::Host(text.into())), "{text}");
        }
    }
}
