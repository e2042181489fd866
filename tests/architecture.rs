//! Who may import whom, and the few rules of form that no lint knows. `docs/ARCHITECTURE.md` says why.
//!
//! Reads the sources as text, line by line; needs nothing built. A single crate has no layers that the compiler enforces, so
//! this test is what stands in their place. Tests inside the sources may import what they like.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// A module, and what it may import of this crate. In order: nobody imports from below itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("fetch", &[]),
    ("rules", &["model"]),
    ("config", &["model"]),
    ("telemetry", &["model", "plan"]),
    ("plan", &["model", "rules", "config"]),
    ("reply", &["model", "rules"]),
    ("store", &["model", "fetch", "rules"]),
    ("tokens", &["model", "rules", "plan", "store"]),
    ("notify", &["model", "fetch", "plan", "tokens"]),
    ("verify", &["model", "fetch", "rules", "plan", "store"]),
    ("events", &["model", "rules", "plan", "store", "verify"]),
    ("token_api", &["model", "rules", "plan", "reply", "tokens"]),
    ("flow", &["model", "rules", "plan", "reply", "store", "verify"]),
    ("gateway", &["model", "rules", "plan", "reply", "flow", "telemetry"]),
    ("admin", &["model", "rules", "store", "tokens", "telemetry"]),
    (
        "app",
        &[
            "model",
            "fetch",
            "rules",
            "config",
            "telemetry",
            "plan",
            "reply",
            "store",
            "tokens",
            "notify",
            "verify",
            "events",
            "token_api",
            "flow",
            "gateway",
            "admin",
        ],
    ),
    ("cli", &["model", "rules", "config", "plan", "tokens", "app"]),
];

/// A crate, and the places that alone may name it: modules, or folders of modules.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("pingora", &["gateway"]),
    ("axum", &["token_api", "admin", "app"]),
    ("redis", &["store"]),
    ("rusqlite", &["store/sql", "store/sqlite", "store/journal"]),
    ("tokio_postgres", &["store/sql"]),
    ("tokio_postgres_rustls", &["store/sql"]),
    ("annotate_snippets", &["config"]),
    ("clap", &["cli"]),
    ("jsonwebtoken", &["verify", "tokens", "token_api"]),
    ("hyper", &["fetch", "verify", "gateway", "token_api", "app"]),
    ("lettre", &["config", "plan", "notify"]),
    ("tokio", &["fetch", "notify", "verify", "store", "tokens", "token_api", "gateway", "admin", "app", "cli"]),
    ("tracing_subscriber", &["telemetry", "app"]),
];

/// Lines of a file before its tests.
const LONGEST: usize = 400;

#[test]
fn the_sources_keep_to_the_architecture() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for path in sources(&root) {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        found.extend(complaints(&name, &fs::read_to_string(&path).unwrap()));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_module_is_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = fs::read_to_string(root.join("lib.rs")).unwrap();
    let modules: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(!modules.is_empty(), "no module is declared in src/lib.rs");
    for module in modules {
        assert!(MAY_IMPORT.iter().any(|(name, _)| *name == module), "src/lib.rs: `{module}` is not in the table of imports");
    }
}

#[test]
fn the_table_has_no_circle() {
    for (at, (module, allowed)) in MAY_IMPORT.iter().enumerate() {
        for import in *allowed {
            let place = MAY_IMPORT.iter().position(|(name, _)| name == import);
            // telemetry stands before plan since it is a leaf to everybody else; it names plan's types only.
            let earlier = place.is_some_and(|place| place < at) || (*module, *import) == ("telemetry", "plan");
            assert!(earlier, "`{module}` may not be allowed to import `{import}`, which comes after it");
        }
    }
}

/// Every Rust file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What is wrong with a file, each as `file:line: what`.
fn complaints(name: &str, text: &str) -> Vec<String> {
    let module = name.split('/').next().unwrap().trim_end_matches(".rs");
    let is_tests = name.ends_with("/tests.rs") || name.contains("/tests/");
    let mut found = Vec::new();
    if !text.starts_with("//!") && !is_tests {
        found.push(format!("{name}:1: a file begins with `//!`: what lives here, what it may import, what is absent"));
    }
    let code = lines_before_tests(text);
    for (number, line) in code.iter().enumerate().map(|(index, line)| (index + 1, without_comment(line))) {
        let mut complain = |what: String| found.push(format!("{name}:{number}: {what}"));
        if line.contains("super::super") {
            complain("`super::super`: write `crate::…`".to_owned());
        }
        if words(line).any(|word| word == "unsafe") {
            complain("`unsafe` code".to_owned());
        }
        if is_tests {
            continue;
        }
        if line.contains("crate::{") {
            complain("`use crate::{…}`: one line for each module".to_owned());
        }
        for import in imports(line).filter(|import| *import != module && !may_import(module, import)) {
            complain(format!("`{module}` must not import `{import}`"));
        }
        for (krate, places) in MAY_NAME {
            if names_crate(line, krate) && !places.iter().any(|place| is_in(name, place)) {
                complain(format!("`{krate}` is named here; only {} may", places.join(", ")));
            }
        }
    }
    if code.len() > LONGEST && !is_tests {
        found.push(format!("{name}:{}: {} lines; a file has at most {LONGEST} before its tests", LONGEST + 1, code.len()));
    }
    found
}

fn may_import(module: &str, import: &str) -> bool {
    // main.rs and lib.rs stand above the table.
    MAY_IMPORT.iter().find(|(name, _)| *name == module).is_none_or(|(_, allowed)| allowed.contains(&import))
}

fn is_in(file: &str, place: &str) -> bool {
    file.strip_prefix(place).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// The lines before `#[cfg(test)]` in front of a module; the whole file if it has none.
fn lines_before_tests(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let opens = |window: &[&str]| matches!(window, [first, second] if first.trim() == "#[cfg(test)]" && second.trim().starts_with("mod tests"));
    let end = lines.windows(2).position(opens).unwrap_or(lines.len());
    lines.into_iter().take(end).collect()
}

/// A line without what follows `//`. A string may hold one too; then the rest of that line goes unseen, which is no loss.
fn without_comment(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The modules of this crate that a line names.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").filter(|(at, _)| !line.get(..*at).is_some_and(ends_in_name)).filter_map(|(at, found)| {
        words(line.get(at + found.len()..)?).next().filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    })
}

/// Whether a line names a crate as the beginning of a path.
fn names_crate(line: &str, krate: &str) -> bool {
    line.match_indices(krate).any(|(at, _)| {
        let (before, after) = (line.get(..at).unwrap_or_default(), line.get(at + krate.len()..).unwrap_or_default());
        !ends_in_name(before) && !before.ends_with("::") && after.starts_with("::")
    })
}

fn ends_in_name(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

#[test]
fn a_forbidden_import_is_found_with_its_place() {
    let text = "//! Head.\n\nuse crate::model::Denial;\nuse crate::store::cuts::Cuts; // why not?\n";
    assert_eq!(complaints("rules/bearer.rs", text), ["rules/bearer.rs:4: `rules` must not import `store`"]);
    assert_eq!(complaints("flow.rs", text), [""; 0]);
    let inside = "//! Head.\n\nfn f() { let x: crate::gateway::Peer = tokio::spawn(y); }\n";
    let expected = [
        "model/time.rs:3: `model` must not import `gateway`",
        "model/time.rs:3: `tokio` is named here; only fetch, notify, verify, store, tokens, token_api, gateway, admin, app, cli may",
    ];
    assert_eq!(complaints("model/time.rs", inside), expected);
}

#[test]
fn a_crate_is_known_by_its_whole_name() {
    let sql = "//! Head.\nuse rusqlite::Connection;\nuse tokio_rustls::TlsAcceptor;\n";
    assert_eq!(complaints("store/sql/sqlite.rs", sql), [""; 0]);
    assert_eq!(
        complaints("tokens/clean_up.rs", sql),
        ["tokens/clean_up.rs:2: `rusqlite` is named here; only store/sql, store/sqlite, store/journal may"]
    );
    assert_eq!(complaints("token_api/mod.rs", "//! Head.\nuse crate::tokens::Session;\n"), [""; 0]);
}

#[test]
fn rules_of_form_are_found_and_tests_may_do_what_they_like() {
    let long = format!("//! Head.\n{}", "x();\n".repeat(LONGEST));
    assert_eq!(complaints("model/long.rs", &long), ["model/long.rs:401: 401 lines; a file has at most 400 before its tests"]);
    let form = "use super::super::x;\n// unsafe, said a comment\nunsafe { f() }\nuse crate::{model, rules};\n";
    let expected = [
        "rules/form.rs:1: a file begins with `//!`: what lives here, what it may import, what is absent",
        "rules/form.rs:1: `super::super`: write `crate::…`",
        "rules/form.rs:3: `unsafe` code",
        "rules/form.rs:4: `use crate::{…}`: one line for each module",
    ];
    assert_eq!(complaints("rules/form.rs", form), expected);
    let tested = "//! Head.\n#[cfg(test)]\nmod tests {\n    use crate::gateway::X;\n}\n";
    assert_eq!(complaints("rules/tested.rs", tested), [""; 0]);
}
