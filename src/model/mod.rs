//! The nouns: what everybody in this crate talks about.
//!
//! Imports nothing of ours, does no IO, reads no clock. Deliberately absent: anything that knows pingora, axum, tokio or
//! JSON; a noun that needs one of those belongs to the rim that speaks it.

mod activity;
mod client;
mod credential;
mod denial;
mod login;
mod non_empty;
mod principal;
mod request;
mod role;
mod scope;
mod secret;
mod style;
mod time;

pub use activity::{Activity, Use};
pub use client::{Source, SourceKey, SourcePrefix};
pub use credential::{Credential, CredentialShape};
pub use denial::{BadRequest, Challenge, Denial, ErrorId, Misplaced};
pub use login::{AccountPlace, BodySign, ClientPlace, CountedBy, Sign, Wanted, WithoutStore};
pub use non_empty::{EmptyList, NonEmpty};
pub use principal::{ClaimValue, Identity, IssuerId, Principal, PrincipalFacts, TokenKind, UnforwardableIdentity};
pub use request::RequestHead;
pub use role::{Ends, Location, Pointer, Role};
pub use scope::{InvalidScope, Scope, ScopeSet};
pub use secret::Secret;
pub use style::Style;
pub use time::{Clock, Entropy, Now, Tick, Timestamp};
