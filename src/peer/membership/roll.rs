//! The roll of a network: the certificates that its key has made, the last one of each member,
//! beside the key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use super::written::{RollError, beside, lines, lock, write_lines};
use super::{Certificate, MAX_BYTES, NetworkKey, PublicKey, Refusal};
use crate::record::Timestamp;

/// The most members of one network that are written down.
const MAX_MEMBERS: usize = 4096;
/// The most digits of the time for which a member is renewed.
const MAX_DIGITS: usize = 10;
/// What the name of the roll ends with.
const MEMBERS: &str = ".members";

/// A roll, and where it is written.
#[derive(Debug)]
pub struct Roll {
    path: PathBuf,
    members: Vec<Entry>,
}

/// A member, as the roll has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last one that was made for it.
    pub certificate: Certificate,
    /// For how long it becomes another one before that ends; None where it does not.
    pub renewed_for: Option<Duration>,
}

impl FromStr for Entry {
    type Err = Refusal;

    fn from_str(line: &str) -> Result<Self, Refusal> {
        let Some((certificate, seconds)) = line.split_once(' ') else {
            return Ok(Self {
                certificate: line.parse()?,
                renewed_for: None,
            });
        };
        let seconds: u32 = seconds.parse().map_err(|_| Refusal::Form)?;
        Ok(Self {
            certificate: certificate.parse()?,
            renewed_for: Some(Duration::from_secs(seconds.into())),
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.certificate, f)?;
        match self.renewed_for {
            Some(length) => write!(f, " {}", length.as_secs()),
            None => Ok(()),
        }
    }
}

impl Entry {
    /// The certificate that the bearer of `shown` should have now, as far as there is one.
    pub(super) fn later_than(&self, shown: &Certificate, now: SystemTime) -> Option<Certificate> {
        let later = self.certificate.expires > shown.expires && self.certificate.is_valid_at(now);
        later.then(|| self.certificate.clone())
    }

    /// Whether it is time for another one at `now`: half of its time is over.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        self.renewed_for
            .is_some_and(|length| !self.certificate.is_valid_at(now + length / 2))
    }
}

impl Roll {
    /// The roll beside the key at `path`; empty where there is none yet. Blocks.
    pub fn beside(key: &Path) -> Result<Self, RollError> {
        let path = beside(key, MEMBERS);
        let members = lines(&path, MAX_MEMBERS, MAX_BYTES + 1 + MAX_DIGITS)?;
        Ok(Self { path, members })
    }

    /// The members, in the order in which they became that.
    pub fn members(&self) -> &[Entry] {
        &self.members
    }

    /// Writes a member down beside the key at `path`, in place of an earlier certificate of it; but
    /// one that gives the same rights for longer stays, as it counts to its end whatever comes
    /// later. Returns when that is. A crash leaves the roll as it was or as it is then. Blocks,
    /// also while another writes one down.
    pub fn enter(path: &Path, mut entry: Entry) -> Result<Option<Timestamp>, RollError> {
        let _lock = lock(path)?;
        let mut roll = Self::beside(path)?;
        let made = &entry.certificate;
        let lasts = |it: &&Entry| {
            let known = &it.certificate;
            known.member == made.member
                && known.rights == made.rights
                && known.expires > made.expires
        };
        let longer = roll.members.iter().find(lasts);
        let longer = longer.map(|it| it.certificate.clone());
        let end = longer.as_ref().map(Certificate::expires_at);
        if let Some(longer) = longer {
            entry.certificate = longer;
        }
        roll.add(entry)?;
        Ok(end)
    }

    /// What a member is that by from now on, if it is time for another certificate; None where it
    /// is not renewed. The key is that at `path`. Blocks.
    pub(super) fn renew(
        path: &Path,
        key: &NetworkKey,
        member: PublicKey,
    ) -> Result<Option<Entry>, RollError> {
        let _lock = lock(path)?;
        let mut roll = Self::beside(path)?;
        let mut members = roll.members.iter();
        let known = members.find(|it| it.certificate.member == member).cloned();
        let now = SystemTime::now();
        // Another node with this key may have done it, or its member was invited anew.
        let Some(mut entry) = known.filter(|it| it.is_due(now)) else {
            return Ok(None);
        };
        let length = entry.renewed_for.unwrap_or_default();
        let made = key.invite(member, &entry.certificate.rights, now + length);
        entry.certificate = made.map_err(|_| RollError::Line(roll.path.clone(), 0))?;
        roll.add(entry.clone())?;
        Ok(Some(entry))
    }

    fn add(&mut self, entry: Entry) -> Result<(), RollError> {
        let is_full = self.members.len() >= MAX_MEMBERS;
        let member = entry.certificate.member;
        let mut members = self.members.iter_mut();
        match members.find(|it| it.certificate.member == member) {
            Some(known) => *known = entry,
            None if is_full => return Err(RollError::Full(self.path.clone(), MAX_MEMBERS)),
            None => self.members.push(entry),
        }
        write_lines(&self.path, &self.members)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::EXCHANGE;
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn entry(seed: u8, length: Duration, renewed_for: Option<Duration>) -> Entry {
        let member = NetworkKey::of(&[seed; 32]).public();
        let network = NetworkKey::of(&[1; 32]);
        let certificate = network.invite(member, EXCHANGE, SystemTime::now() + length);
        Entry {
            certificate: certificate.unwrap(),
            renewed_for,
        }
    }

    #[test]
    fn a_roll_has_the_last_certificate_of_each_member_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "").unwrap();
        let last = entry(2, DAY * 9, Some(DAY * 9));
        for entry in [entry(2, DAY, None), entry(3, DAY, None), last.clone()] {
            Roll::enter(&path, entry).unwrap();
        }
        let read = Roll::beside(&path).unwrap();
        assert_eq!(read.members().len(), 2);
        assert_eq!(read.members()[0], last);
        let mode = read.path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for nonsense in ["nonsense", &format!("{last} "), &format!("{last}0x")] {
            fs::write(&read.path, format!("{last}\n{nonsense}\n")).unwrap();
            let told = Roll::beside(&path).unwrap_err();
            assert!(matches!(told, RollError::Line(_, 2)), "{told}");
        }
    }

    #[test]
    fn a_member_is_renewed_once_half_of_its_time_is_over_and_only_if_it_is_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "").unwrap();
        let network = NetworkKey::of(&[1; 32]);
        for (length, renewed_for, is_renewed) in [
            (DAY, Some(DAY), false),
            (DAY, Some(DAY * 3), true),
            (DAY, None, false),
        ] {
            let known = entry(2, length, renewed_for);
            Roll::enter(&path, known.clone()).unwrap();
            let made = Roll::renew(&path, &network, known.certificate.member).unwrap();
            assert_eq!(made.is_some(), is_renewed, "{renewed_for:?}");
            if let Some(made) = made {
                let read = Roll::beside(&path).unwrap();
                assert_eq!(read.members(), std::slice::from_ref(&made));
                let (now, shown) = (SystemTime::now(), &known.certificate);
                assert_eq!(made.later_than(shown, now), Some(made.certificate.clone()));
                assert_eq!(made.later_than(&made.certificate, now), None);
            }
        }
    }
}
