//! What lies at the top of the repository, and under which licence.

use super::files::{File, Finding};

/// All that may lie at the top, besides dotfiles and licences.
const TOP: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "SECURITY.md",
    "core",
    "host",
    "boards",
    "xtask",
    "tests",
];
/// What must lie there.
const NEEDED: [&str; 5] =
    ["Cargo.lock", "README.md", "SECURITY.md", "LICENSE-MIT", "LICENSE-APACHE"];
/// The licence of every package, as SPDX writes it.
const LICENCE: &str = "license = \"MIT OR Apache-2.0\"";

/// Strangers and gaps among `top`, the names at the root, and packages without licence.
pub(crate) fn check(top: &[String], manifests: &[&File]) -> Vec<Finding> {
    let finding = |path: &str, rule, what: &str| Finding {
        path: path.to_owned(),
        line: 1,
        rule,
        what: what.to_owned(),
    };
    let mut findings = Vec::new();
    for name in top {
        let is_known = TOP.contains(&name.as_str());
        if !is_known && !name.starts_with('.') && !name.starts_with("LICENSE-") {
            let cure = "not for the top level; move it into the folder that needs it";
            findings.push(finding(name, "top-level", cure));
        }
    }
    for needed in NEEDED.into_iter().filter(|needed| !top.iter().any(|name| name == needed)) {
        findings.push(finding(needed, "top-level", "is missing; write it"));
    }
    for manifest in manifests {
        let text = &manifest.text;
        if !text.contains(LICENCE) && !text.contains("license.workspace = true") {
            let cure = "no licence; add `license.workspace = true`";
            findings.push(finding(&manifest.path, "licence", cure));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(top: &[&str], manifest: &str) -> Vec<String> {
        let top: Vec<_> = top.iter().map(|name| (*name).to_owned()).collect();
        let manifest = File { path: "core/Cargo.toml".to_owned(), text: manifest.to_owned() };
        check(&top, &[&manifest]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn strangers_and_gaps_at_the_top_are_found() {
        let full = [&NEEDED[..], &["core", ".gitignore", ".github"]].concat();
        assert_eq!(found(&full, LICENCE), Vec::<String>::new());
        assert_eq!(
            found(&[&full[..], &["notes"]].concat(), LICENCE),
            ["notes:1: top-level: not for the top level; move it into the folder that needs it"]
        );
        assert_eq!(found(&full[1..], LICENCE), ["Cargo.lock:1: top-level: is missing; write it"]);
    }

    #[test]
    fn packages_have_a_licence() {
        let bad = "core/Cargo.toml:1: licence: no licence; add `license.workspace = true`";
        assert_eq!(found(&NEEDED, "[package]"), [bad]);
        assert_eq!(found(&NEEDED, "[package]\nlicense.workspace = true"), Vec::<String>::new());
    }
}
