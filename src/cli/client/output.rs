//! What commands print: lines for people, or JSON; and how far a transfer is.

use std::io::{self, Write, stdout};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;

/// A text for a terminal: what would command the terminal rather than be shown is replaced.
pub(super) fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// Prints a line for people.
pub(super) fn line(text: &str) -> io::Result<()> {
    writeln!(stdout().lock(), "{text}")
}

/// Prints an object as one line of JSON.
pub(super) fn json(object: &impl Serialize) -> io::Result<()> {
    let mut out = stdout().lock();
    serde_json::to_writer(&mut out, object)?;
    writeln!(out)
}

/// A bar on standard error, where that is a terminal.
pub(super) fn bar(name: &str, length: u64) -> ProgressBar {
    const TEMPLATE: &str =
        "{wide_msg} {bytes:>10} of {total_bytes:<10} {binary_bytes_per_sec:>12} {eta:>4} left";
    let bar = ProgressBar::new(length);
    // The template is a constant that is right.
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    bar.with_message(plain(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_commands_the_terminal() {
        assert_eq!(
            plain("a\x1b[2Jb\n\u{9b}c"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}c"
        );
        assert_eq!(plain("na\u{ef}ve \u{4e2d}"), "na\u{ef}ve \u{4e2d}");
    }
}
