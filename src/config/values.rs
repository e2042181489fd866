//! The notations with a meaning of their own: addresses, URLs, header names, scopes. Each refuses nonsense where it stands.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::uri::PathAndQuery;
use http::{HeaderName, Method, Uri};
use ipnet::IpNet;
use lettre::message::Mailbox;
use serde_json::{Value as Json, json};

use crate::config::node::{Kind, Node};
use crate::config::notation::{Keys, Notation, Parsed, expected};
use crate::config::sections::SecretReference;
use crate::config::{Finding, Report};
use crate::model::{ClaimValue, Scope};

/// The longest name or text of one line, in bytes.
const MAX_TEXT: usize = 1024;
/// The longest name of an issuer, upstream, CORS policy or route; it becomes a label of metrics.
const MAX_NAME: usize = 64;

/// Any text that is not empty and fits a line.
pub(crate) const TEXT: Parsed<String> = Parsed { what: "a string", parse: parse_text, show: Clone::clone };

/// A name that somebody chooses, fit for a metric's label.
pub(crate) const NAME: Parsed<String> = Parsed { what: "a name", parse: parse_name, show: Clone::clone };

/// The path of a file.
pub(crate) const FILE: Parsed<PathBuf> =
    Parsed { what: "a file", parse: |text| parse_text(text).map(PathBuf::from), show: |path| path.display().to_string() };

/// An address and a port to listen on.
pub(crate) const ADDRESS: Parsed<SocketAddr> =
    Parsed { what: "an address such as \"127.0.0.1:8080\"", parse: parse_address, show: ToString::to_string };

/// A network of addresses.
pub(crate) const NETWORK: Parsed<IpNet> =
    Parsed { what: "a network such as \"10.0.0.0/8\"", parse: parse_network, show: ToString::to_string };

/// An HTTP method.
pub(crate) const METHOD: Parsed<Method> = Parsed { what: "an HTTP method", parse: parse_method, show: ToString::to_string };

/// The name of a header field.
pub(crate) const HEADER: Parsed<HeaderName> =
    Parsed { what: "a header name", parse: parse_header, show: |name| name.as_str().to_owned() };

/// A scope (RFC 6749 section 3.3).
pub(crate) const SCOPE: Parsed<Scope> = Parsed {
    what: "a scope",
    parse: |text| Scope::parse(text).map_err(|error| error.to_string()),
    show: |scope| scope.as_str().to_owned(),
};

/// The name or address of a server, without a port.
pub(crate) const HOST: Parsed<String> =
    Parsed { what: "a server such as \"mail.example\"", parse: parse_host, show: Clone::clone };

/// A server's name or address, and its port.
pub(crate) type ServerName = (String, u16);

/// The name or address of a server, with its port.
pub(crate) const SERVER: Parsed<ServerName> = Parsed {
    what: "a server such as \"10.0.0.5:6379\"",
    parse: parse_server,
    show: |(host, port)| if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") },
};

/// A mailbox: an e-mail address, with a name before it or without.
pub(crate) const MAILBOX: Parsed<Mailbox> =
    Parsed { what: "a mailbox such as \"Example <no-reply@example.com>\"", parse: parse_mailbox, show: ToString::to_string };

/// An absolute http or https URL without a user or a fragment.
pub(crate) const URL: Url = Url(Parsed { what: "a URL", parse: parse_url, show: ToString::to_string });

/// A URL that names a server and nothing on it.
pub(crate) const ORIGIN: Url = Url(Parsed { what: "a URL", parse: parse_origin, show: ToString::to_string });

/// A path that is written out, without a pattern.
pub(crate) const PATH: Parsed<String> = Parsed { what: "a path", parse: parse_path, show: Clone::clone };

/// A path below which there are others: written out, and without a slash at its end.
pub(crate) const PREFIX: Parsed<String> = Parsed { what: "a path", parse: parse_prefix, show: Clone::clone };

/// The public base address of something; a slash at its end does not count.
pub(crate) const BASE_URL: Parsed<String> = Parsed { what: "a URL", parse: parse_base_url, show: Clone::clone };

/// The `typ` of a JWT, without `application/`, in lower case; empty for none.
pub(crate) const TYPE: Parsed<String> = Parsed { what: "a type such as \"at+jwt\"", parse: parse_type, show: Clone::clone };

/// An origin as browsers send it in `Origin`: `https://app.example`.
pub(crate) const CORS_ORIGIN: Parsed<String> =
    Parsed { what: "an origin such as \"https://app.example\"", parse: parse_cors_origin, show: Clone::clone };

fn parse_text(text: &str) -> Result<String, String> {
    match text {
        "" => Err("the text is empty".to_owned()),
        _ if text.len() > MAX_TEXT => Err(format!("the text is longer than {MAX_TEXT} bytes")),
        _ if text.chars().any(char::is_control) => Err("the text holds a control character".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn parse_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(fits) {
        return Err(format!("a name is 1 to {MAX_NAME} letters, digits, `-`, `_` and `.`"));
    }
    Ok(text.to_owned())
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an IP address with a port, such as \"127.0.0.1:8080\" or \"[::]:8080\""))
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let network: IpNet = match text.parse::<std::net::IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse().map_err(|_| format!("`{text}` is not a network such as \"10.0.0.0/8\""))?,
    };
    if network.prefix_len() == 0 {
        return Err(format!("`{text}` is everybody: name the networks that are meant"));
    }
    if let IpNet::V6(v6) = network
        && v6.network().to_ipv4_mapped().is_some()
    {
        return Err(format!("`{text}` is compared with no address: write the IPv4 network"));
    }
    if network != network.trunc() {
        return Err(format!("`{text}` has bits beyond its prefix: `{}` is meant?", network.trunc()));
    }
    Ok(network)
}

fn parse_method(text: &str) -> Result<Method, String> {
    let known = |method: &Method| method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    Method::from_bytes(text.as_bytes())
        .ok()
        .filter(known)
        .ok_or_else(|| format!("`{text}` is not an HTTP method in capital letters"))
}

fn parse_header(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is not a header name"))
}

fn parse_host(text: &str) -> Result<String, String> {
    let name = |text: &str| {
        let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        text.len() <= 253 && text.split('.').all(label)
    };
    if name(text) || text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not a server such as \"mail.example\" or \"127.0.0.1\""))
}

fn parse_server(text: &str) -> Result<ServerName, String> {
    let not_one = || format!("`{text}` is not a server such as \"10.0.0.5:6379\" or \"[::1]:6379\"");
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((address.ip().to_string(), address.port())).filter(|(_, port)| *port != 0).ok_or_else(not_one);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(not_one)?;
    let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(not_one)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(not_one)?;
    // An IPv6 address without brackets would have been cut in two.
    let host = parse_host(host).ok().filter(|host| !host.contains(':')).ok_or_else(not_one)?;
    Ok((host, port))
}

fn parse_mailbox(text: &str) -> Result<Mailbox, String> {
    let text = parse_text(text)?;
    text.parse().map_err(|_| format!("`{text}` is not a mailbox such as \"Example <no-reply@example.com>\""))
}

fn parse_url(text: &str) -> Result<Uri, String> {
    let not_one = |why: &str| format!("this is not an http or https URL: {why}");
    let url: Uri = text.parse().map_err(|_| not_one("it cannot be read"))?;
    let authority = url.authority().ok_or_else(|| not_one("it names no server"))?;
    match url.scheme_str() {
        Some("http" | "https") => {}
        Some(_) | None => return Err(not_one("it starts with another scheme")),
    }
    if authority.as_str().contains('@') {
        return Err(not_one("it names a user; credentials have keys of their own"));
    }
    if text.contains('#') {
        return Err(not_one("it has a fragment"));
    }
    if url.port().is_some_and(|port| port.as_str().parse::<u16>().is_err()) {
        return Err(not_one("its port is no port"));
    }
    Ok(url)
}

fn parse_origin(text: &str) -> Result<Uri, String> {
    let url = parse_url(text)?;
    let bare = url.path_and_query().map(PathAndQuery::as_str).is_none_or(|path| path == "/");
    if bare && !text.ends_with('?') { Ok(url) } else { Err("only scheme, host and port can be named here".to_owned()) }
}

fn parse_base_url(text: &str) -> Result<String, String> {
    let url = parse_url(text)?;
    if url.query().is_some() {
        return Err("a base address has no query".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn parse_type(text: &str) -> Result<String, String> {
    let folded = text.to_ascii_lowercase();
    let short = folded.strip_prefix("application/").unwrap_or(&folded);
    if short.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
        return Ok(short.to_owned());
    }
    Err(format!("`{text}` is not a type such as \"at+jwt\""))
}

fn parse_path(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~');
    if !text.starts_with('/') || text.contains("//") || !text.bytes().all(plain) || text.len() > MAX_TEXT {
        return Err(format!("`{text}` is not a plain path such as \"/v2/oauth/token\""));
    }
    Ok(text.to_owned())
}

fn parse_prefix(text: &str) -> Result<String, String> {
    if text.ends_with('/') {
        return Err(format!("`{text}` is not a prefix such as \"/multi\""));
    }
    parse_path(text)
}

fn parse_cors_origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Err("`*` cannot stand beside other origins: write origins = \"*\" to let everybody read".to_owned());
    }
    let url = parse_origin(text)?;
    let host = url.host().unwrap_or_default();
    let exact = !text.ends_with('/') && *text == text.to_ascii_lowercase() && !host.contains('*');
    if exact {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not an origin as browsers send it: scheme and host in lower case, no path, no `*`"))
}

/// A URL. One that is refused is not shown, because people put passwords into URLs.
pub(crate) struct Url(Parsed<Uri>);

impl Notation for Url {
    type Value = Uri;

    fn read(&self, node: &Node, report: &mut Report) -> Option<Uri> {
        let url = self.0.read(node, report);
        if url.is_none() && matches!(&node.kind, Kind::Text(text) if text.contains('@')) {
            report.mask(node.place);
        }
        url
    }

    fn show(&self, value: &Uri) -> Option<Json> {
        self.0.show(value)
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "format": "uri", "pattern": "^https?://" })
    }
}

/// Where a secret is; never the secret itself.
pub(crate) struct SecretNotation;

impl Notation for SecretNotation {
    type Value = SecretReference;

    fn read(&self, node: &Node, report: &mut Report) -> Option<SecretReference> {
        let keys = Keys(SecretReference::read);
        match node.kind {
            Kind::Table(_) => keys.read(node, report).flatten(),
            Kind::Text(_) | Kind::Whole(_) | Kind::Flag(_) | Kind::List(_) | Kind::Other(_) => {
                report.mask(node.place);
                let finding = Finding::error(node.place, "a secret does not belong into this file").label("hidden here");
                report.add(
                    finding.help("write { env = \"VARIABLE\" } or { file = \"/run/secrets/name\" }, and change this secret"),
                );
                None
            }
        }
    }

    fn show(&self, _: &SecretReference) -> Option<Json> {
        None
    }

    fn schema(&self) -> Json {
        Keys(SecretReference::read).schema()
    }
}

/// A value that a claim may have: a string, a whole number or a truth value.
pub(crate) struct ClaimNotation;

impl Notation for ClaimNotation {
    type Value = ClaimValue;

    fn read(&self, node: &Node, report: &mut Report) -> Option<ClaimValue> {
        match &node.kind {
            Kind::Text(text) => Some(ClaimValue::Text(text.clone())),
            Kind::Whole(number) => Some(ClaimValue::Integer(*number)),
            Kind::Flag(flag) => Some(ClaimValue::Bool(*flag)),
            Kind::List(_) | Kind::Table(_) | Kind::Other(_) => {
                expected("a string, a whole number, true or false", node, report);
                None
            }
        }
    }

    fn show(&self, _: &ClaimValue) -> Option<Json> {
        None
    }

    fn schema(&self) -> Json {
        json!({ "type": ["string", "integer", "boolean"] })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_network_is_neither_everybody_nor_one_that_no_address_is_in() {
        for good in ["10.0.0.0/8", "10.0.0.1", "::1", "2001:db8::/32", "128.0.0.0/1"] {
            assert!(parse_network(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "10",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "10.0.0.1/8",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/8 ",
            "::/129",
            "::ffff:10.0.0.1",
            "::ffff:10.0.0.0/104",
            "example.com",
            "10.0.0.0/255.0.0.0",
        ] {
            assert!(parse_network(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_network_is_read_as_it_is_written_and_its_own_addresses_are_in_it(
            v4 in any::<u32>(), v6 in any::<u128>(), short in 1_u8..=32, long in 1_u8..=128, text in "[0-9a-f:./]{0,18}",
        ) {
            let addresses = [(IpAddr::from(Ipv4Addr::from_bits(v4)), short), (Ipv6Addr::from_bits(v6).into(), long)];
            for (address, prefix) in addresses {
                let network = IpNet::new(address, prefix).unwrap().trunc();
                let mapped = matches!(network, IpNet::V6(v6) if v6.network().to_ipv4_mapped().is_some());
                prop_assert_eq!(parse_network(&network.to_string()).ok(), (!mapped).then_some(network));
            }
            if let Ok(network) = parse_network(&text) {
                prop_assert!(network.prefix_len() > 0 && network.network().to_canonical() == network.network(), "{text}");
                prop_assert_eq!(network.trunc(), network);
            }
        }
    }
}
