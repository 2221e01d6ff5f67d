//! Cuts Rust source into tokens and comments: enough to count braces and read
//! paths without being fooled by strings, and to know what only tests see.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or keyword.
    Ident,
    /// One character, or `::`.
    Punct,
    /// A string, character or number.
    Literal,
    /// A lifetime or label.
    Lifetime,
}

/// A token of the source text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its text.
    pub(crate) text: &'a str,
    /// Its line, from 1.
    pub(crate) line: usize,
    /// Only compiled for tests.
    pub(crate) test: bool,
}

/// A comment of any kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comment<'a> {
    /// Its text with its slashes.
    pub(crate) text: &'a str,
    /// The line it begins on, from 1.
    pub(crate) line: usize,
    /// Index of the token after it.
    before: usize,
    /// Inside something only compiled for tests.
    pub(crate) test: bool,
}

/// A source text, cut.
#[derive(Debug, Default)]
pub(crate) struct Source<'a> {
    /// Its tokens in order.
    pub(crate) tokens: Vec<Token<'a>>,
    /// Its comments in order.
    pub(crate) comments: Vec<Comment<'a>>,
}

/// Cuts `text`, and marks what stands under `#[cfg(test)]` or `#[test]`.
pub(crate) fn cut(text: &str) -> Source<'_> {
    let mut source = Source::default();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (kind, len) = next(rest, first);
        let piece = &rest[..len];
        let before = source.tokens.len();
        match kind {
            Piece::Space => {}
            Piece::Comment => {
                source.comments.push(Comment { text: piece, line, before, test: false });
            }
            Piece::Token(kind) => {
                source.tokens.push(Token { kind, text: piece, line, test: false });
            }
        }
        line += piece.matches('\n').count();
        rest = &rest[len..];
    }
    mark_tests(&mut source);
    source
}

/// The index after the bracket that closes the one at `open`.
pub(crate) fn after_bracket(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth <= 1 => return index + 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

enum Piece {
    Space,
    Comment,
    Token(Kind),
}

/// What `rest` begins with, and its length in bytes (at least one character).
fn next(rest: &str, first: char) -> (Piece, usize) {
    if first.is_whitespace() {
        return (Piece::Space, first.len_utf8());
    }
    if rest.starts_with("//") {
        return (Piece::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Piece::Comment, block_comment(rest));
    }
    if let Some(len) = string(rest) {
        return (Piece::Token(Kind::Literal), len);
    }
    if first == '\'' {
        let (kind, len) = quote(rest);
        return (Piece::Token(kind), len);
    }
    if first.is_ascii_digit() {
        return (Piece::Token(Kind::Literal), number(rest));
    }
    if is_word(first) {
        let raw = if rest.starts_with("r#") { 2 } else { 0 };
        return (Piece::Token(Kind::Ident), raw + word(&rest[raw..]));
    }
    let len = if rest.starts_with("::") { 2 } else { first.len_utf8() };
    (Piece::Token(Kind::Punct), len)
}

/// Length of a comment whose inner comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Length of a string of any sort, if `rest` begins with one.
fn string(rest: &str) -> Option<usize> {
    let prefix = rest.find(|c| !matches!(c, 'b' | 'c' | 'r')).filter(|&len| len <= 2)?;
    let body = &rest[prefix..];
    if rest[..prefix].ends_with('r') {
        let hashes = body.find(|c| c != '#')?;
        let inside = body[hashes..].strip_prefix('"')?;
        let close = format!("\"{}", &body[..hashes]);
        let end = inside.find(&close).map_or(inside.len(), |at| at + close.len());
        return Some(prefix + hashes + 1 + end);
    }
    if &rest[..prefix] == "b" && body.starts_with('\'') {
        return Some(prefix + escaped(body, '\''));
    }
    body.starts_with('"').then(|| prefix + escaped(body, '"'))
}

/// Length of a literal between `mark`s, in which a backslash protects what follows.
fn escaped(body: &str, mark: char) -> usize {
    let mut characters = body.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == mark {
            return at + 1;
        }
        if character == '\\' {
            characters.next();
        }
    }
    body.len()
}

/// A character, or a lifetime: the third character tells.
fn quote(rest: &str) -> (Kind, usize) {
    let mut characters = rest.chars().skip(1);
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => (Kind::Literal, escaped(rest, '\'')),
        (Some(inside), Some('\'')) => (Kind::Literal, 2 + inside.len_utf8()),
        _ => (Kind::Lifetime, 1 + word(&rest[1..])),
    }
}

/// Length of a number; `1..2` is two numbers, `1.5` is one.
fn number(rest: &str) -> usize {
    let whole = word(rest);
    let fraction = rest[whole..].strip_prefix('.').unwrap_or_default();
    let is_fraction = fraction.starts_with(|c: char| c.is_ascii_digit());
    if is_fraction { whole + 1 + word(fraction) } else { whole }
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

fn word(rest: &str) -> usize {
    rest.find(|c| !is_word(c)).unwrap_or(rest.len())
}

fn mark_tests(source: &mut Source<'_>) {
    let mut at = 0;
    while at < source.tokens.len() {
        let Some((inner, after)) = test_attribute(&source.tokens, at) else {
            at += 1;
            continue;
        };
        let end = if inner { source.tokens.len() } else { after_item(&source.tokens, after) };
        source.tokens[at..end].iter_mut().for_each(|token| token.test = true);
        for comment in &mut source.comments {
            comment.test |= inner || (at < comment.before && comment.before < end);
        }
        at = end;
    }
}

/// Whether an attribute at `at` asks for tests: (for the whole file, index after it).
fn test_attribute(tokens: &[Token<'_>], at: usize) -> Option<(bool, usize)> {
    if tokens[at].text != "#" {
        return None;
    }
    let inner = tokens.get(at + 1)?.text == "!";
    let open = at + 1 + usize::from(inner);
    if tokens.get(open)?.text != "[" {
        return None;
    }
    let after = after_bracket(tokens, open);
    let inside = &tokens[open + 1..after.saturating_sub(1).max(open + 1)];
    let has = |word| inside.iter().any(|token| token.text == word);
    let first = inside.first()?.text;
    let asks = (first == "cfg" && has("test") && !has("not")) || (first == "test");
    asks.then_some((inner, after))
}

/// The index after the item that begins at `at`: its `;` or its closing brace.
fn after_item(tokens: &[Token<'_>], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text {
            ";" => return at + 1,
            "{" => return after_bracket(tokens, at),
            "}" => return at,
            "(" | "[" => at = after_bracket(tokens, at),
            _ => at += 1,
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        cut(text).tokens.iter().map(|token| token.text).collect()
    }

    #[test]
    fn braces_in_strings_characters_and_comments_are_not_tokens() {
        let text = r##"a "{\"{" r#"{"{"# b"}" br"{" b'{' '{' '\'' // {
            /* { /* } */ { */ b"##;
        assert_eq!(
            texts(text),
            ["a", r#""{\"{""#, r##"r#"{"{"#"##, "b\"}\"", "br\"{\"", "b'{'", "'{'", r"'\''", "b"]
        );
    }

    #[test]
    fn lifetimes_ranges_fractions_and_raw_identifiers_are_told_apart() {
        let kinds: Vec<_> = cut("'a 'b' 0..5 1.5 r#type").tokens.iter().map(|t| t.kind).collect();
        assert_eq!(
            texts("'a 'b' 0..5 1.5 r#type"),
            ["'a", "'b'", "0", ".", ".", "5", "1.5", "r#type"]
        );
        assert_eq!((kinds[0], kinds[1], kinds[7]), (Kind::Lifetime, Kind::Literal, Kind::Ident));
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let source = cut("\"1\n2\" /* 2\n3 */ x // y");
        assert_eq!((source.tokens[1].text, source.tokens[1].line), ("x", 3));
        assert_eq!(source.comments[1].line, 3);
    }

    #[test]
    fn only_what_stands_under_a_test_attribute_is_test() {
        let text = "fn a() {} // c\n#[cfg(test)] mod t { // d\n fn b() {} } fn c() {} \
                    #[cfg(not(test))] fn d() {} #[cfg(test)] use x::y; fn e() {}";
        let source = cut(text);
        let test = |name| source.tokens.iter().find(|t| t.text == name).map(|t| t.test);
        assert_eq!(
            ["a", "b", "c", "d", "y", "e"].map(test),
            [Some(false), Some(true), Some(false), Some(false), Some(true), Some(false)]
        );
        assert!(!source.comments[0].test && source.comments[1].test);
    }

    #[test]
    fn an_inner_attribute_makes_the_whole_file_test() {
        assert!(cut("//! x\n#![cfg(test)]\nfn a() {}").tokens.iter().all(|token| token.test));
    }
}
