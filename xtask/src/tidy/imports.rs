//! Imports go one way: no two modules of a package import each other, however
//! long the way round, neither files nor the folders that hold them.
//!
//! Every file imports the files in which the items that it names are defined
//! (re-exports are followed, and do not import). At each folder these imports
//! are seen from above, as imports between the folder's own file and whatever
//! lies below each of its children; any circle there is a finding. What only
//! tests import does not count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::files::{Finding, Rust};
use super::paths::{self, NamedPath, Place};

/// A module's path from the crate's root; the root itself is empty.
type Module = Vec<String>;

/// What a package's files are as modules.
struct Package<'a> {
    /// Each module's file and the paths that it names outside tests.
    modules: BTreeMap<Module, (&'a Rust<'a>, Vec<NamedPath<'a>>)>,
    /// Where a name of a module really comes from, for `pub use`.
    reexports: BTreeMap<(Module, String), Module>,
}

/// One import: from, to, and the line in the importing file.
type Import = (Module, Module, usize);

/// Circles among the modules whose files lie in `folder` (such as `core/src`).
pub(crate) fn check(folder: &str, files: &[Rust<'_>]) -> Vec<Finding> {
    let package = Package::read(folder, files);
    let imports = package.imports();
    let mut findings = BTreeSet::new();
    for above in package.places() {
        let mut seen = BTreeMap::new();
        for import in &imports {
            if let Some(edge) = seen_from(&above, import) {
                seen.entry(edge).or_insert(import);
            }
        }
        for circle in circles(&seen.keys().cloned().collect()) {
            let last = (circle[circle.len() - 1].clone(), circle[0].clone());
            let (from, _, line) = seen[&last];
            let names: Vec<_> = circle.iter().chain([&circle[0]]).map(shown).collect();
            let what =
                format!("{}; move what both need to one below both", names.join(" imports "));
            findings.insert(package.modules[from].0.finding(*line, "one-way-imports", what));
        }
    }
    findings.into_iter().collect()
}

fn shown(module: &Module) -> String {
    let all = std::iter::once("crate").chain(module.iter().map(String::as_str));
    format!("`{}`", all.collect::<Vec<_>>().join("::"))
}

impl<'a> Package<'a> {
    fn read(folder: &str, files: &'a [Rust<'a>]) -> Self {
        let mut package = Self { modules: BTreeMap::new(), reexports: BTreeMap::new() };
        for file in files.iter().filter(|file| file.is_in(folder)) {
            // `main.rs` and `src/bin` are programs of their own beside a library.
            let own = &file.path[folder.len() + 1..];
            let program = own == "main.rs"
                && files.iter().any(|other| other.path == format!("{folder}/lib.rs"));
            if !program && !own.starts_with("bin/") {
                let mut named = paths::named(&file.source.tokens);
                named.retain(|path| !path.test);
                package.modules.insert(module(own), (file, named));
            }
        }
        for (own, (_, named)) in &package.modules {
            for path in named.iter().filter(|path| path.place == Place::Reexport) {
                if let (Some(target), Some(name)) =
                    (package.absolute(own, path), path.segments.last())
                {
                    package.reexports.insert((own.clone(), (*name).to_owned()), target);
                }
            }
        }
        package
    }

    /// Every module and every folder above one, the root first.
    fn places(&self) -> BTreeSet<Module> {
        let prefixes = |module: &Module| {
            (0..=module.len()).map(|end| module[..end].to_vec()).collect::<Vec<_>>()
        };
        self.modules.keys().flat_map(prefixes).collect()
    }

    fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for (own, (_, named)) in &self.modules {
            for path in named {
                let Some(target) = self.absolute(own, path).map(|named| self.home(named)) else {
                    continue;
                };
                let lends = path.place == Place::Reexport && target.starts_with(own);
                if target != *own && !lends {
                    imports.push((own.clone(), target, path.line));
                }
            }
        }
        imports
    }

    /// The path from the crate's root, `None` for what is not of this crate.
    fn absolute(&self, own: &Module, path: &NamedPath<'_>) -> Option<Module> {
        let inside = path.inside.iter().map(|name| (*name).to_owned());
        let mut base: Module = own.iter().cloned().chain(inside).collect();
        let mut segments = path.segments.as_slice();
        match *segments.first()? {
            "crate" => (base, segments) = (Module::new(), &segments[1..]),
            "self" if segments.len() > 1 => segments = &segments[1..],
            "super" => {}
            // A module of one's own; but a lone name in code may be anything.
            name if path.place != Place::Code || segments.len() > 1 => {
                let child: Module = base.iter().cloned().chain([name.to_owned()]).collect();
                self.modules.get(&child)?;
            }
            _ => return None,
        }
        while segments.first() == Some(&"super") {
            base.pop()?;
            segments = &segments[1..];
        }
        base.extend(segments.iter().map(|name| (*name).to_owned()));
        Some(base)
    }

    /// The module of the file in which what `path` names is defined.
    fn home(&self, mut path: Module) -> Module {
        // A circle of re-exports does not compile; the bound only ends the loop.
        for _ in 0..16 {
            let mut module = path.clone();
            while !self.modules.contains_key(&module) && module.pop().is_some() {}
            let Some(name) = path.get(module.len()) else { return module };
            match self.reexports.get(&(module.clone(), name.clone())) {
                Some(origin) => {
                    let rest = path.split_off(module.len() + 1);
                    path = origin.iter().cloned().chain(rest).collect();
                }
                None => return module,
            }
        }
        path
    }
}

/// The module of a file by its path below the package's sources.
fn module(path: &str) -> Module {
    let stem = path.trim_end_matches(".rs");
    let mut module: Module = stem.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// How an import looks from `above`: between it and its children's subtrees.
fn seen_from(above: &Module, import: &Import) -> Option<(Module, Module)> {
    let (from, to, _) = import;
    if !from.starts_with(above) || !to.starts_with(above) {
        return None;
    }
    let cut = |module: &Module| module[..module.len().min(above.len() + 1)].to_vec();
    let edge = (cut(from), cut(to));
    (edge.0 != edge.1).then_some(edge)
}

/// For each edge that lies on a circle the shortest circle, each circle once.
fn circles(edges: &BTreeSet<(Module, Module)>) -> Vec<Vec<Module>> {
    let mut found = Vec::new();
    let mut covered = BTreeSet::new();
    for (from, to) in edges {
        if covered.contains(&(from.clone(), to.clone())) {
            continue;
        }
        if let Some(mut circle) = way(edges, to, from) {
            // `way` leads from `to` back to `from`: begin with `from`.
            circle.rotate_right(1);
            for (index, module) in circle.iter().enumerate() {
                let next = &circle[(index + 1) % circle.len()];
                covered.insert((module.clone(), next.clone()));
            }
            found.push(circle);
        }
    }
    found
}

/// The shortest way along `edges`, both ends included.
fn way(edges: &BTreeSet<(Module, Module)>, from: &Module, to: &Module) -> Option<Vec<Module>> {
    let mut before: BTreeMap<&Module, &Module> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(here) = queue.pop_front() {
        if here == to {
            let steps = std::iter::successors(Some(here), |step| before.get(*step).copied());
            let mut way: Vec<_> = steps.cloned().collect();
            way.reverse();
            return Some(way);
        }
        for (_, next) in edges.iter().filter(|(start, _)| start == here) {
            if next != from && !before.contains_key(next) {
                before.insert(next, here);
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::files::{self, File};

    /// The circles found, as `path:line` and the names in order.
    fn found(sources: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = sources
            .iter()
            .map(|(path, text)| File { path: format!("a/src/{path}"), text: (*text).to_owned() })
            .collect();
        let findings = check("a/src", &files::cut(&files));
        findings.iter().map(|f| format!("{}:{} {}", &f.path[6..], f.line, f.what)).collect()
    }

    fn circle(place: &str, names: &str) -> String {
        format!("{place} {names}; move what both need to one below both")
    }

    #[test]
    fn two_files_that_import_each_other_are_found() {
        let files = [("x.rs", "use crate::y::Y;"), ("y.rs", "\nfn f(x: &crate::x::X) {}")];
        let names = "`crate::x` imports `crate::y` imports `crate::x`";
        assert_eq!(found(&files), [circle("y.rs:2", names)]);
    }

    #[test]
    fn imports_one_way_and_those_of_tests_are_fine() {
        let files = [
            ("lib.rs", "mod x; mod y;"),
            ("x.rs", "use crate::y::{self, Y}; use std::fmt;"),
            ("y.rs", "#[cfg(test)] mod tests { use crate::x::X; }"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn folders_must_not_import_each_other_even_by_different_files() {
        let files = [
            ("x/mod.rs", ""),
            ("x/one.rs", "use crate::y::two::T;"),
            ("x/two.rs", ""),
            ("y/mod.rs", ""),
            ("y/one.rs", "use crate::x::two::T;"),
            ("y/two.rs", ""),
        ];
        let names = "`crate::x` imports `crate::y` imports `crate::x`";
        assert_eq!(found(&files), [circle("y/one.rs:1", names)]);
    }

    #[test]
    fn a_parent_may_lend_its_childrens_items_but_not_use_them() {
        let child = ("x/one.rs", "use super::Parent;");
        assert_eq!(found(&[("x/mod.rs", "mod one; pub use one::One;"), child]).len(), 0);
        let names = "`crate::x` imports `crate::x::one` imports `crate::x`";
        let used = ("x/mod.rs", "mod one;\npub struct Parent; fn f() { one::g() }");
        assert_eq!(found(&[used, child]), [circle("x/one.rs:1", names)]);
    }

    #[test]
    fn what_a_parent_lends_is_an_import_of_the_child_that_has_it() {
        let files = [
            ("x/mod.rs", "mod one; mod two; pub use one::One; pub use self::two::Two;"),
            ("x/one.rs", "use super::Two;"),
            ("x/two.rs", "use crate::x::One;"),
        ];
        let names = "`crate::x::one` imports `crate::x::two` imports `crate::x::one`";
        assert_eq!(found(&files), [circle("x/two.rs:1", names)]);
    }

    #[test]
    fn long_ways_round_are_found() {
        let files = [
            ("x.rs", "use crate::y::A;"),
            ("y.rs", "use crate::z::A;"),
            ("z.rs", "use super::x::A;"),
        ];
        let names = "`crate::x` imports `crate::y` imports `crate::z` imports `crate::x`";
        assert_eq!(found(&files), [circle("z.rs:1", names)]);
    }
}
