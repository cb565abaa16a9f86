//! Which node a command asks.

use std::path::PathBuf;

use crate::base_url::BaseUrl;

/// Which node is asked, and how.
#[derive(clap::Args)]
pub(super) struct Connection {
    /// The node to ask.
    #[arg(
        long,
        env = "LARDER_NODE",
        value_name = "URL",
        default_value = "http://localhost:5004"
    )]
    pub(super) node: BaseUrl,

    /// Token of that node. Other users of this machine see arguments, but not the environment.
    #[arg(
        long,
        env = "LARDER_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub(super) token: Option<String>,

    /// File of certificates (PEM) of authorities that vouch for an https node, beside those
    /// that this system knows.
    #[arg(long, env = "LARDER_CA", value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,

    /// Print JSON, one object a line.
    #[arg(long)]
    pub(super) json: bool,
}
