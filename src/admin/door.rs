//! Who may call the admin API: whoever shows its token.
//!
//! The tokens are compared by their SHA-256, in constant time, so that neither length nor content shows. Wrong ones are counted
//! per source, in a fixed number of windows: two sources that share one share its budget.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use crate::model::{Secret, Source, Tick};
use crate::rules::window::{Passage, Window, WindowRule};
use crate::store::cuts::Fingerprint;

/// How many windows sources are counted in.
const WINDOWS: usize = 256;
/// Wrong tokens within a minute, after which there is a pause of a minute.
const WRONG_PER_MINUTE: u32 = 10;

/// Checks the token of admin calls.
pub(super) struct Door {
    /// `None`: nobody may.
    token: Option<Fingerprint>,
    rule: WindowRule,
    wrong: Mutex<Vec<Window>>,
    hash: RandomState,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door(…)")
    }
}

/// Why a call was not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shut {
    /// There is no token, so there is no admin API.
    Off,
    /// It showed none.
    NoToken,
    /// It showed another.
    WrongToken,
    /// There were too many wrong ones from there; for how long nothing is looked at.
    Paused(Duration),
}

impl Door {
    /// A door that this token opens.
    pub(super) fn new(token: Option<&Secret>) -> Self {
        Self {
            token: token.map(|token| Fingerprint::of(token.expose())),
            rule: WindowRule::new(WRONG_PER_MINUTE, Duration::from_mins(1), Duration::from_mins(1)),
            wrong: Mutex::new(vec![Window::default(); WINDOWS]),
            hash: RandomState::new(),
        }
    }

    /// Lets a call in, or not.
    pub(super) fn pass(&self, headers: &HeaderMap, from: IpAddr, now: Tick) -> Result<(), Shut> {
        let Some(wanted) = self.token else { return Err(Shut::Off) };
        let [bucket, ..] = self.hash.hash_one(Source::new(from).key()).to_le_bytes();
        let mut windows = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(window) = windows.get_mut(usize::from(bucket)) else { return Err(Shut::Off) };
        // Before the comparison: whoever guesses learns nothing during a pause.
        if let Some(left) = window.pause(now) {
            return Err(Shut::Paused(left));
        }
        let presented = Fingerprint::of(bearer(headers).ok_or(Shut::NoToken)?);
        if bool::from(presented.0.ct_eq(&wanted.0)) {
            return Ok(());
        }
        match window.attempt(&self.rule, now) {
            Passage::Admitted => Err(Shut::WrongToken),
            Passage::Blocked(left) | Passage::StillBlocked(left) => Err(Shut::Paused(left)),
        }
    }
}

/// The token of the one Authorization field (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn showing(fields: &[&'static str]) -> HeaderMap {
        fields.iter().map(|field| (AUTHORIZATION, HeaderValue::from_static(field))).collect()
    }

    fn door() -> Door {
        Door::new(Some(&Secret::new("sesame".to_owned())))
    }

    fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    #[test]
    fn only_the_token_opens() {
        let door = door();
        assert_eq!(door.pass(&showing(&["Bearer sesame"]), HERE, at(0)), Ok(()));
        assert_eq!(door.pass(&showing(&["bearer sesame"]), HERE, at(0)), Ok(()));
        for none in [&[][..], &["Basic sesame"], &["sesame"], &["Bearer "], &["Bearer sesame", "Bearer sesame"]] {
            assert_eq!(door.pass(&showing(none), HERE, at(0)), Err(Shut::NoToken), "{none:?}");
        }
        for wrong in ["Bearer Sesame", "Bearer sesam", "Bearer sesame1", "Bearer  sesame"] {
            assert_eq!(door.pass(&showing(&[wrong]), HERE, at(0)), Err(Shut::WrongToken), "{wrong}");
        }
    }

    #[test]
    fn without_a_token_nobody_may() {
        assert_eq!(Door::new(None).pass(&showing(&["Bearer sesame"]), HERE, at(0)), Err(Shut::Off));
    }

    #[test]
    fn after_ten_wrong_tokens_not_even_the_right_one_is_looked_at_for_a_minute() {
        let door = door();
        let (wrong, right) = (showing(&["Bearer open"]), showing(&["Bearer sesame"]));
        for _ in 0..10 {
            assert_eq!(door.pass(&wrong, HERE, at(5)), Err(Shut::WrongToken));
        }
        assert_eq!(door.pass(&right, HERE, at(5)), Ok(()), "ten are not too many");
        assert_eq!(door.pass(&wrong, HERE, at(5)), Err(Shut::Paused(Duration::from_mins(1))));
        assert_eq!(door.pass(&right, HERE, at(60_004)), Err(Shut::Paused(Duration::from_millis(1))));
        assert_eq!(door.pass(&right, HERE, at(60_005)), Ok(()));
    }
}
