//! Settings of uploads that come in parts.

use std::time::Duration;

use clap::Args;

/// How long they may take.
#[derive(Args, Debug)]
pub(super) struct UploadArguments {
    /// How long a resumable upload may wait for its client before it is removed, in hours; a
    /// finished one is remembered as long.
    #[arg(
        long,
        env = "LARDER_UPLOAD_EXPIRY",
        value_name = "HOURS",
        default_value_t = 72,
        value_parser = clap::value_parser!(u64).range(1..=8760)
    )]
    upload_expiry: u64,
}

impl UploadArguments {
    pub(super) fn expiry(&self) -> Duration {
        Duration::from_secs(self.upload_expiry * 3600)
    }
}
