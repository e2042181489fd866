//! Hiding secrets in a text that is no TOML, where nothing tells yet which strings are secrets.

use crate::config::{Place, Report};

/// Words that a key of a secret may end in.
const TELLTALES: [&str; 4] = ["secret", "token", "bearer", "password"];

/// Masks the rest of each line behind a key that sounds like a secret's, unless a reference follows.
pub(crate) fn mask_likely_secrets(text: &str, report: &mut Report) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(offset) = secret_in(line) {
            report.mask(Place::from(start + offset..start + line.len()));
        }
        start += line.len();
    }
}

/// Where in the line something starts that may be a secret.
fn secret_in(line: &str) -> Option<usize> {
    let equals = line.match_indices('=').map(|(at, _)| at);
    equals
        .filter(|at| {
            let key = line.get(..*at).unwrap_or_default().trim_end().to_ascii_lowercase();
            let value = line.get(at + 1..).unwrap_or_default().trim_start();
            TELLTALES.iter().any(|word| key.trim_end_matches(['"', '\'']).ends_with(word)) && !value.starts_with('{')
        })
        .map(|at| at + 1)
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_key_that_sounds_secret_is_found_and_a_reference_is_not() {
        assert_eq!(secret_in("token = \"hush\n"), Some(7));
        assert_eq!(secret_in("client = { basic = { id = \"a\", secret = \"hush }"), Some(39));
        assert_eq!(secret_in("token = { env = \"TOKEN }"), None);
        assert_eq!(secret_in("tokens = 100_000"), None);
    }
}
