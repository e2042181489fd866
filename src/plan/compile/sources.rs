//! Who is served by where they come from.

use ipnet::IpNet;

use crate::config::{self, At, Finding};
use crate::plan::compile::Workshop;
use crate::rules::networks::{Networks, Sources};

impl Workshop<'_> {
    /// The sources that a route or the whole gateway serves. What is wrong with them is in the report.
    pub(super) fn sources(&mut self, written: Option<&At<config::Sources>>) -> Sources {
        let Some(written) = written else { return Sources::default() };
        let config::Sources { allow, deny } = &written.value;
        for allowed in allow.iter().flat_map(|list| &list.value) {
            let denied = deny.iter().flat_map(|list| &list.value).find(|denied| denied.value.contains(&allowed.value));
            if let Some(denied) = denied {
                let finding = Finding::error(allowed.place, "nobody in this network is served, for all of it is denied");
                self.report.add(finding.context(denied.place, "by this, which goes before"));
            }
        }
        Sources {
            deny: deny.as_ref().and_then(|list| self.networks(list)),
            allow: allow.as_ref().and_then(|list| self.networks(list)),
        }
    }

    /// The networks of a list, each of which must be there once.
    pub(super) fn networks(&mut self, list: &At<Vec<At<IpNet>>>) -> Option<Networks> {
        for (at, network) in list.value.iter().enumerate() {
            if let Some(first) = list.value.iter().take(at).find(|first| first.value.contains(&network.value)) {
                let finding = Finding::error(network.place, "this network is in the list already");
                self.report.add(finding.context(first.place, "here, or within this one"));
            }
        }
        let networks: Vec<IpNet> = list.value.iter().map(|network| network.value).collect();
        Networks::new(&networks)
    }
}
