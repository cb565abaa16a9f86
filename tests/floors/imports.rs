//! The paths into the crate that a file names. They are read from its token trees, so
//! that comments, strings and layout cannot mislead, and macros are looked into.

use proc_macro2::{Delimiter, TokenTree};

use crate::rust_files;

/// The name by which `main.rs` calls the crate.
const CRATE: &str = "larder";

/// A path into the crate that a file names: in a `use`, a signature or an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    /// Where the path begins: so many levels above the file's own module, or at
    /// the root of the crate.
    pub(crate) up: Option<usize>,
    /// The segments from there, the names of types and functions included.
    pub(crate) path: Vec<String>,
    /// Whether it only hands a child's name on: `pub use child::Name`.
    pub(crate) reexport: bool,
}

/// Every path into the crate that a file names.
pub(crate) fn imports(text: &str) -> Vec<Import> {
    let tokens = rust_files::tokens(text);
    let children = tokens
        .windows(3)
        .filter(|w| is_ident(&w[0], "mod") && is_punct(&w[2], ';'))
        .map(|w| w[1].to_string())
        .collect();
    let mut reader = Reader {
        children,
        imports: Vec::new(),
    };
    reader.read(&tokens, 0);
    reader.imports
}

struct Reader {
    /// The modules that the file declares: paths may begin with them.
    children: Vec<String>,
    imports: Vec<Import>,
}

impl Reader {
    /// Takes the paths from `tokens`, which stand `depth` inline modules deep in the file.
    fn read(&mut self, tokens: &[TokenTree], depth: usize) {
        for (at, token) in tokens.iter().enumerate() {
            if let TokenTree::Group(group) = token {
                let module = at >= 2 && is_ident(&tokens[at - 2], "mod");
                let inner: Vec<_> = group.stream().into_iter().collect();
                self.read(&inner, depth + usize::from(module));
            } else if let Some((up, rest)) = self.beginning(tokens, at, depth) {
                let reexport = up == Some(0) && is_public_use(&tokens[..at]);
                for path in paths(rest) {
                    self.imports.push(Import { up, path, reexport });
                }
            }
        }
    }

    /// Where a path that begins at `at` counts from, and the tokens of its segments.
    fn beginning<'a>(
        &self,
        tokens: &'a [TokenTree],
        at: usize,
        depth: usize,
    ) -> Option<(Option<usize>, &'a [TokenTree])> {
        if !is_separator(&tokens[at + 1..]) || (at >= 2 && is_separator(&tokens[at - 2..])) {
            return None;
        }
        let first = tokens[at].to_string();
        let rest = &tokens[at + 3..];
        match first.as_str() {
            "crate" | CRATE => Some((None, rest)),
            "self" => (depth == 0).then_some((Some(0), rest)),
            "super" => {
                let (mut levels, mut rest) = (1, rest);
                while rest.len() > 3 && is_ident(&rest[0], "super") && is_separator(&rest[1..]) {
                    (levels, rest) = (levels + 1, &rest[3..]);
                }
                Some((Some(usize::checked_sub(levels, depth)?), rest))
            }
            child => (depth == 0 && self.children.iter().any(|name| name == child))
                .then(|| (Some(0), &tokens[at..])),
        }
    }
}

/// The paths that begin with `tokens`: one, or as many as a `{group}` at its end names.
fn paths(tokens: &[TokenTree]) -> Vec<Vec<String>> {
    match tokens {
        [TokenTree::Ident(name), rest @ ..] if name == "self" && !is_separator(rest) => {
            vec![Vec::new()]
        }
        [TokenTree::Ident(name), rest @ ..] => {
            let tails = if is_separator(rest) {
                paths(&rest[2..])
            } else {
                vec![Vec::new()]
            };
            let with_name = |tail: Vec<String>| [vec![name.to_string()], tail].concat();
            tails.into_iter().map(with_name).collect()
        }
        [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<_> = group.stream().into_iter().collect();
            inner
                .split(|token| is_punct(token, ','))
                .flat_map(paths)
                .collect()
        }
        // A glob, or the type arguments of the segment before.
        [_, ..] => vec![Vec::new()],
        // Behind the last comma of a group.
        [] => Vec::new(),
    }
}

/// Whether `tokens` end in `pub use` or `pub(…) use`.
fn is_public_use(tokens: &[TokenTree]) -> bool {
    match tokens {
        [.., public, TokenTree::Group(_), keyword] | [.., public, keyword] => {
            is_ident(public, "pub") && is_ident(keyword, "use")
        }
        _ => false,
    }
}

/// Whether `tokens` begin with `::`.
fn is_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [a, b, ..] if is_punct(a, ':') && is_punct(b, ':'))
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}
