//! Which route a request takes: by host, path pattern and method. The most specific wins; a tie is a configuration error.
//!
//! Imports `model` and the normal forms of `path` and `host`. Deliberately absent: prefixes that end inside a segment, regular
//! expressions and the order of the file; none of them lets a reader tell from two patterns alone which one wins.

mod pattern;

use std::collections::HashMap;

use foldhash::fast::FixedState;
use http::Method;

pub use crate::rules::routing::pattern::{HostPattern, PathPattern, PatternError};
use crate::rules::routing::pattern::{HostShape, Segment};

/// Maps are built from the configuration and only read afterwards, so nobody can crowd them: a fixed seed does.
type Map<V> = HashMap<Box<str>, V, FixedState>;

/// The methods of a route that names none.
pub const DEFAULT_METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// What a route answers to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteKey {
    /// Which hosts.
    pub host: HostPattern,
    /// Which paths.
    pub path: PathPattern,
    /// Which methods; `None` is [`DEFAULT_METHODS`]. HEAD goes wherever GET goes.
    pub methods: Option<Box<[Method]>>,
}

/// Two routes of which none is more specific: same host, same path but for the names of parameters, a method in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tie {
    /// The earlier route's place in the list.
    pub first: usize,
    /// The later route's.
    pub second: usize,
}

/// Finds a route.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: Map<Node>,
    suffixes: Map<Node>,
    any: Node,
}

/// What a request found. The numbers are places in the list that the table was built from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<'t> {
    /// This route.
    Route(usize),
    /// Routes have this path, none this method.
    WrongMethod {
        /// One of those routes, whose style the answer has.
        route: usize,
        /// The methods that they have, for `Allow`.
        allowed: &'t [Method],
    },
    /// An OPTIONS request that no route asks for by name: the gateway answers it with the cross-origin rules of this route.
    Options(usize),
    /// No route has this host and path.
    None,
}

impl RouteTable {
    /// Builds the table for these routes.
    ///
    /// # Errors
    /// Every pair of routes between which no rule decides.
    pub fn build(keys: &[RouteKey]) -> Result<Self, Vec<Tie>> {
        let mut table = Self::default();
        let mut ties = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let root = match key.host.shape() {
                HostShape::Any => &mut table.any,
                HostShape::Exact(name) => table.exact.entry(name.clone()).or_default(),
                HostShape::Suffix(suffix) => table.suffixes.entry(suffix.clone()).or_default(),
            };
            root.endpoint(key.path.segments()).add(index, key.methods.as_deref(), &mut ties);
        }
        if ties.is_empty() { Ok(table) } else { Err(ties) }
    }

    /// The route of a request. `host` and `path` are in normal form; `requested` is the method that a preflight asks for.
    ///
    /// The most specific host comes first (its name, then the longest suffix, then any), within it the most specific path,
    /// segment by segment from the left: a literal, then a wildcard, then `**`. If nothing there has the path, the next host
    /// is tried. The method is looked at last and only among the routes of that one pattern: a path that a specific route
    /// claims is never served by a more general one because the method did not fit.
    ///
    /// Nothing is allocated; the cost grows with the segments of the path, not with the number of routes.
    #[must_use]
    pub fn find(&self, host: &str, path: &str, method: &Method, requested: Option<&Method>) -> Found<'_> {
        let segments = path.strip_prefix('/').unwrap_or(path);
        let exact = self.exact.get(host);
        let suffixes = host.match_indices('.').filter_map(|(dot, _)| self.suffixes.get(host.get(dot + 1..)?));
        let mut roots = exact.into_iter().chain(suffixes).chain([&self.any]);
        match roots.find_map(|root| root.find(Some(segments))) {
            Some(endpoint) => endpoint.choose(method, requested),
            None => Found::None,
        }
    }
}

/// The patterns that have the same beginning.
#[derive(Debug, Default)]
struct Node {
    literals: Map<Node>,
    single: Option<Box<Node>>,
    here: Option<Endpoint>,
    rest: Option<Endpoint>,
}

impl Node {
    /// The place of the pattern that goes on with these segments.
    fn endpoint(&mut self, segments: &[Segment]) -> &mut Endpoint {
        match segments.split_first() {
            None => self.here.get_or_insert_default(),
            Some((Segment::Rest, _)) => self.rest.get_or_insert_default(),
            Some((Segment::Single(_), after)) => self.single.get_or_insert_default().endpoint(after),
            Some((Segment::Literal(text), after)) => self.literals.entry(text.clone()).or_default().endpoint(after),
        }
    }

    /// The most specific pattern for what is left of the path; `None` is nothing, an empty text a trailing slash. Recursion is
    /// as deep as the deepest pattern, which `PathPattern` bounds.
    fn find(&self, left: Option<&str>) -> Option<&Endpoint> {
        let Some(left) = left else {
            return self.here.as_ref().or(self.rest.as_ref());
        };
        let (segment, after) = left.split_once('/').map_or((left, None), |(segment, after)| (segment, Some(after)));
        let literal = self.literals.get(segment).and_then(|node| node.find(after));
        let single = || self.single.as_ref().filter(|_| !segment.is_empty()).and_then(|node| node.find(after));
        literal.or_else(single).or(self.rest.as_ref())
    }
}

/// The routes of one pattern.
#[derive(Debug, Default)]
struct Endpoint {
    by_method: Vec<(Method, usize)>,
    /// For `Allow`: the methods above, HEAD if there is GET, and OPTIONS.
    allowed: Vec<Method>,
}

impl Endpoint {
    fn add(&mut self, route: usize, methods: Option<&[Method]>, ties: &mut Vec<Tie>) {
        for method in methods.unwrap_or(&DEFAULT_METHODS) {
            match self.route_of(method) {
                Some(other) if other != route => {
                    let tie = Tie { first: other, second: route };
                    if !ties.contains(&tie) {
                        ties.push(tie);
                    }
                }
                Some(_) => {}
                None => self.by_method.push((method.clone(), route)),
            }
        }
        let own = self.by_method.iter().map(|(method, _)| method.clone());
        let head = self.route_of(&Method::GET).map(|_| Method::HEAD);
        self.allowed = own.chain(head).chain([Method::OPTIONS]).collect();
        self.allowed.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        self.allowed.dedup();
    }

    fn route_of(&self, method: &Method) -> Option<usize> {
        self.by_method.iter().find(|(listed, _)| listed == method).map(|(_, route)| *route)
    }

    /// The route that takes the method.
    fn taking(&self, method: &Method) -> Option<usize> {
        let as_get = || if *method == Method::HEAD { self.route_of(&Method::GET) } else { None };
        self.route_of(method).or_else(as_get)
    }

    fn choose(&self, method: &Method, requested: Option<&Method>) -> Found<'_> {
        let first = self.by_method.first().map(|(_, route)| *route);
        match (self.taking(method), first) {
            (Some(route), _) => Found::Route(route),
            (None, None) => Found::None,
            (None, Some(first)) if *method == Method::OPTIONS => {
                Found::Options(requested.and_then(|method| self.taking(method)).unwrap_or(first))
            }
            (None, Some(route)) => Found::WrongMethod { route, allowed: &self.allowed },
        }
    }
}

#[cfg(test)]
mod tests;
