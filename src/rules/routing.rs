//! Which route a request takes: by host, path pattern and method. The most specific wins; a tie is a configuration error.

/// Finds a route.
#[derive(Debug, Default)]
pub struct RouteTable {}
