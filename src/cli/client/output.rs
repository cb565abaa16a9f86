//! What commands print: lines for people, or JSON; and how far a transfer is.
//!
//! Names, addresses and errors come from anybody. So what is printed passes one of the functions
//! here, whoever calls them, and nothing of it commands a terminal or looks like what it is not.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write, stderr, stdin, stdout};
use std::path::Path;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter};

use crate::blocking;
use crate::safe_name::is_unsafe;

/// Where standard input is read.
pub(super) const STDIN: &str = "/dev/stdin";

/// The longest text that is shown of one thing, in characters: the longest name that a node
/// takes, and a little more.
const LONGEST: usize = 5000;
/// The longest field of a column, in characters; what a larder node tells is shorter.
const LONGEST_FIELD: usize = 64;

/// The longest answer to a question, in bytes.
const MOST_SAID: u64 = 100;

/// A text as it may be shown, in one line: what would command the terminal or mislead whoever
/// reads it is shown as an escape, and what is longer than any name is cut.
pub(in crate::cli) fn plain(text: &str) -> String {
    shortened(text, LONGEST)
}

/// A path as it is told: standard input has one only for this program.
pub(super) fn told_path(path: &Path) -> String {
    if path == Path::new(STDIN) {
        return "standard input".to_owned();
    }
    path.display().to_string()
}

/// One of several texts in a line.
pub(super) fn field(text: &str) -> String {
    shortened(text, LONGEST_FIELD)
}

fn shortened(text: &str, longest: usize) -> String {
    let (mut chars, mut short) = (text.chars(), String::new());
    for c in chars.by_ref().take(longest) {
        if is_unsafe(c) {
            short.extend(c.escape_unicode());
        } else {
            short.push(c);
        }
    }
    if chars.next().is_some() {
        short.push('\u{2026}');
    }
    short
}

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// Prints a line for people.
pub(in crate::cli) fn line(text: &str) -> io::Result<()> {
    writeln!(stdout().lock(), "{}", shortened(text, 2 * LONGEST))
}

/// Lines of what is told in two columns, the second beginning at the same place in all of them.
pub(super) fn rows(rows: Vec<(String, String)>) -> Vec<String> {
    let widths = rows.iter().map(|(what, _)| what.chars().count());
    let width = widths.max().unwrap_or(0);
    let lines = rows
        .into_iter()
        .map(|(what, told)| format!("{what:width$}  {told}"));
    lines.collect()
}

/// Prints an object as one line of JSON.
pub(in crate::cli) fn json(object: &impl Serialize) -> io::Result<()> {
    let mut text = Vec::new();
    object.serialize(&mut Serializer::with_formatter(&mut text, Escaping))?;
    text.push(b'\n');
    stdout().lock().write_all(&text)
}

/// JSON whose strings have escapes for what would command a terminal.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            let (before, behind) = rest.split_at(at);
            CompactFormatter.write_string_fragment(writer, before)?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = behind.split_at(c.len_utf8()).1;
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

/// Says something on standard error, where anybody reads that.
pub(in crate::cli) fn say(text: &str) {
    let _ = writeln!(stderr(), "larder: {text}");
}

/// Whether somebody can answer a question.
pub(super) fn is_asked() -> bool {
    stdin().is_terminal()
}

/// Puts a text before whoever sits at the terminal, also where errors go elsewhere.
fn ask(question: &str) {
    let terminal = File::options().write(true).open("/dev/tty");
    let _ = match terminal {
        Ok(mut terminal) if !stderr().is_terminal() => write!(terminal, "{question}"),
        _ => write!(stderr(), "{question}"),
    };
}

/// Whether whoever sits there says yes to a question.
pub(super) async fn says_yes(question: String) -> bool {
    blocking::run(move || {
        ask(&format!("larder: {question} [y/N] "));
        let mut answer = String::new();
        let read = stdin().lock().take(MOST_SAID).read_line(&mut answer);
        if !answer.ends_with('\n') {
            ask("\n");
        }
        let answer = answer.trim().to_ascii_lowercase();
        read.is_ok() && ["y", "yes"].contains(&&*answer)
    })
    .await
}

/// Tells on standard error why something is tried once more, after which pause, and the how
/// manieth try of how many that is.
pub(super) fn tell_again(bar: &ProgressBar, why: &str, pause: Duration, (number, of): (u32, u32)) {
    let pause = pause.as_secs_f32();
    let text = format!("{why}; tries again in {pause} s ({number} of {of})");
    bar.suspend(|| say(&text));
}

/// A bar on standard error, where that is a terminal.
pub(in crate::cli) fn bar(name: &str, length: u64) -> ProgressBar {
    const TEMPLATE: &str =
        "{wide_msg} {bytes:>10} of {total_bytes:<10} {binary_bytes_per_sec:>12} {eta:>4} left";
    let bar = ProgressBar::new(length);
    // The template is a constant that is right.
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    bar.with_message(plain(name))
}

/// Has a bar begin at what is there already, which is no part of what comes a second.
pub(super) fn begin_at(bar: &ProgressBar, bytes: u64) {
    bar.set_position(bytes);
    bar.reset_eta();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_commands_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\n\u{9b}c"), r"a\u{1b}[2Jb\u{a}\u{9b}c");
        assert_eq!(plain("na\u{ef}ve \u{4e2d}"), "na\u{ef}ve \u{4e2d}");
    }

    #[test]
    fn no_text_is_shown_in_another_order_or_not_at_all() {
        for hidden in [
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{200f}',
            '\u{61c}',
            '\u{2028}',
            '\u{feff}',
            '\u{e0041}',
            '\u{7f}',
            '\r',
        ] {
            let code = u32::from(hidden);
            assert_eq!(
                plain(&format!("a{hidden}gpj.exe")),
                format!("a\\u{{{code:x}}}gpj.exe")
            );
        }
        // Between letters of Persian and in emoji these decide what is shown.
        assert_eq!(plain("\u{645}\u{6cc}\u{200c}"), "\u{645}\u{6cc}\u{200c}");
    }

    #[test]
    fn no_text_is_endless() {
        assert_eq!(plain(&"x".repeat(LONGEST)).chars().count(), LONGEST);
        assert_eq!(plain(&"x".repeat(1 << 20)).chars().count(), LONGEST + 1);
        assert_eq!(field(&"x".repeat(100)).chars().count(), LONGEST_FIELD + 1);
    }

    #[test]
    fn json_is_the_same_text_without_what_commands_a_terminal() {
        let text = "a\x1b\u{9b}\u{202e}\u{e0041}\"\\\n\u{ef}";
        let mut written = Vec::new();
        text.serialize(&mut Serializer::with_formatter(&mut written, Escaping))
            .unwrap();
        let written = String::from_utf8(written).unwrap();
        assert!(!written.chars().any(is_unsafe), "{written:?}");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        assert!(written.contains('\u{ef}'), "{written}");
    }
}
