//! How an operator ends a server, or has it read its certificate again.

use std::error::Error;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::service;
use crate::blocking;
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

    /// Waits for one of them.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.out_of_time.recv() => {
                tracing::error!("the limit of processor time is reached");
            }
        }
        tracing::info!("stopping");
        service::stops();
    }
}

/// Reads the certificate again at each SIGHUP, if there is one, for ever. A terminal that is
/// closed sends it, too, and that is no reason to end.
pub(super) async fn reload_on_hangup(mut hangup: Signal, tls: Option<Tls>) {
    while hangup.recv().await.is_some() {
        let Some(tls) = tls.clone() else {
            tracing::info!("SIGHUP came, and there is no certificate to read again");
            continue;
        };
        service::reloads();
        match blocking::run(move || tls.reload()).await {
            Ok(()) => tracing::info!("the certificate was read again"),
            Err(error) => tracing::error!(
                error = &error as &dyn Error,
                "the certificate stays what it was"
            ),
        }
        service::reloaded();
    }
}

/// SIGHUP, which no longer kills the process once this exists. Within a runtime only.
pub(super) fn hangup() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}
