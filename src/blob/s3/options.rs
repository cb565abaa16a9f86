//! Which bucket, and how it is used.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::blob::BlobError;

/// Where and how blobs are kept. Holds secrets, so it is shown nowhere.
#[derive(Clone)]
pub struct Options {
    /// The name of the bucket, which must exist.
    pub bucket: String,
    /// What the keys begin with; empty where they begin with nothing.
    pub prefix: String,
    /// The URL of the store where it is not that of AWS.
    pub endpoint: Option<String>,
    /// What every S3 client reads from the environment, as `AWS_ACCESS_KEY_ID`; others are ignored.
    pub variables: Vec<(String, String)>,
    /// How to speak TLS with it; as this system does where it is none.
    pub tls: Option<Arc<ClientConfig>>,
    /// The directory for what is on its way to the store, which must exist.
    pub scratch: PathBuf,
    /// How many bytes of memory are for contents in packs that were read lately, and for those
    /// beside them.
    pub packed_in_memory: u64,
    /// How long the store has for a request, with its answer.
    pub request_timeout: Duration,
    /// Within how long the last of several tries of a request begins.
    pub retry_within: Duration,
}

/// Why a bucket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The settings do not name one.
    #[error("the settings of the bucket: {0}")]
    Settings(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No client can be made.
    #[error("cannot speak HTTP to the store of the bucket: {0}")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is none of that name.
    #[error("the store has no bucket of that name: make it there, or name another")]
    NoBucket,
    /// The keys are wrong, or are not for that bucket.
    #[error(
        "the store refuses what AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say, or that may not \
         read and write the bucket: {0}"
    )]
    Keys(String),
    /// No keys are set, and the machine has none of its cloud.
    #[error(
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and this machine is told no keys \
         by a cloud: {0}"
    )]
    NoKeys(String),
    /// The bucket is elsewhere.
    #[error("the bucket is in another region than AWS_REGION says, or at another store: {0}")]
    Region(String),
    /// The store refuses what is signed at such a time.
    #[error("the clocks of this machine and of the store of the bucket are too far apart: {0}")]
    Clock(String),
    /// The store fails, or is out of reach.
    #[error("the bucket cannot be opened at the store that --s3-endpoint names, or else AWS: {0}")]
    Store(String),
    /// A later larder has written to it.
    #[error("what is in the bucket is of a format that this larder does not know")]
    Format,
    /// Nothing says that larder has ever written to it.
    #[error("no larder has kept anything in the bucket under this prefix")]
    Unused,
    /// What is in scratch cannot be looked at.
    #[error(transparent)]
    Scratch(#[from] BlobError),
}

impl StoreError {
    /// Whether other settings help, and nothing else.
    pub fn is_of_settings(&self) -> bool {
        match self {
            Self::Settings(_)
            | Self::NoBucket
            | Self::Keys(_)
            | Self::NoKeys(_)
            | Self::Region(_) => true,
            Self::Client(_)
            | Self::Clock(_)
            | Self::Store(_)
            | Self::Format
            | Self::Unused
            | Self::Scratch(_) => false,
        }
    }
}

impl Options {
    /// The usual settings for a bucket of AWS, with nothing from the environment.
    pub fn new(
        bucket: impl Into<String>,
        prefix: impl Into<String>,
        scratch: impl Into<PathBuf>,
    ) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: prefix.into(),
            endpoint: None,
            variables: Vec::new(),
            tls: None,
            scratch: scratch.into(),
            packed_in_memory: 32 << 20,
            request_timeout: Duration::from_secs(30),
            retry_within: Duration::from_secs(10),
        }
    }

    /// Which bucket it is, and what its keys begin with.
    pub fn url(&self) -> String {
        let url = format!("s3://{}/{}", self.bucket, self.prefix);
        url.trim_end_matches('/').to_owned()
    }
}
