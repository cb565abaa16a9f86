//! `larder get`: downloads a file of the network, and checks it against its hash.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::api::Api;
use super::connection::Connection;
use super::download;
use super::failure::Failure;
use super::landing::replaced;
use super::listed::Where;
use super::output;
use super::running::run;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The id, the hash or the name of a file of the network.
    file: String,

    /// Where to write it: a file, or a folder that is there, in which it has its own name; - is
    /// standard output [default: its name, in this directory].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the file that is there.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    connection: Connection,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.get(api))
    }

    async fn get(&self, api: Api) -> Result<(), Failure> {
        let mut file = api.find_one(Where::Network, &self.file).await?;
        let by_hash = file.id.is_empty();
        if let Some(hash) = file
            .hash
            .as_deref()
            .filter(|_| by_hash && self.needs_name())
        {
            file.original_name = api.name_of(hash).await?;
        }
        let bar = output::bar(&file.original_name, file.size);
        if self.output.as_deref() == Some(Path::new("-")) {
            return download::to_output(&api, &file, &bar).await;
        }
        let target = self.target(&file.original_name);
        replaced(&target, self.force)?;
        download::to_file(&api, &file, &target, self.force, &bar).await?;
        bar.finish_and_clear();
        if self.connection.json {
            let path = target.to_string_lossy();
            return Ok(output::json(
                &json!({ "path": path, "size": file.size, "hash": file.hash }),
            )?);
        }
        let path = output::plain(&target.to_string_lossy());
        Ok(output::line(&format!(
            "{path}  {}",
            output::size(file.size)
        ))?)
    }

    /// Whether it is written under its own name.
    fn needs_name(&self) -> bool {
        self.output.as_ref().is_none_or(|it| it.is_dir())
    }

    /// Where a file of this name is written.
    fn target(&self, name: &str) -> PathBuf {
        let own = local_name(name);
        match &self.output {
            None => PathBuf::from(own),
            Some(folder) if folder.is_dir() => folder.join(own),
            Some(path) => path.clone(),
        }
    }
}

/// The name under which to save a file here. Names are anybody's: none leads elsewhere.
fn local_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    match output::plain(last).as_str() {
        "" | "." | ".." => "download".to_owned(),
        plain => plain.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        for (name, saved) in [
            ("a.txt", "a.txt"),
            ("../../etc/passwd", "passwd"),
            ("/etc/passwd", "passwd"),
            (r"..\..\boot.ini", "boot.ini"),
            ("..", "download"),
            ("a/..", "download"),
            ("folder/", "download"),
            ("", "download"),
            ("a\0b\x1b[2J", "a\u{fffd}b\u{fffd}[2J"),
        ] {
            assert_eq!(local_name(name), saved, "{name:?}");
        }
    }
}
