//! The body of refusals, also of those that no route makes: of a connection that has no place, or
//! of a request that can be understood in several ways.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use super::code::Code;

/// The body of every answer that is not a success.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// Always `error`.
    #[schema(pattern = "^error$")]
    status: &'static str,
    code: Code,
    /// What went wrong, for people.
    #[schema(value_type = String)]
    message: Cow<'static, str>,
}

impl ErrorBody {
    /// One with this code, and a message for people.
    pub(super) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: "error",
            code,
            message: message.into(),
        }
    }

    /// The same as JSON.
    pub(super) fn to_json(&self) -> String {
        // Texts under names, which cannot fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// All of an answer on a connection that ends with it, head and body.
    pub(super) fn last_answer(&self) -> String {
        let (body, status) = (self.to_json(), self.code.status());
        let retry = self.code.retry_after();
        let retry = retry.map(|it| format!("retry-after: {it}\r\n"));
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             {}connection: close\r\n\r\n{body}",
            body.len(),
            retry.unwrap_or_default()
        )
    }
}
