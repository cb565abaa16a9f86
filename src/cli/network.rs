//! `larder network`: makes a network, and members of it.

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use clap::Subcommand;

use super::client::plain;
use super::statuses::EXIT_STATUS_OF_OTHERS;
use super::storage::{advised, keep_private};
use super::{limits, logging};
use crate::config::{Log, SECOND, WrongSetting, period};
use crate::peer::identity::Identity;
use crate::peer::membership::{Certificate, EXCHANGE, NetworkKey, PublicKey, Refusal, Roll, file};
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
        key: PublicKey,
        /// For how long, such as 30d; a later invitation takes the place of an earlier one. A bare
        /// number is seconds.
        #[arg(
            long = "for",
            value_name = "TIME",
            default_value = "90d",
            value_parser = |it: &str| period(it, SECOND, 1..=LONGEST)
        )]
        length: Duration,
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
    /// List those who were invited, and until when: peer id, key, end and state.
    #[command(after_help = EXIT_STATUS_OF_OTHERS)]
    Members {
        /// File with the key of the network.
        file: PathBuf,
    },
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
        Action::Create { file } => {
            let key = NetworkKey::create(file)?;
            writeln!(out, "{}", key.public())?;
            // Nobody has to read it.
            let _ = writeln!(
                stderr(),
                "{} has the key of the network: whoever reads it decides about members",
                plain(&file.display().to_string())
            );
        }
        Action::Key { storage } => writeln!(out, "{}", storage.key()?)?,
        Action::Invite { file, key, length } => {
            let network = NetworkKey::read(file)?;
            let certificate = network.invite(*key, EXCHANGE, SystemTime::now() + *length)?;
            // Written down first, so that there is no member that is not on the roll.
            Roll::enter(file, certificate.clone())?;
            writeln!(out, "{certificate}")?;
        }
        Action::Join {
            file,
            invitation,
            storage,
        } => {
            let certificate = invitation.trim().parse::<Certificate>().map_err(refused)?;
            let key = storage.key()?;
            let now = SystemTime::now();
            certificate
                .check(certificate.network, key, now)
                .map_err(refused)?;
            file::write(file, &certificate)?;
            writeln!(
                out,
                "peer {} is a member of {} until {}",
                key.peer_id(),
                certificate.network,
                certificate.expires_at()
            )?;
        }
        Action::Members { file } => list(&mut out, &NetworkKey::read(file)?, &Roll::beside(file)?)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Why an invitation is not taken, with the code by which programs tell it from other reasons.
fn refused(why: Refusal) -> WrongSetting {
    let told = format!("the invitation is not taken: {why} ({})", why.code());
    WrongSetting::new(&[], told)
}

/// A line for each member.
fn list(out: &mut impl Write, network: &NetworkKey, roll: &Roll) -> anyhow::Result<()> {
    let now = SystemTime::now();
    for certificate in roll.members() {
        let state = match certificate.check(network.public(), certificate.member, now) {
            Ok(()) => "member",
            Err(why) => why.code(),
        };
        let member = certificate.member;
        let (id, end) = (member.peer_id(), certificate.expires_at());
        writeln!(out, "{id}  {member}  {end}  {state}")?;
    }
    Ok(())
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
