//! The upstream's response as it goes on: what `rules::relay` says, done to pingora's header.
//!
//! Deliberately absent: our own fields, which are put on it afterwards (`answer`).

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::rules::relay::{check_framing, left_behind};

/// Takes a head over from the upstream.
///
/// # Errors
/// 502 for a head that ends in more than one place.
pub(super) fn take_over(response: &mut ResponseHeader) -> Result<()> {
    let interim = response.status.is_informational();
    if !interim && check_framing(response.version, &response.headers).is_err() {
        return Err(Error::new(ErrorType::HTTPStatus(502)));
    }
    for name in &left_behind(response.status, &response.headers) {
        response.remove_header(name);
    }
    Ok(())
}

/// Makes a final head fit the client's version of HTTP: ours is 1.1 whatever the upstream's is (RFC 9112 section 2.3), and to a
/// client of 1.0, which knows no chunks, a body without a length ends with the connection (section 6.1).
pub(super) fn fit(session: &mut Session, response: &mut ResponseHeader) {
    response.set_version(Version::HTTP_11);
    if session.req_header().version == Version::HTTP_10 && response.remove_header(&TRANSFER_ENCODING).is_some() {
        response.remove_header(&CONTENT_LENGTH);
        session.set_keepalive(None);
    }
}

/// Whether the client has been sent the beginning of an answer, after which there cannot be another. Interim responses are
/// none.
pub(super) fn has_begun(session: &Session) -> bool {
    let begins = |status: StatusCode| !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS;
    session.response_written().is_some_and(|response| begins(response.status))
}
