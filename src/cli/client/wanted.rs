//! What somebody asks for on the command line.

use std::convert::Infallible;
use std::ffi::OsString;
use std::ops::Deref;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParserFactory};

/// A text that means files. What is no UTF-8 is read as `put` reads such names, so that a file
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
        let lossy = |text: OsString| {
            let text = text.to_string_lossy().into_owned();
            Ok::<_, Infallible>(Self(text))
        };
        OsStringValueParser::new().try_map(lossy).into()
    }
}
