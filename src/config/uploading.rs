//! Settings of uploads that come in parts.

use std::time::Duration;

use clap::Args;

use super::period::{HOUR, period};

/// How long they may take.
#[derive(Args, Debug)]
pub(super) struct UploadArguments {
    /// How long a resumable upload may wait for its client before it is removed, such as 72h or
    /// 7d; a finished one is remembered as long. A bare number is hours.
    #[arg(
        long,
        env = "LARDER_UPLOAD_EXPIRY",
        value_name = "TIME",
        default_value = "72",
        value_parser = |it: &str| period(it, HOUR, 3600..=8760 * 3600)
    )]
    upload_expiry: Duration,
}

impl UploadArguments {
    pub(super) fn expiry(&self) -> Duration {
        self.upload_expiry
    }
}
