//! "Did you mean": the nearest of the names that exist.

/// The one of `names` that `written` is most likely to be a slip of, if any is near enough: one wrong letter in a short
/// name, a third of the letters in a long one. People do not slip on the first letter; `HS256` is no slip of `ES256`.
pub(crate) fn did_you_mean<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let tolerated = (written.chars().count() / 3).max(1);
    let first = |text: &str| text.chars().next().map(|letter| letter.to_ascii_lowercase());
    names
        .into_iter()
        .filter(|name| first(name) == first(written))
        .map(|name| (distance(written, name), name))
        .filter(|(distance, _)| *distance <= tolerated)
        .min()
        .map(|(_, name)| name)
}

/// Letters to change; a swap of neighbours, another case and `-` for `_` count as the slips they are.
fn distance(written: &str, name: &str) -> usize {
    let folded = written.to_ascii_lowercase().replace('-', "_");
    strsim::damerau_levenshtein(&folded, &name.to_ascii_lowercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let names = ["upstream", "access", "methods", "host"];
        assert_eq!(did_you_mean("upsteam", names), Some("upstream"));
        assert_eq!(did_you_mean("Access", names), Some("access"));
        assert_eq!(did_you_mean("hots", names), Some("host"));
        assert_eq!(did_you_mean("timeout", names), None);
        assert_eq!(did_you_mean("HS256", ["ES256", "RS256"]), None);
    }
}
