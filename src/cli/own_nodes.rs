//! Nodes of this user that speak HTTPS on this machine: where each has its certificate, noted while
//! it runs, so that commands believe it also where the node has its settings from flags.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::state::{open_state, state_directory};
use crate::base_url::BaseUrl;

/// The longest note that is read, in bytes; the longest path of Linux and an address are shorter.
const LONGEST: u64 = 8192;

/// The note of a node that runs. It is locked as long as that is so, and then removed; what a
/// killed node has left is locked by nobody, and means nothing.
#[must_use]
pub(super) struct OwnNode {
    path: PathBuf,
    /// Open, and so locked.
    _file: File,
}

impl OwnNode {
    /// Notes where the node that listens on `bound` has its certificate. None where there is no
    /// place for that, or another node has it. Blocks.
    pub(super) fn note(bound: SocketAddr, certificate: &Path) -> Option<Self> {
        note(&directory()?, bound, certificate).ok()
    }
}

impl Drop for OwnNode {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The file of the certificate of a node of this user that runs on this machine at that address,
/// if it speaks HTTPS. Blocks.
pub(super) fn certificate_at(node: &BaseUrl) -> Option<PathBuf> {
    find(&directory()?, node)
}

fn directory() -> Option<PathBuf> {
    Some(state_directory()?.join("nodes"))
}

fn note(dir: &Path, bound: SocketAddr, certificate: &Path) -> io::Result<OwnNode> {
    let certificate = std::path::absolute(certificate)?;
    let path = dir.join(bound.port().to_string());
    let mut file = open_state(&path)?;
    file.try_lock()?;
    file.set_len(0)?;
    let ip = bound.ip();
    file.write_all(
        &[
            format!("{ip}\n").as_bytes(),
            certificate.as_os_str().as_bytes(),
        ]
        .concat(),
    )?;
    Ok(OwnNode { path, _file: file })
}

fn find(dir: &Path, node: &BaseUrl) -> Option<PathBuf> {
    if !node.is_loopback() || node.has_path() {
        return None;
    }
    let path = dir.join(node.port()?.to_string());
    let file = File::open(&path).ok()?;
    let about = file.metadata().ok()?;
    let is_own = about.is_file() && about.uid() == rustix::process::geteuid().as_raw();
    if !is_own || file.try_lock_shared().is_ok() {
        return None;
    }
    let mut text = Vec::new();
    (&file).take(LONGEST).read_to_end(&mut text).ok()?;
    let at = text.iter().position(|it| *it == b'\n')?;
    let certificate = text.split_off(at + 1);
    let ip: std::net::IpAddr = std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()?;
    let is_reached = ip.is_loopback() || ip.is_unspecified();
    is_reached.then(|| PathBuf::from(std::ffi::OsString::from_vec(certificate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dir: &Path, node: &str) -> Option<PathBuf> {
        find(dir, &node.parse().unwrap())
    }

    #[test]
    fn a_note_counts_while_its_node_runs_and_for_that_alone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let certificate = Path::new("/somewhere/cert.pem");
        let first = note(dir, "0.0.0.0:5004".parse().unwrap(), certificate).unwrap();
        for node in ["https://localhost:5004", "http://[::1]:5004"] {
            assert_eq!(at(dir, node).as_deref(), Some(certificate), "{node}");
        }
        for node in [
            "https://localhost:5005",
            "https://10.0.0.1:5004",
            "https://localhost:5004/larder",
        ] {
            assert_eq!(at(dir, node), None, "{node}");
        }
        assert!(note(dir, "127.0.0.1:5004".parse().unwrap(), certificate).is_err());
        let _elsewhere = note(dir, "10.0.0.1:5005".parse().unwrap(), certificate).unwrap();
        assert_eq!(at(dir, "https://localhost:5005"), None);
        let kept = fs::read(dir.join("5004")).unwrap();
        drop(first);
        assert!(!dir.join("5004").exists());
        // As a node leaves it that was killed.
        fs::write(dir.join("5004"), kept).unwrap();
        assert_eq!(at(dir, "https://localhost:5004"), None);
        let again = note(
            dir,
            "127.0.0.1:5004".parse().unwrap(),
            Path::new("cert.pem"),
        );
        let _again = again.unwrap();
        let found = at(dir, "https://localhost:5004").unwrap();
        assert!(
            found.is_absolute() && found.ends_with("cert.pem"),
            "{found:?}"
        );
    }
}
