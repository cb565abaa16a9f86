//! How an operator ends a server, or has it read its certificate again.

use std::error::Error;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::node::tls::Tls;

/// Ctrl-C and SIGTERM, which no longer kill the process once this exists.
pub(super) struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignal {
    /// Takes the signals over. Within a runtime only.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them.
    pub(super) async fn wait(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        tracing::info!("stopping");
    }
}

/// Reads the certificate again at each SIGHUP, for ever.
pub(super) async fn reload_on_hangup(mut hangup: Signal, tls: Tls) {
    while hangup.recv().await.is_some() {
        let tls = tls.clone();
        match tokio::task::spawn_blocking(move || tls.reload()).await {
            Ok(Ok(())) => tracing::info!("the certificate was read again"),
            Ok(Err(error)) => tracing::error!(
                error = &error as &dyn Error,
                "the certificate stays what it was"
            ),
            Err(error) => tracing::error!(%error, "the certificate was not read"),
        }
    }
}

/// SIGHUP, which no longer kills the process once this exists. Within a runtime only.
pub(super) fn hangup() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}
