//! Settings of copies that the members of a network hold for each other.

use std::time::Duration;

use clap::Args;

use super::number::number;
use super::period::{SECOND, period};
use super::size::Size;
use super::wrong::WrongSetting;
use crate::fetch::copies::{self, MOST_COPIES};
use crate::peer::membership::Joined;

/// How many times as long as the period of questions a silence has to be at least.
const PERIODS: u32 = 3;

/// Reads on how many members files are to be.
pub fn number_of_copies(text: &str) -> Result<u8, String> {
    number(text, 1..=MOST_COPIES)
}

/// How many copies, and how much room for those of others.
#[derive(Args, Debug, Clone)]
pub(super) struct CopyArguments {
    /// On how many members of the network the files of this node are to be, itself among them; 1:
    /// on this one alone [default: as the certificate says, or 1].
    #[arg(long, env = "LARDER_COPIES", value_name = "NUMBER", value_parser = number_of_copies)]
    copies: Option<u8>,

    /// How much room to offer the other members of the network for copies of their files, such as
    /// 100GiB; it is beside --quota [default: none].
    #[arg(long, env = "LARDER_OFFER", value_name = "SIZE")]
    offer: Option<Size>,

    /// After how long a silence a member is gone, so that others hold what it held, such as 1h; a
    /// bare number is seconds.
    #[arg(
        long,
        env = "LARDER_GONE_AFTER",
        value_name = "TIME",
        default_value = "1h",
        value_parser = |it: &str| period(it, SECOND, 1..=366 * 86_400)
    )]
    gone_after: Duration,

    /// For how long enough other members have to hold what is too much here before it is given up,
    /// such as 1d; a bare number is seconds.
    #[arg(
        long,
        env = "LARDER_SURPLUS_AFTER",
        value_name = "TIME",
        default_value = "1d",
        value_parser = |it: &str| period(it, SECOND, 1..=366 * 86_400)
    )]
    surplus_after: Duration,
}

impl CopyArguments {
    /// The setting that asks for copies, if one does.
    fn asking(&self) -> Option<&'static str> {
        let asking = [
            (self.copies.is_some(), "copies"),
            (self.offer.is_some(), "offer"),
        ];
        asking.into_iter().find(|it| it.0).map(|it| it.1)
    }

    /// Fails where copies are asked for of a node whose files others keep with it.
    #[cfg(feature = "shared")]
    pub(super) fn check_unshared(&self) -> Result<(), WrongSetting> {
        let told = "nodes over one database and bucket hold no copies: the bucket does";
        match self.asking() {
            Some(setting) => Err(WrongSetting::new(&[setting], told)),
            None => Ok(()),
        }
    }

    /// How this node, a member by `joined`, holds copies and has its own held; None where it does
    /// neither. It asks others `every` so often.
    pub(super) fn options(
        &self,
        joined: Option<&Joined>,
        every: Duration,
    ) -> Result<Option<copies::Options>, WrongSetting> {
        let asking = self.asking();
        let Some(joined) = joined else {
            let told = "it needs --network: copies are held by other members of it";
            return asking.map_or(Ok(None), |it| Err(WrongSetting::new(&[it], told)));
        };
        let of_network = joined.certificate.copies();
        if asking.is_none() && of_network.is_none() {
            return Ok(None);
        }
        if self.gone_after < every * PERIODS {
            let told = format!("it has to be {PERIODS} times --discover-every at least");
            return Err(WrongSetting::new(&["gone-after"], told));
        }
        Ok(Some(copies::Options {
            copies: self.copies.or(of_network).unwrap_or(1).min(MOST_COPIES),
            offer: self.offer.map_or(0, |Size(bytes)| bytes),
            gone_after: self.gone_after,
            surplus_after: self.surplus_after,
            every,
        }))
    }
}
