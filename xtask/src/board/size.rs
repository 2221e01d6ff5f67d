//! `cargo xtask size BOARD`: what an image takes, whose it is, and how it can panic.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::elf::{Image, Kind, Taken};
use super::names::{crate_of, plain};
use super::panics::{Caller, Reasons, callers};
use super::table::{Board, find, note};
use crate::{bare_metal, shell};

/// Options of `size`.
#[derive(Args)]
pub(crate) struct SizeOptions {
    /// Which board
    board: String,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// What was found out about an image.
struct Findings {
    taken: Taken,
    stack: Option<u64>,
    sections: Vec<(String, Taken)>,
    crates: Vec<(String, Taken)>,
    panics: Vec<Caller>,
}

/// Prints what a board's firmware takes; false when it is over budget, or when it can
/// panic where nobody has said why it does not.
///
/// # Errors
/// When it cannot be built or read.
pub(crate) fn size(options: &SizeOptions) -> Result<bool, String> {
    let board = find(&options.board)?;
    let outcome = shell::run(board.name, bare_metal::build(board.name)?);
    if !outcome.map_err(|error| error.to_string())?.ok {
        return Err(format!("it does not build; help: cargo xtask build {}", board.name));
    }
    let found = Findings::of(board)?;
    let ram = found.taken.ram + found.stack.unwrap_or(0);
    let (budget_flash, budget_ram) = board.budget;
    let unexplained = found.panics.iter().filter(|caller| caller.reason.is_none()).count();
    // What was not measured is not within its budget.
    let fits = found.taken.flash <= budget_flash && ram <= budget_ram && found.stack.is_some();
    let ok = fits && unexplained == 0;
    if options.json {
        let item = found.json(board, ok);
        println!("{}", json!({ "schema": 1, "kind": "size", "item": item }));
    } else {
        found.print();
        println!("flash\t{}\tof {budget_flash}", found.taken.flash);
        let stack = told(found.stack);
        println!("RAM\t{ram}\tof {budget_ram}: static {} and stack {stack}", found.taken.ram);
        if unexplained > 0 {
            println!("{unexplained} of them have no reason in {}", reasons_file(board));
        }
    }
    Ok(ok)
}

impl Findings {
    fn of(board: &Board) -> Result<Self, String> {
        let path = shell::root().join(bare_metal::image(board.name));
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let image = Image::read(&read(&path)?).ok_or("the image is no ELF file of 32 bits")?;
        let reasons = read(&shell::root().join(reasons_file(board)))?;
        let reasons = Reasons::parse(&String::from_utf8_lossy(&reasons))
            .map_err(|error| format!("{}: {error}", reasons_file(board)))?;
        Ok(Self {
            taken: image.taken(board.ram),
            stack: measured(&note(board), &path),
            sections: sections(&image, board.ram),
            crates: crates(&image, board.ram),
            panics: callers(&image, &reasons),
        })
    }

    fn print(&self) {
        for (title, rows) in [("section", &self.sections), ("crate", &self.crates)] {
            println!("{title:<28}{:>8}{:>8}", "flash", "RAM");
            for (name, taken) in rows {
                println!("{name:<28}{:>8}{:>8}", taken.flash, taken.ram);
            }
            println!();
        }
        println!("functions that can reach a panic: {}", self.panics.len());
        for caller in &self.panics {
            let reaches: Vec<&str> = caller.reaches.iter().map(|name| last(name)).collect();
            let reason = caller.reason.as_deref().unwrap_or("!! no reason");
            println!("  {}\n      {}: {reason}", caller.name, reaches.join(", "));
        }
        println!();
    }

    fn json(&self, board: &Board, ok: bool) -> Value {
        let rows = |rows: &[(String, Taken)]| -> Value {
            let row = |(name, taken): &(String, Taken)| {
                let Taken { flash, ram } = *taken;
                json!({ "name": name, "flash": flash, "ram": ram })
            };
            rows.iter().map(row).collect()
        };
        let panics: Value = self
            .panics
            .iter()
            .map(|c| json!({ "caller": c.name, "reaches": c.reaches, "reason": c.reason }))
            .collect();
        json!({
            "flash": self.taken.flash, "ram_static": self.taken.ram, "stack_high": self.stack,
            "budget_flash": board.budget.0, "budget_ram": board.budget.1, "ok": ok,
            "sections": rows(&self.sections), "crates": rows(&self.crates), "panics": panics,
        })
    }
}

/// Where the reasons of a board's panic paths stand, from the repository's root.
fn reasons_file(board: &Board) -> String {
    format!("boards/{}/panics.txt", board.name)
}

fn sections(image: &Image, ram: (u64, u64)) -> Vec<(String, Taken)> {
    let sections = image.sections.iter().filter(|section| section.size > 0);
    sections.map(|section| (section.name.clone(), section.taken(ram))).collect()
}

/// What each crate's named code and data take, the largest first. Constants have no names
/// in an image, so a row of their own.
fn crates(image: &Image, ram: (u64, u64)) -> Vec<(String, Taken)> {
    let mut crates: BTreeMap<String, Taken> = BTreeMap::new();
    let mut named = Taken::default();
    let mut end = 0;
    for symbol in image.symbols.iter().filter(|symbol| symbol.kind != Kind::Mark) {
        // Several names of one place count once.
        let size = (symbol.address + symbol.size).saturating_sub(end.max(symbol.address));
        end = end.max(symbol.address + symbol.size);
        let Some(section) = image.section_at(symbol.address) else { continue };
        let taken = section.taken_by(size, ram);
        named = named.plus(taken);
        let name = plain(&symbol.name);
        let place = crates.entry(crate_of(&name).to_owned()).or_default();
        *place = place.plus(taken);
    }
    let all = image.taken(ram);
    let (flash, rest) = (all.flash - named.flash, all.ram - named.ram);
    crates.insert("(constants, padding)".to_owned(), Taken { flash, ram: rest });
    let mut crates: Vec<(String, Taken)> = crates.into_iter().collect();
    crates.sort_by_key(|(_, taken)| std::cmp::Reverse(taken.flash + taken.ram));
    crates
}

/// The stack that was noted since the image was built.
fn measured(note: &Path, image: &Path) -> Option<u64> {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    let is_fresh = changed(note)? >= changed(image)?;
    let text = std::fs::read_to_string(note).ok().filter(|_| is_fresh)?;
    text.trim().parse().ok()
}

fn told(stack: Option<u64>) -> String {
    let unknown = || "not measured; help: cargo xtask run".to_owned();
    stack.map_or_else(unknown, |stack| stack.to_string())
}

/// The last part of a path.
fn last(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::super::elf::{Section, Symbol};
    use super::*;

    #[test]
    fn what_two_names_share_counts_once_and_what_has_none_is_told_apart() {
        let symbol = |name: &str, address, size| Symbol {
            name: name.to_owned(),
            address,
            size,
            kind: Kind::Code,
        };
        let section = |name: &str, address, size: u64, bytes| Section {
            name: name.to_owned(),
            address,
            size,
            bytes,
        };
        let image = Image {
            sections: vec![
                section(".text", 0, 100, vec![0; 100]),
                section(".bss", 0x2000_0000, 50, vec![]),
            ],
            symbols: vec![
                symbol("a::f", 0, 40),
                symbol("b::the_same", 0, 40),
                symbol("b::g", 60, 20),
                symbol("b::STATE", 0x2000_0000, 48),
            ],
        };
        let crates = crates(&image, (0x2000_0000, 1_000));
        let of = |name: &str| crates.iter().find(|(n, _)| n == name).unwrap().1;
        assert_eq!(of("a"), Taken { flash: 40, ram: 0 });
        assert_eq!(of("b"), Taken { flash: 20, ram: 48 });
        assert_eq!(of("(constants, padding)"), Taken { flash: 40, ram: 2 });
    }
}
