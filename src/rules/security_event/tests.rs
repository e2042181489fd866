//! Whom subjects name, what events reach, and that nothing reaches anybody of another issuer.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const ISSUER: &str = "https://a";

fn reached(meaning: Meaning, subject: &Value) -> Vec<Reached> {
    Named::by(subject, ISSUER).unwrap().reached(meaning)
}

fn session(id: &str) -> Reached {
    Reached::Session(id.into())
}

fn subject(name: &str) -> Reached {
    Reached::Subject(name.into())
}

#[test]
fn every_event_type_that_is_acted_on_has_its_meaning_and_others_have_none() {
    let caep = |name: &str| Meaning::of(&format!("https://schemas.openid.net/secevent/caep/event-type/{name}"));
    let risc = |name: &str| Meaning::of(&format!("https://schemas.openid.net/secevent/risc/event-type/{name}"));
    let ssf = |name: &str| Meaning::of(&format!("https://schemas.openid.net/secevent/ssf/event-type/{name}"));
    assert_eq!(caep("session-revoked"), Meaning::SessionRevoked);
    for name in ["credential-change", "token-claims-change", "assurance-level-change"] {
        assert_eq!(caep(name), Meaning::AccountChanged, "{name}");
    }
    for name in ["account-disabled", "account-purged", "credential-compromise", "sessions-revoked"] {
        assert_eq!(risc(name), Meaning::AccountChanged, "{name}");
    }
    for name in ["verification", "stream-updated"] {
        assert_eq!(ssf(name), Meaning::Stream, "{name}");
    }
    for unknown in [caep("device-compliance-change"), risc("account-enabled"), Meaning::of("session-revoked"), Meaning::of("")]
    {
        assert_eq!(unknown, Meaning::Unknown);
    }
    assert_eq!(Meaning::of("https://evil.example/secevent/caep/event-type/session-revoked"), Meaning::Unknown);
}

#[test]
fn the_end_of_a_session_reaches_the_session_if_it_is_named_and_else_the_subject() {
    let ada = json!({"format": "iss_sub", "iss": ISSUER, "sub": "ada"});
    let s1 = json!({"format": "opaque", "id": "s1"});
    let both = json!({"format": "complex", "user": ada, "session": s1, "tenant": {"format": "opaque", "id": "t"}});
    let device = json!({"format": "complex", "user": ada, "device": {"format": "opaque", "id": "d"}});
    assert_eq!(reached(Meaning::SessionRevoked, &both), [session("s1")]);
    assert_eq!(reached(Meaning::SessionRevoked, &json!({"format": "complex", "session": s1})), [session("s1")]);
    assert_eq!(reached(Meaning::SessionRevoked, &device), [subject("ada")]);
    assert_eq!(reached(Meaning::SessionRevoked, &ada), [subject("ada")]);
    assert_eq!(reached(Meaning::SessionRevoked, &s1), [session("s1"), subject("s1")], "it may be either");
}

#[test]
fn what_happens_to_an_account_reaches_its_subject_and_not_a_session_for_good() {
    let ada = json!({"format": "iss_sub", "iss": ISSUER, "sub": "ada"});
    let s1 = json!({"format": "opaque", "id": "s1"});
    let both = json!({"format": "complex", "user": ada, "session": s1});
    let opaque_user = json!({"format": "complex", "user": {"format": "opaque", "id": "ada"}});
    for named in [&ada, &both, &opaque_user] {
        assert_eq!(reached(Meaning::AccountChanged, named), [subject("ada")], "{named}");
    }
    assert_eq!(reached(Meaning::AccountChanged, &s1), [subject("s1")]);
    assert_eq!(reached(Meaning::AccountChanged, &json!({"format": "complex", "session": s1})), [session("s1")]);
    let aliases = json!({"format": "aliases", "identifiers": [{"format": "email", "email": "a@b.example"}, ada]});
    assert_eq!(reached(Meaning::AccountChanged, &aliases), [subject("ada")]);
}

#[test]
fn whoever_tokens_know_nothing_of_is_nobody() {
    let unmapped = [
        json!({"format": "email", "email": "ada@example.com"}),
        json!({"format": "phone_number", "phone_number": "+12065550100"}),
        json!({"format": "jwt_id", "iss": ISSUER, "jti": "t1"}),
        json!({"format": "something-new"}),
        json!({"format": "complex", "device": {"format": "opaque", "id": "d"}}),
        json!({"format": "complex", "user": {"format": "email", "email": "ada@example.com"}}),
        json!({"format": "iss_sub", "iss": "https://b", "sub": "ada"}),
        json!({"format": "complex", "user": {"format": "iss_sub", "iss": "https://b", "sub": "ada"}, "session": {"format": "opaque", "id": "s1"}}),
    ];
    for subject in &unmapped {
        for meaning in [Meaning::SessionRevoked, Meaning::AccountChanged] {
            assert_eq!(reached(meaning, subject), [], "{subject}");
        }
    }
}

#[test]
fn a_subject_that_is_not_what_its_format_says_is_malformed() {
    let malformed = [
        json!("ada"),
        json!({}),
        json!({"format": 1}),
        json!({"format": ""}),
        json!({"format": "opaque"}),
        json!({"format": "opaque", "id": ""}),
        json!({"format": "opaque", "id": 7}),
        json!({"format": "opaque", "id": "x".repeat(513)}),
        json!({"format": "iss_sub", "iss": ISSUER}),
        json!({"format": "iss_sub", "sub": "ada"}),
        json!({"format": "complex", "user": "ada"}),
        json!({"format": "complex", "user": {"format": "opaque", "id": "ada"}, "session": {"format": "opaque"}}),
        json!({"format": "aliases"}),
        json!({"format": "aliases", "identifiers": []}),
        json!({"format": "aliases", "identifiers": vec![json!({"format": "opaque", "id": "x"}); 17]}),
    ];
    for subject in &malformed {
        assert_eq!(Named::by(subject, ISSUER), Err(Malformed), "{subject}");
    }
}

/// Any subject of the formats that can name somebody, with names from a small choice.
fn subjects() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["ada", "s1", "s2", "x"]);
    let issuer = prop::sample::select(vec![ISSUER, "https://b", "https://a/"]);
    let simple = prop_oneof![
        name.clone().prop_map(|id| json!({"format": "opaque", "id": id})),
        (issuer, name.clone()).prop_map(|(iss, sub)| json!({"format": "iss_sub", "iss": iss, "sub": sub})),
        name.prop_map(|text| json!({"format": "email", "email": text})),
    ];
    let complex = (prop::option::of(simple.clone()), prop::option::of(simple.clone())).prop_map(|(user, session)| {
        let mut complex = json!({"format": "complex"});
        for (name, part) in [("user", user), ("session", session)] {
            if let Some(part) = part {
                complex[name] = part;
            }
        }
        complex
    });
    let aliases = prop::collection::vec(simple.clone(), 1..4).prop_map(|all| json!({"format": "aliases", "identifiers": all}));
    prop_oneof![simple, complex, aliases]
}

/// Every identifier of ours in a subject, wherever it stands.
fn ours(subject: &Value) -> Vec<&str> {
    match subject["format"].as_str() {
        Some("opaque") => subject["id"].as_str().into_iter().collect(),
        Some("iss_sub") if subject["iss"] == ISSUER => subject["sub"].as_str().into_iter().collect(),
        Some("complex") => ["user", "session"].into_iter().filter_map(|part| subject.get(part)).flat_map(ours).collect(),
        Some("aliases") => subject["identifiers"].as_array().into_iter().flatten().flat_map(ours).collect(),
        _ => Vec::new(),
    }
}

proptest! {
    #[test]
    fn only_who_is_named_among_our_own_is_reached(subject in subjects()) {
        for meaning in [Meaning::SessionRevoked, Meaning::AccountChanged] {
            for reached in reached(meaning, &subject) {
                let (Reached::Session(name) | Reached::Subject(name)) = &reached;
                prop_assert!(ours(&subject).contains(&&**name), "{reached:?} of {subject}");
            }
        }
        for meaning in [Meaning::Stream, Meaning::Unknown] {
            prop_assert!(reached(meaning, &subject).is_empty());
        }
    }

    #[test]
    fn a_simple_subject_of_ours_always_reaches_somebody(subject in subjects()) {
        let simple = matches!(subject["format"].as_str(), Some("opaque" | "iss_sub"));
        if simple && !ours(&subject).is_empty() {
            prop_assert!(!reached(Meaning::SessionRevoked, &subject).is_empty());
            prop_assert!(!reached(Meaning::AccountChanged, &subject).is_empty());
        }
    }

    #[test]
    fn any_json_is_read_or_refused_without_a_panic(text in "\\PC{0,64}") {
        for value in [json!(text), json!({"format": text}), json!({"format": "complex", "user": {"format": text, "id": text}})] {
            let _ = Named::by(&value, &text);
        }
    }
}
