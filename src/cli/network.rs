//! `larder network`: makes a network, and members of it.

use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use clap::Subcommand;

use super::client::{self, plain};
use super::statuses::EXIT_STATUS_OF_OTHERS;
use super::storage::{advised, keep_private};
use super::{limits, logging, network_members};
use crate::config::{Log, SECOND, WrongSetting, number_of_copies, period};
use crate::peer::identity::Identity;
use crate::peer::membership::{
    Certificate, Entry, InvalidKey, NetworkKey, PublicKey, Refusal, Revocation, Roll,
    add_revocation, file, revocations, rights,
};
use crate::store::local::{LocalStore, Options};

/// The longest time for which somebody is a member, in seconds: ten years.
const LONGEST: u64 = 10 * 365 * 24 * 3600;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a network: writes its key, by which members are invited.
    #[command(after_help = EXIT_STATUS_OF_OTHERS)]
    Create {
        /// File for the key, which is not there yet.
        file: PathBuf,
        /// On how many members the files of each are to be, itself among them, unless its
        /// invitation, its own settings or an upload say otherwise [default: on it alone].
        #[arg(long, value_name = "NUMBER", value_parser = number_of_copies)]
        copies: Option<u8>,
    },
    /// Print the key of a node, by which it is invited; makes it where the node was never started.
    #[command(after_help = EXIT_STATUS_OF_OTHERS)]
    Key {
        #[command(flatten)]
        storage: Storage,
    },
    /// Print an invitation, which makes the node with this key a member.
    #[command(after_help = EXIT_STATUS_OF_OTHERS)]
    Invite {
        /// File with the key of the network.
        file: PathBuf,
        /// The key of the node, as `larder network key` prints it there.
        #[arg(value_parser = printed_key)]
        key: PublicKey,
        /// For how long, such as 30d; a later invitation takes the place of one that does not last
        /// as long. A bare number is seconds. Once half of it is over, a member that meets a node
        /// with the key of the network (`--network-key`) becomes one for as long again.
        #[arg(
            long = "for",
            value_name = "TIME",
            default_value = "30d",
            value_parser = |it: &str| period(it, SECOND, 1..=LONGEST)
        )]
        length: Duration,
        /// Have it end then, and never be renewed.
        #[arg(long)]
        once: bool,
        /// On how many members the files of this node are to be, itself among them, unless its own
        /// settings or an upload say otherwise [default: as the network was created with].
        #[arg(long, value_name = "NUMBER", value_parser = number_of_copies)]
        copies: Option<u8>,
    },
    /// Have the node with this key be no member any more, for ever, and print that for others. A
    /// node that runs with this key file tells the other members by itself.
    #[command(after_help = EXIT_STATUS_OF_OTHERS)]
    Revoke {
        /// File with the key of the network.
        file: PathBuf,
        /// The key of the node, as `larder network members` lists it.
        #[arg(value_parser = printed_key)]
        key: PublicKey,
    },
    /// Have a member hear of a revocation, which it tells the others: where no node runs with the
    /// key of the network.
    #[command(after_help = EXIT_STATUS_OF_OTHERS)]
    Take {
        /// File that holds the certificate of the member.
        file: PathBuf,
        /// What `larder network revoke` has printed.
        revocation: String,
    },
    /// Make the node of a storage directory a member by an invitation, or for longer.
    #[command(after_help = EXIT_STATUS_OF_OTHERS)]
    Join {
        /// File that is to hold the certificate; of the same network it is replaced.
        file: PathBuf,
        /// What `larder network invite` has printed.
        invitation: String,
        #[command(flatten)]
        storage: Storage,
    },
    /// List those who were invited: peer id, key, until when, rights, for how long they are
    /// renewed, and state; with a node that is one of them, also how much each offers for copies of
    /// others' files, and how much of that is used.
    #[command(after_help = client::EXIT_STATUS_OF_LISTS)]
    Members(network_members::Arguments),
}

#[derive(clap::Args)]
struct Storage {
    /// Directory that keeps the node's files.
    #[arg(
        long,
        env = "STORAGE_DIR",
        value_name = "DIR",
        default_value = "peer_storage"
    )]
    storage: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    logging::start(&Log::of_warnings());
    keep_private();
    let mut out = stdout().lock();
    match &arguments.action {
        Action::Create { file, copies } => writeln!(out, "{}", create(file, *copies)?)?,
        Action::Key { storage } => writeln!(out, "{}", storage.key()?)?,
        Action::Invite {
            file,
            key,
            length,
            once,
            copies,
        } => {
            let renewed_for = (!once).then_some(*length);
            let length = (*length, renewed_for);
            writeln!(out, "{}", invite(file, *key, length, *copies)?)?;
        }
        Action::Revoke { file, key } => {
            let revocation = NetworkKey::read(file)?.revoke(*key);
            add_revocation(file, revocation.clone())?;
            writeln!(out, "{revocation}")?;
        }
        Action::Take { file, revocation } => {
            let revocation = as_printed(revocation).parse::<Revocation>();
            let revocation = revocation.map_err(|it| not_taken("revocation", it))?;
            let checked = revocation.check(file::read(file)?.network);
            checked.map_err(|it| not_taken("revocation", it))?;
            add_revocation(file, revocation)?;
        }
        Action::Join {
            file,
            invitation,
            storage,
        } => {
            let certificate = join(file, invitation, storage.key()?)?;
            writeln!(
                out,
                "peer {} is a member of {} until {}",
                certificate.member.peer_id(),
                certificate.network,
                certificate.expires_at()
            )?;
        }
        Action::Members(arguments) => {
            let code = network_members::list(&mut out, arguments)?;
            out.flush()?;
            return Ok(code);
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the key of a network.
fn create(file: &Path, copies: Option<u8>) -> anyhow::Result<PublicKey> {
    let key = NetworkKey::create(file, copies)?;
    // Nobody has to read it.
    let _ = writeln!(
        stderr(),
        "{} has the key of the network: whoever reads it decides about members",
        plain(&file.display().to_string())
    );
    Ok(key.public())
}

/// Makes the node with this key a member for so long, and then again for so long, whose files are
/// to be on so many members.
fn invite(
    file: &Path,
    key: PublicKey,
    (length, renewed_for): (Duration, Option<Duration>),
    copies: Option<u8>,
) -> anyhow::Result<Certificate> {
    let network = NetworkKey::read(file)?;
    if revocations(file)?.iter().any(|it| it.member == key) {
        let told = "this key was revoked, which is for ever; a node whose `node.key` is removed \
                    has another one (revoked)";
        return Err(WrongSetting::new(&[], told.to_owned()).into());
    }
    let rights = rights(copies.or(network.copies()));
    let certificate = network.invite(key, &rights, SystemTime::now() + length)?;
    // Written down first, so that there is no member that is not on the roll.
    let entry = Entry {
        certificate: certificate.clone(),
        renewed_for,
    };
    if let Some(end) = Roll::enter(file, entry)? {
        let _ = writeln!(
            stderr(),
            "an earlier invitation of this key counts until {end} all the same; only \
             `larder network revoke` ends it before, for ever"
        );
    }
    Ok(certificate)
}

/// Writes down what makes the node with this key a member.
fn join(file: &Path, invitation: &str, key: PublicKey) -> anyhow::Result<Certificate> {
    let refused = |it| not_taken("invitation", it);
    let certificate = as_printed(invitation).parse::<Certificate>();
    let certificate = certificate.map_err(refused)?;
    certificate
        .check(certificate.network, key, SystemTime::now())
        .map_err(refused)?;
    file::write(file, &certificate)?;
    Ok(certificate)
}

/// What was printed elsewhere, without what mail and editors put in it, around it and before each
/// of its lines: nothing of that stands in what a network's key has signed.
fn as_printed(text: &str) -> String {
    let is_invisible = |it: char| {
        matches!(
            it,
            '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}'
        )
    };
    let is_quote = |it: char| {
        "\"'`<>\u{ab}\u{bb}\u{2018}\u{2019}\u{201a}\u{201c}\u{201d}\u{201e}\u{2039}\u{203a}"
            .contains(it)
    };
    let shown = text.lines().map(|line| {
        let shown = line.chars();
        let shown = shown.filter(|it| !it.is_whitespace() && !is_invisible(*it));
        let shown: String = shown.collect();
        shown.trim_start_matches(is_quote).to_owned()
    });
    let shown: String = shown.collect();
    shown.trim_end_matches(is_quote).to_owned()
}

/// A key that was printed elsewhere.
fn printed_key(text: &str) -> Result<PublicKey, InvalidKey> {
    as_printed(text).parse()
}

/// Why what was printed elsewhere is not taken, with the code by which programs tell it from other
/// reasons.
fn not_taken(what: &str, why: Refusal) -> WrongSetting {
    let hint = match why {
        Refusal::Form => "; it is to be given whole, as one line",
        _ => "",
    };
    let told = format!("the {what} is not taken: {why}{hint} ({})", why.code());
    WrongSetting::new(&[], told)
}

impl Storage {
    /// The public key of the node, which may run. One that was never started gets its key here, so
    /// that it need not talk with strangers before it is a member.
    fn key(&self) -> anyhow::Result<PublicKey> {
        let dir = &self.storage;
        let known = Identity::public_key_in(dir);
        let known = known.context("the key of the node cannot be read")?;
        if let Some(key) = known {
            return Ok(PublicKey(key));
        }
        let runtime = limits::new_runtime().context("cannot start the runtime")?;
        runtime.block_on(async {
            let opened = LocalStore::open(Options::new(dir)).await;
            let opened = opened.map_err(|error| advised(error, dir))?;
            let identity = Identity::load_or_create(dir);
            opened.store.close().await?;
            let identity = identity.map_err(|error| anyhow!(error))?;
            Ok(PublicKey(identity.public()))
        })
    }
}
