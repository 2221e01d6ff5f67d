//! Names of the compiler, as people read them, and the crates that they are of.

/// A name without generic arguments: `<a::B<c::D>>::f::<u8>` is `a::B::f`, and
/// `<a::B as c::T>::f` is `a::B as c::T::f`.
pub(crate) fn plain(mangled: &str) -> String {
    let full = format!("{:#}", rustc_demangle::demangle(mangled));
    let (own, rest) = match full.strip_prefix('<').and_then(split_own) {
        Some((own, rest)) => (own, rest),
        None => ("", &full[..]),
    };
    let name = format!("{}{}", without_arguments(own), without_arguments(rest));
    let name = name.replace("::::", "::");
    // What LLVM adds to the name of a copy.
    let copy = name.rsplit_once('.').filter(|(_, n)| n.bytes().all(|b| b.is_ascii_digit()));
    copy.map_or(&name[..], |(name, _)| name).trim_end_matches(':').to_owned()
}

/// The crate whose code a symbol is, by its name as [`plain`] gives it.
pub(crate) fn crate_of(plain: &str) -> &str {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if plain.starts_with("OUTLINED_FUNCTION_") {
        return "(shared by the compiler)";
    }
    if plain.starts_with("__aeabi") || plain.starts_with("mem") {
        return "compiler_builtins";
    }
    let Some((front, _)) = plain.split_once("::") else { return "(start-up)" };
    // What stands before the first `::`, after `&`, `[` and the like.
    let start = front.rfind(|c: char| !is_part(c)).map_or(0, |at| at + 1);
    let name = &front[start..];
    let primitive = ["u8", "u16", "u32", "u64", "usize", "i32", "str", "bool", ""];
    if primitive.contains(&name) { "core" } else { name }
}

/// `T>::f` as `T` and `::f`.
fn split_own(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        depth += match c {
            '<' => 1,
            // An arrow closes nothing.
            '>' if before != '-' => -1,
            _ => 0,
        };
        if depth == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
        before = c;
    }
    None
}

fn without_arguments(text: &str) -> String {
    let (mut depth, mut before) = (0_u32, ' ');
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => depth += 1,
            '>' if before != '-' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_without_what_it_was_made_for() {
        // By `c++filt`: core::panicking::panic_bounds_check.
        let mangled = "_RNvNtCs1Z1dBUY9G7E_4core9panicking18panic_bounds_check";
        assert_eq!(plain(mangled), "core::panicking::panic_bounds_check");
        // core::panicking::assert_failed::<usize, usize>.
        let mangled = "_RINvNtCs1Z1dBUY9G7E_4core9panicking13assert_failedjjEB4_";
        assert_eq!(plain(mangled), "core::panicking::assert_failed");
        assert_eq!(plain("OUTLINED_FUNCTION_3"), "OUTLINED_FUNCTION_3");
        let text = "a::B<c::D<e>, fn(u8) -> f::G>::h::<3>::{closure#0}";
        assert_eq!(without_arguments(text), "a::B::h::::{closure#0}");
        assert_eq!(split_own("a::B<c> as d::E>::f"), Some(("a::B<c> as d::E", "::f")));
    }

    #[test]
    fn the_crate_is_that_of_the_type_whose_method_it_is() {
        for (name, is) in [
            ("fleetcast_core::store::Store::step", "fleetcast_core"),
            ("&core::net::SocketAddrV4 as core::fmt::Display::fmt", "core"),
            ("[u8; 32] as serde_core::de::Deserialize::deserialize", "serde_core"),
            ("u32::div_ceil", "core"),
            ("OUTLINED_FUNCTION_7", "(shared by the compiler)"),
            ("__aeabi_memcpy4", "compiler_builtins"),
            ("Reset", "(start-up)"),
        ] {
            assert_eq!(crate_of(name), is, "{name}");
        }
    }
}
