//! What must not occur: the world outside in `core`, `unsafe`, path-based file
//! access on the receiver's side, tests that nobody runs.

use super::files::{Finding, Rust};
use super::lexer::Kind;
use super::paths::{self, NamedPath};

/// Clocks, entropy, files and sockets, by path.
const OUTSIDE: [&str; 8] = [
    "std::time",
    "Instant::now",
    "SystemTime",
    "getrandom",
    "OsRng",
    "thread_rng",
    "std::fs",
    "std::net::UdpSocket",
];
/// Access to files by path instead of by a held directory descriptor.
const BY_PATH: [&str; 2] = ["std::fs", "tokio::fs"];
/// Folders and beginnings of file names in which receiver code lies.
const RECEIVER: [&str; 3] = ["host/src/staging", "host/src/install", "host/src/agent"];

/// What occurs in `file` and must not.
pub(crate) fn check(file: &Rust<'_>) -> Vec<Finding> {
    let named = paths::named(&file.source.tokens);
    let mut findings = ignored_tests(file);
    if file.is_in("core") || file.is_in("host") {
        let tokens = file.source.tokens.iter();
        let found = tokens.filter(|token| token.kind == Kind::Ident && token.text == "unsafe");
        findings.extend(found.map(|token| {
            let what = "`unsafe`; use a vetted crate that wraps it".to_owned();
            file.finding(token.line, "no-unsafe", what)
        }));
    }
    if file.is_in("core/src") {
        let cure = "let the caller hand it in: core has no clock, entropy, file or socket";
        findings.extend(banned(file, &named, &OUTSIDE, "sans-io", cure));
    }
    if RECEIVER.iter().any(|beginning| file.path.starts_with(beginning)) {
        let cure = "go through the held directory descriptor (rustix `openat2`)";
        findings.extend(banned(file, &named, &BY_PATH, "no-path-access", cure));
    }
    findings
}

/// Which of `banned` the code outside tests names.
fn banned(
    file: &Rust<'_>,
    named: &[NamedPath<'_>],
    banned: &[&str],
    rule: &'static str,
    cure: &str,
) -> Vec<Finding> {
    let in_code = named.iter().filter(|path| !path.test);
    let hits = in_code.filter_map(|path| {
        let hit = banned.iter().find(|ban| paths::contains(path, ban))?;
        Some(file.finding(path.line, rule, format!("`{hit}`; {cure}")))
    });
    hits.collect()
}

/// `#[ignore]` hides a test; one that is only slow says `// nightly` beside it.
fn ignored_tests(file: &Rust<'_>) -> Vec<Finding> {
    let comments = &file.source.comments;
    let is_nightly = |line: usize| {
        let near = comments.iter().filter(|note| note.line == line || note.line + 1 == line);
        near.into_iter().any(|note| note.text.starts_with("// nightly"))
    };
    let tokens = file.source.tokens.windows(3);
    let ignored = tokens
        .filter(|three| three[0].text == "#" && three[1].text == "[" && three[2].text == "ignore")
        .map(|three| three[2].line);
    let what = "`#[ignore]`; make the test run, or write `// nightly` above it if it is slow";
    ignored
        .filter(|&line| !is_nightly(line))
        .map(|line| file.finding(line, "no-ignored-tests", what.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::lexer;

    fn found(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let file = Rust { path, text, source: lexer::cut(text) };
        check(&file).iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn core_must_not_name_the_world_outside() {
        for bad in [
            "use std::{fmt, time::Duration};",
            "let now = Instant::now();",
            "use std::time::SystemTime as T;",
            "getrandom::fill(&mut x);",
            "use rand::rngs::OsRng;",
            "thread_rng()",
            "std::fs::read(x)",
            "use std::net::{IpAddr, UdpSocket};",
        ] {
            assert_eq!(found("core/src/a.rs", bad), [(1, "sans-io")], "{bad}");
            assert_eq!(found("xtask/src/a.rs", bad), [], "{bad}");
            let test = format!("#[cfg(test)] mod tests {{ {bad} }}");
            assert_eq!(found("core/src/a.rs", &test), [], "{bad}");
        }
        assert_eq!(found("core/src/a.rs", "// std::fs\nlet x = \"OsRng\"; now.instant()"), []);
    }

    #[test]
    fn unsafe_is_found_in_core_and_host_even_in_tests() {
        let text = "#[cfg(test)] mod tests {\n fn a() { unsafe { } } }";
        assert_eq!(found("core/src/a.rs", text), [(2, "no-unsafe")]);
        assert_eq!(found("host/tests/a.rs", text), [(2, "no-unsafe")]);
        assert_eq!(found("host/src/a.rs", "#![forbid(unsafe_code)] // unsafe"), []);
    }

    #[test]
    fn receiver_code_must_not_open_files_by_path() {
        let text = "use std::{io, fs::File};";
        let bad = [(1, "no-path-access")];
        assert_eq!(found("host/src/staging/mod.rs", text), bad);
        assert_eq!(found("host/src/install.rs", text), bad);
        assert_eq!(found("host/src/agent_state.rs", "tokio::fs::read(x)"), bad);
        assert_eq!(found("host/src/packs.rs", text), []);
    }

    #[test]
    fn ignored_tests_must_be_nightly_ones() {
        let bad = [(2, "no-ignored-tests")];
        assert_eq!(found("tests/tests/a.rs", "// slow\n#[ignore = \"slow\"] fn a() {}"), bad);
        assert_eq!(found("tests/tests/a.rs", "\n#[ignore] fn a() {}"), bad);
        assert_eq!(found("tests/tests/a.rs", "// nightly\n#[ignore] fn a() {}"), []);
        assert_eq!(found("tests/tests/a.rs", "#[ignore] // nightly: an hour\nfn a() {}"), []);
    }
}
