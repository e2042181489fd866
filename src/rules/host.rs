//! The one reading of a Host field: a name or an address, and perhaps a port.
//!
//! Imports `model` only. Deliberately absent: looking names up, international names (they arrive as `xn--`).

use std::borrow::Cow;
use std::net::Ipv6Addr;

use crate::model::{BadRequest, Denial};

const REFUSED: Denial = Denial::BadRequest(BadRequest::Host);

/// The longest name in bytes (RFC 1035 section 2.3.4, as text).
const LONGEST: usize = 253;

/// The host in the form that is routed on: lower case, without port and trailing dot, IPv6 in its shortest form and in
/// brackets. Nothing is allocated for a name that is in this form already, with or without a port.
///
/// # Errors
/// `BadRequest(Host)` for anything but `name[:port]`, `IPv4[:port]` or `[IPv6][:port]` with letters, digits, `-`, `.` and `_`
/// in names: so no user name, list, path, escape, space or zone; and for empty labels, an empty port and one above 65535.
pub fn normalize(host: &str) -> Result<Cow<'_, str>, Denial> {
    if let Some(bracketed) = host.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']').ok_or(REFUSED)?;
        if !port.is_empty() {
            check_port(port.strip_prefix(':').ok_or(REFUSED)?)?;
        }
        let address: Ipv6Addr = address.parse().map_err(|_| REFUSED)?;
        return Ok(Cow::Owned(format!("[{address}]")));
    }
    let name = match host.split_once(':') {
        Some((name, port)) => {
            check_port(port)?;
            name
        }
        None => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut capitals = false;
    let mut previous = b'.';
    for byte in name.bytes() {
        let empty_label = byte == b'.' && previous == b'.';
        if empty_label || !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')) {
            return Err(REFUSED);
        }
        capitals |= byte.is_ascii_uppercase();
        previous = byte;
    }
    if previous == b'.' || name.len() > LONGEST {
        return Err(REFUSED);
    }
    Ok(if capitals { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

fn check_port(port: &str) -> Result<(), Denial> {
    // `parse` alone would take a plus sign.
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    if digits && port.parse::<u16>().is_ok() { Ok(()) } else { Err(REFUSED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_its_name_in_lower_case_without_port_and_trailing_dot() {
        for (raw, normal) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com:8080", "example.com"),
            ("example.com.", "example.com"),
            ("a_b-c.example.com.:1", "a_b-c.example.com"),
            ("localhost", "localhost"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[2001:DB8:0:0::1]:443", "[2001:db8::1]"),
        ] {
            assert_eq!(normalize(raw).as_deref(), Ok(normal));
        }
        assert!(matches!(normalize("example.com:8080"), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn what_is_not_one_host_is_refused() {
        for raw in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            ":80",
            "a:",
            "a:+1",
            "a:65536",
            "a:1:2",
            "a:b",
            "a b",
            "a,b",
            "a/b",
            "a?b",
            "a#b",
            "u@a",
            "a\\b",
            "a%62",
            "a;b",
            "é",
            "[::1",
            "::1",
            "[]",
            "[::1]x",
            "[::1]:",
            "[fe80::1%25eth0]",
            "[1.2.3.4]",
            "a\tb",
            "a\"",
        ] {
            assert_eq!(normalize(raw), Err(REFUSED), "{raw:?}");
        }
        assert_eq!(normalize(&"a".repeat(254)), Err(REFUSED));
    }
}
