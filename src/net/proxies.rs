//! Reverse proxies in front of this server: which of them are trusted to say whom they speak for, and whom that is. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

/// Most hops that are looked at.
const HOPS_MAX: usize = 20;

/// Proxies that are trusted to say whom they speak for.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Addresses and networks, separated by commas.
    pub fn parse(text: &str) -> Result<Proxies, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let read = |entry: &str| {
            let address = entry.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| entry.parse::<IpNet>()).map_err(|_| {
                format!("{entry:?} is neither an address nor a network, such as 10.0.0.7 or 10.0.0.0/8")
            })
        };
        entries.map(read).collect::<Result<_, _>>().map(Proxies)
    }

    /// Whether the other end of a connection is one of them.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Who sent a request: the other end of its connection, or, where that is a trusted proxy, the last address before the
    /// trusted ones of those that were `told`, the first hop first. Anything in front of that may be made up.
    pub fn source(&self, peer: IpAddr, told: &[&str]) -> IpAddr {
        let mut source = peer.to_canonical();
        for hop in told.iter().rev().take(HOPS_MAX) {
            let hop = hop.trim().parse::<IpAddr>().ok().filter(|_| self.trusts(source));
            let Some(hop) = hop else { break };
            source = hop.to_canonical();
        }
        source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_trusted_proxies_say_whom_they_speak_for() {
        let proxies = Proxies::parse("10.0.0.0/8, 192.168.1.1, ::1").expect("proxies");
        let check = |peer: &str, told: &[&str], expect: &str| {
            assert_eq!(proxies.source(address(peer), told), address(expect), "{peer} {told:?}");
        };
        check("203.0.113.9", &["198.51.100.1"], "203.0.113.9");
        assert!(proxies.trusts(address("::ffff:10.1.2.3")) && !proxies.trusts(address("203.0.113.9")));
        check("10.1.2.3", &["198.51.100.1"], "198.51.100.1");
        check("10.1.2.3", &["6.6.6.6", " 198.51.100.1"], "198.51.100.1");
        check("10.1.2.3", &["6.6.6.6", "198.51.100.1", "192.168.1.1"], "198.51.100.1");
        check("10.1.2.3", &["nonsense"], "10.1.2.3");
        check("10.1.2.3", &[], "10.1.2.3");
        check("::ffff:10.1.2.3", &["2001:db8::1"], "2001:db8::1");
        assert!(Proxies::parse("10.0.0.0/33").is_err() && Proxies::parse("proxy.example.com").is_err());
    }
}
