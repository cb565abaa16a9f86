//! The file by which a node is a member: its certificate.

use std::io;
use std::path::{Path, PathBuf};

use super::{Certificate, Refusal, written};
use crate::{given_file, secret_file};

/// The longest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 4096;
/// What the file says of itself to people.
const ABOUT: &str = "# By this a larder node is a member of a network. It counts with the node's \
                     key alone.\n";

/// Why no certificate is to be had of a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{0} cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It cannot be written.
    #[error("{0} cannot be written")]
    Unwritable(PathBuf, #[source] io::Error),
    /// It holds something else.
    #[error("{0} does not hold the certificate of a member, as `larder network join` writes it")]
    Form(PathBuf),
    /// It is of another network: a node would change from one to another by mistake.
    #[error("{0} is of another network; remove it first, or name another file")]
    OtherNetwork(PathBuf),
}

/// The certificate in the file at `path`, which counts only where nobody else can have written
/// it. Whether it counts otherwise is not looked at. Blocks.
pub fn read(path: &Path) -> Result<Certificate, FileError> {
    let text = given_file::read(path, MAX_FILE_BYTES).and_then(|given| {
        // Whoever reads it learns of a member, but cannot be it.
        secret_file::check(&given.file)?;
        given.text()
    });
    let text = text.map_err(|error| FileError::Unreadable(path.to_owned(), error))?;
    let mut lines = text.lines().filter(|it| !it.starts_with('#'));
    let line = lines.next().filter(|_| lines.next().is_none());
    let certificate = line.ok_or(Refusal::Form).and_then(str::parse);
    certificate.map_err(|_| FileError::Form(path.to_owned()))
}

/// Writes a certificate to the file at `path`, in place of an earlier one of the same network.
/// Blocks.
pub fn write(path: &Path, certificate: &Certificate) -> Result<(), FileError> {
    match read(path) {
        Ok(known) if known.network != certificate.network => {
            return Err(FileError::OtherNetwork(path.to_owned()));
        }
        Err(FileError::Unreadable(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
        known => drop(known?),
    }
    written::replace(path, format!("{ABOUT}{certificate}\n").as_bytes())
        .map_err(|error| FileError::Unwritable(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    use super::super::{EXCHANGE, NetworkKey};
    use super::*;

    #[test]
    fn a_certificate_takes_the_place_of_one_of_its_network_and_of_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("member");
        let now = SystemTime::now();
        let invited = |network: u8, days: u64| {
            let member = NetworkKey::of(&[9; 32]).public();
            let expires = now + Duration::from_hours(24 * days);
            let network = NetworkKey::of(&[network; 32]);
            network.invite(member, EXCHANGE, expires).unwrap()
        };
        write(&path, &invited(1, 1)).unwrap();
        write(&path, &invited(1, 2)).unwrap();
        assert_eq!(read(&path).unwrap(), invited(1, 2));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let other = write(&path, &invited(2, 1)).unwrap_err();
        assert!(matches!(other, FileError::OtherNetwork(_)), "{other}");
        fs::write(&path, "a letter\n").unwrap();
        let foreign = write(&path, &invited(1, 1)).unwrap_err();
        assert!(matches!(foreign, FileError::Form(_)), "{foreign}");
        assert_eq!(fs::read(&path).unwrap(), b"a letter\n");
    }
}
