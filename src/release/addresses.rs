//! Which address a bind means, and in a sentence what it leaves out: the other addresses of its name, or IPv4. Asks the resolver, and
//! binds nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{Bind, Config, Family};
use crate::sys::socket;

/// The addresses of a host in the wanted family. One `-b` is one socket, at the first of them: a name with addresses of both families
/// means its IPv4 address, as it always did for einhorn, unless `-6` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) first: SocketAddr,
    others: Vec<SocketAddr>,
}

/// # Errors
/// It has none, or the resolver cannot be asked.
pub(super) fn look_up(host: &str, port: u16, wanted: Family) -> Result<Addresses, String> {
    let found = socket::resolve(host, port).map_err(|error| format!("cannot find the address of {host}: {error}"))?;
    let mut fitting: Vec<SocketAddr> = Vec::new();
    for address in found {
        let fits = match wanted {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        if fits && !fitting.contains(&address) {
            fitting.push(address);
        }
    }
    // The sort keeps the resolver's order within a family.
    fitting.sort_by_key(SocketAddr::is_ipv6);
    let mut fitting = fitting.into_iter();
    let first = fitting.next();
    let first = first.ok_or_else(|| format!("cannot find the address of {host}: it has none of the wanted family"))?;
    Ok(Addresses { first, others: fitting.collect() })
}

/// What clients may look for at this bind, and will not find at any of the configuration.
pub(super) fn left_out(bind: &Bind, addresses: &Addresses, config: &Config) -> Option<String> {
    let first = addresses.first;
    let others = addresses.others.iter().filter(|address| !is_bound(**address, config));
    let others: Vec<String> = others.map(ToString::to_string).collect();
    if !others.is_empty() {
        let rest = others.join(", ");
        return Some(format!("{bind} is bound at {first} alone, and not at {rest}: a bind for each address adds them"));
    }
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, first.port()));
    let wants_v4 = first.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && config.family != Family::V6;
    (wants_v4 && !is_bound(v4, config)).then(|| format!("{bind} takes no IPv4 connections: a bind of {v4} adds them"))
}

/// Whether the system lets two sockets not listen at these addresses at a time. A socket for IPv6 is for it alone.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_all = |address: SocketAddr| address.ip().is_unspecified();
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || is_all(one) || is_all(other))
}

/// Whether an address of the configuration is this one, or one of IPv4 where that is meant. Names are not looked up.
fn is_bound(wanted: SocketAddr, config: &Config) -> bool {
    config.binds.iter().any(|bind| match bind {
        Bind::Tcp { host, port, .. } => host.parse::<IpAddr>().is_ok_and(|ip| {
            let is_any_v4 = wanted.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) && ip.is_ipv4();
            *port == wanted.port() && (ip == wanted.ip() || is_any_v4)
        }),
        Bind::Unix { .. } => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    fn first(host: &str, port: u16, family: Family) -> Result<SocketAddr, String> {
        look_up(host, port, family).map(|found| found.first)
    }

    #[test]
    fn names_are_filtered_by_family() {
        let v4 = Ok(SocketAddr::from(([127, 0, 0, 1], 80)));
        assert_eq!([Family::Any, Family::V4].map(|family| first("127.0.0.1", 80, family)), [v4.clone(), v4]);
        let refusal = first("127.0.0.1", 80, Family::V6).unwrap_err();
        assert_eq!(refusal, "cannot find the address of 127.0.0.1: it has none of the wanted family");
        assert_eq!(first("::1", 80, Family::Any), Ok("[::1]:80".parse().unwrap()));
        assert!(first("::1", 80, Family::V4).is_err());
    }

    #[test]
    fn an_address_overlaps_with_all_addresses_of_its_family_at_its_port() {
        let overlap = |one: &str, other: &str| overlap(one.parse().unwrap(), other.parse().unwrap());
        assert!(
            overlap("127.0.0.1:80", "0.0.0.0:80") && overlap("[::]:80", "[::1]:80") && overlap("[::1]:80", "[::1]:80")
        );
        for [one, other] in
            [["127.0.0.1:80", "127.0.0.2:80"], ["127.0.0.1:80", "0.0.0.0:81"], ["[::]:80", "127.0.0.1:80"]]
        {
            assert!(!overlap(one, other), "{one} {other}");
        }
    }

    /// Number 15 of what operators trip over.
    #[test]
    fn what_a_bind_leaves_out_is_told_unless_another_has_it() {
        let of_both = Addresses { first: "127.0.0.1:80".parse().unwrap(), others: vec!["[::1]:80".parse().unwrap()] };
        let of_all = Addresses { first: "[::]:80".parse().unwrap(), others: Vec::new() };
        let said = |options: &str, addresses: &Addresses| {
            let config = config(&options.split(' ').collect::<Vec<_>>());
            left_out(&config.binds[0], addresses, &config)
        };
        let name = "host:80 is bound at 127.0.0.1:80 alone, and not at [::1]:80: a bind for each address adds them";
        assert_eq!(said("-b host:80", &of_both).as_deref(), Some(name));
        assert_eq!(said("-b host:80 -b [::1]:81", &of_both).as_deref(), Some(name));
        assert_eq!(said("-b host:80 -b [::1]:80", &of_both), None);
        let all = "[::]:80 takes no IPv4 connections: a bind of 0.0.0.0:80 adds them";
        assert_eq!(said("-b [::]:80", &of_all).as_deref(), Some(all));
        for quiet in ["-b [::]:80 -b 0.0.0.0:80", "-b [::]:80 -b 10.0.0.1:80", "-6 -b [::]:80"] {
            assert_eq!(said(quiet, &of_all), None, "{quiet}");
        }
    }
}
