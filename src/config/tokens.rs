//! The file of tokens: a line for each, with its name, what its bearer may do, and its hash.

use std::fs;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::access::{NamedToken, Rights, Token};
use crate::{given_file, secret_file};

/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// The longest name of a token, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// For those who run the node alone.
const MODE: u32 = 0o600;

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("{0} cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It cannot be written.
    #[error("{0} cannot be written")]
    Unwritable(PathBuf, #[source] io::Error),
    /// The token cannot be shown, so it is not added.
    #[error("the token cannot be printed, and is not added")]
    Unshown(#[source] io::Error),
    /// A line of it is no token.
    #[error("{0}, line {1}: a token is a name, read or write, and 64 hex digits")]
    Line(PathBuf, usize),
    /// Two have one name.
    #[error("{0} has a token called {1} already; remove its line first")]
    SameName(PathBuf, String),
    /// The name could not stand in the file.
    #[error("a name has 1 to {MAX_NAME_BYTES} letters, digits and any of -_.@")]
    Name,
}

/// The tokens in the file at `path`. Blocks.
pub(super) fn read_tokens(path: &Path) -> Result<Vec<NamedToken>, TokensError> {
    let text = read_secret(path).map_err(|e| TokensError::Unreadable(path.to_owned(), e))?;
    let mut tokens: Vec<NamedToken> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = || TokensError::Line(path.to_owned(), number + 1);
        let token = parse(line).ok_or_else(wrong)?;
        if tokens.iter().any(|other| other.name == token.name) {
            return Err(TokensError::SameName(path.to_owned(), token.name));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// The text of the file at `path`, which counts only where nobody else can have written it.
fn read_secret(path: &Path) -> io::Result<String> {
    let given = given_file::read(path, MAX_BYTES)?;
    secret_file::warn(path, secret_file::check(&given.file)?);
    given.text()
}

/// Adds a token to the file at `path`, which is made if it is not there. Whoever gets it is shown
/// it by `show` first: nobody knows it otherwise if this process is killed in between, and where
/// that fails it is not added. Blocks, also while another adds one.
pub fn add_token(
    path: &Path,
    token: &NamedToken,
    show: impl FnOnce() -> io::Result<()>,
) -> Result<(), TokensError> {
    if !is_name(&token.name) {
        return Err(TokensError::Name);
    }
    let unwritable = |error| TokensError::Unwritable(path.to_owned(), error);
    let is_new = !path.exists();
    let mut options = fs::OpenOptions::new();
    let options = options.read(true).append(true).create(true).mode(MODE);
    let mut file = options.open(path).map_err(unwritable)?;
    // Where a file system has no locks, nothing is lost but this.
    let _ = file.lock();
    let mut others = read_tokens(path)?.into_iter();
    if others.any(|other| other.name == token.name) {
        return Err(TokensError::SameName(path.to_owned(), token.name.clone()));
    }
    let added = show().map_err(TokensError::Unshown);
    let added = added.and_then(|()| append(&mut file, &line(token)).map_err(unwritable));
    added.inspect_err(|_| {
        if is_new {
            let _ = fs::remove_file(path);
        }
    })
}

/// Writes a line behind all others, of which the last may lack its end; where that fails, nothing.
fn append(file: &mut fs::File, line: &str) -> io::Result<()> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let written = file.write_all(format!("{end}{line}").as_bytes());
    written.and_then(|()| file.sync_all()).inspect_err(|_| {
        // Half a line would keep the node from starting.
        let _ = file.set_len(text.len() as u64);
    })
}

fn line(
    NamedToken {
        name,
        rights,
        token,
    }: &NamedToken,
) -> String {
    let rights = match rights {
        Rights::Read => "read",
        Rights::Write => "write",
    };
    format!("{name} {rights} {}\n", token.hash())
}

fn parse(line: &str) -> Option<NamedToken> {
    let mut words = line.split_whitespace();
    let (name, rights, hash) = (words.next()?, words.next()?, words.next()?);
    let rights = match rights {
        "read" => Rights::Read,
        "write" => Rights::Write,
        _ => return None,
    };
    let token = NamedToken {
        name: name.to_owned(),
        rights,
        token: Token::of_hash(hash)?,
    };
    (is_name(name) && words.next().is_none()).then_some(token)
}

fn is_name(name: &str) -> bool {
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(sane)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_is_read_as_it_is_written(
            name in "[a-zA-Z0-9._@-]{1,64}", secret in "[a-z0-9]{16,40}", write: bool,
        ) {
            let token = NamedToken {
                name,
                rights: if write { Rights::Write } else { Rights::Read },
                token: secret.parse().unwrap(),
            };
            let line = line(&token);
            prop_assert!(!line.contains(&secret));
            prop_assert_eq!(parse(line.trim_end()), Some(token));
        }

        #[test]
        fn nothing_else_is_a_token(line in "[a-z ]{0,12}( read| write| x)? [0-9a-f]{0,63}") {
            prop_assert_eq!(parse(&line), None);
        }
    }
}
