//! Our own fields of a response, put into its head as it goes out.
//!
//! pingora keeps every field of a response in two maps, from which it writes the head. Our fields are a dozen on every
//! response and mostly the same, so they do not pass through the maps: they hang here, as lines, until pingora writes the head
//! that they belong to. Fail-closed: what is written while they hang is a head that takes them, or an error.
//! Deliberately absent: which fields these are (`rules::envelope`), and HTTP/2, whose heads are not text.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName};
use pingora::http::ResponseHeader;

use crate::rules::envelope::{Field, Fields};

/// Lines that belong into the next final head of a connection.
#[derive(Debug, Default)]
pub(super) struct Adornment(Mutex<Vec<u8>>);

impl Adornment {
    /// Hangs the lines up, in the place of what hangs there.
    pub(super) fn hang(&self, lines: Vec<u8>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = lines;
    }

    /// Whether anything hangs here.
    pub(super) fn hangs(&mut self) -> bool {
        !self.0.get_mut().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Copies what pingora writes, with the lines in it if they hang and this is the head for which they do. Interim heads
    /// (RFC 9110 section 15.2) pass as they are; a change of protocols is final.
    ///
    /// # Errors
    /// If it is neither: then nothing is copied.
    pub(super) fn copy(&mut self, written: &[u8], out: &mut BytesMut) -> io::Result<()> {
        let lines = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() || is_interim(written) {
            out.extend_from_slice(written);
            return Ok(());
        }
        let fields = written.windows(4).position(|bytes| bytes == b"\r\n\r\n").and_then(|at| written.split_at_checked(at + 2));
        let (fields, rest) = fields.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a head was expected"))?;
        out.reserve(written.len() + lines.len());
        out.extend_from_slice(fields);
        out.extend_from_slice(lines);
        out.extend_from_slice(rest);
        *lines = Vec::new();
        Ok(())
    }
}

/// Whether this begins an interim response, after which another head follows.
fn is_interim(written: &[u8]) -> bool {
    let status = written.strip_prefix(b"HTTP/1.1 ").or_else(|| written.strip_prefix(b"HTTP/1.0 "));
    status.is_some_and(|status| status.starts_with(b"1") && !status.starts_with(b"101"))
}

/// A response with our fields beside it, as lines.
#[derive(Debug)]
pub(super) struct Beside<'h> {
    response: &'h mut ResponseHeader,
    lines: Vec<u8>,
}

impl<'h> Beside<'h> {
    /// Nothing yet, beside this response.
    pub(super) fn new(response: &'h mut ResponseHeader) -> Self {
        /// Room for the lines of either profile with a few to spare.
        const ROOM: usize = 1024;
        Self { response, lines: Vec::with_capacity(ROOM) }
    }

    /// The lines, to be hung up.
    pub(super) fn into_lines(self) -> Vec<u8> {
        self.lines
    }
}

impl Fields for Beside<'_> {
    fn headers(&self) -> &HeaderMap {
        &self.response.headers
    }

    fn set(&mut self, field: &Field) {
        self.response.remove_header(&field.name);
        self.append(field);
    }

    fn append(&mut self, field: &Field) {
        for part in [field.wire.as_bytes(), b": ", field.value.as_bytes(), b"\r\n"] {
            self.lines.extend_from_slice(part);
        }
    }

    fn remove(&mut self, name: &HeaderName) {
        self.response.remove_header(name);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";

    fn hung() -> Adornment {
        let adornment = Adornment::default();
        adornment.hang(b"A: 1\r\nB: 2\r\n".to_vec());
        adornment
    }

    fn written(adornment: &mut Adornment, parts: &[&[u8]]) -> String {
        let mut out = BytesMut::new();
        for part in parts {
            adornment.copy(part, &mut out).unwrap();
        }
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn the_lines_go_into_the_next_final_head_and_only_there() {
        let dressed = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: 1\r\nB: 2\r\n\r\n";
        assert_eq!(written(&mut hung(), &[HEAD, b"\r\n\r\n"]), format!("{dressed}\r\n\r\n"));
        assert_eq!(written(&mut Adornment::default(), &[HEAD]).as_bytes(), HEAD);
    }

    #[test]
    fn interim_heads_pass_and_a_change_of_protocols_is_final() {
        let (interim, change) = ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n");
        assert_eq!(
            written(&mut hung(), &[interim.as_bytes(), change.as_bytes()]),
            format!("{interim}HTTP/1.1 101 Switching Protocols\r\nA: 1\r\nB: 2\r\n\r\n"),
        );
    }

    #[test]
    fn a_body_that_comes_with_its_head_stays_behind_it() {
        let together = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\r\n\r\n";
        assert!(written(&mut hung(), &[together]).ends_with("Content-Length: 4\r\nA: 1\r\nB: 2\r\n\r\n\r\n\r\n"));
    }

    #[test]
    fn nothing_is_written_that_is_no_head_while_lines_hang() {
        let mut out = BytesMut::new();
        for part in [&b"HTTP/1.1 200 OK\r\nContent-"[..], b"body", b""] {
            assert!(hung().copy(part, &mut out).is_err());
        }
        assert!(out.is_empty());
    }

    #[test]
    fn lines_that_are_hung_up_replace_those_that_hang() {
        let mut adornment = hung();
        adornment.hang(b"C: 3\r\n".to_vec());
        assert_eq!(written(&mut adornment, &[HEAD]), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nC: 3\r\n\r\n");
    }

    #[test]
    fn what_is_set_beside_a_response_is_no_longer_in_it() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for value in ["nosniff", "sniff"] {
            response.append_header("X-Content-Type-Options", value).unwrap();
        }
        let mut beside = Beside::new(&mut response);
        let (name, wire) = (header::X_CONTENT_TYPE_OPTIONS, "X-Content-Type-Options");
        beside.set(&Field { name, wire, value: HeaderValue::from_static("nosniff") });
        assert_eq!(beside.into_lines(), b"X-Content-Type-Options: nosniff\r\n");
        assert!(response.headers.is_empty());
    }
}
