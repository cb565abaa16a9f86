//! The key that makes a node the one it is.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::{SECRET_KEY_LENGTH, SigningKey};

use super::signature::{Proof, Signable, from_hex, to_hex};
use crate::disk::DiskError;
use crate::peer_id::PeerId;
use crate::state_file::StateFile;
use crate::stored_file;

/// The file of the secret key in the storage directory: its 32 bytes.
pub const FILE: &str = "node.key";
const UNFINISHED: &str = "node.key.unfinished";
/// The file of the public key, in hex, by which damage of the secret one shows: any 32 bytes
/// are a key, only of another node.
pub const CHECK: &str = "node.key.check";
/// Only the owner may read the key.
const MODE: u32 = 0o600;
/// The longest file read, in bytes; more than any damage makes of a key that is to be told.
const MAX_BYTES: u64 = 4096;

/// A node's ed25519 key (RFC 8032).
pub struct Identity {
    key: SigningKey,
    /// Whether other nodes have the same one, and are the same peer.
    is_of_fleet: bool,
}

/// Why a node has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The system refused an operation.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The key file does not hold a key.
    #[error(
        "{} is not a key of {SECRET_KEY_LENGTH} bytes; put back a copy of it, or remove it and \
         {}.check to go on as another peer",
        path.display(),
        path.display()
    )]
    Damaged {
        /// The key file.
        path: PathBuf,
    },
    /// The key file holds another key than it did, and that key does not differ from it by a
    /// single bit.
    #[error(
        "{} does not hold the key of peer {expected} any more, which this node is; put back a \
         copy of it, or remove {}.check to go on as another peer",
        path.display(),
        path.display()
    )]
    Changed {
        /// The key file.
        path: PathBuf,
        /// Who the node is.
        expected: PeerId,
    },
    /// The key file is gone.
    #[error(
        "{} is gone, the key of peer {expected}, which this node is; put back a copy of it, or \
         remove {}.check to go on as another peer",
        path.display(),
        path.display()
    )]
    Gone {
        /// The key file.
        path: PathBuf,
        /// Who the node is.
        expected: PeerId,
    },
    /// The system gives no random numbers to make a key of.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

impl Identity {
    /// The identity kept in `dir`, made and kept there the first time. A single damaged bit is
    /// mended; any other damage is an error, and the key is never replaced. Who removes the
    /// check goes on with the key that is there, or with a new one, and is told. Blocks.
    ///
    /// The caller has the storage directory to itself.
    pub fn load_or_create(dir: &Path) -> Result<Self, IdentityError> {
        let path = dir.join(FILE);
        let secret = read(&path)?;
        let given_up = given_up(dir, &path, secret.as_ref())?;
        let known = match given_up {
            Some(_) => None,
            None => expected(dir)?,
        };
        let (identity, found) = match (secret, known) {
            (None, None) => (Self::create(dir)?, Found::Whole),
            (secret, expected) => Self::of_file(&path, secret, expected)?,
        };
        if found == Found::Mendable {
            tracing::warn!(path = %path.display(), "a bit of the key was damaged; mended");
            write_durably(dir, identity.key.as_bytes())
                .map_err(|e| DiskError::new("mend", &path, e))?;
        }
        keep_private(&path)?;
        if let Some(before) = given_up {
            let now = identity.peer_id();
            tracing::warn!(
                path = %dir.join(CHECK).display(), %before, %now,
                "the check of the key was removed, so this node goes on as another peer"
            );
        }
        if known.is_none() {
            let (file, public) = (check_file(dir), to_hex(&identity.public()));
            // Twice, so that there is a version before to take where this one is damaged.
            let saved = file.save(public.as_bytes());
            let saved = saved.and_then(|()| file.save(public.as_bytes()));
            saved.map_err(|e| DiskError::new("write", dir.join(CHECK), e))?;
        }
        Ok(identity)
    }

    /// Has the node in `dir` be the one with this secret key where it has none yet, and tells which
    /// it has. Blocks.
    pub fn keep_first(dir: &Path, secret: &[u8; SECRET_KEY_LENGTH]) -> Result<Self, IdentityError> {
        if Self::public_key_in(dir)?.is_none() {
            write_durably(dir, secret).map_err(|e| DiskError::new("write", dir.join(FILE), e))?;
        }
        Self::load_or_create(dir)
    }

    /// The public key of the node in `dir`, which may run; None where none has a key yet. Changes
    /// nothing. Blocks.
    pub fn public_key_in(dir: &Path) -> Result<Option<[u8; 32]>, IdentityError> {
        let path = dir.join(FILE);
        match (read(&path)?, expected(dir)?) {
            (None, None) => Ok(None),
            (secret, expected) => {
                let (identity, _) = Self::of_file(&path, secret, expected)?;
                Ok(Some(identity.public()))
            }
        }
    }

    /// What is wrong with the key in `dir`, without changing anything. Blocks.
    pub fn problem(dir: &Path) -> Option<(PathBuf, String)> {
        let path = dir.join(FILE);
        let secret = read(&path);
        let given_up = secret.and_then(|secret| {
            let given_up = given_up(dir, &path, secret.as_ref())?;
            Ok((secret, given_up.is_some()))
        });
        let health = check_file(dir).health();
        let found = match (given_up, health.problem()) {
            (Ok((secret, true)), _) => Ok((secret, None)),
            (_, Some(problem)) => return Some((dir.join(CHECK), problem.to_owned())),
            (Ok((secret, false)), None) => expected(dir).map(|expected| (secret, expected)),
            (Err(error), None) => Err(error),
        };
        let (secret, expected) = match found {
            Ok((None, None)) => return None,
            Ok(found) => found,
            Err(error) => return Some((path, error.to_string())),
        };
        match Self::of_file(&path, secret, expected) {
            Ok((_, Found::Whole)) => None,
            Ok((_, Found::Mendable)) => {
                Some((path, "a bit is damaged (the node mends it)".to_owned()))
            }
            Err(error) => Some((path, error.to_string())),
        }
    }

    /// The identity of what a key file holds, where that is the `expected` public key's.
    fn of_file(
        path: &Path,
        secret: Option<Vec<u8>>,
        expected: Option<[u8; 32]>,
    ) -> Result<(Self, Found), IdentityError> {
        let path = path.to_owned();
        let damaged = || IdentityError::Damaged { path: path.clone() };
        let whole = |secret: &Vec<u8>| <[u8; 32]>::try_from(secret.as_slice()).ok();
        let Some(public) = expected else {
            let secret = secret.as_ref().and_then(whole).ok_or_else(damaged)?;
            return Ok((Self::of(&secret), Found::Whole));
        };
        let expected = PeerId::of_public_key(&public);
        let Some(secret) = secret else {
            return Err(IdentityError::Gone { path, expected });
        };
        let found = whole(&secret).map(|secret| Self::of(&secret));
        if let Some(identity) = found.filter(|it| it.public() == public) {
            return Ok((identity, Found::Whole));
        }
        // The public key proves which bytes were right, so nothing is guessed.
        let mut candidates = one_bit_from(&secret).map(|secret| Self::of(&secret));
        match candidates.find(|it| it.public() == public) {
            Some(identity) => Ok((identity, Found::Mendable)),
            None if secret.len() == SECRET_KEY_LENGTH => {
                Err(IdentityError::Changed { path, expected })
            }
            None => Err(damaged()),
        }
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        *self.key.verifying_key().as_bytes()
    }

    fn create(dir: &Path) -> Result<Self, IdentityError> {
        let identity = Self::generate()?;
        write_durably(dir, identity.key.as_bytes())
            .map_err(|e| DiskError::new("write", dir.join(FILE), e))?;
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
            is_of_fleet: false,
        }
    }

    /// The identity of nodes that are one peer and share this secret key.
    pub fn of_fleet(secret: &[u8; SECRET_KEY_LENGTH]) -> Self {
        Self {
            is_of_fleet: true,
            ..Self::of(secret)
        }
    }

    /// Whether other nodes have the same one, and are the same peer.
    pub fn is_of_fleet(&self) -> bool {
        self.is_of_fleet
    }

    /// The secret key, for who keeps it for others.
    pub fn secret(&self) -> [u8; SECRET_KEY_LENGTH] {
        self.key.to_bytes()
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

/// How a key file was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Whole,
    /// A bit, or its last byte, is not what it was.
    Mendable,
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    match stored_file::read(path, MAX_BYTES) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => Ok(Some(bytes.map_err(|e| DiskError::new("read", path, e))?)),
    }
}

fn check_file(dir: &Path) -> StateFile {
    StateFile::new(dir.join(CHECK), "larder-key-check 1")
}

/// The public key of the key in `dir`, if it was written down.
fn expected(dir: &Path) -> Result<Option<[u8; 32]>, IdentityError> {
    let file = check_file(dir);
    let text = file
        .load()
        .map_err(|e| DiskError::new("read", file.path(), e))?;
    let text = text.and_then(|text| String::from_utf8(text).ok());
    Ok(text.and_then(|text| from_hex(&text)))
}

/// Who the node was, where its owner has it go on as another peer: by removing the check, which
/// no crash does and no damage, of a key that is gone or another one. Else the version before the
/// check says the same, and stands in for it.
fn given_up(
    dir: &Path,
    path: &Path,
    secret: Option<&Vec<u8>>,
) -> Result<Option<PeerId>, IdentityError> {
    let file = check_file(dir);
    let before = file.forsaken();
    let before = before.map_err(|e| DiskError::new("read", file.path(), e))?;
    let before = before.and_then(|text| String::from_utf8(text).ok());
    let Some(public) = before.and_then(|text| from_hex(&text)) else {
        return Ok(None);
    };
    match Identity::of_file(path, secret.cloned(), Some(public)) {
        Err(IdentityError::Gone { expected, .. } | IdentityError::Changed { expected, .. }) => {
            Ok(Some(expected))
        }
        _ => Ok(None),
    }
}

/// The keys that differ from these bytes by one bit, or by a last byte that was cut off.
fn one_bit_from(bytes: &[u8]) -> impl Iterator<Item = [u8; SECRET_KEY_LENGTH]> {
    let whole: Option<[u8; SECRET_KEY_LENGTH]> = bytes.try_into().ok();
    let flipped = whole.into_iter().flat_map(|secret| {
        (0..SECRET_KEY_LENGTH * 8).map(move |bit| {
            let mut secret = secret;
            if let Some(byte) = secret.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            secret
        })
    });
    let cut = bytes.to_vec();
    let completed = (0..=u8::MAX).filter_map(move |last| {
        let mut secret = cut.clone();
        secret.push(last);
        secret.try_into().ok()
    });
    flipped.chain(completed)
}

/// Whoever reads the key can pose as the node.
fn keep_private(path: &Path) -> Result<(), IdentityError> {
    let look = fs::metadata(path).map_err(|e| DiskError::new("look at", path, e))?;
    if look.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others could read the key; taking that right away");
        fs::set_permissions(path, Permissions::from_mode(MODE))
            .map_err(|e| DiskError::new("change the rights of", path, e))?;
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
    fn a_damaged_bit_of_the_key_or_its_check_is_told_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let peer = Identity::load_or_create(dir.path()).unwrap().peer_id();
        for name in [FILE, CHECK] {
            let path = dir.path().join(name);
            let whole = fs::read(&path).unwrap();
            let flipped = (0..whole.len() * 8).map(|bit| {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            });
            for damaged in flipped.chain([whole[..whole.len() - 1].to_vec()]) {
                assert_eq!(Identity::problem(dir.path()), None);
                fs::write(&path, &damaged).unwrap();
                assert_eq!(Identity::problem(dir.path()).unwrap().0, path);
                let identity = Identity::load_or_create(dir.path()).unwrap();
                assert_eq!(identity.peer_id(), peer);
                assert_eq!(fs::read(&path).unwrap(), whole);
            }
        }
    }

    #[test]
    fn a_key_that_is_another_one_or_gone_is_refused_until_its_check_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let peer = Identity::load_or_create(dir.path()).unwrap().peer_id();
        let own = fs::read(&path).unwrap();
        let refused = || {
            let said = Identity::load_or_create(dir.path())
                .err()
                .unwrap()
                .to_string();
            assert!(said.contains(&peer.to_string()), "{said}");
            assert_eq!(Identity::problem(dir.path()), Some((path.clone(), said)));
        };
        fs::write(&path, [1; 32]).unwrap();
        refused();
        assert_eq!(fs::read(&path).unwrap(), [1; 32]);
        fs::remove_file(&path).unwrap();
        refused();
        fs::write(&path, &own).unwrap();
        assert_eq!(
            Identity::load_or_create(dir.path()).unwrap().peer_id(),
            peer
        );
        // Whoever is refused removes what the message names, and nothing else.
        let check = dir.path().join(CHECK);
        let given_up = || {
            fs::remove_file(&check).unwrap();
            assert_eq!(Identity::problem(dir.path()), None);
            let identity = Identity::load_or_create(dir.path()).unwrap();
            assert_eq!(Identity::problem(dir.path()), None);
            let again = Identity::load_or_create(dir.path()).unwrap();
            assert_eq!(again.peer_id(), identity.peer_id());
            identity
        };
        fs::write(&path, [1; 32]).unwrap();
        refused();
        assert_eq!(given_up().key.as_bytes(), &[1; 32]);
        fs::remove_file(&path).unwrap();
        let third = given_up();
        assert_ne!(third.peer_id(), peer);
        assert_ne!(third.key.as_bytes(), &[1; 32]);
        for damaged in [&b""[..], &[1; 30], &[1; 33]] {
            fs::write(&path, damaged).unwrap();
            assert!(Identity::load_or_create(dir.path()).is_err());
            fs::remove_file(&path).unwrap();
            given_up();
        }
    }

    #[test]
    fn a_check_that_is_lost_while_the_key_is_there_comes_back_and_still_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let peer = Identity::load_or_create(dir.path()).unwrap().peer_id();
        let own = fs::read(&path).unwrap();
        for flipped in [0, 1] {
            let mut key = own.clone();
            key[7] ^= flipped;
            fs::write(&path, &key).unwrap();
            fs::remove_file(dir.path().join(CHECK)).unwrap();
            assert!(Identity::problem(dir.path()).is_some());
            let identity = Identity::load_or_create(dir.path()).unwrap();
            assert_eq!(identity.peer_id(), peer);
            assert_eq!(fs::read(&path).unwrap(), own);
            assert_eq!(Identity::problem(dir.path()), None);
        }
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
