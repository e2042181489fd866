//! Where a request comes from.

use std::net::{IpAddr, Ipv6Addr};

/// The client's address, as far as it can be trusted: the socket's peer, or what a configured trusted proxy says of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Source(IpAddr);

/// What budgets are counted by: an IPv4 address, or the /64 an IPv6 client can roam in freely.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SourceKey(IpAddr);

impl Source {
    /// From an address; an IPv4-mapped IPv6 address becomes the IPv4 address that it is.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.0
    }

    /// The budget this source draws on.
    #[must_use]
    pub fn key(self) -> SourceKey {
        match self.0 {
            IpAddr::V4(_) => SourceKey(self.0),
            IpAddr::V6(v6) => SourceKey(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)))),
        }
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
    fn a_budget_has_the_same_bytes_however_its_address_was_told() {
        let octets = |text: &str| Source::new(text.parse().unwrap()).key().octets();
        assert_eq!(octets("10.0.0.1"), octets("::ffff:10.0.0.1"));
        assert_eq!(octets("2001:db8::1"), octets("2001:db8::2"));
        assert_ne!(octets("10.0.0.1"), octets("10.0.0.2"));
    }
}
