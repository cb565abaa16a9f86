//! The source is tidy: what a reader must scroll or guess through does not get in.
//!
//! Format and lints are checked by rustfmt and clippy; here is what they leave out.

// A panic is how a test fails.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod rust_files;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenTree};

/// A function fits a screen.
const MAX_FUNCTION_LINES: usize = 60;
/// A file has one subject.
const MAX_FILE_LINES: usize = 500;
/// Tests may tell a longer story.
const MAX_TEST_FUNCTION_LINES: usize = 70;
const MAX_TEST_FILE_LINES: usize = 800;
/// As rustfmt has it, which leaves comments and strings alone.
const MAX_LINE_CHARS: usize = 100;
/// Marks of unfinished work.
const BANNED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

#[test]
fn the_source_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut files, mut found) = (0, Vec::new());
    let dirs = ["src", "tests", "benches", "fuzz/fuzz_targets"].map(|dir| root.join(dir));
    for dir in dirs.iter().filter(|dir| dir.is_dir()) {
        for path in rust_files::files_under(dir) {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            found.extend(complaints(&name, &text));
            files += 1;
        }
    }
    assert!(files > 10, "only {files} files were found");
    assert_eq!(found, Vec::<String>::new());
}

/// The binaries of tests, and why each stands apart. A test is a module of `it`, unless it needs
/// a process or a machine to itself: each binary takes seconds to link, and room.
const BINARIES: [(&str, &str); 13] = [
    ("bit_flips", "reads all that its process logs"),
    ("crowded", "has thousands of files open"),
    ("directory_memory", "measures the memory of its process"),
    ("floors", "is run alone"),
    ("it", "all others"),
    ("kill9", "keeps the machine busy"),
    ("many_nodes", "needs the machine's whole time"),
    ("mdns_memory", "measures the memory of its process"),
    ("mounts", "needs root"),
    ("namespaces", "needs root"),
    ("shared", "needs another feature, and servers"),
    ("soak", "needs root, and keeps the machine busy"),
    ("tidy", "is run alone"),
];

#[test]
fn tests_are_in_few_binaries() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let entries = std::fs::read_dir(tests).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let binaries = paths
        .filter(|it| it.extension().is_some_and(|it| it == "rs") || it.join("main.rs").exists());
    let found: BTreeSet<_> = binaries
        .map(|it| it.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let known = BINARIES.map(|(name, _)| name.to_owned());
    assert_eq!(
        found,
        BTreeSet::from(known),
        "should it be a module of `it`?"
    );
}

#[test]
fn the_tests_that_lists_name_are_there() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for list in ["not-quick", "as-members"] {
        let lines = std::fs::read_to_string(tests.join(list)).unwrap();
        let lines = lines.lines().filter(|line| !line.starts_with('#'));
        let names = lines.flat_map(str::split_whitespace);
        let gone: Vec<_> = names
            .filter_map(|name| name.split_once("::"))
            .filter(|(module, test)| !is_a_test(&tests, module, test))
            .collect();
        assert_eq!(gone, Vec::<(&str, &str)>::new(), "{list}");
    }
}

/// Whether there is such a test in a module, or that module at all.
fn is_a_test(tests: &Path, module: &str, test: &str) -> bool {
    ["it", "namespaces"].iter().any(|binary| {
        let file = tests.join(binary).join(format!("{module}.rs"));
        let read = std::fs::read_to_string(file);
        read.is_ok_and(|it| test.is_empty() || it.contains(&format!("fn {test}(")))
    })
}

#[test]
fn no_file_is_left_out_of_what_is_compiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dirs = ["src", "tests", "benches"].map(|dir| root.join(dir));
    let files: Vec<_> = dirs
        .iter()
        .flat_map(|dir| rust_files::files_under(dir))
        .collect();
    assert!(files.len() > 10, "only {} files were found", files.len());
    let left_out: Vec<_> = files.iter().filter(|file| !is_compiled(file)).collect();
    assert_eq!(left_out, Vec::<&PathBuf>::new());
}

/// Whether a file is declared as a module by what is at the root of its directory, or is there
/// itself.
fn is_compiled(file: &Path) -> bool {
    // A `mod.rs` stands for its directory.
    let module = if file.ends_with("mod.rs") {
        file.parent().unwrap()
    } else {
        file
    };
    let roots = ["lib.rs", "main.rs", "mod.rs"].map(|root| module.with_file_name(root));
    let roots: Vec<_> = roots.into_iter().filter(|root| root.exists()).collect();
    let name = module.file_stem().unwrap().to_str().unwrap();
    // Where there is none, each file is one.
    roots.is_empty()
        || roots.iter().any(|root| root == module)
        || roots.iter().any(|root| {
            let text = std::fs::read_to_string(root).unwrap();
            declared_modules(&rust_files::tokens(&text)).contains(name)
        })
}

/// The modules that a file leaves to files of their own.
fn declared_modules(tokens: &[TokenTree]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for three in tokens.windows(3) {
        if let [
            TokenTree::Ident(keyword),
            TokenTree::Ident(name),
            TokenTree::Punct(end),
        ] = three
            && keyword == "mod"
            && end.as_char() == ';'
        {
            found.insert(name.to_string());
        }
    }
    found
}

#[test]
fn one_rust_version_is_named_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = |file: &str, before: &str| {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let (_, after) = text
            .split_once(before)
            .unwrap_or_else(|| panic!("{file}: {before}"));
        let version: String = after
            .chars()
            .take_while(|char| char.is_ascii_digit() || *char == '.')
            .collect();
        version
    };
    let built_with = named("rust-toolchain.toml", "channel = \"");
    let (promised, patch) = built_with.rsplit_once('.').unwrap();
    assert!(patch.parse::<u32>().is_ok(), "{built_with}");
    assert_eq!(named("Cargo.toml", "rust-version = \""), promised);
    assert_eq!(named("README.md", "It needs Rust "), promised);
    assert_eq!(named("packaging/Dockerfile", "FROM rust:"), built_with);
}

/// Everything untidy about a file.
fn complaints(name: &str, text: &str) -> Vec<String> {
    let tokens = rust_files::tokens(text);
    let in_strings = lines_in_strings(&tokens);
    let mut found = Vec::new();
    let (limit, most_lines) = if name.starts_with("tests/") {
        (MAX_TEST_FILE_LINES, MAX_TEST_FUNCTION_LINES)
    } else {
        (MAX_FILE_LINES, MAX_FUNCTION_LINES)
    };
    if text.lines().count() > limit {
        found.push(format!("{name} has more than {limit} lines"));
    }
    if !text.starts_with("//! ") {
        found.push(format!(
            "{name} does not begin by telling its subject (//!)"
        ));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let in_string = in_strings.contains(&number);
        found.extend(line_complaint(line, in_string).map(|it| format!("{name}:{number} {it}")));
        let next = text.lines().nth(number).unwrap_or_default();
        if !in_string && breaks_off(line, next) {
            found.push(format!(
                "{name}:{number} breaks off in the middle of a sentence"
            ));
        }
    }
    for function in long_functions(&tokens, most_lines) {
        found.push(format!("{name}: function {function} is too long"));
    }
    found
}

/// What is untidy about one line, if anything.
fn line_complaint(line: &str, in_string: bool) -> Option<&'static str> {
    let comment = line.trim_start().strip_prefix("//").filter(|_| !in_string);
    if BANNED.iter().any(|word| line.contains(word)) {
        Some("is unfinished")
    } else if line.contains('\t') {
        Some("has a tab")
    } else if line.chars().count() > MAX_LINE_CHARS && !in_string && !line.contains("https://") {
        Some("is too long")
    } else if comment.is_some_and(is_code) {
        Some("is code that was commented out")
    } else {
        None
    }
}

/// Whether a doc comment ends on this line, and not with the end of a sentence: what the next item
/// says is not seen where this one is shown.
fn breaks_off(line: &str, next: &str) -> bool {
    let mut marks = ["///", "//!"].into_iter();
    let Some((mark, said)) = marks.find_map(|it| Some((it, line.trim_start().strip_prefix(it)?)))
    else {
        return false;
    };
    let is_code = said.starts_with("     ");
    let is_link = said.trim_start().starts_with('[') && said.contains("]: ");
    let is_whole = said.ends_with(['.', '?', '!', ':', '`', ')', '|', '"']);
    !is_code && !is_link && !is_whole && !next.trim_start().starts_with(mark)
}

/// Whether a comment's text can only be code. Doc comments (`///`, `//!`) are none.
fn is_code(comment: &str) -> bool {
    let text = comment.trim();
    let statement = ["let ", "use ", "return", "pub ", "fn ", "mod ", "assert"]
        .iter()
        .any(|start| text.starts_with(start));
    let call = text.ends_with(");") || text.ends_with("?;") || text.ends_with(")?");
    let shape = text.ends_with('{') || text.starts_with('}') || text.starts_with("#[");
    let doc = comment.starts_with(['/', '!']);
    !doc && (call || shape || (statement && text.ends_with(';')))
}

/// The numbers of the lines on which a string literal goes on from line to line.
fn lines_in_strings(tokens: &[TokenTree]) -> BTreeSet<usize> {
    let mut lines = BTreeSet::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                lines.extend(lines_in_strings(&inner));
            }
            TokenTree::Literal(literal) => {
                let (first, last) = (literal.span().start().line, literal.span().end().line);
                if first != last {
                    lines.extend(first..=last);
                }
            }
            _ => {}
        }
    }
    lines
}

/// The names of the functions that are too long, those inside of others included.
fn long_functions(tokens: &[TokenTree], most_lines: usize) -> Vec<String> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match (token, tokens.get(at + 1)) {
            (TokenTree::Ident(keyword), Some(TokenTree::Ident(name))) if keyword == "fn" => {
                let first = keyword.span().start().line;
                if last_line(&tokens[at..]) + 1 - first > most_lines {
                    found.push(name.to_string());
                }
            }
            (TokenTree::Group(group), _) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                found.extend(long_functions(&inner, most_lines));
            }
            _ => {}
        }
    }
    found
}

/// The last line of the function that begins with `tokens`: that of its body's brace,
/// or of the semicolon where there is no body.
fn last_line(tokens: &[TokenTree]) -> usize {
    let end = tokens.iter().find(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    });
    end.map_or(0, |token| token.span().end().line)
}

#[test]
fn a_function_of_60_lines_fits_and_one_of_61_does_not() {
    for (lines, found) in [(60, vec![]), (61, vec!["long"])] {
        let body = "    f();\n".repeat(lines - 2);
        let text =
            format!("impl X {{ fn short(&self);\nfn long<T>() -> u8 where T: A {{\n{body}}}\n}}");
        assert_eq!(
            long_functions(&rust_files::tokens(&text), MAX_FUNCTION_LINES),
            found
        );
    }
}

#[test]
fn a_file_tells_its_subject_and_stays_short() {
    assert_eq!(complaints("src/a.rs", "//! A.\n"), Vec::<String>::new());
    assert_eq!(complaints("src/a.rs", "fn f() {}\n").len(), 1);
    let text = format!("//! A.\n{}", "fn f() {}\n".repeat(MAX_FILE_LINES));
    assert_eq!(
        complaints("src/a.rs", &text),
        ["src/a.rs has more than 500 lines"]
    );
    assert_eq!(complaints("tests/a.rs", &text), Vec::<String>::new());
}

#[test]
fn untidy_lines_are_found() {
    for line in [
        "    // let x = 1;",
        "// foo.bar(baz);",
        "// if x {",
        "// }",
        "//#[test]",
        "\tlet x = 1;",
        &format!("// {} later", BANNED[0]),
        &"x".repeat(101),
    ] {
        assert!(line_complaint(line, false).is_some(), "{line}");
    }
}

#[test]
fn a_doc_comment_ends_with_a_sentence() {
    for broken in [
        "/// How many at once,",
        "/// and how many",
        "    /// The first;",
    ] {
        assert!(breaks_off(broken, "const A: u8 = 1;"), "{broken}");
        assert!(!breaks_off(broken, "    /// goes on."), "{broken}");
    }
    assert!(breaks_off("//! About a", ""));
    let code = "//!     cargo run";
    for whole in [
        "/// All.",
        "/// As in `A`",
        "/// [A]: crate::a",
        code,
        "// and so",
        "a,",
    ] {
        assert!(!breaks_off(whole, "const A: u8 = 1;"), "{whole}");
    }
}

#[test]
fn prose_is_no_code() {
    for line in [
        "// The clock stood still or went back;",
        "// Use `spool`: let it go, then return.",
        "/// let x = 1;",
        "//! foo(bar);",
        "// pub use child::Name is no import",
    ] {
        assert_eq!(line_complaint(line, false), None, "{line}");
    }
}

#[test]
fn what_a_string_holds_is_not_looked_at_line_by_line() {
    let text = "const A: &str = \"\n// let x = 1;\n\";\n";
    let lines = lines_in_strings(&rust_files::tokens(text));
    assert_eq!(lines, BTreeSet::from([1, 2, 3]));
    assert_eq!(line_complaint("// let x = 1;", true), None);
}
