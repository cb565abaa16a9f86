//! Where a listener is reached, as far as this machine can tell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::base_url::{BaseUrl, InvalidBaseUrl};

/// Of ranges for documentation (RFC 5737 and 3849), so they lie behind the default route.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ELSEWHERE_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// The URL of a listener on `bound`; of one on all addresses that by which others see this
/// machine.
pub fn at(scheme: &str, bound: SocketAddr) -> Result<BaseUrl, InvalidBaseUrl> {
    let ip = if bound.ip().is_unspecified() {
        outward_ip(bound.is_ipv6())
    } else {
        Some(bound.ip())
    };
    match ip.filter(|ip| !ip.is_loopback()) {
        Some(ip) => format!("{scheme}://{}", SocketAddr::new(ip, bound.port())).parse(),
        None => format!("{scheme}://localhost:{}", bound.port()).parse(),
    }
}

/// What to print of a listener on `bound` that is reached at `url`: an address that can be opened,
/// which that of a listener on all addresses cannot elsewhere.
pub fn shown(scheme: &str, bound: SocketAddr, url: &BaseUrl) -> String {
    if bound.ip().is_unspecified() {
        format!("{url} (listens on {bound})")
    } else {
        format!("{scheme}://{bound}")
    }
}

/// The address under which others see this machine. Nothing is sent to find out: to
/// connect a UDP socket only picks the route and the address that belongs to it.
pub(super) fn outward_ip(also_6: bool) -> Option<IpAddr> {
    let seen = |from: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let seen_6 = || seen(Ipv6Addr::UNSPECIFIED.into(), ELSEWHERE_6.into());
    seen(Ipv4Addr::UNSPECIFIED.into(), ELSEWHERE.into())
        .or_else(|| also_6.then(seen_6).flatten())
        .or_else(|| beside(also_6))
}

/// The first address of this machine on a network that leads nowhere else, such as one cable
/// between two machines.
fn beside(also_6: bool) -> Option<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let up = interfaces.iter().filter(|it| it.is_oper_up());
    let far = up.filter(|it| !it.is_loopback() && !it.is_link_local());
    let ips = far.map(if_addrs::Interface::ip);
    ips.filter(|ip| ip.is_ipv4() || also_6)
        .min_by_key(IpAddr::is_ipv6)
}
