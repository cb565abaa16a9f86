//! Values in queries, and what is to be changed of those that are none.

use std::fmt::{self, Display};
use std::str::FromStr;

use axum::extract::rejection::QueryRejection;
use serde::Deserializer;

use crate::text_form;

/// A text that is no number.
struct NoNumber;

/// A whole number.
struct Number<N>(N);

impl Display for NoNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("has to be a whole number")
    }
}

impl<N: FromStr> FromStr for Number<N> {
    type Err = NoNumber;

    fn from_str(text: &str) -> Result<Self, NoNumber> {
        text.parse().map(Self).map_err(|_| NoNumber)
    }
}

/// Reads a whole number.
pub(crate) fn number<'de, N: FromStr, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<N>, D::Error> {
    let Number(number) = text_form::read(deserializer)?;
    Ok(Some(number))
}

/// What is to be changed of a query that cannot be read.
pub(super) fn wrong(rejection: &QueryRejection) -> String {
    let told = rejection.body_text();
    // A key that stands there twice is all that is not told by the values themselves.
    if let Some((_, key)) = told.split_once("duplicate field `") {
        return format!("{} stands in it twice", key.trim_end_matches('`'));
    }
    let mut parts = told.splitn(3, ": ");
    match (parts.next(), parts.next(), parts.next()) {
        (_, Some(key), Some(why)) => format!("{key} {why}"),
        _ => "it cannot be read".to_owned(),
    }
}
