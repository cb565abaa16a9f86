//! Settings of reading everything stored once in a while.

use std::time::Duration;

use clap::Args;

use super::period::{SECOND, period};
use super::size::Size;
use crate::node::scrub;

/// How often and how fast.
#[derive(Args, Debug)]
pub(super) struct ScrubArguments {
    /// How often to read and prove everything stored, in the background, such as 30d or 12h; a bare
    /// number is seconds, and `off` leaves it to `larder verify`.
    #[arg(
        long,
        env = "LARDER_SCRUB_EVERY",
        value_name = "TIME",
        default_value = "30d",
        value_parser = every
    )]
    scrub_every: Every,

    /// How much of it to read in a second at most, such as 32MiB; it takes no more than a twentieth
    /// of the disk's time, either. What is damaged is repaired no faster.
    #[arg(
        long,
        env = "LARDER_SCRUB_RATE",
        value_name = "SIZE",
        default_value = "32MiB",
        value_parser = rate
    )]
    scrub_rate: Size,
}

/// A time, or never.
#[derive(Debug, Clone, Copy)]
struct Every(Option<Duration>);

fn every(text: &str) -> Result<Every, String> {
    if text.trim() == "off" {
        return Ok(Every(None));
    }
    let every = period(text, SECOND, 1..=10 * 366 * 86_400);
    every
        .map(|every| Every(Some(every)))
        .map_err(|error| format!("{error}, or off"))
}

fn rate(text: &str) -> Result<Size, String> {
    match text.parse()? {
        Size(0) => Err("it is 1 byte at least; --scrub-every off reads nothing".to_owned()),
        rate => Ok(rate),
    }
}

impl ScrubArguments {
    pub(super) fn options(&self) -> scrub::Options {
        let (Every(every), Size(rate)) = (self.scrub_every, self.scrub_rate);
        scrub::Options { every, rate }
    }
}
