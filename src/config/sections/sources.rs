//! Where requests come from: whose word on it counts, how sources are told apart, and which of them are served.

use ipnet::IpNet;

use crate::config::At;
use crate::config::notation::{Filled, Keys, List, Placed, Whole};
use crate::config::table::Table;
use crate::config::values::NETWORK;
use crate::model::SourcePrefix;

/// `[network]`
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) trusted_proxies: At<Vec<IpNet>>,
    pub(crate) source_prefix: SourcePrefix,
    pub(crate) sources: Option<At<Sources>>,
}

/// Which sources are served.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) allow: Option<At<Vec<At<IpNet>>>>,
    pub(crate) deny: Option<At<Vec<At<IpNet>>>>,
}

impl Network {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            trusted_proxies: t.or(
                "trusted_proxies",
                List(NETWORK),
                Vec::new(),
                "Proxies whose X-Forwarded-* and Forwarded fields are believed; nobody's by default.",
            ),
            source_prefix: t.section(
                "source_prefix",
                source_prefix,
                "How sources are told apart wherever something is counted by source: by so many leading bits of the address.",
            ),
            sources: t.optional(
                "sources",
                Keys(Sources::read),
                "Who is served at all, by where they come from; what a route says of it comes on top.",
            ),
        }
    }
}

impl Sources {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        t.one_or_more(&["allow", "deny"]);
        let networks = || Filled(Placed(NETWORK));
        Self {
            allow: t.optional("allow", networks(), "Networks that are served; nobody else is (403). Everybody when left out."),
            deny: t.optional("deny", networks(), "Networks that are not served (403), also where `allow` has them."),
        }
    }
}

fn source_prefix(t: &mut Table<'_>) -> SourcePrefix {
    let ipv4 = Whole(SourcePrefix::SHORTEST_IPV4..=32);
    let ipv6 = Whole(SourcePrefix::SHORTEST_IPV6..=SourcePrefix::LONGEST_IPV6);
    let ipv4 = t.or("ipv4", ipv4, 32, "Of IPv4 addresses; a shorter network than a /24 holds strangers.").value;
    let ipv6 = t.or("ipv6", ipv6, 64, "Of IPv6 addresses; within a /64 a client takes any address it likes.").value;
    SourcePrefix::new(ipv4, ipv6)
}
