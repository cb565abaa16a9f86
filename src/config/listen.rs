//! What `--listen` takes.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listen {
    pub(super) ip: IpAddr,
    /// The port, where one is named.
    pub(super) port: Option<u16>,
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
        let ip = text
            .parse()
            .map_err(|_| "an IP address or localhost, with or without a port")?;
        Ok(Self { ip, port: None })
    }
}
