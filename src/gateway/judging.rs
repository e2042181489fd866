//! Reading the body of an answer while it goes down, where that tells how a login ended.
//!
//! A filter of pingora's cannot wait, so what the body tells is settled in memory before the last of it goes down, and a lock
//! that this begins is waited for afterwards. Deliberately absent: what the body means (`rules::login_answer`).

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};

use crate::flow::Forward;
use crate::rules::body::BODY_MAX;

/// What has come of a body.
#[derive(Debug, Default)]
pub(super) struct Gathered(BytesMut);

impl Gathered {
    /// Judges at once an answer whose body cannot be read here.
    pub(super) fn begin(forward: &mut Forward, headers: &HeaderMap) {
        if forward.awaits_body() && !is_readable(headers) {
            forward.judge(None);
        }
    }

    /// Takes a chunk, and judges the body at its end.
    pub(super) fn take(&mut self, forward: &mut Forward, chunk: Option<&Bytes>, end: bool) {
        if !forward.awaits_body() {
            return;
        }
        let chunk = chunk.map(|chunk| &**chunk).unwrap_or_default();
        if self.0.len() + chunk.len() > BODY_MAX {
            self.0.clear();
            forward.judge(None);
            return;
        }
        self.0.extend_from_slice(chunk);
        if end {
            forward.judge(Some(&self.0));
        }
    }

    /// Judges what is not judged yet once the answer has gone: whole, or cut off.
    pub(super) fn end(&self, forward: &mut Forward, is_whole: bool) {
        if forward.awaits_body() {
            forward.judge(is_whole.then_some(&self.0));
        }
    }
}

/// Whether a body can be read here: plain, and not known to be too long.
fn is_readable(headers: &HeaderMap) -> bool {
    let is_plain = |value: &http::HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    let plain = headers.get_all(CONTENT_ENCODING).iter().all(is_plain);
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    plain && length.is_none_or(|length| length <= BODY_MAX as u64)
}
