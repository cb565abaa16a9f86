//! What was meant by a name that nothing has.

/// From which likeness on (Damerau and Levenshtein, 1: equal) a name is taken for another one
/// that was misspelt.
const ALIKE: f64 = 0.6;

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
