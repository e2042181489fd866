//! Where requests go.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderName, Uri, header};

use crate::config::{self, At, Environment, Finding, Report};
use crate::model::NonEmpty;
use crate::plan::compile::Workshop;
use crate::plan::compile::directory::Directory;
use crate::plan::{Servers, Upstream, UpstreamServer};

/// Headers that tell where a message ends.
const FRAMING: [HeaderName; 3] = [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

impl Workshop<'_> {
    pub(super) fn upstreams(&mut self) -> Directory<Arc<Upstream>> {
        let config = self.config;
        let mut directory = Directory::new("upstream", "upstream");
        for upstream in &config.upstreams {
            let compiled = self.upstream(&upstream.name.value, &upstream.value.value);
            directory.list(&upstream.name, compiled.map(Arc::new));
        }
        directory
    }

    fn upstream(&mut self, name: &str, upstream: &config::Upstream) -> Option<Upstream> {
        let hidden = &upstream.hide_headers;
        for framing in hidden.value.iter().filter(|name| FRAMING.contains(name)) {
            let finding = Finding::error(hidden.place, format!("`{framing}` cannot be hidden"));
            self.report.add(finding.label("without it nobody knows where a response ends"));
        }
        Some(Upstream {
            name: name.into(),
            servers: self.servers(upstream)?,
            connect_timeout: upstream.connect_timeout.value,
            read_timeout: upstream.read_timeout.value,
            write_timeout: upstream.write_timeout.value,
            total_timeout: upstream.total_timeout.value,
            idle_timeout: upstream.idle_timeout.value,
            retries: upstream.retries.value,
            hide_headers: hidden.value.clone().into(),
        })
    }

    fn servers(&mut self, upstream: &config::Upstream) -> Option<Servers> {
        if let Some(echo) = &upstream.builtin {
            let open =
                self.config.listeners.iter().filter_map(|l| l.value.address.as_ref()).find(|a| !a.value.ip().is_loopback());
            if let (Some(open), Environment::Production) = (open, self.config.environment.value) {
                let finding = Finding::error(echo.place, "the echo service shows whatever reaches it, and would be reachable");
                let help = "listen on a loopback address, or set environment = \"sandbox\"";
                self.report.add(finding.context(open.place, "from here").help(help));
            }
            return Some(Servers::Echo);
        }
        let servers: Vec<_> = upstream.servers.as_ref()?.value.iter().filter_map(|url| server(url, self.report)).collect();
        NonEmpty::new(servers).ok().map(Servers::At)
    }
}

fn server(url: &At<Uri>, report: &mut Report) -> Option<UpstreamServer> {
    let tls = url.value.scheme_str() == Some("https");
    let host = bare_host(&url.value)?;
    if tls && host.parse::<IpAddr>().is_ok() {
        let finding = Finding::error(url.place, "a server that is only an address cannot prove over TLS who it is");
        report.add(finding.help("name it as its certificate does, such as \"https://orders.internal\""));
        return None;
    }
    let port = url.value.port_u16().unwrap_or(if tls { 443 } else { 80 });
    Some(UpstreamServer { host: host.into(), port, tls })
}

/// The host of a URL, an IPv6 address without its brackets.
pub(super) fn bare_host(url: &Uri) -> Option<&str> {
    url.host().map(|host| host.trim_start_matches('[').trim_end_matches(']'))
}
