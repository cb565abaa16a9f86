//! The key that makes a node the one it is.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::{SECRET_KEY_LENGTH, SigningKey};

use super::signature::{Proof, Signable};
use crate::peer_id::PeerId;

/// The file of the secret key in the storage directory: its 32 bytes.
const FILE: &str = "node.key";
const UNFINISHED: &str = "node.key.unfinished";
/// Only the owner may read the key.
const MODE: u32 = 0o600;

/// A node's ed25519 key (RFC 8032).
pub struct Identity {
    key: SigningKey,
}

/// Why a node has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The system refused an operation.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key file does not hold a key.
    #[error("{} is not a key of {SECRET_KEY_LENGTH} bytes", path.display())]
    Damaged {
        /// The key file.
        path: PathBuf,
    },
    /// The system gives no random numbers to make a key of.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

impl Identity {
    /// The identity kept in `dir`, made and kept there the first time. Blocks.
    ///
    /// The caller has the storage directory to itself.
    pub fn load_or_create(dir: &Path) -> Result<Self, IdentityError> {
        let path = dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                let secret = bytes.try_into();
                let secret = secret.map_err(|_| IdentityError::Damaged { path: path.clone() })?;
                keep_private(&path)?;
                Ok(Self::of(&secret))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Self::create(dir),
            Err(e) => Err(io_error("read", &path, e)),
        }
    }

    fn create(dir: &Path) -> Result<Self, IdentityError> {
        let identity = Self::generate()?;
        write_durably(dir, identity.key.as_bytes())
            .map_err(|e| io_error("write", &dir.join(FILE), e))?;
        Ok(identity)
    }

    /// A new identity that is kept nowhere, for a node in memory.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut secret = [0; SECRET_KEY_LENGTH];
        getrandom::fill(&mut secret).map_err(IdentityError::Random)?;
        Ok(Self::of(&secret))
    }

    fn of(secret: &[u8; SECRET_KEY_LENGTH]) -> Self {
        Self {
            key: SigningKey::from_bytes(secret),
        }
    }

    /// The id by which peers know the node.
    pub fn peer_id(&self) -> PeerId {
        PeerId::of_public_key(self.key.verifying_key().as_bytes())
    }

    /// Vouches for a message as this node's.
    pub fn sign(&self, message: &Signable) -> Proof {
        Proof::of(&self.key, message)
    }
}

/// Whoever reads the key can pose as the node.
fn keep_private(path: &Path) -> Result<(), IdentityError> {
    let look = fs::metadata(path).map_err(|e| io_error("look at", path, e))?;
    if look.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others could read the key; taking that right away");
        fs::set_permissions(path, Permissions::from_mode(MODE))
            .map_err(|e| io_error("change the rights of", path, e))?;
    }
    Ok(())
}

/// Writes the key file whole or not at all, whenever a crash comes.
fn write_durably(dir: &Path, secret: &[u8]) -> io::Result<()> {
    let unfinished = dir.join(UNFINISHED);
    match fs::remove_file(&unfinished) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        result => result?,
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&unfinished)?;
    file.write_all(secret)?;
    file.sync_all()?;
    fs::rename(&unfinished, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> IdentityError {
    IdentityError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(dir: &Path) -> u32 {
        let look = fs::metadata(dir.join(FILE)).unwrap();
        look.permissions().mode() & 0o777
    }

    #[test]
    fn a_node_stays_who_it_is() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // A crash may have left this behind.
        fs::write(one.path().join(UNFINISHED), b"half").unwrap();
        let first = Identity::load_or_create(one.path()).unwrap().peer_id();
        let again = Identity::load_or_create(one.path()).unwrap().peer_id();
        let other = Identity::load_or_create(two.path()).unwrap().peer_id();
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert_eq!(mode(one.path()), MODE);
        assert!(!one.path().join(UNFINISHED).exists());
    }

    #[test]
    fn rights_that_others_have_are_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        Identity::load_or_create(dir.path()).unwrap();
        fs::set_permissions(dir.path().join(FILE), Permissions::from_mode(0o644)).unwrap();
        Identity::load_or_create(dir.path()).unwrap();
        assert_eq!(mode(dir.path()), MODE);
    }

    #[test]
    fn a_damaged_key_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [&b""[..], &[1; 31], &[1; 33]] {
            fs::write(dir.path().join(FILE), bytes).unwrap();
            let loaded = Identity::load_or_create(dir.path());
            assert!(matches!(loaded, Err(IdentityError::Damaged { .. })));
            assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), bytes);
        }
    }
}
