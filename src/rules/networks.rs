//! Whether an address is in one of many networks, and who may come at all by where they come from.
//!
//! Imports `ipnet`. A question costs a binary search, so that lists may be long.
//! Deliberately absent: which address a client has (`forwarded`).

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks of either family, at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Networks {
    /// First and last address of each, in order, and none next to another.
    ranges: Box<[(IpAddr, IpAddr)]>,
}

/// Who is served by where they come from. By default everybody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    /// Who is not, whatever else is said.
    pub deny: Option<Networks>,
    /// If it is said who is, nobody else is.
    pub allow: Option<Networks>,
}

impl Networks {
    /// These networks; `None` if there are none, so that an empty list never means anything.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Option<Self> {
        let joined = IpNet::aggregate(&networks.to_vec());
        let mut ranges: Vec<_> = joined.iter().map(|network| (network.network(), network.broadcast())).collect();
        ranges.sort_unstable();
        (!ranges.is_empty()).then(|| Self { ranges: ranges.into() })
    }

    /// Whether an address is in one of them. An IPv4-mapped IPv6 address is the IPv4 address that it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|(_, last)| address <= *last)
    }
}

impl Sources {
    /// Whether whoever comes from this address is served.
    #[must_use]
    pub fn serve(&self, address: IpAddr) -> bool {
        let denied = self.deny.as_ref().is_some_and(|networks| networks.contains(address));
        !denied && self.allow.as_ref().is_none_or(|networks| networks.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn networks(texts: &[&str]) -> Option<Networks> {
        Networks::new(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn who_is_denied_is_not_served_and_whoever_is_not_allowed_neither() {
        let serves = |sources: &Sources, address: &str| sources.serve(address.parse().unwrap());
        assert!(serves(&Sources::default(), "192.0.2.1"));
        let sources = Sources { allow: networks(&["10.0.0.0/8", "2001:db8::/32"]), deny: networks(&["10.1.0.0/16"]) };
        for (address, served) in [
            ("10.0.0.1", true),
            ("10.255.255.255", true),
            ("::ffff:10.0.0.1", true),
            ("2001:db8::1", true),
            ("10.1.0.0", false),
            ("::ffff:10.1.2.3", false),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("2001:db9::", false),
            ("::a00:1", false),
        ] {
            assert_eq!(serves(&sources, address), served, "{address}");
        }
        let others = Sources { deny: networks(&["192.0.2.1/32"]), allow: None };
        assert!(!serves(&others, "192.0.2.1") && serves(&others, "192.0.2.2") && serves(&others, "::1"));
    }

    #[test]
    fn no_networks_are_none_and_never_everybody() {
        assert_eq!(Networks::new(&[]), None);
    }

    fn network() -> impl Strategy<Value = IpNet> {
        // Few leading bits that differ, so that networks meet.
        let v4 = (0_u32..64, 1_u8..=32).prop_map(|(bits, prefix)| IpNet::new(Ipv4Addr::from_bits(bits << 26).into(), prefix));
        let v6 =
            (0_u128..64, 1_u8..=128).prop_map(|(bits, prefix)| IpNet::new(Ipv6Addr::from_bits(bits << 122).into(), prefix));
        prop_oneof![v4, v6].prop_map(|network| network.unwrap().trunc())
    }

    fn address(near: &[IpNet]) -> impl Strategy<Value = IpAddr> + use<> {
        let mut edges: Vec<IpAddr> = near.iter().flat_map(|network| [network.network(), network.broadcast()]).collect();
        edges.push(Ipv4Addr::UNSPECIFIED.into());
        let step = |address: IpAddr, by: i8| match address {
            IpAddr::V4(v4) => IpAddr::from(Ipv4Addr::from_bits(v4.to_bits().wrapping_add_signed(by.into()))),
            IpAddr::V6(v6) => IpAddr::from(Ipv6Addr::from_bits(v6.to_bits().wrapping_add_signed(by.into()))),
        };
        (prop::sample::select(edges), -1_i8..=1).prop_map(move |(edge, by)| step(edge, by))
    }

    proptest! {
        #[test]
        fn an_address_is_in_a_list_if_it_is_in_one_of_it(
            (list, asked) in prop::collection::vec(network(), 0..12)
                .prop_flat_map(|list| (Just(list.clone()), prop::collection::vec(address(&list), 1..20)))
        ) {
            let networks = Networks::new(&list);
            for address in asked {
                let one = list.iter().any(|network| network.contains(&address.to_canonical()));
                prop_assert_eq!(networks.as_ref().is_some_and(|networks| networks.contains(address)), one, "{}", address);
            }
        }
    }
}
