//! What somebody asks for on the command line.

use std::ffi::OsString;
use std::ops::Deref;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParserFactory};

use super::raw_name::text_of;

/// A text that means files. What is no UTF-8 is written as `put` writes such names, so that a file
/// is found by the name from which it was sent.
#[derive(Debug, Clone)]
pub(super) struct Wanted(String);

impl Deref for Wanted {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl ValueParserFactory for Wanted {
    type Parser = clap::builder::ValueParser;

    fn value_parser() -> Self::Parser {
        let read = |text: OsString| {
            // A text is what it says, also where it is the text of a name.
            let text = text.into_string().unwrap_or_else(|name| text_of(&name));
            if text.is_empty() {
                return Err("an empty text means no file");
            }
            Ok(Self(text))
        };
        OsStringValueParser::new().try_map(read).into()
    }
}
