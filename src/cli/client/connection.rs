//! Which node a command asks.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::base_url::BaseUrl;
use crate::cli::own_nodes;
use crate::config::{Secret, Settings, WrongSetting};

/// Which node is asked, and how.
#[derive(clap::Args)]
pub(in crate::cli) struct Connection {
    /// The node to ask: a host, at port 5004 unless it has another behind a colon, or a URL
    /// [default: the one that the settings here are of (larder.toml and environment), port 5004 of
    /// this machine where there are none].
    #[arg(
        long,
        env = "LARDER_NODE",
        value_name = "URL",
        value_parser = written
    )]
    node: Option<BaseUrl>,

    #[command(flatten)]
    credentials: Credentials,

    /// Print JSON, one object a line.
    #[arg(long)]
    pub(super) json: bool,
}

/// What a node and whoever asks it show each other.
#[derive(clap::Args, Clone)]
pub(in crate::cli) struct Credentials {
    /// Token of that node. Other users of this machine see arguments, but not the environment.
    #[arg(
        long,
        env = "LARDER_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<Secret>,

    /// File of certificates (PEM) of authorities that vouch for an https node, beside those
    /// that this system knows.
    #[arg(long, env = "LARDER_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Reads what names a node. What is empty is most likely a variable that was to be unset.
pub(in crate::cli) fn written(text: &str) -> Result<BaseUrl, String> {
    if text.trim().is_empty() {
        let told = "it is empty; leave it away where the node of the settings here is meant";
        return Err(told.to_owned());
    }
    BaseUrl::written(text).map_err(|error| error.to_string())
}

/// The node that is asked, and how, as far as it is known by then.
pub(super) struct Target {
    pub(super) node: BaseUrl,
    token: Option<Secret>,
    pub(super) ca: Option<PathBuf>,
    /// The file of the certificate that the node shows, where it is the one of the settings here.
    pub(super) own_certificate: Option<PathBuf>,
}

impl Credentials {
    /// Whether there are any.
    pub(in crate::cli) fn is_given(&self) -> bool {
        self.token.is_some() || self.ca.is_some()
    }
}

impl Connection {
    /// A connection to the node that is named, or to that of the settings here.
    pub(in crate::cli) fn new(node: Option<BaseUrl>, credentials: Credentials, json: bool) -> Self {
        Self {
            node,
            credentials,
            json,
        }
    }

    /// The node that is named, or the one that the settings here are of, with their token, which
    /// goes to no other. Blocks.
    pub(super) fn target(&self) -> Result<Target, WrongSetting> {
        let Credentials { token, ca } = self.credentials.clone();
        if let Some(node) = self.node.clone() {
            let (node, own_certificate) = certified(node);
            return Ok(Target {
                node,
                token,
                ca,
                own_certificate,
            });
        }
        let settings = Settings::here()?;
        let node = settings.own_address();
        let node = node.map_err(|it| WrongSetting::of("listen", &it))?;
        let token = match token {
            Some(token) => Some(token),
            None => settings.own_token()?,
        };
        let (node, own_certificate) = match settings.own_certificate() {
            Some(certificate) => (node, Some(certificate.to_owned())),
            None => certified(node),
        };
        Ok(Target {
            node,
            token,
            ca,
            own_certificate,
        })
    }
}

/// A node and the file of its certificate, where that is known: since the settings here are of that
/// very one, or since it is one of this user that runs here. That is asked over TLS, which was not
/// said where its address is written without a scheme. Blocks.
fn certified(node: BaseUrl) -> (BaseUrl, Option<PathBuf>) {
    if node.is_https()
        && let Some(certificate) = of_settings(&node)
    {
        return (node, Some(certificate));
    }
    match own_nodes::certificate_at(&node) {
        Some(certificate) => (node.over_tls(), Some(certificate)),
        None => (node, None),
    }
}

/// The file of the certificate that the settings here name of this very node. Whatever else is
/// wrong with those is no affair of whoever names a node. Blocks.
fn of_settings(node: &BaseUrl) -> Option<PathBuf> {
    let settings = Settings::here().ok().filter(|it| it.is_own(node))?;
    settings.own_certificate().map(Path::to_owned)
}

impl Target {
    /// The token, if there is one, without what stands around it where it was read from a file.
    pub(super) fn token(&self) -> Result<Option<&str>, Failure> {
        let Some(token) = self.token.as_ref().map(Secret::text) else {
            return Ok(None);
        };
        // What a client can send as `b64token` (RFC 6750, section 2.1).
        let sane = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if token.is_empty() {
            let told = "it is empty; leave it away where the node needs none";
            return Err(WrongSetting::new(&["token"], told).into());
        }
        if token.bytes().all(sane) {
            return Ok(Some(token));
        }
        let told = "the token has a character that none has: it is letters, digits and any of \
                    -._~+/=";
        Err(WrongSetting::new(&["token"], told).into())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        connection: Connection,
    }

    fn token(text: &str) -> Result<Option<String>, Failure> {
        let token = format!("--token={text}");
        let line = Line::parse_from(["larder", "--node=http://localhost", &token]);
        let target = line.connection.target().unwrap();
        target.token().map(|it| it.map(str::to_owned))
    }

    #[test]
    fn a_token_is_taken_without_what_stands_around_it() {
        for text in ["abc-._~+/=", "abc-._~+/=\r\n", "  abc-._~+/=\t"] {
            assert_eq!(
                token(text).unwrap().as_deref(),
                Some("abc-._~+/="),
                "{text:?}"
            );
        }
        for text in ["", " ", "\r\n"] {
            let told = token(text).unwrap_err().told();
            assert!(told.contains("it is empty"), "{text:?}: {told}");
        }
    }

    #[test]
    fn what_no_header_can_bear_is_no_token_and_is_not_shown() {
        for text in [
            "top secret",
            "top\rsecret",
            "top\u{e4}secret",
            "top\u{1b}secret",
            "top:secret",
        ] {
            let told = token(text).unwrap_err().told();
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
