//! Settings of who may read and write.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::copying::CopyArguments;
use super::secret::Secret;
use super::tokens::read_tokens;
use super::wrong::WrongSetting;
use crate::access::{Access, InvalidToken, NamedToken, Rights, Token};
use crate::peer::membership::{self, Admin, Joined};
use crate::{given_file, secret_file};

/// The longest file of a token that is read, in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// Who may do what through the REST API.
#[derive(Args, Debug, Clone)]
pub(super) struct AccessSettings {
    /// Token that requests must bear to write or delete. Other users of this machine see
    /// arguments, but neither the environment nor --token-file.
    #[arg(
        long,
        env = "LARDER_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<Secret>,

    /// File whose first line is the token. Refused where others may write to it. Read again on
    /// SIGHUP.
    #[arg(long, env = "LARDER_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// File of tokens with the right to read or to write, as `larder token` adds them. Refused
    /// where others may write to it. Read again on SIGHUP.
    #[arg(long, env = "LARDER_TOKENS", value_name = "FILE")]
    tokens: Option<PathBuf>,

    /// Let nobody read without a token either; peers, which have none, get nothing then, and
    /// are told nothing. The node asks the peers that --peer names, and nobody else.
    #[arg(long, env = "LARDER_PRIVATE")]
    private: bool,

    /// File by which this node is a member of a network, as `larder network join` writes it: it
    /// exchanges files with other members that --peer or they name, over TLS on the same port, and
    /// asks and tells nobody else. Reading without a token is for this machine alone then. Read
    /// again on SIGHUP.
    #[arg(long, env = "LARDER_NETWORK", value_name = "FILE")]
    network: Option<PathBuf>,

    /// File with the key of that network, as `larder network create` makes it: this node renews the
    /// other members, and tells them who was revoked. One is enough.
    #[arg(long, env = "LARDER_NETWORK_KEY", value_name = "FILE")]
    network_key: Option<PathBuf>,

    #[command(flatten)]
    pub(super) copying: CopyArguments,

    /// Let everyone who reaches the node write and delete, where --listen is not for this
    /// machine alone.
    #[arg(long, env = "LARDER_OPEN")]
    open: bool,
}

/// Where the tokens of a node that runs are read again.
#[derive(Debug)]
pub struct TokenFiles {
    settings: AccessSettings,
    listen: IpAddr,
}

impl TokenFiles {
    /// Who may do what by what the files hold now. One that was emptied takes its rights away.
    /// Blocks.
    pub fn read(&self) -> Result<Access, WrongSetting> {
        let tokens = self.settings.all_tokens()?;
        let anyone = self.settings.anyone(self.listen);
        Ok(Access { anyone, tokens })
    }
}

impl AccessSettings {
    /// The files that can be read again, if there are any, for a node that listens on this
    /// address.
    pub(super) fn files(&self, listen: IpAddr) -> Option<TokenFiles> {
        let settings = self.clone();
        let any = self.tokens.is_some() || self.token_file.is_some();
        any.then_some(TokenFiles { settings, listen })
    }

    /// Whether nobody learns anything of the node without a token.
    pub(super) fn is_private(&self) -> bool {
        self.private
    }

    /// The file that makes the node a member of a network, if it is one.
    pub(super) fn network(&self) -> Option<&Path> {
        self.network.as_deref()
    }

    /// Whether the node is a member of a network.
    pub(super) fn is_member(&self) -> bool {
        self.network.is_some()
    }

    /// What makes it one. Reads its file.
    pub(super) fn membership(&self) -> Result<Option<Joined>, WrongSetting> {
        let admin = self.network_key.as_deref().map(Admin::read);
        let admin = admin.transpose();
        let admin = admin.map_err(|it| WrongSetting::of("network-key", &it))?;
        let Some(file) = &self.network else {
            let told = "it needs --network: a node with the key of a network is a member of it";
            return match admin {
                Some(_) => Err(WrongSetting::new(&["network-key"], told.to_owned())),
                None => Ok(None),
            };
        };
        let certificate = membership::file::read(file);
        Ok(Some(Joined {
            certificate: certificate.map_err(|it| WrongSetting::of("network", &it))?,
            file: Some(file.clone()),
            admin: admin.map(Arc::new),
        }))
    }

    /// Whether everyone who reaches the node may write because the operator said so.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Who may do what at a node that starts and listens on this address. Reads the files of
    /// tokens.
    pub(super) fn access(&self, listen: IpAddr) -> Result<Access, WrongSetting> {
        let tokens = self.all_tokens()?;
        if self.token_file.is_some() && tokens.is_empty() {
            return Err(WrongSetting::of("token-file", &InvalidToken));
        }
        if self.private && tokens.is_empty() {
            return Err(self.nobody());
        }
        if self.open && self.is_member() {
            return Err(exclude_each_other(&["open", "network"]));
        }
        match self.giver_of_tokens() {
            Some(giver) if self.open => Err(exclude_each_other(&["open", giver])),
            _ => Ok(Access {
                anyone: self.anyone(listen),
                tokens,
            }),
        }
    }

    /// What may be done without a token. Who has named a place of tokens, be it empty, wants
    /// nobody to write without one.
    fn anyone(&self, listen: IpAddr) -> Option<Rights> {
        let is_mine_alone = listen.is_loopback() && self.giver_of_tokens().is_none();
        match (self.private, self.open || is_mine_alone) {
            (true, _) => None,
            (false, true) => Some(Rights::Write),
            // Whoever reads would learn of the other members.
            (false, false) if self.is_member() => None,
            (false, false) => Some(Rights::Read),
        }
    }

    /// The one token that the settings name for writing.
    pub(super) fn own_token(&self) -> Result<Option<Secret>, WrongSetting> {
        match (&self.token, &self.token_file) {
            (Some(secret), _) => Ok(Some(secret.clone())),
            (None, Some(path)) => Ok(Some(Secret::of(first_line(&text_of(path)?).to_owned()))),
            (None, None) => Ok(None),
        }
    }

    fn all_tokens(&self) -> Result<Vec<NamedToken>, WrongSetting> {
        let mut tokens = match &self.tokens {
            Some(path) => read_tokens(path).map_err(|it| WrongSetting::of("tokens", &it))?,
            None => Vec::new(),
        };
        let named_here = match (&self.token, &self.token_file) {
            (Some(_), Some(_)) => return Err(exclude_each_other(&["token", "token-file"])),
            (Some(secret), None) => Some(parse("token", secret.text())?),
            (None, Some(path)) => read(path)?,
            (None, None) => None,
        };
        tokens.extend(named_here.map(|token| NamedToken {
            name: "--token".to_owned(),
            rights: Rights::Write,
            token,
        }));
        Ok(tokens)
    }

    /// The first of the settings that give tokens, if there is one.
    pub(super) fn giver_of_tokens(&self) -> Option<&'static str> {
        let givers = [
            (self.token.is_some(), "token"),
            (self.token_file.is_some(), "token-file"),
            (self.tokens.is_some(), "tokens"),
        ];
        givers.into_iter().find(|it| it.0).map(|it| it.1)
    }

    /// Nobody could read.
    fn nobody(&self) -> WrongSetting {
        match &self.tokens {
            Some(path) => {
                let told = format!("there is no token in {}", path.display());
                WrongSetting::new(&["private", "tokens"], told)
            }
            None => WrongSetting::new(
                &["private"],
                "it needs --tokens, --token or --token-file as well",
            ),
        }
    }
}

fn exclude_each_other(settings: &[&str]) -> WrongSetting {
    WrongSetting::new(settings, "they exclude each other")
}

fn parse(setting: &str, text: &str) -> Result<Token, WrongSetting> {
    text.parse().map_err(|it| WrongSetting::of(setting, &it))
}

/// The token in a file; None where the file is empty.
fn read(path: &Path) -> Result<Option<Token>, WrongSetting> {
    let text = text_of(path)?;
    let is_empty = text.trim().is_empty();
    (!is_empty)
        .then(|| parse("token-file", first_line(&text)))
        .transpose()
}

fn text_of(path: &Path) -> Result<String, WrongSetting> {
    let read = given_file::read_beginning(path, MAX_FILE_BYTES).and_then(|given| {
        secret_file::warn(path, secret_file::check(&given.file)?);
        given.text()
    });
    read.map_err(|error: io::Error| {
        let told = format!("{} cannot be read: {error}", path.display());
        WrongSetting::new(&["token-file"], told)
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        access: AccessSettings,
    }

    fn access(listen: &str, arguments: &[&str]) -> Result<Access, WrongSetting> {
        let line = Line::parse_from([&["larder"], arguments].concat());
        line.access.access(listen.parse().unwrap())
    }

    fn anyone(listen: &str, arguments: &[&str]) -> Option<Rights> {
        access(listen, arguments).unwrap().anyone
    }

    #[test]
    fn only_a_node_that_others_reach_is_closed_by_itself() {
        for listen in ["127.0.0.1", "127.0.0.2", "::1"] {
            assert_eq!(anyone(listen, &[]), Some(Rights::Write), "{listen}");
        }
        for listen in ["0.0.0.0", "::", "192.168.1.7", "::ffff:127.0.0.1"] {
            assert_eq!(anyone(listen, &[]), Some(Rights::Read), "{listen}");
            assert_eq!(anyone(listen, &["--open"]), Some(Rights::Write), "{listen}");
        }
    }

    #[test]
    fn a_token_counts_on_every_address() {
        for listen in ["127.0.0.1", "0.0.0.0"] {
            let by_token = access(listen, &["--token", TOKEN]).unwrap();
            assert_eq!(by_token.anyone, Some(Rights::Read));
            assert_eq!(by_token.tokens[0].token, TOKEN.parse().unwrap());
            assert_eq!(by_token.tokens[0].rights, Rights::Write);
            let private = anyone(listen, &["--token", TOKEN, "--private"]);
            assert_eq!(private, None);
        }
    }

    #[test]
    fn a_token_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let of_file = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            access("0.0.0.0", &["--token-file", path.to_str().unwrap()])
        };
        for content in [
            TOKEN.to_owned(),
            format!(" {TOKEN}\r\n"),
            format!("{TOKEN}\nmore"),
        ] {
            let found = of_file(content.as_bytes()).unwrap();
            assert_eq!(found.tokens[0].token, TOKEN.parse().unwrap(), "{content:?}");
        }
        let told = |it: Result<Access, WrongSetting>| it.unwrap_err().to_string();
        let short = told(of_file(b"\n0123456789abcdef"));
        assert!(short.starts_with("--token-file: a token has"), "{short}");
        let binary = told(of_file(b"\xff"));
        assert!(binary.contains("token cannot be read: "), "{binary}");
        for flag in ["--token-file", "--tokens"] {
            let missing = told(access("0.0.0.0", &[flag, "/no/such/file"]));
            let named = format!("{flag}: /no/such/file cannot be read: No such file");
            assert!(missing.starts_with(&named), "{missing}");
        }
    }

    #[test]
    fn a_place_of_tokens_that_is_empty_opens_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        let path = path.to_str().unwrap();
        std::fs::write(path, "").unwrap();
        for listen in ["127.0.0.1", "0.0.0.0"] {
            assert_eq!(anyone(listen, &["--tokens", path]), Some(Rights::Read));
            for (arguments, told) in [
                (
                    &["--tokens", path, "--open"][..],
                    "--open and --tokens: they",
                ),
                (
                    &["--tokens", path, "--private"],
                    "--private and --tokens: there",
                ),
                (&["--token-file", path], "--token-file: "),
            ] {
                let refused = access(listen, arguments).unwrap_err().to_string();
                assert!(refused.starts_with(told), "{refused}");
            }
        }
    }

    #[test]
    fn who_empties_a_file_of_a_node_that_runs_takes_its_rights_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let (path, listen) = (path.to_str().unwrap(), "127.0.0.1".parse().unwrap());
        for (flag, text) in [
            ("--token-file", TOKEN.to_owned()),
            (
                "--tokens",
                format!("a write {}\n", parse("", TOKEN).unwrap().hash()),
            ),
        ] {
            for (more, left) in [(&[][..], Some(Rights::Read)), (&["--private"], None)] {
                std::fs::write(path, &text).unwrap();
                let line = Line::parse_from([&["larder", flag, path], more].concat());
                let files = line.access.files(listen).unwrap();
                assert_eq!(files.read().unwrap().tokens.len(), 1, "{flag}");
                std::fs::write(path, "\n").unwrap();
                let now = files.read().unwrap();
                assert_eq!((now.tokens.len(), now.anyone), (0, left), "{flag}");
            }
        }
    }

    #[test]
    fn what_contradicts_itself_opens_nothing() {
        for (arguments, told) in [
            (
                &["--open", "--token", TOKEN][..],
                "--open and --token: they exclude",
            ),
            (
                &["--open", "--token", TOKEN, "--private"],
                "--open and --token: they exclude",
            ),
            (
                &["--token", TOKEN, "--token-file", "token"],
                "--token and --token-file: they exclude",
            ),
            (&["--private"], "--private: it needs --tokens"),
            (&["--private", "--open"], "--private: it needs --tokens"),
            (&["--token", "short"], "--token: a token has"),
        ] {
            for listen in ["127.0.0.1", "0.0.0.0"] {
                let refused = access(listen, arguments).unwrap_err().to_string();
                assert!(refused.starts_with(told), "{refused}");
            }
        }
    }
}
