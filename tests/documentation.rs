//! What the documents promise about the program is what the program does: every metric is described, and none that is not.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The metric names in a text, without the suffixes that Prometheus adds to a histogram's.
fn metrics(text: &str) -> BTreeSet<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    text.match_indices("portcullis_").map(|(at, prefix)| word(&text[at + prefix.len()..])).collect()
}

/// The names in the table of metrics: there they are written without the prefix, behind the registry that they go into.
fn counted() -> BTreeSet<String> {
    let source: String = text("src/telemetry/metrics.rs").split_whitespace().collect();
    let short = source.split("registry,\"").skip(1).filter_map(|rest| rest.split('"').next());
    let whole = metrics(&source).into_iter().filter(|name| !name.is_empty());
    short.map(str::to_owned).chain(whole).collect()
}

#[test]
fn every_metric_is_described_and_every_described_metric_is_counted() {
    let described = metrics(&text("docs/operations.md"));
    let counted = counted();
    assert!(counted.len() > 8, "the table was not understood: {counted:?}");
    assert_eq!(counted, described);
}

#[test]
fn every_document_that_the_readme_names_is_there() {
    let readme = text("README.md");
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.contains("://")) {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(link).exists(), "{link}");
    }
}

/// The commands of the README's blocks up to the first heading: what somebody types who has just cloned it.
#[test]
fn the_first_screen_calls_nothing_that_a_fresh_clone_has_not_got() {
    let readme = text("README.md");
    let screen = readme.split("\n## ").next().unwrap();
    let commands: Vec<&str> = screen.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        let word = command.split([' ', '=']).next().unwrap();
        let variable = command.starts_with(&format!("{word}="));
        assert!(variable || ["bash", ".", "curl", "target/release/portcullis"].contains(&word), "{command}");
    }
}
