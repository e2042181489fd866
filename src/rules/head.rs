//! The check of a raw HTTP/1 request head, before any library reads it: a head that passes can be read in one way only.
//!
//! Imports `model` and its neighbours `path`, `host` and `identity`. Deliberately absent: leniency (RFC 9112 sections 2.2, 3.2.2 and 5.2
//! let a server repair some of this; a gateway that repairs hides the attack from nobody but itself), bodies and buffers.

use std::str;

use crate::model::{BadRequest, Denial};
use crate::rules::byte_set::ByteSet;
use crate::rules::identity::fold;
use crate::rules::{host, path};

const MALFORMED: Denial = Denial::BadRequest(BadRequest::Head);
const BAD_HOST: Denial = Denial::BadRequest(BadRequest::Host);
const BAD_FRAMING: Denial = Denial::BadRequest(BadRequest::Framing);

/// How much of a head is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadLimits {
    /// Bytes of the head with its final empty line.
    pub head_bytes: usize,
    /// Bytes of the request target.
    pub target_bytes: usize,
    /// Header fields.
    pub fields: usize,
}

/// What was found at the beginning of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Examined {
    /// Nothing wrong so far; more bytes are needed.
    Incomplete,
    /// A whole head.
    Complete(Head),
}

/// What a good head says about its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one message, each named where it is read")]
pub struct Head {
    /// Bytes of the head with its final empty line; the body begins after them.
    pub length: usize,
    /// Where the body ends.
    pub framing: Framing,
    /// The message is of HTTP/1.0: no keep-alive unless asked for, no 100 (Continue).
    pub http10: bool,
    /// It asks for the WebSocket protocol (RFC 6455 section 4.1). Such a request has no body.
    pub upgrade: bool,
    /// The client waits for a 100 (Continue) before it sends the body (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
    /// The client will not use the connection again (`Connection: close`).
    pub closes: bool,
    /// It is `OPTIONS *`, which asks about the server as a whole.
    pub asterisk_options: bool,
}

/// Where the body of a request ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is none.
    None,
    /// After this many bytes.
    Length(u64),
    /// After its last chunk.
    Chunked,
}

/// Examines the head at the beginning of `bytes`. `from` is how many of them an earlier call has already seen (0 at first), so
/// that a head that arrives in drops is not scanned again for each drop.
///
/// One empty line before the request line is skipped (RFC 9112 section 2.2). The target must be in origin form, or `*` for
/// OPTIONS; absolute form, which only clients of a forward proxy send, is refused although RFC 9112 section 3.2.2 has servers
/// take it: it would bring a second Host. Any token is a method here; the routes know better.
///
/// # Errors
/// - `TargetTooLong`, `HeadTooLarge` as soon as a limit is passed, whether the head is complete or not;
/// - `MethodNotAllowed` without methods for CONNECT;
/// - `BadRequest(Path)` for a target with a fragment or an illegal query;
/// - `BadRequest(Host)` unless there is exactly one valid Host (none is needed in HTTP/1.0);
/// - `BadRequest(Framing)` for Transfer-Encoding that is not exactly `chunked` once, in HTTP/1.0, or beside Content-Length; for
///   Content-Length that is not one plain number; for look-alikes of the two names; for a body where WebSocket is asked for.
///   Every other Upgrade is ignored (RFC 9110 section 7.8): several clients offer `h2c` with whatever they send;
/// - `BadRequest(Head)` for everything else that RFC 9112 does not allow, for an Expect other than `100-continue`, and for a
///   Connection that names end-to-end fields.
pub fn examine(bytes: &[u8], from: usize, limits: &HeadLimits) -> Result<Examined, Denial> {
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let text = bytes.get(skipped..).unwrap_or_default();
    let from = from.saturating_sub(skipped);
    let end = find_end(text, from)?;
    let first_line = text.iter().position(|b| *b == b'\n');
    let line = match first_line {
        Some(at) if end.is_some() || at >= from => {
            Some(RequestLine::parse(text.get(..at.saturating_sub(1)).unwrap_or_default(), limits)?)
        }
        Some(_) => None,
        None => refuse_long_target(text, limits).map(|()| None)?,
    };
    // A head that is not complete needs at least one more byte.
    if end.unwrap_or(text.len() + 1) + skipped > limits.head_bytes {
        return Err(Denial::HeadTooLarge);
    }
    let (Some(line), Some(end)) = (line, end) else {
        return Ok(Examined::Incomplete);
    };
    let mut facts = FieldFacts::default();
    let lines = text.get(..end).unwrap_or_default().split(|b| *b == b'\n').skip(1);
    let fields = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).take_while(|line| !line.is_empty());
    for (index, field) in fields.enumerate() {
        if index == limits.fields {
            return Err(Denial::HeadTooLarge);
        }
        facts.take(field)?;
    }
    facts.conclude(&line, skipped + end).map(Examined::Complete)
}

/// The length of the head with its empty line, if that is there. Bare CR, bare LF and control characters are refused wherever
/// they stand, at once, so that what is no HTTP at all (a TLS hello, say) is not waited for.
fn find_end(text: &[u8], from: usize) -> Result<Option<usize>, Denial> {
    // Three bytes of the empty line may have been seen before; and if the last of a line end was, its first was looked at.
    let mut at = from.saturating_sub(3);
    if at > 0 && text.get(at) == Some(&b'\n') {
        at += 1;
    }
    while let Some(plain) = text.get(at..).and_then(|rest| rest.iter().position(|b| CONTROLS.has(*b))) {
        at += plain;
        match text.get(at..).unwrap_or_default() {
            [b'\r', b'\n', b'\r', b'\n', ..] => return Ok(Some(at + 4)),
            [b'\r', b'\n', ..] => at += 2,
            [b'\r'] => break,
            _ => return Err(MALFORMED),
        }
    }
    Ok(None)
}

/// Controls other than tab.
static CONTROLS: ByteSet = ByteSet::of(
    b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0a\x0b\x0c\x0d\x0e\x0f\
      \x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f",
);

/// `tchar` of RFC 9110 section 5.6.2.
static TOKEN: ByteSet = ByteSet::of(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| TOKEN.has(*b))
}

/// Refuses a target that is too long before its end is there.
fn refuse_long_target(text: &[u8], limits: &HeadLimits) -> Result<(), Denial> {
    let Some(method) = text.iter().position(|b| *b == b' ').filter(|_| text.len() > limits.target_bytes) else { return Ok(()) };
    let target = text.iter().skip(method + 1).take_while(|b| **b != b' ');
    if target.count() > limits.target_bytes { Err(Denial::TargetTooLong) } else { Ok(()) }
}

/// What the request line says.
struct RequestLine {
    http10: bool,
    asterisk_options: bool,
}

impl RequestLine {
    /// `method SP target SP version` (RFC 9112 section 3), without its line end.
    fn parse(line: &[u8], limits: &HeadLimits) -> Result<Self, Denial> {
        let mut parts = line.split(|b| *b == b' ');
        let (method, target, version) = (parts.next(), parts.next(), parts.next());
        let method = method.filter(|method| is_token(method)).ok_or(MALFORMED)?;
        let target = target.ok_or(MALFORMED)?;
        if target.len() > limits.target_bytes {
            return Err(Denial::TargetTooLong);
        }
        let http10 = match (version, parts.next()) {
            (Some(b"HTTP/1.1"), None) => false,
            (Some(b"HTTP/1.0"), None) => true,
            _ => return Err(MALFORMED),
        };
        if method == b"CONNECT" {
            return Err(Denial::MethodNotAllowed(Box::default()));
        }
        let asterisk_options = method == b"OPTIONS" && target == b"*";
        if !asterisk_options {
            let visible = target.starts_with(b"/") && target.iter().all(u8::is_ascii_graphic);
            let target = str::from_utf8(target).ok().filter(|_| visible).ok_or(MALFORMED)?;
            path::split_target(target)?;
        }
        Ok(Self { http10, asterisk_options })
    }
}

/// What the fields say, as far as it concerns the message itself.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "as in `Head`, which this becomes")]
struct FieldFacts {
    host: Option<usize>,
    content_length: Option<u64>,
    chunked: bool,
    /// What the Upgrade field asks for, if there is just one.
    upgrade: Option<Protocol>,
    /// Connection names Upgrade.
    upgrades: bool,
    expects: bool,
    closes: bool,
}

/// What a connection may be asked to become.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    WebSocket,
    /// Something that is not spoken here, or more than one thing.
    Other,
}

impl FieldFacts {
    /// Takes one field line without its line end (RFC 9112 section 5).
    fn take(&mut self, line: &[u8]) -> Result<(), Denial> {
        let end = line.iter().position(|b| !TOKEN.has(*b)).filter(|end| *end > 0).ok_or(MALFORMED)?;
        let (name, rest) = line.split_at_checked(end).ok_or(MALFORMED)?;
        let value = rest.strip_prefix(b":").ok_or(MALFORMED)?.trim_ascii();
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.take_host(value),
            6 if name.eq_ignore_ascii_case(b"expect") => self.take_expect(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                let alone = self.upgrade.is_none() && value.eq_ignore_ascii_case(b"websocket");
                self.upgrade = Some(if alone { Protocol::WebSocket } else { Protocol::Other });
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => self.take_connection(value),
            14 if folds_to(name, b"content-length") => self.take_content_length(name, value),
            17 if folds_to(name, b"transfer-encoding") => self.take_transfer_encoding(name, value),
            _ => Ok(()),
        }
    }

    fn take_host(&mut self, value: &[u8]) -> Result<(), Denial> {
        if self.host.is_some() {
            return Err(BAD_HOST);
        }
        self.host = Some(value.len());
        if value.is_empty() {
            // Whether that is good enough depends on the version.
            return Ok(());
        }
        host::normalize(str::from_utf8(value).map_err(|_| BAD_HOST)?).map(drop)
    }

    fn take_expect(&mut self, value: &[u8]) -> Result<(), Denial> {
        if self.expects || !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(MALFORMED);
        }
        self.expects = true;
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) -> Result<(), Denial> {
        for option in value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty()) {
            if !is_token(option) || is_end_to_end(option) {
                return Err(MALFORMED);
            }
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.upgrades |= option.eq_ignore_ascii_case(b"upgrade");
        }
        Ok(())
    }

    /// One plain number. No sign, no list, no second field even if it says the same, and no leading zero, which some read as
    /// octal; at most 19 digits, so that it fits everywhere.
    fn take_content_length(&mut self, name: &[u8], value: &[u8]) -> Result<(), Denial> {
        let plain = value.len() <= 19 && value.iter().all(u8::is_ascii_digit) && (value == b"0" || !value.starts_with(b"0"));
        if !plain || self.content_length.is_some() || !name.eq_ignore_ascii_case(b"content-length") {
            return Err(BAD_FRAMING);
        }
        let number = str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
        self.content_length = Some(number.ok_or(BAD_FRAMING)?);
        Ok(())
    }

    fn take_transfer_encoding(&mut self, name: &[u8], value: &[u8]) -> Result<(), Denial> {
        let exact = name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case(b"chunked");
        if !exact || self.chunked {
            return Err(BAD_FRAMING);
        }
        self.chunked = true;
        Ok(())
    }

    /// Puts the fields together once all are known.
    fn conclude(&self, line: &RequestLine, length: usize) -> Result<Head, Denial> {
        if !line.http10 && self.host.is_none_or(|length| length == 0) {
            return Err(BAD_HOST);
        }
        let framing = match (self.chunked, self.content_length) {
            (false, None) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
            (true, None) if !line.http10 => Framing::Chunked,
            (true, _) => return Err(BAD_FRAMING),
        };
        let upgrade = self.upgrade == Some(Protocol::WebSocket) && self.upgrades && !line.http10;
        if upgrade && framing != Framing::None {
            return Err(BAD_FRAMING);
        }
        let has_body = !matches!(framing, Framing::None | Framing::Length(0));
        Ok(Head {
            length,
            framing,
            http10: line.http10,
            upgrade,
            expects_continue: self.expects && has_body && !line.http10,
            closes: self.closes,
            asterisk_options: line.asterisk_options,
        })
    }
}

/// Whether a name is `canonical` in the eyes of the most careless reader.
fn folds_to(name: &[u8], canonical: &[u8]) -> bool {
    name.len() == canonical.len() && fold(name).eq(canonical.iter().copied())
}

/// Fields that are for all recipients, so that no connection option may bear their name (RFC 9110 section 7.6.1): a recipient
/// that obeyed would drop them behind our back.
fn is_end_to_end(option: &[u8]) -> bool {
    const NAMES: [&[u8]; 18] = [
        b"authorization",
        b"cache-control",
        b"cookie",
        b"date",
        b"expect",
        b"forwarded",
        b"from",
        b"host",
        b"max-forwards",
        b"origin",
        b"pragma",
        b"range",
        b"referer",
        b"transfer-encoding",
        b"user-agent",
        b"vary",
        b"via",
        b"x-request-id",
    ];
    const FAMILIES: [&[u8]; 10] = [
        b"accept",
        b"access-control-",
        b"client-cert",
        b"content-",
        b"if-",
        b"sec-",
        b"x-auth-",
        b"x-forwarded-",
        b"x-original-",
        b"x-real-",
    ];
    NAMES.iter().any(|name| folds_to(option, name))
        || FAMILIES.iter().any(|family| option.get(..family.len()).is_some_and(|start| folds_to(start, family)))
}

#[cfg(test)]
mod tests;
