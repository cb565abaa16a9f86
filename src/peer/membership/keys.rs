//! The key of a network, by which it has members.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::{SECRET_KEY_LENGTH, Signature, Signer, SigningKey, Verifier};

use super::Revocation;
use super::certificate::{Certificate, PublicKey, are_rights, copies_in, rights};
use crate::peer::signature::{Signable, from_hex, to_hex};
use crate::{given_file, secret_file};

/// What the line of the key begins with: its kind and version.
const KIND: &str = "larder-network-1";
/// What is signed of a network that has other rights for members than the usual ones.
const RIGHTS: &str = "larder 2026-11 rights in a network";
/// The longest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 4096;
/// For those who decide about members alone.
const MODE: u32 = 0o600;
/// What the file says of itself to people.
const ABOUT: &str = "# The key of a larder network. Whoever has it decides who is a member: keep \
                     it to yourself, and a copy.\n";

/// The key of a network.
pub struct NetworkKey {
    key: SigningKey,
    /// On how many members files are to be, where an invitation says nothing else.
    copies: Option<u8>,
}

/// Why a network's key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetworkKeyError {
    /// It is there already: another key would be another network.
    #[error("{0} is there already; the key of a network is never replaced")]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("{0} cannot be written")]
    Unwritable(PathBuf, #[source] io::Error),
    /// It cannot be read.
    #[error("{0} cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It holds something else, or is damaged.
    #[error("{0} is not the key of a network, as `larder network create` makes it")]
    Damaged(PathBuf),
    /// The system gives no random numbers to make a key of.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// A certificate cannot say so.
    #[error("a certificate holds rights as words with commas, and a time before 2106")]
    Said,
}

impl NetworkKey {
    pub(super) fn of(secret: &[u8; SECRET_KEY_LENGTH]) -> Self {
        Self {
            key: SigningKey::from_bytes(secret),
            copies: None,
        }
    }

    /// Makes a key and writes it to a file that is not there yet, for its owner alone, with on how
    /// many members files are to be, where that is said. Blocks.
    pub fn create(path: &Path, copies: Option<u8>) -> Result<Self, NetworkKeyError> {
        let mut secret = [0; SECRET_KEY_LENGTH];
        getrandom::fill(&mut secret).map_err(NetworkKeyError::Random)?;
        let key = Self {
            copies,
            ..Self::of(&secret)
        };
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(path);
        let mut file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => NetworkKeyError::Exists(path.to_owned()),
            _ => NetworkKeyError::Unwritable(path.to_owned(), error),
        })?;
        // The public key is the check by which damage shows: any 32 bytes are a key.
        let (secret, public) = (to_hex(&secret), key.public());
        let line = format!("{KIND}.{secret}.{public}{}\n", key.written_rights());
        let written = file.write_all(format!("{ABOUT}{line}").as_bytes());
        written.and_then(|()| file.sync_all()).map_err(|error| {
            let _ = fs::remove_file(path);
            NetworkKeyError::Unwritable(path.to_owned(), error)
        })?;
        Ok(key)
    }

    /// Reads the key, which counts only where nobody else can have written it. Blocks.
    pub fn read(path: &Path) -> Result<Self, NetworkKeyError> {
        let text = given_file::read(path, MAX_FILE_BYTES).and_then(|given| {
            secret_file::warn(path, secret_file::check(&given.file)?);
            given.text()
        });
        let text = text.map_err(|error| NetworkKeyError::Unreadable(path.to_owned(), error))?;
        let mut lines = text.lines().filter(|it| !it.starts_with('#'));
        let line = lines.next().filter(|_| lines.next().is_none());
        line.and_then(parse)
            .ok_or_else(|| NetworkKeyError::Damaged(path.to_owned()))
    }

    /// By which the network is known.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.key.verifying_key().as_bytes())
    }

    /// On how many members files are to be, where an invitation says nothing else.
    pub fn copies(&self) -> Option<u8> {
        self.copies
    }

    /// What stands behind the key where members have other rights than the usual ones: these, and
    /// by which it shows that they are what they were.
    fn written_rights(&self) -> String {
        let Some(copies) = self.copies else {
            return String::new();
        };
        let rights = rights(Some(copies));
        let signature = self.key.sign(signable(&rights).as_bytes());
        format!(".{rights}.{}", to_hex(&signature.to_bytes()))
    }

    /// Makes whoever has the key `member` a member until `expires`.
    pub fn invite(
        &self,
        member: PublicKey,
        rights: &str,
        expires: SystemTime,
    ) -> Result<Certificate, NetworkKeyError> {
        let seconds = expires.duration_since(UNIX_EPOCH).ok();
        let seconds = seconds.and_then(|it| u32::try_from(it.as_secs()).ok());
        let seconds = seconds.filter(|_| are_rights(rights));
        let mut certificate = Certificate {
            network: self.public(),
            member,
            rights: rights.to_owned(),
            expires: seconds.ok_or(NetworkKeyError::Said)?.into(),
            signature: [0; 64],
        };
        let signature = self.key.sign(certificate.signable().as_bytes());
        certificate.signature = signature.to_bytes();
        Ok(certificate)
    }

    /// Has whoever has the key `member` be no member any more, for ever.
    pub fn revoke(&self, member: PublicKey) -> Revocation {
        let mut revocation = Revocation {
            network: self.public(),
            member,
            signature: [0; 64],
        };
        let signature = self.key.sign(revocation.signable().as_bytes());
        revocation.signature = signature.to_bytes();
        revocation
    }
}

fn signable(rights: &str) -> Signable {
    Signable::new(RIGHTS).field(rights)
}

fn parse(line: &str) -> Option<NetworkKey> {
    let parts: Vec<_> = line.split('.').collect();
    let (secret, public, said) = match parts[..] {
        [KIND, secret, public] => (secret, public, None),
        [KIND, secret, public, rights, signature] => (secret, public, Some((rights, signature))),
        _ => return None,
    };
    let mut key = NetworkKey::of(&from_hex(secret)?);
    if key.public() != public.parse().ok()? {
        return None;
    }
    if let Some((rights, signature)) = said {
        let signature = Signature::from_bytes(&from_hex(signature)?);
        let message = signable(rights);
        let verified = key
            .key
            .verifying_key()
            .verify(message.as_bytes(), &signature);
        verified.ok()?;
        key.copies = copies_in(rights);
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_its_owners_alone_stays_and_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("network.key");
        let made = NetworkKey::create(&path, None).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(NetworkKey::read(&path).unwrap().public(), made.public());
        let text = fs::read(&path).unwrap();
        let again = NetworkKey::create(&path, None).err().unwrap();
        assert!(matches!(again, NetworkKeyError::Exists(_)), "{again}");
        assert_eq!(fs::read(&path).unwrap(), text);
        fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
        let open = NetworkKey::read(&path).err().unwrap();
        assert!(matches!(open, NetworkKeyError::Unreadable(..)), "{open}");
    }

    #[test]
    fn damage_of_any_digit_of_a_key_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("network.key");
        let made = NetworkKey::create(&path, Some(3)).unwrap();
        assert_eq!(NetworkKey::read(&path).unwrap().copies(), made.copies());
        assert_eq!(made.copies(), Some(3));
        let text = fs::read(&path).unwrap();
        for at in ABOUT.len()..text.len() - 1 {
            let mut damaged = text.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let told = NetworkKey::read(&path).err();
            assert!(matches!(told, Some(NetworkKeyError::Damaged(_))), "{at}");
        }
        for longer in [
            &[&text[..], b"more\n"].concat(),
            &b"# nothing\n"[..].to_vec(),
        ] {
            fs::write(&path, longer).unwrap();
            assert!(NetworkKey::read(&path).is_err());
        }
    }
}
