//! The roll of a network: the certificates that its key has made, the last one of each member,
//! beside the key.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Certificate, MAX_BYTES};
use crate::{given_file, secret_file};

/// The most members of one network that are written down.
const MAX_MEMBERS: usize = 4096;
/// The longest roll that is read, in bytes.
const MAX_FILE_BYTES: u64 = (MAX_MEMBERS * (MAX_BYTES + 1)) as u64;

/// A roll, and where it is written.
#[derive(Debug)]
pub struct Roll {
    path: PathBuf,
    members: Vec<Certificate>,
}

/// Why a roll cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// It cannot be read.
    #[error("{0} cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It cannot be written.
    #[error("{0} cannot be written")]
    Unwritable(PathBuf, #[source] io::Error),
    /// A line of it is no certificate.
    #[error("{0}, line {1}: it is no certificate of a member")]
    Line(PathBuf, usize),
    /// It is full.
    #[error("{0} has {MAX_MEMBERS} members, which is the most")]
    Full(PathBuf),
}

impl Roll {
    /// The roll beside the key at `path`; empty where there is none yet. Blocks.
    pub fn beside(key: &Path) -> Result<Self, RollError> {
        let mut path = key.as_os_str().to_owned();
        path.push(".members");
        let path = PathBuf::from(path);
        let text = given_file::read(&path, MAX_FILE_BYTES).and_then(|given| {
            secret_file::check(&given.file)?;
            given.text()
        });
        let text = match text {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(RollError::Unreadable(path, error)),
            Ok(text) => text,
        };
        let mut members = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let certificate = line.parse();
            members.push(certificate.map_err(|_| RollError::Line(path.clone(), number + 1))?);
        }
        Ok(Self { path, members })
    }

    /// The last certificate of each member, in the order in which they became members.
    pub fn members(&self) -> &[Certificate] {
        &self.members
    }

    /// Writes a certificate down beside the key at `path`, in place of an earlier one of the same
    /// member. A crash leaves the roll as it was or as it is then. Blocks, also while another
    /// writes one down.
    pub fn enter(path: &Path, certificate: Certificate) -> Result<(), RollError> {
        let key = fs::File::open(path);
        let key = key.map_err(|error| RollError::Unreadable(path.to_owned(), error))?;
        // Where a file system has no locks, nothing is lost but this.
        let _ = key.lock();
        Self::beside(path)?.add(certificate)
    }

    fn add(&mut self, certificate: Certificate) -> Result<(), RollError> {
        let is_full = self.members.len() >= MAX_MEMBERS;
        let mut members = self.members.iter_mut();
        match members.find(|it| it.member == certificate.member) {
            Some(known) => *known = certificate,
            None if is_full => return Err(RollError::Full(self.path.clone())),
            None => self.members.push(certificate),
        }
        let mut text = String::new();
        for member in &self.members {
            text.push_str(&member.to_string());
            text.push('\n');
        }
        replace(&self.path, text.as_bytes())
            .map_err(|error| RollError::Unwritable(self.path.clone(), error))
    }
}

/// Puts a file of the owner's alone in the place of what is there, at once and so that it lasts.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    // Which makes it for its owner alone.
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|it| it.error)?;
    fs::File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    use super::super::{EXCHANGE, NetworkKey};
    use super::*;

    #[test]
    fn a_roll_has_the_last_certificate_of_each_member_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let network = NetworkKey::of(&[1; 32]);
        let now = SystemTime::now();
        let invite = |seed: u8, days: u64| {
            let member = NetworkKey::of(&[seed; 32]).public();
            let expires = now + Duration::from_hours(24 * days);
            network.invite(member, EXCHANGE, expires).unwrap()
        };
        fs::write(&path, "").unwrap();
        for (seed, days) in [(2, 1), (3, 1), (2, 9)] {
            Roll::enter(&path, invite(seed, days)).unwrap();
        }
        let read = Roll::beside(&path).unwrap();
        assert_eq!(read.members().len(), 2);
        assert_eq!(read.members()[0].expires, invite(2, 9).expires);
        let mode = read.path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&read.path, "nonsense\n").unwrap();
        let told = Roll::beside(&path).unwrap_err();
        assert!(matches!(told, RollError::Line(_, 1)), "{told}");
    }
}
