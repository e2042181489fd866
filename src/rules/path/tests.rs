//! What is refused, what is respelt, and that no backend can read a normal path as one under another prefix.

use proptest::prelude::*;

use super::*;

fn refused(raw: &str) -> bool {
    normalize(raw) == Err(REFUSED)
}

#[test]
fn a_normal_path_is_returned_as_it_came_without_an_allocation() {
    for path in
        ["/", "/a", "/a/", "/a/b.c/~d_e-f", "/a%20b", "/caf%C3%A9", "/v1/users/@me:x", "/a,b=c+d!$&'()*", "/.well-known/x"]
    {
        assert!(matches!(normalize(path), Ok(Cow::Borrowed(same)) if same == path), "{path}");
    }
}

#[test]
fn every_character_has_one_spelling() {
    for (raw, normal) in [
        ("/%61dmin", "/admin"),
        ("/%41dmin", "/Admin"),
        ("/%7euser", "/~user"),
        ("/%40me", "/@me"),
        ("/a%2bb%2Cc", "/a+b,c"),
        ("/caf%c3%a9/%e2%82%ac", "/caf%C3%A9/%E2%82%AC"),
        ("/%f0%9f%98%80", "/%F0%9F%98%80"),
        ("/a%5bb%5d%7c%22", "/a%5Bb%5D%7C%22"),
    ] {
        assert_eq!(normalize(raw).as_deref(), Ok(normal));
    }
}

#[test]
fn what_cannot_stand_in_a_path_is_refused() {
    for raw in ["", "a", "*", "http://h/", "?a", " /a", "/a b", "/a\tb", "/a\0", "/a\u{7f}", "/caf\u{e9}", "/a?b", "/a#b"] {
        assert!(refused(raw), "{raw:?}");
    }
    for character in "\"<>\\^`{|}[]#?;".chars() {
        assert!(refused(&format!("/a{character}b")), "{character}");
    }
}

#[test]
fn broken_escapes_and_escapes_that_are_not_utf8_are_refused() {
    for raw in ["/%", "/%4", "/%zz", "/%u002e", "/%4g", "/% 41", "/%+1", "/a%", "/%ff", "/%c0%ae", "/%c3", "/%c3a", "/%c3%41"] {
        assert!(refused(raw), "{raw}");
    }
    for raw in ["/%e0%80%af", "/%ed%a0%80", "/%f5%80%80%80", "/%80", "/%f0%9f%98", "/%c2%85"] {
        assert!(refused(raw), "{raw}");
    }
}

#[test]
fn dot_segments_are_refused_in_every_spelling() {
    for dots in [".", "..", "%2e", "%2E%2e", ".%2e", "%2e.", "...", "..%20", "%20..", "%20"] {
        for raw in [format!("/{dots}"), format!("/a/{dots}"), format!("/{dots}/a"), format!("/a/{dots}/b")] {
            assert!(refused(&raw), "{raw}");
        }
    }
    for harmless in ["/.hidden", "/a..b", "/..a", "/a..", "/a.b", "/...a"] {
        assert_eq!(normalize(harmless).as_deref(), Ok(harmless));
    }
}

#[test]
fn empty_segments_are_refused_except_one_at_the_end() {
    for raw in ["//", "//a", "/a//b", "/a//", "///"] {
        assert!(refused(raw), "{raw}");
    }
}

#[test]
fn escapes_that_a_second_reader_may_take_for_structure_are_refused() {
    for escape in
        ["%2f", "%2F", "%5c", "%5C", "%00", "%0a", "%0d", "%09", "%1f", "%7f", "%25", "%252e", "%3b", "%3B", "%3f", "%23"]
    {
        assert!(refused(&format!("/a{escape}b")), "{escape}");
        assert!(refused(&format!("/{escape}")), "{escape}");
    }
}

#[test]
fn a_target_is_split_at_its_first_question_mark() {
    assert_eq!(split_target("/a?b?c=/d"), Ok(("/a", Some("b?c=/d"))));
    assert_eq!(split_target("/a?"), Ok(("/a", Some(""))));
    assert_eq!(split_target("/a"), Ok(("/a", None)));
    assert_eq!(split_target("/a?f[0]={x}|y^`\\"), Ok(("/a", Some("f[0]={x}|y^`\\"))));
}

#[test]
fn a_target_in_another_form_or_with_a_fragment_is_refused() {
    for target in [
        "",
        "*",
        "a",
        "http://h/a",
        "h:443",
        "/a#b",
        "/a?b#c",
        "/a?b c",
        "/a?\"",
        "/a?<",
        "/a<",
        "/a>b",
        "/\"a\"",
        "/`a`?b",
        "/a?\u{e9}",
        "/a?\u{1}",
    ] {
        assert_eq!(split_target(target), Err(REFUSED), "{target:?}");
    }
}

/// Pieces of which the tricks of the trade are made.
fn raw_path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", "/", "a", "b", ".", "..", "%2e", "%2F", "%5c", "\\", ";", "%3b", "%25", "2e", "%20", "%41", "%c3%a9", "%00",
        "*", "@", "%40", "~", "?", "%3f", "admin", "%61dmin", "x=1", "+", "%", "é", "%C3", "%A9",
    ]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok()).and_then(|two| u8::from_str_radix(two, 16).ok());
        let (byte, after) = match hex {
            Some(byte) if *first == b'%' => (byte, &after[2..]),
            Some(_) | None => (*first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The segments that a backend sees which decodes `times`, treats backslashes as slashes, cuts parameters, queries and NULs,
/// merges slashes and resolves dot segments.
fn backend_reading(path: &str, times: usize) -> Vec<String> {
    let decoded = (0..times).fold(path.to_owned(), |text, _| decode(&text));
    let mut segments = Vec::new();
    for segment in decoded.replace('\\', "/").split(['?', '#', '\0']).next().unwrap().split('/') {
        match segment.split(';').next().unwrap() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other.to_owned()),
        }
    }
    segments
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing(raw in raw_path()) {
        if let Ok(normal) = normalize(&raw) {
            prop_assert_eq!(normalize(&normal), Ok(Cow::Borrowed(&*normal)));
        }
    }

    #[test]
    fn no_text_makes_it_panic(raw in any::<String>(), tail in "\\PC*") {
        let _ = normalize(&raw);
        let _ = normalize(&format!("/{tail}"));
        let _ = split_target(&format!("/{tail}"));
    }

    #[test]
    fn every_backend_sees_the_segments_that_were_routed_on(raw in raw_path()) {
        if let Ok(normal) = normalize(&raw) {
            let routed: Vec<String> = normal.split('/').filter(|segment| !segment.is_empty()).map(decode).collect();
            for times in 0..3 {
                let seen: Vec<String> = backend_reading(&normal, times).iter().map(|segment| decode(segment)).collect();
                prop_assert_eq!(&seen, &routed, "decoded {} times", times);
            }
        }
    }

    #[test]
    fn paths_that_decode_to_the_same_text_have_the_same_normal_form(first in raw_path(), second in raw_path()) {
        if let (Ok(a), Ok(b)) = (normalize(&first), normalize(&second)) {
            prop_assert_eq!(a == b, decode(&first) == decode(&second));
        }
    }
}
