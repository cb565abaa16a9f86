//! How an operator ends a server, or has it read certificates and tokens again.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::service;
use crate::access::CurrentAccess;
use crate::blocking;
use crate::config::TokenFiles;
use crate::peer::membership::{self, Channel};
use crate::web::tls::Tls;

/// Ctrl-C, SIGTERM and SIGXCPU, which no longer kill the process once this exists.
pub(super) struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
    /// The limit of processor time is reached (`ulimit -t`): the kernel kills next.
    out_of_time: Signal,
}

impl StopSignal {
    /// Takes the signals over. Within a runtime only.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            out_of_time: signal(SignalKind::from_raw(libc::SIGXCPU))?,
        })
    }

    /// Waits for one of them; from then on another one has `hurry` know.
    pub(super) async fn wait_once(mut self, hurry: Arc<Notify>) {
        self.wait().await;
        tracing::info!("stopping; another signal ends what is under way");
        service::stops();
        tokio::spawn(async move {
            self.wait().await;
            tracing::info!("stopping at once");
            hurry.notify_one();
        });
    }

    /// Waits for one of them.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.out_of_time.recv() => {
                tracing::error!("the limit of processor time is reached");
            }
        }
    }
}

/// What is read again at SIGHUP.
pub(super) struct Reloaded {
    pub(super) tls: Option<Tls>,
    /// The files of tokens, and who is told what they hold.
    pub(super) tokens: Option<(Arc<TokenFiles>, CurrentAccess)>,
    /// The file that makes the node a member of a network, and who is told what it holds, once
    /// there is a node.
    pub(super) membership: Option<(PathBuf, Arc<OnceLock<Arc<Channel>>>)>,
}

impl Reloaded {
    fn is_empty(&self) -> bool {
        self.tls.is_none() && self.tokens.is_none() && self.membership.is_none()
    }
}

/// Reads certificate and tokens again at each SIGHUP, if there are any, for ever. A terminal that
/// is closed sends it, too, and that is no reason to end.
pub(super) async fn reload_on_hangup(mut hangup: Signal, reloaded: Reloaded) {
    while hangup.recv().await.is_some() {
        let Reloaded {
            tls,
            tokens,
            membership,
        } = &reloaded;
        service::reloads();
        if reloaded.is_empty() {
            tracing::info!("SIGHUP came, and there is no certificate and no token to read again");
        }
        if let Some(tls) = tls.clone() {
            match blocking::run(move || tls.reload()).await {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => tracing::error!(
                    error = &error as &dyn Error,
                    "the certificate stays what it was"
                ),
            }
        }
        if let Some((files, access)) = tokens {
            let files = Arc::clone(files);
            match blocking::run(move || files.read()).await {
                Ok(read) => {
                    let count = read.tokens.len();
                    access.replace(read);
                    tracing::info!(count, "the tokens were read again");
                }
                Err(error) => tracing::error!(%error, "the tokens stay what they were"),
            }
        }
        if let Some((file, channel)) = membership
            && let Some(channel) = channel.get()
        {
            renew(file.clone(), Arc::clone(channel)).await;
        }
        service::reloaded();
    }
}

/// Takes the certificate of a member that its file holds now.
async fn renew(file: PathBuf, channel: Arc<Channel>) {
    let read = blocking::run(move || {
        let certificate = membership::file::read(&file)?;
        let expires = certificate.expires_at();
        channel.renew(certificate)?;
        anyhow::Ok(expires)
    });
    match read.await {
        Ok(expires) => tracing::info!(%expires, "the certificate of a member was read again"),
        Err(error) => tracing::error!(%error, "the certificate of a member stays what it was"),
    }
}

/// SIGHUP, which no longer kills the process once this exists. Within a runtime only.
pub(super) fn hangup() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}
