//! Sizes: files, functions and lines that one can take in at a glance, and a
//! first line that tells the idea.

use super::files::{Finding, Rust};
use super::lexer::{self, Kind, Token};

/// Longest file in lines.
const FILE: usize = 500;
/// Longest function in lines, from `fn` to its brace.
const FUNCTION: usize = 60;
/// Longest line in characters.
const LINE: usize = 100;

/// What is too long in `file`, or begins without its idea.
pub(crate) fn check(file: &Rust<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.text.starts_with("//!") {
        let what = "no `//!` at the top; tell the module's idea there".to_owned();
        findings.push(file.finding(1, "module-docs", what));
    }
    let lines = file.text.lines().count();
    if lines > FILE {
        let what = format!("{lines} lines; split it by concern, at most {FILE}");
        findings.push(file.finding(FILE + 1, "file-length", what));
    }
    for (index, line) in file.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE {
            let what = format!("{columns} columns; break it, at most {LINE}");
            findings.push(file.finding(index + 1, "line-length", what));
        }
    }
    for (name, first, lines) in functions(&file.source.tokens) {
        if lines > FUNCTION {
            let what = format!("`{name}` has {lines} lines; split it, at most {FUNCTION}");
            findings.push(file.finding(first, "function-length", what));
        }
    }
    findings
}

/// Name, first line and number of lines of every function with a body.
fn functions<'a>(tokens: &[Token<'a>]) -> Vec<(&'a str, usize, usize)> {
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if pair[0].text != "fn" || pair[1].kind != Kind::Ident {
            continue;
        }
        let mut body = at + 2;
        while tokens.get(body).is_some_and(|token| {
            matches!(token.text, "(" | "[") || !matches!(token.text, "{" | ";" | "}")
        }) {
            let opens = matches!(tokens[body].text, "(" | "[");
            body = if opens { lexer::after_bracket(tokens, body) } else { body + 1 };
        }
        if tokens.get(body).is_some_and(|token| token.text == "{") {
            let last = tokens[lexer::after_bracket(tokens, body) - 1].line;
            found.push((pair[1].text, pair[0].line, last - pair[0].line + 1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<(usize, &'static str)> {
        let file = Rust { path: "core/src/a.rs", text, source: lexer::cut(text) };
        check(&file).iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn files_of_500_lines_pass_and_of_501_do_not() {
        let file = |lines: usize| format!("//! A.\n{}", "\n".repeat(lines - 1));
        assert_eq!(rules(&file(500)), []);
        assert_eq!(rules(&file(501)), [(501, "file-length")]);
    }

    #[test]
    fn lines_are_measured_in_characters() {
        let line = |columns: usize| format!("//! {}\n", "ö".repeat(columns - 4));
        assert_eq!(rules(&line(100)), []);
        assert_eq!(rules(&line(101)), [(1, "line-length")]);
    }

    #[test]
    fn functions_are_measured_to_their_own_brace() {
        let function = |inner: usize| {
            format!(
                "//! A.\nfn a(x: [u8; {{ 3 }}]) {{\n{}}}\nfn b() {{}}\n",
                "{ '{'; }\n".repeat(inner)
            )
        };
        assert_eq!(rules(&function(58)), []);
        assert_eq!(rules(&function(59)), [(2, "function-length")]);
        assert_eq!(functions(&lexer::cut("fn a();\nx: fn() {\n}").tokens), []);
    }

    #[test]
    fn a_file_tells_its_idea_first() {
        assert_eq!(rules("use x;\n//! A.\n"), [(1, "module-docs")]);
    }
}
