//! Which functions of an image can reach a panic, and why that does not happen.
//!
//! A function counts that branches to one which panics, directly or by what the compiler
//! has taken out of several functions to share it. Each needs a reason in a board's
//! `panics.txt`: `NAME: reason` per line, where `crate::*` stands for a whole crate.

use std::collections::{BTreeMap, BTreeSet};

use super::branches::Branches;
use super::elf::{Image, Kind};
use super::names::plain;

/// A function that can reach a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Its name.
    pub(crate) name: String,
    /// What it can reach.
    pub(crate) reaches: BTreeSet<String>,
    /// Why that does not happen; `None` where nobody has said so.
    pub(crate) reason: Option<String>,
}

/// Reasons by name, or by `crate::*`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reasons(BTreeMap<String, String>);

impl Reasons {
    /// Reads a `panics.txt`; empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// The first line that is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut reasons = BTreeMap::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, reason) = line.split_once(": ").ok_or(format!("no reason in {line:?}"))?;
            if reasons.insert(name.to_owned(), reason.to_owned()).is_some() {
                return Err(format!("{name} twice"));
            }
        }
        Ok(Self(reasons))
    }

    /// The reason for a function: its own, or that of the longest beginning of its name.
    fn of(&self, name: &str) -> Option<&String> {
        let parts = name.match_indices("::").map(|(at, _)| &name[..at]);
        let wholes: Vec<String> = parts.map(|part| format!("{part}::*")).collect();
        let found = wholes.iter().rev().find_map(|whole| self.0.get(whole));
        self.0.get(name).or(found)
    }
}

/// All functions of an image that can reach a panic, by name.
pub(crate) fn callers(image: &Image, reasons: &Reasons) -> Vec<Caller> {
    let branches = Branches::of(image);
    let code = image.symbols.iter().filter(|symbol| symbol.kind == Kind::Code);
    let names: BTreeMap<u64, String> = code.map(|s| (s.address, plain(&s.name))).collect();
    // By address: what a function that only leads to a panic leads to.
    let mut leads: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for (address, name) in names.iter().filter(|(_, name)| is_panic(name)) {
        leads.insert(*address, BTreeSet::from([name.clone()]));
    }
    let mut found: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut open: Vec<u64> = leads.keys().copied().collect();
    while let Some(address) = open.pop() {
        let reached = leads.get(&address).cloned().unwrap_or_default();
        for from in branches.to(address) {
            let name = names.get(&from).map_or("", |name| name);
            if is_panic(name) {
                continue;
            }
            let known = if is_shared(name) { &mut leads } else { &mut found };
            let known = known.entry(from).or_default();
            let before = known.len();
            known.extend(reached.iter().cloned());
            if known.len() > before && is_shared(name) {
                open.push(from);
            }
        }
    }
    let mut callers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (address, reaches) in found {
        let name = names.get(&address).cloned();
        let name = name.unwrap_or_else(|| format!("a table at {address:#x}"));
        callers.entry(name).or_default().extend(reaches);
    }
    let caller = |(name, reaches): (String, BTreeSet<String>)| {
        let reason = reasons.of(&name).cloned();
        Caller { name, reaches, reason }
    };
    callers.into_iter().map(caller).collect()
}

/// Whether a function never returns because something is broken.
fn is_panic(name: &str) -> bool {
    let last = name.rsplit("::").next().unwrap_or(name);
    let of_core = name.starts_with("core::")
        && (name.starts_with("core::panicking::")
            || ["_fail", "_failed", "_error_fail"].iter().any(|end| last.ends_with(end)));
    of_core || last.contains("panic")
}

/// Whether a function only stands for a part of those that branch to it.
fn is_shared(name: &str) -> bool {
    let wrappers = [
        "core::result::Result::expect",
        "core::option::Option::expect",
        "core::slice::copy_from_slice_impl",
        "core::slice::index::SliceIndex::index",
        "core::slice::index::SliceIndex::index_mut",
    ];
    let of_arrays = ["core::ops::index::Index::index", "core::ops::index::IndexMut::index_mut"];
    name.starts_with("OUTLINED_FUNCTION_")
        || wrappers.iter().any(|end| name.ends_with(end))
        || name.starts_with('[') && of_arrays.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::super::elf::{Section, Symbol};
    use super::*;

    /// Functions of eight bytes each from 0x100 on; each branches (`b`) to the one named.
    fn image(functions: &[(&str, usize)]) -> Image {
        let mut bytes = Vec::new();
        let mut symbols = Vec::new();
        for (n, (name, to)) in functions.iter().enumerate() {
            let address = 0x100 + 8 * n as u64;
            // B T2 counts halves from four bytes behind itself.
            let offset = (8 * *to as i32 - 8 * n as i32 - 4) / 2;
            bytes.extend((0xE000 | offset as u16 & 0x7FF).to_le_bytes());
            bytes.extend([0x00, 0xBF].repeat(3));
            let name = (*name).to_owned();
            symbols.push(Symbol { name, address, size: 8, kind: Kind::Code });
        }
        let size = bytes.len() as u64;
        let section = Section { name: ".text".into(), address: 0x100, size, bytes };
        Image { sections: vec![section], symbols }
    }

    #[test]
    fn who_reaches_a_panic_through_shared_code_is_told_and_who_does_not_is_not() {
        let image = image(&[
            ("core::panicking::panic_bounds_check", 0),
            ("OUTLINED_FUNCTION_1", 0),
            ("a::direct", 0),
            ("a::indirect", 1),
            ("a::harmless", 5),
            ("a::leaf", 5),
            ("b::c::d", 0),
        ]);
        let reasons = Reasons::parse("# why\na::direct: it counts\n\nb::*: old code\n").unwrap();
        let callers = callers(&image, &reasons);
        let told: Vec<(&str, Option<&str>)> =
            callers.iter().map(|c| (&c.name[..], c.reason.as_deref())).collect();
        let expected = [
            ("a::direct", Some("it counts")),
            ("a::indirect", None),
            ("b::c::d", Some("old code")),
        ];
        assert_eq!(told, expected);
        assert!(callers.iter().all(|caller| caller.reaches.len() == 1));
    }

    #[test]
    fn reasons_are_complete_and_said_once() {
        assert!(Reasons::parse("a::b").is_err());
        assert!(Reasons::parse("a: one\na: two").is_err());
        let reasons = Reasons::parse("a::*: all\na::b::*: some\na::b::c: one").unwrap();
        assert_eq!(reasons.of("a::b::c").map(|r| &r[..]), Some("one"));
        assert_eq!(reasons.of("a::b::d").map(|r| &r[..]), Some("some"));
        assert_eq!(reasons.of("a::e").map(|r| &r[..]), Some("all"));
        assert_eq!(reasons.of("f::a"), None);
    }
}
