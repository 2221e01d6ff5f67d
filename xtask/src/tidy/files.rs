//! The sources that the rules look at, and what a rule finds.

use std::collections::BTreeSet;
use std::fmt;

use super::lexer::{self, Source};

/// A text file of the project.
pub(crate) struct File {
    /// Its path from the root, with slashes.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) text: String,
}

/// A Rust file, cut into tokens.
pub(crate) struct Rust<'a> {
    /// Its path from the root, with slashes.
    pub(crate) path: &'a str,
    /// What it holds.
    pub(crate) text: &'a str,
    /// Its tokens and comments.
    pub(crate) source: Source<'a>,
}

/// One breach of one rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file.
    pub(crate) path: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// What is wrong and the cure.
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}: {}", self.path, self.line, self.rule, self.what)
    }
}

impl Rust<'_> {
    /// A finding in this file.
    pub(crate) fn finding(&self, line: usize, rule: &'static str, what: String) -> Finding {
        Finding { path: self.path.to_owned(), line, rule, what }
    }

    /// Whether the file lies in the folder or is the file `path`.
    pub(crate) fn is_in(&self, path: &str) -> bool {
        self.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Cuts every Rust file; files that only tests see are marked test throughout.
pub(crate) fn cut(files: &[File]) -> Vec<Rust<'_>> {
    let mut all: Vec<_> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .map(|file| Rust { path: &file.path, text: &file.text, source: lexer::cut(&file.text) })
        .collect();
    let declared: BTreeSet<_> = all.iter().flat_map(test_modules).collect();
    for file in &mut all {
        let module = file.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let inside = |test: &String| module == test || module.starts_with(&format!("{test}/"));
        if module.split('/').any(|part| part == "tests") || declared.iter().any(inside) {
            file.source.tokens.iter_mut().for_each(|token| token.test = true);
            file.source.comments.iter_mut().for_each(|comment| comment.test = true);
        }
    }
    all
}

/// The folder in which the modules declared in the file at `path` lie.
pub(crate) fn module_folder(path: &str) -> &str {
    let module = path.trim_end_matches(".rs");
    ["/mod", "/lib", "/main"].iter().find_map(|end| module.strip_suffix(end)).unwrap_or(module)
}

/// Paths without ending of the modules that `file` declares for tests only.
fn test_modules(file: &Rust<'_>) -> Vec<String> {
    let folder = module_folder(file.path);
    let tokens = &file.source.tokens;
    let declared = tokens
        .windows(3)
        .filter(|three| three[0].text == "mod" && three[0].test && three[2].text == ";");
    declared.map(|three| format!("{folder}/{}", three[1].text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn files_that_only_tests_see_are_test_throughout() {
        let files = [
            file("core/src/a/mod.rs", "#[cfg(test)] mod bench; mod real;"),
            file("core/src/a/bench.rs", "x"),
            file("core/src/a/real.rs", "x"),
            file("core/src/a/tests.rs", "x"),
            file("tests/src/lib.rs", "x"),
        ];
        let test: Vec<_> = cut(&files)[1..].iter().map(|f| f.source.tokens[0].test).collect();
        assert_eq!(test, [true, false, true, true]);
    }
}
