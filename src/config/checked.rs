//! The one check of all settings together, before anything is done by them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::Settings;
use super::composed::Checked;
use super::wrong::WrongSetting;

impl Settings {
    /// The file that makes the node a member of a network, which can be read again.
    pub fn network(&self) -> Option<&Path> {
        self.access.network()
    }

    /// Checks all that can be told before a node starts: reads the files that the settings name,
    /// and looks whether this machine has the address and the storage directory can be one. Changes
    /// nothing. Blocks.
    pub fn checked(&self) -> anyhow::Result<Checked> {
        let (http, authorities) = (self.http()?, self.authorities()?);
        let tls = self.tls.tls()?;
        self.node(self.listen())?;
        check_address(self.listen())?;
        check_storage(&self.storage)?;
        let membership = self.access.membership()?;
        Ok(Checked {
            http,
            kept: self.kept(membership.as_ref())?,
            membership,
            authorities,
            tls,
        })
    }
}

/// Fails where an address is none of this machine's. Whether its port is free, and for whom, the
/// start alone can tell.
fn check_address(address: SocketAddr) -> Result<(), WrongSetting> {
    match TcpListener::bind((address.ip(), 0)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            let told = format!("cannot listen on {address}, which is no address of this machine");
            Err(WrongSetting::new(&["listen"], told))
        }
        _ => Ok(()),
    }
}

/// Fails where a path is that of something else than a directory, or lies below such.
fn check_storage(path: &Path) -> Result<(), WrongSetting> {
    let there = path.ancestors().find_map(|it| {
        let about = it.metadata().ok()?;
        Some((it, about))
    });
    match there {
        Some((it, about)) if !about.is_dir() => {
            let told = format!("{} is no directory", it.display());
            Err(WrongSetting::new(&["storage"], told))
        }
        _ => Ok(()),
    }
}
