//! Settings of what several nodes share: a database and a bucket.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustls::ClientConfig;
use url::Url;

use super::period::{HOUR, SECOND, period};
use super::{Secret, WrongSetting};
use crate::blob::s3::{self, TOKEN_FILE};
use crate::causes::with_causes;
use crate::index::postgres;
use crate::peer::tls::{Authorities, config};
use crate::store::local;
use crate::store::shared::Options;

/// How a bucket is named.
const SCHEME: &str = "s3://";
/// The variables that tell who uses the store.
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
/// The variable by which S3 clients are told whom to believe, in place of the system's authorities.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// The servers that keep files which several nodes share.
#[derive(Args, Debug)]
#[expect(clippy::doc_markdown, reason = "the sentences are shown as they are")]
pub struct ServerSettings {
    /// Database that keeps what is known of files, for several nodes at once, such as
    /// postgres://larder@localhost/larder, with ?sslmode=require behind it over TLS; with --blobs.
    #[arg(long, env = "LARDER_INDEX", value_name = "URL", hide_env_values = true)]
    index: Option<Secret>,

    /// Bucket that keeps the content of files, for several nodes at once, such as
    /// s3://bucket/prefix; with --index. Keys, region and the authorities that vouch for the store
    /// (AWS_CA_BUNDLE) are read from the AWS_ variables, as by every S3 client.
    #[arg(long, env = "LARDER_BLOBS", value_name = "URL")]
    blobs: Option<String>,

    /// URL of the store that has the bucket, such as http://localhost:8333 [default: that of AWS].
    #[arg(
        long,
        env = "LARDER_S3_ENDPOINT",
        value_name = "URL",
        value_parser = endpoint
    )]
    s3_endpoint: Option<String>,
}

/// Where files are kept that several nodes share.
#[derive(Args, Debug)]
pub(super) struct SharedSettings {
    #[command(flatten)]
    servers: ServerSettings,

    /// Directory for content on its way to the bucket [default: --storage, which also has what this
    /// node alone remembers].
    #[arg(long, env = "LARDER_SCRATCH", value_name = "DIR")]
    scratch: Option<PathBuf>,

    /// How long a node may be silent while it writes content to --blobs, before others collect
    /// that, such as 60s or 5m. A bare number is seconds.
    #[arg(
        long,
        env = "LARDER_LEASE",
        value_name = "TIME",
        default_value = "60s",
        value_parser = |it: &str| period(it, SECOND, 1..=86_400)
    )]
    lease: Duration,

    /// How long content stays in --blobs that no file needs any more, such as 1h or 7d: longer than
    /// a download of what was removed may last, and than --index may be set back to an earlier
    /// time. A bare number is hours.
    #[arg(
        long,
        env = "LARDER_GC_GRACE",
        value_name = "TIME",
        default_value = "1h",
        value_parser = |it: &str| period(it, HOUR, 1..=8760 * 3600)
    )]
    gc_grace: Duration,

    /// How often one of the nodes looks through --blobs for objects that --index knows nothing of,
    /// and removes those that are old, such as 7d. A bare number is hours.
    #[arg(
        long,
        env = "LARDER_SWEEP_EVERY",
        value_name = "TIME",
        default_value = "7d",
        value_parser = |it: &str| period(it, HOUR, 1..=8760 * 3600)
    )]
    sweep_every: Duration,

    /// How much older than --lease and --gc-grace together such an object has to be, such as 1d. A
    /// bare number is hours.
    #[arg(
        long,
        env = "LARDER_SWEEP_AGE",
        value_name = "TIME",
        default_value = "1d",
        value_parser = |it: &str| period(it, HOUR, 1..=8760 * 3600)
    )]
    sweep_age: Duration,
}

impl ServerSettings {
    /// Which servers, if they are set, for a command; `scratch` is for what is on its way to them.
    /// Reads the certificates of whom to believe.
    pub fn servers(
        &self,
        scratch: &Path,
    ) -> Result<Option<(postgres::Options, s3::Options)>, WrongSetting> {
        let (url, blobs) = match (&self.index, &self.blobs) {
            (Some(index), Some(blobs)) => (index, blobs),
            (None, None) if self.s3_endpoint.is_some() => {
                let told = "the store of --blobs, which is not set";
                return Err(WrongSetting::new(&["s3-endpoint"], told));
            }
            (None, None) => return Ok(None),
            _ => {
                let told = "files are kept with both, or in a storage directory with neither";
                return Err(WrongSetting::new(&["index", "blobs"], told));
            }
        };
        let named = blobs
            .strip_prefix(SCHEME)
            .map(|it| it.split_once('/').unwrap_or((it, "")));
        let Some((bucket, prefix)) = named.filter(|(bucket, _)| is_bucket(bucket)) else {
            let told = "a bucket is named as s3://bucket or s3://bucket/prefix, and keys are told \
                        by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
            return Err(WrongSetting::new(&["blobs"], told));
        };
        let mut blobs = s3::Options::new(bucket, prefix, scratch);
        blobs.endpoint.clone_from(&self.s3_endpoint);
        blobs.variables = variables()?;
        blobs.tls = tls_to_store()?;
        Ok(Some((database(url)?, blobs)))
    }
}

impl SharedSettings {
    /// What several nodes share, if that is set; `own` is this node's own directory. Reads the
    /// certificates of whom to believe.
    pub(super) fn shared(
        &self,
        own: local::Options,
        is_relaxed: bool,
    ) -> Result<Option<Options>, WrongSetting> {
        let scratch = self.scratch.as_ref().unwrap_or(&own.dir);
        let Some((mut index, blobs)) = self.servers.servers(scratch)? else {
            return Ok(None);
        };
        (index.lease, index.grace) = (self.lease, self.gc_grace);
        index.is_node = true;
        index.is_relaxed = is_relaxed;
        Ok(Some(Options {
            own,
            sweep_every: self.sweep_every,
            sweep_age: self.lease + self.gc_grace + self.sweep_age,
            index,
            blobs,
        }))
    }
}

/// What every S3 client reads from the environment.
fn variables() -> Result<Vec<(String, String)>, WrongSetting> {
    let all = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let all: Vec<_> = all.filter(|(name, _)| name.starts_with("AWS_")).collect();
    if let Some((name, _)) = all
        .iter()
        .find(|(_, value)| value.contains(char::is_control))
    {
        let told = format!("{name} has a line break in it, or the like, which no store takes");
        return Err(WrongSetting::new(&[], told));
    }
    if let Some((_, path)) = all.iter().find(|(name, _)| name == TOKEN_FILE)
        && fs::read_to_string(path).is_ok_and(|it| it.contains(char::is_control))
    {
        let told = format!("the file of {TOKEN_FILE} has a line break in it, or the like");
        return Err(WrongSetting::new(&[], told));
    }
    let is_set = |name| {
        all.iter()
            .any(|(it, value)| it == name && !value.is_empty())
    };
    for (name, other) in [(KEY_ID, SECRET_KEY), (SECRET_KEY, KEY_ID)] {
        if is_set(name) && !is_set(other) {
            let told = format!("{other} is not set, though {name} is");
            return Err(WrongSetting::new(&[], told));
        }
    }
    Ok(all)
}

/// Whether a bucket may be called so, which may be a secret that somebody has put there.
fn is_bucket(name: &str) -> bool {
    let is_one = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
    !name.is_empty() && name.chars().all(is_one)
}

/// The URL of a store.
fn endpoint(text: &str) -> Result<String, String> {
    let is_one = |url: &Url| {
        let is_bare = url.query().is_none() && url.fragment().is_none();
        let is_open = url.username().is_empty() && url.password().is_none();
        ["http", "https"].contains(&url.scheme()) && url.has_host() && is_bare && is_open
    };
    match Url::parse(text).ok().filter(is_one) {
        Some(_) => Ok(text.to_owned()),
        None => Err(
            "a store is named as http://host:port or https://host:port, without keys".to_owned(),
        ),
    }
}

fn database(url: &Secret) -> Result<postgres::Options, WrongSetting> {
    let wrong = |error: &dyn Error| WrongSetting::of("index", error);
    let mut options = postgres::Options::new(url.text()).map_err(|it| wrong(&it))?;
    if options.wants_tls() {
        let tls = config(&Authorities::of_system()).map_err(|it| wrong(&it))?;
        options.tls = Some(tls.into());
    }
    Ok(options)
}

/// TLS with the store of the bucket, where a file is named that has whom to believe.
fn tls_to_store() -> Result<Option<Arc<ClientConfig>>, WrongSetting> {
    let Some(file) = std::env::var_os(CA_BUNDLE).filter(|it| !it.is_empty()) else {
        return Ok(None);
    };
    let wrong = |error: &dyn Error| {
        let told = format!("{CA_BUNDLE}: {}", with_causes(error));
        WrongSetting::new(&[], told)
    };
    let mut authorities = Authorities::default();
    let added = authorities.add_file(Path::new(&file));
    added.map_err(|it| wrong(&it))?;
    let tls = config(&authorities).map_err(|it| wrong(&it))?;
    Ok(Some(tls.into()))
}
