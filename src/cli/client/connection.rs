//! Which node a command asks.

use std::path::PathBuf;

use super::failure::Failure;
use crate::base_url::BaseUrl;
use crate::config::{Secret, WrongSetting};

/// Which node is asked, and how.
#[derive(clap::Args)]
pub(super) struct Connection {
    /// The node to ask.
    #[arg(
        long,
        env = "LARDER_NODE",
        value_name = "URL",
        default_value = "http://localhost:5004"
    )]
    pub(super) node: BaseUrl,

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
    pub(super) ca: Option<PathBuf>,

    /// Print JSON, one object a line.
    #[arg(long)]
    pub(super) json: bool,
}

impl Connection {
    /// The token, if there is one, without what stands around it where it was read from a file.
    pub(super) fn token(&self) -> Result<Option<&str>, Failure> {
        let Some(token) = self.token.as_ref().map(Secret::text) else {
            return Ok(None);
        };
        // What a client can send as `b64token` (RFC 6750, section 2.1).
        let sane = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if token.bytes().all(sane) {
            return Ok(Some(token).filter(|it| !it.is_empty()));
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
        let line = Line::parse_from(["larder", &format!("--token={text}")]);
        line.connection.token().map(|it| it.map(str::to_owned))
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
            assert_eq!(token(text).unwrap(), None, "{text:?}");
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
