//! The one reading of a request's path: the same text is routed on, decided on and forwarded.
//!
//! Imports `model` only. Deliberately absent: repair. A path that two readers may read differently is refused, because
//! whichever way we mended it, the upstream might mend it the other way.

use std::borrow::Cow;

use crate::model::{BadRequest, Denial};
use crate::rules::byte_set::ByteSet;

const REFUSED: Denial = Denial::BadRequest(BadRequest::Path);

/// Brings the path of an origin-form target (no query) into its normal form.
///
/// In the normal form every character has exactly one spelling: what RFC 3986 allows in a segment (`pchar`) stands for
/// itself, everything else is an escape with upper-case digits. So `/%40me` and `/@me` are the same path here, as they are to
/// every server that decodes before it looks, and no other spelling of a guarded path can slip past its route.
///
/// Nothing is allocated when the path is in its normal form already, which nearly all are.
///
/// # Errors
/// `BadRequest(Path)` for a path that does not begin with `/`; characters that RFC 3986 does not allow; broken escapes;
/// empty segments other than the last; dot segments in any spelling, with trailing spaces and more than two dots too (file
/// systems differ on them); `;` (path parameters, which some servers cut off); escapes that stand for `/` `\` `?` `#` `;`
/// `%` (a second decoding would make something else of them) or for control characters; escapes that are not UTF-8.
pub fn normalize(raw: &str) -> Result<Cow<'_, str>, Denial> {
    let normal = respell(raw)?;
    let segments = normal.strip_prefix('/').ok_or(REFUSED)?;
    if has_unclear_segment(segments) { Err(REFUSED) } else { Ok(normal) }
}

/// Splits an origin-form target into its path, which is still raw, and its query.
///
/// A query may hold what RFC 3986 allows and also `[ ] { } | ^ \` and the backtick, which browsers leave unescaped there (URL
/// standard, query percent-encode set); it is forwarded as it came.
///
/// # Errors
/// `BadRequest(Path)` if it does not begin with `/`, has a fragment or another character that RFC 3986 does not allow in a path,
/// or a query with spaces, controls, `"`, `<`, `>` or anything outside ASCII.
pub fn split_target(target: &str) -> Result<(&str, Option<&str>), Denial> {
    if !target.starts_with('/') {
        return Err(REFUSED);
    }
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let queries = |b: u8| b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'<' | b'>');
    if !path.bytes().all(|b| PATH.has(b)) || !query.is_none_or(|query| query.bytes().all(queries)) {
        return Err(REFUSED);
    }
    Ok((path, query))
}

/// Checks every character and gives each its one spelling.
fn respell(raw: &str) -> Result<Cow<'_, str>, Denial> {
    let mut changed = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(byte) = raw.as_bytes().get(at) {
        match byte {
            b'%' => {
                let escape = Escape::read(raw, at)?;
                if let Some(spelling) = escape.better_spelling() {
                    changed.push_str(raw.get(copied..at).ok_or(REFUSED)?);
                    changed.push_str(&spelling);
                    copied = at + escape.text.len();
                }
                at += escape.text.len();
            }
            b'/' => at += 1,
            other if PLAIN.has(*other) => at += 1,
            _ => return Err(REFUSED),
        }
    }
    if copied == 0 {
        return Ok(Cow::Borrowed(raw));
    }
    changed.push_str(raw.get(copied..).ok_or(REFUSED)?);
    Ok(Cow::Owned(changed))
}

/// The bytes that are spelt as themselves in a segment: `pchar` of RFC 3986 without `;` and without escapes.
static PLAIN: ByteSet = ByteSet::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~!$&'()*+,=:@");

/// The bytes that a path may be made of before it is looked at closely.
static PATH: ByteSet = ByteSet::of(b"/%;0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~!$&'()*+,=:@");

/// The escapes of one character, `%20` or `%C3%A9`.
struct Escape<'a> {
    text: &'a str,
    character: char,
}

impl<'a> Escape<'a> {
    /// Reads the escaped character that begins at `at`, where a `%` stands.
    fn read(raw: &'a str, at: usize) -> Result<Self, Denial> {
        let mut utf8 = [0; 4];
        let first = escaped_byte(raw, at)?;
        let length = match first {
            0x00..=0x7F => 1,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => return Err(REFUSED),
        };
        for (index, slot) in utf8.iter_mut().take(length).enumerate() {
            *slot = escaped_byte(raw, at + 3 * index)?;
        }
        let decoded = utf8.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or(REFUSED)?;
        let character = decoded.chars().next().ok_or(REFUSED)?;
        if character.is_control() || matches!(character, '/' | '\\' | '?' | '#' | ';' | '%') {
            return Err(REFUSED);
        }
        Ok(Self { text: raw.get(at..at + 3 * length).ok_or(REFUSED)?, character })
    }

    /// How it is spelt in the normal form, if that differs from how it was sent.
    fn better_spelling(&self) -> Option<Cow<'static, str>> {
        match u8::try_from(self.character) {
            Ok(byte) if PLAIN.has(byte) => Some(Cow::Owned(self.character.to_string())),
            Ok(_) | Err(_) => {
                self.text.bytes().any(|b| b.is_ascii_lowercase()).then(|| Cow::Owned(self.text.to_ascii_uppercase()))
            }
        }
    }
}

/// The byte that the escape at `at` stands for.
fn escaped_byte(raw: &str, at: usize) -> Result<u8, Denial> {
    let digit = |index: usize| raw.as_bytes().get(index).and_then(|b| char::from(*b).to_digit(16));
    match (raw.as_bytes().get(at), digit(at + 1), digit(at + 2)) {
        (Some(b'%'), Some(high), Some(low)) => u8::try_from(high * 16 + low).map_err(|_| REFUSED),
        _ => Err(REFUSED),
    }
}

/// Whether a segment is empty without being the last, or consists of dots and spaces only.
fn has_unclear_segment(segments: &str) -> bool {
    let mut rest = segments;
    loop {
        let (segment, after) = rest.split_once('/').map_or((rest, None), |(segment, after)| (segment, Some(after)));
        if is_dots(segment) || (segment.is_empty() && after.is_some()) {
            return true;
        }
        match after {
            Some(after) => rest = after,
            None => return false,
        }
    }
}

/// Whether a segment is made of one or more dots and escaped spaces.
fn is_dots(segment: &str) -> bool {
    let mut rest = segment;
    while let Some(after) = rest.strip_prefix('.').or_else(|| rest.strip_prefix("%20")) {
        rest = after;
    }
    rest.is_empty() && !segment.is_empty()
}

#[cfg(test)]
mod tests;
