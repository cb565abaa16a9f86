//! Commands from their beginning to their exit status.

use std::process::ExitCode;

use anyhow::Context;

use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::output::plain;
use super::proxy;

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
    let proxy = proxy::between(&connection.node);
    let api = Api::new(connection, proxy.is_some());
    let done = runtime.block_on(async { command(api?).await });
    Ok(match done {
        Ok(()) => ExitCode::SUCCESS,
        // Told where it was set by whoever knows that.
        Err(Failure::Setting(wrong)) => return Err(wrong.into()),
        Err(failure) => {
            let proxy = proxy.filter(|_| failure.is_of_node());
            let by = proxy.map(|it| {
                format!(
                    " (asked through the proxy {}, as the environment has it)",
                    plain(&it)
                )
            });
            eprintln!("larder: {}{}", failure.told(), by.unwrap_or_default());
            failure.exit_code()
        }
    })
}
