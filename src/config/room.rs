//! Settings of how much room files take, and how long those take some that were removed.

use std::time::Duration;

use clap::Args;

use super::period::{HOUR, period};
use super::size::Size;
use crate::peer::directory;

/// How much, and how long.
#[derive(Args, Debug)]
pub(super) struct RoomArguments {
    /// The most bytes of content kept, such as 100GiB; content that several files share
    /// counts once [default: no limit].
    #[arg(long, env = "LARDER_QUOTA", value_name = "SIZE")]
    pub(super) quota: Option<Size>,

    /// Take no new content where less than so much of the disk would be free.
    #[arg(
        long,
        env = "LARDER_MIN_FREE",
        value_name = "SIZE",
        default_value = "16MiB"
    )]
    pub(super) min_free: Size,

    /// How long a file that is removed can be brought back, such as 24h or 30d, while the node
    /// runs; until then it takes its room. A bare number is hours; with `off` a removal is one.
    #[arg(
        long,
        env = "LARDER_TRASH",
        value_name = "TIME",
        default_value = "off",
        value_parser = keeps
    )]
    trash: Keeps,

    /// The most memory for what peers tell of their files, some 150 bytes each, such as 64MiB or
    /// 1GiB; three quarters of it for one peer. The newest files are kept where not all fit.
    #[arg(
        long,
        env = "LARDER_DIRECTORY",
        value_name = "SIZE",
        default_value = "256MiB",
        value_parser = directory_size
    )]
    directory: Size,
}

/// A size that has room for some files of each peer.
fn directory_size(text: &str) -> Result<Size, &'static str> {
    let size: Size = text.parse()?;
    let is_enough = size.0 >= 1 << 20;
    is_enough.then_some(size).ok_or("has to be 1MiB at least")
}

/// A time, or none.
#[derive(Debug, Clone, Copy)]
struct Keeps(Option<Duration>);

fn keeps(text: &str) -> Result<Keeps, String> {
    if text.trim() == "off" {
        return Ok(Keeps(None));
    }
    let keeps = period(text, HOUR, 1..=10 * 366 * 86_400);
    keeps
        .map(|keeps| Keeps(Some(keeps)))
        .map_err(|error| format!("{error}, or off"))
}

impl RoomArguments {
    /// How much memory there is for what peers tell of their files.
    pub(super) fn directory(&self) -> directory::Options {
        directory::Options::of(usize::try_from(self.directory.0).unwrap_or(usize::MAX))
    }

    /// How long what is removed can be brought back; None where it cannot.
    pub(super) fn trash(&self) -> Option<Duration> {
        self.trash.0
    }
}
