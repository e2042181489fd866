//! What of an upstream's response head goes on to the client: framing that reads in one way, and no field that belongs to the
//! connection it came by.
//!
//! Imports `model` and its neighbour `identity`. Deliberately absent: our own fields (`envelope`), and pingora's framing towards
//! the client.

use http::header::{CONNECTION, CONTENT_LENGTH, LINK, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, StatusCode, Version};

use crate::model::Denial;
use crate::rules::identity::is_hop_by_hop;

/// Checks that a response ends in one place for every reader (RFC 9112 section 6.3): at most one Content-Length of digits
/// alone, or one Transfer-Encoding of `chunked` alone in HTTP/1.1. What is repeated or listed is refused even if it agrees with
/// itself, since a cache between us and the client may count differently.
///
/// # Errors
/// `UpstreamUnavailable`: the upstream does not speak HTTP properly.
pub fn check_framing(version: Version, headers: &HeaderMap) -> Result<(), Denial> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let plain = lengths.next().is_none_or(|length| !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit));
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let chunked = coding.is_none_or(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    let both = coding.is_some() && (headers.contains_key(CONTENT_LENGTH) || version == Version::HTTP_10);
    if plain && chunked && !both && lengths.next().is_none() && codings.next().is_none() {
        Ok(())
    } else {
        Err(Denial::UpstreamUnavailable)
    }
}

/// The fields of a response that stay behind:
/// - of an interim response everything but `Link`, for which early hints are there (RFC 8297);
/// - hop-by-hop fields and those that the upstream's Connection names (RFC 9110 section 7.6.1), except for the framing, which
///   pingora reads and writes, and Connection and Upgrade where the connection changes its protocol or should;
/// - framing where there is never a body (RFC 9110 section 8.6, RFC 9112 section 6.1).
#[must_use]
pub fn left_behind(status: StatusCode, headers: &HeaderMap) -> Vec<HeaderName> {
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    if status.is_informational() && !switches {
        return headers.keys().filter(|name| *name != LINK).cloned().collect();
    }
    let framing = |name: &HeaderName| *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING;
    let bodiless = switches || status == StatusCode::NO_CONTENT;
    let upgrades = switches || status == StatusCode::UPGRADE_REQUIRED;
    let stays = |name: &HeaderName| match name {
        name if framing(name) => bodiless,
        name if *name == CONNECTION => !switches,
        name if *name == UPGRADE => !upgrades,
        name => is_hop_by_hop(name.as_str()) || is_nominated(name, headers),
    };
    headers.keys().filter(|name| stays(name)).cloned().collect()
}

/// Whether a Connection field names this one.
fn is_nominated(name: &HeaderName, headers: &HeaderMap) -> bool {
    let options = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    options.map(<[u8]>::trim_ascii).any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn kept(status: u16, fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = headers(fields);
        for name in left_behind(StatusCode::from_u16(status).unwrap(), &headers) {
            headers.remove(name);
        }
        let mut kept: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
        kept.sort();
        kept
    }

    #[test]
    fn a_response_that_ends_in_one_place_passes() {
        for fields in [&[][..], &[("content-length", "0")], &[("content-length", "12")], &[("transfer-encoding", "Chunked")]] {
            assert_eq!(check_framing(Version::HTTP_11, &headers(fields)), Ok(()), "{fields:?}");
        }
    }

    #[test]
    fn a_response_that_two_readers_may_end_differently_is_refused() {
        for fields in [
            &[("content-length", "2"), ("content-length", "2")][..],
            &[("content-length", "2, 2")],
            &[("content-length", "+2")],
            &[("content-length", "")],
            &[("transfer-encoding", "gzip")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked"), ("content-length", "2")],
            &[("transfer-encoding", "")],
        ] {
            assert_eq!(check_framing(Version::HTTP_11, &headers(fields)), Err(Denial::UpstreamUnavailable), "{fields:?}");
        }
        let chunked = headers(&[("transfer-encoding", "chunked")]);
        assert_eq!(check_framing(Version::HTTP_10, &chunked), Err(Denial::UpstreamUnavailable));
    }

    #[test]
    fn fields_of_the_upstreams_connection_stay_behind() {
        let fields = [
            ("connection", "close, X-Private"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("proxy-connection", "close"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("upgrade", "h2c"),
            ("x-private", "1"),
            ("content-length", "2"),
            ("set-cookie", "a=b"),
        ];
        assert_eq!(kept(200, &fields), ["content-length", "set-cookie"]);
        assert_eq!(kept(426, &fields), ["content-length", "set-cookie", "upgrade"]);
    }

    #[test]
    fn a_connection_field_cannot_take_the_framing_away() {
        assert_eq!(kept(200, &[("connection", "content-length"), ("content-length", "2")]), ["content-length"]);
        assert_eq!(kept(200, &[("connection", "transfer-encoding"), ("transfer-encoding", "chunked")]), ["transfer-encoding"]);
    }

    #[test]
    fn a_change_of_protocols_keeps_what_announces_it() {
        let fields =
            [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", "x"), ("content-length", "0")];
        assert_eq!(kept(101, &fields), ["connection", "sec-websocket-accept", "upgrade"]);
    }

    #[test]
    fn responses_without_a_body_have_no_framing_and_interim_ones_only_links() {
        let fields = [("content-length", "5"), ("server", "x"), ("link", "</a>"), ("access-control-allow-origin", "*")];
        assert_eq!(kept(204, &fields), ["access-control-allow-origin", "link", "server"]);
        assert_eq!(kept(304, &fields), ["access-control-allow-origin", "content-length", "link", "server"]);
        assert_eq!(kept(103, &fields), ["link"]);
        assert_eq!(kept(100, &fields), ["link"]);
    }
}
