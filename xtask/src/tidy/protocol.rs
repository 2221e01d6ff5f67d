//! Every numbered sentence of the protocol document is named above the code that
//! obeys it and in a test that checks it, and no other number is named.

use std::collections::BTreeMap;

use super::files::{File, Finding, Rust};

/// The document.
pub(crate) const DOCUMENT: &str = "core/PROTOCOL.md";

/// Where a sentence is named.
#[derive(Default)]
struct Named {
    code: bool,
    test: bool,
}

/// Sentences that are named too rarely, and names that no sentence has.
///
/// `files` are those that may obey or check the protocol.
pub(crate) fn check(document: &File, files: &[&Rust<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sentences = sentences(&document.text);
    let mut named: BTreeMap<&str, Named> = BTreeMap::new();
    for file in files {
        for comment in &file.source.comments {
            for (ahead, number) in citations(comment.text) {
                if !sentences.iter().any(|(_, known)| *known == number) {
                    let what = format!("no sentence {number} in {DOCUMENT}; name one that is");
                    findings.push(file.finding(comment.line + ahead, "protocol", what));
                }
                let named = named.entry(number).or_default();
                named.test |= comment.test;
                named.code |= !comment.test;
            }
        }
    }
    let nowhere = Named::default();
    for (line, number) in sentences {
        let places = named.get(number).unwrap_or(&nowhere);
        let lacks = match (places.code, places.test) {
            (true, true) => continue,
            (true, false) => "test",
            (false, true) => "code",
            (false, false) => "code and no test",
        };
        let what = format!("no {lacks} names {number}; write `// PROTOCOL {number}` there");
        findings.push(Finding { path: document.path.clone(), line, rule: "protocol", what });
    }
    findings
}

/// The numbers of the sentences, `**[X9]**`, with their lines.
fn sentences(document: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (index, line) in document.lines().enumerate() {
        for piece in line.split("**[").skip(1) {
            let number = piece.split("]**").next().unwrap_or_default();
            if number_len(number) == number.len() {
                found.push((index + 1, number));
            }
        }
    }
    found
}

/// The numbers that a comment names, `PROTOCOL X9`, each with its line within it.
fn citations(comment: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (index, line) in comment.lines().enumerate() {
        for piece in line.split("PROTOCOL ").skip(1) {
            let len = number_len(piece);
            if len > 0 {
                found.push((index, &piece[..len]));
            }
        }
    }
    found
}

/// Length of the number (one capital, then digits) that `text` begins with, or 0.
fn number_len(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_uppercase()) {
        return 0;
    }
    let digits = text[1..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 { 0 } else { 1 + digits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::lexer;

    fn found(code: &str) -> Vec<String> {
        let text = "# P\n- **[A1]** One.\n- **[B12]** Two.\n".to_owned();
        let document = File { path: DOCUMENT.to_owned(), text };
        let rust = Rust { path: "core/src/a.rs", text: code, source: lexer::cut(code) };
        check(&document, &[&rust]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_sentence_wants_code_and_test() {
        let code = "fn a() {\n// PROTOCOL A1: so\n}\n/// (PROTOCOL B12)\nfn b() {}\n\
                    #[cfg(test)] mod tests {\n// PROTOCOL A1\n fn a() {} }";
        assert_eq!(
            found(code),
            ["core/PROTOCOL.md:3: protocol: no test names B12; write `// PROTOCOL B12` there"]
        );
        let neither = "no code and no test names A1; write `// PROTOCOL A1` there";
        assert_eq!(found("// PROTOCOL §5")[0], format!("core/PROTOCOL.md:2: protocol: {neither}"));
    }

    #[test]
    fn numbers_without_a_sentence_are_found() {
        let bad = "core/src/a.rs:2: protocol: no sentence B1 in core/PROTOCOL.md; name one that is";
        assert_eq!(found("\n// PROTOCOL B1")[0], bad);
        assert_eq!(found("/* x\nPROTOCOL B1 */")[0], bad);
    }
}
