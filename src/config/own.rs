//! The node that the settings here are of, for the commands that ask it.

use std::net::IpAddr;
use std::path::Path;

use clap::{Command, CommandFactory, FromArgMatches, Parser};
use url::Host;

use super::file::SettingsFile;
use super::wrong::WrongSetting;
use super::{Secret, Settings};
use crate::base_url::{BaseUrl, InvalidBaseUrl};

/// The settings of a node that is started without a flag.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

impl Settings {
    /// The settings of a node that is started here without a flag: those of the settings file and
    /// of the environment. Blocks.
    pub fn here() -> Result<Self, WrongSetting> {
        let mut command = Line::command();
        let plain = read(&command)?;
        if let Some(path) = plain.file() {
            let file = SettingsFile::read(path, &command)?;
            command = file.apply(command);
            return read(&command);
        }
        Ok(plain)
    }

    /// Where such a node is reached from this machine.
    pub fn own_address(&self) -> Result<BaseUrl, InvalidBaseUrl> {
        let listen = self.listen();
        if listen.ip().is_unspecified() || listen.ip().is_loopback() && listen.is_ipv4() {
            return format!("{}://localhost:{}", self.scheme(), listen.port()).parse();
        }
        format!("{}://{listen}", self.scheme()).parse()
    }

    /// The file of the certificate that such a node shows, if it speaks TLS.
    pub fn own_certificate(&self) -> Option<&Path> {
        self.tls.certificate()
    }

    /// Whether an address is that of such a node on this machine.
    pub fn is_own(&self, node: &BaseUrl) -> bool {
        let own = self.listen();
        let is_here = match node.host() {
            Some(Host::Ipv4(ip)) => IpAddr::from(ip) == own.ip(),
            Some(Host::Ipv6(ip)) => IpAddr::from(ip) == own.ip(),
            _ => false,
        };
        node.port() == Some(own.port()) && (is_here || node.is_loopback()) && !node.has_path()
    }

    /// The token that such a node gives the right to write by, where the settings have it
    /// themselves. Reads the file that has it.
    pub fn own_token(&self) -> Result<Option<Secret>, WrongSetting> {
        self.access.own_token()
    }
}

/// What the environment says, and the defaults.
fn read(command: &Command) -> Result<Settings, WrongSetting> {
    let wrong = |error: clap::Error| WrongSetting::of_line(&error, command);
    let matches = command.clone().try_get_matches_from(["larder"]);
    let matches = matches.map_err(wrong)?;
    let line = Line::from_arg_matches(&matches).map_err(wrong)?;
    Ok(line.settings)
}
