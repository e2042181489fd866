//! Whom a login names, read in one way or not at all, and folded so that no spelling of an account has a budget of its own.
//!
//! Imports `model` and `rules::body`. The key is coarser than any service's idea of an account: two accounts that share one
//! share a budget, but one account never has two. Deliberately absent: hashing, and the subject of a token (`flow`).

use std::borrow::Cow;

use http::HeaderMap;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::model::Location;
use crate::rules::body::{Body, JSON, Unreadable, form_decode, is_of_type};

/// The longest account name, in bytes as it is told: an e-mail address has at most 254 (RFC 5321 section 4.5.3.1.3).
const NAME_MAX: usize = 320;

/// How often a name is folded at most. Two rounds reach the end for every text that is known; a third would show it.
const ROUNDS: usize = 4;

/// A request that tells an account.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'a> {
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// Its query, without the question mark.
    pub query: Option<&'a str>,
    /// The whole of its body.
    pub body: &'a [u8],
}

/// The key of the account that is told at a place. A login that names nobody is nothing and is refused like one that cannot be
/// read.
///
/// # Errors
/// `TooLarge`, `MediaType`; `Malformed` if there is no account, or if another reader might find another one: in a repeated
/// parameter, a name that differs in case only, a parameter of the query, invisible characters.
pub fn account_key(location: &Location, telling: Telling<'_>) -> Result<Box<str>, Unreadable> {
    let body = Body::read(location, telling.headers, telling.body)?;
    let told: Cow<'_, str> = match location {
        Location::Bearer => return Err(Unreadable::Malformed),
        Location::Header(name) => only_header(telling.headers, name.as_str())?.into(),
        Location::Json(pointer) => {
            let Some(Body::Json(object)) = &body else { return Err(Unreadable::Malformed) };
            // A form reader finds one parameter with a strange name in this, and no account.
            let plain = !telling.body.iter().any(|byte| matches!(byte, b'&' | b';'));
            if !plain && !is_of_type(telling.headers, &[JSON]) {
                return Err(Unreadable::MediaType);
            }
            let outermost = pointer.names().next().unwrap_or_default();
            if object.has_lookalike(pointer) || lookalikes(telling.query.unwrap_or_default(), outermost)? > 0 {
                return Err(Unreadable::Malformed);
            }
            told(body.as_ref(), location)?.into()
        }
        Location::Form(name) => {
            let text = std::str::from_utf8(telling.body).map_err(|_| Unreadable::Malformed)?;
            if lookalikes(text, name)? + lookalikes(telling.query.unwrap_or_default(), name)? > 1 {
                return Err(Unreadable::Malformed);
            }
            told(body.as_ref(), location)?.into()
        }
    };
    fold(&told).ok_or(Unreadable::Malformed)
}

fn told(body: Option<&Body>, location: &Location) -> Result<String, Unreadable> {
    let told = body.map(|body| body.told(location)).transpose()?.flatten();
    told.map(str::to_owned).ok_or(Unreadable::Malformed)
}

/// The value of the only field of this name, whether it is spelt with hyphens or, as behind CGI, with underscores.
fn only_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Unreadable> {
    let alike = |field: &str| field.replace('_', "-") == name.replace('_', "-");
    let mut found = headers.iter().filter(|(field, _)| alike(field.as_str()));
    let (Some((field, value)), None) = (found.next(), found.next()) else { return Err(Unreadable::Malformed) };
    let exact = field.as_str() == name;
    value.to_str().ok().filter(|_| exact).ok_or(Unreadable::Malformed)
}

/// How many parameters some reader might take for the one of this name: readers differ about `;`, about `name[]`, about case
/// and about characters that their language has no room for in names.
fn lookalikes(text: &str, name: &str) -> Result<usize, Unreadable> {
    let wanted = parameter_name(name);
    let mut alike = 0;
    for pair in text.split(['&', ';']) {
        let spelt = pair.split_once('=').map_or(pair, |(name, _)| name);
        let spelt = form_decode(spelt).ok_or(Unreadable::Malformed)?;
        alike += usize::from(parameter_name(&spelt) == wanted);
    }
    Ok(alike)
}

fn parameter_name(name: &str) -> String {
    let base = name.trim().split(['[', '\0']).next().unwrap_or_default();
    base.to_lowercase().replace(['.', ' ', '-'], "_")
}

/// Folds a name to the key that all of its spellings share: compatibility forms, case, accents and white space do not count,
/// and of a phone number nothing but its digits. `None` if it is empty, too long, or has characters that cannot be seen.
#[must_use]
pub fn fold(name: &str) -> Option<Box<str>> {
    if name.len() > NAME_MAX || name.chars().any(is_unseen) {
        return None;
    }
    let mut key = fold_once(name);
    for _ in 1..ROUNDS {
        let again = fold_once(&key);
        if again == key {
            break;
        }
        key = again;
    }
    let key = phone_digits(&key).unwrap_or(key);
    (!key.is_empty() && !key.chars().any(is_unseen)).then(|| key.into())
}

fn fold_once(name: &str) -> String {
    let plain = name.nfkd().filter(|letter| !is_combining_mark(*letter) && !letter.is_whitespace());
    // By way of the capitals, because there are small letters that differ and share one: ς and σ, ſ and s.
    plain.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc().collect()
}

/// The digits of what can only be a phone number, without the zeros before it (ITU-T E.164; `00` stands for `+`).
fn phone_digits(key: &str) -> Option<String> {
    let is_phone = key.chars().all(|letter| letter.is_ascii_digit() || "+-.()/".contains(letter));
    let digits: String = key.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_start_matches('0');
    (is_phone && !significant.is_empty()).then(|| significant.to_owned())
}

/// Control characters, and those that are there without being seen: some services drop them, others do not. Line ends and tabs
/// are among them.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(letter, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}')
        || matches!(letter, '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
        || matches!(letter, '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;
    use proptest::prelude::*;

    use super::*;
    use crate::model::Pointer;
    use crate::rules::body::FORM;

    fn key(location: &Location, label: &str, query: Option<&str>, body: &str) -> Result<Box<str>, Unreadable> {
        let mut headers = HeaderMap::new();
        if !label.is_empty() {
            headers.insert(CONTENT_TYPE, label.parse().unwrap());
        }
        account_key(location, Telling { headers: &headers, query, body: body.as_bytes() })
    }

    fn json(body: &str) -> Result<Box<str>, Unreadable> {
        key(&Location::Json(Pointer::parse("/user/email").unwrap()), JSON, None, body)
    }

    fn form(body: &str) -> Result<Box<str>, Unreadable> {
        key(&Location::Form("username".into()), FORM, None, body)
    }

    #[test]
    fn spellings_of_one_account_share_a_key() {
        for same in [
            "ann@example.com",
            " Ann@Example.COM ",
            "ann @example.com",
            "\u{a0}ann@example.com\u{3000}",
            "ａｎｎ@example.com",
            "ánn@example.com",
            "a\u{301}nn@example.com",
            "ANN@EXAMPLE.COM",
        ] {
            assert_eq!(fold(same).as_deref(), Some("ann@example.com"), "{same:?}");
        }
        assert_eq!(fold("Straße"), fold("STRASSE"));
        assert_eq!(fold("ΟΔΟΣ"), fold("οδος"));
        assert_ne!(fold("ann+x@example.com"), fold("ann@example.com"), "a tag is another account for most services");
    }

    #[test]
    fn a_phone_number_is_its_digits() {
        for same in ["+40711111298", "0040 711 111 298", "+40 (711) 111-298", "40.711.111.298", "＋40711111298"] {
            assert_eq!(fold(same).as_deref(), Some("40711111298"), "{same:?}");
        }
        assert_eq!(fold("ann-40").as_deref(), Some("ann-40"));
    }

    #[test]
    fn what_cannot_be_seen_and_what_is_nothing_is_no_account() {
        let long = "a".repeat(NAME_MAX + 1);
        for bad in ["", " ", "\u{301}", "a\u{200b}nn", "ann\u{0}", "ann\n", "\u{feff}ann", "a\u{ad}nn", "ann\u{202e}", &long] {
            assert_eq!(fold(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_account_is_read_where_it_is_said_to_be() {
        assert_eq!(json(r#"{"user":{"email":"Ann","x":1}}"#).as_deref(), Ok("ann"));
        assert_eq!(form("a=b&username=Ann+%20").as_deref(), Ok("ann"));
        let mut headers = HeaderMap::new();
        headers.insert("x-user", HeaderValue::from_static("Ann"));
        let location = Location::Header(http::HeaderName::from_static("x-user"));
        let read = |headers: &HeaderMap| account_key(&location, Telling { headers, query: None, body: b"" });
        assert_eq!(read(&headers).as_deref(), Ok("ann"));
        let mut twice = headers.clone();
        twice.append("x-user", HeaderValue::from_static("bob"));
        headers.insert("x_user", HeaderValue::from_static("bob"));
        for bad in [headers, twice, HeaderMap::new()] {
            assert_eq!(read(&bad), Err(Unreadable::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn where_another_reader_might_find_another_account_there_is_none() {
        for bad in [
            "",
            "{}",
            r#"{"user":{}}"#,
            r#"{"user":{"email":""}}"#,
            r#"{"user":{"email":null}}"#,
            r#"{"user":{"email":7}}"#,
            r#"{"user":{"email":["ann"]}}"#,
            r#"{"user":{"email":"ann","email":"bob"}}"#,
            r#"{"user":{"email":"ann","Email":"bob"}}"#,
            r#"{"user":{"email":"ann"},"USER":{"email":"bob"}}"#,
        ] {
            assert_eq!(json(bad), Err(Unreadable::Malformed), "{bad}");
        }
        for bad in [
            "",
            "username=",
            "user=ann",
            "username=ann&username=bob",
            "username=ann&user%6eame=bob",
            "username=ann&Username=bob",
            "username=ann&username[]=bob",
            "username=ann&username%5B0%5D=bob",
            "x=1;username=bob&username=ann",
            "username=ann&+username=bob",
        ] {
            assert_eq!(form(bad), Err(Unreadable::Malformed), "{bad}");
        }
        let in_query = |location: &Location, label, body| key(location, label, Some("x=1&Username=bob"), body);
        let (in_form, in_json) = (Location::Form("username".into()), Location::Json(Pointer::parse("/username").unwrap()));
        assert_eq!(in_query(&in_form, FORM, "username=ann"), Err(Unreadable::Malformed));
        assert_eq!(in_query(&in_json, JSON, r#"{"username":"ann"}"#), Err(Unreadable::Malformed));
        assert_eq!(key(&in_form, FORM, Some("lang=en"), "username=ann").as_deref(), Ok("ann"));
    }

    #[test]
    fn json_under_another_label_is_taken_only_if_no_form_hides_in_it() {
        let location = Location::Json(Pointer::parse("/email").unwrap());
        for label in [FORM, ""] {
            assert_eq!(key(&location, label, None, r#"{"email":"ann","password":"x"}"#).as_deref(), Ok("ann"));
            let hiding = r#"{"email":"ann","x":"&email=bob&y="}"#;
            assert_eq!(key(&location, label, None, hiding), Err(Unreadable::MediaType), "{label:?}");
        }
        assert_eq!(key(&location, JSON, None, r#"{"email":"ann","password":"a&b;c"}"#).as_deref(), Ok("ann"));
        assert_eq!(key(&location, "text/plain", None, r#"{"email":"ann"}"#), Err(Unreadable::MediaType));
    }

    proptest! {
        #[test]
        fn folding_a_key_again_changes_nothing(name in "\\PC{0,24}") {
            if let Some(key) = fold(&name) && key.len() <= NAME_MAX {
                prop_assert_eq!(fold(&key), Some(key));
            }
        }

        #[test]
        fn case_space_and_form_of_a_name_do_not_count(name in "[a-zA-Zéößñ0-9@._+-]{1,24}", at in 0_usize..24) {
            let folded = fold(&name);
            prop_assert!(folded.is_some());
            prop_assert_eq!(fold(&name.to_uppercase()), folded.clone());
            prop_assert_eq!(fold(&name.to_lowercase()), folded.clone());
            prop_assert_eq!(fold(&name.nfd().collect::<String>()), folded.clone());
            prop_assert_eq!(fold(&format!("  {name} ")), folded.clone());
            let mut letters: Vec<char> = name.chars().collect();
            letters.insert(at.min(letters.len()), ' ');
            prop_assert_eq!(fold(&letters.into_iter().collect::<String>()), folded);
        }

        #[test]
        fn however_a_phone_number_is_set_it_is_the_same(digits in "[1-9][0-9]{5,14}", gaps in prop::collection::vec(0_usize..15, 0..4)) {
            let mut spelt = digits.clone();
            for gap in gaps {
                spelt.insert(gap.min(spelt.len()), '-');
            }
            for spelling in [spelt.clone(), format!("+{spelt}"), format!("00{spelt}"), format!("({spelt})")] {
                prop_assert_eq!(fold(&spelling), Some(digits.as_str().into()));
            }
        }

        #[test]
        fn a_form_tells_an_account_only_if_it_has_the_parameter_once_however_it_is_spelt(
            others in prop::collection::btree_map("[a-m]{1,3}", "[a-z%;]{0,3}", 0..4),
            spellings in prop::collection::vec(prop::sample::select(vec![
                "username", "Username", "USERNAME", "user%6eame", "username[]", "%75sername", "username%00x", "+username",
            ]), 0..3),
            at in prop::collection::vec(0_usize..5, 3),
        ) {
            // An escape that is none makes all of it unreadable, which is no account either.
            let mut pairs: Vec<String> = others.iter().map(|(name, value)| format!("{name}={}", value.replace('%', "%25"))).collect();
            for (spelling, at) in spellings.iter().zip(&at) {
                pairs.insert((*at).min(pairs.len()), format!("{spelling}=ann"));
            }
            let told = form(&pairs.join("&"));
            match spellings.as_slice() {
                ["username" | "user%6eame" | "%75sername"] => prop_assert_eq!(told.as_deref(), Ok("ann")),
                _ => prop_assert!(told.is_err(), "{told:?}"),
            }
        }

        #[test]
        fn whatever_the_bytes_are_the_account_is_in_them_or_there_is_none(
            body in prop::collection::vec(prop::sample::select(b"username=&;%4{}\":,[]\\u \xff\0a".to_vec()), 0..40),
        ) {
            let mut headers = HeaderMap::new();
            for (label, location) in [
                (FORM, Location::Form("username".into())),
                (JSON, Location::Json(Pointer::parse("/username").unwrap())),
            ] {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(label));
                let told = account_key(&location, Telling { headers: &headers, query: None, body: &body });
                prop_assert!(told.is_err() || std::str::from_utf8(&body).is_ok_and(|text| !text.is_empty()), "{told:?}");
            }
        }
    }
}
