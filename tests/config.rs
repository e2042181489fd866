//! Every mistake in a configuration, with the whole report that it gets; every example, as it is shipped.
//!
//! The file's name says the mistake: `tests/config/NAME.toml` and beside it `NAME.report`. After a change that is meant,
//! `BLESS=1 cargo test --test config` writes the reports anew; read the diff before committing it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use portcullis::config::schema;
use portcullis::plan::compile::{Machine, SecretSource, load};

/// Three variables and nothing else.
#[derive(Debug)]
struct Variables;

impl SecretSource for Variables {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "SECRET" => Some("open sesame".to_owned()),
            "KEY" => Some("thirty-two characters, which is what such a key needs".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Err(io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }
}

/// Every secret that is asked for.
#[derive(Debug)]
struct AnySecret;

impl SecretSource for AnySecret {
    fn variable(&self, _: &str) -> Option<String> {
        Some("open sesame".to_owned())
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Ok("open sesame\n".to_owned())
    }
}

fn machine() -> Machine<'static> {
    Machine { cores: 4, folder: Path::new("") }
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(!paths.is_empty(), "{folder} is empty");
    paths
}

#[expect(clippy::disallowed_methods, reason = "how the tests are run is for the environment to say")]
fn blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// Compares with what is kept, or keeps it.
fn is_kept(path: &Path, text: &str) -> bool {
    if blessing() {
        fs::write(path, text).unwrap();
    }
    fs::read_to_string(path).is_ok_and(|kept| kept == text)
}

#[test]
fn every_mistake_gets_the_report_that_is_kept_beside_it() {
    let mut different = Vec::new();
    for path in files("tests/config") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let report = match load(name, &fs::read_to_string(&path).unwrap(), &Variables, machine()) {
            Ok((_, warnings)) => warnings,
            Err(errors) => errors,
        };
        assert!(!report.is_empty(), "{name} has no mistake");
        let report = report.to_string();
        assert!(!report.contains("sesame"), "{name} shows a secret:\n{report}");
        if !is_kept(&path.with_extension("report"), &report) {
            different.push(report);
        }
    }
    assert!(different.is_empty(), "these reports are not what is kept:\n{}", different.join("\n"));
}

#[test]
fn every_file_that_is_shipped_starts_without_a_warning() {
    for path in files("config/examples").into_iter().chain(files("config")) {
        let name = path.display().to_string();
        match load(&name, &fs::read_to_string(&path).unwrap(), &AnySecret, machine()) {
            Ok((_, warnings)) => assert!(warnings.is_empty(), "{warnings}"),
            Err(errors) => panic!("{errors}"),
        }
    }
}

#[test]
fn the_schema_is_what_the_reader_reads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schema.json");
    assert!(is_kept(&path, &schema()), "config/schema.json is out of date: BLESS=1 cargo test --test config");
}

/// The reference, with every default that it shows as a comment written out.
fn with_defaults_written_out(text: &str) -> String {
    let bare = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|letter: char| letter.is_ascii_lowercase()) => setting.to_owned(),
        Some(_) | None => line.to_owned(),
    };
    text.lines().map(bare).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_defaults_that_the_reference_shows_are_the_defaults() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gateway.toml")).unwrap();
    let plan = |text: &str| match load("gateway.toml", text, &AnySecret, machine()) {
        Ok((plan, _)) => format!("{plan:#?}"),
        Err(errors) => panic!("{errors}"),
    };
    let written_out = with_defaults_written_out(&text);
    assert_ne!(text.lines().collect::<Vec<_>>().join("\n"), written_out);
    assert_eq!(plan(&text), plan(&written_out));
}

/// Every key that the schema knows, at whatever depth.
fn keys(schema: &serde_json::Value, found: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(|properties| properties.as_object()) {
        found.extend(properties.keys().cloned());
    }
    let members = schema.as_object().into_iter().flat_map(|members| members.values());
    let items = schema.as_array().into_iter().flatten();
    members.chain(items).for_each(|part| keys(part, found));
}

#[test]
fn the_reference_mentions_every_key() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gateway.toml")).unwrap();
    let mut all = Vec::new();
    keys(&serde_json::from_str(&schema()).unwrap(), &mut all);
    assert!(all.len() > 100, "{} keys", all.len());
    let word = |text: &str, key: &str| {
        text.match_indices(key).any(|(at, _)| {
            let outside = |letter: Option<char>| !letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
            outside(text[..at].chars().next_back()) && outside(text[at + key.len()..].chars().next())
        })
    };
    all.retain(|key| !word(&text, key));
    assert!(all.is_empty(), "config/gateway.toml says nothing about {all:?}");
}

#[test]
fn whatever_is_broken_is_refused_with_a_reason_and_never_with_a_panic() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gateway.toml")).unwrap();
    let text = with_defaults_written_out(&text);
    let lines: Vec<&str> = text.lines().collect();
    let mut refused = 0;
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty()) {
        let key = line.split('=').next().unwrap();
        let values = ["7", "-1", "\"\"", "\"\u{e9}\"", "[]", "[[]]", "{}", "{ a = [1, { b = 2.5 }] }", "true", "1979-05-27"];
        let wrong =
            values.iter().map(|value| format!("{key}= {value}")).chain([String::new(), "[".to_owned(), format!("x{line}")]);
        for replacement in wrong {
            let mut broken = lines.clone();
            broken[index] = &replacement;
            if let Err(report) = load("gateway.toml", &broken.join("\n"), &AnySecret, machine()) {
                assert!(report.has_errors(), "line {index} as `{replacement}` is refused without a reason");
                assert!(report.to_string().contains("gateway.toml:"), "{report}");
                refused += 1;
            }
        }
    }
    assert!(refused > 500, "only {refused} of the broken files are refused");
}
