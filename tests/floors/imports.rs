//! The paths into the crate that a file names. They are read from its token trees, so
//! that comments, strings and layout cannot mislead, and macros are looked into.

use std::collections::{BTreeMap, BTreeSet};

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
    /// What a `use` calls it in this file; None where it is no `use`, or calls it nothing.
    pub(crate) name: Option<String>,
    /// Whether it is a `use` of all that has a name there.
    pub(crate) is_glob: bool,
    /// Whether it only hands on what a child has: `pub use child::Name`.
    pub(crate) reexport: bool,
}

/// What a file names, and what it defines.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) imports: Vec<Import>,
    /// The items at its top, those within its own modules left out.
    pub(crate) defines: BTreeSet<String>,
}

/// Begins an item, whose name follows.
const ITEMS: [&str; 9] = [
    "const", "enum", "fn", "mod", "static", "struct", "trait", "type", "union",
];

/// Reads a file.
pub(crate) fn source(text: &str) -> Source {
    let tokens = rust_files::tokens(text);
    let children = tokens
        .windows(3)
        .filter(|w| is_ident(&w[0], "mod") && is_punct(&w[2], ';'))
        .map(|w| w[1].to_string())
        .collect();
    let items = tokens
        .windows(2)
        .filter(|w| ITEMS.iter().any(|item| is_ident(&w[0], item)));
    let defines = items.map(|w| w[1].to_string()).collect();
    let mut reader = Reader {
        children,
        names: Names::new(),
        imports: Vec::new(),
    };
    // A name that a `use` gives may begin the path of another.
    loop {
        reader.imports.clear();
        reader.read(&tokens, 0, false);
        let names = names(&reader.imports);
        if names == reader.names {
            let imports = reader.imports;
            return Source { imports, defines };
        }
        reader.names = names;
    }
}

/// Where the paths begin that begin with a name.
type Names = BTreeMap<String, (Option<usize>, Vec<String>)>;

fn names(imports: &[Import]) -> Names {
    let named = imports.iter().filter_map(|it| {
        let name = it.name.clone()?;
        Some((name, (it.up, it.path.clone())))
    });
    named.collect()
}

struct Reader {
    /// The modules that the file declares: paths may begin with them.
    children: Vec<String>,
    /// What `use` has given names to: paths may begin with those, too.
    names: Names,
    imports: Vec<Import>,
}

/// Where a path begins: above the file's own module, or at the root of the crate; and by which
/// segments it is longer than its tokens.
type Beginning = (Option<usize>, Vec<String>);

impl Reader {
    /// Takes the paths from `tokens`, which stand `depth` inline modules deep in the file, and
    /// are those of a `use` as a whole or anything else.
    fn read(&mut self, tokens: &[TokenTree], depth: usize, within: bool) {
        for (at, token) in tokens.iter().enumerate() {
            let is_use = match at.checked_sub(1) {
                Some(before) => {
                    is_ident(&tokens[before], "use") || (within && is_punct(&tokens[before], ','))
                }
                None => within,
            };
            if let TokenTree::Group(group) = token {
                let module = at >= 2 && is_ident(&tokens[at - 2], "mod");
                let inner: Vec<_> = group.stream().into_iter().collect();
                self.read(&inner, depth + usize::from(module), is_use);
                continue;
            }
            let is_use = is_use || is_crate_itself(&tokens[..at]);
            if let Some(((up, begin), rest)) = self.beginning(tokens, at, depth, is_use) {
                let is_child = up == Some(0) && begin.is_empty();
                let reexport = is_child && is_public_use(&tokens[..at]);
                for Path {
                    segments,
                    name,
                    is_glob,
                } in paths(rest)
                {
                    self.imports.push(Import {
                        up,
                        path: [&begin[..], &segments].concat(),
                        name: name.filter(|_| is_use),
                        is_glob,
                        reexport,
                    });
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
        is_use: bool,
    ) -> Option<(Beginning, &'a [TokenTree])> {
        let first = tokens[at].to_string();
        let is_within = at >= 2 && is_separator(&tokens[at - 2..]);
        // `pub(in crate::module)` names who may use an item, and uses nothing.
        let is_visibility = at == 1 && is_ident(&tokens[0], "in");
        if is_visibility || (is_within && first != CRATE) {
            return None;
        }
        let behind = &tokens[at + 1..];
        // A module as a whole, under another name.
        let is_renamed = is_use && behind.first().is_some_and(|it| is_ident(it, "as"));
        let rest = match behind {
            _ if is_renamed => behind,
            [_, _, rest @ ..] if is_separator(behind) => rest,
            _ => return None,
        };
        let root = |up| Some(((up, Vec::new()), rest));
        match first.as_str() {
            "crate" | CRATE => root(None),
            "self" if is_crate_itself(&tokens[..at]) => root(None),
            "self" => (depth == 0).then_some(()).and_then(|()| root(Some(0))),
            "super" => {
                let (mut levels, mut rest) = (1, rest);
                while rest.first().is_some_and(|it| is_ident(it, "super")) {
                    let behind = &rest[1..];
                    let is_last = !is_separator(behind);
                    (levels, rest) = (levels + 1, if is_last { behind } else { &behind[2..] });
                }
                Some(((Some(usize::checked_sub(levels, depth)?), Vec::new()), rest))
            }
            child if depth == 0 && self.children.iter().any(|name| name == child) => {
                Some(((Some(0), Vec::new()), &tokens[at..]))
            }
            name => Some((self.names.get(name)?.clone(), rest)),
        }
    }
}

/// One of the paths that tokens name.
struct Path {
    segments: Vec<String>,
    name: Option<String>,
    is_glob: bool,
}

impl Path {
    fn end(name: Option<String>, is_glob: bool) -> Self {
        let segments = Vec::new();
        Self {
            segments,
            name,
            is_glob,
        }
    }
}

/// The paths that begin with `tokens`: one, or as many as a `{group}` at its end names.
fn paths(tokens: &[TokenTree]) -> Vec<Path> {
    match tokens {
        [TokenTree::Ident(word), rest @ ..] if word == "as" => {
            let name = rest.first().map(ToString::to_string);
            vec![Path::end(name.filter(|it| it != "_"), false)]
        }
        // What stands before it is what is named.
        [TokenTree::Ident(word), rest @ ..] if word == "self" && !is_separator(rest) => {
            match rest {
                [renamed, ..] if is_ident(renamed, "as") => paths(rest),
                _ => vec![Path::end(None, false)],
            }
        }
        [TokenTree::Ident(word), rest @ ..] => {
            let segment = word.to_string();
            let mut tails = match rest {
                [_, _, rest @ ..] if is_separator(&tokens[1..]) => paths(rest),
                [renamed, ..] if is_ident(renamed, "as") => paths(rest),
                _ => vec![Path::end(None, false)],
            };
            for tail in &mut tails {
                let is_named = tail.name.is_some() || tail.is_glob || is_unnamed(rest);
                if tail.segments.is_empty() && !is_named {
                    tail.name = Some(segment.clone());
                }
                tail.segments.insert(0, segment.clone());
            }
            tails
        }
        [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<_> = group.stream().into_iter().collect();
            inner
                .split(|token| is_punct(token, ','))
                .flat_map(paths)
                .collect()
        }
        [all, ..] if is_punct(all, '*') => vec![Path::end(None, true)],
        // The type arguments of the segment before.
        [_, ..] => vec![Path::end(None, false)],
        // Behind the last comma of a group.
        [] => Vec::new(),
    }
}

/// Whether tokens begin with `as _`, which brings in a trait and no name.
fn is_unnamed(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [a, b, ..] if is_ident(a, "as") && b.to_string() == "_")
}

/// Whether `tokens` end in `extern crate`.
fn is_crate_itself(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [.., a, b] if is_ident(a, "extern") && is_ident(b, "crate"))
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
