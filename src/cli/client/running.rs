//! Commands from their beginning to their exit status.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::output::{plain, say};
use super::proxy::Between;

/// Runs a command to its end; what fails is told with what to do about it.
pub(super) fn run<Running>(
    connection: &Connection,
    command: impl FnOnce(Api) -> Running,
) -> anyhow::Result<ExitCode>
where
    Running: Future<Output = Result<(), Failure>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let target = connection.target()?;
    let proxy = Between::of(&target.node);
    let api = Api::new(&target, proxy.as_ref());
    let proxy = proxy.map(|it| it.told());
    let done = runtime.block_on(async { command(api?).await });
    ended(done, proxy.as_deref())
}

/// The exit status of what has come to an end, which is told where it failed.
pub(super) fn ended(done: Result<(), Failure>, proxy: Option<&str>) -> anyhow::Result<ExitCode> {
    Ok(match done {
        Ok(()) => ExitCode::SUCCESS,
        // Told where it was set by whoever knows that.
        Err(Failure::Setting(wrong)) => return Err(wrong.into()),
        // Whoever read what is printed may have seen enough.
        Err(Failure::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            return Err(error.into());
        }
        Err(Failure::Told(status)) => ExitCode::from(status),
        Err(failure) => {
            tell(&failure, None, proxy);
            ExitCode::from(failure.status())
        }
    })
}

/// Tells why something failed, of one of several files with its path, and which proxy stands
/// between.
pub(super) fn tell(failure: &Failure, file: Option<&Path>, proxy: Option<&str>) {
    let file = file.filter(|_| !failure.names_file());
    let file = file.map(|it| format!("{}: ", plain(&it.to_string_lossy())));
    let proxy = proxy.filter(|_| failure.is_of_node()).map(|it| {
        let it = plain(it);
        format!(" (asked through the proxy {it}, as the environment has it)")
    });
    let (file, proxy) = (file.unwrap_or_default(), proxy.unwrap_or_default());
    say(&format!("{file}{}{proxy}", failure.told()));
}
