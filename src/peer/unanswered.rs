//! The peers and bootstrap servers that the operator has named and that do not answer, or are not
//! taken, each with the reason. The log tells each reason once until there is an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::StatusCode;
use rustls::Error as TlsError;
use serde::Serialize;
use utoipa::ToSchema;

use super::client::ClientError;
use super::lookup::LeadsNowhere;
use super::membership::NoMember;
use super::tls_failure::{first, is_no_http, tls_failure};
use crate::base_url::BaseUrl;

/// How many reasons are remembered as told; one that fails in ever new ways is told no more.
const MAX_TOLD: usize = 16;
/// What a peer's operator names authorities with.
const CA_FLAG: &str = "--peer-ca";

/// What is at an address that the operator has named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Named {
    /// A server that introduces peers.
    Bootstrap,
    /// A peer.
    Peer,
}

/// One of them that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Unanswered {
    /// What is expected there.
    pub named: Named,
    /// Where.
    pub address: String,
    /// Why it does not answer, or is not taken.
    pub reason: String,
}

/// All of them. As many as the operator has named.
#[derive(Debug, Default)]
pub struct AllUnanswered(Mutex<BTreeMap<(Named, String), Reasons>>);

#[derive(Debug)]
struct Reasons {
    now: String,
    told: Vec<String>,
}

impl AllUnanswered {
    /// All that do not answer now.
    pub fn list(&self) -> Vec<Unanswered> {
        let all = self.0.lock();
        let all = all.iter().map(|((named, address), reasons)| Unanswered {
            named: *named,
            address: address.clone(),
            reason: reasons.now.clone(),
        });
        all.collect()
    }

    /// Notes what came of asking one: the reason why it is of no use, or None. One that is of none
    /// is asked again and again, each time after `longest` at most.
    pub(super) fn note(
        &self,
        named: Named,
        address: &BaseUrl,
        reason: Option<String>,
        longest: Duration,
    ) {
        let key = (named, address.to_string());
        let mut all = self.0.lock();
        let Some(reason) = reason else {
            if all.remove(&key).is_some() {
                tracing::info!(%address, ?named, "answers now");
            }
            return;
        };
        let reasons = all.entry(key).or_insert_with(|| Reasons {
            now: String::new(),
            told: Vec::new(),
        });
        let is_new = !reasons.told.contains(&reason) && reasons.told.len() < MAX_TOLD;
        reasons.now.clone_from(&reason);
        if is_new {
            reasons.told.push(reason.clone());
            let flag = match named {
                Named::Bootstrap => "--bootstrap",
                Named::Peer => "--peer",
            };
            tracing::warn!(
                %address, reason, longest_pause_s = longest.as_secs(),
                "what {flag} names does not answer as it should; it is asked again and again"
            );
        }
    }
}

/// Why nothing came of asking `address`, for the operator of the node that tells `own` as its own.
pub(super) fn reason(address: &BaseUrl, own: &BaseUrl, error: &ClientError) -> String {
    let speaks_http = address.to_string().starts_with("http://");
    if LeadsNowhere::is_cause_of(error) {
        return "its name leads to addresses that are reserved, or outside --peer-networks".into();
    }
    match error {
        ClientError::Address(_) => {
            "this node asks no such address: it is reserved, or outside --peer-networks".into()
        }
        // An address that means this machine alone, for one.
        ClientError::Status(StatusCode::BAD_REQUEST, Some(why)) => format!(
            "it answers: {why}; the address that this node tells of itself is {own}, and \
             --base-url sets it"
        ),
        // So larder, nginx and others answer what they take for no TLS.
        ClientError::Status(StatusCode::BAD_REQUEST, None) if speaks_http => {
            format!("{error}, as of a port that speaks HTTPS: its address may begin with https://")
        }
        ClientError::Http(error) => of_request(speaks_http, error),
        other => other.to_string(),
    }
}

fn of_request(speaks_http: bool, error: &reqwest::Error) -> String {
    if let Some(none) = first::<NoMember>(error) {
        // One who was revoked gets an alert where an answer would be.
        return match none {
            NoMember::Io(_) => tls_failure(error, CA_FLAG).unwrap_or_else(|| none.to_string()),
            none => none.to_string(),
        };
    }
    if speaks_http && let Some(TlsError::InvalidMessage(_)) = first(error) {
        // Members are asked over TLS wherever they are.
        return "it is no member of this network: it does not speak TLS".to_owned();
    }
    if let Some(reason) = tls_failure(error, CA_FLAG) {
        return reason;
    }
    if is_no_http(error) {
        let more = if speaks_http {
            ": its address may begin with https://"
        } else {
            ""
        };
        return format!("what answers there speaks no HTTP{more}");
    }
    if error.is_timeout() {
        return "it does not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
