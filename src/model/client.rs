//! Where a request comes from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The client's address, as far as it can be trusted: the socket's peer, or what a configured trusted proxy says of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Source {
    address: IpAddr,
    key: SourceKey,
}

/// What budgets are counted by: the network of a client, by default an IPv4 address, or the /64 an IPv6 client can roam in
/// freely.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceKey(IpAddr);

/// How many leading bits of two addresses must differ for them to be two sources.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourcePrefix {
    ipv4: u8,
    ipv6: u8,
}

impl SourcePrefix {
    /// The fewest for IPv4: a /24 is the smallest network that is routed by itself; a shorter one holds strangers.
    pub const SHORTEST_IPV4: u8 = 24;
    /// The fewest for IPv6: a /32 is what a whole provider has (RIPE-738 section 5.1).
    pub const SHORTEST_IPV6: u8 = 32;
    /// The most for IPv6: within a /64 a client takes whatever address it likes (RFC 4291 section 2.5.4, RFC 8981).
    pub const LONGEST_IPV6: u8 = 64;

    /// Of these bits, brought within the bounds: 24 to 32 for IPv4, 32 to 64 for IPv6.
    #[must_use]
    pub fn new(ipv4: u8, ipv6: u8) -> Self {
        let (ipv4, ipv6) = (ipv4.clamp(Self::SHORTEST_IPV4, 32), ipv6.clamp(Self::SHORTEST_IPV6, Self::LONGEST_IPV6));
        Self { ipv4, ipv6 }
    }

    fn key(self, address: IpAddr) -> SourceKey {
        SourceKey(match address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - self.ipv4))).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - self.ipv6))).into(),
        })
    }
}

impl Default for SourcePrefix {
    /// An IPv4 address, an IPv6 /64.
    fn default() -> Self {
        Self { ipv4: 32, ipv6: Self::LONGEST_IPV6 }
    }
}

impl Source {
    /// From an address, told apart as by default; an IPv4-mapped IPv6 address becomes the IPv4 address that it is.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self::apart_by(address, SourcePrefix::default())
    }

    /// The same, told apart by these leading bits.
    #[must_use]
    pub fn apart_by(address: IpAddr, prefix: SourcePrefix) -> Self {
        let address = address.to_canonical();
        Self { address, key: prefix.key(address) }
    }

    /// The address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The budget this source draws on.
    #[must_use]
    pub fn key(self) -> SourceKey {
        self.key
    }
}

impl SourceKey {
    /// The address that stands for it: the lowest of its network.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.0
    }

    /// The key that [`address`](Self::address) told, wherever that was written down in between.
    #[must_use]
    pub fn told(address: IpAddr) -> Self {
        Self(address)
    }

    /// The same in bytes, an IPv4 address as the IPv6 address that it is mapped to (RFC 4291 section 2.5.5.2).
    #[must_use]
    pub fn octets(self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_cannot_get_a_new_budget_by_changing_its_lower_half() {
        let key = |text: &str| Source::new(text.parse().unwrap()).key();
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }

    #[test]
    fn sources_are_told_apart_by_as_many_bits_as_are_asked_for_and_never_by_fewer_than_strangers_differ_in() {
        let same = |prefix, one: &str, other: &str| {
            let key = |text: &str| Source::apart_by(text.parse().unwrap(), prefix).key();
            key(one) == key(other)
        };
        let wide = SourcePrefix::new(24, 56);
        assert!(same(wide, "192.0.2.1", "192.0.2.255") && !same(wide, "192.0.2.1", "192.0.3.1"));
        assert!(same(wide, "192.0.2.1", "::ffff:192.0.2.7"));
        assert!(same(wide, "2001:db8:0:1::1", "2001:db8:0:ff::1") && !same(wide, "2001:db8::1", "2001:db8:0:100::1"));
        for (bounded, like) in [(SourcePrefix::new(0, 0), (24, 32)), (SourcePrefix::new(255, 255), (32, 64))] {
            assert_eq!(bounded, SourcePrefix::new(like.0, like.1));
        }
        assert_eq!(SourcePrefix::new(32, 64), SourcePrefix::default());
        assert_eq!(Source::apart_by([192, 0, 2, 7].into(), wide).address(), IpAddr::from([192, 0, 2, 7]), "it keeps its own");
    }

    #[test]
    fn a_budget_has_the_same_bytes_however_its_address_was_told() {
        let octets = |text: &str| Source::new(text.parse().unwrap()).key().octets();
        assert_eq!(octets("10.0.0.1"), octets("::ffff:10.0.0.1"));
        assert_eq!(octets("2001:db8::1"), octets("2001:db8::2"));
        assert_ne!(octets("10.0.0.1"), octets("10.0.0.2"));
    }
}
