//! `larder token`: makes a token and writes down what a node needs to know it by.

use std::fmt::Write as _;
use std::io::{self, Write as _, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;

use crate::access::{NamedToken, Rights};
use crate::config::{TokensError, WrongSetting, add_token};

/// How long a token is, in random bytes.
const BYTES: usize = 32;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// What the token is called, in the file and to people.
    name: String,

    /// What its bearer may do.
    #[arg(long, value_name = "RIGHTS")]
    rights: RightsArg,

    /// File to add it to; made if it does not exist.
    #[arg(long, env = "LARDER_TOKENS", value_name = "FILE")]
    tokens: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RightsArg {
    /// List, search and download.
    Read,
    /// That, and upload, keep and delete.
    Write,
}

/// Prints the token, which stands nowhere else, and adds what it is known by.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut random = [0; BYTES];
    getrandom::fill(&mut random).context("the system has no random bytes")?;
    let mut token = String::with_capacity(2 * BYTES);
    for byte in random {
        write!(token, "{byte:02x}")?;
    }
    let named = NamedToken {
        name: arguments.name.clone(),
        rights: match arguments.rights {
            RightsArg::Read => Rights::Read,
            RightsArg::Write => Rights::Write,
        },
        token: token.parse()?,
    };
    let show = || {
        let mut out = stdout().lock();
        writeln!(out, "{token}")?;
        out.flush()
    };
    add_token(&arguments.tokens, &named, show).map_err(|error| match error {
        TokensError::Name => WrongSetting::of_several(&[], &error).into(),
        // Whoever read what is printed has seen enough.
        TokensError::Unshown(error) if error.kind() == io::ErrorKind::BrokenPipe => error.into(),
        TokensError::SameName(..) | TokensError::Unshown(_) => anyhow::Error::from(error),
        _ => WrongSetting::of("tokens", &error).into(),
    })?;
    // Nobody has to read it.
    let _ = writeln!(
        stderr(),
        "this is the only time it is shown; {} has its hash, which a node with --tokens takes at \
         its start, and one that runs on SIGHUP",
        arguments.tokens.display()
    );
    Ok(ExitCode::SUCCESS)
}
