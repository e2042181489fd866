//! Request ids and trace contexts (W3C Trace Context): passed on where the client brought a good one, made where not.
//!
//! An id is unique, not secret: a process-wide random start and a counter, both mixed, so that making one costs no system call.

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::model::Entropy;

/// The field of the W3C recommendation.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Makes ids.
#[derive(Debug)]
pub(super) struct RequestIds {
    start: u64,
    count: AtomicU64,
}

/// The names of one request.
#[derive(Clone, Debug)]
pub(super) struct RequestNames {
    /// `X-Request-Id`.
    pub(super) id: HeaderValue,
    /// `traceparent`.
    pub(super) trace: HeaderValue,
}

impl Default for RequestNames {
    /// Those of a request that has not been named yet.
    fn default() -> Self {
        let unnamed = HeaderValue::from_static("0");
        Self { id: unnamed.clone(), trace: unnamed }
    }
}

impl RequestIds {
    /// With a random start.
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        let mut start = [0; 8];
        entropy.fill(&mut start);
        Self { start: u64::from_le_bytes(start), count: AtomicU64::new(0) }
    }

    /// The names for a request that came with these fields.
    pub(super) fn name(&self, headers: &HeaderMap) -> RequestNames {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        // Never all zeros, which no trace id may be; the upper half alone tells any two apart.
        let (high, low) = (mix(self.start ^ count), mix(self.start.wrapping_add(count).rotate_left(32)) | 1);
        let id = single(headers, &super::answer::REQUEST_ID.0).filter(|value| is_id(value)).cloned();
        let trace = single(headers, &TRACEPARENT).filter(|value| is_traceparent(value.as_bytes())).cloned();
        RequestNames {
            id: id.unwrap_or_else(|| made(&hex([high, low]))),
            trace: trace.unwrap_or_else(|| {
                let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
                write_hex(text.get_mut(3..19).unwrap_or_default(), high);
                write_hex(text.get_mut(19..35).unwrap_or_default(), low);
                write_hex(text.get_mut(36..52).unwrap_or_default(), mix(high ^ low) | 1);
                made(&text)
            }),
        }
    }
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Up to 128 characters that can stand in a log line or a URL without being quoted.
fn is_id(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=128).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:=+/".contains(b))
}

/// Version 00 of W3C Trace Context: `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero.
fn is_traceparent(bytes: &[u8]) -> bool {
    let lower_hex = |part: &[u8]| part.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    let parts: Vec<&[u8]> = bytes.splitn(5, |b| *b == b'-').collect();
    match parts.as_slice() {
        [version, trace, parent, flags] => {
            *version == b"00"
                && (trace.len(), parent.len(), flags.len()) == (32, 16, 2)
                && [*trace, *parent, *flags].into_iter().all(lower_hex)
                && [*trace, *parent].into_iter().all(|id| id.iter().any(|b| *b != b'0'))
        }
        _ => false,
    }
}

/// Spreads a counter over 64 bits without ever giving two counts the same value (splitmix64's finisher).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn hex(words: [u64; 2]) -> [u8; 32] {
    let mut text = [b'0'; 32];
    for (word, digits) in words.into_iter().zip(text.chunks_exact_mut(16)) {
        write_hex(digits, word);
    }
    text
}

fn write_hex(digits: &mut [u8], mut word: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef".get((word & 15) as usize).copied().unwrap_or(b'0');
        word >>= 4;
    }
}

fn made(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Zeros;

    impl Entropy for Zeros {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    #[test]
    fn made_names_are_well_formed_and_all_different() {
        let ids = RequestIds::new(&Zeros);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let names = ids.name(&HeaderMap::new());
            assert!(is_id(&names.id) && names.id.len() == 32);
            assert!(is_traceparent(names.trace.as_bytes()), "{:?}", names.trace);
            assert!(seen.insert(names.id));
        }
    }

    #[test]
    fn a_good_name_is_passed_on_and_a_bad_or_repeated_one_is_replaced() {
        let ids = RequestIds::new(&Zeros);
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("order-17"));
        let trace = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        headers.insert(TRACEPARENT, trace.clone());
        let names = ids.name(&headers);
        assert_eq!((names.id.as_bytes(), names.trace), (&b"order-17"[..], trace));

        headers.append("x-request-id", HeaderValue::from_static("second"));
        headers.insert(TRACEPARENT, HeaderValue::from_static("00-00000000000000000000000000000000-00f067aa0ba902b7-01"));
        let names = ids.name(&headers);
        assert_eq!(names.id.len(), 32);
        assert!(names.trace.as_bytes().iter().skip(3).take(32).any(|b| *b != b'0'));
        headers.remove("x-request-id");
        headers.insert("x-request-id", HeaderValue::from_static("a b"));
        assert_eq!(ids.name(&headers).id.len(), 32);
    }
}
