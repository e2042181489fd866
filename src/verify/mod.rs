//! From a credential to a principal: cached introspection (RFC 7662), JWTs by JWKS, and the cache that both share.
//!
//! Imports `model`, `store` (cuts), `plan` (issuers), `tokens` in `in_process` only. Deliberately absent: policy. What a
//! route asks of a principal is decided anew on every request, in `rules::access`.
