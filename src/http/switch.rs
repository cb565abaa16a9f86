//! Something in a query that is wanted or not.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::text_form;

/// Something that is wanted or not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    Off,
    On,
}

impl PartialSchema for Switch {
    fn schema() -> RefOr<Schema> {
        let texts = ObjectBuilder::new().schema_type(Type::String);
        texts.enum_values(Some(["0", "1", "false", "true"])).into()
    }
}

impl ToSchema for Switch {}

impl FromStr for Switch {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "0" | "false" => Ok(Self::Off),
            "1" | "true" => Ok(Self::On),
            _ => Err("has to be 0 or 1"),
        }
    }
}

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_form::read(deserializer)
    }
}
