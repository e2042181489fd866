//! `config/schema.json` accepts what the gateway accepts and refuses what its reader refuses, as an editor would see it.
//!
//! Validates with the few words of JSON Schema that our schema uses; a word that it does not know fails the test.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;

use portcullis::config::schema;
use serde_json::Value;

/// Whether the schema accepts the value. `pattern` and `format` are left to `config`'s own tests.
fn accepts(schema: &Value, value: &Value) -> bool {
    schema.as_object().unwrap().iter().all(|(word, rule)| match word.as_str() {
        "$schema" | "$comment" | "title" | "description" | "default" | "pattern" | "format" => true,
        "type" => is_of(rule, value),
        "enum" => rule.as_array().unwrap().contains(value),
        "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().unwrap()),
        "maximum" => value.as_i64().is_none_or(|number| number <= rule.as_i64().unwrap()),
        "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| accepts(rule, item))),
        "anyOf" => rule.as_array().unwrap().iter().any(|one| accepts(one, value)),
        "oneOf" => rule.as_array().unwrap().iter().filter(|one| accepts(one, value)).count() == 1,
        "required" => rule.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
        "properties" => rule.as_object().unwrap().iter().all(|(key, rule)| value.get(key).is_none_or(|v| accepts(rule, v))),
        "additionalProperties" => value.as_object().is_none_or(|members| {
            let known = |key: &String| schema.get("properties").is_some_and(|known| known.get(key).is_some());
            members.iter().filter(|(key, _)| !known(key)).all(|(_, value)| rule.is_object() && accepts(rule, value))
        }),
        other => panic!("the schema uses `{other}`, which this test does not know"),
    })
}

fn is_of(rule: &Value, value: &Value) -> bool {
    match rule.as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(other) => panic!("the schema uses the type `{other}`, which this test does not know"),
        None => rule.as_array().unwrap().iter().any(|one| is_of(one, value)),
    }
}

fn accepts_file(path: &str) -> bool {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    accepts_text(&text)
}

fn accepts_text(text: &str) -> bool {
    let value: toml::Table = text.parse().unwrap();
    accepts(&serde_json::from_str(&schema()).unwrap(), &serde_json::to_value(value).unwrap())
}

#[test]
fn the_schema_accepts_what_is_shipped() {
    for name in
        ["token-service", "sending-codes", "introspection", "jwt", "several-issuers", "public-and-protected", "receivers"]
    {
        assert!(accepts_file(&format!("config/examples/{name}.toml")), "{name}");
    }
    assert!(accepts_file("config/gateway.toml"));
}

#[test]
fn the_schema_refuses_what_can_be_seen_without_knowing_the_rest_of_the_file() {
    for name in
        ["empty", "everything-at-once", "secrets-in-the-file", "headers", "tokens", "token-service", "receivers", "limits"]
    {
        assert!(!accepts_file(&format!("tests/config/{name}.toml")), "{name}");
    }
    let good = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/jwt.toml")).unwrap();
    assert!(accepts_text(&good));
    for (from, to) in [
        ("jwks_url", "key_url"),
        ("algorithms = [\"RS256\", \"ES256\"]", "algorithms = [\"HS256\"]"),
        ("audience = [\"orders\"]", "audience = []"),
        ("access = { bearer = { scopes = [\"orders:read\"] } }", "access = \"anybody\""),
        ("upstream = \"orders\"", "upsteam = \"orders\""),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert!(!accepts_text(&bad), "{to}");
    }
}
