//! Settings of the gateways in front.

use std::net::IpAddr;

use clap::Args;
use ipnet::IpNet;

use crate::peer::address::{InvalidNetwork, network};
use crate::web::clients::Gateways;

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
        value_parser = gateway
    )]
    trusted_proxy: Vec<IpNet>,
}

impl GatewayArguments {
    /// Whether none is named.
    pub(super) fn is_empty(&self) -> bool {
        self.trusted_proxy.is_empty()
    }

    /// The gateways.
    pub fn gateways(&self) -> Gateways {
        Gateways::new(self.trusted_proxy.clone())
    }
}

fn gateway(text: &str) -> Result<IpNet, InvalidNetwork> {
    let address: Result<IpAddr, _> = text.parse();
    address.map_or_else(|_| network(text), |it| Ok(it.into()))
}
