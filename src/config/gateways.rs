//! Settings of the gateways in front.

use std::net::IpAddr;

use clap::Args;

use crate::node::clients::Gateways;
use crate::peer::address::{InvalidNetwork, Network};

/// Which gateways are in front.
#[derive(Args, Debug)]
pub struct GatewayArguments {
    /// Gateway in front, as an address or a network such as 10.0.0.0/8, that is believed whom it
    /// names in X-Forwarded-For or Forwarded: logs, rates and shares go by that; can be repeated.
    #[arg(
        long,
        env = "LARDER_TRUSTED_PROXY",
        value_name = "CIDR",
        value_delimiter = ',',
        value_parser = network
    )]
    trusted_proxy: Vec<Network>,
}

impl GatewayArguments {
    /// The gateways.
    pub fn gateways(&self) -> Gateways {
        Gateways::new(self.trusted_proxy.clone())
    }
}

fn network(text: &str) -> Result<Network, InvalidNetwork> {
    match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_ipv4() => format!("{ip}/32").parse(),
        Ok(ip) => format!("{ip}/128").parse(),
        Err(_) => text.parse(),
    }
}
