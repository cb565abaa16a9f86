//! What was meant by a name that nothing has.

/// From which likeness on (Damerau and Levenshtein, 1: equal) a name is taken for another one
/// that was misspelt.
const ALIKE: f64 = 0.6;

/// What settings of other programs are called, and the flags that do the same here.
const SETTINGS: [(&str, &str); 8] = [
    ("home", "storage"),
    ("dir", "storage"),
    ("data", "storage"),
    ("data-dir", "storage"),
    ("path", "storage"),
    ("root", "storage"),
    ("host", "listen"),
    ("bind", "listen"),
];
/// The same of commands.
const COMMANDS: [(&str, &str); 19] = [
    ("start", "serve"),
    ("run", "serve"),
    ("server", "serve"),
    ("daemon", "serve"),
    ("delete", "rm"),
    ("del", "rm"),
    ("remove", "rm"),
    ("upload", "put"),
    ("add", "put"),
    ("send", "put"),
    ("download", "get"),
    ("fetch", "get"),
    ("list", "ls"),
    ("show", "info"),
    ("check", "verify"),
    ("fsck", "verify"),
    ("replicate", "copies"),
    ("undo", "trash"),
    ("undelete", "trash"),
];

/// The flag of the setting that other programs call so.
pub(super) fn setting_of_others(name: &str) -> Option<&'static str> {
    of_others(&SETTINGS, name)
}

/// The command that other programs call so.
pub(super) fn command_of_others(name: &str) -> Option<&'static str> {
    of_others(&COMMANDS, name)
}

fn of_others(names: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let found = names.iter().find(|(theirs, _)| *theirs == name);
    found.map(|(_, ours)| *ours)
}

/// How much two names are alike.
pub(super) fn likeness(one: &str, other: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(one, other)
}

/// The one that was meant, where one is alike enough.
pub(super) fn meant<T>(
    known: impl IntoIterator<Item = T>,
    likeness: impl Fn(&T) -> f64,
) -> Option<T> {
    let known = known.into_iter();
    let likest = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    likest.filter(|it| likeness(it) >= ALIKE)
}

/// What is said behind a name that nothing has.
pub(super) fn hint(meant: Option<&str>) -> String {
    meant.map_or("`larder serve --help` names all".to_owned(), |it| {
        format!("did you mean {it}?")
    })
}
