//! Which network addresses requests that others have a say in may go to: callbacks, files of builds, commit statuses. Pure;
//! a name is looked up, and each address that it leads to is asked about, by whoever dials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where machines of clouds are given their credentials, beside link-local addresses: Alibaba Cloud, Azure, and in the newer
/// kind AWS, Google, Oracle and Scaleway.
const CREDENTIALS: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
];

/// Whether requests of this server may go there; `private` lets them go to private addresses and this machine.
pub fn may(ip: IpAddr, private: bool) -> bool {
    // What one of the newer kind stands for is what is asked.
    let ip = match ip {
        IpAddr::V6(newer) => inside(newer).map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    };
    !CREDENTIALS.contains(&ip)
        && match ip {
            IpAddr::V4(ip) => may_v4(ip, private),
            IpAddr::V6(ip) => may_v6(ip, private),
        }
}

/// Special-purpose blocks of RFC 6890 and its registry.
fn may_v4(ip: Ipv4Addr, private: bool) -> bool {
    let [a, b, c, _] = ip.octets();
    let nowhere = a == 0
        || a >= 224
        || ip.is_link_local()
        || ip.is_documentation()
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || a == 198 && matches!(b, 18 | 19);
    let shared = a == 100 && (64..128).contains(&b);
    !nowhere && (private || !(ip.is_private() || ip.is_loopback() || shared))
}

fn may_v6(ip: Ipv6Addr, private: bool) -> bool {
    let first = ip.segments()[0];
    // Global unicast, without the blocks of it that are for tunnels, documentation and protocols.
    let global = first & 0xe000 == 0x2000 && !(first == 0x2001 && ip.segments()[1] < 0x0200);
    let documentation = first == 0x2001 && ip.segments()[1] == 0x0db8 || first == 0x3fff;
    let local = ip.is_loopback() || first & 0xfe00 == 0xfc00;
    global && !documentation || private && local
}

/// The address of the older kind that one of the newer kind stands for.
fn inside(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(of(high, low)),
        // Translated (RFC 6052) and tunnelled (RFC 3056).
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_whole_internet_routes_is_public() {
        let (always, at_home, never) = ((true, true), (false, true), (false, false));
        for (address, expect) in [
            ("93.184.216.34", always),
            ("2606:2800:220:1::1", always),
            ("10.0.0.1", at_home),
            ("172.16.5.4", at_home),
            ("172.32.0.1", always),
            ("192.168.1.1", at_home),
            ("100.64.0.1", at_home),
            ("127.0.0.1", at_home),
            ("::1", at_home),
            ("fd00::1", at_home),
            ("::ffff:10.0.0.1", at_home),
            ("::ffff:169.254.169.254", never),
            ("64:ff9b::a00:1", at_home),
            ("2002:7f00:1::", at_home),
            ("2001:0:1::", never),
            ("169.254.169.254", never),
            ("100.100.100.200", never),
            ("::ffff:100.100.100.200", never),
            ("100.100.100.201", at_home),
            ("168.63.129.16", never),
            ("fd00:ec2::254", never),
            ("fd00:ec2::255", at_home),
            ("fd20:ce::254", never),
            ("fd00:c1::a9fe:a9fe", never),
            ("fd00:42::42", never),
            ("fe80::1", never),
            ("fec0::1", never),
            ("::", never),
            ("0.0.0.0", never),
            ("255.255.255.255", never),
            ("224.0.0.1", never),
            ("ff02::1", never),
            ("198.18.0.1", never),
            ("192.0.2.1", never),
            ("2001:db8::1", never),
        ] {
            let ip: IpAddr = address.parse().expect("an address");
            assert_eq!((may(ip, false), may(ip, true)), expect, "{address}");
        }
    }
}
