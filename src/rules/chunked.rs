//! A strict reader of chunked bodies (RFC 9112 section 7.1) that finds where a body ends and changes nothing.
//!
//! Imports `model` only. Deliberately absent: chunk extensions and trailers. Both are rare, both are where two readers differ,
//! and trailers would carry fields past every check that the head went through.

use crate::model::{BadRequest, Denial};

const REFUSED: Denial = Denial::BadRequest(BadRequest::Framing);

/// As many hexadecimal digits as fit a `u64`.
const SIZE_DIGITS: u8 = 16;

/// Reads one chunked body in pieces, however it is cut.
#[derive(Clone, Debug, Default)]
pub struct ChunkScanner {
    expects: Expects,
    body_bytes: u64,
}

/// What a piece was found to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scanned {
    /// How many of the given bytes belong to the body; fewer than were given only when it is done.
    pub consumed: usize,
    /// Whether the body is complete.
    pub done: bool,
}

/// What the next byte must be.
#[derive(Clone, Copy, Debug)]
enum Expects {
    /// A digit of the size, or the CR after at least one digit.
    Size { size: u64, digits: u8 },
    /// The LF after a size.
    SizeEnd { size: u64 },
    /// This many bytes of data, at least one.
    Data { left: u64 },
    /// The CR after the data.
    DataCr,
    /// The LF after the data.
    DataLf,
    /// The CR of the empty line that ends the body.
    LastCr,
    /// The LF of the empty line that ends the body.
    LastLf,
    /// Nothing: the body is complete.
    Nothing,
    /// Nothing good can follow: an earlier piece was refused.
    Refused,
}

impl Default for Expects {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl ChunkScanner {
    /// A reader at the beginning of a body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of data seen so far, without the chunks' own lines.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Reads the next piece. What follows the end of the body is left alone.
    ///
    /// # Errors
    /// `BadRequest(Framing)` for anything but chunks of 1 to 16 hexadecimal digits, CRLF, that many bytes and CRLF, ended by a
    /// chunk of size zero and an empty line; and for every piece after one that was refused.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Scanned, Denial> {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            if let Expects::Data { left } = self.expects {
                rest = self.pass_data(rest, left);
                continue;
            }
            if matches!(self.expects, Expects::Nothing) {
                break;
            }
            self.expects = self.expects.after(*byte);
            if matches!(self.expects, Expects::Refused) {
                return Err(REFUSED);
            }
            rest = after;
        }
        Ok(Scanned { consumed: bytes.len() - rest.len(), done: matches!(self.expects, Expects::Nothing) })
    }

    /// Passes over the data at the beginning of `bytes`, of which `left` bytes are to come.
    fn pass_data<'a>(&mut self, bytes: &'a [u8], left: u64) -> &'a [u8] {
        let available = bytes.len() as u64;
        let passed = left.min(available);
        self.body_bytes = self.body_bytes.saturating_add(passed);
        self.expects = if passed == left { Expects::DataCr } else { Expects::Data { left: left - passed } };
        usize::try_from(passed).ok().and_then(|passed| bytes.get(passed..)).unwrap_or_default()
    }
}

impl Expects {
    /// What is expected after this byte, outside data.
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Size { size, digits }, b'\r') if digits > 0 => Self::SizeEnd { size },
            (Self::Size { size, digits }, byte) => match char::from(byte).to_digit(16) {
                Some(digit) if digits < SIZE_DIGITS => Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 },
                Some(_) | None => Self::Refused,
            },
            (Self::SizeEnd { size: 0 }, b'\n') => Self::LastCr,
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::default(),
            (Self::LastCr, b'\r') => Self::LastLf,
            (Self::LastLf, b'\n') => Self::Nothing,
            (
                Self::SizeEnd { .. }
                | Self::Data { .. }
                | Self::DataCr
                | Self::DataLf
                | Self::LastCr
                | Self::LastLf
                | Self::Nothing
                | Self::Refused,
                _,
            ) => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: impl AsRef<[u8]>) -> Result<(Scanned, u64), Denial> {
        let mut scanner = ChunkScanner::new();
        let found = scanner.scan(bytes.as_ref())?;
        Ok((found, scanner.body_bytes()))
    }

    #[test]
    fn a_body_ends_after_its_empty_line_and_what_follows_is_left_alone() {
        let body = "5\r\nhello\r\n00A\r\n0123\r\n6789\r\n000\r\n\r\n";
        let whole = Scanned { consumed: body.len(), done: true };
        assert_eq!(scan(body), Ok((whole, 15)));
        assert_eq!(scan(format!("{body}GET / HTTP/1.1\r\n")), Ok((whole, 15)));
        assert_eq!(scan("0\r\n\r\n"), Ok((Scanned { consumed: 5, done: true }, 0)));
    }

    #[test]
    fn a_body_that_was_cut_short_is_not_done() {
        assert_eq!(scan(""), Ok((Scanned { consumed: 0, done: false }, 0)));
        assert_eq!(scan("5\r\nhel"), Ok((Scanned { consumed: 6, done: false }, 3)));
        assert_eq!(scan("0\r\n\r"), Ok((Scanned { consumed: 4, done: false }, 0)));
    }

    #[test]
    fn after_its_end_a_body_takes_nothing_more() {
        let mut scanner = ChunkScanner::new();
        assert!(scanner.scan(b"0\r\n\r\n").unwrap().done);
        assert_eq!(scanner.scan(b"5\r\n"), Ok(Scanned { consumed: 0, done: true }));
    }

    #[test]
    fn everything_that_two_readers_may_read_differently_is_refused() {
        for body in [
            "\r\n",
            "\n",
            " 5\r\n",
            "5 \r\n",
            "5\t\r\n",
            "+5\r\n",
            "-5\r\n",
            "0x5\r\n",
            "g\r\n",
            "5_0\r\n",
            "5;a=b\r\n",
            "5;\r\n",
            "0;a\r\n",
            "5\n",
            "5\r5",
            "5\r\r\n",
            "00000000000000005\r\n",
            "fffffffffffffffff\r\n",
            "5\r\nhello5\r\n",
            "5\r\nhello\n",
            "5\r\nhello\rx",
            "5\r\nhello\r\n\r\n",
            "0\r\nX",
            "0\r\nTrailer: a\r\n\r\n",
            "0\r\n\n",
            "0\n\r\n",
            "0\r\n\rx",
            "\0",
            "\u{665}\r\n",
        ] {
            assert_eq!(scan(body), Err(REFUSED), "{body:?}");
        }
    }

    #[test]
    fn the_largest_size_is_taken_and_counted_only_as_it_arrives() {
        assert_eq!(scan("ffffffffffffffff\r\nabc"), Ok((Scanned { consumed: 21, done: false }, 3)));
    }

    #[test]
    fn what_was_refused_once_stays_refused() {
        let mut scanner = ChunkScanner::new();
        assert_eq!(scanner.scan(b"x"), Err(REFUSED));
        assert_eq!(scanner.scan(b"0\r\n\r\n"), Err(REFUSED));
    }

    proptest! {
        #[test]
        fn cutting_the_input_anywhere_changes_nothing(
            pieces in prop::collection::vec(
                prop::sample::select(vec!["5\r\nhello\r\n", "1\r\n\r\r\n", "0\r\n\r\n", "a", "\r", "\n", "0", "3\r\n"]),
                0..8,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = pieces.concat().into_bytes();
            let (first, second) = bytes.split_at(if bytes.is_empty() { 0 } else { cut.index(bytes.len()) });
            let mut scanner = ChunkScanner::new();
            let apart = scanner.scan(first).and_then(|one| {
                let two = scanner.scan(second)?;
                Ok((Scanned { consumed: one.consumed + two.consumed, done: two.done }, scanner.body_bytes()))
            });
            prop_assert_eq!(apart, scan(&bytes));
        }

        #[test]
        fn no_bytes_make_it_panic_or_take_more_than_there_is(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok((scanned, _)) = scan(&bytes) {
                prop_assert!(scanned.consumed <= bytes.len());
                prop_assert!(scanned.done || scanned.consumed == bytes.len());
            }
        }
    }
}
