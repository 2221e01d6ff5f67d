//! The paths that a file names: in `use` trees, flattened, and in its code.

use super::lexer::{self, Kind, Token};

/// A path such as `crate::wire::Malformed`, and where it stands.
#[derive(Debug)]
pub(crate) struct NamedPath<'a> {
    /// Its segments; `*` where everything is taken.
    pub(crate) segments: Vec<&'a str>,
    /// The line of its first own segment.
    pub(crate) line: usize,
    /// Only compiled for tests.
    pub(crate) test: bool,
    /// How it stands there.
    pub(crate) place: Place,
    /// Modules written out in this file around it.
    pub(crate) inside: Vec<&'a str>,
}

/// Where a path stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In an expression, a type or a pattern.
    Code,
    /// In a `use`.
    Use,
    /// In a `pub use`.
    Reexport,
}

/// All paths of a file, of one segment too, in order.
pub(crate) fn named<'a>(tokens: &[Token<'a>]) -> Vec<NamedPath<'a>> {
    let mut found = Vec::new();
    // Modules written out here, each with the index after its brace.
    let mut modules: Vec<(&str, usize)> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        modules.retain(|&(_, end)| at < end);
        let inside = modules.iter().map(|&(name, _)| name).collect();
        let token = tokens[at];
        let text = |ahead: usize| tokens.get(at + ahead).map_or("", |next| next.text);
        if token.text == "mod" && text(2) == "{" {
            modules.push((text(1), lexer::after_bracket(tokens, at + 2)));
            at += 3;
        } else if token.text == "pub" && text(1) == "(" {
            // A visibility such as `pub(in crate::wire)` imports nothing.
            at = lexer::after_bracket(tokens, at + 1);
        } else if token.text == "use" && text(1) != "<" {
            let public = at > 0 && matches!(tokens[at - 1].text, "pub" | ")");
            let place = if public { Place::Reexport } else { Place::Use };
            let mut leaves = Vec::new();
            at = leaf(tokens, at + 1, &[], &mut leaves);
            found.extend(leaves.into_iter().map(|(segments, line)| NamedPath {
                segments,
                line,
                test: token.test,
                place,
                inside: Vec::clone(&inside),
            }));
        } else if token.kind == Kind::Ident {
            let (segments, after) = straight(tokens, at);
            let (line, test, place) = (token.line, token.test, Place::Code);
            found.push(NamedPath { segments, line, test, place, inside });
            at = after;
        } else {
            at += 1;
        }
    }
    found
}

/// The segments from `at` on that `::` joins, and the index after them.
fn straight<'a>(tokens: &[Token<'a>], mut at: usize) -> (Vec<&'a str>, usize) {
    let mut segments = vec![tokens[at].text];
    while let [colons, next, ..] = &tokens[at + 1..] {
        if colons.text != "::" || next.kind != Kind::Ident {
            break;
        }
        segments.push(next.text);
        at += 2;
    }
    (segments, at + 1)
}

type Leaf<'a> = (Vec<&'a str>, usize);

/// Reads one branch of a `use` tree behind `stem`; answers the index after it.
fn leaf<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    stem: &[&'a str],
    leaves: &mut Vec<Leaf<'a>>,
) -> usize {
    let mut path = stem.to_vec();
    let mut grew = false;
    while let Some(token) = tokens.get(at) {
        match token.text {
            "{" => {
                let end = lexer::after_bracket(tokens, at);
                at += 1;
                while at < end - 1 {
                    at = leaf(tokens, at, &path, leaves).max(at + 1);
                    at += usize::from(tokens.get(at).is_some_and(|next| next.text == ","));
                }
                return end;
            }
            "as" => at += 2,
            "," | "}" | ";" => break,
            "::" => at += 1,
            // `a::{self}` names `a`.
            "self" if !stem.is_empty() && !grew => (at, grew) = (at + 1, true),
            text => {
                path.push(text);
                (at, grew) = (at + 1, true);
            }
        }
    }
    let line = tokens.get(at.saturating_sub(1)).map_or(0, |last| last.line);
    leaves.push((path, line));
    at
}

/// Whether `path` holds `wanted` (such as `std::fs`) as consecutive segments.
pub(crate) fn contains(path: &NamedPath<'_>, wanted: &str) -> bool {
    let wanted: Vec<_> = wanted.split("::").collect();
    path.segments.windows(wanted.len()).any(|some| some == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str) -> Vec<String> {
        let source = lexer::cut(text);
        named(&source.tokens).iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn use_trees_are_flattened() {
        assert_eq!(
            joined("use a::{self, b::{C as D, e::*}, f};"),
            ["a", "a::b::C", "a::b::e::*", "a::f"]
        );
        assert_eq!(joined("pub use super::x; use self::y;"), ["pub", "super::x", "self::y"]);
    }

    #[test]
    fn paths_in_code_are_found_and_visibilities_are_not() {
        assert_eq!(joined("pub(in crate::a) x: crate::b::C<d::E>"), ["x", "crate::b::C", "d::E"]);
    }

    #[test]
    fn written_out_modules_are_known_until_their_brace() {
        let source = lexer::cut("mod a { mod b { x } y } z");
        let inside: Vec<_> = named(&source.tokens).into_iter().map(|path| path.inside).collect();
        assert_eq!(inside, [vec!["a", "b"], vec!["a"], vec![]]);
    }
}
