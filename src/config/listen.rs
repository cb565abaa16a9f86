//! What `--listen` takes.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    pub(super) ip: IpAddr,
    /// The port, where one is named.
    pub(super) port: Option<u16>,
}

impl Listen {
    /// The address with the port that is named, or else this one.
    pub fn with_port(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(port))
    }
}

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // As the system would resolve it, without depending on its resolver.
        let text = text.replacen("localhost", "127.0.0.1", 1);
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                ip: address.ip(),
                port: Some(address.port()),
            });
        }
        // As URLs write an address of IPv6, with no port behind it.
        let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let ip = bare
            .unwrap_or(&text)
            .parse()
            .map_err(|_| "an IP address or localhost, with or without a port")?;
        Ok(Self { ip, port: None })
    }
}
