//! Credentials on their way into requests. What no header takes is refused here: the library takes
//! it for granted that they all do, and ends the request by a panic.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};

use super::options::Options;
use crate::blocking;
use crate::disk::DiskError;

/// The setting that names a file whose text is sent to who gives credentials out.
pub(crate) const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// Credentials that are looked at before they are used.
#[derive(Debug)]
pub(super) struct Checked {
    provider: AwsCredentialProvider,
    token_file: Option<PathBuf>,
}

/// Why some are not used.
#[derive(Debug, thiserror::Error)]
#[error("{0} has a line break in it, or the like, which no header takes")]
struct Unfit(String);

impl Checked {
    /// What `provider` gives, as these options have it.
    pub(super) fn new(provider: AwsCredentialProvider, options: &Options) -> Self {
        let mut variables = options.variables.iter();
        let file = variables.find(|(name, _)| name == TOKEN_FILE);
        Self {
            provider,
            token_file: file.map(|(_, path)| path.into()),
        }
    }
}

#[async_trait]
impl CredentialProvider for Checked {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        if let Some(path) = self.token_file.clone() {
            let read = blocking::run(move || {
                let text = fs::read_to_string(&path);
                text.map_err(|e| DiskError::new("read", path, e))
            });
            fits(TOKEN_FILE, &read.await.map_err(refused)?)?;
        }
        let credential = self.provider.get_credential().await?;
        fits("the id of a key that was given out", &credential.key_id)?;
        if let Some(token) = &credential.token {
            fits("a token that was given out", token)?;
        }
        Ok(credential)
    }
}

/// Fails where no header takes a text.
fn fits(what: &str, text: &str) -> object_store::Result<()> {
    if text.contains(char::is_control) {
        return Err(refused(Unfit(what.to_owned())));
    }
    Ok(())
}

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic {
        store: "S3",
        source: Box::new(error),
    }
}
