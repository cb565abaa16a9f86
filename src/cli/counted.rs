//! Counts as people read them.

/// So many of what this is the word for one of.
pub(super) fn counted(count: u64, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_told_in_the_singular() {
        let told = [0, 1, 2].map(|count| counted(count, "file"));
        assert_eq!(told, ["0 files", "1 file", "2 files"]);
    }
}
